//! A real server of MongoDB's wire protocol, a relay that can stop or cut what goes
//! through it, and the program itself, each in a directory of its own.

pub mod data;
pub mod fake;

use mongodb::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The server program, or a clear failure: a test that is skipped says nothing.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CM_TEST_MONGOD") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).expect("a home directory");
    let path = cache.join("cm-test/secantusd-rs/bin/secantusd-rs");
    assert!(
        path.exists(),
        "no MongoDB-wire server for this test: run `scripts/setup.sh --tests`, or set CM_TEST_MONGOD to one ({})",
        path.display()
    );
    path
}

/// A running server on a free port of the loopback interface.
pub struct Server {
    child: Child,
    pub port: u16,
    storage: TempDir,
    standalone: bool,
}

impl Server {
    /// A replica set of one.
    pub fn start() -> Server {
        Server::of_kind(false)
    }

    /// A server without an oplog, as small installations have it.
    pub fn standalone() -> Server {
        Server::of_kind(true)
    }

    fn of_kind(standalone: bool) -> Server {
        let storage = TempDir::new().expect("a temporary directory");
        let extra: &[&str] = if standalone { &["--standalone"] } else { &[] };
        let (child, port) = spawn(storage.path(), extra);
        Server { child, port, storage, standalone }
    }

    /// The same data again, now only for users that it knows.
    pub fn restart_with_auth(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("ours");
        self.child.wait().expect("ours");
        let standalone = self.standalone.then_some("--standalone");
        let extra: Vec<_> = ["--auth"].into_iter().chain(standalone).collect();
        (self.child, self.port) = spawn(self.storage.path(), &extra);
    }

    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    pub async fn client(&self) -> Client {
        Client::with_uri_str(self.uri()).await.expect("a client")
    }

    /// The same data again, after a death.
    pub fn restart(&mut self) {
        let extra: &[&str] = if self.standalone { &["--standalone"] } else { &[] };
        (self.child, self.port) = spawn(self.storage.path(), extra);
    }

    /// As when its host dies.
    pub fn kill(&mut self) {
        self.child.kill().expect("ours");
        self.child.wait().expect("ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn spawn(storage: &Path, extra: &[&str]) -> (Child, u16) {
    let mut child = Command::new(program())
        .args(["--host", "127.0.0.1", "--port", "0", "--cache-size", "256M", "--log-file-max", "8MB"])
        .arg("--storage-path")
        .arg(storage.join("data"))
        .args(extra)
        .current_dir(storage)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let port = announced_port(&mut child);
    (child, port)
}

/// Waits for "listening on 127.0.0.1:PORT"; what comes after it is read and dropped.
fn announced_port(child: &mut Child) -> u16 {
    let log = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("listening on 127.0.0.1:") {
                let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
                let _sent = sender.send(digits.parse().expect("a port"));
            }
        }
    });
    receiver.recv_timeout(START_LIMIT).expect("the server says where it listens")
}

/// Stands between the program and a server. It counts what one of the two sends, stops
/// at a limit, and then waits to be told whether to go on or to cut.
pub struct Relay {
    pub port: u16,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    passed: u64,
    limit: Option<u64>,
    reached: bool,
    cut: bool,
}

impl Relay {
    /// Lets `limit` bytes of the server through, then waits.
    pub fn start(server_port: u16, limit: u64) -> Relay {
        Relay::between(server_port, limit, 1)
    }

    /// Lets so much of the program through that a restore of 35 MB or more has inserted some
    /// of it and not all, then waits.
    pub fn amid_a_restore(server_port: u16) -> Relay {
        // Four batches of 4 MB may be on their way, and of those none need be whole.
        Relay::between(server_port, 21_000_000, 0)
    }

