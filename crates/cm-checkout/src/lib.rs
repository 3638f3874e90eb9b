//! A checkout on a host, moved to a commit with its protected files untouched.
//!
//! `git reset --hard` and copying files back loses a file when it dies half-way, and
//! gives a bind-mounted file a new inode, so that the container keeps the old
//! content. Here the protected files are left out of every step that writes the work
//! tree: everything else is restored from the commit, HEAD moves without touching
//! files, and the index alone learns the commit's version of the protected ones.
//! They are snapshotted all the same, and looked at again afterwards.

use cm_core::{Exit, Failure, Result};
use cm_host::{END_JOB, Host};
use serde_json::{Value, json};
use std::time::Duration;

const PREPARE: &str = include_str!("prepare.sh");
const MOVE: &str = include_str!("move.sh");
const KEEP: &str = include_str!("keep.sh");

/// Fetching or writing a large tree may take a while.
const LIMIT: Duration = Duration::from_secs(300);

/// The commit's object is not in the checkout, also after a fetch.
const NO_COMMIT: i32 = 45;
/// The folder is not there, or is no repository.
const NO_CHECKOUT: i32 = 46;
/// A protected file is not what it was.
const NOT_PROVED: i32 = 47;

/// A checkout on a host.
#[derive(Clone, Debug)]
pub struct Checkout<'a> {
    host: &'a Host,
    path: String,
    remote: String,
    protected: Vec<String>,
    keeps_build: bool,
}

/// What the checkout is like before it is moved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// The commit HEAD names.
    pub head: String,
    /// Files changed by hand or not under version control, whose content the move would destroy.
    pub endangered: Vec<String>,
    /// Protected files that differ between HEAD and the new commit; the host keeps its own.
    pub upstream: Vec<String>,
    /// How many paths the move changes.
    pub changes: usize,
}

/// A protected file as it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Protected {
    /// Relative to the checkout.
    pub path: String,
    /// Inode, mode, owner and size, as `stat` says them; or `absent`.
    pub stat: String,
    /// SHA-256 of the content; empty for what is no regular file.
    pub sha256: String,
}

impl<'a> Checkout<'a> {
    /// The checkout at `path` on `host`, whose files `protected` are the host's own.
    pub fn new(host: &'a Host, path: &str, remote: &str, protected: &[String]) -> Self {
        Checkout {
            host,
            path: path.to_owned(),
            remote: remote.to_owned(),
            protected: protected.to_vec(),
            keeps_build: false,
        }
    }

    /// Lets [`Checkout::move_to`] leave a build alone that runs there for the very commit:
    /// whoever moves the checkout goes on with it.
    #[must_use]
    pub fn keeping_build(self, keep: bool) -> Self {
        Checkout { keeps_build: keep, ..self }
    }

