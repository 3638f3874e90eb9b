//! Attacks that must not succeed: a laptop that sleeps in the middle of a deployment while somebody
//! else takes over, and values of the server's env file that try to leave through failures. What
//! happened is asked of the server. SECURITY.md says what is promised.
//!
//! `CM_SUSPENSIONS` is the number of changes before which a deployment is suspended (default 4; `make
//! faults` takes all of them).

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox, end, until};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const DOCKERFILE: &str = "apps/dashboard/Dockerfile";
const COMPOSE: &str = "docker-compose.production.yml";
const LOCK: &str = ".local/state/cm/curateme/lock.json";

/// Everything of the platform server that a deployment changes, but for the lock.
const STATE: &str = r#"docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Image}} {{.State}}' | sort
docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
git -C ~/platform rev-parse HEAD
cat ~/.local/state/cm/curateme/ledger.jsonl 2>/dev/null
ls -R ~/.local/state/cm/curateme/snapshots 2>/dev/null"#;

/// Makes the lock there somebody else's, as if the lease had lapsed meanwhile.
const TAKE_OVER: &str = r#"[ ! -e "$1" ] || sed -i 's/"nonce":"[^"]*"/"nonce":"00000000-0000-7000-8000-000000000000"/' "$1"
[ -e "$1" ] || { mkdir -p "$(dirname "$1")" && printf '%s\n' "$2" >"$1"; }
grep -c 00000000-0000-7000-8000-000000000000 "$1""#;

const ANOTHERS: &str = r#"{"schema":"cm.lock/1","owner":"bob@desk","nonce":"00000000-0000-7000-8000-000000000000","since":"2026-01-01T00:00:00Z","lease_seconds":3600,"process":{"machine":"desk","boot_id":"another","pid_namespace":1,"pid":1,"start":1}}"#;

fn on(sandbox: &Sandbox, script: &str, arguments: &[&str]) -> String {
    sandbox.server("platform", &[&["sh", "-c", script, "sh"], arguments].concat())
}

fn commit(sandbox: &Sandbox, message: &str) {
    sandbox.commit(message);
    push(sandbox);
}

