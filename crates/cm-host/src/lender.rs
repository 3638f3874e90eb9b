//! Shells that all programs of a run share. Each program would otherwise open its own ones, one round trip after
//! the other, and sshd allows few at a time. Who lives as long as the run, `cm-lock run`, opens them when they are
//! first wanted and lends them over a Unix socket, which [`VARIABLE`] names: whoever asks is handed the shell's three
//! streams themselves, so that nothing a program sends or hears passes through the lender.
//!
//! A shell is given back by one byte when its command has been answered. Where the connection ends without it,
//! whoever borrowed it died or gave a command up, and the shell is closed as its own would have been. Who gets none
//! opens one: nothing depends on a lender.

use crate::process::{GIVEN_BACK, Lendable, Process, Transport};
use crate::{Host, Target, ssh};
use cm_core::{private_dir, runtime_dir};
use rustix::cmsg_space;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The variable that names the socket, for the programs that a lender starts.
pub const VARIABLE: &str = "CM_SHELLS";

/// How many shells are lent to one host at a time. With them, the lock's own one and two streams, sshd's default of
/// 10 sessions a connection (`MaxSessions`) is not reached.
const MOST: usize = 6;

/// Whoever does not answer in this time lends nothing.
const LIMIT: Duration = Duration::from_secs(5);

/// What the name of a socket begins with.
const PREFIX: &str = "shells-";

const YES: &[u8] = b"y";
const NO: &[u8] = b"n";

/// Lends shells until it is dropped.
#[derive(Debug)]
pub struct Lender {
    path: PathBuf,
    lending: JoinHandle<()>,
}

impl Lender {
    /// Lends shells of these hosts.
    ///
    /// # Errors
    /// Those of making the socket.
    pub fn start(hosts: &[Host]) -> io::Result<Lender> {
        let directory = runtime_dir();
        private_dir(&directory)?;
        remove_dead(&directory);
        let path = directory.join(format!("{PREFIX}{}", std::process::id()));
        let remote = hosts.iter().filter(|host| host.transport.is_ssh());
        Lender::at(path, remote.map(|host| Shelf::new(&host.target, host.transport.clone())).collect())
    }

    fn at(path: PathBuf, shelves: Vec<Shelf>) -> io::Result<Lender> {
        // Of a process that had this number before.
        let _old = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let shelves = Arc::new(shelves);
        let lending = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shelves = Arc::clone(&shelves);
                tokio::spawn(async move { serve(stream, &shelves).await });
            }
        });
        Ok(Lender { path, lending })
    }

    /// The variable and its value, for a program that may borrow.
    pub fn variable(&self) -> (&'static str, OsString) {
        (VARIABLE, self.path.clone().into())
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.lending.abort();
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Removes the sockets of lenders that were killed: nobody listens to them.
fn remove_dead(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_socket = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let refuses = |path: &Path| {
            let answer = std::os::unix::net::UnixStream::connect(path);
            answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_socket && refuses(&entry.path()) {
            let _gone = std::fs::remove_file(entry.path());
        }
    }
}

/// The shells of one host.
struct Shelf {
    key: String,
    name: String,
    transport: Transport,
    room: Arc<Semaphore>,
    idle: Mutex<Vec<Lent>>,
}

/// A shell, and its right to be one of the few.
struct Lent {
    shell: Lendable,
    _room: OwnedSemaphorePermit,
}

impl Shelf {
    fn new(target: &Target, transport: Transport) -> Shelf {
        let (key, name) = (ssh::key(target), target.name.clone());
        Shelf { key, name, transport, room: Arc::new(Semaphore::new(MOST)), idle: Mutex::default() }
    }

    /// One that is idle, else a new one; `None` where there are enough, or sshd has no room for more.
    async fn take(&self) -> Option<Lent> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if idle.is_some() {
            return idle;
        }
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let shell = Lendable::start(&self.transport, &self.name, &["sh".to_owned()]).await.ok()?;
        if matches!(&self.transport, Transport::Ssh(line) if line.is_crowded()) {
            // Others need the sessions that are left.
            self.room.close();
        }
        Some(Lent { shell, _room: room })
    }

    fn put_back(&self, lent: Lent) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lent);
    }
}

async fn serve(mut stream: UnixStream, shelves: &[Shelf]) {
    let mut key = [0; ssh::KEY_LENGTH];
    let asked = matches!(timeout(LIMIT, stream.read_exact(&mut key)).await, Ok(Ok(_)));
    let shelf = shelves.iter().find(|shelf| asked && shelf.key.as_bytes() == key);
    let lent = match shelf {
        Some(shelf) => shelf.take().await,
        None => None,
    };
    let (Some(shelf), Some(lent)) = (shelf, lent) else {
        let _nobody_listens = stream.write_all(NO).await;
        return;
    };
    if hand_over(&stream, lent.shell.streams()).await.is_err() {
        return shelf.put_back(lent);
    }
    if stream.read_u8().await.is_ok_and(|said| said == GIVEN_BACK) {
        shelf.put_back(lent);
    }
}

