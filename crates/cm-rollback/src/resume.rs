//! What a failed or killed run left: whether there is anything to take back.

use crate::target;
use cm_core::{Done, Exit, Journal, Result, Run, Stage, Status, Step};

/// The last document of a run whose programs were killed. It says nothing of a
/// failure yet: the kill is the failure, unless all was verified by then.
///
/// # Errors
/// [`Exit::Usage`] for what is no run's id; [`Exit::BadInput`] if it has no journal.
pub fn killed_run(id: &str) -> Result<cm_core::Document> {
    let mut doc = Journal::named(id)?.newest("cm-rollback")?;
    if doc.status() == Status::Ok && !was_found_good(&doc) {
        doc.set_status(Status::Failed);
    }
    Ok(doc)
}

/// Whether this program saw the run before, and nothing to roll back: what was killed after
/// that only cleans and records. What it saw before a step that came to no verdict is over.
fn was_found_good(doc: &cm_core::Document) -> bool {
    let stages = doc.stages();
    let no_verdict = |stage: &Stage| stage.exit.is_some_and(|code| Exit::from_code(code.into()).is_no_verdict());
    let mut since = stages.iter().rev().take_while(|stage| !no_verdict(stage));
    since.any(|stage| stage.step == Some(Step::Rollback))
}

/// Why `--on-failure` does nothing, if it does nothing.
pub fn nothing_to_do(run: &Run) -> Option<Done> {
    let code = run.doc.error().map(|error| error.exit());
    match (run.doc.status(), code) {
        (Status::Ok, _) => Some(Done::skipped("nothing failed")),
        (Status::RolledBack, _) => Some(Done::skipped("already rolled back")),
        (Status::Failed, _) if target::undo_entries(&run.doc).is_empty() => {
            run.log.info("nothing was changed on any host; nothing to roll back");
            Some(Done::skipped("nothing was changed"))
        }
        (Status::Failed, Some(exit)) if exit.is_no_verdict() => {
            run.log.warn(format!("not rolling back: {}, which does not mean that the release is bad", exit.meaning()));
            run.log.warn("look into it; then run `cm-verify` again, or `cm-rollback` to roll back");
            Some(Done::warned(format!("left in place: {}", exit.meaning())))
        }
        (Status::Failed, _) => None,
    }
}
