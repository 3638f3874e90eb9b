//! A job where the data is: a constant script in the database's container, or on its host, with
//! data as its arguments. The password is the first line that the script reads, so that it is in
//! no list of processes; what a job reads comes after it.

use cm_core::{Exit, Result};
use cm_host::{Fenced, Host};
use secrecy::{ExposeSecret, SecretString};
use std::io::Cursor;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A job ends with its connection; this only bounds what nothing else does.
const LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// A script and its arguments.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is called in messages: a comment, then what runs the arguments in a container.
    pub outside: &'static str,
    /// What runs where the data is.
    pub inside: &'static str,
    /// `$1` and so on of it.
    pub arguments: Vec<String>,
}

/// Makes a [`Job`] of what it does, and of the script that does it.
macro_rules! job {
    ($title:literal, $script:expr, $arguments:expr) => {
        $crate::job::Job {
            outside: concat!("# ", $title, ".\nexec docker exec -i \"$@\""),
            inside: concat!("# ", $title, ".\n", $script),
            arguments: $arguments.into_iter().map(Into::into).collect(),
        }
    };
}
pub(crate) use job;

/// The text of a script: what all begin with, what those of a kind do, and its own.
macro_rules! script {
    ($($file:literal),+) => {
        concat!(include_str!("../start.sh"), include_str!("connect.sh"), $(include_str!($file)),+)
    };
}
pub(crate) use script;

/// Where jobs run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The host.
    pub host: Host,
    /// The container on it; `None` for the host itself.
    pub container: Option<String>,
    /// The password of the database's user; empty where the container's own variables say it.
    pub password: SecretString,
}

impl Place {
    fn arguments(&self, job: &Job) -> (&'static str, Vec<String>) {
        match &self.container {
            None => (job.inside, job.arguments.clone()),
            Some(container) => {
                let fixed = [container.as_str(), "sh", "-c", job.inside, "sh"].map(str::to_owned);
                (job.outside, fixed.into_iter().chain(job.arguments.iter().cloned()).collect())
            }
        }
    }

    fn first_line(&self) -> Vec<u8> {
        format!("{}\n", self.password.expose_secret()).into_bytes()
    }

    /// Runs a job that reads nothing, and gives what it says; through `fenced`, where it may start or stop something.
    ///
    /// # Errors
    /// [`Exit::Backup`] as `code` with what it said; [`Exit::Unreachable`]; as the fence says where it is not begun.
    pub async fn ask(&self, fenced: Option<&Fenced>, job: &Job, code: &str) -> Result<String> {
        let (script, arguments) = self.arguments(job);
        let line = self.first_line();
        match fenced {
            Some(host) => host.script(script, arguments).limit(LIMIT).stdin(line).text(Exit::Backup, code).await,
            None => self.host.script(script, arguments).limit(LIMIT).stdin(line).text(Exit::Backup, code).await,
        }
    }

    /// Runs a job that reads nothing, and copies what it writes into `sink`; through `fenced` as with [`Place::ask`].
    ///
    /// # Errors
    /// As [`Place::ask`].
    pub async fn copy_to<W: AsyncWrite + Unpin>(
        &self,
        fenced: Option<&Fenced>,
        job: &Job,
        sink: &mut W,
        code: &str,
    ) -> Result<u64> {
        let (script, arguments) = self.arguments(job);
        let line = self.first_line();
        match fenced {
            Some(host) => {
                host.script(script, arguments).limit(LIMIT).stdin(line).copy_to(sink, Exit::Backup, code).await
            }
            None => {
                self.host.script(script, arguments).limit(LIMIT).stdin(line).copy_to(sink, Exit::Backup, code).await
            }
        }
    }

    /// Runs a job that reads `source`, and gives what it says.
    ///
    /// # Errors
    /// As [`Place::ask`]; also if `source` cannot be read to its end.
    pub async fn feed<R: AsyncRead + Unpin>(&self, job: &Job, source: R, code: &str) -> Result<String> {
        let mut source = Cursor::new(self.first_line()).chain(source);
        let (script, arguments) = self.arguments(job);
        self.host.script(script, arguments).limit(LIMIT).copy_from(&mut source, Exit::Backup, code).await
    }

    /// Runs a job that changes the database, through a handle of the same host that changes it; it
    /// reads `source`.
    ///
    /// # Errors
    /// As [`Place::feed`]; as the fence says where it is not begun.
    pub async fn change<R: AsyncRead + Unpin>(
        &self,
        host: &Fenced,
        job: &Job,
        source: R,
        code: &str,
    ) -> Result<String> {
        let (script, arguments) = self.arguments(job);
        let mut source = Cursor::new(self.first_line()).chain(source);
        host.script(script, arguments).limit(LIMIT).copy_from(&mut source, Exit::Backup, code).await
    }
}
