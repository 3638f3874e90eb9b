//! The way of somebody who never saw cm, with a compose project that is not ours, on a server
//! that has only Docker, git and ssh: install, `--init`, `--preflight`, the first deployment,
//! the second, and the way back. What they read is compared with `stranger/transcript.txt`;
//! after a change that is meant, `CM_TRANSCRIPT=write` writes it again: read it then.

use cm_testkit::{Answer, Sandbox, bin_dir, repository};
use std::cell::RefCell;
use std::process::Command;

/// What the stranger has.
const FILES: [(&str, &str); 4] = [
    (
        "docker-compose.yml",
        "services:\n  web:\n    build: ./web\n    environment:\n      GREETING: ${GREETING}\n    healthcheck:\n      test: [\"CMD\", \"python3\", \"-c\", \"import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')\"]\n      interval: 1s\n  cache:\n    image: curateme/redis:1\n    restart: unless-stopped\n",
    ),
    (
        "web/Dockerfile",
        "FROM curateme/python:1\nCOPY . /srv\nWORKDIR /srv\nCMD [\"python3\", \"-m\", \"http.server\", \"8000\"]\n",
    ),
    ("web/health", "fine\n"),
    ("web/index.html", "one\n"),
];

struct Stranger {
    sandbox: Sandbox,
    read: RefCell<String>,
}

impl Stranger {
    /// Types a line in the project's directory and reads what comes.
    fn types(&self, line: &str) -> Answer {
        let answer = self.sandbox.home.run("bash", &["-c", line], "shop", None);
        self.read.borrow_mut().push_str(&format!("$ {line}\n{}{}", answer.stderr, shown(&answer.stdout)));
        if answer.code != 0 {
            self.read.borrow_mut().push_str(&format!("(exit status {})\n", answer.code));
        }
        answer
    }

    /// Prepares what is no step of the way.
    fn prepares(&self, line: &str) {
        let answer = self.sandbox.home.run("bash", &["-euc", line], "shop", None);
        assert_eq!(answer.code, 0, "{line}: {answer:?}");
    }

    fn page(&self) -> String {
        let get = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/index.html').read().decode())";
        self.sandbox.server("platform", &["docker", "exec", "shop-web-1", "python3", "-c", get])
    }
}

/// A document is for programs: on a terminal nobody would read its one line.
fn shown(stdout: &str) -> String {
    stdout.lines().filter(|line| !line.starts_with("{\"schema\"")).map(|line| format!("{line}\n")).collect()
}

/// What differs from run to run, by a word.
fn steady(text: &str, server: &str, home: &str) -> String {
    let script = r#"
        s/t-stranger-[0-9]+/SANDBOX/g
        s/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/RUN/g
        s/\b[0-9a-f]{12,40}\b/COMMIT/g; s/\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b/COMMITS/g
        s/Docker [^,]+, Compose [^,]+, [0-9.]+ GiB/Docker VERSION, Compose VERSION, N GiB/
        s/\b[0-9]+(\.[0-9]+)? (ms|s|min)\b/TIME/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?/DATE/g
        s/  +/  /g
        /^\[INFO\] server: (good|starting|healthy|missing|created|no-answer|after)/d"#;
    let text = text.replace(server, "SERVER").replace(home, "~");
    let mut sed = Command::new("sed")
        .args(["-E", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sed");
    std::io::Write::write_all(&mut sed.stdin.take().expect("a pipe"), text.as_bytes()).expect("sed");
    String::from_utf8(sed.wait_with_output().expect("sed").stdout).expect("text")
}

#[test]
fn a_stranger_installs_deploys_twice_and_goes_back() {
    let mut sandbox = Sandbox::up("stranger");
    let home = sandbox.home.path().display().to_string();
    let prefix = format!("{home}/installed");
    let made = Command::new("make")
        .args(["-C", &repository().display().to_string(), "--no-print-directory", "install", "PREFIX=/usr/local"])
        .args([format!("DESTDIR={prefix}"), format!("BUILT={}", bin_dir().display())])
        .output()
        .expect("make");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox.home.set("PATH", &format!("{prefix}/usr/local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
    let address = |name: &str| sandbox.home.variable(name).expect("set by the sandbox").to_owned();
    let server = format!("{}@{}", address("DEPLOY_USER"), address("PLATFORM_VPS_IP"));
    for (name, text) in FILES {
        let file = sandbox.home.path().join("shop").join(name);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(file, text).expect("a file");
    }
    let stranger = Stranger { sandbox, read: RefCell::default() };
    stranger.sandbox.server("platform", &["git", "init", "-q", "--bare", "-b", "main", "shop.git"]);
    stranger.prepares(&format!(
        "git init -q -b main; git add .; git commit -qm 'what is there'; git remote add origin {server}:shop.git; git push -q origin main"
    ));

    let init = stranger.types(&format!("cm-detect --init --host {server}"));
    assert_eq!(init.code, 0, "{init:?}");
    stranger.prepares("git add cm.toml; git commit -qm 'cm.toml'; git push -q origin main");
    // The server has nothing yet, and has another name for the repository: it says what, and what to do.
    let lacks = stranger.types("cm-health --preflight </dev/null");
    assert_ne!(lacks.code, 0, "{lacks:?}");
    assert!(lacks.stderr.contains("`repository` in cm.toml"), "{lacks:?}");
    stranger.prepares("sed -i 's|^# repository = .*|repository = \"/home/curateme/shop.git\"|' cm.toml");
    stranger.prepares("git commit -qam 'what servers clone'; git push -q origin main");
    stranger.sandbox.server("platform", &["sh", "-c", "mkdir shop; echo GREETING=hello >shop/.env"]);
    let ready = stranger.types("cm-health --preflight </dev/null");
    assert_eq!(ready.code, 0, "{ready:?}");

    let first = stranger.types("deploy-to-vps.sh");
    assert_eq!((first.code, stranger.page().as_str()), (0, "one"), "{first:?}");
    stranger.prepares("echo two >web/index.html; git commit -qam 'web: two'");
    let second = stranger.types("deploy-to-vps.sh");
    assert_eq!((second.code, stranger.page().as_str()), (0, "two"), "{second:?}");
    let back = stranger.types("cm-rollback --list; cm-rollback </dev/null");
    println_transcript(&stranger.read.borrow());
    assert_eq!((back.code, stranger.page().as_str()), (60, "one"), "{back:?}");

    let read = steady(&stranger.read.borrow(), &server, &home);
    let golden = repository().join("tests/tests/stranger/transcript.txt");
    if std::env::var_os("CM_TRANSCRIPT").is_some_and(|wish| wish == "write") {
        std::fs::write(&golden, &read).expect("the transcript");
    }
    let kept = std::fs::read_to_string(&golden).expect("the transcript");
    assert_eq!(read, kept, "what a stranger reads has changed; CM_TRANSCRIPT=write keeps it, if that is meant");
}

#[expect(clippy::print_stdout, reason = "whoever runs it with --nocapture wants to read it")]
fn println_transcript(text: &str) {
    println!("{text}");
}
