//! Documents and servers that want to exhaust, command or mislead the machine that deploys. Every attack is made
//! on the real programs, with a limit of memory (`ulimit -v`) and a deadline: each ends by itself, says what is
//! wrong, and nothing of the laptop is read, written or run. What reaches real servers is in `attacks.rs`.
//!
//! `CM_HOSTILE=1` makes each attack on every program; without it each is made on some.

use cm_testkit::{Answer, Home, sample_document};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What each program is called with.
const CALLS: [&str; 9] = [
    "cm-lock",
    "cm-detect",
    "cm-backup",
    "cm-build",
    "cm-health --timeout 2s",
    "cm-verify",
    "cm-rollback --on-failure",
    "cm-record",
    "cm-lock release",
];

/// Those of `calls` that are made in turn `number`: all in the long version, else two.
fn some<'a>(calls: &[&'a str], number: usize) -> Vec<&'a str> {
    let two = [number % calls.len(), (number + calls.len() / 2) % calls.len()];
    let all = std::env::var_os("CM_HOSTILE").is_some();
    calls.iter().enumerate().filter(|(at, _)| all || two.contains(at)).map(|(_, call)| *call).collect()
}

/// Address space of a program, in KB: threads, allocator and libraries want more than is ever used.
const MEMORY: &str = "3000000";

/// A test build on a busy machine needs a multiple of what a release build needs, and a question to a server
/// has a limit of its own, of a minute at most.
const DEADLINE: Duration = Duration::from_secs(150);

const CONFIGURATION: &str = r#"project = "shop"
[compose]
files = ["compose.yml"]
[hosts.h]
address = "ada@nowhere.invalid"
[backup]
service = "db"
uri_env = "URI"
database = "shop"
directory = "/backups"
"#;

/// A home with a project of two services in `tmp`.
fn home(configuration: &str) -> Home {
    let home = Home::new();
    let at = home.path().join("tmp");
    std::fs::write(at.join("cm.toml"), configuration).expect("write");
    std::fs::write(at.join("compose.yml"), "services: {web: {image: web}, db: {image: mongo}}\n").expect("write");
    for line in [&["init", "-q", "-b", "develop"][..], &["add", "."], &["commit", "-q", "-m", "x"]] {
        home.run("git", line, "tmp", None).assert().success();
    }
    home
}

/// Runs `line` with the limits; it must not need them.
fn limited(home: &Home, line: &str, input: Option<&[u8]>, what: &str) -> Answer {
    let began = Instant::now();
    let limits = format!("ulimit -v {MEMORY}; ulimit -c 0; exec timeout -s KILL {} {line}", DEADLINE.as_secs());
    let answer = home.run("bash", &["-c", &limits], "tmp", input);
    assert!(began.elapsed() < DEADLINE, "{what}: {line} took {:?}: {}", began.elapsed(), answer.stderr);
    // 1 is a bug, 101 a panic, 134 and more an abort or a signal: out of memory is one of these.
    assert!(![1, 101].contains(&answer.code) && answer.code < 126, "{what}: {line}: {answer:?}");
    assert!(!answer.stderr.contains("panicked"), "{what}: {line}: {}", answer.stderr);
    answer
}

fn document(change: impl FnOnce(&mut Value)) -> String {
    let mut value = sample_document();
    change(&mut value);
    value.to_string()
}

fn services(count: usize, host: impl Fn(usize) -> String) -> Value {
    let service = |n: usize| json!({"name": format!("s{n}"), "host": host(n), "action": "build"});
    (0..count).map(service).collect()
}

fn failed(change: impl FnOnce(&mut Value)) -> String {
    document(|value| {
        value["status"] = "failed".into();
        value["error"] = json!({"stage": "cm-build", "step": "build", "code": "build.x", "message": "m", "causes": [], "hint": null, "retryable": false, "exit": 30});
        change(value);
    })
}

/// Documents of more than any reader takes: one program stands for all, which read with the same code.
fn refused() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str, count: usize| {
        let value = format!("\"x\":{}0{}", open.repeat(count), close.repeat(count));
        document(|value| value["x"] = 0.into()).replace("\"x\":0", &value)
    };
    vec![
        ("4 million numbers", document(|value| value["x"] = json!(vec![1; 4_000_000]))),
        ("brackets 4 million deep", deep("[", "]", 4_000_000)),
        ("objects a million deep", deep("{\"a\":", "}", 1_000_000)),
        ("140,000 services", document(|value| value["services"] = services(140_000, |_| "h".to_owned()))),
        (
            "600,000 keys",
            document(|value| {
                let keys: serde_json::Map<_, _> = (0..600_000).map(|n| (n.to_string(), json!(0))).collect();
                value["x"] = keys.into();
            }),
        ),
    ]
}

