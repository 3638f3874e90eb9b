//! The Git repository, read and never written: revisions, and ways to the files of a
//! commit and to what differs between two.

use crate::changes::{self, Change, Started};
use crate::commit::CommitTree;
use cm_core::{Exit, Failure, Result};
use git2::{ErrorCode, ObjectType, Oid, RepositoryState};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;

/// A repository on this machine.
pub struct Repository {
    pub(crate) git: git2::Repository,
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

/// The failure that an error of the library is.
pub fn broken(error: git2::Error) -> Failure {
    let failure = failure("detect.git", "cannot read the repository").cause(error.message());
    match error.code() {
        ErrorCode::NotFound => failure.hint("objects are missing: git fetch --refetch gets them, git fsck names them"),
        _ => failure,
    }
}

/// How the history of one commit lies to that of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// It is in the other's history.
    Before,
    /// The other is in its history.
    After,
    /// They have a commit in common.
    Diverged,
    /// They have none.
    Unrelated,
    /// The clone has too little of the history to tell.
    Unknown,
}

impl Repository {
    /// The repository that `path` is in.
    ///
    /// # Errors
    /// [`Exit::Detect`] if there is none.
    pub fn discover(path: &Path) -> Result<Self> {
        // Opened from the working tree: a `.git` that is a file says where the rest is, but not the other way round.
        let flags = git2::RepositoryOpenFlags::CROSS_FS;
        Repository::found(git2::Repository::open_ext(path, flags, std::iter::empty::<&Path>()), path)
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
        // Nearly every object is read once; keeping them all would only take memory.
        git2::opts::enable_caching(false);
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

    /// What came to `head` since `bases`, newest first, at most `most` commits of it; `head`
    /// alone where nothing ran before. For people: what cannot be read is left out.
    pub fn subjects(&self, head: Oid, bases: &[Oid], most: usize) -> Vec<Value> {
        let most = if bases.is_empty() { 1 } else { most };
        let Ok(mut walk) = self.git.revwalk() else { return Vec::new() };
        if walk.push(head).is_err() {
            return Vec::new();
        }
        for base in bases {
            let _not_here = walk.hide(*base);
        }
        let commits = walk.flatten().take(most).filter_map(|id| self.git.find_commit(id).ok());
        let told = commits.map(|commit| {
            let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned();
            let author = String::from_utf8_lossy(commit.author().name_bytes()).into_owned();
            let at = Timestamp::from_second(commit.time().seconds()).map(|at| at.to_string()).ok();
            json!({"id": commit.id().to_string(), "at": at, "author": author, "subject": subject})
        });
        told.collect()
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
            let message = format!("{rev:?} is not a valid revision");
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
                let message = format!("{rev:?} is not a valid revision");
                let failure = Failure::new(Exit::Usage, "usage.revision", message).cause(error.message());
                return Err(failure.hint("name a commit, a branch or a tag"));
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

    /// How the history of `commit` lies to that of `other`.
    pub fn relation(&self, commit: Oid, other: Oid) -> Relation {
        let is_in = |ancestor: Oid, commit: Oid| {
            ancestor == commit || self.git.graph_descendant_of(commit, ancestor) == Ok(true)
        };
        if is_in(commit, other) {
            return Relation::Before;
        }
        if is_in(other, commit) {
            return Relation::After;
        }
        match self.git.merge_base(commit, other) {
            Ok(_) => Relation::Diverged,
            Err(error) if error.code() == ErrorCode::NotFound && !self.is_shallow() => Relation::Unrelated,
            Err(_) => Relation::Unknown,
        }
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// [`Exit::Detect`] if its objects are not all here.
    pub fn tree(&self, commit: Oid) -> Result<CommitTree<'_>> {
        let tree = self.git.find_commit(commit).and_then(|commit| commit.tree()).map_err(broken)?;
        Ok(CommitTree::new(&self.git, tree))
    }

    /// Every path that differs between two commits; a renamed file is two.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the objects are not all here.
    pub fn changes(&self, base: Oid, head: Oid) -> Result<Vec<Change>> {
        changes::of_commits(&self.git, base, head).map_err(broken)
    }

    /// The same, found out while other things are.
    pub fn start_changes(&self, base: Oid, head: Oid) -> Started {
        Started::new(self.git.path().to_owned(), base, head)
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
