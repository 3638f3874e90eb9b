//! Says whether services are healthy: chooses what to watch, lets the gate watch it,
//! and reports in the runbook's words. The gate itself is in `cm-gate`.

mod ahead;
mod args;
mod cures;
mod live;
mod others;
pub mod preflight;
mod report;
mod selection;
mod watched;

pub use args::Args;

use cm_core::facts::HealthFacts;
use cm_core::{CommonArgs, Done, Early, Exit, Found, Io, Result, Run, Step, plural};
use cm_project::Project;
use selection::Selection;
use watched::{Watched, settings};

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-health";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-health --all </dev/null", "are all services healthy?"),
        ("cm-health --preflight </dev/null", "are the servers ready?"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(args: &Args) -> Step {
        if args.preflight { Step::Preflight } else { Step::Health }
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if args.script {
            return Some(print_script(args, io));
        }
        if args.watch { Some(live::run(args, io).await) } else { None }
    }

    fn ask_ahead(args: &Args, early: Early) -> Option<impl Future<Output = Option<Found>> + 'static> {
        Some(ahead::ask(args.clone(), early))
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let project = cm_git::of_run(&args.common, &run.doc)?;
        if run.started_here {
            run.doc.set_target(&project.name(), Some(&project.branch()), None);
        }
        if args.preflight {
            return preflight::run(&project, run).await;
        }
        if run.dry_run() {
            let selection = Selection::choose(&project, &args, run)?;
            return Ok(describe(&project, &args, &selection, run));
        }
        gate(&project, &args, run).await
    }
}

fn print_script(args: &Args, io: &Io) -> Result<Exit> {
    io.print(&preflight::script(&Project::load(&args.common, cm_git::tracked)?)?)?;
    Ok(Exit::Done)
}

fn describe(project: &Project, args: &Args, selection: &Selection, run: &mut Run) -> Done {
    let settings = settings(project, args);
    for watch in &selection.hosts {
        let names = watch.services().join(", ");
        run.log.info(format!("would wait on {} up to {} s for: {names}", watch.host, settings.timeout.as_secs()));
    }
    run.doc.add_part(&HealthFacts { would_watch: Some(selection.facts()), ..HealthFacts::default() });
    Done::ok(format!("would watch {}", plural(selection.count() as u64, "service")))
}

async fn gate(project: &Project, args: &Args, run: &mut Run) -> Result<Done> {
    let Watched { hosts, posts, findings } = match run.found_ahead().await {
        Some(watched) => watched,
        None => Watched::watch(project, args, &Selection::choose(project, args, run)?, run).await?,
    };
    let others = others::find(&posts, &findings.containers, preflight::unhealthy_before(&run.doc));
    run.doc.add_part(&HealthFacts {
        verdict: Some(cm_gate::overall(&findings.verdicts)),
        good_since: findings.good_since.map(|since| since.to_string()),
        services: Some(findings.verdicts.clone()),
        unwell_neighbours: Some(others.clone()),
        ..HealthFacts::default()
    });
    others::warn(&others, &others::idle(project, &findings.containers), &run.log);
    report::conclude(&findings.verdicts, &hosts, &others, &run.log)
}
