//! Every path that differs between two commits. The trees are read as Git stores them,
//! side by side; directories that are the same on both sides are not opened, so that this costs
//! what the difference costs, not what the repository holds. On one thread: more of them wait
//! for each other, as the library locks its window onto the pack at every object.

use git2::{Error, ObjectType, Odb, Oid, Repository};
use std::cmp::Ordering;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// A path that differs between two commits.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Change {
    /// Relative to the repository's root; names need not be UTF-8.
    pub path: Vec<u8>,
    /// Whether it is a submodule, so that all below it may have changed.
    pub module: bool,
    /// Whether the base does not have it.
    pub added: bool,
    /// Whether it is gone.
    pub deleted: bool,
}

/// A comparison of two commits that is under way alongside everything else.
pub struct Started {
    /// The base.
    pub base: Oid,
    thread: JoinHandle<Result<Vec<Change>, Error>>,
}

impl Started {
    /// Starts comparing `base` with `head`, in the repository at `path`. It is opened once more: a handle of the
    /// library belongs to one thread.
    pub fn new(path: PathBuf, base: Oid, head: Oid) -> Self {
        let thread = std::thread::spawn(move || of_commits(&Repository::open(path)?, base, head));
        Started { base, thread }
    }

    /// What it finds.
    ///
    /// # Errors
    /// As [`of_commits`].
    pub fn changes(self) -> Result<Vec<Change>, Error> {
        self.thread.join().unwrap_or_else(|_| Err(Error::from_str("the comparison ended early")))
    }
}

/// Every path that differs between two commits, in order; a renamed file is two.
///
/// # Errors
/// As [`between`].
pub fn of_commits(git: &Repository, base: Oid, head: Oid) -> Result<Vec<Change>, Error> {
    let tree = |commit: Oid| git.find_commit(commit).map(|commit| commit.tree_id());
    between(&git.odb()?, tree(base)?, tree(head)?)
}

/// The mode of a directory in a tree of Git.
const DIRECTORY: u32 = 0o040_000;
/// The mode of a submodule.
const MODULE: u32 = 0o160_000;

/// Every path that differs between two trees, in order.
///
/// # Errors
/// If the objects are not all here, or one of them is no tree.
fn between(odb: &Odb, base: Oid, head: Oid) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    compare_all(odb, &Directory { path: Vec::new(), base: Some(base), head: Some(head) }, &mut changes)?;
    changes.sort_unstable();
    Ok(changes)
}

/// A directory that differs: its trees on both sides.
struct Directory {
    path: Vec<u8>,
    base: Option<Oid>,
    head: Option<Oid>,
}

/// Adds what differs in a directory and everywhere below it.
fn compare_all(odb: &Odb, directory: &Directory, changes: &mut Vec<Change>) -> Result<(), Error> {
    let mut below = Vec::new();
    compare(odb, directory, changes, &mut below)?;
    below.iter().try_for_each(|directory| compare_all(odb, directory, changes))
}

/// Adds what differs in a directory itself to `changes`, and the directories in it that differ to `below`.
/// Names are compared by their bytes, whatever the file system of this machine thinks of case.
fn compare(
    odb: &Odb,
    directory: &Directory,
    changes: &mut Vec<Change>,
    below: &mut Vec<Directory>,
) -> Result<(), Error> {
    let read = |id: Option<Oid>| id.map(|id| odb.read(id)).transpose();
    let (base, head) = (read(directory.base)?, read(directory.head)?);
    let mut before = Entries::of(base.as_ref())?;
    let mut after = Entries::of(head.as_ref())?;
    while let Some((was, is)) = next_pair(&mut before, &mut after)? {
        let name = was.as_ref().or(is.as_ref()).map_or(&[][..], |entry| entry.name);
        let slash: &[u8] = if directory.path.is_empty() { b"" } else { b"/" };
        let path = [&directory.path, slash, name].concat();
        let trees = [&was, &is].map(|entry| entry.as_ref().filter(|entry| entry.is_directory()));
        let files = [&was, &is].map(|entry| entry.as_ref().filter(|entry| !entry.is_directory()));
        if let [base, head] = trees
            && (base.is_some() || head.is_some())
        {
            let id = |entry: Option<&Entry>| entry.map(|entry| Oid::from_bytes(entry.id)).transpose();
            below.push(Directory { path: path.clone(), base: id(base)?, head: id(head)? });
        }
        if files.iter().any(Option::is_some) {
            let module = files.iter().flatten().any(|entry| entry.mode == MODULE);
            changes.push(Change { path, module, added: files[0].is_none(), deleted: files[1].is_none() });
        }
    }
    Ok(())
}

/// The next entries of one name that are not the same on both sides.
fn next_pair<'a>(before: &mut Entries<'a>, after: &mut Entries<'a>) -> Result<Option<Pair<'a>>, Error> {
    loop {
        let start = before.rest;
        let Some(was) = before.peek()? else { return Ok(after.take()?.map(|is| (None, Some(is)))) };
        // Most entries are the same, byte for byte.
        let whole = &start[..was.length];
        if after.rest.starts_with(whole) {
            (before.rest, after.rest) = (&start[was.length..], &after.rest[was.length..]);
            continue;
        }
        let order = after.peek()?.map_or(Ordering::Less, |is| was.order(&is));
        let was = if order == Ordering::Greater { None } else { before.take()? };
        let is = if order == Ordering::Less { None } else { after.take()? };
        match (&was, &is) {
            (Some(was), Some(is)) if was.id == is.id && was.mode == is.mode => {}
            _ => return Ok(Some((was, is))),
        }
    }
}

