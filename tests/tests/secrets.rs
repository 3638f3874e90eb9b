//! Secrets are planted on a server: in its env file, plain, short, with several lines, as a URL. Then whatever can fail with one
//! of them in its mouth fails: an image, a port, a user, a health check, a migration, a build, the database. No form of
//! a value (plain, base64, URL, hex) is in what was printed, journalled, recorded, reported, sent to Slack or the
//! ops API, or in an argument of a process.
//!
//! `CM_SECRETS=all` has every failure; without it some. SECURITY.md says what is promised.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Sandbox, end};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DOCKERFILE: &str = "apps/dashboard/Dockerfile";
const COMPOSE: &str = "docker-compose.production.yml";

/// A planted value and what must be found of it nowhere: plain, base64, URL-encoded, hex.
const PLANTED: [(&str, &str, &[&str]); 5] = [
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
    (
        "PLANTED_PEM",
        "\"-----BEGIN KEY-----\\nMIIEplantedLineOfAKey0123\\nsecondPlantedLine4567\\n-----END KEY-----\"",
        &["MIIEplantedLineOfAKey0123", "secondPlantedLine4567", "TUlJRXBsYW50ZWRMaW5lT2ZBS2V5MDEyM"],
    ),
    ("PLANTED_DSN", "postgres://app:dsnPl4nted@db/app", &["dsnPl4nted", "ZHNuUGw0bnRlZ"]),
];

/// Where a value ends up: lines of the service in the compose file, or in its environment.
const PLACES: [(&str, &str); 24] = [
    (
        "what a container prints before it dies",
        "command: [sh, -c, 'echo $$PG_CONN; for v in $$PG_CONN; do printf %s $$v | base64; done; exit 3']",
    ),
    ("a health check", "healthcheck: {test: [CMD-SHELL, 'echo $$PG_CONN; exit 1'], interval: 1s, retries: 1}"),
    ("a port", "ports: ['${PLANTED_AUTH}:80']"),
    ("a volume", "volumes: ['${PLANTED_SHORT}:${PLANTED_SHORT}']"),
    ("a network", "network_mode: '${PLANTED_STRIPE}'"),
    ("an image", "image: 'nowhere.invalid/${PLANTED_SHORT}:1'\n    build: !reset null"),
    ("an entry point", "entrypoint: ['/${PLANTED_AUTH}']"),
    ("a user", "user: '${PLANTED_SHORT}'"),
    ("a directory", "working_dir: '${PLANTED_AUTH}'"),
    (
        "a bind mount",
        "volumes: [{type: bind, source: '/srv/${PLANTED_AUTH}', target: /x, bind: {create_host_path: false}}]",
    ),
    ("a container that is joined", "network_mode: 'container:${PLANTED_STRIPE}'"),
    ("a container's volumes", "volumes_from: ['container:${PLANTED_STRIPE}:ro']"),
    ("an image that nobody pulls", "image: 'x/${PLANTED_SHORT}:1'\n    pull_policy: never\n    build: !reset null"),
    ("an image with a mistake", "image: 'x/${PLANTED_AUTH}:1'\n    build: !reset null"),
    ("a number", "cpus: '${PLANTED_AUTH}'"),
    ("a size", "memswap_limit: '${PLANTED_STRIPE}'"),
    ("a policy", "restart: '${PLANTED_STRIPE}'"),
    ("a logging driver", "logging: {driver: '${PLANTED_SHORT}'}"),
    ("a runtime", "runtime: '${PLANTED_STRIPE}'"),
    ("a host", "extra_hosts: ['a:${PLANTED_AUTH}']"),
    ("a capability", "cap_add: ['${PLANTED_STRIPE}']"),
    ("a name", "container_name: 'x${PLANTED_AUTH}'"),
    ("a file that is not there", "env_file: ['${PLANTED_AUTH}.env']"),
    ("a label, where all goes well", "labels: {a: '${PLANTED_AUTH}', b: '${PLANTED_DSN}'}"),
];

/// Everything of a sandbox where something may have been written down.
struct Spy {
    sandbox: Sandbox,
    /// What Slack and the ops API were sent.
    sent: Arc<Mutex<String>>,
    arguments: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    looked: usize,
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Stands in for Slack and the ops API; its address.
fn listen(sent: &Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let sent = Arc::clone(sent);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                sent.lock().expect("lock").push_str(&std::mem::take(&mut line));
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                sent.lock().expect("lock").push_str(&String::from_utf8_lossy(&body));
            }
            let _gone =
                reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    url
}

