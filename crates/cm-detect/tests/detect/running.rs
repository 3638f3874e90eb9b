//! The base is what runs: ledgers of hosts, here of this machine.

use crate::repo::{Detected, Repo};
use serde_json::{Value, json};

/// A record of a release of `services` at `commit`.
pub fn release(id: &str, commit: &str, verdict: &str, services: &[&str]) -> Value {
    let services = services.iter().map(|name| ((*name).to_owned(), json!({"commit": commit, "image_id": "sha256:1"})));
    json!({
        "schema": "cm.release/1", "id": id, "at": "2026-01-01T00:00:00.000Z", "actor": "tester", "branch": "develop",
        "commit": commit, "verdict": verdict, "services": Value::Object(services.collect()),
    })
}

/// The shop's services that run on the host `main`.
const MAIN: &[&str] = &["web", "api", "db", "proxy"];

/// Detects with a configuration that knows the host `main` alone.
fn on_main(repo: &Repo, args: &[&str]) -> Detected {
    let config = std::fs::read_to_string(repo.path().join("cm.toml")).expect("there");
    let side = "[hosts.side]\naddress = \"nobody@host.invalid\"\nservices = [\"worker\"]\n";
    let one = repo.path().join("one.toml");
    std::fs::write(&one, config.replace(side, "")).expect("write");
    std::fs::write(repo.path().join(".git/info/exclude"), "one.toml\n").expect("write");
    let detected = repo.detect(&[&["--config", "one.toml"], args].concat());
    std::fs::remove_file(one).expect("there");
    detected
}

#[test]
fn a_first_deploy_is_everything() {
    let repo = Repo::shop();
    let detected = on_main(&repo, &[]).done();
    assert_eq!(detected.actions(), ["web build", "api build", "worker build", "db recreate", "proxy recreate"]);
    assert_eq!(detected.reasons("web"), ["first-deploy"]);
    assert_eq!(detected.document["services"][0]["base"], Value::Null);
}

#[test]
fn each_service_is_compared_with_what_it_runs_itself() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let second = repo.change("web/src/index.js", "2\n");
    repo.change("docs/notes.md", "2\n");
    let all = ["web", "api", "worker", "db", "proxy"];
    repo.ledger(&[release("1", &first, "verified", &all), release("2", &second, "verified", &["web"])]);
    assert!(on_main(&repo, &[]).done().actions().is_empty());
    repo.change("lib/shared.py", "X = 2\n");
    repo.ledger(&[release("1", &first, "verified", &all)]);
    let detected = on_main(&repo, &[]).done();
    assert_eq!(detected.actions(), ["web build", "api build", "worker build"]);
    assert_eq!(detected.facts()["bases"]["main"]["api"], json!(first));
}

#[test]
fn a_retry_after_pushed_then_failed_deploys_what_never_ran() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let second = repo.change("web/src/index.js", "2\n");
    repo.git(&["update-ref", "refs/remotes/origin/develop", &second]);
    repo.ledger(&[release("1", &first, "verified", &["web", "api", "worker", "db", "proxy"])]);
    // The runbook's own rule sees nothing to do; what runs says otherwise.
    assert!(repo.detect(&["--base", "origin/develop"]).done().actions().is_empty());
    assert_eq!(on_main(&repo, &[]).done().actions(), ["web build"]);
}

#[test]
fn what_was_not_found_good_is_done_again() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let all = ["web", "api", "worker", "db", "proxy"];
    for verdict in ["pending", "failed", "a later word"] {
        repo.ledger(&[release("1", &first, "verified", &all), release("2", &first, verdict, &["web", "db"])]);
        let detected = on_main(&repo, &[]).done();
        assert_eq!(detected.actions(), ["web build", "db recreate"], "{verdict}");
        assert_eq!(detected.reasons("web"), ["unverified"]);
    }
    for verdict in ["verified", "healthy", "rolled_back"] {
        repo.ledger(&[release("1", &first, "verified", &all), release("2", &first, verdict, &["web"])]);
        assert!(on_main(&repo, &[]).done().actions().is_empty(), "{verdict}");
    }
}

