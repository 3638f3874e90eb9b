//! A page of a run that goes on, written again every second: a browser that shows it loads it again by itself, until
//! the page says how the run ended, or that nobody follows it any more. What has ended is in the journal; what is under
//! way is the step that comes next.

use crate::begin::by_script;
use crate::reconcile::has_ended;
use crate::report::{kept, told, write};
use cm_core::time::span;
use cm_core::{Document, Exit, Failure, Io, Journal, Result, Status, Step, redact};
use jiff::Timestamp;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the page is written.
const AGAIN: Duration = Duration::from_secs(1);

/// A step that takes longer than this, and three times as long as the last time, may not be running at all.
const LONG: Duration = Duration::from_secs(600);

/// Lets a browser load the page again.
const LOADED_AGAIN: &str = "<head><meta http-equiv=\"refresh\" content=\"2\">";

/// Writes the page of `run`, by default the one that is under way or begins next on this machine, again and again until
/// the run has ended, or no step of it has ended for `patience`.
///
/// # Errors
/// [`Exit::Usage`] without such a run, or where the page would not be a file; [`Exit::Config`] if it cannot be written.
pub async fn follow(run: Option<&str>, file: &Path, patience: Duration, io: &Io) -> Result<()> {
    if run == Some("-") || file == Path::new("-") {
        return Err(Failure::new(Exit::Usage, "usage.follow", "`--follow` takes a run and writes a file"));
    }
    let Some(run) = run else { return newest(file, patience, io).await };
    let id = kept(run)?.ok_or_else(|| {
        Failure::new(Exit::Usage, "usage.no-run", "this machine has no journal of such a run")
            .hint("follow a run on the machine that deploys, once it has begun")
    })?;
    while_it_goes_on(&id, file, patience, io, || None).await.map(drop)
}

/// Follows the run that began last; where that has ended, the one that begins next. Whoever follows often does so
/// in the second in which the deployment begins, and the last journal may be of a plan that nobody carries out.
async fn newest(file: &Path, patience: Duration, io: &Io) -> Result<()> {
    let last = || Journal::runs().pop();
    let began = Instant::now();
    let mut id = last();
    if id.as_deref().is_none_or(|id| Journal::of(id).newest("cm-record").is_ok_and(|doc| has_ended(&doc))) {
        io.log.info("no run is under way: waiting for one to begin; Ctrl-C ends it");
        let ended = id;
        id = loop {
            match last() {
                Some(id) if Some(&id) > ended.as_ref() => break Some(id),
                _ if began.elapsed() > patience => {
                    io.log.warn(format!("no run began in {}", span(patience)));
                    return Ok(());
                }
                _ => tokio::time::sleep(AGAIN).await,
            }
        };
    }
    while let Some(run) = id {
        // A backup that cron makes meanwhile is no reason to leave a deployment.
        let leave = |newer: &String| *newer > run && (!by_script(&run) || by_script(newer));
        id = while_it_goes_on(&run, file, patience, io, || last().filter(leave)).await?;
    }
    Ok(())
}

