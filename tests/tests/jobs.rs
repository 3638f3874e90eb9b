//! Jobs and release commands on a real server: they run once, with the new image, before anything is replaced. What
//! they did is counted in a volume, what ran and runs is asked of Docker.
//!
//! `CM_JOB_KILLS` is the number of moments at which a deployment is killed (default 2).

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox, until};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const CONFIG: &str = "project = \"shop\"\nbranch = \"develop\"\n[compose]\nfiles = [\"compose.yml\"]\n\
    [hosts.platform]\naddress = \"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"\ncheckout = \"~/platform\"\n\
    [protect]\nfiles = [\"Caddyfile\", \".env.production\"]\n[lock]\nlease = \"5s\"\n[health]\nwindow = \"1s\"\nreadings = 2\n";

/// A store that has to be healthy, a job that writes into it, and a web service that waits for the job.
const COMPOSE: &str = "name: shop
services:
  store:
    image: curateme/python:1
    init: true
    restart: unless-stopped
    command: ['sleep', 'infinity']
    volumes: ['data:/data']
    healthcheck: {test: ['CMD', 'test', '-d', '/data'], interval: 1s}
  migrate:
    image: shop/app
    build: app
    command: ['sh', '/migrate']
    restart: on-failure:3
    mem_limit: 96m
    environment: {GREETING: hello}
    depends_on: {store: {condition: service_healthy}}
    volumes: ['data:/data']
  web:
    image: shop/app
    build: app
    init: true
    restart: unless-stopped
    stop_grace_period: 1s
    depends_on: {migrate: {condition: service_completed_successfully}}
    ports: ['127.0.0.1:8080:80']
    working_dir: /srv
    command: ['python3', '-m', 'http.server', '80']
volumes: {data: {}}
";

const DOCKERFILE: &str = "FROM curateme/python:1\nCOPY migrate /migrate\nCOPY index.html /srv/index.html\n";

/// Commits and pushes a version whose job does `work`; gives its commit.
fn commit(sandbox: &Sandbox, version: &str, work: &str, config: &str) -> String {
    fs::create_dir_all(sandbox.laptop.join("app")).expect("a directory");
    let write = |name: &str, text: &str| fs::write(sandbox.laptop.join(name), text).expect("write");
    write("compose.yml", COMPOSE);
    write("cm.toml", &format!("{CONFIG}{config}"));
    write("app/Dockerfile", DOCKERFILE);
    write("app/index.html", version);
    write("app/migrate", &format!("echo {version} $GREETING >>/data/runs\necho working on {version}\n{work}\n"));
    let line = "git add -A && git commit -qm change && git push -qf origin HEAD:develop && git rev-parse HEAD";
    let answer = sandbox.laptop("bash", &["-c", line]);
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.stdout.trim().to_owned()
}

const PIPE: &str =
    "cm-detect </dev/null | cm-build -v | cm-health | cm-rollback --on-failure --skip-verify | cm-record";

