//! What the tests of `cm-lock` share: a home of their own, one or two laptops in it, and a
//! host that is this machine.

#![expect(dead_code, reason = "every test program uses another part of it")]

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cm-lock");

/// Nothing here takes longer, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

/// A home in a temporary directory; nothing outside is read or written.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        for directory in ["run", "tmp", "work", "empty"] {
            fs::create_dir(dir.path().join(directory)).expect("mkdir");
        }
        let world = World { dir };
        world.configure("60s");
        world
    }

    /// A project with two hosts; both are this machine, so they share one record.
    pub fn configure(&self, lease: &str) {
        let toml = format!(
            "project = \"shop\"\n[lock]\nlease = \"{lease}\"\n[hosts.web]\naddress = \"local\"\n[hosts.db]\naddress = \"local\"\n"
        );
        fs::write(self.path("work/cm.toml"), toml).expect("write");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The record on the hosts.
    pub fn host_record(&self) -> PathBuf {
        self.path(".local/state/cm/shop/lock.json")
    }

    /// `cm-lock` on the laptop `who`, which has a lock file of its own.
    pub fn lock<S: AsRef<std::ffi::OsStr>>(&self, who: &str, arguments: &[S]) -> Command {
        let mut command = self.plain(Path::new(PROGRAM), who);
        command.args(arguments);
        command
    }

    /// Any program in the environment of the laptop `who`.
    pub fn plain(&self, program: &Path, who: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("LANG", "C.UTF-8")
            .env("CM_ACTOR", who)
            .env("CM_ALLOW_LOCAL", "1")
            .env("CM_LOCK_FILE", self.lock_file(who))
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    pub fn lock_file(&self, who: &str) -> PathBuf {
        self.path(&format!("{}.lock", who.replace('@', "-")))
    }

    /// A holder whose command waits for the file `end`; returns when it holds.
    pub fn hold(&self, who: &str, more: &[&str]) -> Holding {
        let began = self.path(&format!("began-{who}"));
        let _old = fs::remove_file(&began);
        let script = format!(
            "trap 'echo TERM >> {0}; exit 3' TERM; touch {0}; while [ ! -e {1} ]; do sleep 0.02; done",
            began.display(),
            self.path("end").display()
        );
        let mut arguments = vec!["run"];
        arguments.extend(more);
        arguments.extend(["--", "sh", "-c", &script]);
        let child = self.lock(who, &arguments).stderr(Stdio::piped()).spawn().expect("start");
        let holding = Holding { child, began };
        until("the lock is held", || holding.began.exists());
        holding
    }

    pub fn status(&self, who: &str, more: &[&str]) -> Value {
        let mut arguments = vec!["status"];
        arguments.extend(more);
        let output = self.lock(who, &arguments).output().expect("start");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Nothing of a lock is left but the empty lock files.
    pub fn assert_free(&self, who: &str) {
        let status = self.status(who, &[]);
        assert_eq!(status["local"]["state"], "free", "{status}");
        for host in status["hosts"].as_array().expect("hosts") {
            assert_eq!(host["state"], "free", "{status}");
        }
        let state = self.path(".local/state/cm/shop");
        let left: Vec<_> = fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A `cm-lock run` in the background.
pub struct Holding {
    pub child: Child,
    pub began: PathBuf,
}

impl Holding {
    /// Whether its command was asked to end.
    pub fn was_terminated(&self) -> bool {
        fs::read_to_string(&self.began).is_ok_and(|text| text.contains("TERM"))
    }

    pub fn id(&self) -> rustix::process::Pid {
        pid(&self.child)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(child)
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(pid(child), signal).expect("signal");
}

/// Waits until `what` is so.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < LIMIT, "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of `child`, for a limited time.
pub fn end(child: &mut Child) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return code(status);
        }
        assert!(began.elapsed() < LIMIT, "no end in time");
        sleep(Duration::from_millis(5));
    }
}

pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Runs `command` with `input` on stdin.
pub fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _closed = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("its end");
    feeder.join().expect("fed");
    output
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
