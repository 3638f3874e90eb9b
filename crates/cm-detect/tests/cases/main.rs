//! Small projects, a change in each, and what every service needs after it. `cases.jsonl` was
//! judged by Compose 2.40.3 and BuildKit; `siblings.jsonl` has more of each kind. A line is a
//! project: its files and links, the compose files that flags name, a `cm.toml` for `--config`,
//! and changes with the wanted actions. `ACTION|warn` is also met by a warning that names the
//! service or a variable, `>=ACTION` by a stronger action; `also` must be in what is said.
//!
//! A service may get more than it needs where that cannot be known without a server: at most
//! one change in a hundred.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The actions from the weakest to the strongest.
const ORDER: [&str; 7] = ["none", "reload", "restart", "recreate", "build", "remove", "new"];

/// Changes of which a service may get more than it needs, of a hundred.
const MAX_EXTRA: usize = 1;

#[test]
fn every_change_is_seen_and_nothing_valid_is_refused() {
    let (mut changes, mut wrong, mut extra) = (0, Vec::new(), Vec::new());
    let lines = [include_str!("cases.jsonl"), include_str!("siblings.jsonl")].into_iter().flat_map(str::lines);
    let cases: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("a case")).collect();
    let part = cases.len().div_ceil(THREADS);
    let all: Vec<Vec<_>> = std::thread::scope(|scope| {
        let judge_all = |part: &[Value]| part.iter().map(judge).collect::<Vec<_>>();
        let parts: Vec<_> = cases.chunks(part).map(|part| scope.spawn(move || judge_all(part))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect::<Vec<Vec<_>>>()
    });
    for (case, judged) in cases.iter().zip(all) {
        changes += judged.len();
        for (label, verdict) in judged {
            match verdict {
                Verdict::Right => {}
                Verdict::Extra(what) => extra.push(format!("{}: {label}: {what}", case["id"])),
                Verdict::Wrong(what) => wrong.push(format!("{}: {label}: {what}", case["id"])),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {changes} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(extra.len() * 100 <= changes * MAX_EXTRA, "{} of {changes} do more:\n{}", extra.len(), extra.join("\n"));
}

/// Each change is a process of its own, most of whose time is its start.
const THREADS: usize = 4;

enum Verdict {
    Right,
    Extra(String),
    Wrong(String),
}

/// Each change of a case with what came of it.
fn judge(case: &Value) -> Vec<(String, Verdict)> {
    let directory = tempfile::tempdir().expect("a directory");
    let probes = case["probes"].as_array().expect("changes");
    repository(directory.path(), case, probes);
    let mut arguments: Vec<String> = Vec::new();
    for file in case["compose"].as_array().expect("files") {
        arguments.extend(["--compose-file".to_owned(), text(file).to_owned()]);
    }
    if let Some(config) = case["config"].as_str() {
        std::fs::write(directory.path().join("cm.toml"), config).expect("write");
        arguments.extend(["--config".to_owned(), "cm.toml".to_owned()]);
    }
    let one = |(number, probe): (usize, &Value)| {
        let head = format!("v{number}");
        let mut detect = Command::new(env!("CARGO_BIN_EXE_cm-detect"));
        detect.args(["--repo", "r.git", "--base", "main", "--head", &head, "--skip-syntax-check"]).args(&arguments);
        let output = clean(&mut detect, directory.path()).stdin(Stdio::null()).output().expect("runs");
        (text(&probe["label"]).to_owned(), compare(probe, &output))
    };
    probes.iter().enumerate().map(one).collect()
}

fn compare(probe: &Value, output: &Output) -> Verdict {
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Verdict::Wrong(format!("refused: {said}"));
    }
    if let Some(also) = probe["also"].as_str().filter(|also| !said.contains(also)) {
        return Verdict::Wrong(format!("{also:?} is not in {said}"));
    }
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let services = document["services"].as_array().expect("services").iter();
    let mut found: BTreeMap<&str, &str> =
        services.map(|service| (text(&service["name"]), text(&service["action"]))).collect();
    let wanted = probe["want"].as_object().expect("what is wanted");
    for name in wanted.keys() {
        found.entry(name).or_insert("none");
    }
    let rank = |action: &str| ORDER.iter().position(|known| *known == action).expect(action);
    let mut verdict = Verdict::Right;
    for (name, action) in found {
        let rule = wanted.get(name).and_then(Value::as_str).unwrap_or("none");
        let or_warned = rule.ends_with("|warn");
        let least = rule.trim_end_matches("|warn").trim_start_matches(">=");
        // A new service is one that is not there before: it is built or started.
        let least = if least == "new" { "recreate" } else { least };
        let what = || format!("{name}: wanted {rule}, got {action}");
        if rank(action) < rank(least) && !(or_warned && warned(&said, name)) {
            return Verdict::Wrong(what());
        }
        if rank(action) > rank(least) && !or_warned && !rule.starts_with(">=") {
            verdict = Verdict::Extra(what());
        }
    }
    verdict
}

/// Whether a warning names the service, or a variable.
fn warned(said: &str, service: &str) -> bool {
    let mut warnings = said.lines().filter(|line| line.contains("[WARN]"));
    warnings.any(|line| {
        let words = line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
        words.clone().any(|word| word == service)
            || words.clone().any(|word| {
                word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && word != "WARN"
            })
    })
}

/// A bare repository with the branch `main`, and `v0`, `v1`, … for each change.
fn repository(directory: &Path, case: &Value, probes: &[Value]) {
    run(Command::new("git").args(["init", "-q", "--bare", "r.git"]), directory, b"");
    let mut stream = Vec::new();
    let files = case["files"].as_object().expect("files");
    let links = case["links"].as_object().expect("links");
    commit(&mut stream, "main", &[(files, "100644"), (links, "120000")], &[], true);
    for (number, probe) in probes.iter().enumerate() {
        let puts = probe["puts"].as_object().expect("puts");
        let deleted = probe["dels"].as_array().expect("dels");
        commit(&mut stream, &format!("v{number}"), &[(puts, "100644")], deleted, false);
    }
    run(Command::new("git").args(["--git-dir", "r.git", "fast-import", "--quiet"]), directory, &stream);
}

fn commit(
    stream: &mut Vec<u8>,
    branch: &str,
    files: &[(&serde_json::Map<String, Value>, &str)],
    deleted: &[Value],
    is_first: bool,
) {
    let mark = if is_first { "mark :1\n" } else { "" };
    let from = if is_first { "" } else { "from :1\n" };
    let head = format!("commit refs/heads/{branch}\n{mark}committer a <a@x> 1700000000 +0000\ndata 1\nx\n{from}");
    stream.extend(head.into_bytes());
    for path in deleted {
        stream.extend(format!("D {}\n", quoted(text(path))).into_bytes());
    }
    for (files, mode) in files {
        for (path, content) in *files {
            let content = text(content);
            let entry = format!("M {mode} inline {}\ndata {}\n{content}\n", quoted(path), content.len());
            stream.extend(entry.into_bytes());
        }
    }
    stream.push(b'\n');
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

fn run(command: &mut Command, directory: &Path, input: &[u8]) {
    let mut child = clean(command, directory).stdin(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("stdin").write_all(input).expect("written");
    assert!(child.wait().expect("its end").success());
}

fn clean<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(directory)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
