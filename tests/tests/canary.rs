//! The canary of a real deployment, behind a real proxy: what users get counts alongside the canary's own
//! requests, where there are enough of them; and a container that restarts or ends while it is asked is its end.

use cm_testkit::{Answer, Sandbox, until};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

/// Far more than any step takes, also where the machine is busy.
const LIMIT: Duration = Duration::from_secs(120);

const SERVER: &str = "apps/dashboard/server.py";

/// Caddy and the dashboard, which is asked at `/version`; with an access log in Caddy's output.
fn platform(test: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::up(test);
    let log = r"s/^http:..dashboard.* {$/&\n\tlog/";
    sandbox.server("platform", &["sed", "-i", log, "platform/Caddyfile"]);
    let settings =
        "[services.dashboard]\ncanary = \"http://dashboard:3000/version\"\n\n[canary]\naccess_log = \"caddy\"\n";
    sandbox.change("cm.toml", "[canary]\n", settings, "an access log, and a canary that nothing can be compared with");
    let url = "url = \"${API_URL:-https://api.curate-me.ai}/v1/health\"\nrequests = 200";
    sandbox.change("cm.toml", url, "url = \"${DASHBOARD_URL}/version\"\nrequests = 120", "the dashboard is asked");
    // How fast it is depends on what else this machine does.
    sandbox.change("cm.toml", "latency = \"warn\"", "latency = \"pass\"", "slower is no matter");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    sandbox.change(SERVER, "import signal\n", "import itertools\nimport signal\n", "dashboard: counts");
    sandbox.change(SERVER, "\nSERVICE = ", "\nCOUNT = itertools.count(1)\nSERVICE = ", "dashboard: counts");
    let routes = "        status, kind, body, headers = ROUTES.get(path, MISSING)\n";
    let flaky =
        format!("{routes}        if path == \"/flaky\":\n            status = 500 if next(COUNT) % 4 == 0 else 200\n");
    sandbox.change(SERVER, routes, &flaky, "dashboard: a page that fails one time in four");
    let url = sandbox.laptop("printenv", &["DASHBOARD_URL"]).stdout.trim().to_owned();
    (sandbox, url)
}

fn deploy(sandbox: &Sandbox, line: &str) -> Answer {
    let answer =
        sandbox.laptop("bash", &["-c", &format!("set -o pipefail; git push -q origin HEAD:develop && {line}")]);
    assert_eq!(answer.code, 0, "{answer:?}");
    answer
}

