//! End to end, on real servers: sshd, Docker, Compose, MongoDB, Redis and Caddy. What
//! happened is asked of Docker and of the file system, never of cm.

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A container by Docker's own word.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Container {
    id: String,
    image: String,
    started_at: String,
    running: bool,
}

fn containers(sandbox: &Sandbox, server: &str) -> BTreeMap<String, Container> {
    let names = sandbox.server(server, &["docker", "ps", "-a", "--format", "{{.Names}}"]);
    let names: Vec<&str> = names.lines().collect();
    if names.is_empty() {
        return BTreeMap::new();
    }
    let format = "{{.Name}} {{.Id}} {{.Image}} {{.State.StartedAt}} {{.State.Running}}";
    let mut command = vec!["docker", "inspect", "--format", format];
    command.extend(&names);
    let read = |line: &str| {
        let fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let [name, id, image, started_at, running] = fields.try_into().expect("five fields");
        let name = name.trim_start_matches("/curateme-").to_owned();
        (name, Container { id, image, started_at, running: running == "true" })
    };
    sandbox.server(server, &command).lines().map(read).collect()
}

/// Stands in for Slack: keeps the text of each message. Gives its URL.
fn slack() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook-that-nobody-may-see", listener.local_addr().expect("an address"));
    let told = Arc::new(Mutex::new(Vec::new()));
    let messages = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                messages.lock().expect("lock").push(body["text"].as_str().expect("a text").to_owned());
            }
            let _gone =
                reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    (url, told)
}

/// What Slack was told since the last time: how each message must begin, and what else must be in it.
fn was_told(told: &Mutex<Vec<String>>, wanted: &[(&str, &str)]) {
    let texts = std::mem::take(&mut *told.lock().expect("lock"));
    let right = texts.len() == wanted.len()
        && texts.iter().zip(wanted).all(|(text, (begin, more))| text.starts_with(begin) && text.contains(more));
    assert!(right, "wanted {wanted:?}, told {texts:#?}");
}

/// Inode, mode, owner and content hash of the files a deployment must not touch.
fn protected(sandbox: &Sandbox) -> String {
    let stat =
        sandbox.server("platform", &["stat", "-c", "%n %i %a %U %s", "platform/Caddyfile", "platform/.env.production"]);
    let sums = sandbox.server("platform", &["sha256sum", "platform/Caddyfile", "platform/.env.production"]);
    format!("{stat}\n{sums}")
}

fn head(sandbox: &Sandbox, server: &str) -> String {
    sandbox.server(server, &["git", "-C", "platform", "rev-parse", "HEAD"])
}

fn laptop_head(sandbox: &Sandbox) -> String {
    sandbox.laptop("git", &["rev-parse", "HEAD"]).stdout.trim().to_owned()
}

fn backups(sandbox: &Sandbox) -> Vec<String> {
    let list = sandbox.server("platform", &["ls", "-1", "backups"]);
    list.lines().filter(|name| name.ends_with(".archive.gz")).map(str::to_owned).collect()
}

fn gateway_answers(sandbox: &Sandbox) -> bool {
    let check =
        sandbox.laptop("bash", &["-c", r#"curl -sf --max-time 10 "$API_URL/gateway/health" | grep -q '"status"'"#]);
    check.code == 0
}

#[track_caller]
fn succeeded(answer: &Answer) {
    assert_eq!(answer.code, 0, "exit status; stderr:\n{}", answer.stderr);
    let line = |text: &str| text.starts_with("[SUCCESS] ") && text.ends_with(" healthy!");
    assert!(answer.stderr.lines().any(line), "the runbook's line; stderr:\n{}", answer.stderr);
    assert_eq!(answer.document()["status"], "ok");
}

/// Only `names` differ between the two looks.
#[track_caller]
fn only_changed(before: &BTreeMap<String, Container>, after: &BTreeMap<String, Container>, names: &[&str]) {
    let changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
    let mut changed: Vec<_> = changed.into_iter().map(String::as_str).collect();
    changed.sort_unstable();
    changed.dedup();
    assert_eq!(changed, names);
}

/// Everything that people and logs got to see.
#[derive(Default)]
struct Transcript(RefCell<String>);

impl Transcript {
    fn deploy(&self, sandbox: &Sandbox, arguments: &[&str]) -> Answer {
        let answer = sandbox.deploy(arguments);
        self.0.borrow_mut().push_str(&format!("{}{}", answer.stdout, answer.stderr));
        answer
    }
}

/// Looks at the argument lists of all processes until it is told to stop: the servers
/// are containers, so this sees theirs too. Gives the first one that holds a secret.
fn watch_arguments(secrets: Vec<String>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Option<String>> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                if secrets.iter().any(|secret| line.contains(secret)) {
                    return Some(line);
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    })
}

/// The process of this sandbox's laptop that runs `program`, and no one else's.
fn process(sandbox: &Sandbox, program: &str) -> Option<u32> {
    let home = format!("HOME={}\0", sandbox.home.path().display());
    let ids = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut ours = ids.filter(|id| {
        let read = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&read("comm")).trim() == program
            && String::from_utf8_lossy(&read("environ")).contains(&home)
    });
    ours.next()
}

