//! What comes of an attempt: the lock, or who holds it, where, and what the reader can do about it.

use crate::Record;
use crate::process::Life;
use crate::record::rough;
use cm_core::{Exit, Failure};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The outcome of an attempt that went as it should.
#[derive(Debug)]
pub enum Attempt<T> {
    /// It is ours.
    Taken(T),
    /// It is somebody else's.
    Held(Box<Holder>),
}

/// Where a lock is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The lock file of this machine.
    Here(PathBuf),
    /// A host, by its name.
    Host(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Here(path) => write!(f, "on this machine ({})", path.display()),
            Place::Host(name) => write!(f, "on host {name:?}"),
        }
    }
}

/// Who holds a lock that was wanted.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Where.
    pub place: Place,
    /// What the lock says; `None` if it is held and says nothing.
    pub record: Option<Record>,
    /// The step last reported.
    pub step: Option<String>,
    /// How long ago the lease was renewed, by the host's clock.
    pub renewed: Option<Duration>,
}

impl Holder {
    /// The name that `cm-lock break --confirm` wants.
    pub fn name(&self) -> &str {
        self.record.as_ref().map_or("unknown", |record| &record.owner)
    }

    /// What must not change for this to be the same holder at the same step.
    pub fn identity(&self) -> (Option<&str>, Option<&str>) {
        (self.record.as_ref().map(|record| record.nonce.as_str()), self.step.as_deref())
    }

    /// Who and where, in one line.
    pub fn describe(&self) -> String {
        let who = match &self.record {
            Some(record) => record.describe(self.step.as_deref()),
            None => "a process that left no record".to_owned(),
        };
        match self.renewed {
            Some(age) => format!("{who} {}, last sign of life {} ago", self.place, rough(age)),
            None => format!("{who} {}", self.place),
        }
    }

    /// How long a host still keeps the lock of a holder that is known to be gone; `None` for any other.
    pub fn stale_for(&self) -> Option<Duration> {
        let record = self.record.as_ref().filter(|record| record.process.life() == Life::Gone)?;
        Some(record.lease().saturating_sub(self.renewed?))
    }

    /// The command that breaks the lock.
    pub fn break_command(&self) -> String {
        let command = format!("cm-lock break --confirm={}", quote(self.name()));
        match &self.place {
            Place::Here(path) => format!("{command} --local --file {}", quote(&path.to_string_lossy())),
            Place::Host(name) => format!("{command} --host {}", quote(name)),
        }
    }

    /// The refusal.
    pub fn refusal(&self) -> Failure {
        let lease = self.record.as_ref().filter(|_| self.renewed.is_some()).map(Record::lease);
        let when_free = lease.map_or_else(String::new, |lease| {
            format!(" If the holder is gone, the lock is free {} after its last sign of life.", rough(lease))
        });
        Failure::new(Exit::LockHeld, "lock.held", format!("the deploy lock is held by {}", self.describe()))
            .hint(format!(
                "wait for it (cm-lock run --wait 10m), or talk to the holder.{when_free} To break it: {}",
                self.break_command()
            ))
            .retryable()
    }
}

/// `word` as a shell needs it to be one word.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
