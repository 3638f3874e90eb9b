//! The lock as a program that changes something meets it. Inside `cm-lock run`, or
//! behind `cm-lock acquire`, it checks that the run's lock still holds; alone it takes
//! the lock itself; in a dry run it does neither.

use crate::held::{self, Held, Wanted};
use crate::holder::Attempt;
use crate::record::Record;
use crate::remote::{self, Renewal};
use crate::{FILE_VARIABLE, NONCE_VARIABLE, Place, local};
use cm_core::{Document, Exit, Failure, Result, Run};
use cm_host::Host;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lock, for as long as a program changes something.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard {
    mode: Mode,
    file: PathBuf,
    dir: String,
    step: String,
}

#[derive(Debug)]
enum Mode {
    /// Nothing will be changed.
    Dry,
    /// Somebody above holds the lock for this run; its nonce.
    Inside(String),
    /// This program holds it.
    Own(Box<Held>),
}

impl Guard {
    /// Makes sure that this run holds the lock on this machine and on `hosts`.
    ///
    /// # Errors
    /// [`Exit::LockHeld`] with the holder; [`Exit::LockLost`] if this run's lock is not there
    /// any more; [`Exit::Unreachable`]; [`Exit::Config`] for a lock that cannot be understood.
    pub async fn enter(project: &str, lease: Duration, lock_file: &Path, hosts: &[Host], run: &Run) -> Result<Guard> {
        let mut guard = Guard::new(project, lock_file, run);
        if run.dry_run() {
            return Ok(guard);
        }
        if let Some(guard) = Guard::inside(project, lock_file, hosts, run).await? {
            return Ok(guard);
        }
        let mut record = Record::new(run.doc.actor(), lease)?;
        record.project = Some(project.to_owned());
        record.run = Some(run.doc.run_id().to_owned());
        record.commit = run.doc.commit().map(str::to_owned);
        record.step = Some(guard.step.clone());
        let wanted =
            Wanted { file: lock_file.to_owned(), dir: guard.dir.clone(), hosts: hosts.to_vec(), log: run.log.clone() };
        match held::take(&wanted, &record).await? {
            Attempt::Taken(held) => guard.mode = Mode::Own(Box::new(held)),
            Attempt::Held(holder) => return Err(holder.refusal()),
        }
        Ok(guard)
    }

    /// The guard of a run that has a lock already: from `cm-lock run` around it, or from
    /// `cm-lock acquire` before it. `None` if it has none.
    ///
    /// # Errors
    /// [`Exit::LockLost`] if that lock does not hold any more; [`Exit::Unreachable`].
    pub async fn inside(project: &str, lock_file: &Path, hosts: &[Host], run: &Run) -> Result<Option<Guard>> {
        let Some((nonce, file)) = outer(&run.doc, lock_file) else { return Ok(None) };
        let mut guard = Guard::new(project, &file, run);
        if !guard.step.is_empty() {
            local::tell_step(&file, &nonce, &guard.step);
        }
        guard.mode = Mode::Inside(nonce);
        guard.check_here()?;
        for host in hosts {
            guard.check(host).await?;
        }
        Ok(Some(guard))
    }

    fn new(project: &str, file: &Path, run: &Run) -> Guard {
        // cm-lock only asks: whatever step the run is at stays what it is.
        let step = run.doc.tool().trim_start_matches("cm-").to_owned();
        let step = if step == "lock" { String::new() } else { step };
        Guard { mode: Mode::Dry, file: file.to_owned(), dir: cm_ledger::state_dir(project), step }
    }

    /// The nonce and the file of the lock that is held, for a program that this one runs
    /// under it; `None` in a dry run.
    pub fn holding(&self) -> Option<(&str, &Path)> {
        match &self.mode {
            Mode::Dry => None,
            Mode::Inside(nonce) => Some((nonce, &self.file)),
            Mode::Own(held) => Some((held.nonce(), &self.file)),
        }
    }

    /// Whether this program took the lock itself, and gives it back at its end.
    pub fn is_own(&self) -> bool {
        matches!(self.mode, Mode::Own(_))
    }

    /// The nonce of the lock that is held, as a record names it.
    pub fn nonce(&self) -> Option<String> {
        self.holding().map(|(nonce, _)| nonce.to_owned())
    }

    /// Asks `host` whether the lock still holds. Call it before each change there; it is
    /// one round trip and renews the lease.
    ///
    /// # Errors
    /// [`Exit::LockLost`]: make no further change. [`Exit::Unreachable`].
    pub async fn check(&self, host: &Host) -> Result<()> {
        let nonce = match &self.mode {
            Mode::Dry => return Ok(()),
            Mode::Inside(nonce) => nonce,
            Mode::Own(held) => held.nonce(),
        };
        self.check_here()?;
        match remote::renew(host, &self.dir, nonce, &self.step).await? {
            Renewal::Renewed => Ok(()),
            Renewal::Lost(sight) => Err(remote::lost(host, sight)),
        }
    }

    /// The same host, where each command is begun only if the lock still holds: it is asked right
    /// before, on the host, in the same round trip. A command that is not begun fails as
    /// [`Guard::check`] does. For changes; what only reads needs none of it.
    ///
    /// # Errors
    /// [`Exit::LockLost`], by what this machine knows.
    pub fn fenced(&self, host: &Host) -> Result<Host> {
        let Some((nonce, _)) = self.holding() else { return Ok(host.clone()) };
        self.check_here()?;
        Ok(host.behind(remote::fence(host, &self.dir, nonce, &self.step)))
    }

    /// Asks only this machine, for changes that touch no host.
    ///
    /// # Errors
    /// [`Exit::LockLost`].
    pub fn check_here(&self) -> Result<()> {
        let nonce = match &self.mode {
            Mode::Dry => return Ok(()),
            Mode::Inside(nonce) => nonce,
            Mode::Own(held) => held.nonce(),
        };
        match local::holder_of(&self.file, nonce) {
            Some(_) => Ok(()),
            None => Err(Failure::new(
                Exit::LockLost,
                "lock.lost",
                format!("the deploy lock of this run is gone {}", Place::Here(self.file.clone())),
            )
            .hint(format!(
                "its holder has ended. Start again inside cm-lock run; outside of it, `unset {NONCE_VARIABLE}` and the program takes the lock itself"
            ))),
        }
    }

    /// Gives back what this program took itself.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]: the host's record lapses by itself.
    pub async fn release(self) -> Result<()> {
        match self.mode {
            Mode::Own(held) => held.release().await,
            Mode::Inside(_) | Mode::Dry => Ok(()),
        }
    }
}

/// The nonce and the file of the lock that is held for this run: said by the
/// environment (`cm-lock run`), else by the document (`cm-lock acquire`).
pub(crate) fn outer(document: &Document, lock_file: &Path) -> Option<(String, PathBuf)> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    if let Some(nonce) = variable(NONCE_VARIABLE) {
        let file = variable(FILE_VARIABLE).map_or_else(|| lock_file.to_owned(), PathBuf::from);
        return Some((nonce, file));
    }
    let facts = document.facts("lock")?;
    let text = |key: &str| facts.get(key).and_then(serde_json::Value::as_str);
    let file = text("file").map_or_else(|| lock_file.to_owned(), PathBuf::from);
    Some((text("nonce")?.to_owned(), file))
}
