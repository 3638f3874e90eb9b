//! A backup that is made on the server itself, where `cm-backup` of the same version is
//! installed there: the data does not cross the network. The same code makes it, from the
//! same plan; what comes back is the manifest, or the failure.

use crate::backup::{Backup, Outcome};
use crate::dumps::DumpOrder;
use crate::mongodump::Method;
use crate::name;
use crate::run_on::RunOn;
use crate::source::{Deployed, Source};
use crate::store::Store;
use crate::to::To;
use cm_archive::manifest::{Deploy, Manifest};
use cm_core::{Exit, Failure, Io, Log, Result};
use cm_host::{Fenced, Host, Target};
use cm_mongo::dump::Options;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A backup ends with its connection; this only bounds what nothing else does.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be done, for the program on the server. It holds no secret: URIs and passwords are
/// read there.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Order {
    /// A backup of a MongoDB database.
    Mongo(Box<MongoOrder>),
    /// A backup of a database whose own programs dump it.
    Dump(Box<DumpOrder>),
}

/// A backup of a MongoDB database.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MongoOrder {
    /// What the host is called, for messages.
    pub host: String,
    /// The project's name as Compose knows it.
    pub compose_project: String,
    /// The database's service.
    pub service: String,
    /// The volumes that its definition names.
    pub volumes: Vec<String>,
    /// The env file on the host.
    pub env_file: String,
    /// The variable in it that holds the URI.
    pub uri_env: String,
    /// The database, if not the URI's.
    pub database: Option<String>,
    /// The directory for backups.
    pub directory: String,
    /// What is read, and how.
    pub options: Options,
    /// Who reads.
    pub method: Method,
    /// When the backup was begun, for its name.
    pub at: Timestamp,
    /// A database without documents is taken as it is.
    pub allow_empty: bool,
    /// It is restored to compare.
    pub restore_check: bool,
    /// Warnings are errors.
    pub strict: bool,
    /// The deploy it is for.
    pub deploy: Deploy,
}

/// What the program on the server answers, in its last line.
#[derive(Debug, Deserialize, Serialize)]
enum Answer {
    #[serde(rename = "proved")]
    Verified { manifest: Box<Manifest>, warnings: Vec<String> },
    #[serde(rename = "nothing")]
    Nothing(String),
    #[serde(rename = "failed")]
    Failed { exit: u64, code: String, message: String, causes: Vec<String>, hint: Option<String>, retryable: bool },
}

/// A server may say anything; that a failure is none is not for it to say.
fn exit_of(code: u64) -> Exit {
    Some(Exit::from_code(code)).filter(|exit| *exit != Exit::Done).unwrap_or(Exit::Backup)
}

/// The server that has the data and keeps the backup, connected, if cm-backup is to work there;
/// `None` where it is this machine, or there are two, or cm-backup is not there.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::Backup`] where it has to be there, and is not.
pub async fn at_work_on(to: &To, at_the_data: &Target, wanted: RunOn, log: &Log) -> Result<Option<Host>> {
    let To::Host { target, .. } = to else { return Ok(None) };
    if wanted == RunOn::ThisMachine || target.is_local() || target != at_the_data {
        return Ok(None);
    }
    // The data may be on another node, which that server has no login for.
    if target.machines().next().is_some() && wanted != RunOn::Server {
        return Ok(None);
    }
    let host = Host::connect(target, log).await?;
    if is_installed(&host).await {
        log.info(format!("cm-backup is on {} too: it works there, and no data leaves that server", host.name()));
        return Ok(Some(host));
    }
    if wanted == RunOn::Server {
        let message = format!("there is no cm-backup {} on {}", env!("CARGO_PKG_VERSION"), host.name());
        return Err(Failure::new(Exit::Backup, "backup.there", message)
            .hint("install it where `ssh HOST cm-backup` finds it, or leave out --run-on server"));
    }
    Ok(None)
}

/// Whether `host` has this version of the program.
async fn is_installed(host: &Host) -> bool {
    let Ok(asked) = host.command(["cm-backup", "--version"]).output().await else { return false };
    let version = asked.text().split_whitespace().nth(1).map(str::to_owned);
    asked.success() && version.as_deref() == Some(env!("CARGO_PKG_VERSION"))
}

