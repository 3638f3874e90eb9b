//! `cm-build push`, the program itself, in repositories as people and CI have them.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

struct Shop {
    dir: TempDir,
}

impl Shop {
    /// A project in a clone `ada` of a bare repository, with one commit on `main` that is pushed.
    fn new() -> Self {
        let shop = Shop { dir: TempDir::new().expect("a temporary directory") };
        git(shop.dir.path(), &["init", "-q", "--bare", "-b", "main", "remote"]);
        git(shop.dir.path(), &["init", "-q", "-b", "main", "ada"]);
        let at = shop.at("ada");
        git(&at, &["remote", "add", "origin", "../remote"]);
        let files = [("cm.toml", "project = \"shop\"\n"), ("compose.yaml", "services: {web: {image: w}}\n")];
        for (name, text) in files {
            std::fs::write(at.join(name), text).expect("write");
        }
        git(&at, &["add", "."]);
        git(&at, &["commit", "-qm", "one"]);
        git(&at, &["push", "-q", "origin", "main"]);
        shop
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Pushes what is checked out in `name`, as `main`.
    fn push(&self, name: &str, facts: &Value) -> (Option<i32>, Value, String) {
        self.run(name, facts, false)
    }

    fn run(&self, name: &str, facts: &Value, dry: bool) -> (Option<i32>, Value, String) {
        let commit = git(&self.at(name), &["rev-parse", "HEAD"]);
        let document = json!({
            "schema": "cm.deployment/1",
            "run": {"id": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "actor": "ada@laptop", "started_at": "2026-05-04T09:30:00Z", "dry_run": dry},
            "project": "shop", "branch": "main", "commit": commit, "status": "ok",
            "services": [], "stages": [], "facts": {"detect": facts}, "undo": [], "error": null,
        });
        let output = self.program(name, &document);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let out = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code(), out, said)
    }

    fn program(&self, name: &str, document: &Value) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cm-build"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        program.env_clear().env("PATH", path).env("HOME", self.dir.path()).env("TMPDIR", self.dir.path());
        program.arg("push").current_dir(self.at(name));
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().expect("start");
        child.stdin.take().expect("a pipe").write_all(document.to_string().as_bytes()).expect("feed");
        child.wait_with_output().expect("wait")
    }
}

