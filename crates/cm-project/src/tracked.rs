//! The working tree without the files that are nobody's but this machine's: what is
//! deployed is a commit, so that a developer's own `.env` or `compose.override.yaml`
//! decides nothing. Git is asked only where such a file is there.

use crate::compose::OVERRIDE_NAMES;
use crate::tree::{self, Dir, Kind, Tree};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// A working tree, of the files that developers like to have for themselves only those that Git knows.
pub struct Committed {
    tree: Dir,
    hidden: Vec<String>,
}

impl Committed {
    /// The files of `repository`, where Compose runs in `directory`.
    pub fn new(repository: &Path, directory: &str) -> Self {
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

/// Those of `paths` that are in the index; all where there is no repository. It reads one
/// local file, and waits for nobody.
fn tracked(repository: &Path, paths: &[String]) -> Vec<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository).args(["--no-optional-locks", "ls-files", "-z", "--"]).args(paths);
    match git.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let listed = output.stdout.split(|byte| *byte == 0).map(|path| String::from_utf8_lossy(path).into_owned());
            listed.filter(|path| !path.is_empty()).collect()
        }
        _ => paths.to_vec(),
    }
}