impl Order {
    /// Has `host` carry it out; through `fenced`, where it stops something there.
    ///
    /// # Errors
    /// What failed there; [`Exit::Backup`] if the program there gives no answer; [`Exit::LockLost`].
    pub async fn send(&self, host: &Host, fenced: Option<&Fenced>, log: &Log) -> Result<Outcome> {
        let order = serde_json::to_string(self).map_err(|error| Failure::bug("an order is not JSON").source(error))?;
        let words = ["cm-backup", "--log", "json", "carry-out", &order];
        let mut answer = None;
        let read = |line: &str| match serde_json::from_str(line) {
            Ok(read) => answer = Some(read),
            Err(_) => relay(line, log),
        };
        let (exit, code) = (Exit::Backup, "backup.there");
        let ended = match fenced {
            Some(host) => host.command(words).limit(LIMIT).ends_with_us().stream(exit, code, read).await,
            None => host.command(words).limit(LIMIT).ends_with_us().stream(exit, code, read).await,
        };
        match (answer, ended) {
            (Some(Answer::Verified { manifest, warnings }), Ok(())) => Ok(Outcome::Verified { manifest, warnings }),
            (Some(Answer::Nothing(why)), Ok(())) => Ok(Outcome::NothingYet(why)),
            (Some(Answer::Failed { exit, code, message, causes, hint, retryable }), _) => {
                Err(Failure { exit: exit_of(exit), code, message, causes, hint, retryable })
            }
            (_, Err(failure)) => Err(failure),
            (None, Ok(())) => {
                let message = format!("cm-backup on {} ended without an answer", host.name());
                Err(Failure::new(Exit::Backup, "backup.there", message).hint("--run-on here goes without it"))
            }
        }
    }

    /// Carries it out: this process is the one on the server.
    async fn carry_out(&self, log: &Log) -> Result<Outcome> {
        let name = match self {
            Order::Mongo(order) => &order.host,
            Order::Dump(order) => &order.host,
        };
        let target = Target::at(name, "local");
        let host = Host::connect(&target, log).await?;
        match self {
            Order::Mongo(order) => order.carry_out(&host, log).await,
            Order::Dump(order) => {
                let store = Store::new(host.clone(), &order.directory);
                // Whoever sent it holds the deploy lock where one is wanted.
                order.carry_out((&host, None), &store, None, log).await
            }
        }
    }
}

impl MongoOrder {
    async fn carry_out(&self, host: &Host, log: &Log) -> Result<Outcome> {
        let deployed = Deployed {
            host,
            project: &self.compose_project,
            service: &self.service,
            volumes: &self.volumes,
            env_file: &host.path(&self.env_file),
        };
        let Some(source) = deployed.open(&self.uri_env).await? else {
            return Ok(Outcome::NothingYet("no database container yet: nothing to back up".to_owned()));
        };
        source.tell(log);
        let made = self.back_up(&source, &Store::new(host.clone(), &self.directory), log).await;
        source.close().await;
        made
    }

    async fn back_up(&self, source: &Source, store: &Store, log: &Log) -> Result<Outcome> {
        let database = cm_mongo::name::database(self.database.as_deref(), source.database.as_deref())?;
        let prefix = name::prefix(self.deploy.project.as_deref(), &database);
        let suffix = self.options.compression.suffix();
        let backup = Backup {
            source,
            database: &database,
            store,
            prefix: &prefix,
            name: &name::file_name(&prefix, self.at, self.deploy.commit.as_deref(), suffix),
            deploy: self.deploy.clone(),
            options: &self.options,
            method: self.method,
            allow_empty: self.allow_empty,
            restore_check: self.restore_check,
            strict: self.strict,
            log,
        };
        backup.make().await
    }
}

/// `cm-backup carry-out ORDER`: what [`Order::send`] starts.
///
/// # Errors
/// [`Exit::Usage`] for what is no order. What fails is in the answer.
pub async fn run(order: &str, io: &Io) -> Result<Exit> {
    let order: Order = serde_json::from_str(order).map_err(|error| {
        Failure::new(Exit::Usage, "usage.order", "this is not an order of another cm-backup").source(error)
    })?;
    let (answer, exit) = match order.carry_out(&io.log).await {
        Ok(Outcome::Verified { manifest, warnings }) => (Answer::Verified { manifest, warnings }, Exit::Done),
        Ok(Outcome::NothingYet(why)) => (Answer::Nothing(why), Exit::Done),
        Err(Failure { exit, code, message, causes, hint, retryable }) => {
            let code_of_exit = u64::from(exit.code());
            (Answer::Failed { exit: code_of_exit, code, message, causes, hint, retryable }, exit)
        }
    };
    let answer = serde_json::to_string(&answer).map_err(|error| Failure::bug("an answer is not JSON").source(error))?;
    io.print(&cm_core::redact(&answer))?;
    Ok(exit)
}

/// Repeats what the program on the server says.
fn relay(line: &str, log: &Log) {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let message = event["message"].as_str().unwrap_or(line);
    match event["level"].as_str() {
        Some("debug") => log.debug(message),
        Some("warn") => log.warn(message),
        // The failure itself is in the answer.
        Some("fail") => log.debug(message),
        _ => log.info(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_on_a_server_is_a_failure_here() {
        assert_eq!([0, 6, 21].map(exit_of), [Exit::Backup, Exit::Config, Exit::Backup]);
    }
}
