//! Records a deployment: the outcome in the ledger of every host it changed, the
//! event at the ops API, a line in Slack. The ledger comes first, because the next
//! deployment rests on it; telling people never fails a deployment, and a ledger that
//! cannot be written is no reason not to tell them.

mod abandoned;
mod args;
mod begin;
mod closing;
mod diff;
mod dora;
mod event;
mod follow;
mod history;
mod ledger;
mod outbox;
mod post;
mod reconcile;
mod report;
mod show;
mod summary;
mod told;
mod why;

pub use args::{Args, Sub};

use cm_core::facts::{RecordFacts, RecordedEvent};
use cm_core::{Accepts, CommonArgs, Done, Event, Exit, Io, OrFail, Result, Run, Status, Step, plural};
use cm_project::Project;
use outbox::Outbox;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-record";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-record history", "what ran when, and how it ended"),
        ("cm-record report --html r.html", "a page about the last deployment"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA, cm_core::EVENT_SCHEMA];
    const ACCEPTS: Accepts = Accepts::Any;
    const FINISHES_ON_INTERRUPT: bool = true;
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(_: &Args) -> Step {
        Step::Record
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        Some(answer(args, args.command.as_ref()?, io).await)
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        if run.started_here {
            run.log.info("no document on stdin; nothing to record (`cm-record history` shows what is recorded)");
            return Ok(Done::skipped("no document"));
        }
        if run.doc.error().and_then(|error| error.step).is_some_and(|step| step <= Step::Push) {
            run.log.debug("it failed before any server was looked at; nothing to record");
            return Ok(Done::skipped("nothing was begun"));
        }
        let project = cm_git::of_run(&args.common, &run.doc)?;
        let event = event::of(&run.doc);
        if run.dry_run() {
            run.log.info(format!("would record on {} and tell the ops API and Slack", ledger::describe(&run.doc)));
            run.doc.set_part(&RecordFacts { hosts: None, event: Some(RecordedEvent::ToSend(Box::new(event))) });
            return Ok(Done::ok("would record the outcome"));
        }
        let (hosts, failure) = ledger::record(&project, run).await?;
        let sent = tell(&project, &event, run).await;
        run.doc.set_part(&RecordFacts {
            hosts: Some(hosts.clone()),
            event: Some(RecordedEvent::Sent(sent.as_str().to_owned())),
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        announce(run);
        let summary =
            format!("{} in {}; event {}", event.status.as_str(), plural(hosts.len() as u64, "ledger"), sent.as_str());
        Ok(if sent.is_worrying() { Done::warned(summary) } else { Done::ok(summary) }.changed(true))
    }
}

async fn answer(args: &Args, command: &Sub, io: &Io) -> Result<Exit> {
    let load = || Project::load(&args.common, cm_git::tracked);
    match command {
        Sub::History { json, wide, last } => history::history(&load()?, *json, *wide, *last, io).await?,
        Sub::Show { run, json } => show::show(&load()?, run, *json, io).await?,
        Sub::Why { service, json } => why::why(&load()?, service, *json, io).await?,
        Sub::Diff { a, b, json, wide } => diff::diff(&load()?, [a, b], *json, *wide, io).await?,
        Sub::Dora { since, json } => dora::dora(&load()?, *since, *json, io).await?,
        // Of a run that this machine knows, also away from its project.
        Sub::Report { run, html, follow: true, give_up_after } => {
            follow::follow(run.as_deref(), html, *give_up_after, io).await?;
        }
        Sub::Report { run, html, .. } => report::report(&args.common, run.as_deref(), html, io).await?,
        Sub::Begin(begin) => begin::begin(&load()?, &args.common, begin, io).await?,
        Sub::Open => begin::open(io)?,
        Sub::Options { run } => begin::options(run, io)?,
        Sub::Unfinished { codes } => closing::unfinished(codes, io)?,
        Sub::End { codes } => return closing::end(codes, io),
        Sub::Reconcile { host, resume } => {
            let doc = reconcile::reconcile(&load()?, &args.common, host, resume.as_deref(), io).await?;
            doc.map_or(Ok(()), |doc| io.print(doc.to_text(false).trim_end()))?;
        }
        Sub::Flush { rejected } => flush(&load()?, *rejected, io).await?,
    }
    Ok(Exit::Done)
}

async fn flush(project: &Project, rejected: bool, io: &Io) -> Result<()> {
    if project.ops().is_none() {
        return Err(post::not_configured());
    }
    let outbox = Outbox::of(project);
    if rejected {
        let again =
            outbox.reconsider().or_fail(Exit::Config, "outbox.rejected", "cannot move the refused events back")?;
        io.log.info(format!("sent again: {}", plural(again as u64, "refused event")));
    }
    let left = outbox.flush(project, &io.log).await;
    match left {
        0 => io.log.info("no event waits any more"),
        left => io.log.warn(format!("{} for the ops API still waiting", plural(left as u64, "event"))),
    }
    Ok(())
}

async fn tell(project: &Project, event: &Event, run: &Run) -> outbox::Sent {
    told::outcome(project, run).await;
    Outbox::of(project).send(project, event, &run.log).await
}

fn announce(run: &Run) {
    let seconds = event::seconds(&run.doc);
    match run.doc.status() {
        Status::Ok => run.log.success(format!("deployment {} recorded after {seconds} s", run.doc.run_id())),
        Status::RolledBack => {
            run.log.warn(format!("deployment {} failed and was rolled back; recorded", run.doc.run_id()))
        }
        Status::Failed => run.log.fail(format!("deployment {} failed; recorded", run.doc.run_id())),
    }
}