/// Deploys, and kills `program` once cm-build has written its document.
fn deploy_and_kill(sandbox: &Sandbox, program: &str) -> Answer {
    let (out, err) = (sandbox.home.path().join("killed.out"), sandbox.home.path().join("killed.err"));
    let script = cm_testkit::repository().join("scripts/deploy-to-vps.sh").display().to_string();
    let laptop = sandbox.laptop.display().to_string();
    let journals =
        |sandbox: &Sandbox| sandbox.home.files().iter().filter(|name| name.ends_with("-cm-build.json")).count();
    let before = journals(sandbox);
    let mut command = sandbox.home.command(&script, &[""; 0], &laptop);
    let outputs = (File::create(&out).expect("a file"), File::create(&err).expect("a file"));
    let mut child = command.stdin(Stdio::null()).stdout(outputs.0).stderr(outputs.1).spawn().expect("the script");
    let began = Instant::now();
    while journals(sandbox) == before {
        assert!(began.elapsed() < Duration::from_secs(120), "cm-build gets there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = process(sandbox, program).expect("the program runs").to_string();
    assert!(sandbox.home.command("kill", &["-KILL", &id], &laptop).status().expect("kill").success());
    let code = child.wait().expect("its end").code().unwrap_or(-1);
    let read = |path| std::fs::read_to_string(path).expect("its output");
    Answer { code, stdout: read(&out), stderr: read(&err) }
}

const GATEWAY: &str = "services/backend/curateme/gateway/__main__.py";

/// One platform from its first deployment to a fix forward, chapter by chapter: each begins where the last one ended.
struct Story {
    sandbox: Sandbox,
    /// What Slack was told.
    told: Arc<Mutex<Vec<String>>>,
    transcript: Transcript,
    /// The protected files as they were before anything was deployed.
    untouched: String,
    /// After the first deployment, on the platform and on the runners' server.
    first: BTreeMap<String, Container>,
    runners: BTreeMap<String, Container>,
    /// After the dashboard's second version.
    second: BTreeMap<String, Container>,
}

impl Story {
    fn begin() -> Self {
        let mut sandbox = Sandbox::up("story");
        let (hook, told) = slack();
        sandbox.home.set("SLACK_DEPLOY_WEBHOOK", &hook);
        let untouched = protected(&sandbox);
        let none = BTreeMap::new;
        Story {
            sandbox,
            told,
            transcript: Transcript::default(),
            untouched,
            first: none(),
            runners: none(),
            second: none(),
        }
    }

    /// What nobody may ever read.
    fn secrets(&self) -> Vec<String> {
        let value = |name: &str| self.sandbox.laptop("printenv", &[name]).stdout.trim().to_owned();
        let secrets = vec![value("CM_API_KEY"), value("OPS_API_TOKEN"), "hook-that-nobody-may-see".to_owned()];
        assert!(secrets.iter().all(|secret| secret.len() > 8), "there is something to hide");
        secrets
    }

    fn deploy(&self, arguments: &[&str]) -> Answer {
        self.transcript.deploy(&self.sandbox, arguments)
    }

    fn platform(&self) -> BTreeMap<String, Container> {
        containers(&self.sandbox, "platform")
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.sandbox.laptop.join(path)).expect("read")
    }

    fn write(&self, path: &str, text: &str, message: &str) {
        std::fs::write(self.sandbox.laptop.join(path), text).expect("write");
        self.sandbox.commit(message);
    }

    fn the_first_deployment_starts_everything(&mut self) {
        succeeded(&self.deploy(&[]));
        self.first = self.platform();
        assert_eq!(self.first.len(), 9, "{:?}", self.first);
        assert!(self.first.values().all(|container| container.running), "{:?}", self.first);
        self.runners = containers(&self.sandbox, "runners");
        assert_eq!(self.runners.keys().collect::<Vec<_>>(), ["runner-agent"]);
        for server in ["platform", "runners"] {
            assert_eq!(head(&self.sandbox, server), laptop_head(&self.sandbox), "{server}");
        }
        assert_eq!(protected(&self.sandbox), self.untouched);
        assert!(gateway_answers(&self.sandbox));
    }

    fn without_a_change_nothing_is_touched(&self) {
        succeeded(&self.deploy(&[]));
        only_changed(&self.first, &self.platform(), &[]);
        was_told(&self.told, &[("Deploying ", "by "), ("Deploy completed: ", "To roll back: `cm-rollback")]);
    }

    fn a_change_of_the_dashboard_touches_the_dashboard_alone(&mut self) {
        let backups_before = backups(&self.sandbox);
        self.write("apps/dashboard/VERSION", "2.0.0-test\n", "dashboard: two");
        succeeded(&self.deploy(&[]));
        self.second = self.platform();
        only_changed(&self.first, &self.second, &["dashboard"]);
        assert_ne!(self.first["dashboard"].image, self.second["dashboard"].image, "it runs another image");
        assert_eq!(self.runners, containers(&self.sandbox, "runners"), "the other server was left alone");
        assert_eq!(protected(&self.sandbox), self.untouched);
        let new: Vec<_> = backups(&self.sandbox).into_iter().filter(|name| !backups_before.contains(name)).collect();
        assert_eq!(new.len(), 1, "one backup a deployment: {new:?}");
        self.is_older_than_the_change(&new[0]);
        was_told(&self.told, &[("Deploying dashboard of", "by "), ("Deploy completed: dashboard of", "verified")]);
    }

    fn is_older_than_the_change(&self, backup: &str) {
        let taken = self.sandbox.server("platform", &["stat", "-c", "%Y %a", &format!("backups/{backup}")]);
        let (taken, mode) = taken.split_once(' ').expect("two fields");
        let started = &self.second["dashboard"].started_at;
        let started = self.sandbox.server("platform", &["date", "-d", started, "+%s"]);
        let seconds = |text: &str| text.parse::<u64>().expect("seconds");
        assert!(seconds(taken) <= seconds(&started), "the backup is older than the change");
        assert_eq!(mode, "600");
    }

    fn a_gateway_that_answers_with_errors_is_rolled_back(&self) {
        let bug = "raise RuntimeError(\"broken on purpose\")";
        self.sandbox.change(GATEWAY, "return 200, HEALTH.report()", bug, "gateway: broken");
        let answer = self.deploy(&[]);
        assert_eq!(answer.code, 60, "stderr:\n{}", answer.stderr);
        assert_eq!(answer.document()["status"], "rolled_back");
        let third = self.platform();
        assert_eq!(third["backend-gateway"].image, self.second["backend-gateway"].image);
        assert!(third["backend-gateway"].running && gateway_answers(&self.sandbox));
        only_changed(&self.second, &third, &["backend-gateway"]);
        assert_eq!(protected(&self.sandbox), self.untouched);
        let (there, own) = (head(&self.sandbox, "platform"), laptop_head(&self.sandbox));
        assert_ne!(there, own, "the checkout went back too");
        was_told(
            &self.told,
            &[
                ("Deploying backend-gateway of", "by "),
                ("Verification FAILED (", "canary"),
                ("Rolling back to previous version", "backend-gateway of"),
            ],
        );
        // Pushed is not running: the same commit again is not taken for deployed.
        let answer = self.deploy(&[]);
        assert_eq!(answer.code, 60, "stderr:\n{}", answer.stderr);
        self.sandbox.change(GATEWAY, bug, "return 200, HEALTH.report()", "gateway: repaired");
    }

    fn a_gateway_that_dies_at_once_is_rolled_back(&self) {
        let text = self.read(GATEWAY);
        let crash = text.replacen("\nSERVICE = ", "\nraise SystemExit(\"dies at once\")\nSERVICE = ", 1);
        assert_ne!(crash, text);
        self.write(GATEWAY, &crash, "gateway: crash loop");
        let answer = self.deploy(&[]);
        assert_eq!(answer.code, 60, "stderr:\n{}", answer.stderr);
        for words in ["Some services may not be fully healthy yet", "dies at once"] {
            assert!(answer.stderr.contains(words), "{words}; stderr:\n{}", answer.stderr);
        }
        assert_eq!(self.platform()["backend-gateway"].image, self.second["backend-gateway"].image);
        assert!(gateway_answers(&self.sandbox));
        self.write(GATEWAY, &text, "gateway: repaired");
    }

    fn a_killed_program_leaves_a_journal_that_undoes_its_change(&self) {
        let before = self.platform();
        self.write("apps/docs/content/index.md", "# Another page\n", "docs: another page");
        let answer = deploy_and_kill(&self.sandbox, "cm-health");
        assert_ne!(answer.code, 0, "{answer:?}");
        assert!(!answer.stderr.contains("healthy!"), "{}", answer.stderr);
        assert!(answer.stderr.contains("rolled back, healthy and verified"), "{}", answer.stderr);
        let after = self.platform();
        assert_eq!(after["docs"].image, before["docs"].image);
        assert!(after["docs"].running);
        let lock = self.sandbox.laptop("cm-lock", &["run", "--", "true"]);
        assert_eq!(lock.code, 0, "the lock is free: {lock:?}");
    }

    fn a_syntax_error_does_not_leave_the_laptop_and_a_fix_forward_works(&self) {
        let text = self.read(GATEWAY);
        self.write(GATEWAY, &format!("def broken(:\n{text}"), "gateway: no Python");
        let before = self.platform();
        let answer = self.deploy(&[]);
        assert_eq!(answer.code, 20, "stderr:\n{}", answer.stderr);
        assert!(answer.stderr.contains(&format!("{GATEWAY}:1")), "file and line; stderr:\n{}", answer.stderr);
        only_changed(&before, &self.platform(), &[]);
        self.write(GATEWAY, &text, "gateway: repaired for good");
        succeeded(&self.deploy(&["--gateway"]));
        assert!(gateway_answers(&self.sandbox));
    }

    fn the_history_tells_the_truth(&self) {
        let history = self.sandbox.laptop("cm-record", &["history", "--json"]);
        let history: serde_json::Value = serde_json::from_str(&history.stdout).expect("JSON");
        let records = history["platform"].as_array().expect("records").iter();
        let verdicts: Vec<_> = records.map(|record| record["verdict"].as_str().expect("verdict")).collect();
        let expected = ["verified", "rolled_back", "rolled_back", "rolled_back", "rolled_back", "verified", "verified"];
        assert_eq!(verdicts, expected, "newest first");
    }

    fn no_secret_is_anywhere(&self, secrets: &[String]) {
        for secret in secrets {
            assert!(!self.transcript.0.borrow().contains(secret), "no output holds a secret");
            for name in self.sandbox.home.files() {
                let bytes = std::fs::read(self.sandbox.home.path().join(&name)).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{name} holds a secret");
            }
            for server in ["platform", "runners"] {
                let search = ["sh", "-c", r#"grep -rlF -- "$1" .local backups || true"#, "sh", secret];
                let found = self.sandbox.server(server, &search);
                let strays = found.lines().filter(|name| !name.contains("snapshots/")).count();
                assert_eq!(strays, 0, "on {server}: {found}");
            }
        }
    }
}

#[test]
fn a_platform_is_deployed_changed_broken_and_rolled_back() {
    let mut story = Story::begin();
    let secrets = story.secrets();
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_arguments(secrets.clone(), Arc::clone(&stop));
    story.the_first_deployment_starts_everything();
    story.without_a_change_nothing_is_touched();
    story.a_change_of_the_dashboard_touches_the_dashboard_alone();
    story.a_gateway_that_answers_with_errors_is_rolled_back();
    story.a_gateway_that_dies_at_once_is_rolled_back();
    story.a_killed_program_leaves_a_journal_that_undoes_its_change();
    story.a_syntax_error_does_not_leave_the_laptop_and_a_fix_forward_works();
    story.the_history_tells_the_truth();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().expect("its end"), None, "no argument list holds a secret");
    story.no_secret_is_anywhere(&secrets);
}

#[test]
fn two_people_cannot_deploy_at_once() {
    let sandbox = Sandbox::up("lock");
    let laptop = sandbox.laptop.display().to_string();
    let mut holder =
        sandbox.home.command("cm-lock", &["run", "--reason", "a long deploy", "--", "sleep", "60"], &laptop);
    let mut holder = holder.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cm-lock");
    let held = |sandbox: &Sandbox| sandbox.laptop("cm-lock", &["status"]).stdout.contains("ada@laptop");
    let began = Instant::now();
    while !held(&sandbox) {
        assert!(began.elapsed() < Duration::from_secs(20), "the lock is taken");
        std::thread::sleep(Duration::from_millis(100));
    }

    println!("--- on the same laptop");
    let refused = sandbox.deploy(&[]);
    assert_eq!(refused.code, 10, "{refused:?}");
    assert!(refused.stderr.contains("ada@laptop") && refused.stderr.contains("a long deploy"), "{}", refused.stderr);

    println!("--- from another laptop, which has a lock file of its own");
    let mut other = cm_testkit::Home::new();
    for name in ["DEPLOY_USER", "PLATFORM_VPS_IP", "RUNNERS_VPS_IP", "CM_SSH_CONFIG", "GIT_SSH_COMMAND", "API_URL"] {
        let value = sandbox.laptop("printenv", &[name]).stdout;
        other.set(name, value.trim());
    }
    other.set("CM_ACTOR", "bob@desk");
    let script = cm_testkit::repository().join("scripts/deploy-to-vps.sh").display().to_string();
    let refused = other.run(&script, &[""; 0], &laptop, None);
    assert_eq!(refused.code, 10, "{refused:?}");
    assert!(refused.stderr.contains("ada@laptop"), "{}", refused.stderr);
    assert_eq!(containers(&sandbox, "platform").len(), 0, "nothing was deployed");

    println!("--- and a changing program used alone");
    let refused = other.run("cm-build", &["--service", "dashboard"], &laptop, None);
    assert_eq!(refused.code, 10, "{refused:?}");

    println!("--- until it is over");
    let ended = sandbox.home.command("kill", &["-TERM", &holder.id().to_string()], &laptop).status().expect("kill");
    assert!(ended.success());
    holder.wait().expect("its end");
    let began = Instant::now();
    while other.run("cm-lock", &["run", "--", "true"], &laptop, None).code != 0 {
        assert!(began.elapsed() < Duration::from_secs(90), "the lock is free again within one lease");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_touches_nothing() {
    let sandbox = Sandbox::up("dry");
    let (before, untouched) = (head(&sandbox, "platform"), protected(&sandbox));
    std::fs::write(sandbox.laptop.join("apps/dashboard/VERSION"), "3.0.0-test\n").expect("write");
    sandbox.commit("dashboard: three");
    let answer = sandbox.deploy(&["--dry-run"]);
    assert_eq!(answer.code, 0, "stderr:\n{}", answer.stderr);
    assert_eq!(answer.document()["run"]["dry_run"], true);
    assert!(answer.stderr.contains("up -d --no-build"), "it names the commands; stderr:\n{}", answer.stderr);
    assert_eq!(containers(&sandbox, "platform").len(), 0);
    assert_eq!((head(&sandbox, "platform"), protected(&sandbox)), (before, untouched));
    let pushed = sandbox.laptop("git", &["ls-remote", "origin", "refs/heads/develop"]);
    assert!(!pushed.stdout.contains(&laptop_head(&sandbox)), "nothing was pushed");
    let state = sandbox.server("platform", &["find", ".local", "-name", "*.jsonl"]);
    assert_eq!(state, "", "no ledger was begun");

    println!("--- a branch that is not the one deployed is not pushed over it");
    assert_eq!(sandbox.laptop("git", &["switch", "-qc", "feature"]).code, 0);
    let answer = sandbox.deploy(&[]);
    assert_eq!(answer.code, 20, "stderr:\n{}", answer.stderr);
    assert!(answer.stderr.contains("this is feature"), "stderr:\n{}", answer.stderr);
    let pushed = sandbox.laptop("git", &["ls-remote", "origin", "refs/heads/develop"]);
    assert!(!pushed.stdout.contains(&laptop_head(&sandbox)), "nothing was pushed");
}