/// 120 users, one after the other.
fn users(sandbox: &Sandbox, url: &str) {
    let answer = sandbox.laptop("curl", &["-s", "-o", "/dev/null", &format!("{url}?[1-120]")]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

fn canary(answer: &Answer) -> Value {
    answer.document()["facts"]["verify"]["canary"].clone()
}

#[test]
fn users_answers_count_where_they_are_enough_and_a_restart_ends_it_at_once() {
    let (sandbox, url) = platform("canary");
    deploy(&sandbox, "cm-build --service caddy --service dashboard </dev/null | cm-health");
    users(&sandbox, &format!("{url}/version"));
    std::fs::write(sandbox.laptop.join("apps/dashboard/VERSION"), "2\n").expect("write");
    sandbox.commit("dashboard: 2");
    let deployed =
        deploy(&sandbox, "cm-detect --group dashboard </dev/null | cm-verify --baseline | cm-build | cm-health");
    assert!(
        deployed
            .stderr
            .contains("no canary of dashboard: it is replaced stop-first (cm.toml does not ask for rolling)"),
        "{}",
        deployed.stderr
    );
    let before = &deployed.document()["facts"]["verify"]["baseline"]["traffic"];
    assert_eq!((before["requests"].as_u64(), before["failures"].as_u64()), (Some(120), Some(0)), "{deployed:?}");
    let laptop = sandbox.laptop.display().to_string();
    let plan = sandbox.laptop("cm-verify", &["--dry-run", "--canary"]);
    let says = format!("would send 120 canary requests to {url}/version, and read the access log of caddy");
    assert!(plan.code == 0 && plan.stderr.contains(&says), "{plan:?}");
    let verify = || sandbox.home.run("cm-verify", &["--canary"], &laptop, Some(deployed.stdout.as_bytes()));
    let figures = |side: &Value| (side["requests"].as_u64(), side["failures"].as_u64());

    // Nobody came yet.
    let answer = verify();
    let report = canary(&answer);
    assert_eq!((answer.code, report["verdict"].as_str()), (0, Some("pass")), "{answer:?}");
    assert_eq!((figures(&report), figures(&report["traffic"]["new"])), ((Some(120), Some(0)), (Some(0), Some(0))));
    assert_eq!(report["traffic"]["verdict"], "inconclusive");
    let few = "real traffic is too little to count: 0 requests, before 120, wanted 100";
    assert!(answer.stderr.contains(few), "{}", answer.stderr);

    // All is healthy.
    users(&sandbox, &format!("{url}/version"));
    let answer = verify();
    let report = canary(&answer);
    assert_eq!((answer.code, report["verdict"].as_str()), (0, Some("pass")), "{answer:?}");
    assert_eq!(figures(&report["traffic"]["new"]), (Some(120), Some(0)), "{report:#}");
    let message = report["message"].as_str().expect("a message");
    let (_, of_users) = message.split_once("; real traffic: ").expect("what users got");
    assert!(of_users.contains("0 of 120 requests failed"), "{message}");

    // What the canary asks is healthy, and what users ask is not.
    users(&sandbox, &format!("{url}/flaky"));
    let answer = verify();
    let report = canary(&answer);
    assert_eq!((answer.code, report["code"].as_str()), (50, Some("errors")), "{answer:?}");
    assert_eq!(answer.document()["error"]["code"], "canary.failed");
    assert_eq!((figures(&report), figures(&report["baseline"])), ((Some(120), Some(0)), (Some(360), Some(0))));
    let traffic = &report["traffic"];
    assert_eq!((traffic["access_log"].as_str(), traffic["code"].as_str()), (Some("caddy"), Some("errors")));
    assert_eq!((figures(&traffic["new"]), figures(&traffic["old"])), ((Some(240), Some(30)), (Some(120), Some(0))));
    let says = "real traffic: 30 of 240 requests failed, before 0 of 120: users were answered 500";
    assert!(answer.stderr.contains(says), "{}", answer.stderr);

    // More requests than anybody waits for: only a restart ends it.
    for (command, ends) in [
        // It may be looked at while it is down.
        ("restart", &["dashboard restarted while it was asked", "dashboard ended with exit code "][..]),
        ("stop", &["dashboard ended with exit code "]),
    ] {
        let serves = || sandbox.laptop("curl", &["-sf", "-o", "/dev/null", &format!("{url}/version")]).code == 0;
        until("the dashboard serves", LIMIT, serves);
        let text = std::fs::read_to_string(sandbox.laptop.join("cm.toml")).expect("cm.toml");
        let text = text.replace("/version\"\nrequests = 120", &format!("/version?{command}\"\nrequests = 1000000"));
        std::fs::write(sandbox.laptop.join("many.toml"), text).expect("write");
        let mut child = sandbox.home.command("cm-verify", &["--canary", "--config", "many.toml"], &laptop);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("spawn");
        child.stdin.take().expect("stdin").write_all(deployed.stdout.as_bytes()).expect("a document");
        let asked = format!("docker logs curateme-dashboard 2>&1 | grep -cF '/version?{command}' || true");
        until("the canary asks", LIMIT, || sandbox.server("platform", &["sh", "-c", &asked]) != "0");
        sandbox.server("platform", &["docker", command, "-t", "1", "curateme-dashboard"]);
        assert_eq!(cm_testkit::end(&mut child, LIMIT), 50);
        let mut stdout = String::new();
        child.stdout.take().expect("stdout").read_to_string(&mut stdout).expect("a document");
        let report = canary(&Answer { code: 50, stdout, stderr: String::new() });
        assert_eq!(
            (report["verdict"].as_str(), report["code"].as_str()),
            (Some("fail"), Some("restart")),
            "{report:#}"
        );
        let message = report["message"].as_str().expect("a message");
        assert!(ends.iter().any(|end| message.starts_with(end)), "{message}");
    }
}
