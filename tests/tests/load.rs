//! Load: deployments that start at the same moment from as many laptops, a host with many services, a ledger of years, and
//! builds and containers that say more than anybody reads. Each ends as on a quiet day: one deployment at a time, the ledger
//! whole, and no program that grows with what it is told.
//!
//! `CM_LOAD=1` is the long version: 50 deployments, 100,000 records, 60 services, a build log of 1 GB, container logs of 2 GB.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Home, Sandbox, end};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const LEDGER: &str = ".local/state/cm/curateme/ledger.jsonl";
const DOCKERFILE: &str = "apps/dashboard/Dockerfile";
const COMPOSE: &str = "docker-compose.production.yml";

/// Address space of a program, in KB, for what must not be kept.
const MEMORY: &str = "3000000";

fn is_long() -> bool {
    std::env::var_os("CM_LOAD").is_some()
}

fn on(sandbox: &Sandbox, script: &str, arguments: &[&str]) -> String {
    sandbox.server("platform", &[&["sh", "-c", script, "sh"], arguments].concat())
}

fn bash(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; {line}")])
}

fn platform() -> Sandbox {
    let sandbox = Sandbox::up("load");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    let answer = bash(
        &sandbox,
        "git push -q origin HEAD:develop; cm-build --service dashboard </dev/null | cm-health | cm-record",
    );
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    sandbox
}

/// A laptop of its own: state, connection and local lock are nobody else's.
fn laptop(sandbox: &Sandbox, number: usize) -> (Home, Child) {
    let mut home = Home::new();
    for name in [
        "CM_SSH_CONFIG",
        "DEPLOY_USER",
        "PLATFORM_VPS_IP",
        "RUNNERS_VPS_IP",
        "GIT_SSH_COMMAND",
        "API_URL",
        "DASHBOARD_URL",
        "DOCS_URL",
    ] {
        home.set(name, sandbox.home.variable(name).unwrap_or_default());
    }
    home.set("CM_ACTOR", &format!("ada@laptop-{number}"));
    let said = std::fs::File::create(home.path().join("said")).expect("a file");
    let line =
        "set -o pipefail; cm-build --service dashboard </dev/null | cm-health | cm-record; exit \"${PIPESTATUS[0]}\"";
    let mut command = home.command("bash", &["-c", line], &sandbox.laptop.display().to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect("bash");
    (home, child)
}

/// So many laptops deploy at the same moment: some do, one after the other, the others are told that the lock is held.
fn at_once(sandbox: &Sandbox, count: usize) {
    sandbox.change("apps/dashboard/VERSION", "1.0.0", "1.0.1", "dashboard: another version");
    assert_eq!(bash(sandbox, "git push -q origin HEAD:develop").code, 0);
    let began = Instant::now();
    let mut all: Vec<_> = (0..count).map(|number| laptop(sandbox, number)).collect();
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for (home, child) in &mut all {
        let code = end(child, Duration::from_secs(600));
        let said = std::fs::read_to_string(home.path().join("said")).expect("what it said");
        // An sshd that turns connections away (MaxStartups) is a host that cannot be reached, for now.
        assert!([0, 7, 10].contains(&code), "exit {code}: {said}");
        *codes.entry(code).or_default() += 1;
    }
    println!("{count} deployments at once, after {:?}: {codes:?} (exit status: how many)", began.elapsed());
    assert!(codes.get(&0).is_some_and(|done| *done >= 1), "{codes:?}");
    let lines = on(sandbox, "cat \"$1\"", &[LEDGER]);
    let records: Vec<Value> = lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a whole record"))
        .collect();
    assert!(records.len() >= 2, "{lines}");
    let containers =
        on(sandbox, "docker ps -a --filter label=com.docker.compose.service=dashboard --format '{{.State}}'", &[]);
    assert_eq!(containers, "running", "one container, that runs");
    assert_eq!(on(sandbox, "ls .local/state/cm/curateme | grep lock.json || :", &[]), "", "the lock is free");
}

/// A ledger of so many records before those that are there.
fn years(sandbox: &Sandbox, count: usize) {
    let make = r#"set -eu; cp "$1" was; line=$(grep . was | tail -n 1); id=$(printf '%s' "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/')
awk -v n="$2" -v line="$line" -v id="$id" 'BEGIN { for (i = 0; i < n; i++) { one = line; other = sprintf("01900000-0000-7000-8000-%012x", i); sub(id, other, one); print one } }' >"$1"
cat was >>"$1"; wc -c <"$1""#;
    let bytes = on(sandbox, make, &[LEDGER, &count.to_string()]);
    let before = on(sandbox, "wc -l <\"$1\"", &[LEDGER]);
    for call in [
        "cm-detect --service dashboard",
        "cm-record history",
        "cm-rollback --list",
        "cm-build --service dashboard | cm-health | cm-record",
    ] {
        let began = Instant::now();
        let answer = bash(sandbox, &format!("ulimit -v {MEMORY}; {{ {call}; }} </dev/null"));
        println!("{count} records ({bytes} bytes): {call}: exit {} after {:?}", answer.code, began.elapsed());
        assert_eq!(answer.code, 0, "{call}: {}", answer.stderr);
        assert!(began.elapsed() < Duration::from_secs(120), "{call} took {:?}", began.elapsed());
    }
    let after = on(sandbox, "wc -l <\"$1\"", &[LEDGER]);
    assert!(after.parse::<usize>().expect("a number") >= before.parse().expect("a number"), "{before}, then {after}");
}

/// A build and a container that say so many megabytes.
fn talkative(sandbox: &Sandbox, build: usize, container: usize) {
    let path = sandbox.laptop.join(DOCKERFILE);
    let plain = std::fs::read_to_string(&path).expect("read");
    let step =
        format!("RUN yes 'a line of a build that says more than anybody reads' | head -c {build}000000\nUSER app\n");
    std::fs::write(&path, plain.replace("USER app\n", &step)).expect("write");
    sandbox.commit("a step that says much");
    let began = Instant::now();
    let answer = bash(
        sandbox,
        &format!("git push -q origin HEAD:develop; ulimit -v {MEMORY}; cm-build --service dashboard </dev/null"),
    );
    println!(
        "a build log of {build} MB: exit {} after {:?}, {} bytes said",
        answer.code,
        began.elapsed(),
        answer.stderr.len()
    );
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stdout.len() < 8 << 20, "the document has {} bytes", answer.stdout.len());

    let says = format!(
        "    command: [sh, -c, \"yes 'a line of a container' | head -c {container}000000; exit 3\"]\n    environment:\n      PORT: \"3000\"\n"
    );
    let compose = std::fs::read_to_string(sandbox.laptop.join(COMPOSE)).expect("read");
    std::fs::write(
        sandbox.laptop.join(COMPOSE),
        compose.replacen("    environment:\n      PORT: \"3000\"\n", &says, 1),
    )
    .expect("write");
    sandbox.commit("a container that says much");
    let began = Instant::now();
    let line = format!(
        "git push -q origin HEAD:develop; ulimit -v {MEMORY}; cm-build --service dashboard </dev/null | cm-health --timeout 120s | cm-rollback --on-failure --skip-verify"
    );
    let answer = bash(sandbox, &line);
    println!(
        "a container log of {container} MB: exit {} after {:?}, {} bytes said",
        answer.code,
        began.elapsed(),
        answer.stderr.len()
    );
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert!(answer.stderr.len() < 1 << 20, "{} bytes said", answer.stderr.len());
}

