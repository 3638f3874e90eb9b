//! What a person sees who watches a deployment in a real terminal: a pseudo-terminal of a given
//! width, whose bytes a terminal emulator shows.

use cm_testkit::{Sandbox, end, repository, until};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
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
}

fn parser(rows: u16, columns: u16) -> vt100::Parser {
    let size = |count| NonZeroU16::new(count).expect("more than none");
    vt100::Parser::new(size(rows), size(columns), 0)
}

/// `build 6/10 …`: which step it is, of how many.
fn is_live(line: &str) -> bool {
    line.split(' ').nth(1).is_some_and(|number| number.ends_with("/10"))
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        let live = self.lines().into_iter().filter(|line| is_live(line));
        self.live.extend(live);
        self.drawn += bytes.windows(3).filter(|three| three == b"\x1b[J").count();
    }

    fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen.screen().size();
        self.screen
            .screen()
            .rows(0, columns.into())
            .map(|row| row.trim_end().to_owned())
            .filter(|row| !row.is_empty())
            .collect()
    }
}

/// Starts a deployment in a terminal of so many columns, high enough that nothing scrolls away.
fn watch(sandbox: &Sandbox, columns: u16, arguments: &str) -> Watched {
    let deploy = repository().join("scripts/deploy-to-vps.sh");
    let line = format!("stty cols {columns} rows 200; exec '{}' {arguments} >/dev/null", deploy.display());
    let directory = sandbox.laptop.display().to_string();
    let mut command = sandbox.home.command("script", &["-qefc", &line, "/dev/null"], &directory);
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env("COLUMNS", "");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("script (bsdutils)");
    let mut output = child.stdout.take().expect("its terminal");
    let seen = Arc::new(Mutex::new(Seen { screen: parser(200, columns), live: BTreeSet::new(), drawn: 0 }));
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
    fn shows(&self, words: &str) -> bool {
        self.seen.lock().expect("the screen").live.iter().any(|line| line.contains(words))
    }

    /// The exit status, what stands on the terminal afterwards, and what was live.
    fn ended(mut self) -> (i32, Vec<String>, BTreeSet<String>) {
        let code = end(&mut self.child, Duration::from_secs(240));
        self.reading.take().expect("a reader").join().expect("its end");
        let seen = self.seen.lock().expect("the screen");
        (code, seen.lines(), seen.live.clone())
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
    an_interrupted_one(&sandbox, 200);
    a_broken_one(&sandbox, 110);
}

fn a_whole_deployment(sandbox: &Sandbox, columns: u16) {
    slow(sandbox, 4);
    let (code, lines, live) = watch(sandbox, columns, "--dashboard").ended();
    assert_eq!(code, 0, "{lines:#?}");
    is_whole(&lines, columns.into());
    let of = |words: &str| live.iter().any(|line| line.contains(words));
    for words in
        ["build 6/10  platform: dashboard · [", "RUN [\"python", "· last ", "health 7/10  platform · dashboard: "]
    {
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

fn an_interrupted_one(sandbox: &Sandbox, columns: u16) {
    slow(sandbox, 30);
    let mut watched = watch(sandbox, columns, "--dashboard --no-backup");
    until("the build", Duration::from_secs(120), || watched.shows("RUN [\"python"));
    let drawn = watched.seen.lock().expect("the screen").drawn;
    std::thread::sleep(Duration::from_secs(3));
    let more = watched.seen.lock().expect("the screen").drawn - drawn;
    assert!((1..=30).contains(&more), "drawn {more} times in 3 s");
    watched.child.stdin.as_mut().expect("the keyboard").write_all(b"\x03").expect("Ctrl-C");
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
