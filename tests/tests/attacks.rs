//! An attack that must not succeed: a laptop that sleeps in the middle of a deployment, a rollback, a record or the removal
//! of what is old while somebody else takes over. What happened is asked of the server. SECURITY.md says what is promised.
//!
//! `CM_SUSPENSIONS` is the number of changes before which a deployment is suspended (default 4; `make
//! faults` takes all of them).

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox, end, until};
use std::process::{Child, Stdio};
use std::time::Duration;

const LOCK: &str = ".local/state/cm/curateme/lock.json";

/// Everything of the platform server that a deployment changes, but for the lock.
const STATE: &str = r#"docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Image}} {{.State}}' | sort
docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
git -C ~/platform rev-parse HEAD
cat ~/.local/state/cm/curateme/ledger.jsonl 2>/dev/null
ls -R ~/.local/state/cm/curateme/snapshots 2>/dev/null
ls ~/backups 2>/dev/null"#;

/// Makes the lock there somebody else's, as if the lease had lapsed meanwhile.
const TAKE_OVER: &str = r#"[ ! -e "$1" ] || sed -i 's/"nonce":"[^"]*"/"nonce":"00000000-0000-7000-8000-000000000000"/' "$1"
[ -e "$1" ] || { mkdir -p "$(dirname "$1")" && printf '%s\n' "$2" >"$1"; }
grep -c 00000000-0000-7000-8000-000000000000 "$1""#;

const ANOTHERS: &str = r#"{"schema":"cm.lock/1","owner":"bob@desk","nonce":"00000000-0000-7000-8000-000000000000","since":"2026-01-01T00:00:00Z","lease_seconds":3600,"process":{"machine":"desk","boot_id":"another","pid_namespace":1,"pid":1,"start":1}}"#;

fn on(sandbox: &Sandbox, script: &str, arguments: &[&str]) -> String {
    sandbox.server("platform", &[&["sh", "-c", script, "sh"], arguments].concat())
}

