//! A server in trouble: an engine that refuses one command, files that cannot be written, a checkout that git does
//! not like. Each is met by the program that needs it; it says what and where, has the exit status and the code of
//! its entry in cm-errors(7), and what ran before still runs.
//!
//! Docker on the servers is the real one, behind a wrapper that refuses the commands that a test names.

#[path = "trouble/cases.rs"]
mod cases;

use cases::{OF_THE_ENGINE_AND_FILES, ON_THE_WAY_BACK, Trouble, WITH_ANOTHER_SERVICE};
use cm_testkit::{Answer, RELOAD_SSHD, Sandbox, repository};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Command;

/// In the place of `docker` on a server: while `/tmp/trouble` is there, its first line is an extended regular
/// expression for the command lines that end with the status in the second line and say the rest; or do it, where
/// the rest begins with "do ".
const WRAPPER: &str = r#"#!/bin/sh
if [ -f /tmp/trouble ] && printf '%s\n' "$*" | tr '\n' ' ' | grep -Eq -- "$(sed -n 1p /tmp/trouble)"; then
    status=$(sed -n 2p /tmp/trouble)
    work=$(sed -n '3s/^do //p' /tmp/trouble)
    [ -z "$work" ] || { eval "$work"; exit "$status"; }
    [ "$status" -ne 0 ] || { sed -n '3,$p' /tmp/trouble && exit 0; }
    sed -n '3,$p' /tmp/trouble >&2
    exit "$status"
fi
exec /usr/bin/docker "$@"
"#;

const COMPOSE: &str = "docker-compose.production.yml";

const EXTRA: &str = "  extra:
    <<: *restart
    container_name: curateme-extra
    image: curateme/docs
    pull_policy: never
    entrypoint: [\"false\"]

  backend-b2b:
";

/// A new run that plans one action for a service of the platform.
fn plan(sandbox: &Sandbox, action: &str, service: &str) -> String {
    let mut document = call(sandbox, "cm-detect --base HEAD </dev/null").document();
    document["services"] = json!([{"name": service, "host": "platform", "action": action}]);
    document.to_string()
}

fn on(sandbox: &Sandbox, line: &str) -> String {
    sandbox.server("platform", &["sh", "-c", line])
}

fn as_root(sandbox: &Sandbox, line: &str, stdin: &str) {
    let mut docker = Command::new("docker")
        .args(["exec", "-i", &sandbox.container("platform"), "sh", "-c", line])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("docker");
    std::io::Write::write_all(&mut docker.stdin.take().expect("a pipe"), stdin.as_bytes()).expect("written");
    assert!(docker.wait().expect("docker").success(), "{line}");
}

fn call(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; export CM_LOG=json; {line}")])
}

/// The containers that run, by Docker itself.
fn running(sandbox: &Sandbox) -> String {
    on(sandbox, "/usr/bin/docker ps --no-trunc --format '{{.ID}} {{.Names}}' | sort")
}

/// The last error that was told.
fn error(answer: &Answer) -> Value {
    let mut events = answer.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.rfind(|event| event["error"].is_object()).unwrap_or_default()["error"].clone()
}

#[expect(clippy::print_stdout, reason = "whoever runs it with --nocapture wants to read them")]
fn print(name: &str, code: i32, error: &Value) {
    println!("{name}: {code} {}", serde_json::to_string_pretty(error).expect("JSON"));
}

/// Meets the trouble; what was wrong with the answer, if anything was.
fn meet(sandbox: &Sandbox, trouble: &Trouble) -> Option<String> {
    let before = running(sandbox);
    if !trouble.breaks.is_empty() {
        on(sandbox, trouble.breaks);
    }
    let [pattern, status, said] = trouble.docker;
    if !pattern.is_empty() {
        as_root(sandbox, "cat >/tmp/trouble", &format!("{pattern}\n{status}\n{said}\n"));
    }
    let answer = call(sandbox, trouble.call);
    as_root(sandbox, "rm -f /tmp/trouble", "");
    if !trouble.repairs.is_empty() {
        on(sandbox, trouble.repairs);
    }
    let error = error(&answer);
    let known = std::fs::read_to_string(repository().join("crates/cm-document/src/codes.txt")).expect("codes");
    let mut wrong = String::new();
    if (answer.code, error["code"].as_str()) != (trouble.exit, Some(trouble.code)) {
        let _ = write!(wrong, "  wanted {} {}\n  {answer:?}", trouble.exit, trouble.code);
    }
    // Wrong here, and on no server.
    let of_a_host = !["config.no-env-snapshot", "journal.write"].contains(&trouble.code);
    let text = error.to_string();
    if !text.contains(trouble.words) || (of_a_host && !text.contains("platform")) {
        let _ = write!(wrong, "  wanted {:?} and the host in {error}", trouble.words);
    }
    if !error["hint"].is_string() {
        wrong.push_str("  it says nothing about what to do");
    }
    if !known.lines().any(|entry| entry.starts_with(&format!("{}:", trouble.code))) {
        wrong.push_str("  the code is in no manual");
    }
    let after = running(sandbox);
    if after != before && !trouble.late {
        let _ = write!(wrong, "  ran before: {before}\n  runs now: {after}");
    }
    print(trouble.name, answer.code, &error);
    (!wrong.is_empty()).then(|| format!("{}:\n{wrong}", trouble.name))
}

/// Docs, Caddy and the database run, with two releases of docs and two backups, and Docker is behind the wrapper.
fn platform() -> Sandbox {
    let mut sandbox = Sandbox::up("trouble");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    assert_eq!(sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]).code, 0);
    let first =
        call(&sandbox, "cm-build --service docs --service caddy --service mongodb </dev/null | cm-health | cm-record");
    assert_eq!(first.code, 0, "{}", first.stderr);
    for _ in 0..2 {
        let backup = call(&sandbox, "cm-backup --allow-empty </dev/null; sleep 1");
        assert_eq!(backup.code, 0, "{}", backup.stderr);
    }
    let before = first.document()["run"]["id"].as_str().expect("an id").to_owned();
    sandbox.change(
        "apps/docs/content/index.md",
        "# Curate-Me documentation",
        "# The documentation",
        "docs: another title",
    );
    let second =
        call(&sandbox, "git push -q origin HEAD:develop && cm-build --service docs </dev/null | cm-health | cm-record");
    assert_eq!(second.code, 0, "{}", second.stderr);
    sandbox.home.set("BEFORE", &before);
    sandbox.home.set("SECOND", second.document()["run"]["id"].as_str().expect("an id"));
    for (action, service) in [("build", "docs"), ("restart", "docs"), ("reload", "caddy"), ("remove", "docs")] {
        std::fs::write(sandbox.home.path().join(format!("{action}.json")), plan(&sandbox, action, service))
            .expect("write");
    }
    as_root(&sandbox, "cat >/usr/local/bin/docker && chmod 755 /usr/local/bin/docker", WRAPPER);
    let small =
        "mkdir /home/curateme/full && mount -t tmpfs -o size=200m,nr_inodes=2,mode=777 none /home/curateme/full";
    as_root(&sandbox, small, "");
    sandbox
}

