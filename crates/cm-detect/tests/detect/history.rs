//! Clones that do not hold everything: cut histories, unrelated ones, missing objects,
//! and names that mean several commits.

use crate::repo::Repo;
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn a_base_without_common_history_is_compared_and_told() {
    let repo = Repo::shop();
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["checkout", "-q", "--orphan", "new"]);
    repo.change("web/src/index.js", "2\n");
    repo.git(&["branch", "-q", "-M", "develop"]);
    let detected = repo.detect(&["--base", &old]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert!(detected.stderr.contains("have no history in common"), "{}", detected.stderr);
    assert_eq!(detected.document["stages"][0]["status"], json!("warned"));
}

#[test]
fn the_commits_since_what_runs_are_named_newest_first() {
    let repo = Repo::shop();
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.change("web/src/index.js", "2\n");
    repo.git(&["commit", "-q", "--allow-empty", "-m", "web: <b>faster</b>\n\nAnd why."]);
    let head = repo.git(&["rev-parse", "HEAD"]);
    let detected = repo.detect(&["--base", &old]).done();
    let commits = detected.facts()["commits"].as_array().expect("a list").clone();
    assert_eq!(commits.len(), 2, "{commits:?}");
    assert_eq!((&commits[0]["id"], &commits[0]["subject"]), (&json!(head), &json!("web: <b>faster</b>")));
    assert_eq!(repo.detect(&["--base", "HEAD"]).done().facts()["commits"], json!([]));
}

#[test]
fn a_rewritten_history_is_compared_without_a_word() {
    let repo = Repo::shop();
    let old = repo.change("web/src/index.js", "2\n");
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repo.change("lib/shared.py", "X = 2\n");
    // What is gone from the branch is undone, and what is new is done.
    let detected = repo.detect(&["--base", &old]).done();
    assert_eq!(detected.actions(), ["web build", "api build", "worker build"]);
    assert_eq!(detected.document["stages"][0]["status"], json!("ok"), "{}", detected.stderr);
}

#[test]
fn a_shallow_clone_says_what_it_lacks() {
    let repo = Repo::shop();
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.change("web/src/index.js", "2\n");
    let source = format!("file://{}", repo.path().display());
    repo.git(&["clone", "-q", "--depth", "1", "--branch", "develop", &source, "../shallow"]);
    let shallow = repo.path().join("../shallow");
    let run = |args: &[&str]| {
        let output = repo.command(args).current_dir(&shallow).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (exit, stderr) = run(&["--base", &old]);
    assert_eq!(exit, Some(20), "{stderr}");
    assert!(stderr.contains("git fetch --unshallow"), "{stderr}");
    let (exit, stderr) = run(&["--base", &old, "--on-unknown-base", "all"]);
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(stderr.contains("5 of 5 services change"), "{stderr}");
    assert!(stderr.contains("everything counts as changed"), "{stderr}");
    // What is here can be compared, shallow or not.
    let (exit, stderr) = run(&["--base", "HEAD"]);
    assert_eq!(exit, Some(0), "{stderr}");
}

#[test]
fn digits_that_begin_several_ids_are_refused() {
    let repo = Repo::shop();
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let mut by_start: BTreeMap<String, String> = BTreeMap::new();
    let start = (0..5000).find_map(|number| {
        let id = repo.git(&["commit-tree", &tree, "-m", &number.to_string()]);
        let start = id[..4].to_owned();
        by_start.insert(start.clone(), id).map(|_| start)
    });
    let start = start.expect("65,536 starts and 5,000 commits");
    let detected = repo.detect(&["--base", &start]);
    let error = &detected.document["error"];
    assert_eq!((detected.exit, &error["code"]), (20, &json!("detect.ambiguous-revision")), "{}", detected.stderr);
    assert_eq!(error["hint"], json!("give more of its digits"));
}

#[test]
fn a_clone_that_lacks_objects_is_no_answer() {
    let repo = Repo::shop();
    repo.change("web/src/index.js", "2\n");
    let tree = repo.git(&["rev-parse", "HEAD~1:web/src"]);
    std::fs::remove_file(repo.path().join(".git/objects").join(&tree[..2]).join(&tree[2..])).expect("a loose object");
    let detected = repo.detect(&["--base", "HEAD~1"]);
    assert_eq!((detected.exit, &detected.document["error"]["code"]), (20, &json!("detect.git")), "{}", detected.stderr);
    assert!(detected.stderr.contains("hint: objects are missing"), "{}", detected.stderr);
}

#[test]
fn a_working_tree_that_cannot_be_looked_at_is_told_and_stops_nothing() {
    let repo = Repo::shop();
    repo.change("web/src/index.js", "2\n");
    std::fs::write(repo.path().join(".git/index"), "no index").expect("write");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert!(detected.stderr.contains("[WARN] could not look for uncommitted changes"), "{}", detected.stderr);
    assert_eq!(detected.facts()["dirty"]["count"], json!(null));
}
