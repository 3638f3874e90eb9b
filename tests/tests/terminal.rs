//! What a person sees who watches a deployment in a real terminal: a pseudo-terminal of a given
//! width, whose bytes a terminal emulator shows.

use cm_testkit::{Sandbox, end, repository, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A deployment in a terminal.
struct Watched {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    reading: Option<std::thread::JoinHandle<()>>,
}

/// What the terminal showed.
struct Seen {
    screen: vt100::Parser,
    /// Every line of the live area that stood there at some moment.
    live: BTreeSet<String>,
    /// How often the area was drawn.
    drawn: usize,
    /// The device of the terminal, which its size is set by.
    device: Option<String>,
}

fn parser(rows: u16, columns: u16) -> vt100::Parser {
    let size = |count| NonZeroU16::new(count).expect("more than none");
    vt100::Parser::new(size(rows), size(columns), 0)
}

/// `build 6/10 …`, which step it is, of how many; `in all 34 s …`, how long the run has taken.
fn is_live(line: &str) -> bool {
    line.split(' ').nth(1).is_some_and(|number| number.ends_with("/10")) || line.starts_with("in all ")
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        if self.device.is_none() {
            let path = |line: &String| line.starts_with("/dev/").then(|| line.clone());
            self.device = self.lines().iter().find_map(path);
        }
        let live = self.lines().into_iter().filter(|line| is_live(line));
        self.live.extend(live);
        self.drawn += bytes.windows(5).filter(|five| five == b"\r\x1b[2K").count();
    }

    fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen.screen().size();
        let rows = self.screen.screen().rows(0, columns.into()).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }
}

/// Starts a deployment in a terminal of so many columns, high enough that nothing scrolls away.
fn watch(sandbox: &Sandbox, columns: u16, arguments: &str) -> Watched {
    in_terminal(sandbox, columns, &format!("exec '{}' {arguments} >/dev/null", deploy().display()))
}

fn deploy() -> PathBuf {
    repository().join("scripts/deploy-to-vps.sh")
}

/// Runs a shell line in a terminal of so many columns.
fn in_terminal(sandbox: &Sandbox, columns: u16, line: &str) -> Watched {
    let line = format!("stty cols {columns} rows 200; tty; {line}");
    let directory = sandbox.laptop.display().to_string();
    let mut command = sandbox.home.command("script", &["-qefc", &line, "/dev/null"], &directory);
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env("COLUMNS", "");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("script (bsdutils)");
    let mut output = child.stdout.take().expect("its terminal");
    let seen =
        Arc::new(Mutex::new(Seen { screen: parser(200, columns), live: BTreeSet::new(), drawn: 0, device: None }));
    let shared = Arc::clone(&seen);
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            shared.lock().expect("the screen").take(&bytes[..count]);
        }
    });
    Watched { child, seen, reading: Some(reading) }
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the screen")
    }

    fn types(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("the keyboard").write_all(keys).expect("typed");
    }

    /// Gives the terminal another width, as whoever drags its window does.
    fn resize(&self, columns: u16) {
        let mut seen = self.seen();
        let device = seen.device.clone().expect("a terminal that said its name");
        let size = |count| NonZeroU16::new(count).expect("more than none");
        seen.screen.set_size(size(200), size(columns));
        let stty = Command::new("stty").args(["-F", &device, "cols", &columns.to_string()]).status();
        assert!(stty.expect("stty").success());
        seen.live.clear();
    }

    /// The lines that stand there now, without what the test itself did.
    fn stands(&self) -> Vec<String> {
        self.seen().lines()
    }

    fn shows(&self, words: &str) -> bool {
        self.seen().live.iter().any(|line| line.contains(words))
    }

    /// The exit status, what stands on the terminal afterwards, and what was live.
    fn ended(mut self) -> (i32, Vec<String>, BTreeSet<String>) {
        let code = end(&mut self.child, Duration::from_secs(240));
        self.reading.take().expect("a reader").join().expect("its end");
        let seen = self.seen.lock().expect("the screen");
        let said = seen.lines().into_iter().filter(|line| !line.starts_with("/dev/"));
        (code, said.collect(), seen.live.clone())
    }
}

