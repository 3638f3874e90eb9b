//! The Git repository, read and never written: revisions, the files of a commit,
//! what differs between two commits, and the state of the working tree.

use cm_core::{Exit, Failure, Result};
use cm_project::tree::{Kind, Tree};
use git2::{ErrorCode, FileMode, ObjectType, Oid, RepositoryState, StatusOptions, TreeEntry};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A repository on this machine.
pub struct Repository {
    git: git2::Repository,
}

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

/// What HEAD is.
#[derive(Clone, Debug)]
pub struct Head {
    /// The branch that is checked out; `None` if HEAD is detached.
    pub branch: Option<String>,
    /// The commit.
    pub commit: Oid,
}

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure::new(Exit::Detect, code, message)
}

fn broken(error: git2::Error) -> Failure {
    failure("detect.git", "cannot read the repository").cause(error.message())
}

impl Repository {
    /// The repository that `path` is in.
    ///
    /// # Errors
    /// [`Exit::Detect`] if there is none.
    pub fn discover(path: &Path) -> Result<Self> {
        Repository::found(git2::Repository::discover(path), path)
    }

    /// The repository at `path`, which may be bare.
    ///
    /// # Errors
    /// [`Exit::Detect`] if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        Repository::found(git2::Repository::open(path), path)
    }

    fn found(git: Result<git2::Repository, git2::Error>, path: &Path) -> Result<Self> {
        // As git itself, which hashes objects when they arrive, not each time they are read.
        git2::opts::strict_hash_verification(false);
        let git = git.map_err(|error| {
            let failure =
                failure("detect.no-repository", format!("cannot open a Git repository in {}", path.display()));
            match error.code() {
                ErrorCode::NotFound => failure.hint("work in a clone of the repository to deploy, or name it: -C DIR"),
                ErrorCode::Owner => failure
                    .cause(error.message())
                    .hint("it belongs to somebody else; git config --global --add safe.directory DIR trusts it"),
                _ => failure.cause(error.message()),
            }
        })?;
        Ok(Repository { git })
    }

    /// Whether the history was cut when it was cloned.
    pub fn is_shallow(&self) -> bool {
        self.git.is_shallow()
    }

    /// What HEAD is.
    ///
    /// # Errors
    /// [`Exit::Detect`] if there are no commits.
    pub fn head(&self) -> Result<Head> {
        let head = self.git.head().map_err(|error| match error.code() {
            ErrorCode::UnbornBranch | ErrorCode::NotFound => {
                failure("detect.no-commits", "the repository has no commits")
                    .hint("commit something first; what is deployed is a commit")
            }
            _ => broken(error),
        })?;
        let branch = head.is_branch().then(|| head.shorthand().map(str::to_owned).ok()).flatten();
        let commit = head.peel(ObjectType::Commit).map_err(broken)?;
        Ok(Head { branch, commit: commit.id() })
    }

    /// The commit that the revision `rev` names, if this clone has it.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what is no revision; [`Exit::Detect`] if it names several.
    pub fn find(&self, rev: &str) -> Result<Option<Oid>> {
        if rev.is_empty() || rev.starts_with('-') {
            let message = format!("{rev:?} is no revision");
            return Err(Failure::new(Exit::Usage, "usage.revision", message).hint("name a commit, a branch or a tag"));
        }
        let object = match self.git.revparse_single(rev) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                return Err(failure(
                    "detect.ambiguous-revision",
                    format!("the revision {rev:?} means several commits"),
                )
                .hint("give more of its digits"));
            }
            Err(error) if error.code() == ErrorCode::InvalidSpec => {
                let message = format!("{rev:?} is no revision");
                return Err(Failure::new(Exit::Usage, "usage.revision", message).cause(error.message()));
            }
            Err(_) => return Ok(None),
        };
        Ok(object.peel(ObjectType::Commit).ok().map(|commit| commit.id()))
    }

    /// The commit that the revision `rev` names.
    ///
    /// # Errors
    /// As [`Repository::find`]; [`Exit::Detect`] if this clone does not have it.
    pub fn commit(&self, rev: &str) -> Result<Oid> {
        self.find(rev)?.ok_or_else(|| {
            let failure = failure("detect.unknown-revision", format!("this clone has no commit {rev:?}"));
            failure.hint(self.fetch_hint())
        })
    }

    /// How a commit that is not here could be got.
    pub fn fetch_hint(&self) -> &'static str {
        if self.is_shallow() {
            "the clone is shallow; git fetch --unshallow gets the rest"
        } else {
            "git fetch gets what others pushed; a typing mistake?"
        }
    }

    /// The tip of the local branch `name`.
    pub fn branch_tip(&self, name: &str) -> Option<Oid> {
        self.tip(&format!("refs/heads/{name}"))
    }

    /// The tip of the branch `name` of `remote`, as the last fetch left it.
    pub fn remote_tip(&self, remote: &str, name: &str) -> Option<Oid> {
        self.tip(&format!("refs/remotes/{remote}/{name}"))
    }

    fn tip(&self, reference: &str) -> Option<Oid> {
        let reference = self.git.find_reference(reference).ok()?;
        reference.peel(ObjectType::Commit).ok().map(|commit| commit.id())
    }

    /// The names of the local branches.
    pub fn branches(&self) -> Vec<String> {
        let Ok(branches) = self.git.branches(Some(git2::BranchType::Local)) else { return Vec::new() };
        branches.flatten().filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned)).collect()
    }

    /// How many commits `a` has that `b` has not, and the other way round.
    pub fn ahead_behind(&self, a: Oid, b: Oid) -> Option<(usize, usize)> {
        self.git.graph_ahead_behind(a, b).ok()
    }

    /// Whether `ancestor` is in the history of `commit`, or is it.
    pub fn is_ancestor(&self, ancestor: Oid, commit: Oid) -> bool {
        ancestor == commit || self.git.graph_descendant_of(commit, ancestor).unwrap_or(false)
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// [`Exit::Detect`] if its objects are not all here.
    pub fn tree(&self, commit: Oid) -> Result<CommitTree<'_>> {
        let tree = self.git.find_commit(commit).and_then(|commit| commit.tree()).map_err(broken)?;
        Ok(CommitTree { git: &self.git, tree })
    }

    /// Every path that differs between two commits; a renamed file is two.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the objects are not all here.
    pub fn changes(&self, base: Oid, head: Oid) -> Result<Vec<Change>> {
        let (base, head) = (self.tree(base)?.tree, self.tree(head)?.tree);
        let mut changes = Vec::new();
        let mut folders = Vec::new();
        let mut later = Later::Folders(&mut folders);
        self.compare(Some(&base), Some(&head), &mut Vec::new(), &mut changes, &mut later).map_err(broken)?;
        while !folders.is_empty() && folders.len() < MIN_FOLDERS {
            let mut next = Vec::new();
            let mut later = Later::Folders(&mut next);
            for folder in &folders {
                self.compare_folder(folder, &mut changes, &mut later).map_err(broken)?;
            }
            folders = next;
        }
        self.compare_folders(&folders, &mut changes).map_err(broken)?;
        changes.sort();
        Ok(changes)
    }

    /// Compares folders on all processors: reading trees is unpacking, and nothing is shared.
    fn compare_folders(&self, folders: &[Folders], changes: &mut Vec<Change>) -> Result<(), git2::Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = folders.chunks(folders.len().div_ceil(threads).max(1));
        let path = self.git.path();
        std::thread::scope(|scope| {
            let compare = |part: &[Folders]| {
                let own = Repository { git: git2::Repository::open(path)? };
                let mut found = Vec::new();
                for folder in part {
                    own.compare_folder(folder, &mut found, &mut Later::Now)?;
                }
                Result::<_, git2::Error>::Ok(found)
            };
            let running: Vec<_> = parts.map(|part| scope.spawn(move || compare(part))).collect();
            for thread in running {
                let ended = thread.join().map_err(|_| git2::Error::from_str("a comparison ended early"))?;
                changes.extend(ended?);
            }
            Ok(())
        })
    }

    fn compare_folder(
        &self,
        folder: &Folders,
        changes: &mut Vec<Change>,
        later: &mut Later,
    ) -> Result<(), git2::Error> {
        let tree = |id: Option<Oid>| id.map(|id| self.git.find_tree(id)).transpose();
        let (base, head) = (tree(folder.base)?, tree(folder.head)?);
        self.compare(base.as_ref(), head.as_ref(), &mut folder.path.clone(), changes, later)
    }

    /// Adds what differs below the folder `path`. Folders that are the same on both
    /// sides are not opened, so that this costs what the difference costs. Names are
    /// compared by their bytes, whatever the file system of this machine thinks of case.
    fn compare(
        &self,
        base: Option<&git2::Tree>,
        head: Option<&git2::Tree>,
        path: &mut Vec<u8>,
        changes: &mut Vec<Change>,
        later: &mut Later,
    ) -> Result<(), git2::Error> {
        let mut before = base.into_iter().flatten().peekable();
        let mut after = head.into_iter().flatten().peekable();
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(was), Some(is)) => git_order(was, is),
            };
            let was = if order == Ordering::Greater { None } else { before.next() };
            let is = if order == Ordering::Less { None } else { after.next() };
            let same = |was: &TreeEntry, is: &TreeEntry| was.id() == is.id() && was.filemode() == is.filemode();
            if !matches!((&was, &is), (Some(was), Some(is)) if same(was, is)) {
                self.compare_entry(was.as_ref(), is.as_ref(), path, changes, later)?;
            }
        }
    }

    /// Adds what differs between two entries of one name in the folder `path`.
    fn compare_entry(
        &self,
        before: Option<&TreeEntry>,
        after: Option<&TreeEntry>,
        path: &mut Vec<u8>,
        changes: &mut Vec<Change>,
        later: &mut Later,
    ) -> Result<(), git2::Error> {
        let length = path.len();
        path.extend((length > 0).then_some(b'/'));
        path.extend(before.or(after).map_or(&[][..], TreeEntry::name_bytes));
        let folder = Folders { path: path.clone(), base: folder_id(before), head: folder_id(after) };
        match later {
            _ if folder.base.is_none() && folder.head.is_none() => {}
            Later::Folders(folders) => folders.push(folder),
            Later::Now => self.compare_folder(&folder, changes, later)?,
        }
        changes.extend(change(path, before, after));
        path.truncate(length);
        Ok(())
    }

    /// The files of the working tree that differ from HEAD or are not known to Git.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the working tree cannot be read.
    pub fn uncommitted(&self) -> Result<Vec<Vec<u8>>> {
        if self.git.is_bare() {
            return Ok(Vec::new());
        }
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false).update_index(false);
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
        let file = self.git.workdir().and_then(|folder| std::fs::read(folder.join(name)).ok());
        matches!((blob, file), (Some(blob), Some(file)) if blob == without_returns(&file))
    }

    /// Whether the file on disk is the one that Git LFS keeps for the pointer in HEAD: the
    /// filter that would tell Git so is a program, which is not run here.
    fn is_stored_elsewhere(&self, path: &[u8]) -> bool {
        let pointer = || {
            let head = self.git.head().ok()?.peel_to_commit().ok()?.id();
            Pointer::parse(&self.tree(head).ok()?.blob(path)?)
        };
        let file = self.git.workdir().map(|folder| folder.join(std::ffi::OsStr::from_bytes(path)));
        matches!((pointer(), file), (Some(pointer), Some(file)) if pointer.is_of(&file))
    }

    /// What Git is in the middle of, in words.
    pub fn unfinished(&self) -> Option<&'static str> {
        match self.git.state() {
            RepositoryState::Clean => None,
            RepositoryState::Merge => Some("a merge"),
            RepositoryState::Revert | RepositoryState::RevertSequence => Some("a revert"),
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => Some("a cherry-pick"),
            RepositoryState::Bisect => Some("a bisection"),
            RepositoryState::Rebase | RepositoryState::RebaseInteractive | RepositoryState::RebaseMerge => {
                Some("a rebase")
            }
            RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => Some("git am"),
        }
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

