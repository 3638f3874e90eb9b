//! One running command, here or on a server, behind the same three streams.

use crate::budget::read_all;
use crate::ssh::Line;
use cm_core::{Exit, Failure, Result};
use openssh::{Session, Stdio};
use rustix::process::{Pid, Signal, kill_process};
use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::time::sleep;

/// How commands get to the host.
#[derive(Clone, Debug)]
pub enum Transport {
    /// This machine.
    Local,
    /// A server, through the shared connections.
    Ssh(Arc<Line>),
}

/// Programs that are where only a login shell looks, and an engine that is the user's own: for every
/// command on a server, as a person who logs in has them. And the home directory, wherever the files
/// of the login shell have gone, without what leads git and `cd` to another place.
const SURROUNDINGS: &str = r#"unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
cd "${HOME:-/}" 2>/dev/null || cd /
PATH=${PATH:-/usr/bin:/bin}:$HOME/.local/bin:$HOME/bin:/usr/local/bin:/usr/sbin:/sbin:/snap/bin:/opt/homebrew/bin:/home/linuxbrew/.linuxbrew/bin
export PATH
if [ -z "${DOCKER_HOST-}" ] && [ ! -w /var/run/docker.sock ]; then
    own=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock
    if [ -S "$own" ] && ! grep -qs currentContext "$HOME/.docker/config.json"; then
        DOCKER_HOST=unix://$own
        export DOCKER_HOST
    fi
fi
exec "$@""#;

impl Transport {
    /// Whether there is a line between this machine and the host.
    pub fn is_ssh(&self) -> bool {
        matches!(self, Transport::Ssh(_))
    }
}

pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A command that was started.
pub struct Process {
    pub stdin: Option<Writer>,
    pub stdout: Reader,
    pub stderr: Reader,
    child: Child,
}

enum Child {
    Local(Local),
    Ssh(Box<openssh::Child<Arc<Session>>>, Arc<Session>),
    /// Another program's, which has it back when it is told so; it ends it when this is dropped.
    Borrowed(UnixStream),
}

/// A command of this machine. It is asked to end when nobody waits for it any more, so that it can remove what it made:
/// git its locks, a script its directory.
struct Local(tokio::process::Child);

impl Drop for Local {
    fn drop(&mut self) {
        // There is no id of one that has ended: the number may be another's by now.
        if let Some(id) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ended_meanwhile = kill_process(id, Signal::TERM);
        }
    }
}

/// What is said to whoever lent a process, when it is given back.
pub const GIVEN_BACK: u8 = b'r';

/// The connection's master answers at once, or is gone.
const ALIVE_LIMIT: Duration = Duration::from_secs(3);

/// How long a session that is refused is asked for again, and how often.
const REFUSED_LIMIT: Duration = Duration::from_secs(15);
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

impl Process {
    pub async fn start(transport: &Transport, host: &str, argv: &[String], feed: bool) -> Result<Process> {
        match transport {
            Transport::Local => start_local(argv, feed),
            // Boxed: it is at the bottom of everything that waits.
            Transport::Ssh(line) => Box::pin(start_ssh(line, host, argv, feed)).await,
        }
    }

    /// A process of another program, which lent its streams (stdin, stdout and stderr) and is told by `lender` of its
    /// return.
    pub fn borrowed([stdin, stdout, stderr]: [OwnedFd; 3], lender: UnixStream) -> std::io::Result<Process> {
        Ok(Process {
            stdin: Some(Box::new(pipe::Sender::from_owned_fd(stdin)?)),
            stdout: Box::new(pipe::Receiver::from_owned_fd(stdout)?),
            stderr: Box::new(pipe::Receiver::from_owned_fd(stderr)?),
            child: Child::Borrowed(lender),
        })
    }

    /// Gives a borrowed process back, for others; any other one is handed out again.
    pub fn give_back(self) -> Option<Process> {
        let Child::Borrowed(lender) = &self.child else { return Some(self) };
        let _lender_is_gone = lender.try_write(&[GIVEN_BACK]);
        None
    }

    /// Reads stdout and stderr to their ends, `most` bytes of each at most.
    pub async fn read_both(&mut self, most: usize) -> std::io::Result<(Vec<u8>, String)> {
        let (out, err) = tokio::try_join!(read_all(&mut self.stdout, most), read_all(&mut self.stderr, most))?;
        Ok((out, String::from_utf8_lossy(&err).into_owned()))
    }

