//! Verifies a deployment from outside: the canary, then the checks. How an answer is
//! judged is in `cm-checks` and `cm-canary`; here is what is asked, what is said about it, and how the
//! program ends.

mod ahead;
mod args;
mod asking;
mod junit;
mod kept;
mod plan;
mod results;

pub use args::Args;

use ahead::Verified;
use asking::Before;
use cm_core::facts::{HealthFacts, VerifyFacts};
use cm_core::time::rough;
use cm_core::{CommonArgs, Document, Done, Early, Exit, Found, Io, Log, Result, Run, Step, redact};
use cm_notify::{Message, Told};
use cm_project::Project;
use jiff::Timestamp;
use kept::Kept;
use plan::{Plan, load, with_skips};
use results::Results;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-verify";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-verify </dev/null", "make all checks from outside"),
        ("cm-verify --json --junit r.xml", "the same, for CI"),
    ];
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(args: &Args) -> Step {
        if args.baseline { Step::Baseline } else { Step::Verify }
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if !args.json {
            return None;
        }
        Some(print_results(args, io).await)
    }

    fn ask_ahead(args: &Args, early: Early) -> Option<impl Future<Output = Option<Found>> + 'static> {
        Some(ahead::ask(args.clone(), early))
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let project = load(&args, Some(&run.doc))?;
        if run.started_here {
            run.doc.set_target(&project.name(), Some(&project.branch()), None);
        }
        let args = with_skips(args, &run.doc);
        let plan = Plan::of(&project, &args, run.started_here);
        if run.dry_run() {
            return Ok(plan.describe(&args, run));
        }
        if args.baseline {
            return Ok(baseline(&project, run).await);
        }
        if !plan.canary && !plan.checks {
            run.doc.set_part(&VerifyFacts {
                verdict: Some(None),
                canary: Some(None),
                checks: Some(Vec::new()),
                ..VerifyFacts::default()
            });
            if !plan.skipped {
                run.log.warn(format!("nothing was asked from outside: {}", plan.nothing()));
            }
            write_junit(&args, &project, &Results::default(), run)?;
            return Ok(Done::skipped(plan.nothing()));
        }
        let results = match verified_ahead(run).await {
            Some(results) => results,
            None => plan.carry_out(&run.doc, &run.log).await?,
        };
        results.say(&run.log);
        run.doc.set_part(&results.facts());
        if let Some(answers) = results.good_answers().filter(|_| !run.started_here) {
            kept::keep(&project, &run.doc, answers);
        }
        write_junit(&args, &project, &results, run)?;
        alert(&project, &results, &run.doc, args.notify, &run.log).await;
        results.conclude(plan.checks, &run.log)
    }
}

/// What was found while the gate watched, if it says that everything was good all that time.
async fn verified_ahead(run: &mut Run) -> Option<Results> {
    let was_good = |verified: &Verified, doc: &Document| {
        let since = doc.part::<HealthFacts>().good_since.and_then(|since| since.parse::<Timestamp>().ok());
        doc.planned().is_empty() || since.is_some_and(|since| since <= verified.began)
    };
    run.found_ahead_if(was_good).await.map(|verified| verified.results)
}

/// The report for CI. A deployment is not rolled back because a file cannot be written.
fn write_junit(args: &Args, project: &Project, results: &Results, run: &Run) -> Result<()> {
    let Some(path) = &args.junit else { return Ok(()) };
    match junit::write(path, &project.name(), results) {
        Err(failure) if !run.started_here => {
            run.log.warn(failure.to_string());
            Ok(())
        }
        written => written,
    }
}

/// Asks what runs now, for the canary of a later program of this pipe.
async fn baseline(project: &Project, run: &mut Run) -> Done {
    if project.canary().url.is_none() {
        return Done::skipped("cm.toml has no canary");
    }
    if !run.started_here && run.doc.planned().is_empty() {
        return Done::skipped("nothing changes");
    }
    let (before, since) = match Kept::of_what_runs(project, &run.doc) {
        Some(kept) => {
            let since = format!(", asked {} ago by the canary of run {}", rough(kept.age_s()), kept.run);
            (Before::again(project, kept, &run.log).await, since)
        }
        None => {
            let side = run.found_ahead().await.unwrap_or_default();
            (Before::ask(project, side, &run.log).await, String::new())
        }
    };
    run.doc.set_part(&VerifyFacts { baseline: Some(before.facts()), ..VerifyFacts::default() });
    let summary = format!("{}{since}", before.summary());
    if before.is_good() {
        run.log.info(format!("before the build: {summary}"));
        return Done::ok(summary);
    }
    run.log.warn(format!("before the build: {summary}"));
    Done::warned(summary)
}

/// Tells Slack what fails: in a deployment as the communication plan wants it, alone
/// where it is asked for.
async fn alert(project: &Project, results: &Results, doc: &Document, asked: bool, log: &Log) {
    let failed = results.failure().map(|failure| (failure.message, failure.exit == Exit::VerifyFailed));
    let forward = || results.fixed_forward().map(|message| (message, true));
    let Some((reason, failed)) = failed.or_else(forward).filter(|_| asked || results.deploying) else { return };
    let severity = results.severity().filter(|_| failed);
    let message = Message::VerificationFailed { reason: &reason, severity };
    match cm_notify::tell(project, doc, message, log).await {
        Told::Now => log.info("told Slack"),
        Told::NotWanted if asked => log.warn(format!(
            "Slack was not notified: the variable {}, which holds its webhook, is not set",
            project.notify().slack_webhook_env
        )),
        Told::NotWanted | Told::Before | Told::Not => {}
    }
}

/// The results alone, for CI.
async fn print_results(args: &Args, io: &Io) -> Result<Exit> {
    use cm_core::Tool as _;
    let project = load(args, None)?;
    let doc = Document::start(Tool::NAME, &cm_core::actor(), false);
    let results = Plan::of(&project, args, true).carry_out(&doc, &io.log).await?;
    results.say(&io.log);
    io.print(&redact(&serde_json::json!(results.facts()).to_string()))?;
    if let Some(path) = &args.junit {
        junit::write(path, &project.name(), &results)?;
    }
    alert(&project, &results, &doc, args.notify, &io.log).await;
    results.conclude(true, &io.log).map(|_| Exit::Done)
}