/// A project of so many services, deployed, changed and deployed again.
fn many(sandbox: &Sandbox, count: usize) {
    let compose = |version: usize| {
        let service = |n: usize| {
            format!(
                "  s{n}: {{image: 'curateme/redis:1', entrypoint: [sleep, '{}'], init: true, stop_grace_period: 1s, restart: always, labels: {{v: '{version}'}}}}\n",
                3600 + n
            )
        };
        format!("name: many\nservices:\n{}", (0..count).map(service).collect::<String>())
    };
    let toml = "project = \"many\"\nbranch = \"develop\"\n[compose]\nfiles = [\"many.yml\"]\n[hosts.platform]\naddress = \"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"\ncheckout = \"~/platform\"\n[protect]\nfiles = [\"Caddyfile\", \".env.production\"]\n[health]\nwindow = \"2s\"\ntimeout = \"300s\"\n";
    for version in 0..2 {
        std::fs::write(sandbox.laptop.join("many.yml"), compose(version)).expect("write");
        std::fs::write(sandbox.laptop.join("many.toml"), toml).expect("write");
        assert_eq!(bash(sandbox, "git add -A; git commit -qm many; git push -q origin HEAD:develop").code, 0);
        let began = Instant::now();
        let line = format!(
            "export CM_CONFIG=many.toml; ulimit -v {MEMORY}; cm-detect --config many.toml </dev/null | cm-build --config many.toml | cm-health --config many.toml | cm-record --config many.toml"
        );
        let answer = bash(sandbox, &line);
        println!("{count} services, deployment {version}: exit {} after {:?}", answer.code, began.elapsed());
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let running = on(sandbox, "docker ps -q --filter label=com.docker.compose.project=many | wc -l", &[]);
        assert_eq!(running, count.to_string());
    }
}

#[test]
fn under_load_one_deployment_is_made_at_a_time_and_nothing_grows_with_what_is_said() {
    let sandbox = platform();
    at_once(&sandbox, if is_long() { 50 } else { 6 });
    if is_long() {
        years(&sandbox, 100_000);
        talkative(&sandbox, 1_000, 2_000);
        many(&sandbox, 60);
    }
}
