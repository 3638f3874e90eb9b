//! A service with `update = "rolling"` under load: requests go through Caddy at a steady rate while
//! it is replaced, and every one of them has to be answered. A bad release is never asked for anything, be it
//! bad at once or only now and then, and a run that is killed partway leaves nothing behind once the next one is
//! through.
//! `docker compose up -d` replaces the same service alongside it, so that zero is not just a load that finds nothing.
//!
//! `CM_ROLLING_DEPLOYS` is the number of deployments in a row (default 2), `CM_ROLLING_RATE` the
//! requests per second (default 100). One test at a time: two such loads are too much for a small machine,
//! whose proxy then gives up on requests that a deployment has nothing to do with.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Load, Sandbox};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());

const SERVER: &str = "apps/dashboard/server.py";

/// `[services.dashboard]`, with what the new container is asked alongside the old one.
const CANARY: &str = "update = \"rolling\"\ncanary = \"http://dashboard:3000/version\"\n";

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The plan and its execution, without what comes before and after them.
fn build(sandbox: &Sandbox) -> Answer {
    let line = "set -o pipefail; git push -q origin HEAD:develop && cm-detect --group dashboard </dev/null | cm-build";
    sandbox.laptop("bash", &["-c", line])
}

fn set_version(sandbox: &Sandbox, version: &str) {
    std::fs::write(sandbox.laptop.join("apps/dashboard/VERSION"), format!("{version}\n")).expect("write");
    sandbox.commit(&format!("dashboard: {version}"));
}

