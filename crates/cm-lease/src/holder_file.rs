//! Who holds the lock of this machine, said in a file next to the lock file: `FILE.holder-UID`,
//! written aside and renamed, so that no reader ever sees half of one. It is not inside the lock
//! file, because that may belong to another user: in a sticky directory such as /tmp a second
//! user can lock it, but neither write to it nor replace it.
//!
//! A record is believed only of the user who wrote it: about a process of that user's own.

use crate::lock_file::{directory, hint_for};
use crate::process::Life;
use crate::record::{MAX_BYTES, Record};
use cm_core::{Exit, Failure, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Every record next to the lock file that can be read and believed: information, so any other
/// one is passed over.
pub fn all(lock: &Path) -> Vec<Record> {
    let believed = |(record, user): (Record, u32)| {
        let anothers = record.process.life() == Life::Alive && record.process.user() != Some(user);
        (!anothers).then_some(record)
    };
    paths(lock).iter().filter_map(|path| read(path)).filter_map(believed).collect()
}

/// The one that this user wrote.
pub fn own(lock: &Path) -> Option<Record> {
    read(&own_path(lock)).map(|(record, _)| record)
}

/// Removes the one that this user wrote, if it is the one with this `nonce`.
pub fn remove(lock: &Path, nonce: &str) {
    if own(lock).is_some_and(|record| record.nonce == nonce) {
        let _gone_already = fs::remove_file(own_path(lock));
    }
}

/// Written aside under a name nobody else can have made, then renamed.
///
/// # Errors
/// [`Exit::Config`] with what the system says.
pub fn write(lock: &Path, record: &Record) -> Result<()> {
    let place = own_path(lock);
    let mut aside = place.clone().into_os_string();
    aside.push(format!(".{}", record.nonce));
    let aside = PathBuf::from(aside);
    let bytes = record.to_bytes()?;
    let written = write_new(&aside, &bytes).and_then(|()| fs::rename(&aside, &place));
    written.map_err(|error| {
        let _gone = fs::remove_file(&aside);
        let hint = Errno::from_io_error(&error).map_or("name another file with --file", hint_for);
        Failure::new(Exit::Config, "lock.record", format!("cannot write the lock's record {}", place.display()))
            .cause(error)
            .hint(hint)
    })
}

fn write_new(aside: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(aside)?;
    file.write_all(bytes)?;
    // Whatever the umask, a second user must be told who holds the lock.
    file.set_permissions(Permissions::from_mode(0o644))
}

fn prefix(lock: &Path) -> OsString {
    let mut name = lock.file_name().unwrap_or(OsStr::new("lock")).to_owned();
    name.push(".holder-");
    name
}

fn path_of(lock: &Path, user: u32) -> PathBuf {
    let mut name = prefix(lock);
    name.push(user.to_string());
    directory(lock).join(name)
}

/// Where this user's is.
pub fn own_path(lock: &Path) -> PathBuf {
    path_of(lock, rustix::process::geteuid().as_raw())
}

fn paths(lock: &Path) -> Vec<PathBuf> {
    let prefix = prefix(lock);
    let Ok(entries) = fs::read_dir(directory(lock)) else {
        // A directory that may not be listed: then at least one's own and root's.
        return vec![own_path(lock), path_of(lock, 0)];
    };
    let named = |name: &OsStr| {
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        rest.is_some_and(|uid| !uid.is_empty() && uid.iter().all(u8::is_ascii_digit))
    };
    entries.flatten().filter(|entry| named(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// The record at `path` and the user who wrote it.
fn read(path: &Path) -> Option<(Record, u32)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let meta = file.metadata().ok().filter(Metadata::is_file)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut bytes).ok()?;
    let record = Record::parse(&bytes, &path.display().to_string()).ok()?;
    Some((record, meta.uid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use std::time::Duration;

    /// It is `break` that ends the process in a record: nobody may name one of another user there.
    #[test]
    fn a_record_about_another_users_process_is_not_believed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let lock = dir.path().join("x.lock");
        write(&lock, &Record::new("ada@laptop", Duration::from_secs(60)).expect("/proc")).expect("write");
        assert_eq!(all(&lock).len(), 1);
        let mut record = own(&lock).expect("whole");
        let mut sleep = std::process::Command::new("sleep");
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut sleep, 65534);
        }
        let mut child = sleep.arg("60").spawn().expect("sleep");
        // Root starts one for nobody; anybody else has no need to: the first process is root's.
        let pid = if rustix::process::geteuid().is_root() { child.id() } else { 1 };
        record.process = Process::of(pid).expect("/proc").expect("runs");
        write(&lock, &record).expect("write");
        assert!(own(&lock).is_some() && all(&lock).is_empty());
        child.kill().and_then(|()| child.wait()).expect("end");
    }
}
