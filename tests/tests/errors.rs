//! Wrong calls, as somebody on call makes them: each says what is wrong, where, and what to do, has the exit status and
//! the code of its page in cm-errors(7), and leaves every file as it was. Those that need a server are provoked beside it.

use cm_testkit::{Home, repository};
use serde_json::Value;
use std::fs;

const TOML: &str = "project = \"shop\"\n[compose]\nfiles = [\"compose.yml\"]\n\
    [hosts.web]\naddress = \"local\"\ncheckout = \"~/checkout\"\n[groups]\nsite = [\"web\"]\n";

/// A command line, its exit status and code, and what a person has to read in it.
type Case = (&'static str, i32, &'static str, &'static str);

/// In a repository with one service, `web`, and a `cm.toml`.
const IN_A_PROJECT: [Case; 25] = [
    ("cm-detect --init", 6, "init.exists", "--dry-run"),
    ("cm-detect -C nowhere", 6, "config.no-directory", "nowhere"),
    ("cm-detect -C nowhere --init", 6, "config.no-directory", "nowhere"),
    ("cm-detect --base HEAD --group backend", 2, "usage.unknown-group", "site"),
    ("cm-detect --base HEAD --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-detect --base nothing", 20, "detect.unknown-base", "git fetch"),
    ("cm-detect --base HEAD --host wen", 6, "config.unknown-host", "\\\"web\\\"?"),
    ("cm-build", 2, "usage.nothing-named", "cm-detect"),
    ("cm-build --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-build --plan nothing.json", 4, "plan.read", "--dry-run"),
    ("cm-build --plan cm.toml", 4, "plan.shape", "it is not one JSON document"),
    ("cm-backup", 6, "backup.not-configured", "[backup]"),
    ("cm-backup --uri-env NOT_SET", 6, "backup.uri", "NOT_SET"),
    ("cm-backup --uri-env URI --method mongodump", 2, "usage.method", "--host"),
    ("cm-backup --uri-env URI --collection a --query {", 2, "usage.query", "Extended JSON"),
    ("cm-backup verify nothing.gz", 2, "backup.no-file", "cm-backup list"),
    ("cm-backup list nothing", 2, "usage.folder", "nothing"),
    ("cm-backup restore -", 2, "restore.stdin", "file"),
    ("cm-backup prune backups", 2, "usage.keep", "--keep"),
    ("cm-lock acquire --owner-pid 4194999", 2, "usage.owner-pid", "4194999"),
    ("cm-rollback --on-failure --run ../x", 2, "usage.run", "history"),
    ("cm-rollback --on-failure --run 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", 4, "journal.missing", "machine that began"),
    ("cm-rollback --to nothing", 2, "usage.unknown-release", "--list"),
    ("cm-record report --html page.html", 2, "usage.no-run", "history"),
    ("cm-record show nothing", 2, "usage.unknown-release", "history"),
];

/// The code, the whole text and the exit status of one call.
fn provoke(home: &Home, line: &str) -> (i32, String, String) {
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let arguments: Vec<_> = ["--log", "json"].into_iter().chain(words).collect();
    let answer = home.run(program, &arguments, "work", None);
    let last = answer.stderr.lines().last().unwrap_or_default();
    let event: Value = serde_json::from_str(last).unwrap_or_default();
    let code = event["error"]["code"].as_str().unwrap_or_default().to_owned();
    let said = if code.is_empty() { answer.stderr.clone() } else { last.to_owned() };
    (answer.code, code, said)
}

fn project() -> Home {
    let mut home = Home::new();
    home.set("URI", "mongodb://ada:secret-word@127.0.0.1:1/shop");
    let work = home.path().join("work");
    fs::create_dir_all(work.join("web")).expect("folder");
    fs::write(work.join("compose.yml"), "services:\n  web:\n    build: web\n").expect("write");
    fs::write(work.join("web/Dockerfile"), "FROM scratch\n").expect("write");
    fs::write(work.join("cm.toml"), TOML).expect("write");
    for command in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "shop"]] {
        let answer = home.run("git", command, "work", None);
        assert_eq!(answer.code, 0, "{command:?}: {answer:?}");
    }
    home
}

fn state(home: &Home) -> Vec<String> {
    // A run keeps its journal however it ends, and Git may write down what it looked at.
    let of_others = |file: &String| !file.starts_with("state/cm/runs/") && !file.contains("/.git/");
    home.files().into_iter().filter(of_others).collect()
}

#[test]
fn a_wrong_call_says_what_to_do_and_changes_nothing() {
    let known = fs::read_to_string(repository().join("crates/cm-docs/src/pages/cm-errors.codes")).expect("codes");
    let home = project();
    let before = state(&home);
    let mut wrong = Vec::new();
    for (line, exit, code, words) in IN_A_PROJECT {
        let (status, found, said) = provoke(&home, line);
        let documented = known.lines().any(|entry| entry.starts_with(&format!("{found}:")));
        if (status, found.as_str()) != (exit, code)
            || !said.contains(words)
            || said.contains("secret-word")
            || !documented
        {
            wrong.push(format!("{line}\n  wanted {exit} {code} {words:?}\n  {status} {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(&home), before);
}
