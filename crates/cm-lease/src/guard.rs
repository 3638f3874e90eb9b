//! The lock as a program that changes something meets it. Inside `cm-lock run`, or
//! behind `cm-lock acquire`, it checks that the run's lock still holds; alone it takes
//! the lock itself; in a dry run it does neither.

use crate::held::{self, Held, Wanted};
use crate::holder::Attempt;
use crate::identity::Identity;
use crate::record::{self, Record};
use crate::remote::{self, Renewal};
use crate::{NONCE_VARIABLE, Place, local};
use cm_core::{Exit, Failure, Result};
use cm_host::{Fenced, Host, Unlocked, state_dir};
use cm_project::Project;
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Does `work` under the deploy lock of `project` on this machine and on `hosts`, and gives the
/// lock back however that ends.
///
/// # Errors
/// Those of [`Guard::enter`]; those of `work`, before that of giving back.
pub async fn with_lock<T>(
    project: &Project,
    hosts: &[Host],
    identity: impl Into<Identity>,
    work: impl AsyncFnOnce(&Guard) -> Result<T>,
) -> Result<T> {
    let lock = project.lock();
    let guard = Guard::enter(&project.name(), lock.lease, &lock.file, hosts, identity).await?;
    let done = work(&guard).await;
    let released = guard.release().await;
    done.and_then(|done| released.map(|()| done))
}

/// The same for work that begins by reading, and changes nothing but by [`Guard::fenced`] commands: the hosts
/// are asked meanwhile whether a lock that this run had already still holds.
///
/// # Errors
/// As [`with_lock`]; that the lock is lost comes first.
pub async fn with_lock_asked_meanwhile<T>(
    project: &Project,
    hosts: &[Host],
    identity: impl Into<Identity>,
    work: impl AsyncFnOnce(&Guard) -> Result<T>,
) -> Result<T> {
    let lock = project.lock();
    let guard = Guard::enter_unasked(&project.name(), lock.lease, &lock.file, hosts, identity).await?;
    let (holds, done) = tokio::join!(guard.check_all(hosts), work(&guard));
    let done = holds.and(done);
    let released = guard.release().await;
    done.and_then(|done| released.map(|()| done))
}

/// The lock, for as long as a program changes something.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard {
    mode: Mode,
    file: PathBuf,
    dir: String,
    step: String,
    run: Option<String>,
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
    pub async fn enter(
        project: &str,
        lease: Duration,
        lock_file: &Path,
        hosts: &[Host],
        identity: impl Into<Identity>,
    ) -> Result<Guard> {
        let guard = Guard::enter_unasked(project, lease, lock_file, hosts, identity).await?;
        guard.check_all(hosts).await?;
        Ok(guard)
    }

    /// As [`Guard::enter`], but a lock that this run has already is looked for on this machine alone. For
    /// who has something to read first and asks the hosts meanwhile, by [`Guard::check_all`]; a change
    /// asks by itself.
    ///
    /// # Errors
    /// As [`Guard::enter`].
    pub async fn enter_unasked(
        project: &str,
        lease: Duration,
        lock_file: &Path,
        hosts: &[Host],
        identity: impl Into<Identity>,
    ) -> Result<Guard> {
        let identity = identity.into();
        let mut guard = Guard::new(project, lock_file, &identity);
        if identity.dry_run {
            return Ok(guard);
        }
        if let Some(guard) = Guard::of_outer(project, lock_file, &identity)? {
            return Ok(guard);
        }
        let mut record = Record::new(&identity.actor, lease)?;
        record.project = Some(project.to_owned());
        record.run = identity.run;
        record.commit = identity.commit;
        record.step = Some(guard.step.clone());
        let wanted =
            Wanted { file: lock_file.to_owned(), dir: guard.dir.clone(), hosts: hosts.to_vec(), log: identity.log };
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
    pub async fn inside(project: &str, lock_file: &Path, hosts: &[Host], identity: &Identity) -> Result<Option<Guard>> {
        let Some(guard) = Guard::of_outer(project, lock_file, identity)? else { return Ok(None) };
        guard.check_all(hosts).await?;
        Ok(Some(guard))
    }

    fn of_outer(project: &str, lock_file: &Path, identity: &Identity) -> Result<Option<Guard>> {
        let Some((nonce, file)) = identity.outer(lock_file) else { return Ok(None) };
        let mut guard = Guard::new(project, &file, identity);
        if !guard.step.is_empty() {
            local::tell_step(&file, &nonce, &guard.step, guard.run.as_deref());
        }
        guard.mode = Mode::Inside(nonce);
        guard.check_local()?;
        Ok(Some(guard))
    }

    /// Asks all hosts at once whether a lock that this run had already still holds; one that this program
    /// took itself was asked for a moment ago.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub async fn check_all(&self, hosts: &[Host]) -> Result<()> {
        if self.is_own() {
            return Ok(());
        }
        let asked = join_all(hosts.iter().map(|host| self.check(host))).await;
        asked.into_iter().collect()
    }

    fn new(project: &str, file: &Path, identity: &Identity) -> Guard {
        let (step, run) = (identity.step.clone(), identity.run.clone());
        Guard { mode: Mode::Dry, file: file.to_owned(), dir: state_dir(project), step, run }
    }

    fn news(&self) -> String {
        record::news(&self.step, self.run.as_deref())
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

    /// Asks `host` whether the lock still holds; it is one round trip and renews the lease. What
    /// changes the host itself goes through [`Guard::fenced`]: between this answer and a change
    /// the laptop may sleep. This is for what no command of the host does.
    ///
    /// # Errors
    /// [`Exit::LockLost`]: make no further change. [`Exit::Unreachable`].
    pub async fn check(&self, host: &Host) -> Result<()> {
        let Some((nonce, _)) = self.holding() else { return Ok(()) };
        self.check_local()?;
        match remote::renew(host, &self.dir, nonce, &self.news()).await? {
            Renewal::Renewed => Ok(()),
            Renewal::Lost(sight) => Err(remote::lost(host, sight)),
        }
    }

    /// The handle that changes `host`: each of its commands is begun only if the lock still
    /// holds, which is asked right before, on the host, in the same request. A command that is not
    /// begun fails as [`Guard::check`] does.
    ///
    /// # Errors
    /// [`Exit::LockLost`], by what this machine knows; a bug in a dry run, which changes nothing.
    pub fn fenced(&self, host: &Host) -> Result<Fenced> {
        let Some((nonce, _)) = self.holding() else {
            return Err(Failure::bug(format!("a dry run was about to change {}", host.name())));
        };
        self.check_local()?;
        Ok(Fenced::new(host, remote::fence(host, &self.dir, nonce, &self.news())))
    }

    /// The handle that changes `machine`, another one that runs containers of `host`. It may know nothing of the lock, as
    /// a worker of a Swarm does, so that `host` is asked, here and now: for what does no harm where the lock is lost
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Guard::fenced`] and [`Guard::check`].
    pub async fn beyond(&self, host: &Host, machine: &Host) -> Result<Fenced> {
        drop(self.fenced(host)?);
        self.check(host).await?;
        Ok(Fenced::unlocked(machine, Unlocked::AskedElsewhere))
    }

    /// Asks only this machine, for changes that touch no host.
    ///
    /// # Errors
    /// [`Exit::LockLost`].
    pub fn check_local(&self) -> Result<()> {
        let Some((nonce, _)) = self.holding() else { return Ok(()) };
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
