//! The lock of this machine: a kernel lock (`flock`) on one file. The kernel lock is
//! the truth; it ends with its holder, however that dies, and it is never inherited.
//!
//! Who holds it is said in a record beside the file, `FILE.holder-UID`, written aside and
//! renamed, so that no reader ever sees half of one. It is not inside the lock file, because
//! that may belong to another user: in a sticky directory such as /tmp a second user can
//! lock it, but neither write to it nor replace it. The lock file itself is never read,
//! written or removed, and nothing there is followed: no symbolic link, no FIFO.
//!
//! A record whose holder is gone means nothing. A record whose holder lives counts even
//! if the kernel lock is free: then somebody removed the lock file under it.

use crate::Attempt;
use crate::holder::{Holder, Place};
use crate::process::{Life, Process};
use crate::record::{MAX_BYTES, Record};
use cm_core::{Exit, Failure, Result};
use fs2::FileExt;
use rustix::fs::{FileType, FsWord, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried again that is held by nobody who left a record: the
/// holder may be about to write it, or `status` may be looking.
const LOOKS: u32 = 40;

/// The pause between two such looks.
const PAUSE: Duration = Duration::from_millis(10);

/// File systems on which a lock of one machine is not seen by the next one, or is a
/// lock of another kind: NFS, SMB1, SMB2, CIFS, AFS, 9P.
const NETWORK: [(FsWord, &str); 6] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x5346_414F, "AFS"),
    (0x0102_1997, "9P"),
];

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
    /// [`Exit::Config`] if there is something at `path` that cannot be a lock file, or
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
        let path = record_path(&self.path, rustix::process::geteuid().as_raw());
        if read_record(&path).is_ok_and(|record| record.is_some_and(|record| record.nonce == self.nonce)) {
            let _gone = fs::remove_file(path);
        }
        // The record goes first. Unlocked by name, not by closing: a child that another
        // thread is just starting has a copy of the descriptor until its exec.
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
    let record = |life: Life| records(path).into_iter().find(|record| record.process.life() == life);
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
    records(path).into_iter().find(|record| record.nonce == nonce && record.process.life() != Life::Gone)
}

/// Tells people which step the holder with this `nonce` is at. It is news, so what goes
/// wrong with it is passed over.
pub fn tell_step(path: &Path, nonce: &str, step: &str) {
    let own = record_path(path, rustix::process::geteuid().as_raw());
    if let Ok(Some(mut record)) = read_record(&own)
        && record.nonce == nonce
    {
        record.step = Some(step.to_owned());
        let _not_told = write_record(path, &record);
    }
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
    write_record(path, record)?;
    Ok(Attempt::Taken(Local { file, path: path.to_owned(), nonce: record.nonce.clone() }))
}

/// The holder whose record proves that it lives; `except` is no holder.
fn living_holder(path: &Path, except: Option<&Process>) -> Option<Holder> {
    let lives = |record: &Record| record.process.life() == Life::Alive && Some(&record.process) != except;
    let record = records(path).into_iter().find(lives)?;
    Some(Holder { place: Place::Here(path.to_owned()), record: Some(record), step: None, renewed: None })
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// The lock file, made if it is not there. First without `O_CREAT`: in a sticky
/// directory the kernel refuses that for a file of another user (`fs.protected_regular`).
fn open(path: &Path) -> Result<File> {
    loop {
        if let Some(file) = open_existing(path)? {
            return Ok(file);
        }
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
            Ok(file) => return adopt(File::from(file), path),
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(unusable(path, "it cannot be made").cause(io::Error::from(error)).hint(hint_for(error)));
            }
        }
    }
}

/// A new file: others must be able to lock it too, whatever the umask.
fn adopt(file: File, path: &Path) -> Result<File> {
    file.set_permissions(Permissions::from_mode(0o644))
        .map_err(|error| unusable(path, "its mode cannot be set").cause(error))?;
    checked(file, path)
}

fn open_existing(path: &Path) -> Result<Option<File>> {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => checked(File::from(file), path).map(Some),
        Err(Errno::NOENT) if parent_is_there(path) => Ok(None),
        Err(Errno::LOOP) => {
            Err(unusable(path, "it is a symbolic link")
                .hint("look where it leads and remove it; cm follows no link there"))
        }
        Err(error) => Err(unusable(path, "it cannot be opened").cause(io::Error::from(error)).hint(hint_for(error))),
    }
}

fn parent_is_there(path: &Path) -> bool {
    folder(path).is_dir()
}

