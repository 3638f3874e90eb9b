//! The working tree without the files that are nobody's but this machine's: what is
//! deployed is a commit, so that a developer's own `.env` or `compose.override.yaml`
//! decides nothing. Whether Git knows such a file is asked of whoever can say it, and only where one is there.

use crate::compose::OVERRIDE_NAMES;
use crate::tree::{self, Dir, Kind, Tree};
use std::io;
use std::path::Path;

/// Says which of the given paths of a repository Git knows.
pub type Tracked = fn(&Path, &[String]) -> Vec<String>;

/// Where nobody asks Git: every file counts.
pub fn all_tracked(_: &Path, paths: &[String]) -> Vec<String> {
    paths.to_vec()
}

/// A working tree, of the files that developers like to have for themselves only those that Git knows.
pub struct Committed {
    tree: Dir,
    hidden: Vec<String>,
}

impl Committed {
    /// The files of `repository`, where Compose runs in `directory`.
    pub fn new(repository: &Path, directory: &str, tracked: Tracked) -> Self {
        let tree = Dir(repository.to_owned());
        let own = OVERRIDE_NAMES.iter().chain([&".env"]).map(|name| tree::join(directory, name));
        let there: Vec<String> = own.filter(|path| tree.kind(path).is_some()).collect();
        let known = if there.is_empty() { Vec::new() } else { tracked(repository, &there) };
        let hidden = there.into_iter().filter(|path| !known.contains(path)).collect();
        Committed { tree, hidden }
    }
}

impl Tree for Committed {
    fn kind(&self, path: &str) -> Option<Kind> {
        if self.hidden.iter().any(|hidden| hidden == path) { None } else { self.tree.kind(path) }
    }

    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if self.kind(path).is_none() { Ok(None) } else { self.tree.content(path) }
    }
}
