//! Hosts that are chosen, and hosts that do not answer.

use crate::repo::Repo;
use crate::running::release;
use serde_json::json;

/// The shop's services on the host `main`; the host `side` is nowhere.
const MAIN: &[&str] = &["web", "api", "db", "proxy"];

#[test]
fn a_host_that_does_not_answer_stops_a_plan_that_needs_it_and_no_other() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.ledger(&[release("1", &first, "verified", MAIN)]);
    repo.change("lib/shared.py", "X = 2\n");
    let all = repo.detect(&[]);
    assert_eq!(all.exit, 7, "{}", all.stderr);
    let hint = all.document["error"]["hint"].as_str().expect("a hint");
    assert!(hint.ends_with("can be deployed without it: --host main"), "{hint}");
    let main = repo.detect(&["--host", "main"]).done();
    assert_eq!(main.actions(), ["api build"]);
}

#[test]
fn a_host_can_be_chosen_without_asking_any() {
    let repo = Repo::shop();
    repo.change("lib/shared.py", "X = 2\n");
    let detected = repo.detect(&["--base", "HEAD~1", "--host", "side"]).done();
    assert_eq!(detected.actions(), ["worker build"]);
    let both = repo.detect(&["--base", "HEAD~1", "--host", "side", "--host", "main"]).done();
    assert_eq!(both.actions(), ["api build", "worker build"]);
    let group = repo.detect(&["--base", "HEAD~1", "--host", "side", "--group", "back"]).done();
    assert_eq!(group.actions(), ["worker build"]);
}

#[test]
fn a_host_that_is_none_of_the_project_is_an_address_or_a_mistake() {
    let repo = Repo::shop();
    let typo = repo.detect(&["--base", "HEAD", "--host", "mian"]);
    assert_eq!((typo.exit, &typo.document["error"]["code"]), (6, &json!("config.unknown-host")));
    assert!(typo.stderr.contains("did you mean \"main\"?"), "{}", typo.stderr);
    let other = repo.detect(&["--base", "HEAD", "--full", "--host", "new=me@server"]).done();
    assert_eq!(other.document["services"][0]["host"], json!("new"));
}
