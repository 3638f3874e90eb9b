//! Pushes the commit that is deployed to the branch it is deployed as. What is pushed is what
//! people see checked out, or a branch that they named: somebody on a branch of their own does
//! not push it over the one that runs.

use cm_core::facts::DetectFacts;
use cm_core::{CommitId, Done, Exit, Failure, Result, Run};
use cm_git::{Oid, Relation, Repository, short};
use cm_project::Project;

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
    let id = CommitId::new(commit)
        .filter(CommitId::is_full)
        .and_then(|commit| Oid::from_str(&commit).ok())
        .ok_or_else(|| Failure::new(Exit::BadInput, "input.name", format!("{commit:?} is not a full commit ID")))?;
    let remote = project.remote();
    if !named(run) && is_pushed(project, id, branch).await? {
        return Ok(Done::ok(format!("{} is on {remote}/{branch} already; nothing to push", short(id))));
    }
    let what = format!("{} to {remote}/{branch}", short(id));
    if run.dry_run() {
        // A warning: a plan may be made offline, or by somebody who may not push.
        if let Err(failure) = cm_git::try_push(&project.repository, remote, id, branch).await {
            let words = if failure.causes.is_empty() { failure.message } else { failure.causes.join(": ") };
            let hint = failure.hint.unwrap_or_default();
            run.log.warn(format!("{remote} would not take the push: {words}\nhint: {hint}"));
        }
        run.log.info(format!("would push {what}"));
        return Ok(Done::ok(format!("would push {what}")));
    }
    run.log.info(format!("pushing {what}"));
    cm_git::push(&project.repository, remote, id, branch).await?;
    Ok(Done::ok(format!("pushed {what}")))
}

/// Whether a person named the branch.
fn named(run: &Run) -> bool {
    run.doc.part::<DetectFacts>().branch_named == Some(true)
}

/// Whether there is nothing to push, although another branch is checked out, or none: the remote has the commit
/// on the branch already, as where CI deploys what somebody pushed.
async fn is_pushed(project: &Project, commit: Oid, branch: &str) -> Result<bool> {
    let (directory, remote) = (&project.repository, project.remote());
    let head = Repository::open(directory)?.head()?.branch;
    if head.as_deref() == Some(branch) {
        return Ok(false);
    }
    let tip = cm_git::tip(directory, remote, branch).await.ok().flatten();
    let repository = Repository::open(directory)?;
    let tip = tip.or_else(|| repository.remote_tip(remote, branch));
    if tip.is_some_and(|tip| matches!(repository.relation(commit, tip), Relation::Before)) {
        return Ok(true);
    }
    Err(not_checked_out(head, branch, &repository.switch_hint(branch)))
}

fn not_checked_out(head: Option<String>, branch: &str, switch: &str) -> Failure {
    let (place, hint) = match head {
        Some(head) => (
            format!("this is {head}"),
            format!("{switch}; or say what you want: --branch NAME, or --no-push for what is on the remote"),
        ),
        None => (
            "no branch is checked out (HEAD is detached)".to_owned(),
            format!(
                "{switch}; in CI, check out the branch itself (actions/checkout with ref: {branch}), or say \
                 what you want: --branch NAME, or --no-push for what is on the remote"
            ),
        ),
    };
    let message = format!("{place}, and {branch} is what is deployed; nothing was pushed");
    Failure::new(Exit::Detect, "detect.push-branch", message).hint(hint)
}
