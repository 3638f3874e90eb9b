//! What `cm-verify` asks inside a server: containers behind no public address, the
//! commit of their images, Caddy's access log; and two releases side by side. Real
//! containers on a real server, reached over SSH.

use cm_canary::{Target, side_by_side};
use cm_core::facts::{CanaryReport, CanaryVerdict};
use cm_core::{Format, Level, Log};
use cm_host::Host;
use cm_project::Canary;
use cm_testkit::Sandbox;
use std::time::Duration;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server of one answer, the commit, after `$2` seconds.
const SERVER: &str = r#"
import http.server, json, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        body = json.dumps({"status": "ok", "revision": sys.argv[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"#;

/// Starts a container of `service` as Compose would label it.
fn start(sandbox: &Sandbox, service: &str, name: &str, image: &str, command: &[&str]) {
    let labels = [
        "com.docker.compose.project=platform".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
        format!("com.docker.compose.service={service}"),
        format!("org.opencontainers.image.revision={COMMIT}"),
    ];
    let mut argv = vec!["docker", "run", "-d", "--name", name];
    for label in &labels {
        argv.extend(["--label", label]);
    }
    argv.push(image);
    argv.extend(command);
    sandbox.server("platform", &argv);
}

/// The configuration of this test, in the place of the platform's.
fn configure(sandbox: &Sandbox, more: &str) {
    let text = format!(
        "project = \"curateme\"\n[compose]\nfiles = [\"docker-compose.production.yml\"]\n\
         [hosts.platform]\naddress = \"${{DEPLOY_USER}}@${{PLATFORM_VPS_IP}}\"\ncheckout = \"~/platform\"\n{more}"
    );
    std::fs::write(sandbox.laptop.join("inside.toml"), text).expect("write");
}

fn inside(service: &str, url: &str) -> String {
    format!(
        "[[verify.checks]]\nname = \"{service}\"\nurl = \"{url}\"\nin_network = true\nservice = \"{service}\"\nrevision = \"revision\"\n"
    )
}

#[test]
fn what_stands_behind_no_public_address_is_asked_through_its_server() {
    let sandbox = Sandbox::up("inside");
    let serve = |service: &str, name: &str, commit: &str, pause: &str| {
        start(&sandbox, service, name, "curateme/python:1", &["python3", "-c", SERVER, commit, pause]);
    };
    serve("docs", "docs-1", COMMIT, "0");
    serve("dashboard", "dashboard-1", "fedcba9876543210fedcba9876543210fedcba98", "0");
    start(
        &sandbox,
        "caddy",
        "caddy-1",
        "curateme/caddy:1",
        &["caddy", "respond", "--listen", ":80", "--access-log", "fine"],
    );

    // in the network, and the commit that answers
    let checks = [
        inside("docs", "http://docs:8080/"),
        inside("dashboard", "http://dashboard:8080/"),
        inside("redis", "http://redis:6379/"),
    ];
    configure(&sandbox, &checks.concat());
    let answer = sandbox.laptop("cm-verify", &["--config", "inside.toml", "--json"]);
    assert_eq!(answer.code, 50, "{answer:?}");
    let results: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let codes: Vec<_> = (0..3).map(|n| results["checks"][n]["code"].as_str().expect("a code").to_owned()).collect();
    assert_eq!(codes, ["ok", "revision", "not-made"], "{answer:?}");
    assert!(answer.stderr.contains("no container of redis runs on platform"), "{}", answer.stderr);

    // real traffic
    let ask = "address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' caddy-1); for n in $(seq 120); do curl -sf -o /dev/null http://$address/; done";
    sandbox.server("platform", &["sh", "-c", ask]);
    let url = format!("url = \"{}/\"", sandbox.laptop("printenv", &["DOCS_URL"]).stdout.trim());
    configure(&sandbox, &format!("[canary]\n{url}\naccess_log = \"caddy\"\n"));
    let answer = sandbox.laptop("cm-verify", &["--config", "inside.toml", "--baseline"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let traffic = &answer.document()["facts"]["verify"]["baseline"]["traffic"];
    assert_eq!((traffic["requests"].as_u64(), traffic["failures"].as_u64()), (Some(120), Some(0)), "{answer:?}");

    // an old and a new container side by side
    serve("docs", "docs-2", COMMIT, "0.06");
    let (slower, same) = beside(&sandbox);
    assert_eq!((slower.verdict, slower.code.as_str()), (CanaryVerdict::Fail, "latency"), "{slower:?}");
    assert_eq!(same.verdict, CanaryVerdict::Pass, "{same:?}");
}

/// docs-2 alongside docs-1, and docs-1 alongside itself.
fn beside(sandbox: &Sandbox) -> (CanaryReport, CanaryReport) {
    let read = |name: &str| sandbox.laptop("printenv", &[name]).stdout.trim().to_owned();
    let server = cm_host::Target {
        ssh_config: Some(read("CM_SSH_CONFIG").into()),
        ..cm_host::Target::at("platform", &format!("{}@{}", read("DEPLOY_USER"), read("PLATFORM_VPS_IP")))
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let log = Log::new("test", Format::Text, Level::Warn);
        let host = Host::connect(&server, &log).await.expect("the server");
        let containers = cm_engine::containers(&host, "platform").await.expect("containers");
        let canary = Canary { requests: 120, ..Canary::default() };
        let target = async |name: &str| {
            let container = containers.iter().find(|container| container.name == name).expect("it runs");
            let limit = Duration::from_secs(5);
            Target::container(&host, container, "http://docs:8080/", &canary, limit).await.expect("a way")
        };
        let ((old, _old_way), (new, _new_way)) = (target("docs-1").await, target("docs-2").await);
        let none = async || Ok(Vec::new());
        (side_by_side(&old, &new, &canary, none).await, side_by_side(&old, &old, &canary, none).await)
    })
}
