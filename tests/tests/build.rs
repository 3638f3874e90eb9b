//! cm-build on real servers when something comes between: the connection is cut, the program is killed or
//! interrupted, the server or what is deployed is wrong. What happened is asked of Docker and of git.

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox, end, until};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DOCKERFILE: &str = "apps/dashboard/Dockerfile";
const STATE: &str = ".local/state/cm/curateme";

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

/// Makes the dashboard's image take `seconds`, each time anew.
fn slow_build(sandbox: &Sandbox, mark: &str, seconds: u32) {
    let dockerfile = sandbox.laptop.join(DOCKERFILE);
    let text = std::fs::read_to_string(&dockerfile).expect("read");
    let text: String = text.lines().filter(|line| !line.contains("# slow")).map(|line| format!("{line}\n")).collect();
    let slow = format!("USER app\nRUN echo begin-{mark} && sleep {seconds} && echo end-{mark} || true # slow\n");
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
    let folders = std::fs::read_dir(sandbox.home.path().join("state/cm/runs")).into_iter().flatten().flatten();
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
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
        docker image ls -q --filter dangling=true --filter label=cm.release"#;
    assert_eq!(sandbox.server("platform", &["sh", "-c", script, "sh", STATE]), "");
    let tag = format!("curateme/dashboard:cm-{}", &head(sandbox)[..12]);
    let id = "{{.Id}}";
    assert_eq!(image(sandbox, "curateme/dashboard", id), image(sandbox, &tag, id), "one image under both names");
    let running = sandbox.server("platform", &["docker", "inspect", "--format", "{{.Image}}", "curateme-dashboard"]);
    assert_eq!(running, image(sandbox, &tag, id), "and it runs");
}

const RELEASE: &str = "{{index .Config.Labels \"cm.release\"}}";

#[test]
fn a_build_outlives_its_program_and_its_connection_and_is_not_doubled() {
    let mut sandbox = sandbox("build");
    let relay = sandbox.relay("platform");

    println!("--- killed in the middle: the next run goes on with the build that runs");
    slow_build(&sandbox, "killed", 8);
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-killed");
    child.kill().expect("kill");
    child.wait().expect("its end");
    let first = runs(&sandbox).pop().expect("a run");
    let answer = build(&sandbox, &["dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let adopted = ["went on with the build of a run that ended", "took the build of a run that ended"];
    assert!(adopted.iter().any(|words| answer.stderr.contains(words)), "{}", answer.stderr);
    assert_eq!(image(&sandbox, "curateme/dashboard", RELEASE), first, "it was built once, for the first run");
    nothing_is_left(&sandbox);

    println!("--- the connection is cut: the same");
    slow_build(&sandbox, "cut", 4);
    let mut child = start(&sandbox, &["dashboard"]);
    building(&sandbox, "begin-cut");
    let first = runs(&sandbox).pop().expect("a run");
    relay.cut();
    let code = end(&mut child, Duration::from_secs(60));
    relay.restore();
    assert_eq!(code, 7, "{}", said(&sandbox));
    assert!(said(&sandbox).contains("on platform: "), "it says how far it got: {}", said(&sandbox));
    let answer = build(&sandbox, &["dashboard"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(image(&sandbox, "curateme/dashboard", RELEASE), first, "{}", answer.stderr);
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

#[test]
fn what_is_wrong_is_named_and_the_old_containers_still_run() {
    let sandbox = sandbox("wrong");
    push(&sandbox);
    let answer = build(&sandbox, &["caddy", "dashboard", "docs"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let before = containers(&sandbox, "platform");
    let good = head(&sandbox);
    // One thing is wrong at a time, and then no longer.
    let wrong = |services: &[&str], exit: i32, code: &str, says: &[&str]| {
        println!("--- {code}");
        let answer = build(&sandbox, services);
        assert_eq!((answer.code, error(&answer).0.as_str()), (exit, code), "{}", answer.stderr);
        says.iter().for_each(|text| assert!(answer.stderr.contains(text), "{text:?} in: {}", answer.stderr));
        assert!(!error(&answer).1.is_empty(), "a hint: {}", answer.stderr);
        assert_eq!(containers(&sandbox, "platform"), before, "{code}: what ran runs");
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
    assert!(answer.stderr.contains("each of docs runs"), "half-way, and said so: {}", answer.stderr);

    again("apps/docs/content/index.md", "# ", "# Once more: ");
    assert_eq!(build(&sandbox, &["docs"]).code, 0, "and mended by the next deployment");
    let before = containers(&sandbox, "platform");
    let good = head(&sandbox);
    let wrong = |services: &[&str], exit: i32, code: &str, says: &[&str]| {
        println!("--- {code}");
        let answer = build(&sandbox, services);
        assert_eq!((answer.code, error(&answer).0.as_str()), (exit, code), "{}", answer.stderr);
        says.iter().for_each(|text| assert!(answer.stderr.contains(text), "{text:?} in: {}", answer.stderr));
        assert!(!error(&answer).1.is_empty(), "a hint: {}", answer.stderr);
        assert_eq!(containers(&sandbox, "platform"), before, "{code}: what ran runs");
    };
    wrong(&["dashbord"], 2, "usage.unknown-service", &["dashboard"]);

    as_root(
        &sandbox,
        &format!(
            "mount -t tmpfs -o size=16k none /home/*/{STATE} && chmod 777 /home/*/{STATE} && head -c 20000 /dev/zero >/home/*/{STATE}/full || true"
        ),
    );
    wrong(&["dashboard"], 30, "build.disk-full", &["No space left on device"]);
    as_root(&sandbox, &format!("umount /home/*/{STATE}"));

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

/// A copy of the ssh configuration with something replaced, for one run.
#[expect(dead_code)]
fn with_ssh_config(sandbox: &mut Sandbox, change: impl Fn(&Path, &str) -> String) -> Answer {
    let config = sandbox.home.variable("CM_SSH_CONFIG").expect("set by the sandbox").to_owned();
    let text = std::fs::read_to_string(&config).expect("an ssh configuration");
    let own = sandbox.home.path().join("ssh_config-wrong");
    std::fs::write(&own, change(sandbox.home.path(), &text)).expect("write");
    sandbox.home.set("CM_SSH_CONFIG", &own.display().to_string());
    let answer = sandbox.laptop("cm-build", &["--service", "dashboard"]);
    sandbox.home.set("CM_SSH_CONFIG", &config);
    answer
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

    println!("--- one host fails: the other one goes back, too");
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
