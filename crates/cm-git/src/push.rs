//! Pushes a commit to a branch, and makes sure that it is where servers fetch from.

use crate::call::git;
use crate::refusal::push_hint;
use crate::remote::{Remote, tip};
use crate::repository::Repository;
use cm_core::{Exit, Failure, Result};
use git2::Oid;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the remote may take; a hook that it runs counts.
const LIMIT: Duration = Duration::from_secs(300);

/// How long the remote may take to say whether it would.
const TRIAL_LIMIT: Duration = Duration::from_secs(30);

/// A commit whose submodules are on no remote cannot be checked out by a server, so that Git refuses it. Pushing them
/// along (`on-demand`) is not for a commit by its ID: Git wants a branch for that.
const PUSH: [&str; 3] = ["push", "-q", "--recurse-submodules=check"];

/// How long a mirror may take to get what was pushed, and how often it is asked.
const MIRROR_LIMIT: Duration = Duration::from_secs(30);
const MIRROR_PAUSE: Duration = Duration::from_secs(2);

/// Pushes `commit` to `branch` of `remote`, from the repository in `directory`.
///
/// # Errors
/// [`Exit::Detect`]: there is no such remote, it does not take the commit, or it is pushed to another place than it
/// is fetched from and the commit does not arrive there.
pub async fn push(directory: &Path, remote: &str, commit: Oid, branch: &str) -> Result<()> {
    let remote = Repository::open(directory)?.remote(remote)?;
    offer(directory, LIMIT, &PUSH, (&remote, commit, branch)).await?;
    arrived(directory, &remote, commit, branch, MIRROR_LIMIT).await
}

/// Whether the remote would take the push, as far as it says so without getting anything: its hooks are not run, nor
/// those here.
///
/// # Errors
/// As [`push`].
pub async fn try_push(directory: &Path, remote: &str, commit: Oid, branch: &str) -> Result<()> {
    let remote = Repository::open(directory)?.remote(remote)?;
    let command = [PUSH.as_slice(), &["--dry-run", "--no-verify"]].concat();
    offer(directory, TRIAL_LIMIT, &command, (&remote, commit, branch)).await
}

async fn offer(
    directory: &Path,
    limit: Duration,
    command: &[&str],
    (remote, commit, branch): (&Remote, Oid, &str),
) -> Result<()> {
    let to = format!("{commit}:refs/heads/{branch}");
    let pushed = git(directory, limit, command, &[&remote.name, &to]).await;
    pushed.map(drop).map_err(|words| {
        let hint = push_hint(&words, remote, branch);
        let message = format!("cannot push to {}/{branch}; nothing was deployed", remote.name);
        Failure::new(Exit::Detect, "detect.push-refused", message).cause(words).hint(hint)
    })
}

/// Whether what was pushed to one place can be fetched from the other; a mirror takes a moment.
async fn arrived(directory: &Path, remote: &Remote, commit: Oid, branch: &str, limit: Duration) -> Result<()> {
    if remote.push_url.is_none() {
        return Ok(());
    }
    let began = Instant::now();
    let why = loop {
        match tip(directory, &remote.name, branch).await {
            Ok(Some(at)) if at == commit => return Ok(()),
            answer if began.elapsed() > limit => break answer,
            _ => tokio::time::sleep(MIRROR_PAUSE).await,
        }
    };
    let name = &remote.name;
    let message = format!("{branch} was pushed to the push URL of {name}, and cannot be fetched from {name} itself");
    let failure = Failure::new(Exit::Detect, "detect.push-mirror", message).retryable().hint(format!(
        "servers fetch from there: see `git remote -v`, and deploy again once `git ls-remote {name} {branch}` says {}",
        crate::short(commit)
    ));
    Err(match why {
        Err(words) => failure.cause(words),
        Ok(Some(at)) => failure.cause(format!("{branch} is at {} there", crate::short(at))),
        Ok(None) => failure.cause(format!("there is no {branch} there")),
    })
}