fn push(sandbox: &Sandbox) {
    let pushed = sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

fn build(sandbox: &Sandbox) -> Answer {
    sandbox.laptop("cm-build", &["--service", "dashboard"])
}

/// A program that stops itself: `stop` is what CM_STOP_BEFORE takes.
fn start(sandbox: &Sandbox, (program, arguments): (&str, &[&str]), stop: &str) -> Child {
    let said = std::fs::File::create(sandbox.home.path().join("said")).expect("a file");
    let directory = sandbox.laptop.display().to_string();
    let mut command = sandbox.home.command(program, arguments, &directory);
    command.env("CM_STOP_BEFORE", stop);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect(program)
}

/// Whether the process is stopped; `None` if it has ended.
fn is_stopped(child: &mut Child) -> Option<bool> {
    if child.try_wait().expect("wait").is_some() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    Some(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

/// The program is stopped, somebody else takes the lock over, and it wakes up: the exit status, or `None` if it ended
/// well before it was stopped.
///
/// # Panics
/// If it changes anything then, the other's lock included.
fn suspended(sandbox: &Sandbox, call: Call<'_>, stop: &str, done: i32) -> Option<i32> {
    let mut child = start(sandbox, call, stop);
    let mut ended = false;
    until("it is suspended", Duration::from_secs(180), || {
        let stopped = is_stopped(&mut child);
        ended = stopped.is_none();
        ended || stopped == Some(true)
    });
    if ended {
        assert_eq!(end(&mut child, Duration::from_secs(5)), done, "{}", said(sandbox));
        return None;
    }
    assert_eq!(on(sandbox, TAKE_OVER, &[LOCK, ANOTHERS]), "1");
    // What was begun under the lock, at the same time, comes to its end.
    std::thread::sleep(Duration::from_secs(2));
    let before = on(sandbox, STATE, &[]);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::CONT).expect("awake");
    let code = end(&mut child, Duration::from_secs(120));
    println!("--- {} suspended before {stop}: exit {code}", call.0);
    assert_eq!(on(sandbox, STATE, &[]), before, "{} before {stop}\n{}", call.0, said(sandbox));
    let still = on(sandbox, "grep -c 00000000-0000-7000-8000-000000000000 \"$1\"", &[LOCK]);
    assert_eq!(still, "1", "the other's lock: {} before {stop}\n{}", call.0, said(sandbox));
    on(sandbox, "rm -f -- \"$1\"", &[LOCK]);
    Some(code)
}

fn suspensions() -> usize {
    std::env::var("CM_SUSPENSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[test]
fn a_laptop_that_wakes_up_after_somebody_else_took_over_changes_nothing() {
    let sandbox = Sandbox::up("attack-sleep");
    let healthy = sandbox.laptop("bash", &["-c", HEALTHY]);
    assert_eq!(healthy.code, 0, "{}", healthy.stderr);
    let release = healthy.document()["run"]["id"].as_str().expect("an id").to_owned();
    sandbox.change("apps/dashboard/VERSION", "1.0.0", "1.0.1", "dashboard: another version");
    push(&sandbox);
    let (mut number, mut survived) = (0, 0);
    while survived < suspensions() {
        number += 1;
        let stop = format!("change:{number}");
        let Some(code) = suspended(&sandbox, BUILD, &stop, 0) else { break };
        assert_eq!(code, 11, "{stop}\n{}", said(&sandbox));
        survived += 1;
    }
    assert!(survived >= suspensions().min(4), "{survived}");
    let answer = build(&sandbox);
    assert_eq!(answer.code, 0, "the next plain run succeeds: {}", answer.stderr);
    survived += wakes_up_in_a_rollback(&sandbox, &release);
    survived += wakes_up_at_the_end(&sandbox);
    println!("suspended before {survived} changes while another took over: 0 were made");
}

/// A program and its arguments.
type Call<'a> = (&'static str, &'a [&'a str]);

const BUILD: Call<'static> = ("cm-build", &["--service", "dashboard"]);

/// A release that may be rolled back to.
const HEALTHY: &str = "set -o pipefail; cm-build --service dashboard </dev/null | cm-health | cm-record";

/// The same before each change of a rollback. What an interrupted one began, a build takes forward again.
fn wakes_up_in_a_rollback(sandbox: &Sandbox, release: &str) -> usize {
    let back = ["--service", "dashboard", "--to", release, "--confirm", "--skip-verify"];
    let short = suspensions() <= 4;
    let (mut number, mut survived) = (0, 0);
    loop {
        // The short version has some of each kind: checkout, image name, ledger, containers.
        number += if short { 2 } else { 1 };
        let stop = format!("change:{number}");
        match suspended(sandbox, ("cm-rollback", &back), &stop, 60) {
            None => break,
            Some(code) => assert_eq!(code, 61, "{stop}\n{}", said(sandbox)),
        }
        assert!(said(sandbox).contains("lock"), "{stop}\n{}", said(sandbox));
        survived += 1;
        let forward = build(sandbox);
        assert_eq!(forward.code, 0, "{stop}\n{}", forward.stderr);
        if short && survived == 3 {
            break;
        }
    }
    assert!(survived >= 3, "{survived}");
    let back = sandbox.laptop("cm-rollback", &back);
    assert_eq!(back.code, 60, "the next plain rollback succeeds: {}", back.stderr);
    survived
}

/// What a plain run removes: an image that nothing needs, and one of two backups.
const OLD: &str = r#"image=$(docker inspect --format '{{.Config.Image}}' curateme-dashboard)
docker commit curateme-dashboard "${image%:*}:cm-old" >/dev/null
mkdir -p ~/backups
for n in 1 2; do
    printf '123456789' >~/backups/old-$n.archive.gz
    printf '{"schema":"cm.backup/1","file":"old-%s.archive.gz","format":"","compression":"gzip","bytes":9,"sha256":"","database":"old","server":{"version":"","topology":""},"consistency":"none","documents":0,"data_bytes":0,"started_at":"2026-05-0%sT00:00:00Z","ended_at":"","verified_at":"","deploy":{"run":null,"project":null,"commit":null,"actor":null},"tool":"","namespaces":[]}' $n $n >~/backups/old-$n.archive.gz.manifest.json
done"#;

/// The same for whoever writes down what was done and removes what is old.
fn wakes_up_at_the_end(sandbox: &Sandbox) -> usize {
    let (of_backup, of_image): (Call<'_>, Call<'_>) =
        (("cm-backup", &["prune", "--keep", "1"]), ("cm-build", &["prune"]));
    let of_record: Call<'_> = ("bash", &["-c", "exec cm-record <../document"]);
    let line = "set -o pipefail; cm-build --service dashboard </dev/null | cm-health >../document";
    let prepared = sandbox.laptop("bash", &["-c", line]);
    assert_eq!(prepared.code, 0, "{}", prepared.stderr);
    on(sandbox, OLD, &[]);
    for call in [of_backup, of_image, of_record] {
        let code = suspended(sandbox, call, "change:1", 0);
        assert_eq!(code, Some(11), "{call:?}: {}", said(sandbox));
        let before = on(sandbox, STATE, &[]);
        let plain = sandbox.laptop(call.0, call.1);
        assert_eq!(plain.code, 0, "the next plain run succeeds: {call:?}: {}", plain.stderr);
        assert_ne!(on(sandbox, STATE, &[]), before, "{call:?} had something to do");
    }
    3
}

fn said(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.home.path().join("said")).expect("what it said")
}