fn forms(text: &str) -> Option<String> {
    let found = |form: &&&str| text.contains(**form);
    PLANTED.iter().find_map(|(name, _, forms)| Some(format!("{name} as {:?}", forms.iter().find(found)?)))
}

/// Looks at the arguments of all processes, those of the servers among them, until it is told to stop. A program
/// that a test itself gives a value is not meant.
fn watch(found: &Arc<Mutex<Vec<String>>>, stop: &Arc<AtomicBool>) {
    let (found, stop) = (Arc::clone(found), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                if !line.contains("python3") && forms(&line).is_some() {
                    found.lock().expect("lock").push(line);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

impl Spy {
    fn up() -> Spy {
        let mut sandbox = Sandbox::up("secrets");
        let (sent, arguments, stop) = (Arc::default(), Arc::default(), Arc::default());
        let url = listen(&sent);
        sandbox.home.set("SLACK_DEPLOY_WEBHOOK", &format!("{url}/hook"));
        sandbox.change(
            "cm.toml",
            "url = \"${API_URL:-https://api.curate-me.ai}/api/v1/ops/deploys\"",
            &format!("url = \"{url}/ops\""),
            "another ops API",
        );
        sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
        sandbox.change("cm.toml", "timeout = \"180s\"", "timeout = \"20s\"", "a shorter time limit");
        let lines: String = PLANTED.iter().map(|(name, value, _)| format!("{name}={value}\n")).collect();
        let spy = Spy { sandbox, sent, arguments, stop, looked: 0 };
        spy.on("printf '%s' \"$1\" >> ~/platform/.env.production", &[&lines]);
        watch(&spy.arguments, &spy.stop);
        spy
    }

    fn on(&self, script: &str, arguments: &[&str]) -> String {
        self.sandbox.server("platform", &[&["sh", "-c", script, "sh"], arguments].concat())
    }

    /// The whole of a deployment that goes wrong, and a page about it.
    fn run(&mut self, what: &str) -> Answer {
        let answer = self.sandbox.laptop("git", &["commit", "-qam", what]);
        assert_eq!(answer.code, 0, "{answer:?}");
        let pipe = "git push -q origin HEAD:develop; rm -f page.html; cm-detect --service dashboard </dev/null | cm-health --preflight | cm-build | cm-health --timeout 15s | \
            cm-rollback --on-failure --skip-verify | cm-record; cm-record report --html page.html </dev/null >/dev/null 2>&1; cat page.html >&2; \
            cm-record history </dev/null >&2; cm-health --service dashboard --timeout 2s </dev/null";
        let answer = self.sandbox.laptop("bash", &["-c", pipe]);
        self.look(&answer, what);
        answer
    }

    fn look(&mut self, answer: &Answer, what: &str) {
        self.looked += 1;
        let mut texts =
            vec![("stdout".to_owned(), answer.stdout.clone()), ("stderr".to_owned(), answer.stderr.clone())];
        collect(&self.sandbox.home.path().join("state"), &mut texts);
        // The log of a build stays with the values, for nobody but their owner.
        let kept = "cd ~; cat .local/state/cm/curateme/*.jsonl backups/*.json 2>/dev/null; find .local/state/cm ! -path '*/snapshots/*/*' -perm /077";
        texts.push(("the ledger and the manifests".to_owned(), self.on(kept, &[])));
        texts.push(("Slack and the ops API".to_owned(), self.sent.lock().expect("lock").clone()));
        texts.push(("the arguments of a process".to_owned(), self.arguments.lock().expect("lock").join("\n")));
        for (place, text) in &texts {
            assert!(!text.contains("\n.local/state/"), "{what}: readable by others in {place}: {text}");
            if let Some(found) = forms(text) {
                panic!("{what}: {found} in {place}: {text}");
            }
        }
        println!("--- {what}: exit {}, nothing found in {} texts", answer.code, texts.len());
    }

    /// The compose file, with lines of the dashboard's own and what knows the values.
    fn dashboard(&self, plain: &str, lines: &str) {
        let all = PLANTED.map(|(name, ..)| format!("${{{name}}}")).join(" ");
        let (before, rest) = plain.split_once("  dashboard:\n").expect("the service");
        let (service, after) = rest.split_once("\n\n").expect("its end");
        let key = lines.split(':').next().expect("a key");
        let kept = service.lines().filter(|line| !line.trim_start().starts_with(&format!("{key}:")));
        let service = kept
            .collect::<Vec<_>>()
            .join("\n")
            .replace("      PORT: \"3000\"", &format!("      PORT: \"3000\"\n      PG_CONN: \"{all}\""));
        let text = format!("{before}  dashboard:\n{service}\n    {lines}\n\n{after}");
        std::fs::write(self.sandbox.laptop.join(COMPOSE), text).expect("write");
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

/// What the server lacks is asked from its own checkout by a preflight on its own, and from the commit by a plan.
fn missing_there(spy: &mut Spy, plain: &str) {
    spy.dashboard(plain, "network_mode: 'container:${PLANTED_STRIPE}'");
    let text = std::fs::read_to_string(spy.sandbox.laptop.join(COMPOSE)).expect("read");
    let keep = format!("cd ~/platform; cp {COMPOSE} ../kept.yml; printf '%s' \"$1\" >{COMPOSE}");
    spy.on(&keep, &[&text]);
    let own = spy.sandbox.laptop("cm-health", &["--preflight"]);
    spy.look(&own, "a preflight on its own");
    spy.on(&format!("cd ~/platform; mv ../kept.yml {COMPOSE}"), &[]);
    spy.dashboard(plain, "devices: ['/dev/${PLANTED_STRIPE}:/dev/x']");
    let planned = spy.run("a device");
    for (answer, what) in [(own, "the container ${PLANTED_STRIPE}"), (planned, "the path /dev/${PLANTED_STRIPE}")] {
        let is_named = answer.stderr.contains(&format!("{what} is not there"));
        assert!(is_named, "{what} is named: {}", answer.stderr);
    }
}

/// A build that prints what it was given, in every form; and one that is interrupted while it does.
fn builds(spy: &mut Spy, plain: &str) {
    let all = PLANTED.map(|(name, ..)| format!("${{{name}}}")).join(" ");
    let argument = plain.replacen(
        "      context: apps/dashboard\n      args:\n",
        &format!("      context: apps/dashboard\n      args:\n        LEAK: \"{all}\"\n"),
        1,
    );
    assert_ne!(argument, plain);
    std::fs::write(spy.sandbox.laptop.join(COMPOSE), argument).expect("write");
    let path = spy.sandbox.laptop.join(DOCKERFILE);
    let dockerfile = std::fs::read_to_string(&path).expect("read");
    let leak = "ARG LEAK\nRUN for v in $LEAK; do echo \"$v\"; printf %s \"$v\" | base64; printf %s \"$v\" | od -An -tx1 | tr -d ' \\n'; echo; \
        python3 -c 'import sys, urllib.parse as u; print(u.quote(sys.argv[1], safe=\"\"))' \"$v\"; done; exit 9\nUSER app\n";
    std::fs::write(&path, dockerfile.replace("USER app\n", leak)).expect("write");
    let answer = spy.run("a failing RUN");
    assert!(answer.stderr.contains("${PLANTED_AUTH}"), "the variable is named: {}", answer.stderr);
    std::fs::write(&path, dockerfile.replace("USER app\n", &leak.replace("exit 9", "sleep 20"))).expect("write");
    spy.sandbox.commit("a slow step");
    let mut child = start(&spy.sandbox, "git push -q origin HEAD:develop; exec cm-build --service dashboard");
    std::thread::sleep(Duration::from_secs(8));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("interrupted");
    let code = end(&mut child, Duration::from_secs(60));
    let said = std::fs::read_to_string(spy.sandbox.home.path().join("said")).expect("what it said");
    spy.look(&Answer { code, stdout: String::new(), stderr: said }, "an interrupted RUN");
    std::fs::write(&path, &dockerfile).expect("write");
}

fn start(sandbox: &Sandbox, line: &str) -> Child {
    let said = std::fs::File::create(sandbox.home.path().join("said")).expect("a file");
    let mut command = sandbox.home.command("bash", &["-c", line], &sandbox.laptop.display().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect("bash")
}

/// A command of a release that prints its environment and fails, and a database that does not let anybody in.
fn commands(spy: &mut Spy, plain: &str) {
    spy.dashboard(plain, "labels: {a: b}");
    let path = spy.sandbox.laptop.join("cm.toml");
    let toml = std::fs::read_to_string(&path).expect("read");
    let release = "\n[[release]]\nservice = \"dashboard\"\ncommand = [\"sh\", \"-c\", \"env; printf %s \\\"$PG_CONN\\\" | base64 -w0; exit 3\"]\n";
    std::fs::write(&path, format!("{toml}{release}")).expect("write");
    let answer = spy.run("a release command");
    assert!(answer.stderr.contains("release"), "{}", answer.stderr);
    std::fs::write(&path, &toml).expect("write");
    // In parts, and by the shell itself: no argument has a whole value.
    let wrong = "cp -p .env.production env.was; { grep -v ^MONGODB_URI= env.was; printf 'MONGODB_URI=mongodb://app:%s%s@mongodb:27017/curateme?authSource=%s%s\\n' dsn Pl4nted MIIE plantedLineOfAKey0123; } >.env.production";
    spy.on(&format!("cd ~/platform; {wrong}"), &[]);
    let answer =
        spy.sandbox.laptop("bash", &["-c", "cm-build --service mongodb </dev/null | cm-health; cm-backup </dev/null"]);
    assert_ne!(answer.code, 0, "{}", answer.stderr);
    spy.look(&answer, "a database that lets nobody in");
    spy.on("cd ~/platform; cat env.was >.env.production; rm env.was", &[]);
    inside(spy, &toml);
    of_the_laptop(spy, &toml, plain);
}

/// What is run in a container while a service is replaced rolling: a probe, a question of the canary, a drain; each says its
/// environment and fails.
fn inside(spy: &mut Spy, toml: &str) {
    let path = spy.sandbox.laptop.join("cm.toml");
    let says = r#"["sh", "-c", "echo $PG_CONN; printf %s \"$PG_CONN\" | base64 -w0; exit 3"]"#;
    for (what, lines) in [
        ("a probe", format!("probe = {says}\n")),
        ("a drain", format!("update = \"rolling\"\ndrain = {{ command = {says}, wait = \"1s\" }}\n")),
        ("a canary", "update = \"rolling\"\ncanary = \"http://dashboard:3000/${PLANTED_AUTH:-nowhere}\"\n".to_owned()),
    ] {
        std::fs::write(&path, format!("{toml}\n[services.dashboard]\n{lines}")).expect("write");
        let _answer = spy.run(what);
    }
    std::fs::write(&path, toml).expect("write");
}

/// Values of the laptop's environment: those that are sent somewhere, by what they are sent to, which fails, and one
/// that is nobody's business.
fn of_the_laptop(spy: &mut Spy, toml: &str, plain: &str) {
    let variables = [
        ("OPS_API_TOKEN", "dsnPl4nted-token"),
        ("CM_API_KEY", "dsnPl4nted-key"),
        ("SLACK_DEPLOY_WEBHOOK", "http://127.0.0.1:9/services/dsnPl4nted"),
        ("AWS_SECRET_ACCESS_KEY", "51Hx0StripeLike"),
    ];
    for (name, value) in variables {
        spy.sandbox.home.set(name, value);
    }
    // Where they are sent on purpose is gone, and that is said.
    let path = spy.sandbox.laptop.join("cm.toml");
    let elsewhere =
        |line: &str| if line.ends_with("/ops\"") { "url = \"http://127.0.0.1:9/ops\"" } else { line }.to_owned();
    std::fs::write(&path, toml.lines().map(elsewhere).collect::<Vec<_>>().join("\n") + "\n").expect("write");
    spy.dashboard(plain, "command: [sh, -c, 'exit 3']");
    let answer = spy.run("the environment of the laptop");
    assert!(answer.stderr.contains("could not notify Slack"), "{}", answer.stderr);
    let verified = spy.sandbox.laptop("cm-verify", &["--verbose"]);
    spy.look(&verified, "a key that a check sends");
}

#[test]
fn values_of_the_servers_env_file_do_not_leave_it() {
    let mut spy = Spy::up();
    let plain = std::fs::read_to_string(spy.sandbox.laptop.join(COMPOSE)).expect("read");
    let good = spy.sandbox.laptop("bash", &["-c", "set -o pipefail; git push -q origin HEAD:develop; cm-build --service dashboard </dev/null | cm-health | cm-record"]);
    assert_eq!(good.code, 0, "{}", good.stderr);
    spy.look(&good, "a good release");
    let all = std::env::var_os("CM_SECRETS").is_some();
    for (what, lines) in PLACES.into_iter().take(if all { PLACES.len() } else { 6 }) {
        spy.dashboard(&plain, lines);
        let _answer = spy.run(what);
    }
    missing_there(&mut spy, &plain);
    builds(&mut spy, &plain);
    if all {
        commands(&mut spy, &plain);
    }
    let failed = spy.sent.lock().expect("lock").contains("/hook");
    assert!(failed, "Slack was told");
    println!(
        "{} values in {} forms, {} failures: 0 found",
        PLANTED.len(),
        PLANTED.iter().map(|(_, _, forms)| forms.len()).sum::<usize>(),
        spy.looked
    );
}