/// A folder that differs: its trees on both sides.
struct Folders {
    path: Vec<u8>,
    base: Option<Oid>,
    head: Option<Oid>,
}

/// When the folders inside a folder are compared.
enum Later<'a> {
    /// At once.
    Now,
    /// When somebody takes them from this list.
    Folders(&'a mut Vec<Folders>),
}

/// So many folders that differ are worth more than one thread.
const MIN_FOLDERS: usize = 16;

/// The id of the tree that an entry is.
fn folder_id(entry: Option<&TreeEntry>) -> Option<Oid> {
    entry.filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(TreeEntry::id)
}

/// The order of entries in a tree of Git: by their bytes, folders as if they ended in a slash.
fn git_order(a: &TreeEntry, b: &TreeEntry) -> Ordering {
    let (a_name, b_name) = (a.name_bytes(), b.name_bytes());
    let shorter = a_name.len().min(b_name.len());
    let after = |entry: &TreeEntry, name: &[u8]| match name.get(shorter) {
        Some(byte) => *byte,
        None if entry.kind() == Some(ObjectType::Tree) => b'/',
        None => 0,
    };
    a_name[..shorter].cmp(&b_name[..shorter]).then_with(|| after(a, a_name).cmp(&after(b, b_name)))
}

/// The change of what stands at `path` from one entry to the other, folders apart.
fn change(path: &[u8], before: Option<&TreeEntry>, after: Option<&TreeEntry>) -> Option<Change> {
    let file = |entry: &&TreeEntry| entry.kind() != Some(ObjectType::Tree);
    let (before, after) = (before.filter(file), after.filter(file));
    let module = before.into_iter().chain(after).any(|entry| entry.kind() == Some(ObjectType::Commit));
    let change = Change { path: path.to_vec(), module, added: before.is_none(), deleted: after.is_none() };
    (before.is_some() || after.is_some()).then_some(change)
}