    fn between(server_port: u16, limit: u64, counted: usize) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let gate = Arc::new(Gate::default());
        gate.state.lock().expect("gate").limit = Some(limit);
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let pairs = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (number, (from, to)) in pairs.into_iter().enumerate() {
                    let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                    let gate = (number == counted).then(|| Arc::clone(&shared));
                    std::thread::spawn(move || copy(from, to, gate));
                }
            }
        });
        Relay { port, gate }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Waits until the limit is reached: the program is in the middle of something.
    pub fn wait_until_reached(&self) {
        let state = self.gate.state.lock().expect("gate");
        let waited = self.gate.changed.wait_timeout_while(state, START_LIMIT, |state| !state.reached).expect("gate");
        assert!(waited.0.reached, "the program never read as much as the relay lets through");
    }

    /// Lets everything through from now on.
    pub fn go_on(&self) {
        self.gate.state.lock().expect("gate").limit = None;
        self.gate.changed.notify_all();
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.gate.state.lock().expect("gate").cut = true;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    /// Whether `count` more bytes may pass; blocks while that is open.
    fn admit(&self, count: u64) -> bool {
        let mut state = self.state.lock().expect("gate");
        state.passed += count;
        while !state.cut && state.limit.is_some_and(|limit| state.passed > limit) {
            state.reached = true;
            self.changed.notify_all();
            state = self.changed.wait(state).expect("gate");
        }
        !state.cut
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, gate: Option<Arc<Gate>>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if gate.as_ref().is_some_and(|gate| !gate.admit(count as u64)) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// The program, with a home and a directory for backups of its own.
pub struct Lab {
    pub home: TempDir,
    path: Option<String>,
}

/// How a run ended.
pub struct Ended {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Lab {
    pub fn new() -> Lab {
        Lab { home: TempDir::new().expect("a temporary directory"), path: None }
    }

    /// The directory for backups; not made yet.
    pub fn backups(&self) -> PathBuf {
        self.home.path().join("backups")
    }

    /// The names in the directory for backups.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.backups()) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    /// The only backup there is.
    pub fn backup(&self) -> PathBuf {
        let names = self.names();
        let backups: Vec<_> = names.iter().filter(|name| name.ends_with(".archive.gz")).collect();
        assert_eq!(backups.len(), 1, "{names:?}");
        self.backups().join(backups[0])
    }

    /// Puts a program of this name before all others, as a fault of the machine.
    pub fn replace_program(&mut self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let dir = self.home.path().join("bin");
        std::fs::create_dir_all(&dir).expect("bin");
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        self.path = Some(format!("{}:{}", dir.display(), std::env::var("PATH").expect("PATH")));
    }

    /// A command of the program; the database's URI is in `$TEST_URI`.
    pub fn command(&self, uri: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cm-backup"));
        let path = self.path.clone().unwrap_or_else(|| std::env::var("PATH").expect("PATH"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("TEST_URI", uri)
            .env("CM_ALLOW_LOCAL", "1")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Backs the database `shop` up into the directory for backups.
    pub fn back_up(&self, uri: &str, extra: &[&str]) -> Ended {
        Ended::of(self.back_up_command(uri, extra).output().expect("the program runs"))
    }

    pub fn back_up_command(&self, uri: &str, extra: &[&str]) -> Command {
        let directory = format!("{}/", self.backups().display());
        let arguments = ["--uri-env", "TEST_URI", "--database", "shop", "--output", &directory];
        self.command(uri, &[&arguments, extra].concat())
    }

    /// Restores `file` into the server at `uri`; its messages are JSON.
    pub fn restore(&self, uri: &str, file: &Path, extra: &[&str]) -> Ended {
        Ended::of(self.restore_command(uri, file, extra).output().expect("the program runs"))
    }

    pub fn restore_command(&self, uri: &str, file: &Path, extra: &[&str]) -> Command {
        let arguments = ["restore", file.to_str().expect("UTF-8"), "--uri-env", "TEST_URI"];
        let mut command = self.command(uri, &[&arguments, extra].concat());
        command.env("CM_LOG", "json");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command("", arguments).output().expect("the program runs"))
    }
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code().expect("an exit code"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.stdout).expect("a document")
    }

    /// That the last it said, in JSON, is an error with this code.
    pub fn refuses(&self, exit: i32, code: &str, words: &str) {
        let said = self.stderr.lines().last().unwrap_or_default();
        let event: Value = serde_json::from_str(said).unwrap_or_default();
        assert_eq!((self.code, &event["error"]["code"]), (exit, &Value::from(code)), "{}", self.stderr);
        assert!(said.contains(words) && event["error"]["hint"].is_string(), "{words}: {said}");
    }

    /// That it failed with this code, and left no backup.
    pub fn expect_failure(&self, exit: i32, code: &str, lab: &Lab) {
        assert_eq!(self.code, exit, "{}", self.stderr);
        let document = self.document();
        assert_eq!(document["error"]["code"], code, "{}", self.stderr);
        assert_eq!(document["status"], "failed");
        assert_eq!(lab.names(), Vec::<String>::new(), "something was left");
    }
}