fn git(at: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(at).args(["-c", "user.name=ada", "-c", "user.email=ada@example.org"]);
    let output = git.args(arguments).output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_commit_of_the_branch_that_is_checked_out_is_pushed() {
    let shop = Shop::new();
    git(&shop.at("ada"), &["commit", "-q", "--allow-empty", "-m", "two"]);
    let (code, document, said) = shop.push("ada", &json!({}));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(git(&shop.at("remote"), &["rev-parse", "main"]), document["commit"].as_str().expect("a commit"));
    assert!(document["stages"][0]["summary"].as_str().is_some_and(|it| it.starts_with("pushed ")), "{document}");
}

#[test]
fn ci_deploys_what_somebody_pushed_and_nothing_that_nobody_did() {
    let shop = Shop::new();
    let url = format!("file://{}", shop.at("remote").display());
    git(&shop.at("ada"), &["commit", "-q", "--allow-empty", "-m", "two"]);
    git(&shop.at("ada"), &["push", "-q", "origin", "main"]);
    git(shop.dir.path(), &["clone", "-q", "--depth", "1", &url, "ci"]);
    git(&shop.at("ci"), &["switch", "-q", "--detach"]);
    let (code, document, said) = shop.push("ci", &json!({}));
    assert_eq!(code, Some(0), "{said}");
    let summary = document["stages"][0]["summary"].as_str().expect("a summary");
    assert!(summary.ends_with("is on origin/main already; nothing to push"), "{summary}");
    git(&shop.at("ci"), &["commit", "-q", "--allow-empty", "-m", "made in CI"]);
    let (code, document, said) = shop.push("ci", &json!({}));
    assert_eq!((code, &document["error"]["code"]), (Some(20), &json!("detect.push-branch")), "{said}");
    assert!(said.contains("HEAD is detached") && said.contains("ref: main"), "{said}");
    // A person who names the branch means it.
    let (code, _, said) = shop.push("ci", &json!({"branch_named": true}));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn somebody_on_another_branch_does_not_push_it_over_the_one_that_runs() {
    let shop = Shop::new();
    git(&shop.at("ada"), &["switch", "-q", "-c", "feature/x"]);
    git(&shop.at("ada"), &["commit", "-q", "--allow-empty", "-m", "two"]);
    let before = git(&shop.at("remote"), &["rev-parse", "main"]);
    let (code, document, said) = shop.push("ada", &json!({}));
    assert_eq!((code, &document["error"]["code"]), (Some(20), &json!("detect.push-branch")), "{said}");
    assert!(said.contains("this is feature/x, and main is what is deployed"), "{said}");
    assert_eq!(git(&shop.at("remote"), &["rev-parse", "main"]), before);
}

#[test]
fn a_dry_run_says_what_the_push_would_meet_and_leaves_the_remote_as_it_is() {
    let shop = Shop::new();
    let ada = shop.at("ada");
    git(&ada, &["commit", "-q", "--allow-empty", "-m", "two"]);
    // No hook here or there is run for it.
    let hook = ada.join(".git/hooks/pre-push");
    std::fs::create_dir_all(ada.join(".git/hooks")).expect("mkdir");
    std::fs::write(&hook, "#!/bin/sh\ntouch ran\nexit 1\n").expect("write");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let (code, document, said) = shop.run("ada", &json!({}), true);
    assert_eq!((code, said.contains("[WARN]")), (Some(0), false), "{said}");
    assert!(document["stages"][0]["summary"].as_str().is_some_and(|it| it.starts_with("would push ")), "{document}");
    assert!(!ada.join("ran").exists());
    std::fs::remove_file(hook).expect("remove");
    // Somebody else was there before.
    git(shop.dir.path(), &["clone", "-q", "remote", "bob"]);
    git(&shop.at("bob"), &["commit", "-q", "--allow-empty", "-m", "three"]);
    let (code, _, said) = shop.run("bob", &json!({}), true);
    assert_eq!((code, said.contains("[WARN]")), (Some(0), false), "{said}");
    git(&shop.at("bob"), &["push", "-q", "origin", "main"]);
    let (code, _, said) = shop.run("ada", &json!({}), true);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("origin would not take the push: ") && said.contains("git pull --rebase"), "{said}");
    // The repository was moved, the remote has another name now, or none is left.
    git(&ada, &["remote", "set-url", "origin", "../moved"]);
    let (code, _, said) = shop.run("ada", &json!({}), true);
    assert!(code == Some(0) && said.contains("does not appear to be a git repository"), "{said}");
    git(&ada, &["remote", "rename", "origin", "upstream"]);
    let (code, _, said) = shop.run("ada", &json!({}), true);
    assert!(code == Some(0) && said.contains("there is no Git remote \"origin\" here"), "{said}");
    assert!(said.contains("remote = \"upstream\""), "{said}");
    let (code, document, _) = shop.push("ada", &json!({}));
    assert_eq!((code, &document["error"]["code"]), (Some(20), &json!("detect.no-remote")));
    git(&ada, &["remote", "remove", "upstream"]);
    let (code, _, said) = shop.run("ada", &json!({}), true);
    assert!(code == Some(0) && said.contains("git remote add origin URL"), "{said}");
    assert_eq!(git(&shop.at("remote"), &["rev-parse", "main"]), git(&shop.at("bob"), &["rev-parse", "main"]));
}

#[test]
fn nobody_is_told_to_switch_to_a_branch_that_another_working_tree_has() {
    let shop = Shop::new();
    git(&shop.at("ada"), &["worktree", "add", "-q", "-b", "feature/x", "../x"]);
    git(&shop.at("x"), &["commit", "-q", "--allow-empty", "-m", "two"]);
    let (_, document, said) = shop.push("x", &json!({}));
    assert_eq!(document["error"]["code"], json!("detect.push-branch"), "{said}");
    let hint = |document: &Value| document["error"]["hint"].as_str().unwrap_or_default().to_owned();
    let main = shop.at("ada").canonicalize().expect("a directory");
    assert!(hint(&document).starts_with(&format!("cd {}", main.display())), "{document}");
    // The other way round.
    git(&shop.at("ada"), &["switch", "-q", "-c", "feature/y"]);
    git(&shop.at("x"), &["switch", "-q", "main"]);
    git(&shop.at("ada"), &["commit", "-q", "--allow-empty", "-m", "three"]);
    let (_, document, said) = shop.push("ada", &json!({}));
    let linked = shop.at("x").canonicalize().expect("a directory");
    assert!(hint(&document).starts_with(&format!("cd {}", linked.display())), "{document} {said}");
    // It is gone, with its branch free again.
    std::fs::remove_dir_all(shop.at("x")).expect("remove");
    let (_, document, said) = shop.push("ada", &json!({}));
    assert!(hint(&document).starts_with("git switch main; or say"), "{document} {said}");
}
