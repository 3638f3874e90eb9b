//! The files of one commit, read from Git without a checkout.

use crate::failure::broken;
use cm_core::Result;
use cm_project::tree::{self, Kind, Tree};
use git2::{FileMode, ObjectType, Oid, TreeEntry};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// The files of one commit.
pub struct CommitTree<'a> {
    git: &'a git2::Repository,
    tree: git2::Tree<'a>,
    /// Directories that were opened, by path. The library's own cache is off: what differs is read once.
    opened: RefCell<HashMap<Vec<u8>, Option<Rc<git2::Tree<'a>>>>>,
}

impl<'a> CommitTree<'a> {
    /// The files of `tree`, a tree of `git`.
    pub fn new(git: &'a git2::Repository, tree: git2::Tree<'a>) -> Self {
        CommitTree { git, tree, opened: RefCell::default() }
    }

    /// What stands at `path`, which is not empty.
    fn entry(&self, path: &[u8]) -> Option<TreeEntry<'static>> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => self.directory(&path[..slash])?.get_name_bytes(&path[slash + 1..])?.to_owned().into(),
            None => Some(self.tree.get_name_bytes(path)?.to_owned()),
        }
    }

    /// The directory at `path`, which is not empty.
    fn directory(&self, path: &[u8]) -> Option<Rc<git2::Tree<'a>>> {
        if let Some(known) = self.opened.borrow().get(path) {
            return known.clone();
        }
        let entry = self.entry(path).filter(|entry| entry.kind() == Some(ObjectType::Tree));
        let tree = entry.and_then(|entry| self.git.find_tree(entry.id()).ok()).map(Rc::new);
        self.opened.borrow_mut().insert(path.to_owned(), tree.clone());
        tree
    }

    /// Every file below the root, with what `wanted` says yes to.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the objects are not all here.
    pub fn files(&self, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        let walked = self.tree.walk(git2::TreeWalkMode::PreOrder, |directory, entry| {
            let path = [directory.as_bytes(), entry.name_bytes()].concat();
            if entry.kind() == Some(ObjectType::Blob) && wanted(&path) {
                files.push(path);
            }
            git2::TreeWalkResult::Ok
        });
        walked.map_err(broken)?;
        Ok(files)
    }

    /// Whether `wanted` says yes to a file below one of `directories`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the objects are not all here.
    pub fn any_below(&self, directories: &BTreeSet<String>, wanted: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
        let mut found = false;
        for directory in directories {
            let is_above = |other: &String| other != directory && tree::is_within(directory.as_bytes(), other);
            if directories.iter().any(is_above) {
                continue;
            }
            let below = match directory.as_str() {
                "" => Some(self.tree.clone()),
                path => match self.entry(path.as_bytes()) {
                    Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
                        Some(self.git.find_tree(entry.id()).map_err(broken)?)
                    }
                    Some(_) => {
                        found |= wanted(path.as_bytes());
                        None
                    }
                    None => None,
                },
            };
            let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
            if let Some(tree) = below {
                found |= any_file(&tree, prefix.as_bytes(), wanted)?;
            }
            if found {
                break;
            }
        }
        Ok(found)
    }

    /// The names of the files in a directory.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let opened = (!directory.is_empty()).then(|| self.directory(directory.as_bytes()));
        let tree = match &opened {
            None => &self.tree,
            Some(Some(tree)) => tree.as_ref(),
            Some(None) => return Vec::new(),
        };
        let files = tree.iter().filter(|entry| entry.kind() == Some(ObjectType::Blob));
        files.filter_map(|entry| entry.name().ok().map(str::to_owned)).collect()
    }

    /// What stands at `path`: the id of a file or link, of a directory only that it is one.
    pub fn stands(&self, path: &str) -> Option<(i32, Option<Oid>)> {
        if path.is_empty() {
            return None;
        }
        let entry = self.entry(path.as_bytes())?;
        let directory = entry.kind() == Some(ObjectType::Tree);
        Some((entry.filemode(), (!directory).then(|| entry.id())))
    }

    /// The content of a file by its bytes; `None` if it is none.
    pub fn blob(&self, path: &[u8]) -> Option<Vec<u8>> {
        let entry = self.entry(path)?;
        let regular = entry.filemode() != i32::from(FileMode::Link) && entry.kind() == Some(ObjectType::Blob);
        regular.then(|| self.git.find_blob(entry.id()).ok().map(|blob| blob.content().to_vec())).flatten()
    }
}

/// Whether `wanted` says yes to a file of `tree`, whose own path is `prefix`.
fn any_file(tree: &git2::Tree, prefix: &[u8], wanted: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
    let mut found = false;
    let walked = tree.walk(git2::TreeWalkMode::PreOrder, |directory, entry| {
        let path = [prefix, directory.as_bytes(), entry.name_bytes()].concat();
        found = entry.kind() != Some(ObjectType::Tree) && wanted(&path);
        if found { git2::TreeWalkResult::Abort } else { git2::TreeWalkResult::Ok }
    });
    // Stopping early counts as an error to the library.
    if found { Ok(true) } else { walked.map(|()| false).map_err(broken) }
}

impl Tree for CommitTree<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        if path.is_empty() {
            return Some(Kind::Dir);
        }
        let entry = self.entry(path.as_bytes())?;
        match entry.kind() {
            Some(ObjectType::Blob) if entry.filemode() == i32::from(FileMode::Link) => Some(Kind::Link),
            Some(ObjectType::Blob) => Some(Kind::File),
            _ => Some(Kind::Dir),
        }
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(path.as_bytes()) else { return Ok(None) };
        if entry.kind() != Some(ObjectType::Blob) {
            return Ok(None);
        }
        let blob = self.git.find_blob(entry.id()).map_err(|error| std::io::Error::other(error.message().to_owned()))?;
        Ok(Some(blob.content().to_vec()))
    }
}