fn checked(file: File, path: &Path) -> Result<File> {
    let stat = rustix::fs::fstat(&file).map_err(|error| unusable(path, "it cannot be looked at").cause(error))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(unusable(path, &format!("it is {}, not a file", kind_word(kind)))
            .hint("remove it, or name another file: cm-lock run --file PATH, CM_LOCK_FILE or [lock] file in cm.toml"));
    }
    let system =
        rustix::fs::fstatfs(&file).map_err(|error| unusable(path, "its file system is unknown").cause(error))?;
    match network_name(system.f_type) {
        Some(name) => Err(unusable(path, &format!("it is on a network file system ({name})"))
            .hint("locks there are not kernel locks of this machine; name a local file, such as one in /tmp")),
        None => Ok(file),
    }
}

/// What kind of network file system has this number in `statfs`; `None` for a local one.
fn network_name(magic: FsWord) -> Option<&'static str> {
    // The type's width differs between architectures; the numbers are 32 bits wide.
    let magic = magic & 0xFFFF_FFFF;
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

fn kind_word(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}

fn hint_for(error: Errno) -> &'static str {
    match error {
        Errno::ACCESS | Errno::PERM => {
            "it or its folder belongs to somebody else: ask them for `chmod a+r`, or name another file with --file"
        }
        Errno::ROFS => "the file system is read-only: name another file with --file or CM_LOCK_FILE",
        Errno::NOSPC | Errno::DQUOT => "the disk is full: make room, or name another file with --file",
        Errno::NXIO => "it is a socket: remove it, or name another file with --file",
        _ => "name another file with --file or CM_LOCK_FILE",
    }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Config, "lock.unusable", format!("cannot use the lock file {}: {why}", path.display()))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn record_prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or(OsStr::new("lock")).to_owned();
    name.push(".holder-");
    name
}

fn record_path(path: &Path, uid: u32) -> PathBuf {
    let mut name = record_prefix(path);
    name.push(uid.to_string());
    folder(path).join(name)
}

/// Written aside under a name nobody else can have made, then renamed.
fn write_record(path: &Path, record: &Record) -> Result<()> {
    let place = record_path(path, rustix::process::geteuid().as_raw());
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

/// Every record beside the lock file that can be read: information, so one that
/// cannot be read is passed over.
fn records(path: &Path) -> Vec<Record> {
    record_paths(path).iter().filter_map(|path| read_record(path).ok().flatten()).collect()
}

fn record_paths(path: &Path) -> Vec<PathBuf> {
    let prefix = record_prefix(path);
    let Ok(entries) = fs::read_dir(folder(path)) else {
        // A folder that may not be listed: then at least one's own and root's.
        return vec![record_path(path, rustix::process::geteuid().as_raw()), record_path(path, 0)];
    };
    let named = |name: &OsStr| {
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        rest.is_some_and(|uid| !uid.is_empty() && uid.iter().all(u8::is_ascii_digit))
    };
    entries.flatten().filter(|entry| named(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// The record at `path`, if the user it names wrote it.
fn read_record(path: &Path) -> Result<Option<Record>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return Ok(None) };
    let file = File::from(file);
    let uid = path.as_os_str().as_encoded_bytes().rsplit(|byte| *byte == b'-').next().unwrap_or_default();
    let genuine = file.metadata().is_ok_and(|meta| meta.is_file() && meta.uid().to_string().as_bytes() == uid);
    if !genuine {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| unusable(path, "it cannot be read").cause(error))?;
    Record::parse(&bytes, &path.display().to_string()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("CIFS"));
        // As a 32-bit signed number, sign-extended.
        assert_eq!(network_name(0xFF53_4D42_u32.cast_signed().into()), Some("CIFS"));
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x5846_5342, 0x9123_683E_u32.into()] {
            assert_eq!(network_name(local), None, "ext4, tmpfs, overlay, XFS, Btrfs: {local:#x}");
        }
    }

    #[tokio::test]
    async fn a_missing_folder_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        assert_eq!(failure(&dir.path().join("no/x.lock")).await.code, "lock.unusable");
    }

    #[tokio::test]
    async fn a_dead_holders_record_does_not_hold() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.lock");
        let mut dead = record();
        dead.process.start += 1;
        write_record(&path, &dead).expect("write");
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
        write_record(&path, &holder).expect("write");
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
        fs::write(record_path(&path, rustix::process::geteuid().as_raw()), "{cut").expect("write");
        let held = taken(Local::take(&path, &record()).await.expect("the kernel lock is free"));
        let other = File::open(&path).expect("open");
        assert!(FileExt::try_lock_exclusive(&other).is_err());
        drop(held);
        // Held by a stranger that leaves no record: held all the same.
        FileExt::try_lock_exclusive(&other).expect("free now");
        fs::write(record_path(&path, rustix::process::geteuid().as_raw()), "").expect("write");
        match Local::take(&path, &record()).await.expect("looked") {
            Attempt::Held(holder) => assert_eq!(holder.name(), "unknown"),
            Attempt::Taken(_) => panic!("taken from a living holder"),
        }
    }
}
