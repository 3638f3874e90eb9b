//! The health gate and the preflight on a real server with something wrong: an engine
//! that hangs or is restarted meanwhile, a failure between two far readings, a checkout
//! and files that are not as they should be, and the server's own script.

#[path = "health/ward.rs"]
#[expect(dead_code, reason = "the matrix uses the rest")]
mod ward;

use cm_testkit::{Answer, Sandbox, repository};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use ward::Ward;

/// Runs a command as root in the platform server.
fn as_root(sandbox: &Sandbox, script: &str) -> String {
    let host = sandbox.laptop("printenv", &["PLATFORM_VPS_IP"]).stdout;
    let name = host.trim().split('.').nth(1).expect("platform.NAME.sandbox").to_owned();
    let container = format!("cm-sandbox-{name}-platform");
    let output = Command::new("docker").args(["exec", &container, "sh", "-c", script]).output().expect("docker");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn start(ward: &Ward, arguments: &[&str]) -> Child {
    let directory = ward.sandbox.home.path().join("ward").display().to_string();
    let mut command = ward.sandbox.home.command("cm-health", arguments, &directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cm-health")
}

fn end(child: Child) -> (i32, Value, String) {
    let output = child.wait_with_output().expect("its end");
    let document = serde_json::from_slice(&output.stdout).expect("a document");
    (output.status.code().unwrap_or(-1), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn code(document: &Value) -> &str {
    document["facts"]["health"]["services"][0]["code"].as_str().unwrap_or_default()
}

/// Where nobody looks at a table it is lines, and Ctrl-C ends it.
fn a_watch_tells_each_change(ward: &Ward) {
    let mut watch = start(ward, &["--watch", "--service", "healthy"]);
    let mut lines = BufReader::new(watch.stdout.take().expect("stdout")).lines().map(|line| line.expect("a line"));
    let mut next = |wanted: &str| {
        let line = lines.find(|line| line.contains(wanted));
        assert!(line.is_some(), "the watch ended before it said {wanted:?}");
    };
    next("healthy on platform: healthy (ward-healthy-1)");
    ward.sandbox.server("platform", &["docker", "pause", "ward-healthy-1"]);
    next("healthy on platform: healthy -> paused");
    ward.sandbox.server("platform", &["docker", "unpause", "ward-healthy-1"]);
    next("-> healthy");
    let ended = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().expect("kill");
    assert!(ended.success());
    assert_eq!(cm_testkit::end(&mut watch, Duration::from_secs(60)), 130);
}

#[test]
fn the_gate_says_what_it_saw_when_the_server_fails_it() {
    let ward = Ward::open("faults");
    ward.compose(&["up", "-d", "--quiet-pull", "healthy", "dead-database"]);

    // Ready first: the neighbour is named and vetoes nothing.
    let (exit, document, said) = end(start(&ward, &["--service", "healthy", "--window", "2s"]));
    assert_eq!((exit, code(&document)), (0, "healthy"), "{said}");
    assert!(said.contains("[SUCCESS] 1 service healthy!"), "{said}");
    assert!(said.contains("not part of this: dead-database on platform: exited with 1"), "{said}");

    a_watch_tells_each_change(&ward);

    // Readings are far apart: only Docker's event can tell of the death in time.
    let config = ward.sandbox.home.path().join("ward/cm.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, text.replace("timeout = \"25s\"", "timeout = \"120s\"\ninterval = \"60s\""))
        .expect("write");
    let gate = start(&ward, &["--service", "healthy", "--window", "50s"]);
    sleep(Duration::from_secs(4));
    let killed = Instant::now();
    ward.sandbox.server("platform", &["docker", "kill", "ward-healthy-1"]);
    let (exit, document, said) = end(gate);
    assert_eq!(exit, 40, "{said}");
    assert!(["exited", "restarted", "restarting"].contains(&code(&document)), "{document:#}");
    assert!(killed.elapsed() < Duration::from_secs(20), "the event was heard: {:?}", killed.elapsed());
    std::fs::write(&config, text).expect("write");

    // An engine that hangs: nothing is known, and that is not health. Nor sickness.
    ward.compose(&["up", "-d", "--force-recreate", "healthy"]);
    let gate = start(&ward, &["--service", "healthy", "--window", "8s", "--timeout", "12s"]);
    sleep(Duration::from_secs(3));
    as_root(&ward.sandbox, "kill -STOP $(pidof dockerd)");
    let (exit, document, said) = end(gate);
    as_root(&ward.sandbox, "kill -CONT $(pidof dockerd)");
    assert_eq!((exit, code(&document)), (41, "no-data"), "{said}");
    assert!(!said.contains("[SUCCESS]"), "{said}");

    // An engine that is restarted: the container was too, and that was seen. The window is longer than the container
    // has run, or its past would be enough.
    let gate = start(&ward, &["--service", "healthy", "--window", "10m", "--timeout", "60s"]);
    sleep(Duration::from_secs(3));
    as_root(&ward.sandbox, "kill $(pidof dockerd)");
    let (exit, document, said) = end(gate);
    assert_eq!(exit, 40, "{said}\n{document:#}");
    assert!(["restarted", "exited", "restarting"].contains(&code(&document)), "{document:#}");
}

fn preflight(sandbox: &Sandbox) -> (Answer, Vec<(String, String)>) {
    let answer = sandbox.laptop("cm-health", &["--preflight"]);
    let findings = answer.document()["facts"]["health"]["preflight"]["findings"].clone();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let pairs = findings.as_array().expect("findings").iter();
    let pairs = pairs.map(|finding| (text(finding, "code"), text(finding, "message"))).collect();
    (answer, pairs)
}

/// Little disk, few inodes, little memory and a wrong clock: the checkout is on a small disk, and the two
/// that a container shares with its host are what it is told they are.
fn a_poor_server_is_told(sandbox: &Sandbox) {
    as_root(
        sandbox,
        "cd /home/curateme && mkdir small && files=$(find platform | wc -l) &&
        mount -t tmpfs -o size=2g,nr_inodes=$((files + 2)) tmpfs small && cp -a platform/. small/ &&
        mount --bind small platform &&
        sed 's/^MemAvailable:.*/MemAvailable:     100000 kB/' /proc/meminfo >/meminfo &&
        mount --bind /meminfo /proc/meminfo &&
        printf '#!/bin/sh\\nexec /bin/date -d \"2 minutes ago\" \"$@\"\\n' >/usr/local/bin/date && chmod 755 /usr/local/bin/date",
    );
    let (answer, findings) = preflight(sandbox);
    assert_eq!(answer.code, 0, "warnings stop nothing: {answer:?}");
    for (code, words) in [
        ("disk", "the checkout's disk has little room left"),
        ("inodes", "the checkout's disk has few inodes left"),
        ("memory", "little memory is left: 98 MiB"),
        ("clock", "s behind this machine's"),
    ] {
        assert!(findings.iter().any(|(c, m)| c == code && m.contains(words)), "{code} {words}: {findings:#?}");
    }
    for hint in ["docker system df", "du --inodes", "docker stats", "is a time service running?"] {
        assert!(answer.stderr.contains(hint), "{hint}: {}", answer.stderr);
    }
    as_root(
        sandbox,
        "umount /proc/meminfo && rm /usr/local/bin/date && mount -o remount,size=100m /home/curateme/small",
    );
    let (answer, _) = preflight(sandbox);
    assert_eq!((answer.code, answer.document()["error"]["code"].as_str()), (6, Some("preflight.disk")), "{answer:?}");
    as_root(sandbox, "umount /home/curateme/platform && umount /home/curateme/small");
}

#[test]
fn the_preflight_and_the_servers_own_script_see_what_is_wrong() {
    let sandbox = Sandbox::up("preflight");
    let (answer, mut findings) = preflight(&sandbox);
    // How full the disk of this machine is, is not the test's affair.
    findings.retain(|(code, _)| code != "disk");
    assert_eq!((answer.code, findings.len()), (0, 0), "{answer:?}");

    // Running, with a mounted file that git would replace, and a service that is unhealthy.
    let compose =
        "cd platform && docker compose --ansi never -f docker-compose.production.yml --env-file .env.production";
    sandbox.server("platform", &[&format!("{compose} up -d --quiet-pull --no-deps caddy redis")]);
    sandbox.server("platform", &["cd platform && cp Caddyfile new && echo '# new' >>new && mv new Caddyfile"]);
    sandbox.server("platform", &["docker pause curateme-redis"]);
    sandbox
        .server("platform", &["cd platform && sed -i /^MONGODB_URI=/d .env.production && chmod 644 .env.production"]);
    sandbox.server("platform", &["cd platform && git switch -qc by-hand && echo x >>README.md"]);
    std::fs::write(sandbox.laptop.join("README.md"), "changed\n").expect("write");
    let (answer, findings) = preflight(&sandbox);
    assert_eq!(answer.code, 0, "warnings stop nothing: {answer:?}");
    for (code, word) in [
        ("stale-mount", "/etc/caddy/Caddyfile"),
        ("unwell", "redis: paused"),
        ("env-key", "MONGODB_URI, which the backup needs"),
        ("env-file-mode", "mode 644"),
        ("branch", "on branch by-hand, and develop"),
        ("edited", "README.md"),
        ("tree", "1 changed file here"),
    ] {
        assert!(findings.iter().any(|(c, m)| c == code && m.contains(word)), "{code} {word}: {findings:#?}");
    }

    let script = std::fs::read_to_string(repository().join("scripts/vps/deploy.sh")).expect("the script");
    sandbox.server(
        "platform",
        &["sh", "-c", "mkdir -p platform/deploy/vps && printf %s \"$1\" >platform/deploy/vps/deploy.sh", "sh", &script],
    );
    let vps = |words: &str| {
        sandbox
            .server("platform", &[&format!("cd platform && bash deploy/vps/deploy.sh {words} 2>&1; echo \"exit $?\"")])
    };
    let said = vps("health");
    assert!(said.contains("redis is unhealthy: paused") && said.ends_with("exit 40"), "{said}");
    sandbox.server("platform", &["docker unpause curateme-redis"]);
    let began = Instant::now();
    while !vps("health").ends_with("exit 0") {
        assert!(began.elapsed() < Duration::from_secs(60), "well again: {}", vps("health"));
        sleep(Duration::from_secs(1));
    }
    let said = vps("status");
    assert!(said.contains("SERVICE") && said.contains("curateme-redis") && said.ends_with("exit 0"), "{said}");
    assert!(vps("logs -n 5 redis").contains("redis"), "{}", vps("logs -n 5 redis"));

    a_poor_server_is_told(&sandbox);

    // What must stop a deployment does, and each says what.
    for (break_it, fix_it, exit, code) in [
        ("mv platform/.env.production env.away", "mv env.away platform/.env.production", 6, "preflight.env-file"),
        (
            "cp -p platform/.env.production env.good && printf 'LONG=%0140000d\\n' 0 >>platform/.env.production",
            "cp -p env.good platform/.env.production && rm env.good",
            6,
            "preflight.stack",
        ),
        ("mv platform/Caddyfile caddy.away", "mv caddy.away platform/Caddyfile", 6, "preflight.protected"),
        ("mv platform/.git/HEAD head.away", "mv head.away platform/.git/HEAD", 6, "preflight.checkout"),
        // It could be made again, were the laptop's address of the repository one that the server knows.
        ("mv platform/.git git.away", "mv git.away platform/.git", 6, "preflight.origin"),
    ] {
        sandbox.server("platform", &[break_it]);
        let (answer, _) = preflight(&sandbox);
        assert_eq!((answer.code, answer.document()["error"]["code"].as_str()), (exit, Some(code)), "{answer:?}");
        sandbox.server("platform", &[fix_it]);
    }
    as_root(&sandbox, "touch /run/sandbox/dockerd.hold; kill $(pidof dockerd); sleep 2");
    let (answer, _) = preflight(&sandbox);
    assert_eq!(
        (answer.code, answer.document()["error"]["code"].as_str()),
        (41, Some("preflight.docker")),
        "{answer:?}"
    );
    assert!(vps("health").ends_with("exit 41"), "{}", vps("health"));
    as_root(&sandbox, "rm /run/sandbox/dockerd.hold");
}