/// Every container of the platform's server, name and image.
fn containers(sandbox: &Sandbox) -> Vec<String> {
    let text = sandbox
        .server("platform", &["docker", "ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn dashboard(sandbox: &Sandbox) -> String {
    sandbox.server("platform", &["docker", "inspect", "--format", "{{.Id}} {{.Image}}", "curateme-dashboard"])
}

/// Only the dashboard and Caddy. The dashboard takes its time to start, as real ones do:
/// longer than Caddy has patience.
fn platform(test: &str) -> (Sandbox, u16) {
    let sandbox = Sandbox::up(test);
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    sandbox.change("cm.toml", "[health]\n", "[services.dashboard]\nupdate = \"rolling\"\n\n[health]\n", "rolling");
    sandbox.change("cm.toml", "lease = \"60s\"", "lease = \"10s\"", "a shorter lease");
    sandbox.change(SERVER, "import signal\n", "import signal\nimport time\nimport itertools\n", "dashboard: time");
    sandbox.change(SERVER, "\nSERVICE = ", "\nCOUNT = itertools.count(1)\nSERVICE = ", "dashboard: counts");
    sandbox.change(
        SERVER,
        "    server = Server(",
        "    time.sleep(5.5)\n    server = Server(",
        "dashboard: a slow start",
    );
    sandbox.change(
        SERVER,
        "        path = self.path.partition(\"?\")[0]\n",
        "        path = self.path.partition(\"?\")[0]\n        if self.path == \"/version?slow\":\n            time.sleep(2)\n",
        "dashboard: a slow answer",
    );
    let pushed = sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let answer = sandbox.laptop("cm-build", &["--service", "caddy", "--service", "dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let url = sandbox.laptop("printenv", &["DASHBOARD_URL"]).stdout;
    let port = url.trim().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let load = Load::start(port, "dashboard.curate-me.localhost", "/version", 1);
    let began = Instant::now();
    while load.answered() == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "Caddy serves the dashboard");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(load);
    (sandbox, port)
}

#[test]
fn no_request_is_lost_while_a_service_is_replaced() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let deploys = number("CM_ROLLING_DEPLOYS", 2);
    let rate = number("CM_ROLLING_RATE", 100);
    let (sandbox, port) = platform("rolling");
    let host = "dashboard.curate-me.localhost";

    println!("--- {deploys} deployments at {rate} requests per second");
    let load = Load::start(port, host, "/version", rate);
    // Requests under way when their container is told to stop.
    let slow = Load::start(port, host, "/version?slow", 4);
    let began = Instant::now();
    for n in 0..deploys {
        let before = dashboard(&sandbox);
        set_version(&sandbox, &format!("rolling-{n}"));
        let answer = build(&sandbox);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let update = &answer.document()["facts"]["build"]["hosts"]["platform"]["services"]["dashboard"]["update"];
        assert_eq!(*update, "rolling", "{}", answer.stderr);
        assert_ne!(dashboard(&sandbox), before, "it was replaced");
        assert_eq!(containers(&sandbox).len(), 2, "nothing runs alongside: {:?}", containers(&sandbox));
    }
    let took = began.elapsed();
    let (ours, slow) = (load.stop(), slow.stop());
    println!("cm: {ours}; slow ones: {slow}; {:.1} s a deployment", took.as_secs_f64() / f64::from(deploys));
    assert_eq!((ours.failed.len(), slow.failed.len()), (0, 0), "{:?} {:?}", ours.failed.first(), slow.failed.first());
    assert!(ours.answered > 20 * deploys as usize, "there was load: {ours}");
    assert!(ours.bodies.len() > deploys as usize, "the versions came one after the other: {:?}", ours.bodies.keys());

    println!("--- the same replacement by docker compose up -d");
    let tags = sandbox.server("platform", &["docker", "image", "ls", "--format", "{{.Tag}}", "curateme/dashboard"]);
    let tags: Vec<&str> = tags.lines().filter(|tag| tag.starts_with("cm-") && !tag.contains("before")).collect();
    let load = Load::start(port, host, "/version", rate);
    for n in 0..deploys as usize {
        let script = r#"set -eu; cd platform; docker tag "curateme/dashboard:$1" curateme/dashboard
            docker compose -f docker-compose.production.yml --env-file .env.production up -d dashboard 2>&1"#;
        sandbox.server("platform", &["sh", "-c", script, "sh", tags[n % tags.len()]]);
        std::thread::sleep(Duration::from_secs(2));
    }
    let theirs = load.stop();
    println!("docker compose up -d: {theirs}");
    assert!(!theirs.failed.is_empty(), "the load would have noticed: {theirs}");
}

#[test]
fn a_bad_release_gets_no_request_and_a_killed_one_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (sandbox, port) = platform("killed");
    let host = "dashboard.curate-me.localhost";
    let load = Load::start(port, host, "/version", number("CM_ROLLING_RATE", 100));

    println!("--- a release that answers every request with an error is never asked for one");
    let before = containers(&sandbox);
    let served = dashboard(&sandbox);
    sandbox.change(
        SERVER,
        "status, kind, body, headers = ROUTES.get(path, MISSING)",
        "status, kind, body, headers = (500, \"text/plain\", \"broken on purpose\", {})",
        "dashboard: broken",
    );
    let answer = build(&sandbox);
    assert_eq!(answer.code, 40, "{}", answer.stderr);
    assert_eq!(answer.document()["error"]["code"], "rollout.unhealthy");
    assert!(answer.stderr.contains("the old container is still serving"), "{}", answer.stderr);
    assert_eq!(
        (containers(&sandbox).len(), dashboard(&sandbox)),
        (before.len(), served.clone()),
        "nothing was replaced"
    );
    sandbox.change(
        SERVER,
        "status, kind, body, headers = (500, \"text/plain\", \"broken on purpose\", {})",
        "status, kind, body, headers = ROUTES.get(path, MISSING)",
        "dashboard: fixed",
    );

    println!("--- one that fails now and then is found alongside the old one, and one that restarts when it is asked");
    sandbox.change("cm.toml", "update = \"rolling\"\n", CANARY, "dashboard: a canary");
    let plan = sandbox.laptop("bash", &["-c", "cm-detect --group dashboard </dev/null | cm-build --dry-run"]);
    let says = "first container is a canary: http://dashboard:3000/version, 200 requests";
    assert!(plan.stderr.contains(says), "{}", plan.stderr);
    for (broken, code, says) in [
        // So seldom that no three come in a row, in whichever order answers arrive.
        ("error = next(COUNT) % 7 == 6", "errors", &["28 of 200 requests failed, before 0 of 200: answered 500"][..]),
        // It may be looked at before it runs again.
        (
            "error = next(COUNT) == 50 and os._exit(9)",
            "restart",
            &["dashboard restarted ", "dashboard ended with exit code 9 "],
        ),
    ] {
        let from = "        status, kind, body, headers = ROUTES.get(path, MISSING)\n";
        let to = format!(
            "        error = False\n        if path == \"/version\":\n            {broken}\n{from}        \
             if error:\n            status, body = 500, \"broken now and then\"\n"
        );
        sandbox.change(SERVER, from, &to, "dashboard: broken now and then");
        let answer = build(&sandbox);
        assert_eq!(answer.code, 50, "{}", answer.stderr);
        let document = answer.document();
        assert_eq!(document["error"]["code"], "rollout.canary", "{}", answer.stderr);
        let canary = &document["facts"]["build"]["hosts"]["platform"]["services"]["dashboard"]["canary"];
        assert_eq!((canary["verdict"].as_str(), canary["code"].as_str()), (Some("fail"), Some(code)), "{canary:#}");
        let message = canary["message"].as_str().expect("a message");
        assert!(says.iter().any(|says| message.starts_with(says)), "{canary:#}");
        assert!(answer.stderr.contains("the old container is still serving"), "{}", answer.stderr);
        assert_eq!((containers(&sandbox).len(), dashboard(&sandbox)), (before.len(), served.clone()), "it serves on");
        sandbox.change(SERVER, &to, from, "dashboard: fixed");
    }

    println!("--- killed while a bridge serves: one plain run later nothing is left of it");
    set_version(&sandbox, "killed");
    let laptop = sandbox.laptop.display().to_string();
    let line = "git push -q origin HEAD:develop && cm-detect --group dashboard </dev/null >plan.json && exec cm-build <plan.json";
    let mut child = sandbox.home.command("bash", &["-c", line], &laptop);
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cm-build");
    let began = Instant::now();
    while !containers(&sandbox).iter().any(|line| line.contains("-bridge-")) {
        assert!(
            began.elapsed() < Duration::from_secs(60) && child.try_wait().expect("its state").is_none(),
            "a bridge comes"
        );
    }
    child.kill().expect("kill");
    child.wait().expect("its end");
    let left: Vec<_> = containers(&sandbox).into_iter().filter(|line| line.contains("-bridge-")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    std::fs::remove_file(sandbox.laptop.join("plan.json")).expect("the plan");
    let mut answer = build(&sandbox);
    while answer.code == 10 && began.elapsed() < Duration::from_secs(180) {
        // The lease of the one that was killed.
        std::thread::sleep(Duration::from_secs(2));
        answer = build(&sandbox);
    }
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(containers(&sandbox).len(), 2, "{:?}", containers(&sandbox));
    let built = &answer.document()["facts"]["build"]["hosts"]["platform"]["services"]["dashboard"];
    assert_eq!(built["canary"]["verdict"], "pass", "{}", answer.stderr);
    let head = sandbox.laptop("git", &["rev-parse", "HEAD"]).stdout;
    let revision = sandbox.server(
        "platform",
        &[
            "docker",
            "inspect",
            "--format",
            "{{index .Config.Labels \"org.opencontainers.image.revision\"}}",
            "curateme-dashboard",
        ],
    );
    assert_eq!(revision.trim(), head.trim());

    let load = load.stop();
    println!("{load}");
    assert_eq!(load.failed.len(), 0, "{load}: {:?}", load.failed.first());
    assert!(!load.bodies.keys().any(|body| body.contains("broken")), "{:?}", load.bodies.keys());
}
