//! The working tree against HEAD: what would not be deployed. What Git converts on its
//! way to the disk, or keeps elsewhere, is no difference.

use crate::failure::broken;
use crate::repository::Repository;
use cm_core::Result;
use git2::StatusOptions;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Repository {
    /// The files of the working tree that differ from HEAD, and with `untracked` those that are not known to Git.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the working tree cannot be read.
    pub fn uncommitted(&self, untracked: bool) -> Result<Vec<Vec<u8>>> {
        if self.git.is_bare() {
            return Ok(Vec::new());
        }
        let mut options = StatusOptions::new();
        options.include_untracked(untracked).recurse_untracked_dirs(untracked);
        options.include_ignored(false).update_index(false);
        let statuses = self.git.statuses(Some(&mut options)).map_err(broken)?;
        let same = |path: &[u8]| self.is_stored_elsewhere(path) || self.has_other_line_ends(path);
        let changed = statuses.iter().filter(|entry| !same(entry.path_bytes()));
        Ok(changed.map(|entry| entry.path_bytes().to_vec()).collect())
    }

    /// Whether the file on disk is that in HEAD with the line endings that attributes or
    /// configuration ask for: the library takes another size for another content.
    fn has_other_line_ends(&self, path: &[u8]) -> bool {
        let name = Path::new(std::ffi::OsStr::from_bytes(path));
        let flags = git2::AttrCheckFlags::FILE_THEN_INDEX;
        let says = |attribute: &str| {
            let value = self.git.get_attr_bytes(name, attribute, flags).ok().flatten();
            !matches!(git2::AttrValue::from_bytes(value), git2::AttrValue::Unspecified | git2::AttrValue::False)
        };
        let config = || self.git.config().and_then(|config| config.get_string("core.autocrlf")).unwrap_or_default();
        if !(says("text") || says("eol") || matches!(config().as_str(), "true" | "input")) {
            return false;
        }
        let head = self.git.head().and_then(|head| head.peel_to_commit()).ok();
        let blob = head.and_then(|head| self.tree(head.id()).ok()?.blob(path));
        let file = self.git.workdir().and_then(|directory| std::fs::read(directory.join(name)).ok());
        matches!((blob, file), (Some(blob), Some(file)) if blob == without_returns(&file))
    }

    /// Whether the file on disk is the one that Git LFS keeps for the pointer in HEAD: the
    /// filter that would tell Git so is a program, which is not run here.
    fn is_stored_elsewhere(&self, path: &[u8]) -> bool {
        let pointer = || {
            let head = self.git.head().ok()?.peel_to_commit().ok()?.id();
            Pointer::parse(&self.tree(head).ok()?.blob(path)?)
        };
        let file = self.git.workdir().map(|directory| directory.join(std::ffi::OsStr::from_bytes(path)));
        matches!((pointer(), file), (Some(pointer), Some(file)) if pointer.is_of(&file))
    }
}

/// A text with plain line endings.
fn without_returns(text: &[u8]) -> Vec<u8> {
    let next = text.iter().skip(1).copied().chain([0]);
    text.iter().zip(next).filter(|(byte, next)| !(**byte == b'\r' && *next == b'\n')).map(|(byte, _)| *byte).collect()
}

/// What Git has in the place of a file that Git LFS keeps.
struct Pointer {
    sha256: String,
    size: u64,
}

impl Pointer {
    /// Reads a pointer; `None` for any other file.
    fn parse(blob: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(blob.get(..blob.len().min(1024))?).ok()?;
        text.strip_prefix("version https://git-lfs.github.com/spec/")?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(Pointer { sha256: field("oid sha256:")?, size: field("size ")?.parse().ok()? })
    }

    /// Whether the file on disk is the one that it points to.
    fn is_of(&self, file: &Path) -> bool {
        let same_size = std::fs::metadata(file).is_ok_and(|data| data.is_file() && data.len() == self.size);
        same_size && digest(file).is_ok_and(|digest| digest == self.sha256)
    }
}

/// The SHA-256 of a file's content, in hexadecimal; the file is streamed.
fn digest(file: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(file)?);
    let mut hasher = Sha256::new();
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(part);
        let length = part.len();
        reader.consume(length);
    }
}
