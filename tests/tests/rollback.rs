//! Back to what was proved, on real servers: programs are killed at random moments and the script is
//! run once more; histories are random; broken releases meet steady load. What runs is asked of Docker,
//! what is recorded of `cm-record`, and the two must agree.
//!
//! `CM_KILL_ROUNDS` (default 4), `CM_ROLLBACK_HISTORIES` (default 1) and `CM_CANARY_ROLLBACKS` (default 1)
//! are how many of each.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Sandbox, end, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

const VERSION: &str = "apps/dashboard/VERSION";

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Random numbers; the seed is printed, and `CM_SEED` repeats it.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos();
        let seed = number("CM_SEED", clock() as usize);
        println!("seed {seed}");
        Random(seed as u64)
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

// ---- What is there --------------------------------------------------------------------------------------------------

/// The image that each service of `server` runs, by Docker's own word; a dead container runs nothing.
fn docker(sandbox: &Sandbox, server: &str) -> BTreeMap<String, String> {
    let script = r#"ids=$(docker ps -q --no-trunc --filter label=com.docker.compose.oneoff=False); [ -z "$ids" ] || docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.Image}}' $ids"#;
    let text = sandbox.server(server, &["sh", "-c", script]);
    text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// The records of `server`, newest first.
fn records(sandbox: &Sandbox, server: &str) -> Vec<Value> {
    let answer = sandbox.laptop("cm-record", &["history", "--json", "-n", "1000"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let all: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    all[server].as_array().cloned().unwrap_or_default()
}

/// What the ledger says each service runs.
fn ledger(records: &[Value]) -> BTreeMap<String, String> {
    let mut runs = BTreeMap::new();
    for record in records {
        for (name, state) in record["services"].as_object().into_iter().flatten() {
            let image = state["image_id"].as_str().unwrap_or_default();
            runs.entry(name.clone()).or_insert_with(|| image.to_owned());
        }
    }
    runs.retain(|_, image| !image.is_empty());
    runs
}

#[track_caller]
fn agree(sandbox: &Sandbox) {
    for server in ["platform", "runners"] {
        let (docker, ledger) = (docker(sandbox, server), ledger(&records(sandbox, server)));
        assert_eq!(docker, ledger, "on {server}: what Docker runs and what the ledger says");
    }
}

/// Inode, mode, owner, size and content of what no deployment may touch.
fn protected(sandbox: &Sandbox) -> String {
    let script =
        r#"for f in platform/Caddyfile platform/.env.production; do stat -c "%n %i %a %U %s" $f; sha256sum $f; done"#;
    sandbox.server("platform", &["sh", "-c", script])
}

fn backups(sandbox: &Sandbox) -> BTreeSet<String> {
    let list = sandbox.server("platform", &["sh", "-c", "ls backups | grep 'archive.gz$' || true"]);
    list.lines().map(str::to_owned).collect()
}

/// How often the ops API has an event of each run.
fn events(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let ask =
        r#"curl -sf --max-time 10 -H "Authorization: Bearer $OPS_API_TOKEN" "$API_URL/api/v1/ops/deploys?limit=500""#;
    let answer = sandbox.laptop("bash", &["-c", ask]);
    let all: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in all["deploys"].as_array().expect("events") {
        let text = |key: &str| event["event"][key].as_str().unwrap_or_default().to_owned();
        events.entry(text("id")).or_default().push(text("status"));
    }
    events
}

fn set_version(sandbox: &Sandbox, version: &str) -> String {
    std::fs::write(sandbox.laptop.join(VERSION), format!("{version}\n")).expect("write");
    sandbox.commit(&format!("dashboard: {version}"));
    sandbox.laptop("git", &["rev-parse", "HEAD"]).stdout.trim().to_owned()
}

/// The commit that the dashboard's image comes from.
fn revision(sandbox: &Sandbox) -> String {
    let format = r#"{{index .Config.Labels "org.opencontainers.image.revision"}}"#;
    sandbox.server("platform", &["docker", "inspect", "--format", format, "curateme-dashboard"])
}

/// The sample platform, deployed, with short times.
fn platform(test: &str) -> Sandbox {
    let sandbox = Sandbox::up(test);
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    sandbox.change("cm.toml", "lease = \"60s\"", "lease = \"6s\"", "a shorter lease");
    let answer = sandbox.deploy(&["--no-backup", "--skip-canary"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    sandbox
}

// ---- kill -9 --------------------------------------------------------------------------------------------------------

/// The script, in a process group of its own.
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let script = cm_testkit::repository().join("scripts/deploy-to-vps.sh").display().to_string();
    let mut command = sandbox.home.command(&script, arguments, &sandbox.laptop.display().to_string());
    let err = File::create(sandbox.home.path().join("killed.err")).expect("a file");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).process_group(0).spawn().expect("the script")
}

/// The processes of this sandbox's laptop, id and name, and no one else's.
fn processes(sandbox: &Sandbox) -> Vec<(u32, String)> {
    let home = format!("HOME={}\0", sandbox.home.path().display());
    let ids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |id: u32, name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
    let ours = ids.filter(|id| String::from_utf8_lossy(&read(*id, "environ")).contains(&home));
    ours.map(|id| (id, String::from_utf8_lossy(&read(id, "comm")).trim().to_owned())).collect()
}

fn kill(sandbox: &Sandbox, ids: &[u32]) {
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let mut arguments = vec!["-KILL"];
    arguments.extend(ids.iter().map(String::as_str));
    let _some_ended_already = sandbox.laptop("kill", &arguments);
}

/// Ends some program, or everything at once as a closed laptop does; says what.
fn strike(sandbox: &Sandbox, random: &mut Random) -> String {
    let all = processes(sandbox);
    let programs: Vec<_> =
        all.iter().filter(|(_, name)| name.starts_with("cm-") || name == "deploy-to-vps.s").collect();
    if programs.is_empty() {
        return "nothing: it was over".to_owned();
    }
    if random.below(2) == 0 {
        kill(sandbox, &all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        return "everything".to_owned();
    }
    let (id, name) = programs[random.below(programs.len())];
    kill(sandbox, &[*id]);
    name.clone()
}

fn finished(child: &mut Child) {
    end(child, Duration::from_secs(240));
}

/// Whatever was killed has left nothing that runs: a script that lost its lock goes on to its end.
fn wait_for_silence(sandbox: &Sandbox) {
    let busy = |(_, name): &(u32, String)| name.starts_with("cm-") || name == "deploy-to-vps.s";
    until("the programs' end", Duration::from_secs(240), || !processes(sandbox).iter().any(busy));
}

#[test]
fn whatever_is_killed_one_more_run_makes_it_right() {
    let rounds = number("CM_KILL_ROUNDS", 4);
    let sandbox = platform("kill");
    let untouched = protected(&sandbox);
    let mut random = Random::new();
    let (mut resumed, mut anew) = (0, 0);
    for round in 0..rounds {
        let commit = set_version(&sandbox, &format!("kill-{round}"));
        let before = backups(&sandbox);
        let mut child = start(&sandbox, &[]);
        let delay = 300 + random.below(14_000);
        std::thread::sleep(Duration::from_millis(delay as u64));
        let victim = strike(&sandbox, &mut random);
        finished(&mut child);
        wait_for_silence(&sandbox);
        let killed = std::fs::read_to_string(sandbox.home.path().join("killed.err")).expect("its output");
        assert_eq!(protected(&sandbox), untouched, "round {round}: {victim} killed after {delay} ms");

        let between = backups(&sandbox);
        let answer = sandbox.deploy(&[]);
        let told = format!(
            "round {round}: {victim} killed after {delay} ms\n--- killed:\n{killed}\n--- rerun:\n{}",
            answer.stderr
        );
        assert_eq!(answer.code, 0, "{told}");
        assert_eq!(revision(&sandbox), commit, "{told}");
        assert_eq!(protected(&sandbox), untouched, "{told}");
        let goes_on = answer.stderr.contains("going on with run");
        println!("round {round}: {victim} after {delay} ms; {}", if goes_on { "resumed" } else { "anew" });
        resumed += usize::from(goes_on);
        anew += usize::from(!goes_on);
        let after = backups(&sandbox);
        if goes_on && between.len() > before.len() {
            assert_eq!(after, between, "no second backup: {told}");
        }
        for server in ["platform", "runners"] {
            let records = records(&sandbox, server);
            assert_eq!(docker(&sandbox, server), ledger(&records), "{server}: {told}");
            let open: Vec<_> = records.iter().filter(|record| !record["lock"].is_null()).collect();
            assert!(open.is_empty(), "{open:?}: {told}");
        }
    }
    let doubled: Vec<_> = events(&sandbox).into_iter().filter(|(_, statuses)| statuses.len() > 1).collect();
    assert!(doubled.is_empty(), "each run has one event: {doubled:?}");
    println!("{rounds} rounds: {resumed} went on, {anew} began anew");
}
