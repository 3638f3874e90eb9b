//! Pushes the commit that is deployed to the branch it is deployed as. What is pushed is what
//! people see checked out, or a branch that they named: somebody on a branch of their own does
//! not push it over the one that runs.

use cm_core::facts::DetectFacts;
use cm_core::{CommitId, Done, Exit, Failure, Result, Run};
use cm_project::Project;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// How long the remote may take; a hook that it runs counts.
const LIMIT: Duration = Duration::from_secs(300);

/// Pushes, or says in a dry run what it would push.
///
/// # Errors
/// [`Exit::Usage`] without a document, [`Exit::BadInput`] for one that names no commit and branch,
/// [`Exit::Detect`] on another branch than the one deployed, or if the remote does not take it.
pub async fn run(project: &Project, run: &Run) -> Result<Done> {
    if run.started_here {
        return Err(Failure::new(Exit::Usage, "usage.push", "there is no document that says what to push")
            .hint("cm-detect | cm-build push"));
    }
    let (Some(commit), Some(branch)) = (run.doc.commit(), run.doc.branch()) else {
        return Err(Failure::new(Exit::BadInput, "input.shape", "the document names no commit and branch to push"));
    };
    if CommitId::new(commit).is_none() {
        return Err(Failure::new(Exit::BadInput, "input.name", format!("{commit:?} is not {}", CommitId::WHAT)));
    }
    if !named(run) {
        is_checked_out(project, branch).await?;
    }
    let remote = project.remote();
    let what = format!("{} to {remote}/{branch}", commit.get(..12).unwrap_or(commit));
    if run.dry_run() {
        run.log.info(format!("would push {what}"));
        return Ok(Done::ok(format!("would push {what}")));
    }
    run.log.info(format!("pushing {what}"));
    let pushed = git(project, &["push", "-q", "--", remote, &format!("{commit}:refs/heads/{branch}")]).await;
    let failure = match pushed {
        Ok(output) if output.status.success() => return Ok(Done::ok(format!("pushed {what}"))),
        Ok(output) => said(&output),
        Err(why) => why,
    };
    Err(Failure::new(
        Exit::Detect,
        "detect.push-refused",
        format!("cannot push to {remote}/{branch}; nothing was deployed"),
    )
    .cause(failure)
    .hint("git pull --rebase, look at what came, and deploy again"))
}

/// Whether a person named the branch.
fn named(run: &Run) -> bool {
    run.doc.part::<DetectFacts>().branch_named == Some(true)
}

async fn is_checked_out(project: &Project, branch: &str) -> Result<()> {
    let head = git(project, &["symbolic-ref", "-q", "--short", "HEAD"]).await;
    let current = head.ok().filter(|output| output.status.success()).map(|output| text(&output.stdout));
    if current.as_deref() == Some(branch) {
        return Ok(());
    }
    let current = current.unwrap_or_else(|| "no branch".to_owned());
    let message = format!("this is {current}, and {branch} is what is deployed; nothing was pushed");
    Err(Failure::new(Exit::Detect, "detect.push-branch", message).hint(format!(
        "git switch {branch}, or say what you want: --branch NAME, or --no-push for what is on the remote"
    )))
}

/// Git in the repository, with a limit; why it did not run, if it did not.
async fn git(project: &Project, arguments: &[&str]) -> std::result::Result<Output, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&project.repository).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(LIMIT, git.output()).await {
        Ok(output) => output.map_err(|error| format!("cannot run git: {error}")),
        Err(_) => Err(format!("git did not end within {} s", LIMIT.as_secs())),
    }
}

/// What git said, its end: that is where the reason is.
fn said(output: &Output) -> String {
    let text = text(&output.stderr);
    let start = text.char_indices().rev().nth(1_999).map_or(0, |(at, _)| at);
    text[start..].to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
