//! One running command, here or on a server, behind the same three streams.

use crate::budget::read_all;
use cm_core::{Exit, Failure, Result};
use openssh::{Session, Stdio};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

/// How commands get to the host.
#[derive(Clone, Debug)]
pub enum Transport {
    /// This machine.
    Local,
    /// A server, through the shared connection.
    Ssh(Arc<Session>),
}

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
    Local(tokio::process::Child),
    Ssh(Box<openssh::Child<Arc<Session>>>, Arc<Session>),
}

/// The connection's master answers at once, or is gone.
const ALIVE_LIMIT: Duration = Duration::from_secs(3);

/// How long a session that is refused is asked for again, and how often.
const REFUSED_LIMIT: Duration = Duration::from_secs(15);
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

impl Process {
    pub async fn start(transport: &Transport, host: &str, argv: &[String], feed: bool) -> Result<Process> {
        match transport {
            Transport::Local => start_local(argv, feed),
            Transport::Ssh(session) => start_ssh(session, host, argv, feed).await,
        }
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
                child.wait().await.map_err(|error| Failure::bug("cannot wait for a command").cause(error))
            }
            Child::Ssh(child, session) => match child.wait().await {
                Ok(status) => Ok(status),
                // The crate turns 127, the shell's "no such command", into an error.
                Err(openssh::Error::Remote(_)) => Ok(ExitStatus::from_raw(127 << 8)),
                // It was killed, or the connection was cut: the crate cannot tell.
                Err(openssh::Error::RemoteProcessTerminated) => after_cut(&Transport::Ssh(session), host).await,
                Err(error) => Err(lost(host, error)),
            },
        }
    }
}

/// How a command ended of which nobody can say it: it was killed, if its host still answers.
pub async fn after_cut(transport: &Transport, host: &str) -> Result<ExitStatus> {
    let Transport::Ssh(session) = transport else { return Ok(ExitStatus::from_raw(9)) };
    match tokio::time::timeout(ALIVE_LIMIT, session.check()).await {
        Ok(Ok(())) => Ok(ExitStatus::from_raw(9)),
        _ => Err(lost(host, openssh::Error::RemoteProcessTerminated)),
    }
}

fn start_local(argv: &[String], feed: bool) -> Result<Process> {
    use std::process::Stdio;
    let mut command = tokio::process::Command::new(&argv[0]);
    command.args(&argv[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if feed { Stdio::piped() } else { Stdio::null() });
    if let Some(home) = std::env::home_dir() {
        command.current_dir(home);
    }
    let mut child = command.spawn().map_err(|error| {
        Failure::new(Exit::Config, "host.no-command", format!("cannot run {:?} on this machine", argv[0]))
            .cause(error)
            .hint("install it, or fix PATH")
    })?;
    let missing = || Failure::bug("a command was started without its streams");
    Ok(Process {
        stdin: child.stdin.take().map(|stdin| Box::new(stdin) as Writer),
        stdout: Box::new(child.stdout.take().ok_or_else(missing)?),
        stderr: Box::new(child.stderr.take().ok_or_else(missing)?),
        child: Child::Local(child),
    })
}

async fn start_ssh(session: &Arc<Session>, host: &str, argv: &[String], feed: bool) -> Result<Process> {
    let mut command = Arc::clone(session).arc_command(argv[0].clone());
    command.args(&argv[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if feed { Stdio::piped() } else { Stdio::null() });
    let began = Instant::now();
    let mut child = loop {
        match command.spawn().await {
            Ok(child) => break child,
            // Sessions of others come to their ends; nothing has begun yet.
            Err(error) if is_refused(&error) && began.elapsed() < REFUSED_LIMIT => sleep(REFUSED_PAUSE).await,
            Err(error) if is_refused(&error) => return Err(no_session(host, error)),
            Err(error) => return Err(lost(host, error)),
        }
    };
    let missing = || Failure::bug("a command was started without its streams");
    Ok(Process {
        stdin: child.stdin().take().map(|stdin| Box::new(stdin) as Writer),
        stdout: Box::new(child.stdout().take().ok_or_else(missing)?),
        stderr: Box::new(child.stderr().take().ok_or_else(missing)?),
        child: Child::Ssh(Box::new(child), Arc::clone(session)),
    })
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

/// The connection broke; what the command did on the host is unknown.
fn lost(host: &str, error: openssh::Error) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "host.lost",
        format!("the connection to host {host:?} was lost while a command ran there"),
    )
    .source(error)
    .hint("the command may have gone on there; look at the host before you try again")
    .retryable()
}
