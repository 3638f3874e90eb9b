//! Holds the deploy lock, so that two people can never deploy at once, and nobody is
//! locked out by a stale lock. `cm-lock run -- COMMAND` is the plain use: the lock lives exactly
//! as long as COMMAND. `acquire` and `release` are for pipes and scripts, `status`
//! and `break` for people. As a plain filter it asks whether the lock still holds.

mod args;
mod breaking;
mod child;
mod detached;
mod family;
mod place;
mod run;
mod status;
mod wait;

pub use args::Args;

use args::Command;
use cm_core::facts::LockFacts;
use cm_core::{Accepts, CommonArgs, Document, Done, Exit, Failure, Io, Result, Run, Status, Step, plural};
use cm_lease::Guard;
use place::Place;

/// The program.
#[derive(Debug)]
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-lock";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-lock run -- ssh web make upgrade", "hold the lock while a command runs"),
        ("cm-lock status", "who holds it?"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_lease::SCHEMA];
    // A lock is always released, whatever became of the run.
    const ACCEPTS: Accepts = Accepts::Any;
    const THREADS: usize = 0;
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(args: &Args) -> Step {
        match args.command {
            Some(Command::Release) => Step::Unlock,
            _ => Step::Lock,
        }
    }

    /// Whoever holds the lock for others ends with them, not at a signal.
    fn handles_signals(args: &Args) -> bool {
        matches!(args.command, Some(Command::Run(_) | Command::Hold))
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        match &args.command {
            Some(Command::Run(run)) => Some(run::run(&args.common, run, &io.log).await),
            Some(Command::Status { json, wide, place }) => {
                Some(status::status(&args.common, place, status::Shown::new(*json, *wide), io).await)
            }
            Some(Command::Break(flags)) => Some(breaking::break_lock(&args.common, flags, io).await),
            Some(Command::Hold) => Some(detached::hold(io).await),
            Some(Command::Acquire(_) | Command::Release) | None => None,
        }
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        match &args.command {
            Some(Command::Release) => detached::release(&args.common, run).await,
            _ if run.doc.status() != Status::Ok => Ok(Done::refused("an earlier stage failed")),
            Some(Command::Acquire(flags)) => detached::acquire(&args.common, flags, run).await,
            _ => check(&args.common, run).await,
        }
    }
}

/// The filter: does this run's lock still hold, here and on every host of the plan?
async fn check(common: &CommonArgs, run: &mut Run) -> Result<Done> {
    if run.dry_run() {
        return Ok(Done::skipped("a dry run needs no lock"));
    }
    let place = Place::of_run(common, &run.doc)?;
    place::check_project(common, &run.doc)?;
    let hosts = place.connect(&run.log).await?;
    let project = place.project.as_deref().unwrap_or_default();
    match Guard::inside(project, &place.file, &hosts, &(&*run).into()).await? {
        Some(_) => {
            Ok(Done::ok(format!("the deploy lock holds on this machine and {}", plural(hosts.len() as u64, "host"))))
        }
        None => Err(none_held()),
    }
}

fn none_held() -> Failure {
    Failure::new(Exit::LockLost, "lock.none", "this run holds no deploy lock")
        .hint("run the whole script inside it: cm-lock run -- SCRIPT; to see who holds it: cm-lock status")
}

/// The hosts that an earlier `cm-lock acquire` of this run locked.
pub(crate) fn acquired_hosts(document: &Document) -> Option<Vec<String>> {
    document.part::<LockFacts>().hosts
}
