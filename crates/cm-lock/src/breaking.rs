//! `cm-lock break`: takes the lock away from a holder by its name, so that nobody breaks
//! a lock other than the one they saw. On a host the record goes, and the holder's next
//! change there is stopped by its own check. On this machine the lock is the process, so
//! the process is asked to end.

use crate::args::BreakArgs;
use crate::place::Place;
use crate::status::look;
use cm_core::{CommonArgs, Exit, Failure, Io, Log, Result};
use cm_host::Host;
use cm_lease::remote::{Sight, There};
use cm_lease::{Holder, Life, Process, local, remote};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// The name that confirms the removal of a record that cannot be read.
const UNREADABLE: &str = "unreadable";

/// How long a holder on this machine may take to end its command and give back the hosts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Breaks the lock wherever the named holder holds it.
///
/// # Errors
/// [`Exit::Usage`] if somebody else holds it; [`Exit::LockHeld`] if a process of this
/// machine does not end; [`Exit::Unreachable`], [`Exit::Config`].
pub async fn break_lock(common: &CommonArgs, args: &BreakArgs, io: &Io) -> Result<Exit> {
    let place = Place::new(common, &args.place)?;
    let mut breaking =
        Breaking { name: &args.confirm, dry_run: common.dry_run, log: &io.log, broken: 0, others: Vec::new() };
    // Hosts that were named are meant alone.
    if args.place.host.is_empty() {
        breaking.here(&place).await?;
    }
    let mut failures = Vec::new();
    for (_, seen) in look(&place, &io.log).await? {
        match seen {
            Ok((host, sight)) => breaking.on_host(&host, &place.dir(), sight).await?,
            Err(failure) => failures.push(failure),
        }
    }
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    breaking.outcome()
}

struct Breaking<'a> {
    name: &'a str,
    dry_run: bool,
    log: &'a Log,
    broken: usize,
    others: Vec<String>,
}

impl Breaking<'_> {
    async fn here(&mut self, place: &Place) -> Result<()> {
        let local::Sight::Held(record) = local::look(&place.file)? else { return Ok(()) };
        let holder = Holder { place: cm_lease::Place::Here(place.file.clone()), record, step: None, renewed: None };
        if holder.name() != self.name {
            self.others.push(holder.describe());
            return Ok(());
        }
        self.say(&holder.describe());
        match &holder.record {
            _ if self.dry_run => Ok(()),
            Some(record) => end(&record.process).await,
            None => Err(Failure::new(
                Exit::LockHeld,
                "lock.held",
                format!("the deploy lock is held by {}", holder.describe()),
            )
            .hint(format!("see which process it is: fuser -v {}", cm_lease::quote(&place.file.to_string_lossy())))),
        }
    }

    async fn on_host(&mut self, host: &Host, dir: &str, sight: Sight) -> Result<()> {
        let there = match sight {
            Sight::Free => return Ok(()),
            Sight::Odd => return Err(remote::odd(host, dir)),
            Sight::There(there) => there,
        };
        let found = there.record.as_ref().map_or(UNREADABLE, |record| record.owner.as_str());
        let what = match &there.record {
            Ok(record) => format!("{} on host {:?}", record.describe(there.step.as_deref()), host.name()),
            Err(failure) => failure.to_string(),
        };
        if found != self.name {
            self.others.push(what);
            return Ok(());
        }
        self.say(&what);
        if self.dry_run || remove(host, dir, &there).await? {
            return Ok(());
        }
        // Two names may lead to one host, and the first of them has done it.
        if matches!(remote::look(host, dir).await?, Sight::Free) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::LockHeld,
            "lock.changed",
            format!("the deploy lock on {:?} has changed hands just now", host.name()),
        )
        .hint("look again: cm-lock status"))
    }

    fn say(&mut self, what: &str) {
        self.broken += 1;
        let verb = if self.dry_run { "would break" } else { "breaking" };
        self.log.warn(format!("{verb} the deploy lock of {what}"));
    }

    fn outcome(self) -> Result<Exit> {
        if self.broken == 0 && !self.others.is_empty() {
            let message = format!("{:?} does not hold the deploy lock", self.name);
            return Err(Failure::new(Exit::Usage, "lock.confirm", message)
                .cause(format!("it is held by {}", self.others.join("; ")))
                .hint("--confirm takes the name of the holder, as shown here"));
        }
        for other in &self.others {
            self.log.warn(format!("left alone: {other}"));
        }
        match self.broken {
            0 => self.log.info("nobody holds the deploy lock"),
            _ if self.dry_run => {}
            _ => self.log.success("the deploy lock is broken"),
        }
        Ok(Exit::Done)
    }
}

/// Removes exactly the record that was looked at.
async fn remove(host: &Host, dir: &str, there: &There) -> Result<bool> {
    match &there.record {
        Ok(record) => remote::release(host, dir, &record.nonce).await,
        Err(_) => remote::discard(host, dir, there).await,
    }
}

/// Asks a process of this machine to end and waits until it has.
pub(crate) async fn end(process: &Process) -> Result<()> {
    let refuse = |why: String| {
        let message = format!("process {} on {} still holds the deploy lock", process.pid, process.machine);
        Failure::new(Exit::LockHeld, "lock.held", message).cause(why).retryable()
    };
    if process.life() == Life::Unknown {
        return Err(refuse("it cannot be reached from here: it may be in a container, or another user's".to_owned()));
    }
    let id = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    if let (Some(id), Life::Alive) = (id, process.life())
        && let Err(error) = kill_process(id, Signal::TERM)
        && process.life() == Life::Alive
    {
        return Err(refuse(format!("cannot send it SIGTERM: {error}")));
    }
    let gone = async {
        while process.life() == Life::Alive {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.map_err(|_| {
        refuse(format!("it did not end within {} s of SIGTERM", PATIENCE.as_secs())).hint(format!(
            "its command may be finishing its work; look at it: ps -f --ppid {} {}",
            process.pid, process.pid
        ))
    })
}