/// Writes the page until the run has ended or `patience` is over, or until `newer` is a run to follow instead.
async fn while_it_goes_on(
    id: &str,
    file: &Path,
    patience: Duration,
    io: &Io,
    newer: impl Fn() -> Option<String>,
) -> Result<Option<String>> {
    io.log.info(format!("following run {id} in {}; Ctrl-C ends it", file.display()));
    let mut changed = (0, Instant::now());
    loop {
        let doc = Journal::of(id).newest("cm-record").ok();
        let steps = doc.as_ref().map_or(0, |doc| doc.stages().len());
        if steps != changed.0 {
            changed = (steps, Instant::now());
        }
        let given_up = changed.1.elapsed() > patience;
        if let Some(doc) = &doc {
            show(doc, file, given_up.then_some(patience))?;
        }
        if doc.as_ref().is_some_and(has_ended) {
            io.log.info(format!("run {id} has ended; its report is in {}", file.display()));
            return Ok(None);
        }
        if given_up {
            io.log.warn(format!("run {id}: {}", silent_for(patience)));
            return Ok(None);
        }
        if let Some(newer) = newer() {
            return Ok(Some(newer));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn show(doc: &Document, file: &Path, given_up: Option<Duration>) -> Result<()> {
    let note = match given_up {
        _ if has_ended(doc) => Some("The run has ended: this page does not change any more.".to_owned()),
        Some(patience) => Some(format!("The deployment is not over: {}", silent_for(patience))),
        None => Some(format!("The deployment is not over. {}This page is written again every second.", under_way(doc))),
    };
    let page = redact(&cm_report::page(&doc.as_value(), &told(doc.run_id()), note.as_deref())).into_owned();
    let goes_on = !has_ended(doc) && given_up.is_none();
    let page = if goes_on { page.replacen("<head>", LOADED_AGAIN, 1) } else { page };
    write(file, page.as_bytes())
}

fn silent_for(patience: Duration) -> String {
    format!(
        "no step of it has ended for {}, and nobody follows it any more. Was it killed? `cm-record history` and the \
         next deployment say so; `cm-record report --follow` follows it again",
        span(patience)
    )
}

/// `Under way: build, for 34 s (2 min 10 s the last time). `, as far as it is known. A journal does not tell a step that
/// takes long from a run whose program was killed, or a plan that nobody carried out: after a while both are said.
fn under_way(doc: &Document) -> String {
    let Some(step) = next(doc) else { return String::new() };
    let began = doc.stages().last().map_or_else(|| doc.started_at().to_owned(), |last| last.started_at.clone());
    let before = doc.stages().last().map_or(0, |last| last.duration_ms);
    let began = began.parse::<Timestamp>().ok().map(|at| at + Duration::from_millis(before));
    let whole = |duration: Duration| span(Duration::from_secs(duration.as_secs()));
    let lasts = began.and_then(|began| Duration::try_from(Timestamp::now() - began).ok());
    let last = Journal::run_before(doc, step).and_then(|run| Some(run.done(step)?.duration_ms)).unwrap_or_default();
    let last = Duration::from_millis(last);
    if let Some(lasts) = lasts.filter(|lasts| *lasts > LONG && *lasts > last * 3) {
        return format!(
            "No step has ended for {}: either {step} takes that long, or nothing runs any more. ",
            whole(lasts)
        );
    }
    let lasts = lasts.map_or(String::new(), |lasts| format!(", for {}", whole(lasts)));
    let last = if last.as_secs() > 0 { format!(" ({} the last time)", whole(last)) } else { String::new() };
    format!("Under way: {step}{lasts}{last}. ")
}

/// The step after the last one that has ended.
fn next(doc: &Document) -> Option<Step> {
    let last = doc.stages().last().and_then(|stage| stage.step);
    if doc.status() != Status::Ok {
        return Some(if last < Some(Step::Rollback) { Step::Rollback } else { Step::Record });
    }
    let comes = |step: &Step| last < Some(*step) && doc.skip_of(*step).is_none();
    let of_pipe = |step: &Step| !matches!(step, Step::Lock | Step::Rollback | Step::Unlock);
    Step::ALL.into_iter().filter(of_pipe).find(comes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Stage, StageStatus};

    #[test]
    fn what_is_under_way_is_the_step_after_the_last_that_ended() {
        let mut doc = Document::start("cm-record", "ada", false);
        assert_eq!(next(&doc), Some(Step::Detect));
        let stage = |step| Stage { step: Some(step), status: StageStatus::Ok, ..Stage::default() };
        let started_at = (Timestamp::now() - Duration::from_secs(90)).to_string();
        doc.push_stage(&Stage { started_at, duration_ms: 0, ..stage(Step::Baseline) });
        assert!(under_way(&doc).starts_with("Under way: build, for 90 s"), "{}", under_way(&doc));
        let mut old = Document::start("cm-record", "ada", false);
        let started_at = (Timestamp::now() - Duration::from_secs(1_800)).to_string();
        old.push_stage(&Stage { started_at, duration_ms: 0, ..stage(Step::Detect) });
        assert!(under_way(&old).starts_with("No step has ended for 30 min"), "{}", under_way(&old));
        doc.push_stage(&stage(Step::Verify));
        assert_eq!(next(&doc), Some(Step::Prune), "nothing is rolled back");
        doc.fail(Step::Verify, &Failure::new(Exit::VerifyFailed, "verify.failed", "no"));
        assert_eq!(next(&doc), Some(Step::Rollback));
        doc.push_stage(&stage(Step::Rollback));
        assert_eq!(next(&doc), Some(Step::Record));
    }

    #[test]
    fn a_page_that_is_given_up_says_so_and_is_not_loaded_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("page.html");
        let doc = Document::start("cm-record", "ada", false);
        let shown = |given_up| {
            show(&doc, &file, given_up).expect("written");
            std::fs::read_to_string(&file).expect("a page")
        };
        let page = shown(None);
        assert!(page.contains("http-equiv=\"refresh\"") && page.contains("Under way: detect"), "{page}");
        let mut ended = Document::start("cm-record", "ada", false);
        ended.push_stage(&Stage { step: Some(Step::Record), status: StageStatus::Ok, ..Stage::default() });
        show(&ended, &file, None).expect("written");
        let page = std::fs::read_to_string(&file).expect("a page");
        assert!(!page.contains("refresh") && page.contains("The run has ended"), "{page}");
        let page = shown(Some(Duration::from_secs(6 * 3_600)));
        assert!(!page.contains("refresh") && page.contains("no step of it has ended for "), "{page}");
    }
}