#[test]
fn a_base_that_is_not_here_is_everything_or_the_end() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let gone = "0123456789012345678901234567890123456789";
    let others = ["api", "worker", "db", "proxy"];
    repo.ledger(&[release("1", &first, "verified", &others), release("2", gone, "verified", &["web"])]);
    let detected = on_main(&repo, &[]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert_eq!(detected.reasons("web"), ["unknown-base"]);
    assert!(detected.stderr.contains("[WARN] web on main runs"), "{}", detected.stderr);
    assert_eq!(detected.document["stages"][0]["status"], json!("warned"));
    let stopped = on_main(&repo, &["--on-unknown-base", "fail"]);
    assert_eq!((stopped.exit, &stopped.document["error"]["code"]), (20, &json!("detect.unknown-base")));

    let typo = repo.detect(&["--base", "origin/devlop"]);
    assert_eq!(typo.exit, 20, "{}", typo.stderr);
    let all = repo.detect(&["--base", "origin/devlop", "--on-unknown-base", "all"]).done();
    assert_eq!(all.actions().len(), 5);
}

#[test]
fn services_that_run_and_are_gone_are_removed() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.ledger(&[release("1", &first, "verified", &["web", "api", "worker", "db", "proxy", "old"])]);
    let detected = on_main(&repo, &[]).done();
    assert_eq!(detected.actions(), ["old remove"]);
    assert_eq!(detected.facts()["removed"], json!(["old"]));
    let other = on_main(&repo, &["--service", "web"]).done();
    assert_eq!(other.actions(), ["web build"]);
}

#[test]
fn only_the_hosts_of_what_was_asked_for_are_asked() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.ledger(&[release("1", &first, "verified", MAIN)]);
    let detected = repo.detect(&["--group", "front"]).done();
    assert_eq!(detected.actions(), ["web build"]);
    let all = repo.detect(&[]);
    assert_eq!(all.exit, 7, "{}", all.stderr);
}

/// `side` cannot be reached; with `--host main` nobody asks it, and its worker is left out, however it changed.
#[test]
fn a_host_that_is_named_is_planned_alone() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.ledger(&[release("1", &first, "verified", MAIN)]);
    repo.change("lib/shared.py", "X = 2\n");
    let detected = repo.detect(&["--host", "main"]).done();
    assert_eq!(detected.actions(), ["api build"]);
    assert_eq!(detected.facts()["selected_hosts"], json!(["main"]));
    let compared = repo.detect(&["--host", "main", "--base", "HEAD~1"]).done();
    assert_eq!(compared.actions(), ["api build"]);
    assert_eq!(compared.facts()["not_selected"], json!(["worker"]));
    let full = repo.detect(&["--host", "main", "--full"]).done();
    assert_eq!(full.actions(), ["web build", "api build", "db recreate", "proxy recreate"]);
    let back = repo.detect(&["--host", "main", "--group", "back"]).done();
    assert_eq!(back.actions(), ["api build"]);
    let unknown = repo.detect(&["--host", "mian"]);
    assert_eq!(unknown.exit, 6, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("did you mean \"main\"?"), "{}", unknown.stderr);
    let nothing = repo.detect(&["--host", "main", "--service", "worker"]);
    assert_eq!(nothing.exit, 2, "{}", nothing.stderr);
}

#[test]
fn records_that_cannot_be_read_are_told() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.ledger(&[release("1", &first, "verified", &["web", "api", "worker", "db", "proxy"]), json!("cut")]);
    let detected = on_main(&repo, &[]).done();
    assert!(detected.actions().is_empty());
    assert!(detected.stderr.contains("[WARN] 1 record of main's ledger cannot be read"), "{}", detected.stderr);
}

#[test]
fn an_older_or_unrelated_commit_is_told() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let second = repo.change("web/src/index.js", "2\n");
    repo.ledger(&[release("1", &second, "verified", &["web", "api", "worker", "db", "proxy"])]);
    let detected = on_main(&repo, &["--head", &first]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert!(detected.stderr.contains("is newer than"), "{}", detected.stderr);
    repo.git(&["checkout", "-q", "--orphan", "new"]);
    repo.git(&["commit", "-q", "-m", "unrelated"]);
    repo.git(&["branch", "-q", "-M", "develop"]);
    let detected = on_main(&repo, &[]).done();
    assert!(detected.stderr.contains("is not in the history of"), "{}", detected.stderr);
}
