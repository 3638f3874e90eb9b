//! A checkout on a host, moved to a commit with its protected files untouched.
//!
//! `git reset --hard` and copying files back loses a file when it dies partway, and
//! gives a bind-mounted file a new inode, so that the container keeps the old
//! content. Here the protected files are left out of every step that writes the work
//! tree: everything else is restored from the commit, HEAD moves without touching
//! files, and the index alone learns the commit's version of the protected ones.
//! They are snapshotted all the same, and looked at again afterwards.
//!
//! Where there is no checkout, only its repository is made, aside and then renamed: a
//! checkout whose HEAD names no commit yet. The first move is then one like any other.

use cm_core::{Exit, Failure, Result};
use cm_host::{END_JOB, Fenced, Host};
use serde_json::{Value, json};
use std::time::Duration;

const MAKE: &str = include_str!("make.sh");
const PREPARE: &str = include_str!("prepare.sh");
const TIP: &str = include_str!("tip.sh");
const HEAD: &str = r#"cd -- "$1" 2>/dev/null && [ -e .git ] || exit 0
git rev-parse -q --verify HEAD || git rev-parse --git-dir >/dev/null"#;
const MOVE: &str = include_str!("move.sh");
const KEEP: &str = include_str!("keep.sh");

/// Fetching or writing a large tree may take a while.
const LIMIT: Duration = Duration::from_secs(300);

/// So may a first fetch, of all there ever was.
const CLONE_LIMIT: Duration = Duration::from_mins(30);

/// The commit's object is not in the checkout, also after a fetch.
const NO_COMMIT: i32 = 45;
/// The directory is not there, or is no repository.
const NO_CHECKOUT: i32 = 46;
/// A protected file is not what it was.
const NOT_PROVED: i32 = 47;
/// The repository cannot be fetched from.
const NOT_FETCHED: i32 = 48;

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
    /// Its absolute path, as one comes there and without symbolic links.
    pub places: Vec<String>,
    /// The commit HEAD names; empty where none was ever checked out.
    pub head: String,
    /// Files changed by hand or not under version control, whose content the move would destroy.
    pub endangered: Vec<String>,
    /// Protected files that differ between HEAD and the new commit; the host keeps its own.
    pub upstream: Vec<String>,
    /// How many paths the move changes.
    pub changes: usize,
}

