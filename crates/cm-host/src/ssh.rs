//! The shared SSH connection. The first program of a run starts a master in the
//! background; all others talk to it through its control socket, and it ends by
//! itself after a minute of silence. Host keys are always checked.

use crate::Target;
use crate::address::Destination;
use crate::unreachable::{self, CONNECT_TIMEOUT};
use cm_core::{Exit, Failure, Result, private_dir, runtime_dir};
use openssh::Session;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// For the whole handshake; a server that accepts and then stays silent must not hold a deploy.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// How long the master waits for the next program, in seconds.
const PERSIST: u64 = 60;

/// `sun_path` holds 108 bytes and ssh adds a random suffix of 17 while binding.
const MAX_SOCKET_PATH: usize = 90;

/// How many connections there may be besides the first one.
const MAX_MORE: usize = 8;

/// The connections to one server. One does, unless its sshd allows fewer sessions on it than are
/// wanted at a time (`MaxSessions`): then there are more of them.
#[derive(Debug)]
pub struct Line {
    target: Target,
    first: Arc<Session>,
    more: Mutex<Vec<Arc<Session>>>,
    crowded: AtomicBool,
}

impl Line {
    /// Reaches the server, over a connection that an earlier program opened or a new one.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] with what ssh said; [`Exit::Config`] for what is not an address.
    pub async fn open(target: &Target) -> Result<Line> {
        let first = Arc::new(connect(target, 0).await?);
        Ok(Line { target: target.clone(), first, more: Mutex::default(), crowded: AtomicBool::new(false) })
    }

    /// The first connection, which tunnels go through: they are no sessions.
    pub fn first(&self) -> &Arc<Session> {
        &self.first
    }

    /// The connection with this number, opened if it is not; `None` if it cannot be.
    pub async fn numbered(&self, number: usize) -> Option<Arc<Session>> {
        if number == 0 {
            return Some(Arc::clone(&self.first));
        }
        let mut more = self.more.lock().await;
        if more.len() < number && number <= MAX_MORE {
            self.crowded.store(true, Ordering::Relaxed);
            more.push(Arc::new(connect(&self.target, number).await.ok()?));
        }
        more.get(number - 1).map(Arc::clone)
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A new connection that no other program uses, if there can be one; it has to be [`end`]ed.
    pub async fn of_our_own(&self) -> Option<Arc<Session>> {
        let destination = Destination::of(&self.target).ok()?;
        let socket = socket_path(&self.target, 0).ok()?;
        let socket = socket.with_file_name(format!("ssh-{}-own{}", key(&self.target), std::process::id()));
        start_master(&self.target, &destination, &socket).await.ok()?;
        resume(&socket).await.map(Arc::new)
    }

    /// Whether one connection was too few.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }
}

/// Ends a connection that nobody else uses. Where that fails, it ends by itself.
pub async fn end(session: Arc<Session>) {
    if let Some(session) = Arc::into_inner(session) {
        let _ends_by_itself = timeout(Duration::from_secs(3), session.close()).await;
    }
}

/// Whether an earlier program has a connection there that still holds.
pub async fn is_open(target: &Target) -> bool {
    match socket_path(target, 0) {
        Ok(socket) => live(&socket).await.is_some(),
        Err(_) => false,
    }
}

async fn connect(target: &Target, number: usize) -> Result<Session> {
    let destination = Destination::of(target)?;
    let socket = socket_path(target, number)?;
    // Two programs of one pipe may get here at the same time: one starts the master.
    let _starting = lock_beside(&socket).await?;
    if let Some(session) = resume(&socket).await {
        return Ok(session);
    }
    start_master(target, &destination, &socket).await?;
    let closed = || unreachable::failure(target, &destination).cause("the connection closed right after it was made");
    resume(&socket).await.ok_or_else(closed)
}

/// How long a [`key`] is, in bytes.
pub const KEY_LENGTH: usize = 16;

/// What tells addresses and configurations apart.
pub fn key(target: &Target) -> String {
    let config = target.ssh_config.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    format!("{:016x}", fnv1a(&format!("{}\0{config}", target.address)))
}

/// Whether there is a control socket of the first connection.
pub fn has_socket(target: &Target) -> bool {
    socket_path(target, 0).is_ok_and(|path| path.exists())
}

/// One socket per address, configuration and number, in a directory only the user may enter.
fn socket_path(target: &Target, number: usize) -> Result<PathBuf> {
    let dir = runtime_dir();
    private_dir(&dir).map_err(|error| runtime_dir_failure(format!("cannot make {}", dir.display()), error))?;
    let more = if number == 0 { String::new() } else { format!("-{number}") };
    let path = dir.join(format!("ssh-{}{more}", key(target)));
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Failure::new(
            Exit::Config,
            "host.socket-path",
            format!("the path of the control socket is too long: {}", path.display()),
        )
        .hint("set XDG_RUNTIME_DIR to a short directory of your own"));
    }
    Ok(path)
}

