//! The begin of a deployment by a script: what interrupted runs left is reconciled, and a run
//! that was asked for in the same words, for the same commit, within the hour, is resumed. The
//! run's ID is known before its first program starts, so that the script finds its way back
//! when one of them is killed.

use crate::reconcile;
use cm_core::{CommonArgs, Document, Exit, Failure, Io, Journal, OrFail, Result, Status, Step, actor, write_whole};
use cm_git::Repository;
use cm_project::Project;
use std::path::PathBuf;
use std::time::Duration;

/// In a run's journal: the commit, then the script's options, one a line.
const COMMAND: &str = "command";

/// A run that was interrupted longer ago is not resumed by itself.
const WITHIN: Duration = Duration::from_secs(3600);

/// The flags of `cm-record begin`.
#[derive(Clone, Debug, clap::Args)]
pub struct BeginArgs {
    /// Reconcile only on this host (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Resume this run instead of looking for one
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// Deploy this branch
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Deploy what the remote holds: fetch it first
    #[arg(long)]
    pub pushed: bool,
    /// The script and its options: the same ones again resume a run that was interrupted
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Reconciles, and prints the ID of the run that begins or is resumed.
///
/// # Errors
/// Those of [`reconcile::reconcile`]; [`Exit::Unreachable`] if the remote does not answer.
pub async fn begin(project: &Project, common: &CommonArgs, args: &BeginArgs, io: &Io) -> Result<()> {
    if args.pushed {
        cm_git::fetch(&project.repository, project.remote()).await?;
    }
    if let Some(id) = &args.resume {
        reconcile::reconcile(project, common, &args.host, Some(id), io).await?;
        return io.print(id);
    }
    let command = command(project, args);
    let same = if common.dry_run { None } else { interrupted(&command) };
    match same {
        Some(id) => match reconcile::reconcile(project, common, &args.host, Some(&id), io).await {
            Ok(_) => return io.print(&id),
            Err(failure) => {
                io.log.failure(&failure);
                io.log.warn(format!("run {id} cannot be resumed; deploying again"));
            }
        },
        None => drop(reconcile::reconcile(project, common, &args.host, None, io).await?),
    }
    let id = Document::start("cm-record", &actor(), common.dry_run).run_id().to_owned();
    if !common.dry_run
        && let Err(error) = write_whole(Journal::of(&id).dir(), COMMAND, command.as_bytes())
    {
        io.log.warn(format!("this run cannot be resumed: its journal is not writable: {error}"));
    }
    io.print(&id)
}

/// What was asked for: the commit, then the options.
fn command(project: &Project, args: &BeginArgs) -> String {
    let branch = args.branch.clone().unwrap_or_else(|| project.branch());
    let revision = match (&args.branch, args.pushed) {
        (_, true) => format!("refs/remotes/{}/{branch}", project.remote()),
        (Some(branch), false) => branch.clone(),
        (None, false) => "HEAD".to_owned(),
    };
    let repository = Repository::open(&project.repository).ok();
    let commit = repository.and_then(|repository| repository.find(&revision).ok()?).map(|commit| commit.to_string());
    let options = args.command.iter().skip(1).map(|option| format!("{option}\n"));
    format!("{}\n{}", commit.as_deref().unwrap_or("unknown"), options.collect::<String>())
}

/// The newest run of this machine that a script began, if it was the same one, of the last hour,
/// did not come to its end, and is worth it.
fn interrupted(command: &str) -> Option<String> {
    let newest = Journal::runs().into_iter().rev().find(|id| by_script(id))?;
    let path = Journal::of(&newest).dir().join(COMMAND);
    let age = path.metadata().ok()?.modified().ok()?.elapsed().unwrap_or_default();
    if age > WITHIN || std::fs::read_to_string(&path).ok()? != command {
        return None;
    }
    let doc = Journal::of(&newest).newest("cm-record").ok()?;
    (is_worth_resuming(&doc) && !reconcile::has_ended(&doc)).then_some(newest)
}

/// Whether there is something to go on with, or to roll back. A run that failed and switched nothing has neither, even
/// where it pushed; nor has one that was left in place: who deploys again wants the deployment, not that failure once more.
fn is_worth_resuming(doc: &Document) -> bool {
    match doc.status() {
        Status::Failed => !doc.undo_entries().is_empty() && doc.done(Step::Rollback).is_none(),
        Status::RolledBack => true,
        Status::Ok => doc.has_changed() || doc.stages().iter().any(|stage| stage.step == Some(Step::Backup)),
    }
}

/// Whether a script began the run.
pub fn by_script(id: &str) -> bool {
    Journal::of(id).dir().join(COMMAND).exists()
}

/// Prints the document that the run named by `CM_RUN_ID` goes on with: of a resumed run the
/// newest of the journal, else a new one.
///
/// # Errors
/// [`Exit::BadInput`] for a journal that cannot be read.
pub fn open(io: &Io) -> Result<()> {
    let doc = match this_run()?.resumed("cm-record") {
        Ok(doc) => doc,
        Err(failure) if failure.code == "journal.missing" => Document::start("cm-record", &actor(), false),
        Err(failure) => return Err(failure),
    };
    io.print(doc.to_text(false).trim_end())
}

/// The journal of the run that `CM_RUN_ID` names.
///
/// # Errors
/// [`Exit::Usage`] if it names none.
pub fn this_run() -> Result<Journal> {
    let id = std::env::var("CM_RUN_ID").unwrap_or_default();
    Journal::named(&id).map_err(|failure| failure.hint("CM_RUN_ID=$(cm-record begin -- COMMAND) sets it"))
}

/// Prints the options that a run of this machine was begun with, one a line.
///
/// # Errors
/// [`Exit::Usage`] for what is not a run's ID, [`Exit::BadInput`] for a run that got nowhere.
pub fn options(run: &str, io: &Io) -> Result<()> {
    let path: PathBuf = Journal::named(run)?.dir().join(COMMAND);
    if !path.exists() {
        let message = format!("this machine's journal has no run {run} that got anywhere");
        return Err(Failure::new(Exit::BadInput, "resume.unknown", message)
            .hint("deploying again deploys from what the servers run"));
    }
    let text =
        std::fs::read_to_string(&path).or_fail(Exit::BadInput, "journal.read", "cannot read the run's options")?;
    let options = text.split_once('\n').map_or("", |(_, options)| options.trim_end());
    if options.is_empty() { Ok(()) } else { io.print(options) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_failed_and_changed_nothing_is_not_resumed() {
        let doc = |stages: serde_json::Value, failed: bool, undo: serde_json::Value| {
            let mut value = Document::start("cm-detect", "ada", false).as_value();
            value["stages"] = stages;
            value["undo"] = undo;
            if failed {
                value["status"] = "failed".into();
                value["error"] = json!({"stage": "cm-build", "code": "build.x", "message": "no", "exit": 30});
            }
            Document::parse("cm-record", value.to_string().as_bytes()).expect("valid")
        };
        let stage =
            |step: &str| json!({"tool": "cm-x", "step": step, "status": "ok", "started_at": "2026-01-01T00:00:00Z"});
        let mut pushed = stage("push");
        pushed["changed"] = true.into();
        let undo = json!([{"host": "a", "tool": "cm-build"}]);
        for (stages, failed, undo, worth) in [
            (json!([stage("detect")]), false, json!([]), false),
            (json!([stage("detect"), stage("backup")]), false, json!([]), true),
            (json!([stage("detect"), stage("backup"), stage("build")]), true, json!([]), false),
            (json!([stage("detect"), stage("backup"), stage("build")]), true, undo.clone(), true),
            (json!([stage("detect"), pushed.clone(), stage("build")]), true, json!([]), false),
            (json!([stage("detect"), pushed]), false, json!([]), true),
            (json!([stage("build"), stage("verify"), stage("rollback")]), true, undo.clone(), false),
            (json!([stage("detect"), stage("build")]), false, undo, true),
        ] {
            let doc = doc(stages, failed, undo);
            assert_eq!(is_worth_resuming(&doc), worth, "{}", doc.as_value());
        }
    }
}
