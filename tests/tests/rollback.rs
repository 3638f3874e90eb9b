//! Back to what was verified, on real servers: programs are killed at random moments and the script is
//! run once more; histories are random; broken releases meet steady load. What runs is asked of Docker,
//! what is recorded of `cm-record`, and the two must agree.
//!
//! `CM_KILL_ROUNDS` (default 2), `CM_ROLLBACK_HISTORIES` (default 1) and `CM_CANARY_ROLLBACKS` (default 1)
//! are how many of each.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Load, Sandbox, end, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
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

/// How often the ops API has an event of each run. The token is on no command line: another test looks for it there.
fn events(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let ask = r#"curl -sf --max-time 10 -H @- "$API_URL/api/v1/ops/deploys?limit=500" <<<"Authorization: Bearer $OPS_API_TOKEN""#;
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

/// Ends the program of this name, or "everything" at once as a closed laptop does; without a name some
/// program, or everything; says what.
fn strike(sandbox: &Sandbox, name: Option<&str>, random: &mut Random) -> String {
    let all = processes(sandbox);
    let programs: Vec<_> =
        all.iter().filter(|(_, name)| name.starts_with("cm-") || name == "deploy-to-vps.s").collect();
    if programs.is_empty() {
        return "nothing: it was over".to_owned();
    }
    let one = programs.iter().position(|(_, program)| Some(program.as_str()) == name);
    if name == Some("everything") || name.is_none() && random.below(2) == 0 {
        kill(sandbox, &all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        return "everything".to_owned();
    }
    let (id, name) = programs[one.unwrap_or_else(|| random.below(programs.len()))];
    kill(sandbox, &[*id]);
    name.clone()
}

/// Looked at from the machine whose programs are gone, what they had begun is abandoned.
fn is_told(sandbox: &Sandbox) {
    for server in ["platform", "runners"] {
        let text = sandbox.server(server, &["sh", "-c", "tail -n 1 .local/state/cm/curateme/ledger.jsonl"]);
        let last: Value = serde_json::from_str(&text).expect("a record");
        if !last["lock"].is_null() {
            let record = records(sandbox, server).into_iter().find(|record| record["id"] == last["id"]);
            assert_eq!(record.expect("a record")["verdict"], "abandoned", "{text}");
        }
    }
}

/// The run of the journal that has not come to its end, if the newest has not.
fn unended(sandbox: &Sandbox, commit: &str) -> Option<String> {
    let runs = std::fs::read_dir(sandbox.home.path().join("state/cm/runs")).expect("the journal").flatten();
    let newest = runs.map(|entry| entry.path()).filter(|path| path.join("command").exists()).max()?;
    let command = std::fs::read_to_string(newest.join("command")).expect("its command");
    let names = std::fs::read_dir(&newest).expect("its files").flatten();
    let recorded =
        names.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.ends_with("cm-record.json"));
    (command.starts_with(commit) && !recorded).then(|| newest.file_name().expect("a name").display().to_string())
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
    let rounds = number("CM_KILL_ROUNDS", 2);
    let sandbox = platform("kill");
    let untouched = protected(&sandbox);
    let mut random = Random::new();
    let (mut resumed, mut again) = (0, 0);
    for round in 0..rounds {
        let commit = set_version(&sandbox, &format!("kill-{round}"));
        let before = backups(&sandbox);
        let mut child = start(&sandbox, &[]);
        let mut delay = 300 + random.below(14_000);
        if round == 0 {
            // One that has begun and is named afterwards is always among them.
            until("a backup", Duration::from_secs(120), || backups(&sandbox).len() > before.len());
            delay %= 5_000;
        }
        if round == 1 {
            // What it holds is lost when the next step asks for it, with the new release in place.
            let said = || std::fs::read_to_string(sandbox.home.path().join("killed.err")).unwrap_or_default();
            until("the gate", Duration::from_secs(120), || said().contains("waiting for 1 service"));
            delay %= 2_000;
        }
        std::thread::sleep(Duration::from_millis(delay as u64));
        let name = ["everything", "cm-lock"].get(round);
        let victim = strike(&sandbox, name.copied(), &mut random);
        finished(&mut child);
        wait_for_silence(&sandbox);
        let killed = std::fs::read_to_string(sandbox.home.path().join("killed.err")).expect("its output");
        assert_eq!(protected(&sandbox), untouched, "round {round}: {victim} killed after {delay} ms");

        let between = backups(&sandbox);
        // By name, or by itself.
        let named = unended(&sandbox, &commit).filter(|_| victim == "everything" && round % 2 == 0);
        assert!(round > 0 || named.is_some(), "the first one has begun: {killed}");
        if victim == "everything" {
            is_told(&sandbox);
        }
        let answer = match &named {
            Some(run) => sandbox.deploy(&["--resume", run]),
            None => sandbox.deploy(&[]),
        };
        let told = format!(
            "round {round}: {victim} killed after {delay} ms\n--- killed:\n{killed}\n--- rerun:\n{}",
            answer.stderr
        );
        assert_eq!(answer.code, 0, "{told}");
        assert_eq!(revision(&sandbox), commit, "{told}");
        assert_eq!(protected(&sandbox), untouched, "{told}");
        let goes_on = answer.stderr.contains("resuming run");
        assert!(named.is_none() || goes_on, "{told}");
        println!(
            "round {round}: {victim} after {delay} ms; {}",
            match (goes_on, &named) {
                (true, Some(_)) => "resumed by name",
                (true, None) => "resumed",
                _ => "again",
            }
        );
        resumed += usize::from(goes_on);
        again += usize::from(!goes_on);
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
    println!("{rounds} rounds: {resumed} went on, {again} began again");
}

// ---- Histories ------------------------------------------------------------------------------------------------------

const RUNNER: &str = "services/runner/curateme_runner/__main__.py";
const DASHBOARD: &str = "apps/dashboard/server.py";

/// Of `[prune]` in the sample's cm.toml.
const KEEP: usize = 3;

/// A service of the history: where it runs, and what is known of it without asking cm.
struct Model {
    service: &'static str,
    group: &'static str,
    server: &'static str,
    file: &'static str,
    /// Its verified images, the newest runs.
    verified: Vec<String>,
    /// Images that pruning may have removed.
    prunable: BTreeSet<String>,
}

impl Model {
    fn of(
        sandbox: &Sandbox,
        service: &'static str,
        group: &'static str,
        server: &'static str,
        file: &'static str,
    ) -> Self {
        let verified = vec![docker(sandbox, server)[service].clone()];
        Model { service, group, server, file, verified, prunable: BTreeSet::new() }
    }

    fn runs(&self) -> &str {
        self.verified.last().expect("something runs")
    }

    /// All images that are further away than `KEEP` verified ones may be gone after pruning.
    fn prune(&mut self) {
        let far = self.verified.len().saturating_sub(KEEP);
        self.prunable.extend(self.verified[..far].iter().cloned());
    }
}

/// The newest release is good, or dies at once.
fn release(sandbox: &Sandbox, model: &Model, name: &str, dies: bool) -> Answer {
    let path = sandbox.laptop.join(model.file);
    let text = std::fs::read_to_string(&path).expect("read");
    let body: String =
        text.lines().filter(|line| !line.contains("# history")).map(|line| format!("{line}\n")).collect();
    let last = if dies { "raise SystemExit(3)" } else { "pass" };
    // Behind the docstring and before the server starts.
    let at = body.find("\nSERVICE = ").expect("a place");
    std::fs::write(&path, format!("{}\n{last}  # history {name}{}", &body[..at], &body[at..])).expect("write");
    sandbox.commit(&format!("{}: {name}", model.service));
    sandbox.deploy(&[&format!("--{}", model.group), "--no-backup", "--skip-canary"])
}

fn there(sandbox: &Sandbox, server: &str, image: &str) -> bool {
    let script = r#"docker image inspect "$1" >/dev/null 2>&1 && echo yes || echo no"#;
    sandbox.server(server, &["sh", "-c", script, "sh", image]) == "yes"
}

#[test]
fn after_any_history_the_last_verified_release_is_the_way_back_and_its_images_are_there() {
    let histories = number("CM_ROLLBACK_HISTORIES", 1);
    let steps = number("CM_ROLLBACK_STEPS", if histories > 1 { 12 } else { 5 });
    let sandbox = platform("histories");
    let mut random = Random::new();
    let mut models = [
        Model::of(&sandbox, "dashboard", "dashboard", "platform", DASHBOARD),
        Model::of(&sandbox, "runner-agent", "runner", "runners", RUNNER),
    ];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for history in 0..histories {
        for step in 0..steps {
            let which = random.below(2);
            let model = &mut models[which];
            // The short history has one of each; a long one what comes.
            let action = if histories > 1 { random.below(10) } else { [0, 4, 8, 0, 6][step % 5] };
            let name = format!("{history}-{step}");
            let told = |answer: &Answer| format!("{name} on {}:\n{}", model.service, answer.stderr);
            let what = match action {
                0..=3 => {
                    let answer = release(&sandbox, model, &name, false);
                    assert_eq!(answer.code, 0, "{}", told(&answer));
                    let image = docker(&sandbox, model.server)[model.service].clone();
                    assert_ne!(image, model.runs(), "{}", told(&answer));
                    model.verified.push(image);
                    // The script prunes what its run changed.
                    model.prune();
                    "good"
                }
                4 | 5 => {
                    let answer = release(&sandbox, model, &name, true);
                    assert_eq!(answer.code, 60, "{}", told(&answer));
                    "bad"
                }
                6 | 7 => {
                    let answer = sandbox.laptop("cm-build", &["prune"]);
                    assert_eq!(answer.code, 0, "{}", told(&answer));
                    models.iter_mut().for_each(Model::prune);
                    "prune"
                }
                _ => {
                    let answer =
                        sandbox.laptop("cm-rollback", &["--service", model.service, "--confirm", "--skip-verify"]);
                    let target = model.verified.len().checked_sub(2).map(|at| model.verified[at].clone());
                    match target {
                        Some(target) if there(&sandbox, model.server, &target) => {
                            assert_eq!(answer.code, 60, "{}", told(&answer));
                            model.verified.pop();
                            assert_eq!(model.runs(), target);
                        }
                        Some(target) => {
                            assert_eq!(answer.code, 62, "{}", told(&answer));
                            assert!(
                                model.prunable.contains(&target),
                                "within the retention it is there: {}",
                                told(&answer)
                            );
                        }
                        None => assert_eq!(answer.code, 62, "{}", told(&answer)),
                    }
                    "rollback"
                }
            };
            *counts.entry(what).or_default() += 1;
            for model in &models {
                let runs = docker(&sandbox, model.server);
                assert_eq!(runs[model.service], model.runs(), "{name}, after {what}: the last verified release runs");
                let near = model.verified.len().saturating_sub(KEEP);
                for image in model.verified[near..].iter().filter(|image| !model.prunable.contains(*image)) {
                    assert!(there(&sandbox, model.server, image), "{name}, after {what}: {image} of {}", model.service);
                }
            }
            agree(&sandbox);
        }
        println!("history {history}: {counts:?}");
    }
}

// ---- Under load -----------------------------------------------------------------------------------------------------

const GATEWAY: &str = "services/backend/curateme/gateway/__main__.py";

#[test]
fn a_rollback_loses_no_request_warns_once_of_a_ctrl_c_and_takes_the_data_back() {
    let rollbacks = number("CM_CANARY_ROLLBACKS", 1);
    let sandbox = platform("canary");
    sandbox.change("cm.toml", "[health]\n", "[services.dashboard]\nupdate = \"rolling\"\n\n[health]\n", "rolling");
    let url = "url = \"${API_URL:-https://api.curate-me.ai}/v1/health\"\nrequests";
    let login = "url = \"${DASHBOARD_URL:-https://dashboard.curate-me.ai}/login\"\nrequests";
    sandbox.change("cm.toml", url, login, "the canary asks the dashboard");
    let answer = sandbox.deploy(&["--no-backup"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);

    println!("--- {rollbacks} broken canaries in a row at 100 requests per second");
    let good = docker(&sandbox, "platform");
    let url = sandbox.laptop("printenv", &["DASHBOARD_URL"]).stdout;
    let port = url.trim().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let load = Load::start(port, "dashboard.curate-me.localhost", "/version", 100);
    until("Caddy serves the dashboard", Duration::from_secs(30), || load.answered() > 0);
    let login = "\"/login\": (200,";
    sandbox.change(DASHBOARD, login, "\"/login\": (500,", "dashboard: a login that fails");
    for n in 0..rollbacks {
        set_version(&sandbox, &format!("broken-{n}"));
        let answer = sandbox.deploy(&["--dashboard", "--no-backup"]);
        assert_eq!(answer.code, 60, "{}", answer.stderr);
        assert!(answer.stderr.contains("the canary failed"), "{}", answer.stderr);
        assert_eq!(docker(&sandbox, "platform"), good);
        agree(&sandbox);
    }
    let counts = load.stop();
    println!("{counts}; {} versions answered", counts.bodies.len());
    assert_eq!(counts.failed.len(), 0, "{:?}", counts.failed.first());
    assert!(counts.bodies.len() > rollbacks, "the broken ones were in service: {:?}", counts.bodies.keys());
    sandbox.change(DASHBOARD, "\"/login\": (500,", login, "dashboard: a login that works");

    println!("--- the data is rolled back with the code, across a release that changed it for good");
    let directory = sandbox.laptop.join("services/backend/migrations");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("0001.py"), "# turns one field into two\n").expect("write");
    assert_eq!(sandbox.laptop("git", &["add", "-A"]).code, 0);
    let route = "SERVICE = \"backend-gateway\"";
    sandbox.change(GATEWAY, route, &format!("{route}  # migrated"), "gateway: with a migration");
    let answer = sandbox.deploy(&["--gateway", "--skip-canary"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("contains irreversible migrations (services/backend/migrations/0001.py)"),
        "{}",
        answer.stderr
    );
    let record = records(&sandbox, "platform").remove(0);
    assert_eq!(record["irreversible"][0], "services/backend/migrations/0001.py");
    let migrated = docker(&sandbox, "platform");
    let post = r#"curl -sf --max-time 10 -H @- -H "Idempotency-Key: later" -d '{"id": "later"}' "$API_URL/api/v1/ops/deploys" <<<"Authorization: Bearer $OPS_API_TOKEN""#;
    let posted = sandbox.laptop("bash", &["-c", post]);
    assert_eq!(posted.code, 0, "{posted:?}");
    assert!(events(&sandbox).contains_key("later"));
    let answer = sandbox.laptop("cm-rollback", &["--service", "backend-gateway"]);
    assert_eq!(answer.code, 62, "{}", answer.stderr);
    let backup = record["backup"].as_str().expect("a backup");
    assert!(
        answer.stderr.contains(&format!("cm-backup restore {backup} --drop --confirm=curateme")),
        "{}",
        answer.stderr
    );
    assert_eq!(docker(&sandbox, "platform"), migrated, "nothing was touched");
    let restore = ["--service", "backend-gateway", "--confirm", "--restore-db"];
    // First on a bad day: an engine that stops nothing, and a restore that fails. Nothing is lost by either.
    let refuse =
        "printf '#!/bin/sh\ncase \"$*\" in *\" stop \"*) echo no >&2; exit 1 ;; esac\nexec /usr/bin/docker \"$@\"\n'";
    let server = sandbox.container("platform");
    let as_root = |line: &str| {
        let done = Command::new("docker").args(["exec", &server, "sh", "-c", line]).status().expect("docker");
        assert!(done.success(), "{line}");
    };
    as_root(&format!("{refuse} >/usr/local/bin/docker && chmod 755 /usr/local/bin/docker"));
    let error = |answer: &Answer| answer.document()["error"].clone();
    let answer = sandbox.laptop("cm-rollback", &restore);
    as_root("rm /usr/local/bin/docker");
    assert_eq!((answer.code, error(&answer)["code"].as_str()), (61, Some("rollback.stop")), "{}", answer.stderr);
    assert_eq!(docker(&sandbox, "platform"), migrated, "nothing was touched");
    let fails = "mkdir -p ~/fails && printf '#!/bin/sh\nexit 21\n' >~/fails/cm-backup && chmod +x ~/fails/cm-backup && PATH=~/fails:$PATH cm-rollback \"$@\"";
    let answer = sandbox.laptop("bash", &[&["-c", fails, "bash"], &restore[..]].concat());
    assert_eq!((answer.code, error(&answer)["code"].as_str()), (61, Some("rollback.restore")), "{}", answer.stderr);
    assert!(events(&sandbox).contains_key("later"), "the data is as it was");
    let answer = sandbox.laptop("cm-rollback", &restore);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert_eq!(docker(&sandbox, "platform"), good);
    let left = events(&sandbox);
    assert!(!left.contains_key("later") && !left.is_empty(), "the data is that of before: {left:?}");
    agree(&sandbox);

    println!("--- a Ctrl-C during a rollback warns once, and the rollback ends well");
    let answer = sandbox.deploy(&["--dashboard", "--no-backup", "--skip-canary"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let err = sandbox.home.path().join("interrupted.err");
    // A test that a shell runs in the background would hand on that Ctrl-C is ignored.
    let arguments = ["--default-signal=INT", "cm-rollback", "--service", "dashboard", "--confirm", "--skip-verify"];
    let mut child = sandbox.home.command("env", &arguments, &sandbox.laptop.display().to_string());
    let child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&err).expect("a file"));
    let mut child = child.spawn().expect("cm-rollback");
    let said = || std::fs::read_to_string(&err).expect("its output");
    until("containers are replaced", Duration::from_secs(60), || said().contains("starting"));
    assert_eq!(sandbox.laptop("kill", &["-INT", &child.id().to_string()]).code, 0);
    assert_eq!(end(&mut child, Duration::from_secs(120)), 60, "{}", said());
    assert_eq!(said().matches("a second Ctrl-C stops at once").count(), 1, "{}", said());
    assert_eq!(docker(&sandbox, "platform"), good);
    agree(&sandbox);
}