/// An sshd that opens no tunnels: what is behind one was not asked, and is not called unhealthy.
fn without_tunnels(sandbox: &Sandbox) {
    let ended =
        "for socket in $(ls $XDG_RUNTIME_DIR/cm/ssh-* | grep -v lock); do ssh -S $socket -O exit x; done 2>/dev/null;";
    on(sandbox, "/usr/bin/docker start curateme-docs");
    as_root(sandbox, &format!("echo 'AllowTcpForwarding no' >>/etc/ssh/sshd_config; {RELOAD_SSHD}"), "");
    let cases = [
        ("cm-health --service docs --timeout 6s", 41, "health.unknown"),
        ("cm-backup", 21, "host.forward"),
        ("cm-health --preflight", 6, "preflight.tunnels"),
    ];
    for (program, exit, code) in cases {
        let refused = call(sandbox, &format!("{ended} {program} </dev/null"));
        let error = error(&refused);
        assert_eq!((refused.code, error["code"].as_str()), (exit, Some(code)), "{}", refused.stderr);
        assert!(refused.stderr.contains("AllowTcpForwarding"), "{}", refused.stderr);
    }
    as_root(sandbox, &format!("sed -i '/^AllowTcp/d' /etc/ssh/sshd_config; {RELOAD_SSHD}"), "");
    let opened = call(sandbox, &format!("{ended} cm-health --preflight </dev/null"));
    assert_eq!(opened.code, 0, "{}", opened.stderr);
}

/// A checkout that is there, and is not the one that the containers were made from; and one that is.
fn another_checkout(sandbox: &Sandbox) {
    on(sandbox, "cp -a platform other && ln -s platform link");
    for (directory, strays) in [("link", false), ("other", true)] {
        for program in ["cm-health --preflight", "cm-build --dry-run --service docs", "cm-build --service docs"] {
            let line =
                format!("sed -i 's,~/platform,~/{directory},' cm.toml; {program} </dev/null; git checkout -q cm.toml");
            let answer = call(sandbox, &line);
            let said = &answer.stderr;
            let words = format!("not from ~/{directory}: paths in the compose file");
            assert_eq!(said.contains(&words), strays, "{program} in {directory}: {said}");
            assert_eq!(said.contains("was made from /home/curateme/"), strays, "{program} in {directory}: {said}");
            // Whoever builds there would take the other's containers.
            if program.starts_with("cm-build") && strays {
                let error = error(&answer);
                let how = (error["code"].as_str(), error["exit"].as_u64());
                assert_eq!(how, (Some("detect.shared-project"), Some(6)), "{program}: {said}");
            }
        }
    }
}

#[test]
fn a_server_in_trouble_is_named_and_keeps_what_it_runs() {
    let sandbox = platform();
    let mut wrong = Vec::new();
    let mut meet_all =
        |troubles: &[Trouble]| wrong.extend(troubles.iter().filter_map(|trouble| meet(&sandbox, trouble)));
    meet_all(OF_THE_ENGINE_AND_FILES);
    meet_all(ON_THE_WAY_BACK);
    sandbox.change(COMPOSE, "  backend-b2b:\n", EXTRA, "another service");
    meet_all(WITH_ANOTHER_SERVICE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let followers = on(&sandbox, "pgrep -fc 'docker event[s]' || :");
    assert_eq!(followers, "0", "what followed the events has ended with its program");
    without_tunnels(&sandbox);
    another_checkout(&sandbox);

    // After all that, the same plan is carried out.
    let last = call(&sandbox, "cm-build <~/build.json | cm-health");
    assert_eq!(last.code, 0, "{}", last.stderr);
}