/// Documents of as much as a reader takes.
fn exhausting() -> Vec<(&'static str, String)> {
    let release = |n: usize, host: String| json!({"kind": "release", "host": host, "services": {format!("s{n}"): {"image_id": ""}}});
    vec![
        ("as many values as a document may have", document(|value| value["x"] = json!(vec![1; 390_000]))),
        (
            "as many services, each on a host of its own",
            document(|value| value["services"] = services(10_000, |n| format!("h{n}"))),
        ),
        ("as many services on one host", document(|value| value["services"] = services(10_000, |_| "h".to_owned()))),
        (
            "as many stages",
            document(|value| value["stages"] = json!(vec![json!({"tool": "cm-build", "status": "ok"}); 10_000])),
        ),
        (
            "as many hosts to roll back",
            failed(|value| value["undo"] = (0..10_000).map(|n| release(n, format!("h{n}"))).collect()),
        ),
        (
            "one host to roll back as often",
            failed(|value| value["undo"] = (0..10_000).map(|n| release(n, "h".to_owned())).collect()),
        ),
        (
            "60,000 hosts that were built on",
            document(|value| {
                let host = |n: usize| (format!("h{n}"), json!({"services": {"w": {"action": "build"}}}));
                let hosts: serde_json::Map<_, _> = (0..60_000).map(host).collect();
                value["facts"]["build"] = json!({"hosts": hosts});
            }),
        ),
        ("a message of 8 MB of escapes", failed(|value| value["error"]["message"] = "\u{1b}".repeat(1_300_000).into())),
    ]
}

#[test]
fn no_document_keeps_a_program_busy_or_takes_its_memory() {
    let home = home(CONFIGURATION);
    for (what, input) in refused() {
        assert_eq!(limited(&home, "cm-health", Some(input.as_bytes()), what).code, 4, "{what}");
    }
    for (number, (what, input)) in exhausting().into_iter().enumerate() {
        // The gate and the rollback read most of a document.
        let read = ["cm-health --timeout 2s", "cm-rollback --on-failure"].into_iter().chain(some(&CALLS, number));
        for call in BTreeSet::from_iter(read) {
            let answer = limited(&home, call, Some(input.as_bytes()), what);
            assert!(answer.stdout.len() <= 8 << 20, "{what}: {call} writes what nobody reads: {}", answer.stdout.len());
        }
    }
}

/// Strings where a program might make a path, an option, a revision or a command of them.
const EVIL: [&str; 12] = [
    "../../../victim",
    "/etc/passwd",
    "--help",
    "-oProxyCommand=touch executed",
    "--upload-pack=touch executed",
    "$(touch executed)",
    "`touch executed`",
    "a;touch executed",
    "a\ntouch executed",
    "HEAD",
    "\u{1b}]0;title\u{7}\u{202e}",
    "",
];

/// Every path to a string in a document that has one of everything.
fn strings(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| strings(value, &format!("{at}/{key}"), all)),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, value)| strings(value, &format!("{at}/{n}"), all)),
        Value::String(_) => all.push(at.to_owned()),
        _ => {}
    }
}

