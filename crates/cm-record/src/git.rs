//! Questions to Git in the repository, each with a time limit.

use cm_core::{Exit, Failure, Result};
use cm_project::Project;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What Git answers from its own files.
const LOCAL: Duration = Duration::from_secs(10);

/// What it asks a remote for.
const REMOTE: Duration = Duration::from_secs(120);

/// The line that Git answers with; `None` where it has no answer.
pub async fn line(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(arguments).env("GIT_NO_LAZY_FETCH", "1");
    git.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LOCAL, git.output()).await.ok()?.ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(line).filter(|line| output.status.success() && !line.is_empty())
}

/// The commit that `revision` names.
pub async fn commit(root: &Path, revision: &str) -> Option<String> {
    let revision = format!("{revision}^{{commit}}");
    line(root, &["rev-parse", "--quiet", "--verify", "--end-of-options", &revision]).await
}

/// Fetches from the project's remote.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn fetch(project: &Project) -> Result<()> {
    let remote = project.remote();
    let mut git = Command::new("git");
    git.arg("-C").arg(&project.repository).args(["fetch", "-q", "--", remote]).stdin(Stdio::null()).kill_on_drop(true);
    let why = match tokio::time::timeout(REMOTE, git.output()).await {
        Ok(Ok(output)) if output.status.success() => return Ok(()),
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().chars().take(2_000).collect(),
        Ok(Err(error)) => format!("cannot run git: {error}"),
        Err(_) => format!("git did not end within {} s", REMOTE.as_secs()),
    };
    Err(Failure::new(Exit::Unreachable, "detect.fetch", format!("cannot fetch from {remote}")).cause(why))
}
