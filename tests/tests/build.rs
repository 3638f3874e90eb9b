//! cm-build on real servers when something comes between: the connection is cut, the program is killed or
//! interrupted, the server or what is deployed is wrong. What happened is asked of Docker and of git.
//!
//! `CM_BUILD_KILLS` is the number of moments at which a deployment is interrupted (default 2), `CM_BUILD_SEED` the
//! number they are drawn from (default: the time).

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox, end, until};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DOCKERFILE: &str = "apps/dashboard/Dockerfile";
const STATE: &str = ".local/state/cm/curateme";
/// Longer than a lease of the lock: what goes on after it must know that.
const OUTAGE: Duration = Duration::from_secs(20);

/// A sandbox with a short lease, and with a window of the health gate that tests of something else can wait for.
fn sandbox(test: &str) -> Sandbox {
    let sandbox = Sandbox::up(test);
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"1s\"", "a shorter window");
    sandbox.change("cm.toml", "lease = \"60s\"", "lease = \"5s\"", "a shorter lease");
    sandbox
}

fn push(sandbox: &Sandbox) {
    let pushed = sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

/// Makes the dashboard's image take `seconds`, each time again.
fn slow_build(sandbox: &Sandbox, mark: &str, seconds: u32) {
    let dockerfile = sandbox.laptop.join(DOCKERFILE);
    let text = std::fs::read_to_string(&dockerfile).expect("read");
    let text: String = text.lines().filter(|line| !line.contains("# slow")).map(|line| format!("{line}\n")).collect();
    let slow = format!("RUN echo begin-{mark} && sleep {seconds} && date +%s >/stamp # slow\nUSER app\n");
    assert_eq!(text.matches("USER app\n").count(), 1);
    std::fs::write(&dockerfile, text.replace("USER app\n", &slow)).expect("write");
    sandbox.commit(&format!("dashboard: slow {mark}"));
    push(sandbox);
}

/// cm-build in the background; what it says goes to a file.
fn start(sandbox: &Sandbox, services: &[&str]) -> Child {
    let arguments: Vec<&str> = services.iter().flat_map(|name| ["--service", *name]).collect();
    let said = std::fs::File::create(sandbox.home.path().join("said")).expect("a file");
    let mut command = sandbox.home.command("cm-build", &arguments, &sandbox.laptop.display().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect("cm-build")
}

fn said(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.home.path().join("said")).expect("what it said")
}

/// Runs cm-build; the lock of one that was killed lapses within its lease.
fn build(sandbox: &Sandbox, services: &[&str]) -> Answer {
    let arguments: Vec<&str> = services.iter().flat_map(|name| ["--service", *name]).collect();
    let began = Instant::now();
    loop {
        let answer = sandbox.laptop("cm-build", &arguments);
        if answer.code != 10 || began.elapsed() > Duration::from_secs(60) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until the build on the platform server has said `text`.
fn building(sandbox: &Sandbox, text: &str) {
    let script = "grep -q \"$1\" \"$2\" 2>/dev/null && echo yes || echo no";
    let log = format!("{STATE}/build/log");
    until(text, Duration::from_secs(60), || {
        sandbox.server("platform", &["sh", "-c", script, "sh", text, &log]) == "yes"
    });
}

fn image(sandbox: &Sandbox, name: &str, format: &str) -> String {
    sandbox.server("platform", &["docker", "image", "inspect", "--format", format, name])
}

fn head(sandbox: &Sandbox) -> String {
    sandbox.laptop("git", &["rev-parse", "HEAD"]).stdout.trim().to_owned()
}

fn runs(sandbox: &Sandbox) -> Vec<String> {
    let directories = std::fs::read_dir(sandbox.home.path().join("state/cm/runs")).into_iter().flatten().flatten();
    let mut names: Vec<_> = directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Every container of a server, with its image.
fn containers(sandbox: &Sandbox, server: &str) -> Vec<String> {
    let format = "{{.Names}} {{.ID}} {{.State}}";
    let text = sandbox.server(server, &["docker", "ps", "-a", "--no-trunc", "--format", format]);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Nothing of a build is left on the platform server: no process, no record of it; every name of a
/// dashboard's image is a whole one's.
#[track_caller]
fn nothing_is_left(sandbox: &Sandbox) {
    let script = r#"for p in /proc/[0-9]*; do
            line=$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) || continue
            case $line in *compose*" "[b]"uild "*|*[b]uildx*) echo "$line" ;; esac
        done
        ls "$1/build/key" 2>/dev/null
        docker image ls -q --filter dangling=true --filter label=org.opencontainers.image.revision"#;
    assert_eq!(sandbox.server("platform", &["sh", "-c", script, "sh", STATE]), "");
    let tag = format!("curateme/dashboard:cm-{}", &head(sandbox)[..12]);
    let id = "{{.Id}}";
    assert_eq!(image(sandbox, "curateme/dashboard", id), image(sandbox, &tag, id), "one image under both names");
    let running = sandbox.server("platform", &["docker", "inspect", "--format", "{{.Image}}", "curateme-dashboard"]);
    assert_eq!(running, image(sandbox, &tag, id), "and it runs");
}

/// When the slow step of the dashboard's image ended, and what the server's clock says, in seconds.
fn stamp(sandbox: &Sandbox) -> u64 {
    let run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "cat", "curateme/dashboard", "/stamp"];
    sandbox.server("platform", &run).parse().expect("seconds")
}

fn clock(sandbox: &Sandbox) -> u64 {
    sandbox.server("platform", &["date", "+%s"]).parse().expect("seconds")
}

#[test]
fn a_build_outlives_its_program_and_its_connection_and_is_not_doubled() {
    let mut sandbox = sandbox("build");
    let relay = sandbox.relay("platform");

    println!("--- killed in the middle: the next run goes on with the build that runs");
    slow_build(&sandbox, "killed", 8);
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-killed");
    let began = clock(&sandbox);
    child.kill().expect("kill");
    child.wait().expect("its end");
    let answer = build(&sandbox, &["dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let adopted = ["resumed the build of a run that ended", "took the build of a run that ended"];
    assert!(adopted.iter().any(|words| answer.stderr.contains(words)), "{}", answer.stderr);
    // Another build could have begun only when the lock had lapsed.
    assert!(stamp(&sandbox) < began + 8 + 4, "it was built once: {} s after it began", stamp(&sandbox) - began);
    nothing_is_left(&sandbox);

    println!("--- the connection is cut: the same");
    slow_build(&sandbox, "cut", 4);
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-cut");
    let began = clock(&sandbox);
    relay.cut();
    let code = end(&mut child, Duration::from_secs(60));
    relay.restore();
    assert_eq!(code, 7, "{}", said(&sandbox));
    assert!(said(&sandbox).contains("on platform: "), "it says how far it got: {}", said(&sandbox));
    let answer = build(&sandbox, &["dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(adopted.iter().any(|words| answer.stderr.contains(words)), "{}", answer.stderr);
    assert!(stamp(&sandbox) < began + 4 + 4, "it was built once: {} s after it began", stamp(&sandbox) - began);
    nothing_is_left(&sandbox);

    println!("--- killed, and something else is deployed: the build is ended");
    slow_build(&sandbox, "abandoned", 60);
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-abandoned");
    child.kill().expect("kill");
    child.wait().expect("its end");
    slow_build(&sandbox, "other", 0);
    let began = Instant::now();
    let answer = build(&sandbox, &["dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(began.elapsed() < Duration::from_secs(50), "it did not wait for the other: {:?}", began.elapsed());
    assert!(!adopted.iter().any(|words| answer.stderr.contains(words)), "{}", answer.stderr);
    nothing_is_left(&sandbox);

    println!("--- Ctrl-C: the build is ended, and the state is told");
    slow_build(&sandbox, "interrupted", 60);
    let before = containers(&sandbox, "platform");
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-interrupted");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    assert_eq!(end(&mut child, Duration::from_secs(40)), 130, "{}", said(&sandbox));
    assert!(said(&sandbox).contains("no container was touched"), "{}", said(&sandbox));
    assert_eq!(containers(&sandbox, "platform"), before);
    slow_build(&sandbox, "last", 0);
    assert_eq!(build(&sandbox, &["dashboard"]).code, 0, "the lock is free, and the way too");
    nothing_is_left(&sandbox);
}

/// Runs a command as root in a server of the sandbox.
fn as_root(sandbox: &Sandbox, script: &str) {
    let host = sandbox.laptop("printenv", &["PLATFORM_VPS_IP"]).stdout;
    let name = host.trim().split('.').nth(1).expect("platform.NAME.sandbox").to_owned();
    let container = format!("cm-sandbox-{name}-platform");
    let output = Command::new("docker").args(["exec", &container, "sh", "-c", script]).output().expect("docker");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The code and the hint of a failure.
fn error(answer: &Answer) -> (String, String) {
    let document: Value = answer.document();
    let text = |key: &str| document["error"][key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("hint"))
}

/// A build of `services` fails with this code, says these words and gives a hint; the containers stay.
fn is_named(sandbox: &Sandbox, before: &[String], services: &[&str], exit: i32, code: &str, says: &[&str]) {
    println!("--- {code}");
    let answer = build(sandbox, services);
    assert_eq!((answer.code, error(&answer).0.as_str()), (exit, code), "{}", answer.stderr);
    says.iter().for_each(|text| assert!(answer.stderr.contains(text), "{text:?} in: {}", answer.stderr));
    assert!(!error(&answer).1.is_empty(), "a hint: {}", answer.stderr);
    assert_eq!(containers(sandbox, "platform"), before, "{code}: what ran runs");
}

#[test]
fn what_is_wrong_is_named_and_the_old_containers_still_run() {
    let mut sandbox = sandbox("wrong");
    servers_that_are_not_reached(&mut sandbox);
    let sandbox = sandbox;
    push(&sandbox);
    let answer = build(&sandbox, &["caddy", "dashboard", "docs"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let before = containers(&sandbox, "platform");
    let good = head(&sandbox);
    // One thing is wrong at a time, and then no longer.
    let wrong = |services: &[&str], exit: i32, code: &str, says: &[&str]| {
        is_named(&sandbox, &before, services, exit, code, says);
    };
    let again = |path: &str, from: &str, to: &str| {
        let reset = sandbox.laptop("git", &["reset", "-q", "--hard", &good]);
        assert_eq!(reset.code, 0, "{reset:?}");
        sandbox.change(path, from, to, "something wrong");
        let pushed = sandbox.laptop("git", &["push", "-qf", "origin", "HEAD:develop"]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
    };

    again(DOCKERFILE, "USER app\n", "RUN echo the-last-words; exit 9\nUSER app\n");
    wrong(&["dashboard", "docs"], 30, "build.image", &["image of dashboard", "the-last-words", "exit code: 9"]);
    let log = runs(&sandbox)
        .pop()
        .map(|run| sandbox.home.path().join(format!("state/cm/runs/{run}/build-platform-dashboard.log")));
    let log = std::fs::read_to_string(log.expect("a run")).expect("a log of the service");
    assert!(log.contains("the-last-words"), "{log}");

    again(
        DOCKERFILE,
        "USER app\n",
        "RUN --mount=type=tmpfs,target=/small,size=65536 head -c 1000000 /dev/zero >/small/file\nUSER app\n",
    );
    wrong(&["dashboard"], 30, "build.disk-full", &["No space left on device", "docker system df"]);

    let docs = "  docs:\n    <<: *restart\n";
    again("docker-compose.production.yml", docs, &format!("{docs}    of_the_future: yes\n"));
    wrong(&["dashboard"], 6, "compose.config", &["of_the_future"]);

    again(
        "docker-compose.production.yml",
        "  docs:\n    <<: *restart\n",
        "  docs:\n    <<: *restart\n    ports: ['80:8080']\n",
    );
    let answer = build(&sandbox, &["docs"]);
    assert_eq!((answer.code, error(&answer).0.as_str()), (30, "build.port-in-use"), "{}", answer.stderr);
    assert!(answer.stderr.contains("each of docs runs"), "partway, and said so: {}", answer.stderr);

    again("apps/docs/content/index.md", "# ", "# Once more: ");
    assert_eq!(build(&sandbox, &["docs"]).code, 0, "and fixed by the next deployment");
    let before = containers(&sandbox, "platform");
    let good = head(&sandbox);
    let wrong = |services: &[&str], exit: i32, code: &str, says: &[&str]| {
        is_named(&sandbox, &before, services, exit, code, says);
    };
    let ledger = format!("{STATE}/ledger.jsonl");
    let hungry = r#"{"schema":"cm.release/1","id":"ffff","verdict":"failed","build_bytes":1000000000000000}"#;
    let script = "cp -p \"$1\" \"$1.kept\" && printf '%s\\n' \"$2\" >>\"$1\"";
    sandbox.server("platform", &["sh", "-c", script, "sh", &ledger, hungry]);
    wrong(&["dashboard"], 30, "build.no-room", &["old images go first", "docker system df"]);
    sandbox.server("platform", &["mv", &format!("{ledger}.kept"), &ledger]);

    wrong(&["dashbord"], 2, "usage.unknown-service", &["dashboard"]);

    as_root(
        &sandbox,
        &format!(
            "mount -t tmpfs -o size=16k none /home/*/{STATE} && chmod 777 /home/*/{STATE} && head -c 20000 /dev/zero >/home/*/{STATE}/full || true"
        ),
    );
    wrong(&["dashboard"], 30, "build.disk-full", &["No space left on device"]);
    as_root(&sandbox, &format!("umount /home/*/{STATE}"));

    a_repository_without_room(&sandbox, &before, &good);

    as_root(&sandbox, "chmod 600 /var/run/docker.sock && chown root:root /var/run/docker.sock");
    let answer = build(&sandbox, &["dashboard"]);
    as_root(&sandbox, "chmod 660 /var/run/docker.sock && chown root:docker /var/run/docker.sock");
    assert_eq!((answer.code, error(&answer).0.as_str()), (30, "engine.permission"), "{}", answer.stderr);
    assert_eq!(containers(&sandbox, "platform"), before);

    as_root(&sandbox, "touch /run/sandbox/dockerd.hold && kill $(pidof dockerd)");
    until("the engine's end", Duration::from_secs(60), || {
        sandbox.server("platform", &["sh", "-c", "docker version >/dev/null 2>&1 && echo up || echo down"]) == "down"
    });
    let answer = build(&sandbox, &["dashboard"]);
    as_root(&sandbox, "rm /run/sandbox/dockerd.hold");
    assert_eq!((answer.code, error(&answer).0.as_str()), (30, "engine.down"), "{}", answer.stderr);
    until("the engine", Duration::from_secs(60), || {
        sandbox.server("platform", &["sh", "-c", "docker version >/dev/null 2>&1 && echo up || echo down"]) == "up"
    });
    let at = sandbox.server("platform", &["git", "-C", "platform", "rev-parse", "HEAD"]);
    assert_eq!(at, good, "nothing was moved");
}

/// Git writes the files of a commit, and then has no room for its index: the checkout is moved back.
fn a_repository_without_room(sandbox: &Sandbox, before: &[String], good: &str) {
    sandbox.change("apps/docs/content/index.md", "# ", "# There is no room for: ", "docs: another title");
    push(sandbox);
    let looks =
        || sandbox.server("platform", &["sh", "-c", "cd platform && git status --porcelain && git rev-parse HEAD"]);
    sandbox.server("platform", &["git", "-C", "platform", "fetch", "-q"]);
    let was = looks();
    let fill = r#"cd /home/*/platform && cp -a .git /run/held && d=$(pwd)/.git &&
        mount -t tmpfs -o size=$(($(du -sk .git | cut -f 1) + 64))k,mode=755,uid=$(stat -c %u .),gid=$(stat -c %g .) none "$d" &&
        cp -a /run/held/. .git/ && { cat /dev/zero >.git/filler 2>/dev/null || true; }"#;
    as_root(sandbox, fill);
    let says = ["Out of diskspace", "is as it was", "docker system df"];
    is_named(sandbox, before, &["docs"], 30, "build.disk-full", &says);
    sandbox.change("apps/docs/content/index.md", "# ", "# Nor is there any for: ", "docs: one more title");
    push(sandbox);
    is_named(sandbox, before, &["docs"], 30, "build.disk-full", &["cannot be fetched from", "docker system df"]);
    as_root(sandbox, "rm /home/*/platform/.git/filler");
    assert_eq!(looks(), was, "as it was");
    as_root(sandbox, "umount -l /home/*/platform/.git && rm -r /run/held");
    assert_eq!(sandbox.laptop("git", &["reset", "-q", "--hard", good]).code, 0);
    assert_eq!(sandbox.laptop("git", &["push", "-qf", "origin", "HEAD:develop"]).code, 0);
}

/// Runs cm-build with lines in front of the ssh configuration: what ssh reads first, it takes.
fn with_ssh(sandbox: &mut Sandbox, lines: &str) -> Answer {
    let config = sandbox.home.variable("CM_SSH_CONFIG").expect("set by the sandbox").to_owned();
    let mut text = std::fs::read_to_string(&config).expect("an ssh configuration");
    if lines.contains("IdentityFile") {
        // Of these it takes all.
        text = text.replace("IdentityFile", "# IdentityFile");
    }
    let own = sandbox.home.path().join("ssh_config-wrong");
    std::fs::write(&own, format!("Host platform.*\n  {lines}\n{text}")).expect("write");
    sandbox.home.set("CM_SSH_CONFIG", &own.display().to_string());
    let answer = sandbox.laptop("cm-build", &["--service", "dashboard"]);
    sandbox.home.set("CM_SSH_CONFIG", &config);
    answer
}

/// A server that is not reached says why, and what to do.
fn servers_that_are_not_reached(sandbox: &mut Sandbox) {
    let directory = sandbox.home.path().to_owned();
    let key = directory.join("stranger");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen").success());
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
    let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    std::fs::write(directory.join("changed"), format!("elsewhere {public}\n")).expect("write");
    let cases = [
        ("Port 1".to_owned(), "Connection refused", "is it the right port"),
        (
            format!("IdentityFile {}\n  IdentitiesOnly yes", key.display()),
            "Permission denied",
            "does not accept your key",
        ),
        ("UserKnownHostsFile none".to_owned(), "Host key verification failed", "fingerprint"),
        (
            format!("HostKeyAlias elsewhere\n  UserKnownHostsFile {}", directory.join("changed").display()),
            "HAS CHANGED",
            "ask the server's owner",
        ),
    ];
    for (lines, says, hint) in cases {
        println!("--- {says}");
        let answer = with_ssh(sandbox, &lines);
        assert_eq!((answer.code, error(&answer).0.as_str()), (7, "host.unreachable"), "{}", answer.stderr);
        assert!(answer.stderr.contains(says), "{says}: {}", answer.stderr);
        assert!(error(&answer).1.contains(hint), "{hint}: {}", answer.stderr);
    }
}

/// A line of the pipeline, on the laptop.
fn pipe(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; {line}")])
}

fn change_version(sandbox: &Sandbox, version: &str) {
    std::fs::write(sandbox.laptop.join("apps/dashboard/VERSION"), format!("{version}\n")).expect("write");
    sandbox.commit(&format!("dashboard: {version}"));
    push(sandbox);
}

#[test]
fn a_plan_is_carried_out_as_shown_and_two_hosts_stay_together_or_not() {
    let sandbox = sandbox("plan");
    push(&sandbox);
    println!("--- a plan is made, and then it is the deed");
    let first = pipe(&sandbox, "cm-detect </dev/null | cm-build --dry-run >/dev/null");
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stderr.contains("would do on runners"), "{}", first.stderr);
    let both = "cm-build --service dashboard --service runner-agent </dev/null | cm-health | cm-record >/dev/null";
    let answer = pipe(&sandbox, both);
    assert_eq!(answer.code, 0, "{}", answer.stderr);

    change_version(&sandbox, "planned");
    let before = containers(&sandbox, "platform");
    let answer = pipe(&sandbox, "cm-detect --group dashboard </dev/null | cm-build --dry-run >plan.json");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("apps/dashboard/VERSION"), "{}", answer.stderr);
    let free = ["MB are free", "GB are free"].iter().any(|free| answer.stderr.contains(free));
    assert!(free, "a forecast of the room: {}", answer.stderr);
    assert!(answer.stderr.contains("last took"), "the time of the last replacement: {}", answer.stderr);
    assert_eq!(containers(&sandbox, "platform"), before, "nothing was touched");
    let answer = sandbox.laptop("cm-build", &["--plan", "plan.json"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_ne!(containers(&sandbox, "platform"), before);
    nothing_is_left(&sandbox);

    println!("--- a second time it is refused: the server is another one");
    let before = containers(&sandbox, "platform");
    let answer = sandbox.laptop("cm-build", &["--plan", "plan.json"]);
    assert_eq!((answer.code, error(&answer).0.as_str()), (30, "plan.moved"), "{}", answer.stderr);
    assert!(answer.stderr.contains("other containers run for dashboard"), "{}", answer.stderr);
    assert_eq!(containers(&sandbox, "platform"), before);
    change_version(&sandbox, "once more");
    let line = "cm-detect --group dashboard </dev/null | cm-build --dry-run >plan.json";
    assert_eq!(pipe(&sandbox, line).code, 0);
    change_version(&sandbox, "and on");
    let answer = sandbox.laptop("cm-build", &["--plan", "plan.json"]);
    assert_eq!((answer.code, error(&answer).0.as_str()), (30, "plan.moved"), "{}", answer.stderr);
    assert!(answer.stderr.contains("develop was at"), "{}", answer.stderr);
    assert_eq!(containers(&sandbox, "platform"), before);
    std::fs::remove_file(sandbox.laptop.join("plan.json")).expect("the plan");

    println!("--- one host fails: the other one is rolled back, too");
    let broken = "services/runner/Dockerfile";
    let text = std::fs::read_to_string(sandbox.laptop.join(broken)).expect("read");
    std::fs::write(sandbox.laptop.join(broken), format!("{text}RUN exit 3\n")).expect("write");
    sandbox.commit("runner: does not build");
    push(&sandbox);
    let line =
        "cm-build --service dashboard --service runner-agent </dev/null | cm-rollback --on-failure --skip-verify";
    let image = |sandbox: &Sandbox| {
        sandbox.server("platform", &["docker", "inspect", "--format", "{{.Image}}", "curateme-dashboard"])
    };
    let runners = containers(&sandbox, "runners");
    let verified = image(&sandbox);
    let answer = pipe(&sandbox, line);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert!(answer.stderr.contains("on platform: dashboard run "), "what happened there: {}", answer.stderr);
    assert!(answer.stderr.contains("on runners: ~/platform was moved to "), "and there: {}", answer.stderr);
    assert!(answer.stderr.contains("the image of runner-agent could not be built"), "{}", answer.stderr);
    let head_of = |server: &str| sandbox.server(server, &["git", "-C", "platform", "rev-parse", "HEAD"]);
    assert_ne!(head_of("platform"), head(&sandbox));
    assert_ne!(head_of("runners"), head(&sandbox));
    assert_eq!(containers(&sandbox, "runners"), runners);

    println!("--- or keeps the new release, where cm.toml says so");
    sandbox.change("cm.toml", "[rollback]\n", "[rollback]\non_failure = \"keep\"\n", "keep what went well");
    push(&sandbox);
    let answer = pipe(&sandbox, line);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert!(answer.stderr.contains("on platform: the new release stays"), "{}", answer.stderr);
    assert_eq!(head_of("platform"), head(&sandbox));
    assert_ne!(head_of("runners"), head(&sandbox));
    assert_ne!(image(&sandbox), verified);
    nothing_is_left(&sandbox);
    assert_eq!(containers(&sandbox, "runners"), runners);
}

/// Inode, mode, owner and content of the files a deployment must not touch.
fn protected(sandbox: &Sandbox) -> String {
    let script =
        "cd platform && stat -c '%n %i %a %U %s' Caddyfile .env.production && sha256sum Caddyfile .env.production";
    sandbox.server("platform", &["sh", "-c", script])
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Evenly spread and repeatable (Knuth's constants); the upper bits are good enough for moments.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// What the two services' containers are, and nothing else of theirs.
#[track_caller]
fn runs_the_commit(sandbox: &Sandbox) {
    let format = "{{.Name}} {{.State.Running}} {{index .Config.Labels \"org.opencontainers.image.revision\"}}";
    let script = "docker inspect --format \"$1\" $(docker ps -aq)";
    let text = sandbox.server("platform", &["sh", "-c", script, "sh", format]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let head = head(sandbox);
    let wanted = ["dashboard", "docs"].map(|name| format!("/curateme-{name} true {head}"));
    assert_eq!(lines, wanted, "they run the commit, and no other container is there");
    let tree = sandbox.server("platform", &["git", "-C", "platform", "rev-parse", "HEAD"]);
    assert_eq!(tree, head, "the checkout is at the commit");
    nothing_is_left(sandbox);
}

#[test]
fn after_a_kill_at_any_moment_one_run_more_is_enough() {
    let kills = number("CM_BUILD_KILLS", 2);
    let clock = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let seed = number("CM_BUILD_SEED", u64::try_from(clock % 1_000_000).expect("small"));
    let mut state = seed;
    let mut sandbox = sandbox("kills");
    sandbox.change("cm.toml", "[health]\n", "[services.dashboard]\nupdate = \"rolling\"\n\n[health]\n", "rolling");
    push(&sandbox);
    let services = ["dashboard", "docs"];
    assert_eq!(build(&sandbox, &services).code, 0);
    let relay = sandbox.relay("platform");
    let untouched = protected(&sandbox);
    let change = |sandbox: &Sandbox, n: u64| {
        std::fs::write(sandbox.laptop.join("apps/docs/content/index.md"), format!("# Page {n}\n")).expect("write");
        change_version(sandbox, &format!("kill-{n}"));
    };
    change(&sandbox, 0);
    let began = Instant::now();
    assert_eq!(build(&sandbox, &services).code, 0);
    let whole = u64::try_from(began.elapsed().as_millis()).expect("short");
    println!("--- an engine that died after the old container was gone, and before the new one had its name");
    sandbox.server("platform", &["docker", "rename", "curateme-docs", "0123456789ab_curateme-docs"]);
    assert_eq!(build(&sandbox, &services).code, 0);
    runs_the_commit(&sandbox);
    println!("--- {kills} moments within {whole} ms, CM_BUILD_SEED={seed}");
    for n in 1..=kills {
        change(&sandbox, n);
        let moment = Duration::from_millis(draw(&mut state, whole));
        let harm = ["kill -9", "cut", "engine"][usize::try_from(draw(&mut state, 5)).expect("small").saturating_sub(2)];
        let mut child = start(&sandbox, &services);
        std::thread::sleep(moment);
        match harm {
            "cut" => relay.cut(),
            "engine" => as_root(&sandbox, "kill $(pidof dockerd)"),
            _ => child.kill().expect("kill"),
        }
        let outage = Instant::now();
        while harm == "cut" && outage.elapsed() < OUTAGE && child.try_wait().expect("wait").is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        relay.restore();
        let code = end(&mut child, Duration::from_secs(300));
        until("the engine", Duration::from_secs(60), || {
            sandbox.server("platform", &["sh", "-c", "docker version >/dev/null 2>&1 && echo up || echo down"]) == "up"
        });
        let cut_off = said(&sandbox);
        let last =
            cut_off.lines().rfind(|line| line.starts_with("[INFO]")).unwrap_or("before its first word").to_owned();
        println!("moment {n}: {harm} after {} ms, exit {code}: {last}", moment.as_millis());
        let answer = build(&sandbox, &services);
        assert_eq!(answer.code, 0, "CM_BUILD_SEED={seed}, moment {n}: {}\nbefore it: {cut_off}", answer.stderr);
        runs_the_commit(&sandbox);
        assert_eq!(protected(&sandbox), untouched);
    }
}