    /// The commit that `branch` names on the remote now.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with what git said.
    pub async fn remote_tip(&self, branch: &str) -> Result<String> {
        let reference = format!("refs/heads/{branch}");
        let command =
            self.host.command(["git", "ls-remote", "--exit-code", "--", &self.remote, &reference]).cwd(&self.path);
        let text = command.text(Exit::Build, "checkout.remote").await.map_err(|failure| {
            let hint = format!(
                "on {}, in {}: `git ls-remote {}` must work for the deploy user",
                self.host.name(),
                self.path,
                self.remote
            );
            if failure.exit == Exit::Build { failure.hint(hint) } else { failure }
        })?;
        Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Makes sure that `commit` is there, fetching `branch` if it is not, and says
    /// what moving to it would meet. The work tree is not touched.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with `checkout.missing` or `checkout.no-commit`.
    pub async fn prepare(&self, branch: Option<&str>, commit: &str) -> Result<State> {
        let fixed =
            [self.host.path(&self.path), self.remote.clone(), branch.unwrap_or_default().to_owned(), commit.to_owned()];
        let arguments = fixed.into_iter().chain(self.protected.iter().cloned());
        let output = self.host.script(PREPARE, arguments).limit(LIMIT).output().await?;
        match output.status.code() {
            Some(0) => Ok(State::read(&output.text())),
            Some(NO_COMMIT) => Err(self.no_commit(branch, commit, &output.stderr)),
            Some(NO_CHECKOUT) => Err(self.no_checkout()),
            _ => Err(self.failed("cannot be prepared", &output.stderr)),
        }
    }

    /// The paths that differ between two commits; `None` if one of them is not there.
    ///
    /// # Errors
    /// [`Exit::Unreachable`].
    pub async fn changed(&self, from: &str, to: &str) -> Result<Option<Vec<String>>> {
        let argv = ["git", "diff", "-z", "--name-only", "--no-renames", "--end-of-options", from, to, "--"];
        let output = self.host.command(argv).cwd(&self.path).limit(LIMIT).output().await?;
        let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        let paths = paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Ok(Some(paths).filter(|_| output.success()))
    }

    /// Moves the checkout to `commit`; protected files keep content, mode, owner and
    /// inode, which is looked at afterwards. `snapshots` is where copies of them go, in the
    /// project's state directory; a build that runs beside it, in `build`, is ended first.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with what git said, or
    /// `checkout.protected` if a protected file is not what it was.
    pub async fn move_to(&self, commit: &str, snapshots: &str, release: &str) -> Result<Vec<Protected>> {
        let keep = if self.keeps_build { commit } else { "" };
        let fixed = [&*self.host.path(&self.path), commit, &self.host.path(snapshots), release, END_JOB, keep];
        let arguments = fixed.map(str::to_owned).into_iter().chain(self.protected.iter().cloned());
        let output = self.host.script(MOVE, arguments).limit(LIMIT).output().await?;
        match output.status.code() {
            Some(0) => Ok(output.text().lines().filter_map(Protected::read).collect()),
            Some(NOT_PROVED) => Err(self.not_proved(snapshots, release, &output.stderr)),
            _ => Err(self.failed(&format!("cannot be moved to {}", short(commit)), &output.stderr)),
        }
    }

    /// Copies `files` of the checkout to where [`Checkout::move_to`] keeps the protected
    /// ones. What is no regular file is left out.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] if a copy cannot be written.
    pub async fn keep(&self, files: &[String], snapshots: &str, release: &str) -> Result<()> {
        let arguments = [self.host.path(&self.path), self.host.path(snapshots), release.to_owned()];
        let list = files.iter().map(|file| format!("{file}\n")).collect::<String>();
        let output = self.host.script(KEEP, arguments).stdin(list).limit(LIMIT).output().await?;
        if output.success() { Ok(()) } else { Err(self.failed("has changes that cannot be copied", &output.stderr)) }
    }

    fn fail(&self, code: &str, message: String) -> Failure {
        Failure::new(Exit::Build, code, format!("on {}: {message}", self.host.name()))
    }

    fn failed(&self, what: &str, said: &str) -> Failure {
        let failure = self.fail("checkout.git", format!("the checkout {} {what}", self.path)).cause(said.trim());
        if said.contains("index.lock") {
            return failure
                .hint(format!("an earlier git was killed there; if none runs, remove {}/.git/index.lock", self.path));
        }
        failure.hint(format!("look at it: cd {} && git status", self.path))
    }

    fn no_commit(&self, branch: Option<&str>, commit: &str, said: &str) -> Failure {
        let message = format!(
            "commit {} is not on {}{}",
            short(commit),
            self.remote,
            branch.map(|b| format!("/{b}")).unwrap_or_default()
        );
        let failure = self
            .fail("checkout.no-commit", message)
            .hint("push it first; with --no-push only what is on the remote can be deployed");
        if said.trim().is_empty() { failure } else { failure.cause(said.trim()) }
    }

    fn no_checkout(&self) -> Failure {
        self.fail("checkout.missing", format!("there is no git checkout at {}", self.path)).hint(format!(
            "make it once, on the host: git clone REPOSITORY {}; then put the env file into it",
            self.path
        ))
    }

    fn not_proved(&self, snapshots: &str, release: &str, said: &str) -> Failure {
        self.fail("checkout.protected", "a protected file is not what it was before".to_owned())
            .cause(said.trim())
            .hint(format!("its content from before is in {snapshots}/{release} on the host"))
    }
}

impl State {
    fn read(text: &str) -> State {
        let mut state = State::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "head" => state.head = value.to_owned(),
                "endangered" => state.endangered.push(value.to_owned()),
                "upstream" => state.upstream.push(value.to_owned()),
                "changes" => state.changes = value.trim().parse().unwrap_or_default(),
                _ => {}
            }
        }
        state
    }
}

impl Protected {
    fn read(line: &str) -> Option<Protected> {
        let mut fields = line.splitn(3, '\t');
        let (sha256, stat, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Protected { path: path.to_owned(), stat: stat.to_owned(), sha256: sha256.to_owned() })
    }

    /// For the document's facts.
    pub fn to_json(&self) -> Value {
        json!({"path": self.path, "stat": self.stat, "sha256": self.sha256})
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