    /// Waits for the end. The streams must have been read, or the command may block.
    pub async fn wait(self, host: &str) -> Result<ExitStatus> {
        match self.child {
            Child::Local(mut child) => {
                child.0.wait().await.map_err(|error| Failure::bug("cannot wait for a command").cause(error))
            }
            Child::Ssh(child, session) => match child.wait().await {
                Ok(status) => Ok(status),
                // The crate turns 127, the shell's "no such command", into an error.
                Err(openssh::Error::Remote(_)) => Ok(ExitStatus::from_raw(127 << 8)),
                // It was killed, or the connection was cut: the crate cannot tell.
                Err(openssh::Error::RemoteProcessTerminated) => killed(&session, host).await,
                Err(error) => Err(lost(host, error)),
            },
            Child::Borrowed(_) => Err(Failure::bug("the end of a borrowed process is its lender's to know")),
        }
    }
}

/// A process whose streams other programs use, one after the other; it ends when it is dropped.
pub struct Lendable {
    streams: [OwnedFd; 3],
    _child: Box<dyn Any + Send + Sync>,
}

impl Lendable {
    /// Starts it over a session that is free now, and waits for none.
    pub async fn start(transport: &Transport, host: &str, argv: &[String]) -> Result<Lendable> {
        // The two kinds of streams are of different types with the same method.
        macro_rules! owned {
            ($($stream:expr),*) => {
                [$($stream.ok_or_else(no_streams)?.into_owned_fd().map_err(|error| no_streams().cause(error))?),*]
            };
        }
        match transport {
            Transport::Local => {
                let mut child = spawn_local(argv, true)?;
                let streams = owned!(child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
                Ok(Lendable { streams, _child: Box::new(child) })
            }
            Transport::Ssh(line) => {
                let started = start_somewhere(line, host, argv, true).await;
                let (mut child, session) = started.map_err(|refusal| match refusal {
                    Refusal::Busy(error) => no_session(host, error),
                    Refusal::Other(failure) => failure,
                })?;
                let streams = owned!(child.stdin().take(), child.stdout().take(), child.stderr().take());
                Ok(Lendable { streams, _child: Box::new((child, session)) })
            }
        }
    }

    /// Its stdin, stdout and stderr, for a [`Process::borrowed`].
    pub fn streams(&self) -> [BorrowedFd<'_>; 3] {
        self.streams.each_ref().map(AsFd::as_fd)
    }
}

/// How a command ended of which nobody can say it: it was killed, if its host still answers.
pub async fn after_cut(transport: &Transport, host: &str) -> Result<ExitStatus> {
    match transport {
        Transport::Local => Ok(ExitStatus::from_raw(9)),
        Transport::Ssh(line) => killed(line.first(), host).await,
    }
}

async fn killed(session: &Session, host: &str) -> Result<ExitStatus> {
    match tokio::time::timeout(ALIVE_LIMIT, session.check()).await {
        Ok(Ok(())) => Ok(ExitStatus::from_raw(9)),
        _ => Err(lost(host, openssh::Error::RemoteProcessTerminated)),
    }
}

fn start_local(argv: &[String], feed: bool) -> Result<Process> {
    let mut child = spawn_local(argv, feed)?;
    Ok(Process {
        stdin: child.0.stdin.take().map(|stdin| Box::new(stdin) as Writer),
        stdout: Box::new(child.0.stdout.take().ok_or_else(no_streams)?),
        stderr: Box::new(child.0.stderr.take().ok_or_else(no_streams)?),
        child: Child::Local(child),
    })
}

fn no_streams() -> Failure {
    Failure::bug("a command was started without its streams")
}

fn spawn_local(argv: &[String], feed: bool) -> Result<Local> {
    use std::process::Stdio;
    let mut command = tokio::process::Command::new(&argv[0]);
    command.args(&argv[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if feed { Stdio::piped() } else { Stdio::null() });
    if let Some(home) = std::env::home_dir().filter(|home| home.is_dir()) {
        command.current_dir(home);
    }
    command.spawn().map(Local).map_err(|error| {
        Failure::new(Exit::Config, "host.no-command", format!("cannot run {:?} on this machine", argv[0]))
            .cause(error)
            .hint("install it, or fix PATH")
    })
}

async fn start_ssh(line: &Line, host: &str, argv: &[String], feed: bool) -> Result<Process> {
    let began = Instant::now();
    let (mut child, session) = loop {
        match start_somewhere(line, host, argv, feed).await {
            Ok(started) => break started,
            // Sessions of others come to their ends; nothing has begun yet.
            Err(Refusal::Busy(_)) if began.elapsed() < REFUSED_LIMIT => sleep(REFUSED_PAUSE).await,
            Err(Refusal::Busy(error)) => return Err(no_session(host, error)),
            Err(Refusal::Other(failure)) => return Err(failure),
        }
    };
    Ok(Process {
        stdin: child.stdin().take().map(|stdin| Box::new(stdin) as Writer),
        stdout: Box::new(child.stdout().take().ok_or_else(no_streams)?),
        stderr: Box::new(child.stderr().take().ok_or_else(no_streams)?),
        child: Child::Ssh(Box::new(child), session),
    })
}

/// Why a command was not started.
enum Refusal {
    /// No connection has room for a session.
    Busy(openssh::Error),
    /// Anything else.
    Other(Failure),
}

/// Over the first connection that has room for a session; the last one is opened for it.
async fn start_somewhere(
    line: &Line,
    host: &str,
    argv: &[String],
    feed: bool,
) -> std::result::Result<(openssh::Child<Arc<Session>>, Arc<Session>), Refusal> {
    let mut number = 0;
    let mut busy = None;
    // A session that has just ended counts for a moment more.
    for pause in [Duration::ZERO, REFUSED_PAUSE / 2] {
        sleep(pause).await;
        match spawn(line.first(), argv, feed).await {
            Ok(child) => return Ok((child, Arc::clone(line.first()))),
            Err(error) if is_refused(&error) => busy = Some(error),
            Err(error) => return Err(Refusal::Other(lost(host, error))),
        }
    }
    loop {
        number += 1;
        let Some(session) = line.numbered(number).await else {
            return Err(
                busy.map_or_else(|| Refusal::Other(Failure::bug("no connection refused a session")), Refusal::Busy)
            );
        };
        match spawn(&session, argv, feed).await {
            Ok(child) => return Ok((child, session)),
            Err(error) if is_refused(&error) => busy = Some(error),
            Err(error) => return Err(Refusal::Other(lost(host, error))),
        }
    }
}

/// Whether a connection that nobody else uses refuses one of so many sessions at a time.
pub async fn refuses(session: &Arc<Session>, count: usize) -> bool {
    let mut open = Vec::new();
    for _ in 0..count {
        // It ends with its stdin.
        match spawn(session, &["cat".to_owned()], true).await {
            Ok(child) => open.push(child),
            Err(error) => return is_refused(&error),
        }
    }
    for mut child in open {
        drop(child.stdin().take());
        let _ended = tokio::time::timeout(ALIVE_LIMIT, child.wait()).await;
    }
    false
}

async fn spawn(
    session: &Arc<Session>,
    argv: &[String],
    feed: bool,
) -> std::result::Result<openssh::Child<Arc<Session>>, openssh::Error> {
    let mut command = Arc::clone(session).arc_command("sh");
    command.args(["-c", SURROUNDINGS, "sh"]).args(argv).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if feed { Stdio::piped() } else { Stdio::null() });
    command.spawn().await
}

/// The server has as many sessions on this connection as it allows.
fn is_refused(error: &openssh::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.into_iter().any(|cause| cause.to_string().contains("open refused by peer"))
}

fn no_session(host: &str, error: openssh::Error) -> Failure {
    Failure::new(Exit::Unreachable, "host.busy", format!("host {host:?} takes no more sessions over this connection"))
        .source(error)
        .hint("nothing was begun; other programs use the connection as well: wait for them, or raise MaxSessions of sshd there")
        .retryable()
}

/// The server lets us in, and what answers is not a shell: `said` is all that came.
pub fn no_shell(host: &str, said: &str) -> Failure {
    let failure = Failure::new(
        Exit::Config,
        "host.no-shell",
        format!("host {host:?} accepts the login, and does not run commands as they are given"),
    );
    let said = said.trim().lines().take(5).collect::<Vec<_>>().join("\n");
    if said.contains("sh: command not found") || said.contains("sh: not found") {
        return failure.cause(said).hint(
            "the PATH of a shell that is no login shell leads to no `sh`: ~/.bashrc of the deploy user, or ~/.ssh/environment, \
             sets it; put /usr/bin:/bin into it",
        );
    }
    let failure = if said.is_empty() { failure } else { failure.cause(said) };
    failure.hint(
        "the deploy user needs a login shell that is not csh (`getent passwd USER` there, `usermod -s /bin/sh USER` sets one), \
         no `exit` in its ~/.bashrc, \
         and no ForceCommand of sshd, or `command=` of authorized_keys, that is not `exec sh -c \"$SSH_ORIGINAL_COMMAND\"`",
    )
}

/// The connection broke; what the command did on the host is unknown.
fn lost(host: &str, error: openssh::Error) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "host.lost",
        format!("the connection to host {host:?} was lost while a command ran there"),
    )
    .source(error)
    .hint("the command may still be running there; look at the host before you try again")
    .retryable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_command_that_nobody_waits_for_removes_what_it_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = directory.path().join("made");
        let script = "trap 'rm -f -- \"$1\"; exit' TERM; : >\"$1\"; while :; do sleep 0.02; done";
        let argv = ["sh", "-c", script, "sh", made.to_str().expect("text")].map(str::to_owned);
        let process = Process::start(&Transport::Local, "here", &argv, false).await.expect("started");
        let until = async |there: bool| {
            while made.exists() != there {
                sleep(Duration::from_millis(10)).await;
            }
        };
        until(true).await;
        drop(process);
        tokio::time::timeout(Duration::from_secs(20), until(false)).await.expect("removed");
    }
}
