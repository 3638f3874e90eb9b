//! Says whether services are healthy: chooses what to watch, lets the gate watch it,
//! and reports in the runbook's words. The gate itself is in `cm-gate`.

mod args;
mod cures;
mod live;
mod others;
pub mod preflight;
mod report;
mod selection;

pub use args::Args;

use cm_core::facts::HealthFacts;
use cm_core::{CommonArgs, Done, Exit, Io, Log, Result, Run, Step, plural};
use cm_gate::{Gate, Post, Settings};
use cm_host::{Connect, Host};
use cm_project::Project;
use selection::Selection;

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

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let project = Project::of_run(&args.common, &run.doc, cm_git::tracked)?;
        if run.started_here {
            run.doc.set_target(&project.name(), Some(&project.branch()), None);
        }
        if args.preflight {
            return preflight::run(&project, run).await;
        }
        let selection = Selection::choose(&project, &args, run)?;
        if run.dry_run() {
            return Ok(describe(&project, &args, &selection, run));
        }
        gate(&project, &args, &selection, run).await
    }
}

fn print_script(args: &Args, io: &Io) -> Result<Exit> {
    io.print(&preflight::script(&Project::load(&args.common, cm_git::tracked)?)?)?;
    Ok(Exit::Done)
}

/// The project's limits, with the flags over them.
fn settings(project: &Project, args: &Args) -> Settings {
    let mut settings = Settings::of(project.health());
    settings.timeout = args.timeout.unwrap_or(settings.timeout);
    settings.window = args.window.unwrap_or(settings.window);
    settings.fail_fast = !args.keep_going;
    settings.strict = args.timeout.is_some();
    settings
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

async fn gate(project: &Project, args: &Args, selection: &Selection, run: &mut Run) -> Result<Done> {
    let hosts = project.connect(selection.hosts.iter().map(|watch| &watch.host), &run.log).await?;
    let posts = posts(project, selection, &hosts, &run.log).await?;
    run.log.info(format!("waiting for {}…", plural(selection.count() as u64, "service")));
    let findings = Gate::new(settings(project, args)).watch_all(posts.clone(), &run.log).await?;
    let others = others::find(&posts, &findings.containers, preflight::unhealthy_before(&run.doc));
    run.doc.add_part(&HealthFacts {
        verdict: Some(cm_gate::overall(&findings.verdicts)),
        services: Some(findings.verdicts.clone()),
        unwell_neighbours: Some(others.clone()),
        ..HealthFacts::default()
    });
    others::warn(&others, &run.log);
    report::conclude(&findings.verdicts, &hosts, &others, &run.log)
}

async fn posts(project: &Project, selection: &Selection, hosts: &[Host], log: &Log) -> Result<Vec<Post>> {
    let mut posts = Vec::new();
    for (watch, host) in selection.hosts.iter().zip(hosts) {
        let name = watch.compose_project_on(project, host, log).await?;
        posts.push(Post { host: host.clone(), project: name, wanted: watch.wanted.clone() });
    }
    Ok(posts)
}