/// The files of one commit.
pub struct CommitTree<'a> {
    git: &'a git2::Repository,
    tree: git2::Tree<'a>,
}

impl CommitTree<'_> {
    /// Every file below the root, with what `wanted` says yes to.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the objects are not all here.
    pub fn files(&self, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        let walked = self.tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
            let path = [folder.as_bytes(), entry.name_bytes()].concat();
            if entry.kind() == Some(ObjectType::Blob) && wanted(&path) {
                files.push(path);
            }
            git2::TreeWalkResult::Ok
        });
        walked.map_err(broken)?;
        Ok(files)
    }

    /// Whether `wanted` says yes to a file below one of `folders`.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the objects are not all here.
    pub fn any_below(&self, folders: &BTreeSet<String>, wanted: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
        let mut found = false;
        for folder in folders {
            let below = match folder.as_str() {
                "" => Some(self.tree.clone()),
                path => match self.tree.get_path(Path::new(path)) {
                    Ok(entry) if entry.kind() == Some(ObjectType::Tree) => {
                        Some(self.git.find_tree(entry.id()).map_err(broken)?)
                    }
                    Ok(_) => {
                        found |= wanted(path.as_bytes());
                        None
                    }
                    Err(_) => None,
                },
            };
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            if let Some(tree) = below {
                found |= any_file(&tree, prefix.as_bytes(), wanted)?;
            }
            if found {
                break;
            }
        }
        Ok(found)
    }

    /// What stands at `path`: the id of a file or link, of a folder only that it is one.
    pub fn stands(&self, path: &str) -> Option<(i32, Option<Oid>)> {
        if path.is_empty() {
            return None;
        }
        let entry = self.tree.get_path(Path::new(path)).ok()?;
        let folder = entry.kind() == Some(ObjectType::Tree);
        Some((entry.filemode(), (!folder).then(|| entry.id())))
    }

    /// The content of a file by its bytes; `None` if it is none.
    pub fn blob(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let entry = self.tree.get_path(path).ok()?;
        let regular = entry.filemode() != i32::from(FileMode::Link) && entry.kind() == Some(ObjectType::Blob);
        regular.then(|| self.git.find_blob(entry.id()).ok().map(|blob| blob.content().to_vec())).flatten()
    }
}