/// A failed deployment with everything that programs read of one.
fn full() -> Value {
    let mut value = serde_json::from_str::<Value>(&failed(|_| ())).expect("JSON");
    let commit = value["commit"].clone();
    value["services"][0]["base"] = commit.clone();
    value["stages"] = json!([{"tool": "cm-build", "step": "build", "version": "1", "status": "failed", "exit": 30, "changed": true, "started_at": "2026-05-04T09:30:00Z", "duration_ms": 1, "summary": "s"}]);
    value["facts"] = json!({
        "lock": {"nonce": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a11", "file": "x.lock", "hosts": ["h"], "holder_pid": 1, "owner_pid": 1},
        "backup": {"verified": true, "file": "/backups/x.gz", "host": "h", "manifest": "/backups/x.json", "database": "shop", "sha256": "00"},
        "build": {"hosts": {"h": {"project": "shop", "checkout": "~/shop", "from": commit, "to": commit, "reached": "moved",
            "services": {"web": {"action": "build", "image": "web", "image_id": "sha256:aa", "tag": "web:cm-1", "config_hash": "x"}}}}},
        "health": {"verdict": "healthy", "services": [{"host": "h", "service": "web", "state": "healthy"}]},
        "verify": {"verdict": "pass"},
    });
    value["undo"] = json!([{"tool": "cm-build", "kind": "release", "host": "h", "checkout": "~/shop", "from": commit, "to": commit,
        "services": {"web": {"action": "build", "image": "web", "image_id": "sha256:aa"}}}]);
    value
}

#[test]
fn no_string_of_a_document_is_run_or_names_a_file_of_this_machine() {
    let mut all = Vec::new();
    strings(&full(), "", &mut all);
    assert!(all.len() > 45, "{all:?}");
    let home = home(CONFIGURATION);
    let (mut tried, mut wrong) = (0, String::new());
    for (number, path) in all.iter().enumerate() {
        for (turn, call) in some(&CALLS, number).into_iter().enumerate() {
            let evil = EVIL[(number + turn) % EVIL.len()];
            let mut value = full();
            *value.pointer_mut(path).expect("a string") = evil.into();
            let answer = limited(&home, call, Some(value.to_string().as_bytes()), path);
            tried += 1;
            let strays: Vec<_> =
                home.files().into_iter().filter(|file| file.contains("executed") || file.contains("victim")).collect();
            if !strays.is_empty() || answer.stderr.contains("root:x:") || answer.stderr.contains(['\u{1b}', '\u{202e}'])
            {
                let _ = writeln!(wrong, "{path} = {evil:?}: {call}: {strays:?} {}", answer.stderr);
            }
        }
    }
    assert!(wrong.is_empty() && tried >= all.len() * 2, "{tried} tried\n{wrong}");
}

/// In the place of `docker` and `docker compose` on a server.
const DOCKERS: [(&str, &str); 8] = [
    ("a line of 60 MB", "yes | tr -d '\\n' | head -c 60000000"),
    ("an error of 60 MB", "yes | tr -d '\\n' | head -c 60000000 >&2; exit 1"),
    ("60 MB of lines", "yes '{\"ID\":\"x\"}' | head -c 60000000"),
    ("a JSON bomb", "printf '['; yes 1, | tr -d '\\n' | head -c 15000000; printf '1]'"),
    ("brackets", "yes '[' | tr -d '\\n' | head -c 15000000"),
    (
        "escapes",
        "printf '\\033]52;c;ZXZpbA==\\007\\033[2J\\342\\200\\256evil\\n'; printf '\\033]0;evil\\007\\n' >&2; exit 1",
    ),
    ("what begins as an answer does", "printf '{\\n'; head -c 1000000 /dev/urandom"),
    ("nothing that is text", "head -c 1000000 /dev/urandom"),
];

/// Where the small ones begin.
const SMALL: usize = 5;

/// What a ledger may be in the place of a ledger.
const LEDGERS: [(&str, &str); 6] = [
    ("200,000 small lines", "for n in $(seq 200000); do printf '{\"id\":\"%s\"}\\n' $n; done >ledger.jsonl"),
    ("a line of 20 MB", "head -c 20000000 /dev/zero | tr '\\0' 1 >ledger.jsonl"),
    ("a device", "ln -s /dev/zero ledger.jsonl"),
    ("a pipe", "mkfifo ledger.jsonl"),
    ("a directory", "mkdir ledger.jsonl"),
    (
        "escapes and names",
        r#"printf '%s\n' '{"schema":"cm.release/1","id":"../../x","at":"2026-01-01T00:00:00Z","verdict":"verified"}' '{"schema":"cm.release/1","id":"01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10","at":"2026-01-01T00:00:00Z","actor":"\u001b]0;evil\u0007\u202e","commit":"--output=executed","branch":"$(touch executed)","verdict":"verified","services":{"web":{"commit":"--output=executed","image_id":"--help"}}}' >ledger.jsonl"#,
    ),
];

/// This machine as a server, with `docker` in the place of Docker and what `ledger` makes as its ledger.
fn server(docker: &str, ledger: &str) -> Home {
    let mut home = home(
        &CONFIGURATION
            .replace("ada@nowhere.invalid", "local")
            .replace("\n[backup]", "\ncheckout = \"~/shop\"\n[backup]"),
    );
    home.run("bash", &["-c", "cp -a tmp shop && mkdir -p bin state/cm/shop .local/state/cm/shop"], "", None)
        .assert()
        .success();
    let script = format!("#!/bin/sh\n{docker}\n");
    home.run("bash", &["-c", "cat >bin/docker && chmod 755 bin/docker"], "", Some(script.as_bytes()))
        .assert()
        .success();
    for place in ["state/cm/shop", ".local/state/cm/shop"] {
        home.run("bash", &["-c", ledger], place, None).assert().success();
    }
    let path = format!("{}:{}", home.path().join("bin").display(), home.variable("PATH").expect("a PATH"));
    home.set("PATH", &path);
    home
}

const OF_DOCKER: [&str; 4] =
    ["cm-health --all --timeout 2s", "cm-health --preflight", "cm-detect", "cm-build --service web"];

const OF_A_LEDGER: [&str; 4] = ["cm-detect", "cm-rollback", "cm-rollback --list", "cm-record history"];

fn withstands(home: &Home, calls: Vec<&str>, what: &str) {
    for call in calls {
        let answer = limited(home, &format!("{call} </dev/null"), None, what);
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{what}: {call}: raw escapes: {said:?}");
        assert!(said.len() < 1 << 20, "{what}: {call} repeats {} bytes", said.len());
        assert!(!home.files().iter().any(|file| file.ends_with("executed")), "{what}: {call}");
    }
}

#[test]
fn no_answer_of_a_server_exhausts_or_commands_the_laptop() {
    // The large ones take minutes: a shell on the server reads each answer whole, up to the limit of its question.
    let all = std::env::var_os("CM_HOSTILE").is_some();
    for (number, (what, docker)) in DOCKERS.into_iter().enumerate().skip(if all { 0 } else { SMALL }) {
        withstands(&server(docker, "true"), some(&OF_DOCKER, number), what);
    }
}

#[test]
fn no_ledger_of_a_server_exhausts_or_commands_the_laptop() {
    for (number, (what, ledger)) in LEDGERS.into_iter().enumerate() {
        withstands(&server("exit 1", ledger), some(&OF_A_LEDGER, number), what);
    }
}