/// What there is to prepare.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A checkout.
    Checkout(State),
    /// None, at this absolute path.
    Nothing(String),
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

    /// The commit that `branch` names on the remote now; where there is no checkout, at `origin`,
    /// a URL or why none is known.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with what git said.
    pub async fn remote_tip(&self, branch: &str, origin: &Result<String>) -> Result<String> {
        let reference = format!("refs/heads/{branch}");
        let url = origin.as_deref().unwrap_or_default();
        let arguments = [&*self.host.path(&self.path), &self.remote, &reference, url];
        let output = self.host.script(TIP, arguments).output().await?;
        match (output.status.code(), origin) {
            (Some(0), _) => Ok(output.text().split_whitespace().next().unwrap_or_default().to_owned()),
            (Some(NO_CHECKOUT), Err(failure)) => Err(failure.clone()),
            _ => {
                let message = format!("{branch} cannot be asked for in {}, of {}", self.path, self.remote);
                Err(self.fail("checkout.remote", message).cause(output.stderr.trim()).hint(format!(
                    "on {}, in {}: `git ls-remote {}` must work for the deploy user, and know the branch",
                    self.host.name(),
                    self.path,
                    self.remote
                )))
            }
        }
    }

    /// The commit that is checked out; `None` where none ever was, or there is no checkout.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with what git said.
    pub async fn head(&self) -> Result<Option<String>> {
        let output = self.host.script(HEAD, [self.host.path(&self.path)]).output().await?;
        match output.success() {
            true => Ok(Some(output.text().trim().to_owned()).filter(|head| !head.is_empty())),
            false => Err(self.failed("cannot be looked at", &output.stderr)),
        }
    }

    /// Makes the checkout that is not there: the repository, from `origin`, with no file
    /// checked out yet. What lies in the directory stays. Ended partway, it leaves nothing.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with `checkout.clone` or `checkout.no-commit`.
    pub async fn make(&self, fenced: &Fenced, origin: &str, branch: &str, commit: &str) -> Result<()> {
        let branch = if branch.is_empty() { "main" } else { branch };
        let arguments = [&*self.host.path(&self.path), origin, &self.remote, branch, commit];
        let command = fenced.script(MAKE, arguments).cwd("~").ends_with_us().limit(CLONE_LIMIT);
        let output = command.output().await?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(NO_COMMIT) => Err(self.no_commit(Some(branch), commit, "")),
            Some(NOT_FETCHED) => {
                let message = format!("cannot make the checkout {} from {origin}", self.path);
                let failure = self.fail("checkout.clone", message).cause(output.stderr.trim());
                Err(failure.hint(clone_hint(&output.stderr)))
            }
            _ => {
                let message = format!("cannot make the checkout {}", self.path);
                let failure = self.fail("checkout.clone", message).cause(output.stderr.trim());
                Err(failure.hint(format!(
                    "the deploy user must be able to write there: install -d -o USER {} as root, once",
                    self.path
                )))
            }
        }
    }

    /// [`Checkout::look`] where there has to be a checkout.
    ///
    /// # Errors
    /// As [`Checkout::look`], and [`Exit::Build`] with `checkout.missing`.
    pub async fn prepare(&self, branch: Option<&str>, commit: &str) -> Result<State> {
        match self.look(branch, commit).await? {
            Found::Checkout(state) => Ok(state),
            Found::Nothing(_) => Err(self.no_checkout()),
        }
    }

    /// Makes sure that `commit` is there, fetching `branch` if it is not, and says
    /// what moving to it would meet. The work tree is not touched.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] with `checkout.no-commit`.
    pub async fn look(&self, branch: Option<&str>, commit: &str) -> Result<Found> {
        let fixed =
            [self.host.path(&self.path), self.remote.clone(), branch.unwrap_or_default().to_owned(), commit.to_owned()];
        let arguments = fixed.into_iter().chain(self.protected.iter().cloned());
        let output = self.host.script(PREPARE, arguments).limit(LIMIT).output().await?;
        match output.status.code() {
            Some(0) => Ok(Found::Checkout(State::read(&output.text()))),
            Some(NO_COMMIT) => Err(self.no_commit(branch, commit, &output.stderr)),
            Some(NO_CHECKOUT) => Ok(Found::Nothing(output.text().trim().to_owned())),
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
    pub async fn move_to(
        &self,
        fenced: &Fenced,
        commit: &str,
        snapshots: &str,
        release: &str,
    ) -> Result<Vec<Protected>> {
        let keep = if self.keeps_build { commit } else { "" };
        let fixed = [&*self.host.path(&self.path), commit, &self.host.path(snapshots), release, END_JOB, keep];
        let arguments = fixed.map(str::to_owned).into_iter().chain(self.protected.iter().cloned());
        let output = fenced.script(MOVE, arguments).limit(LIMIT).output().await?;
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
    pub async fn keep(&self, fenced: &Fenced, files: &[String], snapshots: &str, release: &str) -> Result<()> {
        let arguments = [self.host.path(&self.path), self.host.path(snapshots), release.to_owned()];
        let list = files.iter().map(|file| format!("{file}\n")).collect::<String>();
        let output = fenced.script(KEEP, arguments).stdin(list).limit(LIMIT).output().await?;
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
        self.fail("checkout.missing", format!("there is no git checkout at {}", self.path))
            .hint("a deployment makes it; if it is elsewhere, mend `checkout` in cm.toml")
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
                "place" => state.places.push(value.to_owned()),
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

/// What to do about a repository that a server cannot read, by what git there said.
pub fn clone_hint(said: &str) -> &'static str {
    if said.contains("Host key verification failed") {
        "as the deploy user there, once: `ssh -T git@HOST`, and compare the fingerprint with what its owner publishes"
    } else if ["Permission denied", "Authentication failed", "could not read Username"].iter().any(|w| said.contains(w))
    {
        "give the deploy user there a key that may read it (a deploy key), or set `repository` in cm.toml to a URL it can read"
    } else {
        "set `repository` in cm.toml to the URL that this server can fetch from; `git ls-remote URL` there must work"
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
