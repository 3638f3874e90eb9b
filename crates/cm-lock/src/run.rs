//! `cm-lock run`: the lock for exactly the life of a command, whose exit code becomes
//! this program's own.

use crate::args::RunArgs;
use crate::child;
use crate::place::Place;
use crate::wait;
use cm_core::{CommonArgs, Exit, Failure, Log, OrFail, Result, Signals, actor};
use cm_git::Repository;
use cm_host::Lender;
use cm_lease::{FILE_VARIABLE, Held, NONCE_VARIABLE, Record, local, remote};
use std::path::Path;
use tokio::process::Command;

/// Runs the command under the lock. It does not come back when the command was run:
/// the process exits with whatever number the command chose. Signals are handed on to it. When the
/// lock is lost the command is ended, with all that it started.
///
/// # Errors
/// Those of taking the lock.
pub async fn run(common: &CommonArgs, args: &RunArgs, log: &Log) -> Result<Exit> {
    let place = Place::new(common, &args.place)?;
    if common.dry_run {
        log.info(format!("would hold {} and run {:?}", place.describe(), args.command));
        return Ok(Exit::Done);
    }
    // Before the lock is taken: a signal in between must not end this process.
    let (mut signals, forward) = listen()?;
    let (nonce, held) = match outer(&place, log).await? {
        Some(nonce) => (nonce, None),
        None => {
            let (held, record) =
                wait::take(&place, record(common, &place, args).await?, args.taking.wait, log, &mut signals).await?;
            log.debug(format!("holding {}", place.describe()));
            (record.nonce, Some(held))
        }
    };
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).env(NONCE_VARIABLE, &nonce).env(FILE_VARIABLE, &place.file);
    if let Some(dir) = &common.directory {
        command.current_dir(dir);
    }
    let code = match held {
        None => child::run(command, forward, std::future::pending(), log).await,
        Some(held) => {
            let lender = lend(&held, log);
            command.envs(lender.as_ref().map(Lender::variable));
            let code = child::run(command, forward, held.lost(), log).await;
            drop(lender);
            give_back(held, log).await;
            code
        }
    };
    std::process::exit(code);
}

/// The programs of the command share their shells on the hosts.
fn lend(held: &Held, log: &Log) -> Option<Lender> {
    if held.hosts().is_empty() {
        return None;
    }
    let lender = Lender::start(held.hosts());
    lender.inspect_err(|error| log.debug(format!("each program opens shells of its own: {error}"))).ok()
}

fn listen() -> Result<(Signals, child::Forward)> {
    let message = "cannot listen for signals";
    Ok((
        Signals::listen().or_fail(Exit::Bug, "bug", message)?,
        child::Forward::listen().or_fail(Exit::Bug, "bug", message)?,
    ))
}

async fn record(common: &CommonArgs, place: &Place, args: &RunArgs) -> Result<Record> {
    let mut record = Record::new(&actor(), place.lease)?;
    record.project = place.project.clone();
    record.reason = args.taking.reason.clone();
    record.run = std::env::var("CM_RUN_ID").ok().filter(|id| !id.is_empty());
    if !place.targets().is_empty() {
        record.commit = commit(common);
    }
    Ok(record)
}

/// The commit that is checked out: news for whoever is refused meanwhile, so that no answer is no failure.
fn commit(common: &CommonArgs) -> Option<String> {
    let repository = Repository::discover(common.directory.as_deref().unwrap_or(Path::new("."))).ok()?;
    repository.head().ok().map(|head| head.commit.to_string())
}

/// A command that ended by itself has a code of its own, whatever becomes of the lock.
async fn give_back(held: Held, log: &Log) {
    if held.is_lost() {
        log.warn("the deploy lock was lost while the command ran; see `cm-lock status`");
    }
    if let Err(failure) = held.release().await {
        log.warn(format!("a host could not be told that the deploy lock is free, its lease ends by itself: {failure}"));
    }
}

/// The nonce of a `cm-lock run` around this one that holds the same lock: a script inside
/// a script must not wait for itself.
async fn outer(place: &Place, log: &Log) -> Result<Option<String>> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let Some(nonce) = variable(NONCE_VARIABLE) else { return Ok(None) };
    if variable(FILE_VARIABLE).is_some_and(|file| Path::new(&file) != place.file) {
        return Ok(None);
    }
    if local::holder_of(&place.file, &nonce).is_none() {
        return Err(outer_lost(format!(
            "the lock of the cm-lock run around this one ({}) is gone",
            place.file.display()
        )));
    }
    for host in place.connect(log).await? {
        if let remote::Renewal::Lost(_) = remote::renew(&host, &place.dir(), &nonce, "").await? {
            return Err(outer_lost(format!("the cm-lock run around this one does not hold host {:?}", host.name())));
        }
    }
    log.debug("this run holds the deploy lock already");
    Ok(Some(nonce))
}

fn outer_lost(message: String) -> Failure {
    Failure::new(Exit::LockLost, "lock.lost", message)
        .hint(format!("see `cm-lock status`; if there is no cm-lock run around this one, `unset {NONCE_VARIABLE}`"))
}
