//! The lock of this machine: a kernel lock (`flock`) on one file. The kernel lock is
//! the truth; it ends with its holder, however that dies, and it is never inherited.
//!
//! Who holds it is said in a record alongside the file (`holder_file`). The lock file itself is
//! never read, written or removed.
//!
//! A record whose holder is gone means nothing. A record whose holder lives counts even
//! if the kernel lock is free: then somebody removed the lock file under it.

use crate::holder::{Attempt, Holder, Place};
use crate::lock_file::{open, open_existing, unusable};
use crate::process::{Life, Process};
use crate::{Record, holder_file, record};
use cm_core::Result;
use fs2::FileExt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried again that is held by nobody who left a record: the
/// holder may be about to write it, or `status` may be looking.
const LOOKS: u32 = 40;

/// The pause between two such looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The lock of this machine, held until it is dropped.
#[derive(Debug)]
pub struct Local {
    file: File,
    path: PathBuf,
    nonce: String,
}

impl Local {
    /// Takes the lock for `record`'s process, at once or not at all.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if there is something at `path` that cannot be a lock file, or
    /// the record cannot be written.
    pub async fn take(path: &Path, record: &Record) -> Result<Attempt<Local>> {
        for _ in 0..LOOKS {
            if let Some(file) = try_lock(path)? {
                return take_locked(file, path, record);
            }
            if let Some(holder) = living_holder(path, None) {
                return Ok(Attempt::Held(Box::new(holder)));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Attempt::Held(Box::new(Holder {
            place: Place::Here(path.to_owned()),
            record: None,
            step: None,
            renewed: None,
        })))
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The record goes first. Unlocked by name, not by closing: a child that another
        // thread is just starting has a copy of the descriptor until its exec.
        holder_file::remove(&self.path, &self.nonce);
        let _unlocked = FileExt::unlock(&self.file);
    }
}

/// What `status` tells about the lock of this machine.
#[derive(Debug)]
pub enum Sight {
    /// Nobody holds it. The record is what a holder left that was killed.
    Free(Option<Record>),
    /// It is held; the record is `None` if there is none that can be read.
    Held(Option<Record>),
}

/// Looks at the lock and takes nothing.
///
/// # Errors
/// As [`Local::take`].
pub fn look(path: &Path) -> Result<Sight> {
    let record = |life: Life| holder_file::all(path).into_iter().find(|record| record.process.life() == life);
    if let Some(holder) = record(Life::Alive) {
        return Ok(Sight::Held(Some(holder)));
    }
    let Some(file) = open_existing(path)? else { return Ok(Sight::Free(None)) };
    let free = FileExt::try_lock_shared(&file).is_ok();
    let _unlocked = FileExt::unlock(&file);
    Ok(match free {
        true => Sight::Free(record(Life::Gone)),
        false => Sight::Held(record(Life::Alive).or_else(|| record(Life::Unknown))),
    })
}

/// Who holds the lock with this `nonce`, if it still does.
pub fn holder_of(path: &Path, nonce: &str) -> Option<Record> {
    holder_file::all(path).into_iter().find(|record| record.nonce == nonce && record.process.life() != Life::Gone)
}

/// Tells people which step of which run the holder with this `nonce` is at. It is news, so what goes
/// wrong with it is passed over.
pub fn tell_step(path: &Path, nonce: &str, step: &str, run: Option<&str>) {
    if let Some(mut record) = holder_file::own(path)
        && record.nonce == nonce
    {
        record.step = Some(step.to_owned());
        record.run = record.run.or(run.map(str::to_owned));
        let _not_told = holder_file::write(path, &record);
    }
}

/// What [`tell_step`] told last about the holder with this `nonce`, as hosts are told it; empty if nothing was.
pub fn news(path: &Path, nonce: &str) -> String {
    let told = holder_file::own(path).filter(|record| record.nonce == nonce);
    told.and_then(|record| Some(record::news(&record.step?, record.run.as_deref()))).unwrap_or_default()
}

/// An open file with the kernel lock on it, or `None` if somebody has that.
fn try_lock(path: &Path) -> Result<Option<File>> {
    loop {
        let file = open(path)?;
        match FileExt::try_lock_exclusive(&file) {
            // Locked, but is it still the file of that name?
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unusable(path, "it cannot be locked").cause(error)),
        }
    }
}

fn take_locked(file: File, path: &Path, record: &Record) -> Result<Attempt<Local>> {
    if let Some(holder) = living_holder(path, Some(&record.process)) {
        return Ok(Attempt::Held(Box::new(holder)));
    }
    holder_file::write(path, record)?;
    Ok(Attempt::Taken(Local { file, path: path.to_owned(), nonce: record.nonce.clone() }))
}

