//! Finds the services that a commit changes: what runs on each host is compared with
//! the commit to deploy, and every changed path is looked up among the inferred
//! inputs of every service. Reads only.

mod args;
mod attributes;
mod bases;
mod compare;
mod decide;
mod detection;
mod effective;
mod explain;
mod init;
mod leftover;
mod notes;
mod opened;
mod outcome;
mod plan;
mod python;
mod question;
mod reason;
mod recorded;
mod remarks;
mod spread;
mod syntax;
mod target;
mod worktree;

pub use args::{Args, OnUnknownBase};

use cm_core::{CommonArgs, Done, Exit, Io, Log, Result, Run, Service, Step};
use cm_project::OnDrift;
use detection::Detection;
use notes::Notes;
use opened::open;
use remarks::{say, warn_of_drift, warn_of_plan};
use worktree::Scan;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-detect";
    const THREADS: usize = 1;
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-detect </dev/null", "what would be deployed, and why"),
        ("cm-detect --init --host ada@server", "write a cm.toml for this repository"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(_: &Args) -> Step {
        Step::Detect
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if args.init {
            return Some(init::run(args, io));
        }
        let service = args.explain.clone()?;
        Some(explain_service(args, &service, io).await)
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let notes = Notes::new(&run.log);
        let opened = open(&args)?;
        opened.0.check_project(&run.doc)?;
        // Looked for while the rest is found out: it costs what the working tree holds.
        let scan = args.repo.is_none().then(|| Scan::start(&opened.1));
        let detection = Detection::new(&args, opened, Some(&run.doc), &notes).await?;
        let plan = detection.plan(&notes)?;
        detection.warn_of_files(&notes);
        detection.judge_broken(&plan)?;
        warn_of_plan(&plan, &notes);
        warn_of_drift(&plan, detection.project.config.deploy.drift == OnDrift::Apply, &notes);
        detection.warn_of_missing_dockerfiles(&plan, &notes)?;
        let uncommitted = match scan {
            Some(scan) => scan.report(&detection.inputs, &notes).await,
            None => worktree::clean(),
        };
        detection.check_python(&args, &plan, &notes).await?;
        let target = &detection.target;
        run.doc.set_target(&detection.project.name(), Some(&target.branch), Some(&target.commit.to_string()));
        run.doc.set_services(&plan.services)?;
        if args.full {
            run.doc.set_full();
        }
        run.doc.set_part(&detection.facts(&plan, uncommitted));
        let summary = say(&plan, &notes);
        // The process ends next; to free every path and object first would be a noticeable part of its time.
        std::mem::forget(detection);
        Ok(if notes.warned() { Done::warned(summary) } else { Done::ok(summary) })
    }
}

async fn explain_service(args: &Args, service: &str, io: &Io) -> Result<Exit> {
    let notes = Notes::new(&io.log);
    let detection = Detection::new(args, open(args)?, None, &notes).await?;
    let plan = detection.plan(&notes)?;
    if !plan.services.iter().any(|known| known.name == service) {
        detection.project.service(service)?;
    }
    io.print(&explain::explain(&detection, &plan, service))?;
    Ok(Exit::Done)
}

/// The services of the plan that `args` ask for, without a document: the same as the
/// program finds, for programs and tests that have no pipe.
///
/// # Errors
/// As the program.
pub async fn services(args: &Args, log: &Log) -> Result<Vec<Service>> {
    let notes = Notes::new(log);
    let detection = Detection::new(args, open(args)?, None, &notes).await?;
    Ok(detection.plan(&notes)?.services)
}