/// The exit statuses of the programs, and what they said; the lock of one that was killed lapses.
fn deploy(sandbox: &Sandbox) -> (Vec<i32>, Answer) {
    let began = Instant::now();
    loop {
        let answer = sandbox.laptop("bash", &["-c", &format!("{PIPE}; echo \"statuses ${{PIPESTATUS[*]}}\" >&2")]);
        let statuses = answer.stderr.rsplit_once("statuses ").expect("their statuses").1;
        let statuses: Vec<i32> = statuses.split_whitespace().map(|code| code.parse().expect("a number")).collect();
        if statuses[1] != 10 || began.elapsed() > Duration::from_secs(60) {
            return (statuses, answer);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn on(sandbox: &Sandbox, script: &str) -> String {
    sandbox.server("platform", &["sh", "-c", script])
}

/// How often the job of a version has run.
fn runs(sandbox: &Sandbox, version: &str) -> usize {
    let all = on(sandbox, "docker exec shop-store-1 cat /data/runs 2>/dev/null || :");
    all.lines().filter(|line| *line == format!("{version} hello")).count()
}

fn served(sandbox: &Sandbox) -> String {
    on(sandbox, "for i in 1 2 3 4 5 6; do curl -sf http://127.0.0.1:8080/ && exit; sleep 0.5; done; echo nobody")
}

/// The containers of services, with when they were started.
fn containers(sandbox: &Sandbox) -> String {
    on(sandbox, "docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}' shop-store-1 shop-web-1")
}

fn head(sandbox: &Sandbox) -> String {
    on(sandbox, "git -C platform rev-parse HEAD")
}

#[test]
fn a_job_runs_once_before_anything_is_replaced_and_its_failure_touches_nothing() {
    let sandbox = Sandbox::up("jobs");
    println!("--- the first deployment: what the job needs is started first, and waited for");
    let first = commit(&sandbox, "one", "sleep 1", "");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    assert_eq!((runs(&sandbox, "one"), served(&sandbox).as_str()), (1, "one"));
    assert!(answer.stderr.contains("migrate | working on one"), "streamed: {}", answer.stderr);
    let job = &answer.document()["facts"]["build"]["hosts"]["platform"]["jobs"][0];
    assert_eq!(
        (&job["name"], &job["outcome"], &job["exit_code"]),
        (&"migrate".into(), &"done".into(), &0.into()),
        "{job}"
    );
    let log = fs::read_to_string(job["log"].as_str().expect("a log")).expect("kept");
    assert!(log.contains("working on one"), "{log}");
    assert!(!answer.stderr.contains("taken for jobs"), "{}", answer.stderr);
    assert_eq!(sandbox.laptop("cm-health", &["--all"]).code, 0, "a job that has ended is not red");

    println!("--- the same again: it is not run again; nor by a later up");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    let answer = sandbox.laptop("cm-build", &["--all"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("migrate has run for this commit; not again"), "{}", answer.stderr);
    assert_eq!(runs(&sandbox, "one"), 1);

    println!("--- one that fails: nothing is touched, nothing is rolled back, its last line is in the error");
    let before = containers(&sandbox);
    commit(&sandbox, "two", "echo the last words >&2; exit 3", "");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 30, 3, 0, 0], "{}", answer.stderr);
    let document = answer.document();
    assert_eq!(document["error"]["code"], "release.failed", "{document}");
    assert!(document["error"].to_string().contains("the last words"), "{document}");
    assert!(answer.stderr.contains("the database is as it left it"), "{}", answer.stderr);
    assert_eq!((containers(&sandbox), head(&sandbox)), (before.clone(), first.clone()));
    assert_eq!(
        on(&sandbox, "docker image inspect -f '{{.Id}}' shop/app"),
        on(&sandbox, "docker inspect -f '{{.Image}}' shop-web-1")
    );
    assert_eq!(runs(&sandbox, "two"), 1);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!((statuses[1], runs(&sandbox, "two")), (30, 2), "deployed again, it runs again: {}", answer.stderr);

    println!("--- one that takes its time: web is there for all of it; a dry run has said how it is run");
    commit(&sandbox, "three", "sleep 6", "");
    let plan = sandbox.laptop("bash", &["-c", "cm-detect </dev/null | cm-build --dry-run"]);
    assert_eq!((plan.code, runs(&sandbox, "three")), (0, 0), "{}", plan.stderr);
    let (_, told) = plan.stderr.split_once("job migrate, once: ").expect("the job");
    let told = told.lines().next().expect("a line").split("CM_RUN_ID=").next().expect("a command").to_owned();
    let gap = "while [ -n \"$(docker ps -q --filter label=cm.job=migrate)\" ]; do
        curl -sf -m 2 http://127.0.0.1:8080/ >/dev/null && echo there || echo gap; done";
    let watch = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            until("the job", Duration::from_secs(60), || runs(&sandbox, "three") == 1);
            on(&sandbox, gap)
        });
        let (statuses, answer) = deploy(&sandbox);
        assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
        assert!(told.starts_with("cd ") && answer.stderr.contains(&told), "{told}: {}", answer.stderr);
        watch.join().expect("what it saw")
    });
    assert!(watch.contains("there") && !watch.contains("gap"), "while the job ran: {watch}");
    assert_eq!(served(&sandbox), "three");

    println!("--- too long: it is stopped, and not run again unasked");
    let before = containers(&sandbox);
    commit(&sandbox, "four", "[ -e /data/go ] || exec sleep 600", "[services.migrate]\njob_timeout = \"3s\"\n");
    for words in ["had not ended within 3 s", "had not ended within 3 s"] {
        let (statuses, answer) = deploy(&sandbox);
        assert_eq!(
            (statuses[1], &answer.document()["error"]["code"]),
            (30, &"release.interrupted".into()),
            "{}",
            answer.stderr
        );
        assert!(
            answer.stderr.contains(words) && answer.stderr.contains("cm-build job migrate --again"),
            "{}",
            answer.stderr
        );
    }
    assert_eq!((runs(&sandbox, "four"), containers(&sandbox)), (1, before));
    on(&sandbox, "docker exec shop-store-1 touch /data/go");
    let again = sandbox.laptop("cm-build", &["job", "migrate", "--again"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    assert_eq!((runs(&sandbox, "four"), served(&sandbox).as_str()), (2, "four"));

    println!("--- ended from outside: said so, and not run again unasked");
    interrupted(&sandbox, "out-of-memory", "[ -e /data/went ] || exec python3 -c 'x = bytearray(1 << 30)'", |_| ());
    let power = |sandbox: &Sandbox| sandbox.restart("platform");
    interrupted(&sandbox, "power", "[ -e /data/went ] || sleep 600", power);

    println!("--- killed at any moment, and deployed again: once each");
    let kills: u32 = std::env::var("CM_JOB_KILLS").ok().map_or(2, |text| text.parse().expect("a number"));
    for n in 0..kills {
        let version = format!("kill-{n}");
        commit(&sandbox, &version, "sleep 2", "");
        let mut command = sandbox.home.command("bash", &["-c", PIPE], &sandbox.laptop.display().to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash");
        std::thread::sleep(Duration::from_millis(1500 + u64::from(n) * 7919 % 7000));
        kill_below(&sandbox, child.id());
        child.wait().expect("its end");
        let (statuses, answer) = deploy(&sandbox);
        assert_eq!(statuses, [0, 0, 0, 0, 0], "{n}: {}", answer.stderr);
        assert_eq!((runs(&sandbox, &version), served(&sandbox)), (1, version), "{n}: {}", answer.stderr);
    }
}

/// A job that does not come to its end by itself, because of what it does or of what is done meanwhile.
fn interrupted(sandbox: &Sandbox, version: &str, work: &str, meanwhile: fn(&Sandbox)) {
    on(sandbox, "docker exec shop-store-1 rm -f /data/went");
    let before = on(sandbox, "docker inspect --format '{{.Id}}' shop-web-1");
    commit(sandbox, version, work, "");
    let statuses = std::thread::scope(|scope| {
        let deployed = scope.spawn(|| deploy(sandbox));
        until("the job", Duration::from_secs(90), || runs(sandbox, version) == 1);
        meanwhile(sandbox);
        deployed.join().expect("its end").0
    });
    assert_ne!(statuses[1], 0, "{version}");
    let store = "ssh -F \"$CM_SSH_CONFIG\" curateme@$PLATFORM_VPS_IP docker ps -q --filter name=shop-store-1";
    until("the store", Duration::from_secs(90), || {
        let answer = sandbox.laptop("bash", &["-c", store]);
        answer.code == 0 && !answer.stdout.trim().is_empty()
    });
    for _ in 0..2 {
        let (statuses, answer) = deploy(sandbox);
        let error = &answer.document()["error"]["code"];
        assert_eq!((statuses[1], error), (30, &"release.interrupted".into()), "{version}: {}", answer.stderr);
        assert!(answer.stderr.contains("it is not run again unasked"), "{version}: {}", answer.stderr);
    }
    assert_eq!(runs(sandbox, version), 1, "{version}");
    assert_eq!(on(sandbox, "docker inspect --format '{{.Id}}' shop-web-1"), before, "{version}: nothing was replaced");
    on(sandbox, "docker exec shop-store-1 touch /data/went");
    let again = sandbox.laptop("cm-build", &["job", "migrate", "--again"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let (statuses, answer) = deploy(sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{version}: {}", answer.stderr);
    assert_eq!((runs(sandbox, version), served(sandbox).as_str()), (2, version));
}

/// Ends a process and all that it started, at once.
fn kill_below(sandbox: &Sandbox, id: u32) {
    let script = "kids() { for k in $(cat /proc/$1/task/*/children 2>/dev/null); do kids $k; echo $k; done; }; kill -9 $(kids $1) $1 2>/dev/null; true";
    sandbox.laptop("bash", &["-c", script, "bash", &id.to_string()]);
}

#[test]
fn a_release_command_runs_where_its_files_change_and_a_rollback_takes_back_what_it_is_told_to() {
    let sandbox = Sandbox::up("release");
    let command = "[[release]]\nservice = \"web\"\n\
        command = [\"sh\", \"-c\", \"echo up-$(cat /srv/index.html) hello >>/data/runs\"]\nwhen = [\"app/migrate\"]\n";
    let down = "down = [\"sh\", \"-c\", \"echo down-$(cat /srv/index.html) hello >>/data/runs\"]\n";
    // Without the job: the store and a web service that may write into it.
    let (store, rest) = COMPOSE.split_once("  migrate:\n").expect("a job");
    let (_, web) = rest.split_once("  web:\n").expect("a service");
    let web = web.replace(
        "    depends_on: {migrate: {condition: service_completed_successfully}}\n",
        "    volumes: ['data:/data']\n",
    );
    let compose = format!("{store}  web:\n{web}");
    let commit = |version: &str, work: &str, config: &str| commit_as(&sandbox, version, work, config, &compose);
    println!("--- the first one");
    commit("one", "", command);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    assert_eq!(runs(&sandbox, "up-one"), 1, "{}", answer.stderr);
    let good = release(&sandbox);

    println!("--- what it is for has not changed");
    fs::write(sandbox.laptop.join("app/index.html"), "two").expect("write");
    let line = "git commit -qam two && git push -q origin HEAD:develop";
    assert_eq!(sandbox.laptop("bash", &["-c", line]).code, 0);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    assert_eq!((runs(&sandbox, "up-two"), served(&sandbox).as_str()), (0, "two"), "{}", answer.stderr);

    println!("--- a release with it is not rolled back across unconfirmed");
    commit("three", "echo more", command);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!((statuses[1], runs(&sandbox, "up-three")), (0, 1), "{}", answer.stderr);
    let answer = sandbox.laptop("cm-rollback", &["--to", &good]);
    assert_eq!(
        (answer.code, &answer.document()["error"]["code"]),
        (62, &"rollback.irreversible".into()),
        "{}",
        answer.stderr
    );
    let answer = sandbox.laptop("cm-rollback", &["--to", &good, "--confirm"]);
    assert_eq!((answer.code, served(&sandbox).as_str()), (60, "one"), "{}", answer.stderr);
    assert_eq!((runs(&sandbox, "up-one"), runs(&sandbox, "up-three")), (1, 1), "a rollback runs no job");
    let good = release(&sandbox);

    println!("--- down takes it back, in the image that is left");
    commit("four", "echo even more", &format!("{command}{down}"));
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!((statuses[1], runs(&sandbox, "up-four")), (0, 1), "{}", answer.stderr);
    let answer = sandbox.laptop("cm-rollback", &["--to", &good]);
    assert_eq!((answer.code, served(&sandbox).as_str()), (60, "one"), "{}", answer.stderr);
    assert_eq!(runs(&sandbox, "down-four"), 1, "{}", answer.stderr);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!((statuses[1], runs(&sandbox, "up-four")), (0, 2), "undone, it is done again: {}", answer.stderr);
}

/// One job on each of two hosts.
const TWO: &str = "name: shop
services:
  first: {image: curateme/python:1, command: ['sh', '-c', 'echo first >>/runs/all; exit FIRST # SLEEP'], volumes: ['/tmp/runs:/runs']}
  second: {image: curateme/python:1, command: ['sh', '-c', 'echo second >>/runs/all; exit SECOND # SLEEP'], volumes: ['/tmp/runs:/runs']}
  web:
    image: curateme/python:1
    init: true
    restart: always
    stop_grace_period: 1s
    command: [sleep, 'SLEEP']
    depends_on: {first: {condition: service_completed_successfully}}
  worker:
    image: curateme/python:1
    init: true
    restart: always
    stop_grace_period: 1s
    command: [sleep, 'SLEEP']
    depends_on: {second: {condition: service_completed_successfully}}
";

#[test]
fn the_jobs_of_two_hosts_are_done_before_a_container_of_either_is_replaced() {
    let sandbox = Sandbox::up("two-jobs");
    let commit = |first: &str, second: &str, seconds: &str| {
        let config = format!(
            "{CONFIG}[hosts.runners]\naddress = \"${{DEPLOY_USER}}@${{RUNNERS_VPS_IP}}\"\ncheckout = \"~/platform\"\n\
             services = [\"second\", \"worker\"]\n"
        );
        let compose = TWO.replace("FIRST", first).replace("SECOND", second).replace("SLEEP", seconds);
        fs::write(sandbox.laptop.join("cm.toml"), config).expect("write");
        fs::write(sandbox.laptop.join("compose.yml"), compose).expect("write");
        let line = "git add -A && git commit -qm change && git push -qf origin HEAD:develop";
        assert_eq!(sandbox.laptop("bash", &["-c", line]).code, 0);
    };
    let counts = || {
        ["platform", "runners"]
            .map(|server| sandbox.server(server, &["sh", "-c", "cat /tmp/runs/all 2>/dev/null || :"]))
    };
    let services = || {
        let list = "docker inspect --format '{{.Id}}' $(docker ps -q --filter label=com.docker.compose.project=shop --filter label=com.docker.compose.oneoff=False)";
        ["platform", "runners"].map(|server| sandbox.server(server, &["sh", "-c", list]))
    };
    commit("0", "0", "600");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    assert_eq!(counts(), ["first", "second"]);
    let before = services();

    println!("--- the second one fails: nothing of either host is replaced, and the first one is not run again");
    commit("0", "7", "700");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 30, 3, 0, 0], "{}", answer.stderr);
    assert_eq!(answer.document()["error"]["code"], "release.failed", "{}", answer.stderr);
    assert_eq!(services(), before);
    assert_eq!(counts(), ["first\nfirst", "second\nsecond"]);
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses[1], 30, "{}", answer.stderr);
    assert_eq!(
        counts(),
        ["first\nfirst", "second\nsecond\nsecond"],
        "what is done is done, what failed is tried again"
    );

    println!("--- and when both are done, both hosts change");
    commit("0", "0", "800");
    let (statuses, answer) = deploy(&sandbox);
    assert_eq!(statuses, [0, 0, 0, 0, 0], "{}", answer.stderr);
    let now = services();
    assert!(now[0] != before[0] && now[1] != before[1], "{now:?}");
}

fn commit_as(sandbox: &Sandbox, version: &str, work: &str, config: &str, compose: &str) {
    commit(sandbox, version, work, config);
    fs::write(sandbox.laptop.join("compose.yml"), compose).expect("write");
    let line = "git commit -qam compose && git push -qf origin HEAD:develop";
    let answer = sandbox.laptop("bash", &["-c", line]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

fn release(sandbox: &Sandbox) -> String {
    on(sandbox, "tail -n 1 .local/state/cm/shop/ledger.jsonl | sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/'")
}