/// The holder whose record shows that it is running; `except` is no holder.
fn living_holder(path: &Path, except: Option<&Process>) -> Option<Holder> {
    let lives = |record: &Record| record.process.life() == Life::Alive && Some(&record.process) != except;
    let record = holder_file::all(path).into_iter().find(lives)?;
    Some(Holder { place: Place::Here(path.to_owned()), record: Some(record), step: None, renewed: None })
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Exit, Failure};
    use rustix::fs::{FileType, Mode};
    use std::os::unix::fs::symlink;

    fn record() -> Record {
        Record::new("ada@laptop", Duration::from_secs(60)).expect("/proc")
    }

    async fn failure(path: &Path) -> Failure {
        match Local::take(path, &record()).await {
            Err(failure) => failure,
            Ok(_) => panic!("{} was taken for a lock file", path.display()),
        }
    }

    fn taken(attempt: Attempt<Local>) -> Local {
        match attempt {
            Attempt::Taken(local) => local,
            Attempt::Held(holder) => panic!("held: {}", holder.describe()),
        }
    }

    #[tokio::test]
    async fn it_is_taken_once_and_leaves_nothing_but_its_file() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.lock");
        let held = taken(Local::take(&path, &record()).await.expect("free"));
        match look(&path).expect("look") {
            Sight::Held(Some(record)) => assert_eq!(record.owner, "ada@laptop"),
            other => panic!("{other:?}"),
        }
        // The same process once more: the record is its own, so only the kernel lock refuses.
        assert!(matches!(Local::take(&path, &record()).await, Ok(Attempt::Held(_))));
        drop(held);
        assert!(matches!(look(&path), Ok(Sight::Free(None))));
        let left: Vec<_> = fs::read_dir(dir.path()).expect("list").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["x.lock"]);
    }

    #[tokio::test]
    async fn what_cannot_be_a_lock_file_is_refused_and_untouched() {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = dir.path().join("target");
        fs::write(&target, "precious").expect("write");
        let link = dir.path().join("link");
        symlink(&target, &link).expect("symlink");
        let dangling = dir.path().join("dangling");
        symlink(dir.path().join("nowhere"), &dangling).expect("symlink");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
        for (path, word) in [
            (&link, "symbolic link"),
            (&dangling, "symbolic link"),
            (&fifo, "FIFO"),
            (&dir.path().to_owned(), "directory"),
        ] {
            let failure = failure(path).await;
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "lock.unusable"));
            assert!(failure.message.contains(word), "{failure}");
        }
        assert!(!dir.path().join("nowhere").exists());
        assert_eq!(fs::read_to_string(target).expect("read"), "precious");
    }

    #[tokio::test]
    async fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        assert_eq!(failure(&dir.path().join("no/x.lock")).await.code, "lock.unusable");
    }

    #[tokio::test]
    async fn a_dead_holders_record_does_not_hold() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.lock");
        let mut dead = record();
        dead.process.start += 1;
        holder_file::write(&path, &dead).expect("write");
        assert!(matches!(look(&path), Ok(Sight::Free(None))), "no lock file yet");
        drop(taken(Local::take(&path, &record()).await.expect("free")));
    }

    #[tokio::test]
    async fn removing_the_lock_file_does_not_free_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.lock");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let mut holder = record();
        holder.process = Process::of(child.id()).expect("/proc").expect("runs");
        holder_file::write(&path, &holder).expect("write");
        match Local::take(&path, &record()).await.expect("looked") {
            Attempt::Held(holder) => assert_eq!(holder.name(), "ada@laptop"),
            Attempt::Taken(_) => panic!("taken from a living holder"),
        }
        child.kill().and_then(|()| child.wait()).expect("end");
        drop(taken(Local::take(&path, &record()).await.expect("free")));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_not_believed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.lock");
        fs::write(holder_file::own_path(&path), "{cut").expect("write");
        let held = taken(Local::take(&path, &record()).await.expect("the kernel lock is free"));
        let other = File::open(&path).expect("open");
        assert!(FileExt::try_lock_exclusive(&other).is_err());
        drop(held);
        // Held by a stranger that leaves no record: held all the same.
        FileExt::try_lock_exclusive(&other).expect("free now");
        fs::write(holder_file::own_path(&path), "").expect("write");
        match Local::take(&path, &record()).await.expect("looked") {
            Attempt::Held(holder) => assert_eq!(holder.name(), "unknown"),
            Attempt::Taken(_) => panic!("taken from a living holder"),
        }
    }
}