fn runtime_dir_failure(message: String, error: std::io::Error) -> Failure {
    Failure::new(Exit::Config, "host.runtime-dir", message)
        .cause(error)
        .hint("set XDG_RUNTIME_DIR to a short directory of your own")
}

/// FNV-1a, 64 bit: a short, stable name; nothing depends on it being unguessable.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

async fn lock_beside(socket: &Path) -> Result<File> {
    let path = socket.with_extension("lock");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| runtime_dir_failure(format!("cannot open {}", path.display()), error))?;
    let locked = tokio::task::spawn_blocking(move || flock(&file, FlockOperation::LockExclusive).map(|()| file));
    match timeout(HANDSHAKE_LIMIT * 2, locked).await {
        Ok(Ok(Ok(file))) => Ok(file),
        _ => Err(Failure::new(
            Exit::Unreachable,
            "host.busy",
            format!("another program holds {} for too long", path.display()),
        )
        .retryable()),
    }
}

async fn resume(socket: &Path) -> Option<Session> {
    let session = live(socket).await;
    if session.is_none() {
        // A master that died left its socket; ssh would refuse to bind over it.
        let _gone = fs::remove_file(socket);
    }
    session
}

async fn live(socket: &Path) -> Option<Session> {
    if !socket.exists() {
        return None;
    }
    let session = Session::resume_mux(socket.into(), None);
    let alive = matches!(timeout(Duration::from_secs(3), session.check()).await, Ok(Ok(())));
    alive.then_some(session)
}

async fn start_master(target: &Target, destination: &Destination, socket: &Path) -> Result<()> {
    let log = socket.with_extension("log");
    let _old = fs::remove_file(&log);
    let mut ssh = tokio::process::Command::new("ssh");
    if let Some(config) = &target.ssh_config {
        ssh.arg("-F").arg(config);
    }
    ssh.args(["-M", "-N", "-f", "-T", "-a", "-x", "-S"]).arg(socket).arg("-E").arg(&log);
    for option in [
        format!("ControlPersist={PERSIST}"),
        format!("ConnectTimeout={CONNECT_TIMEOUT}"),
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        // Whatever the user's own configuration says.
        "RemoteCommand=none".to_owned(),
        "LogLevel=INFO".to_owned(),
    ] {
        ssh.arg("-o").arg(option);
    }
    ssh.args(destination.arguments());
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a session of its own: Ctrl-C at the terminal must not cut the line
    // that a rollback still needs.
    ssh.process_group(0);
    ssh.kill_on_drop(true);
    let status = timeout(HANDSHAKE_LIMIT, ssh.status()).await;
    let said = fs::read(&log).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
    let _told = fs::remove_file(&log);
    match status {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => Err(unreachable::explain(target, destination, &said).await),
        Ok(Err(error)) => Err(unreachable::failure(target, destination)
            .cause(format!("cannot run ssh: {error}"))
            .hint("install it: apt-get install openssh-client")),
        Err(_) => Err(unreachable::silent(target, destination, HANDSHAKE_LIMIT, &said).await),
    }
}
