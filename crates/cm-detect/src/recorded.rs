//! Files of a commit, and what of them was looked at: a change of those paths can change what the inputs
//! of a service are.

use cm_git::CommitTree;
use cm_project::tree::{Kind, Tree};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Files of a commit, and which paths were asked for, with what stands there.
pub struct Recorded<'a> {
    tree: CommitTree<'a>,
    asked: RefCell<HashMap<String, Option<Kind>>>,
}

impl<'a> Recorded<'a> {
    /// Nothing was asked yet.
    pub fn new(tree: CommitTree<'a>) -> Self {
        Recorded { tree, asked: RefCell::default() }
    }

    /// Every path that was asked for.
    pub fn asked(self) -> BTreeSet<String> {
        self.asked.into_inner().into_keys().collect()
    }
}

impl Tree for Recorded<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        if let Some(known) = self.asked.borrow().get(path) {
            return *known;
        }
        let kind = self.tree.kind(path);
        self.asked.borrow_mut().insert(path.to_owned(), kind);
        kind
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        match self.kind(path) {
            Some(Kind::File | Kind::Link) => self.tree.content(path),
            _ => Ok(None),
        }
    }
}
