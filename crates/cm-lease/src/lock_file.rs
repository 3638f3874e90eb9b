//! The file that the lock of this machine is on, opened so that nothing there can do harm: no
//! symbolic link is followed, no FIFO waited for, and a network file system refused, because a
//! lock there is not one of this machine's kernel.

use cm_core::{Exit, Failure, Result};
#[cfg(target_os = "linux")]
use rustix::fs::FsWord;
use rustix::fs::{FileType, Mode, OFlags, StatFs};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// File systems on which a lock of one machine is not seen by the next one, or is a
/// lock of another kind: NFS, SMB1, SMB2, CIFS, AFS, 9P.
#[cfg(target_os = "linux")]
const NETWORK: [(FsWord, &str); 6] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x5346_414F, "AFS"),
    (0x0102_1997, "9P"),
];

/// The lock file, made if it is not there. First without `O_CREAT`: in a sticky
/// directory the kernel refuses that for a file of another user (`fs.protected_regular`).
pub fn open(path: &Path) -> Result<File> {
    loop {
        if let Some(file) = open_existing(path)? {
            return Ok(file);
        }
        // Nothing is left behind where it would be refused.
        refuse_network(path, rustix::fs::statfs(directory(path)))?;
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

pub fn open_existing(path: &Path) -> Result<Option<File>> {
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
    directory(path).is_dir()
}

fn checked(file: File, path: &Path) -> Result<File> {
    let stat = rustix::fs::fstat(&file).map_err(|error| unusable(path, "it cannot be looked at").cause(error))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(unusable(path, &format!("it is {}, not a file", kind_word(kind)))
            .hint("remove it, or name another file: cm-lock run --file PATH, CM_LOCK_FILE or [lock] file in cm.toml"));
    }
    refuse_network(path, rustix::fs::fstatfs(&file)).map(|()| file)
}

/// Refuses what `statfs` says is a network file system.
fn refuse_network(path: &Path, answer: rustix::io::Result<StatFs>) -> Result<()> {
    let system = answer.map_err(|error| unusable(path, "its file system is unknown").cause(error))?;
    match network_name(&system) {
        Some(name) => Err(unusable(path, &format!("it is on a network file system ({name})"))
            .hint("locks there are not kernel locks of this machine; name a local file, such as one in /tmp")),
        None => Ok(()),
    }
}

/// What kind of network file system it is; `None` for a local one.
#[cfg(target_os = "linux")]
fn network_name(system: &StatFs) -> Option<&'static str> {
    named(system.f_type)
}

#[cfg(target_os = "linux")]
fn named(magic: FsWord) -> Option<&'static str> {
    // The type's width differs between architectures; the numbers are 32 bits wide.
    let magic = magic & 0xFFFF_FFFF;
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The same where the system tells local ones apart, and the others by no number.
#[cfg(not(target_os = "linux"))]
fn network_name(system: &StatFs) -> Option<&'static str> {
    /// `MNT_LOCAL` of macOS and the BSDs.
    const LOCAL: u32 = 0x1000;
    (system.f_flags & LOCAL == 0).then_some("not local")
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

pub fn hint_for(error: Errno) -> &'static str {
    match error {
        Errno::ACCESS | Errno::PERM => {
            "it or its directory belongs to somebody else: ask them for `chmod a+r`, or name another file with --file"
        }
        Errno::ROFS => "the file system is read-only: name another file with --file or CM_LOCK_FILE",
        Errno::DQUOT => "your quota on that disk is used up (`quota -s`): make room, or name another file with --file",
        Errno::NOSPC => "the disk is full: make room, or name another file with --file",
        Errno::NXIO => "it is a socket: remove it, or name another file with --file",
        _ => "name another file with --file or CM_LOCK_FILE",
    }
}

pub fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Config, "lock.unusable", format!("cannot use the lock file {}: {why}", path.display()))
}

pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(named(0x6969), Some("NFS"));
        assert_eq!(named(0xFF53_4D42), Some("CIFS"));
        // As a 32-bit signed number, sign-extended.
        assert_eq!(named(0xFF53_4D42_u32.cast_signed().into()), Some("CIFS"));
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x5846_5342, 0x9123_683E_u32.into()] {
            assert_eq!(named(local), None, "ext4, tmpfs, overlay, XFS, Btrfs: {local:#x}");
        }
    }

    /// As `statfs` answers on an NFS mount: a kernel without NFS has none to try.
    #[test]
    fn what_statfs_calls_nfs_is_refused_by_its_name() {
        let (path, mut answer) = (Path::new("/mnt/x.lock"), rustix::fs::statfs("/proc").expect("statfs"));
        refuse_network(path, Ok(answer)).expect("local");
        answer.f_type = 0x6969;
        let failure = refuse_network(path, Ok(answer)).expect_err("NFS");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "lock.unusable"));
        assert!(failure.message.contains("/mnt/x.lock") && failure.message.contains("(NFS)"), "{failure}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("/tmp")));
        refuse_network(path, Err(Errno::IO)).expect_err("an unknown one is not taken for a local one");
    }
}