async fn hand_over(stream: &UnixStream, streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let send = || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&streams));
        Ok(sendmsg(stream, &[IoSlice::new(YES)], &mut control, SendFlags::empty())?)
    };
    stream.async_io(Interest::WRITABLE, send).await.map(drop)
}

/// Whether the lender of this program's run has answered so far.
static ANSWERS: AtomicBool = AtomicBool::new(true);

/// A shell on the host from the lender of this program's run, if there is one and it has one.
pub async fn borrow(target: &Target) -> Option<Process> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty() && ANSWERS.load(Ordering::Relaxed))?;
    let answer = timeout(LIMIT, borrow_at(Path::new(&path), &ssh::key(target))).await;
    let answered = matches!(answer, Ok(Ok(_)));
    ANSWERS.fetch_and(answered, Ordering::Relaxed);
    answer.ok()?.ok()?
}

async fn borrow_at(path: &Path, key: &str) -> io::Result<Option<Process>> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(key.as_bytes()).await?;
    let streams: Result<[OwnedFd; 3], _> = stream.async_io(Interest::READABLE, || take_over(&stream)).await?.try_into();
    streams.ok().map(|streams| Process::borrowed(streams, stream)).transpose()
}

/// The streams; none where the answer is no.
fn take_over(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let (mut said, mut streams) = ([0], Vec::new());
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read = recvmsg(stream, &mut [IoSliceMut::new(&mut said)], &mut control, RecvFlags::empty())?.bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            streams.extend(rights);
        }
    }
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for stream in &streams {
        fcntl_setfd(stream, FdFlags::CLOEXEC)?;
    }
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lender(directory: &Path) -> Lender {
        let target = Target::at("here", "local");
        Lender::at(directory.join("shells"), vec![Shelf::new(&target, Transport::Local)]).expect("a socket")
    }

    fn key() -> String {
        ssh::key(&Target::at("any", "local"))
    }

    async fn borrow(lender: &Lender) -> Option<Process> {
        borrow_at(&lender.path, &key()).await.expect("an answer")
    }

    /// The shell's process id.
    async fn pid(process: &mut Process) -> String {
        let stdin = process.stdin.as_mut().expect("a stdin");
        stdin.write_all(b"echo $$\n").await.expect("written");
        let (mut said, mut byte) = (String::new(), [0]);
        while process.stdout.read(&mut byte).await.expect("read") == 1 && byte != [b'\n'] {
            said.push(byte[0].into());
        }
        said
    }

    async fn ends(pid: &str) {
        let process = PathBuf::from(format!("/proc/{pid}"));
        for _ in 0..200 {
            let state = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} goes on");
    }

    #[tokio::test]
    async fn one_that_is_given_back_is_lent_again_and_one_that_is_not_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let lender = lender(directory.path());
        let mut first = borrow(&lender).await.expect("a shell");
        let (one, mut second) = (pid(&mut first).await, borrow(&lender).await.expect("another one"));
        let two = pid(&mut second).await;
        assert_ne!(one, two, "it is not lent twice at a time");
        assert!(first.give_back().is_none());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut again = borrow(&lender).await.expect("a shell");
        assert_eq!(pid(&mut again).await, one);
        drop(again);
        ends(&one).await;
        assert_eq!(pid(&mut second).await, two, "the other one is as it was");
        drop(lender);
        assert!(!directory.path().join("shells").exists());
    }

    #[test]
    fn the_socket_of_a_lender_that_was_killed_goes_and_that_of_another_one_stays() {
        use std::os::unix::net::UnixListener;
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        drop(UnixListener::bind(path("shells-1")).expect("a socket"));
        drop(UnixListener::bind(path("other-1")).expect("a socket"));
        std::fs::write(path("shells-x"), "").expect("a file");
        let _lends = UnixListener::bind(path("shells-2")).expect("a socket");
        remove_dead(directory.path());
        let left = ["shells-1", "other-1", "shells-2"].map(|name| path(name).exists());
        assert_eq!(left, [false, true, true]);
    }

    #[tokio::test]
    async fn there_are_only_so_many_and_none_of_another_host() {
        let directory = tempfile::tempdir().expect("a directory");
        let lender = lender(directory.path());
        let mut lent = Vec::new();
        for _ in 0..MOST {
            lent.push(borrow(&lender).await.expect("a shell"));
        }
        assert!(borrow(&lender).await.is_none());
        drop(lent.pop());
        for _ in 0..100 {
            match borrow(&lender).await {
                Some(shell) => return drop(shell),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("there is no room again");
    }

    #[tokio::test]
    async fn another_host_has_none_and_a_lender_that_is_gone_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let lender = lender(directory.path());
        let other = ssh::key(&Target::at("here", "u@other"));
        assert!(borrow_at(&lender.path, &other).await.expect("an answer").is_none());
        let path = lender.path.clone();
        drop(lender);
        assert!(borrow_at(&path, &key()).await.is_err());
    }
}
