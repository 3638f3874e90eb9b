//! A migration while people use the site: a proxy that neither retries nor checks health stands in front of a rolling
//! service, requests come at a steady rate, and every one of them has to be answered, whether the migration
//! works or fails. A service with a published port is away for a moment, and how long is said.
//!
//! `CM_MIGRATIONS` is the number of deployments in a row (default 2), `CM_MIGRATION_SECONDS` how long each migration
//! takes (default 4), `CM_MIGRATION_RATE` the requests per second (default 50). At length: 20, 15 and 200.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Load, Sandbox, until};
use std::fs;
use std::time::Duration;

const CONFIG: &str = "project = \"shop\"\nbranch = \"develop\"\n[compose]\nfiles = [\"compose.yml\"]\n\
    [hosts.platform]\naddress = \"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"\ncheckout = \"~/platform\"\n\
    [protect]\nfiles = [\"Caddyfile\", \".env.production\"]\n[health]\nwindow = \"1s\"\nreadings = 2\n\
    [services.web]\nupdate = \"rolling\"\ndrain = { command = [\"touch\", \"/tmp/drain\"], until = \"unhealthy\", wait = \"30s\" }\n";

/// `side` publishes a port of the host itself.
const COMPOSE: &str = "name: shop
services:
  proxy:
    image: curateme/caddy:1
    restart: unless-stopped
    command: [caddy, run, --adapter, caddyfile, --config, /etc/caddy/Caddyfile]
    ports: ['80:80']
    volumes: ['./Plainfile:/etc/caddy/Caddyfile:ro']
  migrate:
    image: shop/app
    build: app
    command: [sh, /migrate]
    volumes: ['/tmp/runs:/runs']
  web: &web
    image: shop/app
    build: app
    init: true
    restart: unless-stopped
    command: [python3, /app.py]
    depends_on: {migrate: {condition: service_completed_successfully}}
    healthcheck:
      test: [CMD, python3, -c, 'import socket; socket.create_connection((\"127.0.0.1\", 8080), 5)']
      interval: 2s
      retries: 1
      start_period: 60s
  side:
    <<: *web
    ports: ['127.0.0.1:8090:8080']
";

/// What the guide shows: two lines, and nothing of retries or health.
const PROXY: &str = ":80 {\n\treverse_proxy web:8080\n}\n";

/// Drained or told to stop, it first answers whoever has been let in, and only then is nobody at its port: what waits
/// in a socket that is closed is lost, whatever the proxy or the deployment does.
const APP: &str = "import os, signal, socket, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
version = open('/version').read()
answer = f'HTTP/1.0 200 OK\\r\\nContent-Length: {len(version)}\\r\\n\\r\\n{version}'.encode()
listener = socket.create_server(('', 8080), backlog=512)

def serve():
    connection = listener.accept()[0]
    connection.settimeout(5)
    with connection:
        request = part = connection.recv(4096)
        while part and not request.endswith(b'\\r\\n\\r\\n'):
            part = connection.recv(4096)
            request += part
        if part:
            connection.sendall(answer)

def serve_for(seconds):
    listener.settimeout(seconds)
    try:
        serve()
    except (TimeoutError, ConnectionError):
        return seconds > 0
    except BlockingIOError:
        return False
    return True

while not (stop or os.path.exists('/tmp/drain')):
    serve_for(0.05)
while serve_for(0):
    pass
listener.close()
while not stop:
    time.sleep(0.05)
";

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn commit(sandbox: &Sandbox, version: &str, migration: &str) {
    fs::create_dir_all(sandbox.laptop.join("app")).expect("a directory");
    let dockerfile = "FROM curateme/python:1\nCOPY app.py version migrate /\n";
    for (path, text) in [
        ("cm.toml", CONFIG),
        ("compose.yml", COMPOSE),
        ("Plainfile", PROXY),
        ("app/Dockerfile", dockerfile),
        ("app/app.py", APP),
        ("app/version", version),
        ("app/migrate", &format!("echo {version} >>/runs/all\n{migration}\n")),
    ] {
        fs::write(sandbox.laptop.join(path), text).expect(path);
    }
    let line = "git add -A && git commit -qm change && git push -qf origin HEAD:develop";
    assert_eq!(sandbox.laptop("bash", &["-c", line]).code, 0);
}

fn deploy(sandbox: &Sandbox) -> Answer {
    sandbox.laptop("bash", &["-c", "cm-detect </dev/null | cm-build | cm-health | cm-record; exit ${PIPESTATUS[1]}"])
}

fn on(sandbox: &Sandbox, script: &str) -> String {
    sandbox.server("platform", &["sh", "-c", script])
}

#[test]
fn nobody_notices_a_migration_that_takes_its_time_or_fails() {
    let (deploys, seconds) = (number("CM_MIGRATIONS", 2), number("CM_MIGRATION_SECONDS", 4));
    let rate = number("CM_MIGRATION_RATE", 50);
    let sandbox = Sandbox::up("migration");
    commit(&sandbox, "first", "");
    let answer = deploy(&sandbox);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let url = sandbox.laptop("printenv", &["DASHBOARD_URL"]).stdout;
    let port = url.trim().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let first = Load::start(port, "localhost", "/", 5);
    until("the proxy", Duration::from_secs(30), || first.answered() > 0);
    drop(first);

    println!("--- {deploys} deployments with a migration of {seconds} s each, at {rate} requests per second");
    let load = Load::start(port, "localhost", "/", rate);
    for n in 0..deploys {
        commit(&sandbox, &format!("version-{n}"), &format!("sleep {seconds}"));
        let answer = deploy(&sandbox);
        assert_eq!((answer.code, answer.document()["status"].as_str()), (0, Some("ok")), "{}", answer.stderr);
        assert!(answer.stderr.contains("draining shop-web-1 until its health check says no"), "{}", answer.stderr);
        assert!(!answer.stderr.contains("of draining:"), "it said no: {}", answer.stderr);
        assert_eq!(on(&sandbox, "curl -sf http://127.0.0.1/"), format!("version-{n}"));
        // Nobody else can have its port meanwhile; that is said, and how it can be avoided.
        let side = &answer.document()["facts"]["build"]["hosts"]["platform"]["services"]["side"];
        let gap = side["gap_ms"].as_u64().expect("a gap");
        assert!((1..60_000).contains(&gap), "{gap}");
        assert!(answer.stderr.contains(&format!("side was away for {gap} ms")), "{}", answer.stderr);
        assert!(answer.stderr.contains("A proxy on the compose network"), "{}", answer.stderr);
    }

    println!("--- one that fails");
    let list = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' shop-web-1 shop-side-1 shop-proxy-1";
    let before = on(&sandbox, list);
    commit(&sandbox, "broken", &format!("sleep {seconds}; echo 'duplicate column' >&2; exit 1"));
    let answer = deploy(&sandbox);
    assert_eq!(answer.code, 30, "{}", answer.stderr);
    assert!(answer.document()["error"].to_string().contains("duplicate column"), "{}", answer.stderr);
    assert_eq!(on(&sandbox, list), before, "nothing was touched");
    let load = load.stop();
    println!("{load}");
    assert_eq!(load.failed.len(), 0, "{load}: {:?}", load.failed.first());
    assert_eq!(load.bodies.len(), deploys as usize + 1, "{:?}", load.bodies.keys());
    let runs = on(&sandbox, "cat /tmp/runs/all");
    assert_eq!(runs.lines().count(), deploys as usize + 2, "each once: {runs}");
}
