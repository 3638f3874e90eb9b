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

mod failure;
mod fetching;
mod place;
mod state;

pub use failure::{fetch_hint, is_unmoved, remote_hint};
pub use place::place_hint;
pub use state::State;

use cm_core::facts::Protected;
use cm_core::{Log, Result};
use cm_host::{END_JOB, Fenced, Host};
use std::time::Duration;

const MAKE: &str =
    concat!("# Makes a checkout.\n", cm_host::small_sh!(), include_str!("git.sh"), include_str!("make.sh"));
const PREPARE: &str = concat!(
    "# Looks at a checkout.\n",
    cm_host::small_sh!(),
    place_sh!(),
    include_str!("git.sh"),
    include_str!("blocked.sh"),
    include_str!("modules.sh"),
    include_str!("prepare.sh")
);
const TIP: &str = include_str!("tip.sh");
const HEAD: &str = r#"cd -- "$1" 2>/dev/null && [ -e .git ] || exit 0
git rev-parse -q --verify HEAD || git rev-parse --git-dir >/dev/null"#;
const MOVE: &str = concat!(
    "# Moves a checkout.\n",
    cm_host::small_sh!(),
    include_str!("git.sh"),
    include_str!("blocked.sh"),
    include_str!("modules.sh"),
    include_str!("move.sh")
);
const COMING: &str = concat!(
    "# Asks for what a commit has elsewhere.\n",
    cm_host::small_sh!(),
    include_str!("git.sh"),
    include_str!("blocked.sh"),
    include_str!("modules.sh"),
    include_str!("coming.sh")
);
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
/// The checkout was not moved, and is as it was before.
const NOT_MOVED: i32 = 49;
/// A submodule of the commit cannot be brought.
const NO_MODULE: i32 = 50;
/// The content of files that a filter of the commit keeps elsewhere cannot be brought.
const NO_CONTENT: i32 = 51;
/// Git refuses the repository.
const REFUSED: i32 = 52;
/// There is no checkout, and there can be none.
const NO_PLACE: i32 = 53;

/// A checkout on a host.
#[derive(Clone, Debug)]
pub struct Checkout<'a> {
    host: &'a Host,
    path: String,
    remote: String,
    protected: Vec<String>,
    keeps_build: bool,
    filter: Option<&'a str>,
    log: Option<&'a Log>,
}