/// What stands under one name before and after.
type Pair<'a> = (Option<Entry<'a>>, Option<Entry<'a>>);

/// One entry of a tree.
struct Entry<'a> {
    mode: u32,
    name: &'a [u8],
    id: &'a [u8],
    length: usize,
}

impl Entry<'_> {
    fn is_directory(&self) -> bool {
        self.mode == DIRECTORY
    }

    /// The order of Git: by the names' bytes, directories as if they ended in a slash.
    fn order(&self, other: &Self) -> Ordering {
        let shorter = self.name.len().min(other.name.len());
        let after = |entry: &Self| match entry.name.get(shorter) {
            Some(byte) => *byte,
            None if entry.is_directory() => b'/',
            None => 0,
        };
        self.name[..shorter].cmp(&other.name[..shorter]).then_with(|| after(self).cmp(&after(other)))
    }
}

/// The entries of a tree as it is stored: `MODE SP NAME NUL ID`, one after the other.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    fn of(object: Option<&'a git2::OdbObject>) -> Result<Self, Error> {
        match object {
            Some(object) if object.kind() != ObjectType::Tree => Err(Error::from_str("this is not a tree")),
            object => Ok(Entries { rest: object.map_or(&[], |object| object.data()) }),
        }
    }

    fn peek(&self) -> Result<Option<Entry<'a>>, Error> {
        match self.rest {
            [] => Ok(None),
            rest => entry(rest).map(Some).ok_or_else(|| Error::from_str("a tree is broken")),
        }
    }

    fn take(&mut self) -> Result<Option<Entry<'a>>, Error> {
        let entry = self.peek()?;
        self.rest = &self.rest[entry.as_ref().map_or(0, |entry| entry.length)..];
        Ok(entry)
    }
}

/// The length of an object's id in a tree, in bytes.
const ID_LENGTH: usize = 20;

/// The entry at the start of `bytes`.
fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let mode = bytes[..space].iter().try_fold(0, |mode: u32, digit| match digit {
        b'0'..=b'7' => mode.checked_mul(8)?.checked_add(u32::from(digit - b'0')),
        _ => None,
    })?;
    let end = space + 1 + bytes[space + 1..].iter().position(|byte| *byte == 0)?;
    let length = end + 1 + ID_LENGTH;
    let id = bytes.get(end + 1..length)?;
    Some(Entry { mode: plain(mode), name: &bytes[space + 1..end], id, length })
}

/// The mode as Git reads it: old versions wrote others for regular files.
fn plain(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o100_000 if mode & 0o100 != 0 => 0o100_755,
        0o100_000 => 0o100_644,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(entries: &[(&str, &str, u8)]) -> Vec<u8> {
        let one = |(mode, name, id): &(&str, &str, u8)| [format!("{mode} {name}\0").as_bytes(), &[*id; 20]].concat();
        entries.iter().flat_map(one).collect()
    }

    /// The names that differ, `-` and `+` for what is gone and new.
    fn differ(before: &[(&str, &str, u8)], after: &[(&str, &str, u8)]) -> Vec<String> {
        let (before, after) = (stored(before), stored(after));
        let (mut before, mut after) = (Entries { rest: &before }, Entries { rest: &after });
        let mut found = Vec::new();
        while let Some((was, is)) = next_pair(&mut before, &mut after).expect("whole") {
            let sign = ["", "-", "+"][if is.is_none() { 1 } else { 2 * usize::from(was.is_none()) }];
            let name = was.or(is).map(|entry| String::from_utf8_lossy(entry.name).into_owned());
            found.push(format!("{sign}{}", name.unwrap_or_default()));
        }
        found
    }

    #[test]
    fn entries_are_paired_by_name() {
        let before = [("100644", "a", 1), ("100644", "b", 2), ("40000", "d", 3), ("100644", "z", 9)];
        assert!(differ(&before, &before).is_empty());
        let after = [("100644", "a", 1), ("100755", "b", 2), ("100644", "c", 4), ("40000", "d", 5)];
        assert_eq!(differ(&before, &after), ["b", "+c", "d", "-z"]);
    }

    #[test]
    fn a_directory_sorts_as_if_it_ended_in_a_slash() {
        // `a.b` comes before the directory `a`, and after the file `a`.
        let directory = [("100644", "a.b", 1), ("40000", "a", 2), ("100644", "a0", 3)];
        let file = [("100644", "a", 2), ("100644", "a.b", 1), ("100644", "a0", 3)];
        assert_eq!(differ(&directory, &file), ["+a", "-a"]);
    }

    #[test]
    fn modes_of_old_versions_are_no_change() {
        assert!(differ(&[("100664", "a", 1)], &[("100644", "a", 1)]).is_empty());
        assert_eq!(differ(&[("100644", "a", 1)], &[("120000", "a", 1)]), ["a"]);
    }

    #[test]
    fn a_broken_tree_is_no_end() {
        for bytes in [&b"100644 a"[..], b"100644 a\x00123", b"x a\0aaaaaaaaaaaaaaaaaaaa", b"no space"] {
            assert!(Entries { rest: bytes }.take().is_err(), "{bytes:?}");
        }
    }
}