/// Every line begins with its label, or goes on with one that wrapped or is indented.
fn is_whole(lines: &[String], columns: usize) {
    assert!(!lines.iter().any(|line| is_live(line)), "nothing of the area stays: {lines:#?}");
    let begins = |line: &str| line.starts_with('[') || line.starts_with("       ");
    let mut before = columns;
    for line in lines {
        assert!(begins(line) || before + 1 >= columns, "{line:?} begins in the middle: {lines:#?}");
        before = line.chars().count();
    }
}

fn slow(sandbox: &Sandbox, seconds: u32) {
    let path = sandbox.laptop.join("apps/dashboard/Dockerfile");
    let text = std::fs::read_to_string(&path).expect("a Dockerfile");
    let kept: String =
        text.lines().filter(|line| !line.contains("time.sleep")).map(|line| format!("{line}\n")).collect();
    let slow = format!("{kept}RUN [\"python3\", \"-c\", \"import time; time.sleep({seconds})\"]\n");
    std::fs::write(path, slow).expect("written");
    sandbox.commit("dashboard: a build that takes its time");
}

#[test]
fn who_watches_sees_what_goes_on_and_a_clean_terminal_afterwards() {
    let sandbox = Sandbox::up("watch");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    let first = sandbox.deploy(&["--no-backup", "--skip-canary"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    a_whole_deployment(&sandbox, 80);
    a_pulled_image(&sandbox, 110);
    an_interrupted_one(&sandbox, 50);
    a_broken_one(&sandbox, 110);
    a_suspended_one(&sandbox, 40);
}

fn a_whole_deployment(sandbox: &Sandbox, columns: u16) {
    slow(sandbox, 4);
    let page = sandbox.home.path().join("page.html");
    let mut follows = follow(sandbox, &page);
    let watched = watch(sandbox, columns, "--dashboard");
    until("the build", Duration::from_secs(120), || watched.shows("platform: dashboard"));
    every_host_names_the_run(sandbox);
    let says = |words: &str| std::fs::read_to_string(&page).is_ok_and(|page| page.contains(words));
    until("the page of the build", Duration::from_secs(20), || says("Under way: build") && says("\"refresh\""));
    let (code, lines, live) = watched.ended();
    assert_eq!(code, 0, "{lines:#?}");
    assert_eq!(end(&mut follows, Duration::from_secs(20)), 0, "who follows a run ends with it");
    assert!(says("The run has ended: this page does not change any more.") && !says("\"refresh\""), "its last word");
    is_whole(&lines, columns.into());
    let of = |words: &str| live.iter().any(|line| line.contains(words));
    for words in [
        "build 6/10  platform: dashboard · [",
        "RUN [\"python",
        "· last ",
        "health 7/10  platform · dashboard: ",
        "in all ",
        " left",
    ] {
        assert!(of(words), "{words}: {live:#?}");
    }
    assert!(live.iter().all(|line| line.chars().count() < columns.into()), "{live:#?}");
    let text = lines.join("\n");
    for words in
        ["[SUCCESS] 1 service healthy!", "[INFO] changed: dashboard on platform", "the way back: cm-rollback --to"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Two images that differ from what runs by a layer of 12 MB each, in a registry on the server that gives 2 MB/s.
const REGISTRY: &str = r#"
mkdir /tmp/pulled && cd /tmp/pulled
for tag in 2 3; do
    head -c 12000000 /dev/urandom >layer
    printf 'FROM curateme/redis:1\nCOPY layer /layer\n' >Dockerfile
    docker build -q -t 127.0.0.1:5000/redis:$tag . >&2
done
mkdir images
docker save 127.0.0.1:5000/redis:2 127.0.0.1:5000/redis:3 | tar -xC images
docker image rm 127.0.0.1:5000/redis:2 127.0.0.1:5000/redis:3 >&2
docker builder prune -af >&2
printf '%s' "$1" >registry.py
docker run -d --name registry --network host -v "$PWD:/pulled:ro" curateme/python:1 \
    python3 /pulled/registry.py /pulled/images 2000000 >&2
for try in {1..200}; do
    curl -fsS http://127.0.0.1:5000/v2/ 2>/dev/null && exit
    sleep 0.1
done
docker logs registry >&2; exit 1"#;

/// An image that nobody builds is pulled before anything is replaced, and who watches sees how much of it is there: a
/// person, a program, and whoever reads why it was refused.
fn a_pulled_image(sandbox: &Sandbox, columns: u16) {
    sandbox.server("platform", &["bash", "-ec", REGISTRY, "bash", include_str!("terminal/registry.py")]);
    let compose = "docker-compose.production.yml";
    let image = |from: &str, to: &str| {
        sandbox.change(compose, &format!("image: {from}"), &format!("image: {to}"), "redis: another image")
    };
    let runs = || sandbox.server("platform", &["docker inspect --format '{{.Id}} {{.Config.Image}}' curateme-redis"]);
    image("curateme/redis:1", "127.0.0.1:5000/redis:2");
    let (code, lines, live) = watch(sandbox, columns, "--no-backup --skip-canary").ended();
    assert_eq!(code, 0, "{lines:#?}");
    is_whole(&lines, columns.into());
    let pulls = "platform: pulling 127.0.0.1:5000/redis:2 · ";
    let sizes = live.iter().filter(|line| line.contains(pulls) && line.contains(" MB of ")).count();
    assert!(sizes > 1, "its bytes, more than once: {live:#?}");
    assert!(runs().ends_with("127.0.0.1:5000/redis:2"));

    image("127.0.0.1:5000/redis:2", "127.0.0.1:5000/redis:3");
    let script = deploy().display().to_string();
    let said = sandbox.laptop("env", &["CM_LOG=json", &script, "--no-backup", "--skip-canary"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let events = said.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events: Vec<_> = events.filter(|event| event["level"] == "progress" && event["unit"] == "bytes").collect();
    let event = events.first().unwrap_or_else(|| panic!("an event: {}", said.stderr));
    for (key, wanted) in [("step", "build"), ("host", "platform"), ("service", "redis")] {
        assert_eq!(event[key], wanted, "{event}");
    }
    let (done, total) = (event["done"].as_u64().expect("bytes"), event["total"].as_u64().expect("bytes"));
    assert!(done > 1_000_000 && done < total && (12_000_000..13_000_000).contains(&total), "{event}");

    let before = runs();
    image("127.0.0.1:5000/redis:3", "127.0.0.1:5000/denied:1");
    let said = sandbox.deploy(&["--no-backup", "--skip-canary"]);
    let code = &said.document()["error"]["code"];
    assert_eq!((said.code, code), (60, &"build.pull-denied".into()), "{}", said.stderr);
    for words in ["on platform: could not pull 127.0.0.1:5000/denied:1", "Error response from daemon", "docker login"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    assert!(!said.stderr.contains("cm transfer"), "{}", said.stderr);
    assert!(said.stderr.contains("no container was touched"), "{}", said.stderr);
    assert_eq!(runs(), before);
    image("127.0.0.1:5000/denied:1", "127.0.0.1:5000/redis:3");
}

/// Writes the page of the run that begins next for as long as it goes on.
fn follow(sandbox: &Sandbox, page: &Path) -> Child {
    let page = page.display().to_string();
    let laptop = sandbox.laptop.display().to_string();
    let mut command = sandbox.home.command("cm-record", &["report", "--follow", "--html", &page], &laptop);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cm-record")
}

/// Also where nothing changes: `runners` is locked, too, and it is not told which run that is before its lease is renewed.
fn every_host_names_the_run(sandbox: &Sandbox) {
    let said = sandbox.laptop("cm-lock", &["status", "--json"]);
    let status: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let run = &status["local"]["record"]["run"];
    assert!(run.is_string(), "{status:#}");
    let hosts = status["hosts"].as_array().expect("hosts");
    assert!(hosts.len() > 1 && hosts.iter().all(|host| &host["record"]["run"] == run), "{status:#}");
}

fn an_interrupted_one(sandbox: &Sandbox, columns: u16) {
    slow(sandbox, 30);
    let mut watched = watch(sandbox, columns, "--dashboard --no-backup");
    until("the build", Duration::from_secs(120), || watched.shows("platform: dashboard"));
    let drawn = watched.seen().drawn;
    std::thread::sleep(Duration::from_secs(3));
    let more = watched.seen().drawn - drawn;
    assert!((1..=30).contains(&more), "drawn {more} times in 3 s");
    let before = watched.stands().iter().filter(|line| !is_live(line)).count();
    let narrow = watched.seen().live.clone();
    assert!(narrow.iter().all(|line| line.chars().count() < columns.into()), "{narrow:#?}");
    watched.resize(200);
    until("the build's own step, for which there is room now", Duration::from_secs(20), || {
        watched.shows("RUN [\"python")
    });
    // It may be looked at between two lines of a picture.
    until("a line of the build and one of the run, and none of the old width", Duration::from_secs(5), || {
        watched.stands().iter().filter(|line| is_live(line)).count() == 2
    });
    let lines = watched.stands();
    assert_eq!(lines.iter().filter(|line| !is_live(line)).count(), before, "nothing else is gone: {lines:#?}");
    watched.types(b"\x03");
    let (code, lines, _) = watched.ended();
    assert_ne!(code, 0, "{lines:#?}");
    assert!(!lines.iter().any(|line| is_live(line)), "{lines:#?}");
}

fn a_broken_one(sandbox: &Sandbox, columns: u16) {
    slow(sandbox, 0);
    sandbox.change(
        "apps/dashboard/server.py",
        "\nSERVICE = ",
        "\nraise SystemExit(3)\nSERVICE = ",
        "dashboard: broken",
    );
    let (code, lines, _) = watch(sandbox, columns, "--dashboard --no-backup").ended();
    assert_eq!(code, 60, "{lines:#?}");
    is_whole(&lines, columns.into());
    let last = lines[lines.len().saturating_sub(8)..].join(" ");
    for words in ["the deployment failed and was rolled back", "caused by: health: ", "dashboard", "hint: "] {
        assert!(last.contains(words), "{words} is said last: {last}");
    }
}

/// Ctrl-Z in the middle, something else at the prompt, `fg`: the area is gone meanwhile, and comes back; the terminal is as
/// it was before.
fn a_suspended_one(sandbox: &Sandbox, columns: u16) {
    sandbox.change("apps/dashboard/server.py", "\nraise SystemExit(3)\nSERVICE = ", "\nSERVICE = ", "dashboard: sound");
    slow(sandbox, 8);
    let shell = "PS1='$ ' HISTFILE= exec bash --norc --noprofile -i";
    let mut watched = in_terminal(sandbox, columns, shell);
    until("a prompt", Duration::from_secs(20), || watched.stands().iter().any(|line| line == "$"));
    let line = format!("clear; stty -a >modes; '{}' --dashboard --no-backup >/dev/null\n", deploy().display());
    watched.types(line.as_bytes());
    until("the build", Duration::from_secs(120), || watched.shows("build 6/10"));
    watched.types(b"\x1a");
    let is_back = || watched.stands().last().is_some_and(|line| line == "$");
    until("the prompt again", Duration::from_secs(20), is_back);
    let lines = watched.stands();
    assert!(!lines.iter().any(|line| is_live(line)), "the area is away while it is stopped: {lines:#?}");
    assert!(lines.iter().any(|line| line.contains("Stopped")), "{lines:#?}");
    watched.types(b"echo between; fg\n");
    watched.seen().live.clear();
    until("the area again", Duration::from_secs(20), || watched.shows("/10"));
    let ended = || watched.stands().iter().any(|line| line.contains("the report: cm-record"));
    until("its end", Duration::from_secs(120), ended);
    watched.types(b"stty -a | diff - modes && echo as before; rm modes; exit 7\n");
    let (code, lines, live) = watched.ended();
    assert_eq!(code, 7, "{lines:#?}");
    assert!(!lines.iter().any(|line| is_live(line)), "nothing of the area stays: {lines:#?}");
    assert!(live.iter().all(|line| line.chars().count() < columns.into()), "{live:#?}");
    for words in ["between", "as before", "[SUCCESS] 1 service healthy!"] {
        assert!(lines.iter().any(|line| line == words), "{words}: {lines:#?}");
    }
}
