//! Every step of a deployment meets every fault: a program dies, the laptop sleeps, the link is gone, the server
//! restarts, a disk is full. A fault is struck at a random moment of a step, in the real script on real servers,
//! and then: the exit status is one that is documented, protected files and database are as they were, Docker and
//! ledger agree about what runs, the lock is free, and the next plain run succeeds.
//!
//! `CM_FAULTS` is the number of steps that meet a fault (default 1; `all`: each meets each). `CM_FAULTS_ONLY=STEP/FAULT`
//! is one of them, whose messages are printed, `CM_SEED` repeats a choice. What is tried is written into tests/faults.md if `CM_FAULTS_TABLE` is set:
//! a cell keeps what it said until it is tried again, and empty ones are tried first.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

#[path = "faults/fault.rs"]
mod fault;
#[path = "faults/table.rs"]
mod table;

use cm_testkit::{Answer, Sandbox, end, repository, until};
use fault::{FAULTS, Fault, STEPS, Step};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use table::Table;

const VERSION: &str = "apps/dashboard/VERSION";
const DASHBOARD: &str = "apps/dashboard/server.py";

/// A run with a fault ends by itself within this: what waits longest is a server that never answers.
const LIMIT: Duration = Duration::from_secs(420);

/// In the place of each program: reads its document, says that it is there, and becomes the program.
const SHIM: &str = r#"#!/bin/bash
name=${0##*/}
if [ "$name${*:+ $*}" = "$CM_FAULT_AT" ] && [ ! -e "$CM_FAULT_DIR/reached" ]; then
    cat >"$CM_FAULT_DIR/document"
    echo $$ >"$CM_FAULT_DIR/pid"
    mv "$CM_FAULT_DIR/pid" "$CM_FAULT_DIR/reached"
    [ -z "${CM_FAULT_PRELOAD-}" ] || export LD_PRELOAD=$CM_FAULT_PRELOAD
    if [ -s "$CM_FAULT_DIR/document" ]; then
        exec "$CM_FAULT_BIN/$name" "$@" <"$CM_FAULT_DIR/document"
    fi
    exec "$CM_FAULT_BIN/$name" "$@" </dev/null
fi
exec "$CM_FAULT_BIN/$name" "$@"
"#;

/// Random numbers; `CM_SEED` repeats them.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos();
        let seed = std::env::var("CM_SEED").map_or_else(|_| clock().into(), |seed| seed.parse().expect("a number"));
        println!("seed {seed}");
        Random(seed)
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// A deployed platform, and what nothing may change of it.
struct World {
    sandbox: Sandbox,
    relay: cm_testkit::Relay,
    protected: String,
    documents: String,
    cells: usize,
}

impl World {
    fn up() -> World {
        let mut sandbox = Sandbox::up("faults");
        let relay = sandbox.relay("platform");
        sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
        sandbox.change("cm.toml", "lease = \"60s\"", "lease = \"6s\"", "a shorter lease");
        sandbox.change("cm.toml", "timeout = \"180s\"", "timeout = \"60s\"", "a shorter time limit");
        shims(&sandbox);
        let bin = cm_testkit::bin_dir().display().to_string();
        let path =
            format!("{}:{}", sandbox.home.path().join("shims").display(), sandbox.home.variable("PATH").expect("PATH"));
        sandbox.home.set("PATH", &path);
        sandbox.home.set("CM_FAULT_BIN", &bin);
        sandbox.home.set("CM_FAULT_DIR", &sandbox.home.path().join("fault").display().to_string());
        sandbox.home.set("CM_FAULT_AT", "none");
        let first = sandbox.deploy(&["--skip-canary", "--no-backup"]);
        assert_eq!(first.code, 0, "{}", first.stderr);
        let second = sandbox.laptop("cm-backup", &[]);
        assert_eq!(second.code, 0, "{}", second.stderr);
        let mut world = World { sandbox, relay, protected: String::new(), documents: String::new(), cells: 0 };
        (world.protected, world.documents) = (world.protected_files(), world.backed_up());
        world
    }

    fn on(&self, script: &str) -> String {
        self.sandbox.server("platform", &["sh", "-c", script])
    }

    /// As root, on a server that may be without sshd.
    fn as_root(&self, script: &str) -> bool {
        let mut docker = Command::new("docker");
        docker.args(["exec", &self.sandbox.container("platform"), "bash", "-c", script]);
        docker
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn protected_files(&self) -> String {
        self.on(r#"for f in platform/Caddyfile platform/.env.production; do stat -c "%n %i %a %U %s" $f; sha256sum $f; done"#)
    }

    /// The documents of each collection, by the newest backup that was verified.
    fn backed_up(&self) -> String {
        let text = self.on("cat $(ls -t backups/*.manifest.json | head -n 1)");
        let manifest: Value = serde_json::from_str(&text).expect("a manifest");
        let namespaces = manifest["namespaces"].as_array().expect("namespaces").iter();
        // What the platform itself goes on writing, runs of jobs and deployments, grows.
        let counts = namespaces
            .filter(|one| ["models", "organizations", "users"].map(Some).contains(&one["collection"].as_str()));
        counts.map(|one| format!("{} {}\n", one["collection"], one["documents"])).collect()
    }

    /// The processes of this sandbox's laptop, id and name.
    fn processes(&self) -> Vec<(u32, String)> {
        let home = format!("HOME={}\0", self.sandbox.home.path().display());
        let ids = std::fs::read_dir("/proc").expect("/proc").flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let read = |id: u32, name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let ours = ids.filter(|id| String::from_utf8_lossy(&read(*id, "environ")).contains(&home));
        ours.map(|id| (id, String::from_utf8_lossy(&read(id, "comm")).trim().to_owned())).collect()
    }

    fn signal(&self, signal: &str, ids: &[u32]) {
        let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
        let arguments: Vec<&str> = [signal].into_iter().chain(ids.iter().map(String::as_str)).collect();
        let _some_ended_already = self.sandbox.laptop("kill", &arguments);
    }

    fn set_version(&self, dies: bool) -> String {
        let file = |path: &str| self.sandbox.laptop.join(path);
        std::fs::write(file(VERSION), format!("fault-{}{}\n", self.cells, if dies { "-dies" } else { "" }))
            .expect("write");
        let text = std::fs::read_to_string(file(DASHBOARD)).expect("read");
        let text = text.replace("\nraise SystemExit(3)\n", "");
        let at = text.find("\nSERVICE = ").expect("a place");
        let body = if dies { format!("{}\nraise SystemExit(3)\n{}", &text[..at], &text[at..]) } else { text };
        // It grows with each commit: the blocks of the old file are not enough for the new one.
        std::fs::write(file(DASHBOARD), format!("{body}# {}\n", "x".repeat(16 << 10))).expect("write");
        self.sandbox.commit(&format!("dashboard: fault {}", self.cells));
        self.sandbox.laptop("git", &["rev-parse", "HEAD"]).stdout.trim().to_owned()
    }

    /// The script, with the step that a fault is for.
    fn start(&self, step: &Step, fault: &Fault) -> Child {
        let directory = self.sandbox.home.path().join("fault");
        let _old = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("a directory");
        let script = repository().join("scripts/deploy-to-vps.sh").display().to_string();
        let laptop = self.sandbox.laptop.display().to_string();
        let mut command = self.sandbox.home.command(&script, &["--dashboard", "--skip-canary"], &laptop);
        command.env("CM_FAULT_AT", step.line).envs(fault.variables(self));
        let err = File::create(directory.join("said")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).process_group(0).spawn().expect("the script")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.sandbox.home.path().join("fault/said")).unwrap_or_default()
    }

    /// The program of the step, once it has its document; `None` if the script ended before.
    fn reached(&self, child: &mut Child) -> Option<u32> {
        let file = self.sandbox.home.path().join("fault/reached");
        let mut ended = false;
        until("the step is reached", Duration::from_secs(240), || {
            ended = child.try_wait().expect("wait").is_some();
            ended || file.exists()
        });
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Meets the fault in the step; gives the exit status, or nothing if the step was over before.
    ///
    /// # Panics
    /// If anything is lost or wrong, or the next plain run does not succeed.
    fn meet(&mut self, step: &Step, fault: &Fault, delay: Duration) -> Option<i32> {
        self.cells += 1;
        let fails = step.name == "rollback";
        let mut commit = self.set_version(fails);
        let mut child = self.start(step, fault);
        let victim = self.reached(&mut child);
        let victim = victim.unwrap_or_else(|| panic!("{} was not reached: {}", step.name, self.said()));
        std::thread::sleep(delay);
        let late = fault.is_late(victim);
        fault.strike(self, victim, child.id());
        if let Some(hold) = fault.hold {
            std::thread::sleep(hold);
            fault.heal(self);
        }
        let code = end(&mut child, LIMIT);
        if fault.hold.is_none() {
            fault.heal(self);
        }
        let busy = |(_, name): &(u32, String)| name.starts_with("cm-") || name == "deploy-to-vps.s";
        until("the programs' end", LIMIT, || !self.processes().iter().any(busy));
        let first = self.said();
        if std::env::var_os("CM_FAULTS_ONLY").is_some() {
            println!("{first}");
        }
        assert!(!first.contains("panicked") && !first.contains("[FAIL] bug"), "{first}");
        assert!(is_documented(code), "exit {code}: {first}");
        self.until_up();
        assert_eq!(self.protected_files(), self.protected, "{first}");
        if fails {
            commit = self.set_version(false);
        }
        let mut next = self.sandbox.deploy(&["--dashboard", "--skip-canary"]);
        if next.code == 60 {
            // The fault made checks fail and kept the rollback from being made: it is made first, as it must be.
            assert!(next.stderr.contains("it had failed before it was interrupted"), "{}", next.stderr);
            next = self.sandbox.deploy(&["--dashboard", "--skip-canary"]);
        }
        let told = || format!("exit {code}:\n{first}\n--- the next plain run: {}\n{}", next.code, next.stderr);
        assert_eq!(next.code, 0, "{}", told());
        self.is_as_it_should_be(&commit, &next, &told());
        (!late).then_some(code)
    }

    fn is_as_it_should_be(&self, commit: &str, next: &Answer, told: &str) {
        let format = r#"{{index .Config.Labels "org.opencontainers.image.revision"}}"#;
        let runs = self.sandbox.server("platform", &["docker", "inspect", "--format", format, "curateme-dashboard"]);
        // What an interrupted run had brought up and verified is not built again.
        assert_eq!(runs, commit, "{told}");
        assert_eq!(self.protected_files(), self.protected, "{told}");
        assert_eq!(self.backed_up(), self.documents, "{told}");
        for server in ["platform", "runners"] {
            assert_eq!(self.docker(server), self.ledger(server), "on {server}: Docker and the ledger: {told}");
        }
        let lock = self.on("ls .local/state/cm/curateme | grep '^lock.json$' || :");
        assert_eq!(lock, "", "the lock is free: {told}");
        assert_eq!(next.document()["status"], "ok", "{told}");
    }

    fn docker(&self, server: &str) -> BTreeMap<String, String> {
        let script = r#"ids=$(docker ps -q --no-trunc --filter label=com.docker.compose.oneoff=False); [ -z "$ids" ] || docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.Image}}' $ids"#;
        let text = self.sandbox.server(server, &["sh", "-c", script]);
        text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    fn ledger(&self, server: &str) -> BTreeMap<String, String> {
        let answer = self.sandbox.laptop("cm-record", &["history", "--json", "-n", "1000"]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let all: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        let records = all[server].as_array().cloned().unwrap_or_default();
        let open: Vec<_> = records.iter().filter(|record| !record["lock"].is_null()).collect();
        assert!(open.is_empty(), "begun and never ended: {open:?}");
        let mut runs = BTreeMap::new();
        for (name, state) in records.iter().filter_map(|record| record["services"].as_object()).flatten() {
            runs.entry(name.clone()).or_insert_with(|| state["image_id"].as_str().unwrap_or_default().to_owned());
        }
        runs.retain(|_, image| !image.is_empty());
        runs
    }

    /// A server that was restarted is up when its services answer.
    fn until_up(&self) {
        // The release that an interrupted rollback has left may be one that dies.
        let waits = "for health in starting unhealthy; do docker ps --filter health=$health --format '{{.Names}}' 2>&1 | grep -v '^curateme-dashboard$' | grep -q . && exit 1; done; [ $(docker ps -q | wc -l) -ge 7 ]";
        until("the server is up", Duration::from_secs(180), || self.as_root(waits));
        let asks = r#"curl -sf --max-time 5 "$API_URL/gateway/health" | grep -q '"mongodb": *"connected"'"#;
        until("the services answer", Duration::from_secs(180), || self.sandbox.laptop("bash", &["-c", asks]).code == 0);
    }
}

/// Exit statuses of the manual; a script that was killed has none, and 128 + N if a program of the pipe was.
fn is_documented(code: i32) -> bool {
    let table = [0, 3, 5, 6, 7, 10, 11, 20, 21, 30, 40, 41, 50, 51, 60, 61, 62, 130, 143];
    table.contains(&code) || [-1, 129, 137].contains(&code)
}

fn shims(sandbox: &Sandbox) {
    let directory = sandbox.home.path().join("shims");
    std::fs::create_dir(&directory).expect("a directory");
    for name in ["lock", "detect", "backup", "build", "health", "verify", "rollback", "record"] {
        let path = directory.join(format!("cm-{name}"));
        std::fs::write(&path, SHIM).expect("write");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    }
}

/// Which are tried: those that were not yet come first, in an order that the seed says.
fn chosen(table: &Table, random: &mut Random) -> Vec<(&'static Step, &'static Fault)> {
    let mut all: Vec<_> = STEPS.iter().flat_map(|step| FAULTS.iter().map(move |fault| (step, fault))).collect();
    if let Ok(only) = std::env::var("CM_FAULTS_ONLY") {
        all.retain(|(step, fault)| format!("{}/{}", step.name, fault.name).contains(&only));
        return all;
    }
    if std::env::var_os("CM_FAULTS").is_none() {
        all.retain(|(_, fault)| !fault.is_slow());
    }
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at + 1));
    }
    all.sort_by_key(|(step, fault)| table.has(step, fault));
    all
}

/// How many are tried.
fn wanted() -> usize {
    match std::env::var("CM_FAULTS") {
        Ok(text) if text == "all" => usize::MAX,
        Ok(text) => text.parse().expect("CM_FAULTS is a number"),
        Err(_) if std::env::var_os("CM_FAULTS_ONLY").is_some() => usize::MAX,
        Err(_) => 1,
    }
}

#[test]
fn whatever_step_meets_whatever_fault_nothing_is_lost_and_the_next_run_succeeds() {
    let mut random = Random::new();
    let mut table = Table::read();
    let (mut tried, mut wrong) = (0, Vec::new());
    let mut world = None;
    for (step, fault) in chosen(&table, &mut random) {
        if tried == wanted() {
            break;
        }
        let here = world.get_or_insert_with(World::up);
        let delay = Duration::from_millis(random.below(step.takes) as u64);
        match catch_unwind(AssertUnwindSafe(|| here.meet(step, fault, delay))) {
            Ok(Some(code)) => {
                println!("--- {} / {} after {delay:?}: exit {code}, then 0", step.name, fault.name);
                table.set(step, fault, code);
                tried += 1;
            }
            Ok(None) => println!("--- {} / {} after {delay:?}: the step was over", step.name, fault.name),
            Err(panic) => {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                println!("--- {} / {} after {delay:?}: WRONG: {why}", step.name, fault.name);
                tried += 1;
                wrong.push(format!("{} / {} after {delay:?}: {why}", step.name, fault.name));
                // What it left is in nobody else's way.
                let left: Vec<_> = here.processes().into_iter().map(|(id, _)| id).collect();
                here.signal("-KILL", &left);
                world = None;
            }
        }
    }
    println!("{tried} tried, {} survived", tried - wrong.len());
    assert!(tried > 0 && wrong.is_empty(), "{}", wrong.join("\n\n"));
}
