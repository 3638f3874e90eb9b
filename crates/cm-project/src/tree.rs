//! The files of a repository, read through one small trait, so that the same code
//! reads a directory on disk and a commit that is not checked out.
//!
//! All paths are relative to the repository's root, with `/` between the parts,
//! without `.` and `..`; the root itself is the empty path.

use std::io;
use std::path::PathBuf;

/// What stands at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; its content is its target.
    Link,
}

/// Files to read from.
pub trait Tree {
    /// What stands at `path` itself, without following a link.
    fn kind(&self, path: &str) -> Option<Kind>;

    /// The content of the file at `path`, or the target of the link there; `None`
    /// if there is neither.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// How many links one path may lead through.
const MAX_LINKS: usize = 40;

/// Follows every link in `path`; `None` when nothing is there or a link leads out
/// of the repository. The second value names the links that were followed.
pub fn follow(tree: &dyn Tree, path: &str) -> Option<(String, Vec<String>)> {
    let mut links = Vec::new();
    let mut path = path.to_owned();
    while let Some((link, rest)) = first_link(tree, &path) {
        if links.len() == MAX_LINKS {
            return None;
        }
        let target = tree.content(&link).ok().flatten()?;
        let target = String::from_utf8(target).ok()?;
        path = match Place::at(parent(&link), &target) {
            Place::Inside(target) => join(&target, &rest),
            Place::Outside(_) => return None,
        };
        links.push(link);
    }
    (path.is_empty() || tree.kind(&path).is_some()).then_some((path, links))
}

/// The first link on the way to `path`, and what comes after it.
fn first_link(tree: &dyn Tree, path: &str) -> Option<(String, String)> {
    let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
    ends.filter(|end| *end > 0)
        .map(|end| (path[..end].to_owned(), path[end..].trim_start_matches('/').to_owned()))
        .find(|(head, _)| tree.kind(head) == Some(Kind::Link))
}

/// The content of the file at `path`, links followed.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(tree: &dyn Tree, path: &str) -> io::Result<Option<Vec<u8>>> {
    match follow(tree, path) {
        Some((path, _)) if tree.kind(&path) == Some(Kind::File) => tree.content(&path),
        _ => Ok(None),
    }
}

/// Whether `path` is a directory, links followed.
pub fn is_dir(tree: &dyn Tree, path: &str) -> bool {
    follow(tree, path).is_some_and(|(path, _)| path.is_empty() || tree.kind(&path) == Some(Kind::Dir))
}

/// The directory of `path`.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `path` below `base`; both are clean.
pub fn join(base: &str, path: &str) -> String {
    match (base.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => base.to_owned(),
        _ => format!("{base}/{path}"),
    }
}

/// Whether `path` is `dir` or below it.
pub fn is_within(path: &[u8], dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Where a path in a configuration file leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Into the repository: the clean path.
    Inside(String),
    /// Somewhere else: as it was written.
    Outside(String),
}

impl Place {
    /// Where `path`, written in the directory `base`, leads.
    pub fn at(base: &str, path: &str) -> Self {
        let outside = || Place::Outside(path.to_owned());
        if path.starts_with('/') || path == "~" || path.starts_with("~/") {
            return outside();
        }
        let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => match parts.pop() {
                    Some(_) => {}
                    None => return outside(),
                },
                part => parts.push(part),
            }
        }
        Place::Inside(parts.join("/"))
    }

    /// The path, where it is in the repository.
    pub fn inside(&self) -> Option<&str> {
        match self {
            Place::Inside(path) => Some(path),
            Place::Outside(_) => None,
        }
    }
}

/// A directory on disk.
#[derive(Clone, Debug)]
pub struct Dir(pub PathBuf);

impl Tree for Dir {
    fn kind(&self, path: &str) -> Option<Kind> {
        let kind = std::fs::symlink_metadata(self.0.join(path)).ok()?.file_type();
        Some(match () {
            () if kind.is_symlink() => Kind::Link,
            () if kind.is_dir() => Kind::Dir,
            () => Kind::File,
        })
    }

    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let full = self.0.join(path);
        match self.kind(path) {
            Some(Kind::File) => std::fs::read(full).map(Some),
            Some(Kind::Link) => Ok(Some(std::fs::read_link(full)?.into_os_string().into_encoded_bytes())),
            _ => Ok(None),
        }
    }
}

/// Files in memory, for tests here and in the crates above: a path and its content;
/// a content that starts with `-> ` makes a link.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<(String, String)>);

impl Memory {
    /// A tree of these files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Memory(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn find(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str())
    }
}

impl Tree for Memory {
    fn kind(&self, path: &str) -> Option<Kind> {
        match self.find(path) {
            Some(text) if text.starts_with("-> ") => Some(Kind::Link),
            Some(_) => Some(Kind::File),
            None => self.0.iter().any(|(known, _)| is_within(known.as_bytes(), path)).then_some(Kind::Dir),
        }
    }

    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.find(path).map(|text| text.strip_prefix("-> ").unwrap_or(text).as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_clean_or_outside() {
        let inside = |base, path| Place::at(base, path).inside().map(str::to_owned);
        assert_eq!(inside("apps/web", "./src//x"), Some("apps/web/src/x".to_owned()));
        assert_eq!(inside("apps", ".."), Some(String::new()));
        assert_eq!(inside("apps", "../../etc"), None);
        assert_eq!(inside("", "/etc/passwd"), None);
        assert_eq!(inside("", "~/.ssh"), None);
    }

    #[test]
    fn links_are_followed_and_named() {
        let tree = Memory::of(&[
            ("a/real/f", "x"),
            ("a/link", "-> real"),
            ("up", "-> a/link/f"),
            ("out", "-> ../x"),
            ("loop", "-> loop"),
        ]);
        assert_eq!(follow(&tree, "up"), Some(("a/real/f".to_owned(), vec!["up".to_owned(), "a/link".to_owned()])));
        assert_eq!(read(&tree, "a/link/f").expect("readable"), Some(b"x".to_vec()));
        assert!(is_dir(&tree, "a/link") && is_dir(&tree, ""));
        assert_eq!(follow(&tree, "out"), None);
        assert_eq!(follow(&tree, "loop"), None);
        assert_eq!(follow(&tree, "missing"), None);
    }
}