/// What there is to prepare.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A checkout.
    Checkout(State),
    /// None, at this absolute path.
    Nothing(String),
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
            filter: None,
            log: None,
        }
    }

    /// Lets [`Checkout::move_to`] leave a build alone that runs there for the very commit:
    /// whoever moves the checkout goes on with it.
    #[must_use]
    pub fn keeping_build(self, keep: bool) -> Self {
        Checkout { keeps_build: keep, ..self }
    }

    /// Tells people how far a fetch is that takes long.
    #[must_use]
    pub fn telling(self, log: &'a Log) -> Self {
        Checkout { log: Some(log), ..self }
    }

    /// Lets [`Checkout::make`] leave out of the clone what this filter of git leaves out, such as `blob:none`;
    /// it comes when it is needed.
    #[must_use]
    pub fn filtered(self, filter: Option<&'a str>) -> Self {
        Checkout { filter, ..self }
    }

    /// The commit that `branch` names on the remote now; where there is no checkout, at `origin`,
    /// a URL or why none is known.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] with what git said.
    pub async fn remote_tip(&self, branch: &str, origin: &Result<String>) -> Result<String> {
        let reference = format!("refs/heads/{branch}");
        let url = origin.as_deref().unwrap_or_default();
        let arguments = [&*self.host.path(&self.path), &self.remote, &reference, url];
        let output = self.host.script(TIP, arguments).output().await?;
        match (output.status.code(), origin) {
            (Some(0), _) => Ok(output.text().split_whitespace().next().unwrap_or_default().to_owned()),
            (Some(NO_CHECKOUT), Err(failure)) => Err(failure.clone()),
            (Some(REFUSED), _) => Err(self.refused(&output.stderr)),
            _ => {
                let message = format!("{branch} cannot be asked for in {}, of {}", self.path, self.remote);
                let failure = self.fail("checkout.remote", message).cause(output.stderr.trim());
                Err(match output.stderr.trim() {
                    "" => failure.hint("is the branch's name right, and was it pushed?"),
                    said => failure.hint(fetch_hint(said)),
                })
            }
        }
    }

    /// The commit that is checked out; `None` where none ever was, or there is no checkout.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] with what git said.
    pub async fn head(&self) -> Result<Option<String>> {
        let output = self.host.script(HEAD, [self.host.path(&self.path)]).output().await?;
        match output.success() {
            true => Ok(Some(output.text().trim().to_owned()).filter(|head| !head.is_empty())),
            false => Err(self.failed("cannot be read", &output.stderr)),
        }
    }

    /// Makes the checkout that is not there: the repository, from `origin`, with no file
    /// checked out yet. What lies in the directory stays. Ended partway, it leaves nothing.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] with `checkout.clone` or `checkout.no-commit`.
    pub async fn make(&self, fenced: &Fenced, origin: &str, branch: &str, commit: &str) -> Result<()> {
        let branch = if branch.is_empty() { "main" } else { branch };
        let filter = self.filter.unwrap_or_default();
        let path = self.host.path(&self.path);
        let arguments = [&*path, origin, &self.remote, branch, commit, filter];
        let command = fenced.script(MAKE, arguments).cwd("~").ends_with_us().limit(CLONE_LIMIT);
        let output = fetching::told(self.host, &path, self.log, command.output()).await?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(NO_COMMIT) => Err(self.no_commit(Some(branch), commit, origin, "")),
            Some(NOT_FETCHED) => Err(self.not_cloned(origin, &output.stderr)),
            _ => Err(self.not_made(&output.stderr)),
        }
    }

    /// [`Checkout::look`] where there has to be a checkout.
    ///
    /// # Errors
    /// As [`Checkout::look`], and [`cm_core::Exit::Build`] with `checkout.missing`.
    pub async fn prepare(&self, branch: Option<&str>, commit: &str) -> Result<State> {
        match self.look(branch, commit).await? {
            Found::Checkout(state) => Ok(state),
            Found::Nothing(_) => Err(self.no_checkout()),
        }
    }

    /// Makes sure that `commit` is there with its submodules and what its filters fetch, and
    /// says what moving to it would meet. The work tree is not touched.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] if the commit cannot be brought, or the checkout
    /// cannot be moved to it, such as `checkout.fetch` and `checkout.blocked`.
    pub async fn look(&self, branch: Option<&str>, commit: &str) -> Result<Found> {
        let fixed =
            [self.host.path(&self.path), self.remote.clone(), branch.unwrap_or_default().to_owned(), commit.to_owned()];
        let arguments = fixed.into_iter().chain(self.protected.iter().cloned());
        let command = self.host.script(PREPARE, arguments).limit(CLONE_LIMIT);
        let output = fetching::told(self.host, &self.host.path(&self.path), self.log, command.output()).await?;
        match output.status.code() {
            Some(0) => {
                let state = State::read(&output.text());
                self.obstacle(&state).map_or(Ok(Found::Checkout(state)), Err)
            }
            Some(NOT_FETCHED) => Err(self.not_fetched(&output.stderr)),
            Some(NO_MODULE) => Err(self.no_module(&output.stderr)),
            Some(NO_CONTENT) => Err(self.no_content(&output.stderr)),
            Some(REFUSED) => Err(self.refused(&output.stderr)),
            Some(NO_COMMIT) => {
                let text = output.text();
                let url = text.lines().find_map(|line| line.strip_prefix("url ")).unwrap_or_default();
                Err(self.no_commit(branch, commit, url, &output.stderr))
            }
            Some(NO_PLACE) => Err(self.no_place(output.stderr.trim())),
            Some(NO_CHECKOUT) => Ok(Found::Nothing(output.text().trim().to_owned())),
            _ => Err(self.failed("cannot be prepared", &output.stderr)),
        }
    }

    /// Whether what a commit has `elsewhere`, as `cm_git` says it, can be brought to a host that has no checkout yet, which
    /// is made from `origin`. Of submodules, a commit comes to a directory that is removed.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] with the code of the deployment that would fail by it.
    pub async fn can_bring(&self, origin: &str, elsewhere: Vec<u8>) -> Result<()> {
        let output = self.host.script(COMING, [origin]).stdin(elsewhere).limit(LIMIT).output().await?;
        match output.status.code() {
            Some(NO_MODULE) => Err(self.no_module(&output.stderr)),
            Some(NO_CONTENT) => Err(self.no_content(&output.stderr)),
            // Whatever else is wrong, the deployment meets and says.
            _ => Ok(()),
        }
    }

    /// The paths that differ between two commits; `None` if one of them is not there.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`].
    pub async fn changed(&self, from: &str, to: &str) -> Result<Option<Vec<String>>> {
        let argv = ["git", "diff", "-z", "--name-only", "--no-renames", "--end-of-options", from, to, "--"];
        let output = self.host.command(argv).cwd(&self.path).limit(LIMIT).output().await?;
        let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        let paths = paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Ok(Some(paths).filter(|_| output.success()))
    }

    /// Moves the checkout to `commit`; protected files keep content, mode, owner and
    /// inode, which is looked at afterwards. `snapshots` is where copies of them go, in the
    /// project's state directory; a build that runs alongside it, in `build`, is ended first.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] with what git said: `checkout.not-moved` if everything
    /// is as it was ([`is_unmoved`]), `checkout.protected` if a protected file is not what it was.
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
            Some(0) => Ok(output.text().lines().filter_map(state::protected).collect()),
            Some(NOT_PROVED) => Err(self.not_proved(snapshots, release, &output.stderr)),
            Some(NOT_MOVED) => Err(self.not_moved(commit, &output.stderr)),
            _ => Err(self.failed(&format!("is partway to {}", failure::short(commit)), &output.stderr)),
        }
    }

    /// Copies `files` of the checkout to where [`Checkout::move_to`] keeps the protected
    /// ones. What is no regular file is left out.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Build`] if a copy cannot be written.
    pub async fn keep(&self, fenced: &Fenced, files: &[String], snapshots: &str, release: &str) -> Result<()> {
        let arguments = [self.host.path(&self.path), self.host.path(snapshots), release.to_owned()];
        let list = files.iter().map(|file| format!("{file}\n")).collect::<String>();
        let output = fenced.script(KEEP, arguments).stdin(list).limit(LIMIT).output().await?;
        if output.success() { Ok(()) } else { Err(self.failed("has changes that cannot be copied", &output.stderr)) }
    }
}
