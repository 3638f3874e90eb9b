//! The repository, read and never written: revisions, and ways to the files of a
//! commit and to what differs between two.

use crate::changes::{self, Change, Started};
use crate::commit::CommitTree;
use crate::failure::{broken, unopened};
use cm_core::{Exit, Failure, Result};
use git2::{ErrorCode, ObjectType, Oid, RepositoryState};
use std::path::{Path, PathBuf};

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
        Ok(Repository { git: git.map_err(|error| unopened(&error, path))? })
    }

    /// The working tree; `None` where the repository has none.
    pub fn directory(&self) -> Option<PathBuf> {
        self.git.workdir().map(Path::to_owned)
    }

    /// What the user's configuration says of `name`, such as `core.sshCommand`.
    pub fn setting(&self, name: &str) -> Option<String> {
        let value = self.git.config().and_then(|mut config| config.snapshot()?.get_string(name));
        value.ok().filter(|value| !value.is_empty())
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
            "the clone is shallow: git fetch --unshallow gets the rest; in CI, fetch-depth: 0 of actions/checkout \
             (GIT_DEPTH: 0 of GitLab) clones it whole"
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

    /// The commit of the tag `name`.
    pub fn tag(&self, name: &str) -> Option<Oid> {
        self.tip(&format!("refs/tags/{name}"))
    }

    /// The names of the local branches.
    pub fn branches(&self) -> Vec<String> {
        let Ok(branches) = self.git.branches(Some(git2::BranchType::Local)) else { return Vec::new() };
        branches.flatten().filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned)).collect()
    }

    /// How to get to the branch `name`: Git refuses to check out one that another working tree has.
    pub fn switch_hint(&self, name: &str) -> String {
        match self.working_tree_of(name) {
            Some(place) => format!("cd {}: {name} is checked out there, in a working tree of its own", place.display()),
            None if self.branch_tip(name).is_none() && !self.is_on_a_remote(name) => {
                format!("git fetch, then git switch {name}; or fix `branch` in cm.toml")
            }
            None => format!("git switch {name}"),
        }
    }

    /// Another working tree of this repository that has the branch `name` checked out (`git worktree`).
    fn working_tree_of(&self, name: &str) -> Option<PathBuf> {
        let has = |head: PathBuf| {
            std::fs::read_to_string(head).is_ok_and(|head| head.trim_end() == format!("ref: refs/heads/{name}"))
        };
        let common = self.git.commondir();
        let main = || git2::Repository::open(common).ok()?.workdir().map(Path::to_owned);
        if has(common.join("HEAD")) && self.git.is_worktree() {
            return main();
        }
        let linked = std::fs::read_dir(common.join("worktrees")).ok()?.flatten().map(|entry| entry.path());
        let mut others = linked.filter(|of_it| of_it != self.git.path() && has(of_it.join("HEAD")));
        others.find_map(|of_it| {
            let file = std::fs::read_to_string(of_it.join("gitdir")).ok()?;
            Path::new(file.trim_end()).parent().filter(|place| place.is_dir()).map(Path::to_owned)
        })
    }

    fn is_on_a_remote(&self, name: &str) -> bool {
        self.remotes().iter().any(|remote| self.remote_tip(remote, name).is_some())
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

    /// The branch that the remote `origin` calls its own, else the one checked out.
    pub fn default_branch(&self) -> Option<String> {
        let leads_to = |name: &str| {
            let reference = self.git.find_reference(name).ok()?;
            reference.symbolic_target().ok().flatten().map(str::to_owned)
        };
        let of_remote = leads_to("refs/remotes/origin/HEAD");
        let of_remote = of_remote.and_then(|name| name.strip_prefix("refs/remotes/origin/").map(str::to_owned));
        of_remote.or_else(|| leads_to("HEAD")?.strip_prefix("refs/heads/").map(str::to_owned))
    }

    /// Says of a path whether Git knows it.
    ///
    /// # Errors
    /// [`Exit::Detect`] if the index cannot be read.
    pub fn index(&self) -> Result<impl Fn(&str) -> bool + use<>> {
        let index = self.git.index().map_err(broken)?;
        Ok(move |path: &str| index.get_path(Path::new(path), 0).is_some())
    }

    /// Whether a file at `path` would be ignored, so that it belongs to no commit unless somebody insists.
    pub fn ignores(&self, path: &str) -> bool {
        self.git.is_path_ignored(path).unwrap_or(false)
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
