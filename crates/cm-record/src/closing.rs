//! The end of a deployment by a script: whether a program was killed before the outcome was
//! recorded, the exit status of the whole, and the closing line that people look for.

use crate::begin::this_run;
use crate::summary;
use cm_core::facts::{HealthFacts, HealthState};
use cm_core::{Document, Exit, Failure, Io, Journal, Result, Stage, StageStatus, Status, Step, all_healthy};

/// Prints the run's ID if one of its programs was killed, so that no document came to the end
/// of the pipe, and the journal has something to go on from.
///
/// # Errors
/// [`Exit::Usage`] if `CM_RUN_ID` names no run; [`Exit::BadInput`] for a journal that cannot be read.
pub fn unfinished(codes: &[u8], io: &Io) -> Result<()> {
    let Some(doc) = newest()? else { return Ok(()) };
    let recorded = doc.stages().last().is_some_and(|stage| stage.step == Some(Step::Record));
    if recorded || codes.last().is_some_and(|code| wrote_a_document(*code)) {
        return Ok(());
    }
    io.log.warn("a program was stopped partway; resuming from the journal");
    io.print(doc.run_id())
}

/// Whether a program that ended so has written its document. A signal may have come before it.
fn wrote_a_document(code: u8) -> bool {
    let exit = Exit::from_code(u64::from(code));
    let without = [Exit::Bug, Exit::Usage, Exit::BadInput, Exit::Interrupted, Exit::Terminated];
    exit.code() == code && !without.contains(&exit)
}

