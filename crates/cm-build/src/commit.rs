//! The files of a commit of the repository here, through `git` itself: a few small
//! files of one commit are worth no library.

use cm_project::tree::{Kind, Tree};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of one commit.
#[derive(Debug)]
pub struct Commit {
    repository: PathBuf,
    /// What stands at each path, and the object it is.
    entries: HashMap<String, (Kind, String)>,
}

impl Commit {
    /// The commit `name` of `repository`.
    ///
    /// # Errors
    /// With what git said, such as that the commit is not here.
    pub fn open(repository: &Path, name: &str) -> io::Result<Self> {
        let tree = format!("{name}^{{tree}}");
        let listed = git(repository, &["ls-tree", "-r", "-t", "-z", "--full-tree", "--end-of-options", &tree])?;
        let entries = listed.split(|byte| *byte == 0).filter_map(entry).collect();
        Ok(Commit { repository: repository.to_owned(), entries })
    }
}

/// The paths that differ between two commits of `repository`; `None` if one is not there.
pub fn changed(repository: &Path, from: &str, to: &str) -> Option<Vec<String>> {
    let arguments = ["diff", "-z", "--name-only", "--no-renames", "--end-of-options", from, to, "--"];
    let listed = git(repository, &arguments).ok()?;
    let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Some(paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

/// `MODE TYPE OBJECT<TAB>PATH`.
fn entry(line: &[u8]) -> Option<(String, (Kind, String))> {
    let (about, path) = std::str::from_utf8(line).ok()?.split_once('\t')?;
    let mut words = about.split(' ');
    let (mode, kind, object) = (words.next()?, words.next()?, words.next()?);
    let kind = match (mode, kind) {
        ("120000", _) => Kind::Link,
        (_, "blob") => Kind::File,
        _ => Kind::Dir,
    };
    Some((path.to_owned(), (kind, object.to_owned())))
}

fn git(repository: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let mut git = Command::new("git");
    // What is not here is not fetched behind anybody's back.
    git.arg("-C").arg(repository).args(arguments).env("GIT_NO_LAZY_FETCH", "1");
    let output = git.output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

impl Tree for Commit {
    fn kind(&self, path: &str) -> Option<Kind> {
        if path.is_empty() { Some(Kind::Dir) } else { self.entries.get(path).map(|(kind, _)| *kind) }
    }

    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self.entries.get(path) {
            Some((Kind::File | Kind::Link, object)) => git(&self.repository, &["cat-file", "blob", object]).map(Some),
            _ => Ok(None),
        }
    }
}