fn push(sandbox: &Sandbox) {
    let pushed = sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

fn build(sandbox: &Sandbox) -> Answer {
    sandbox.laptop("cm-build", &["--service", "dashboard"])
}

/// cm-build, which stops itself before its change number `number`.
fn start(sandbox: &Sandbox, number: usize) -> Child {
    let said = std::fs::File::create(sandbox.home.path().join("said")).expect("a file");
    let directory = sandbox.laptop.display().to_string();
    let mut command = sandbox.home.command("cm-build", &["--service", "dashboard"], &directory);
    command.env("CM_STOP_BEFORE", format!("change:{number}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect("cm-build")
}

/// Whether the process is stopped; `None` if it has ended.
fn is_stopped(child: &mut Child) -> Option<bool> {
    if child.try_wait().expect("wait").is_some() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    Some(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

#[test]
fn a_laptop_that_wakes_up_after_somebody_else_took_over_changes_nothing() {
    let sandbox = Sandbox::up("attack-sleep");
    let wanted = std::env::var("CM_SUSPENSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    assert_eq!(build(&sandbox).code, 0);
    sandbox.change("apps/dashboard/VERSION", "1.0.0", "1.0.1", "dashboard: another version");
    push(&sandbox);
    let (mut number, mut survived) = (0, 0);
    while survived < wanted {
        number += 1;
        let mut child = start(&sandbox, number);
        let mut ended = false;
        until("it is suspended", Duration::from_secs(180), || {
            let stopped = is_stopped(&mut child);
            ended = stopped.is_none();
            ended || stopped == Some(true)
        });
        if ended {
            assert_eq!(end(&mut child, Duration::from_secs(5)), 0, "{}", said(&sandbox));
            break;
        }
        assert_eq!(on(&sandbox, TAKE_OVER, &[LOCK, ANOTHERS]), "1");
        // What was begun under the lock, at the same time, comes to its end.
        std::thread::sleep(Duration::from_secs(2));
        let before = on(&sandbox, STATE, &[]);
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::CONT).expect("awake");
        let code = end(&mut child, Duration::from_secs(120));
        println!("--- suspended before change {number}: exit {code}");
        assert_eq!(code, 11, "suspended before change {number}\n{}", said(&sandbox));
        assert_eq!(on(&sandbox, STATE, &[]), before, "suspended before change {number}\n{}", said(&sandbox));
        on(&sandbox, "rm -f -- \"$1\"", &[LOCK]);
        survived += 1;
    }
    assert!(survived >= wanted.min(4), "{survived} of {wanted}");
    let answer = build(&sandbox);
    assert_eq!(answer.code, 0, "the next plain run succeeds: {}", answer.stderr);
}

fn said(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.home.path().join("said")).expect("what it said")
}

/// A planted value and what must be found of it nowhere: plain, base64, URL-encoded, hex.
const PLANTED: [(&str, &str, &[&str]); 3] = [
    (
        "PLANTED_AUTH",
        "pl4nted/Auth+Value",
        &[
            "pl4nted/Auth+Value",
            "cGw0bnRlZC9BdXRoK1ZhbHV",
            "pl4nted%2FAuth%2BValue",
            "706c346e7465642f417574682b56616c7565",
        ],
    ),
    ("PLANTED_SHORT", "zq7xw", &["zq7xw", "enE3eH", "7a71377877"]),
    ("PLANTED_STRIPE", "51Hx0StripeLike", &["51Hx0StripeLike", "NTFIeDBTdHJpcGVMaWt"]),
];

/// Everything that was written on the laptop, and what the program said.
fn nothing_leaks(sandbox: &Sandbox, answer: &Answer, what: &str) {
    let mut texts = vec![("stdout".to_owned(), answer.stdout.clone()), ("stderr".to_owned(), answer.stderr.clone())];
    collect(&sandbox.home.path().join("state"), &mut texts);
    texts.push(("ledger".to_owned(), on(sandbox, "cat ~/.local/state/cm/curateme/ledger.jsonl 2>/dev/null || :", &[])));
    for (place, text) in &texts {
        for (name, _, forms) in PLANTED {
            for form in forms {
                assert!(!text.contains(form), "{what}: {name} as {form:?} in {place}: {text}");
            }
        }
    }
}

fn collect(dir: &Path, texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, texts);
        } else if path.is_file() {
            texts.push((
                path.display().to_string(),
                String::from_utf8_lossy(&std::fs::read(&path).expect("read")).into(),
            ));
        }
    }
}

#[test]
fn values_of_the_servers_env_file_do_not_leave_it_through_failures() {
    let sandbox = Sandbox::up("attack-secrets");
    let lines: String = PLANTED.iter().map(|(name, value, _)| format!("{name}={value}\n")).collect();
    on(&sandbox, "printf '%s' \"$1\" >> ~/platform/.env.production", &[&lines]);

    println!("--- a build argument that a failing RUN echoes");
    let all = PLANTED.map(|(name, ..)| format!("${{{name}}}")).join(" ");
    sandbox.change(
        COMPOSE,
        "      context: apps/dashboard\n      args:\n",
        &format!("      context: apps/dashboard\n      args:\n        LEAK: \"{all}\"\n"),
        "a build argument",
    );
    let dockerfile = sandbox.laptop.join(DOCKERFILE);
    let plain = std::fs::read_to_string(&dockerfile).expect("read");
    let leak = "ARG LEAK\nRUN for v in $LEAK; do echo \"$v\"; printf %s \"$v\" | base64; printf %s \"$v\" | od -An -tx1 | tr -d ' \\n'; echo; \
        python3 -c 'import sys, urllib.parse as u; print(u.quote(sys.argv[1], safe=\"\"))' \"$v\"; done; exit 9\nUSER app\n";
    std::fs::write(&dockerfile, plain.replace("USER app\n", leak)).expect("write");
    commit(&sandbox, "a failing step");
    let answer = build(&sandbox);
    assert_eq!(answer.code, 30, "{}", answer.stderr);
    assert!(answer.stderr.contains("${PLANTED_AUTH}"), "the variable is named: {}", answer.stderr);
    nothing_leaks(&sandbox, &answer, "a failing RUN");

    println!("--- a container that prints them and dies");
    std::fs::write(&dockerfile, &plain).expect("write");
    sandbox.change(COMPOSE, &format!("        LEAK: \"{all}\"\n"), "", "no build argument");
    let environment = "      PORT: \"3000\"\n    healthcheck: *http-healthcheck\n";
    let command = format!(
        "      PORT: \"3000\"\n      PG_CONN: \"{all}\"\n    command: [\"sh\", \"-c\", \"echo $$PG_CONN; for v in $$PG_CONN; do printf %s $$v | base64; done; exit 3\"]\n    healthcheck: *http-healthcheck\n"
    );
    let text = std::fs::read_to_string(sandbox.laptop.join(COMPOSE)).expect("read");
    assert_eq!(text.matches("  dashboard:\n").count(), 1);
    let (before, rest) = text.split_once("  dashboard:\n").expect("the service");
    let rest = rest.replacen(environment, &command, 1);
    std::fs::write(sandbox.laptop.join(COMPOSE), format!("{before}  dashboard:\n{rest}")).expect("write");
    commit(&sandbox, "a container that prints what it knows");
    let answer = sandbox.deploy(&["--dashboard", "--no-backup", "--skip-canary", "--skip-verify"]);
    assert_ne!(answer.code, 0, "{}", answer.stderr);
    nothing_leaks(&sandbox, &answer, "a container's log");

    println!("--- a port, a volume and a network that are made of one");
    for line in [
        "ports: [\"${PLANTED_AUTH}:80\"]",
        "volumes: [\"${PLANTED_SHORT}:${PLANTED_SHORT}\"]",
        "network_mode: \"${PLANTED_STRIPE}\"",
    ] {
        std::fs::write(
            sandbox.laptop.join(COMPOSE),
            text.replacen("  dashboard:\n", &format!("  dashboard:\n    {line}\n"), 1),
        )
        .expect("write");
        commit(&sandbox, "a value in the wrong place");
        for (program, arguments) in [("cm-health", &["--preflight"][..]), ("cm-build", &["--service", "dashboard"])] {
            let answer = sandbox.laptop(program, arguments);
            nothing_leaks(&sandbox, &answer, line);
        }
    }
}