fn newest() -> Result<Option<Document>> {
    match this_run()?.newest("cm-record") {
        Ok(doc) => Ok(Some(doc)),
        Err(failure) if failure.code == "journal.missing" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Says how the deployment ended, by the exit statuses of its programs in their order, and
/// exits with the status of the whole.
///
/// # Errors
/// The failure that the deployment came to.
pub fn end(codes: &[u8], io: &Io) -> Result<Exit> {
    // A journal that cannot be read makes no deployment a failed one, nor a good one.
    let doc = newest().unwrap_or_default();
    let status = status(codes, doc.as_ref());
    if status == Exit::Done.code() {
        if let Some(line) = doc.as_ref().and_then(healthy) {
            io.log.success(line);
        }
        if let Some(doc) = doc.filter(|_| io.log.is_live()) {
            let last = Journal::run_before(&doc, Step::Build);
            summary::lines(&doc, last.as_ref()).iter().for_each(|line| io.log.info(line));
        }
        return Ok(Exit::Done);
    }
    let failure = because(doc.as_ref(), failure(status, doc.as_ref()));
    if failure.exit.code() == status {
        return Err(failure);
    }
    // A signal's number is not one of ours, and is still what happened.
    io.log.failure(&failure);
    std::process::exit(status.into())
}

/// What the first failure was, so that nobody has to look for it further up.
fn because(doc: Option<&Document>, failure: Failure) -> Failure {
    let Some((doc, error)) = doc.and_then(|doc| Some((doc, doc.error()?))) else { return failure };
    let step = error.step.map_or(String::new(), |step| format!("{step}: "));
    let failure = failure.cause(format!("{step}{}", error.message));
    match (failed_rollback(doc), error.hint) {
        (Some(rollback), _) => failure
            .cause(format!("rollback: {}", rollback.summary))
            .hint("`cm-health --all` says what runs now; `cm-rollback --list` the releases it can roll back to"),
        // The cures of what failed are for a release that runs still.
        (None, _) if failure.exit == Exit::RolledBack => {
            failure.hint(format!("fix it and deploy again; what was seen of it: cm-record show {}", doc.run_id()))
        }
        (None, Some(hint)) => match failure.hint.clone().filter(|_| is_only_unrecorded(doc)) {
            Some(then) => failure.hint(format!("{hint}. Then {then}")),
            None => failure.hint(hint),
        },
        (None, None) => failure,
    }
}

/// The rollback of the run, if it failed, whatever kept it from being made.
fn failed_rollback(doc: &Document) -> Option<Stage> {
    let rollback = doc.stages().into_iter().rev().find(|stage| stage.step == Some(Step::Rollback))?;
    (rollback.status == StageStatus::Failed).then_some(rollback)
}

/// Whether the release runs, healthy, and only what is written down of it is missing.
fn is_only_unrecorded(doc: &Document) -> bool {
    let of_record = doc.error().is_some_and(|error| error.step == Some(Step::Record));
    of_record && doc.done(Step::Health).is_some() && failed_rollback(doc).is_none()
}

fn failure(status: u8, doc: Option<&Document>) -> Failure {
    let exit = Exit::from_code(status.into());
    if exit == Exit::RolledBack {
        let message = "the deployment failed and was rolled back; what ran before runs again";
        return Failure::new(exit, "deployment.rolled-back", message);
    }
    if doc.is_some_and(is_only_unrecorded) {
        let message = format!("the release runs and is healthy, but it is not recorded (exit status {status})");
        return Failure::new(exit, "deployment.failed", message).hint("deploy again: the run resumes, and records");
    }
    let message = match exit {
        Exit::RollbackFailed => "the deployment failed, and so did its rollback (exit status 61)".to_owned(),
        _ => format!("the deployment failed (exit status {status})"),
    };
    Failure::new(exit, "deployment.failed", message).hint("the first [FAIL] above says what and where")
}

/// How a rollback ended says most, also where its server could not be reached any more; then the first program that
/// failed; then that one was refused.
/// A run whose journal says that all is healthy was only killed while it cleaned up, and recorded.
fn status(codes: &[u8], doc: Option<&Document>) -> u8 {
    let recorded = |doc: &&Document| doc.stages().last().is_some_and(|stage| stage.step == Some(Step::Record));
    if doc.filter(recorded).is_some_and(|doc| doc.status() == Status::Ok && !doc.dry_run()) {
        return Exit::Done.code();
    }
    let failed = || doc.and_then(failed_rollback).map(|_| Exit::RollbackFailed.code());
    let rollback = codes.iter().copied().rev().find(|code| (60..=62).contains(code)).or_else(failed);
    let first = || codes.iter().copied().find(|code| ![0, Exit::Refused.code()].contains(code));
    let refused = || codes.iter().copied().find(|code| *code != 0);
    rollback.or_else(first).or_else(refused).unwrap_or_default()
}

/// The runbook's line.
fn healthy(doc: &Document) -> Option<String> {
    let health: HealthFacts = doc.part();
    let services = health.services.filter(|_| health.verdict == Some(HealthState::Healthy))?;
    Some(format!("{}!", all_healthy(services.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(status: Status) -> Document {
        let mut doc = Document::start("cm-record", "ada", false);
        doc.set_status(status);
        doc.push_stage(&Stage { step: Some(Step::Record), status: StageStatus::Ok, ..Stage::default() });
        doc
    }

    #[test]
    fn the_status_of_the_whole_is_that_of_what_says_most() {
        let cases: [(&[u8], u8); 8] = [
            (&[0, 0, 0], 0),
            (&[0, 20, 3, 3, 0], 20),
            (&[0, 0, 40, 3, 60, 3, 0], 60),
            (&[0, 0, 30, 3, 61, 3, 7], 61),
            (&[0, 137, 4, 4], 137),
            (&[0, 137, 4, 4, 60, 0], 60),
            (&[3, 3], 3),
            (&[0, 0, 7], 7),
        ];
        for (codes, wanted) in cases {
            assert_eq!(status(codes, None), wanted, "{codes:?}");
            assert_eq!(status(codes, Some(&recorded(Status::Failed))), wanted, "{codes:?}");
        }
        let mut unreached = recorded(Status::Failed);
        unreached.push_stage(&Stage { step: Some(Step::Rollback), status: StageStatus::Failed, ..Stage::default() });
        assert_eq!(status(&[0, 40, 3, 7, 3, 7], Some(&unreached)), 61, "the rollback reached no server");
        assert_eq!(failure(61, None).message, "the deployment failed, and so did its rollback (exit status 61)");
        assert_eq!(status(&[0, 0, 137, 4, 0, 0], Some(&recorded(Status::Ok))), 0, "verified before it was killed");
        assert_eq!(status(&[0, 137, 4], Some(&Document::start("cm-build", "ada", false))), 137, "not recorded");
    }

    #[test]
    fn the_cause_is_said_last() {
        let mut doc = recorded(Status::Failed);
        let unhealthy = Failure::new(Exit::Unhealthy, "health.unhealthy", "web on platform is unhealthy").hint("look");
        doc.fail(Step::Health, &unhealthy);
        let said = because(Some(&doc), failure(40, None));
        assert_eq!(
            (said.causes, said.hint.as_deref()),
            (vec!["health: web on platform is unhealthy".to_owned()], Some("look"))
        );
        let mut unrecorded = recorded(Status::Ok);
        unrecorded.push_stage(&Stage { step: Some(Step::Health), status: StageStatus::Ok, ..Stage::default() });
        let full = Failure::new(Exit::Build, "host.append", "cannot append to the ledger").hint("make room");
        unrecorded.fail(Step::Record, &full);
        let said = because(Some(&unrecorded), failure(30, Some(&unrecorded)));
        assert_eq!(said.message, "the release runs and is healthy, but it is not recorded (exit status 30)");
        assert_eq!(said.hint.as_deref(), Some("make room. Then deploy again: the run resumes, and records"));
        let hint = because(Some(&doc), failure(60, None)).hint.expect("a hint");
        assert!(
            hint.ends_with(&format!("cm-record show {}", doc.run_id())),
            "nobody is told to roll back twice: {hint}"
        );
        let summary = "cannot go back".to_owned();
        doc.push_stage(&Stage { step: Some(Step::Rollback), status: StageStatus::Failed, summary, ..Stage::default() });
        let said = because(Some(&doc), failure(61, None));
        assert_eq!(said.causes[1], "rollback: cannot go back");
    }

    #[test]
    fn a_program_that_was_killed_wrote_nothing() {
        let wrote: Vec<_> =
            [0, 3, 5, 7, 40, 60, 1, 2, 4, 130, 137, 141].into_iter().filter(|code| wrote_a_document(*code)).collect();
        assert_eq!(wrote, [0, 3, 5, 7, 40, 60]);
    }
}