/// Whether `wanted` says yes to a file of `tree`, whose own path is `prefix`.
fn any_file(tree: &git2::Tree, prefix: &[u8], wanted: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
    let mut found = false;
    let walked = tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        let path = [prefix, folder.as_bytes(), entry.name_bytes()].concat();
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
        let entry = self.tree.get_path(Path::new(path)).ok()?;
        match entry.kind() {
            Some(ObjectType::Blob) if entry.filemode() == i32::from(FileMode::Link) => Some(Kind::Link),
            Some(ObjectType::Blob) => Some(Kind::File),
            _ => Some(Kind::Dir),
        }
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        let Ok(entry) = self.tree.get_path(Path::new(path)) else { return Ok(None) };
        if entry.kind() != Some(ObjectType::Blob) {
            return Ok(None);
        }
        let blob = self.git.find_blob(entry.id()).map_err(|error| std::io::Error::other(error.message().to_owned()))?;
        Ok(Some(blob.content().to_vec()))
    }
}

/// Files of a commit, and which paths were asked for.
pub struct Recorded<'a> {
    tree: CommitTree<'a>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Recorded<'a> {
    /// Nothing was asked yet.
    pub fn new(tree: CommitTree<'a>) -> Self {
        Recorded { tree, asked: RefCell::default() }
    }

    /// Every path that was asked for.
    pub fn asked(self) -> BTreeSet<String> {
        self.asked.into_inner()
    }

    fn note(&self, path: &str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(path) {
            asked.insert(path.to_owned());
        }
    }
}

impl Tree for Recorded<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        self.note(path);
        self.tree.kind(path)
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        self.note(path);
        self.tree.content(path)
    }
}

/// A path for people and documents: as it is, or quoted as Git quotes it where it is
/// not UTF-8 or holds control characters.
pub fn display(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '"') => text.to_owned(),
        _ => {
            let escaped = path.iter().map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b'\n' => "\\n".to_owned(),
                b'\t' => "\\t".to_owned(),
                0x20..=0x7e => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
    }
}

/// The first twelve digits of a commit's id, as people write it.
pub fn short(commit: Oid) -> String {
    commit.to_string()[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::display;

    #[test]
    fn odd_paths_are_quoted_as_git_quotes_them() {
        assert_eq!(display("a/é.txt".as_bytes()), "a/é.txt");
        assert_eq!(display(b"caf\xe9"), "\"caf\\351\"");
        assert_eq!(display(b"a\nb\"c"), "\"a\\nb\\\"c\"");
    }
}
