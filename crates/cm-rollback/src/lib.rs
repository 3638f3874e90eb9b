//! Goes back to what was proved. The target of each service is its last verified
//! release, not the commit before: after three bad deployments the commit before is
//! bad too. Everything is looked for before anything is touched; going back is giving
//! kept images their name again and starting them, without a build; and the result
//! is gated and verified like a deployment, so that "rolled back" is never just hoped.

mod args;
mod back;
mod list;
mod proof;
mod target;

pub use args::Args;

use back::{Outcome, go_back};
use cm_core::{Accepts, CommonArgs, Done, Exit, Failure, Io, Journal, Result, Run, Status};
use cm_host::{Host, Target, connect_all};
use cm_lease::Guard;
use cm_ledger::Ledger;
use cm_project::Project;
use serde_json::{Map, Value, json};
use target::HostTarget;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-rollback";
    const ACCEPTS: Accepts = Accepts::Any;
    const FINISHES_ON_INTERRUPT: bool = true;
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if !args.list {
            return None;
        }
        Some(list::list(&args.common, io).await.map(|()| Exit::Done))
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        if let Some(id) = &args.run {
            run.doc = killed_run(id)?;
        }
        if args.on_failure {
            if let Some(done) = nothing_to_do(run)? {
                return Ok(done);
            }
        } else if !run.started_here && run.doc.status() != Status::Ok {
            return Err(Failure::new(Exit::Usage, "usage.on-failure", "a failed document came in")
                .hint("use cm-rollback --on-failure at the end of a pipe"));
        }
        let project = Project::load(&args.common)?;
        roll_back(&project, &args, run).await
    }
}

/// The last document of a run whose programs were killed. It says nothing of a
/// failure yet: the kill is the failure, unless all was verified by then.
fn killed_run(id: &str) -> Result<cm_core::Document> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(Failure::new(Exit::Usage, "usage.run", format!("{id:?} is no run id"))
            .hint("a run id looks like 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10; `ls ~/.local/state/cm/runs` shows them"));
    }
    let mut doc = Journal::of(id).newest("cm-rollback")?;
    if doc.status() == Status::Ok && !was_found_good(&doc) {
        doc.set_status(Status::Failed);
    }
    Ok(doc)
}

/// Whether this program saw the run before, and nothing to take back: what was killed
/// after that only cleans and records.
fn was_found_good(doc: &cm_core::Document) -> bool {
    doc.stages().iter().any(|stage| stage["tool"] == "cm-rollback")
}

/// Why `--on-failure` does nothing, if it does nothing.
fn nothing_to_do(run: &Run) -> Result<Option<Done>> {
    let code = run.doc.error().and_then(|error| error["exit"].as_u64()).map(Exit::from_code);
    match (run.doc.status(), code) {
        (Status::Ok, _) => Ok(Some(Done::skipped("nothing failed"))),
        (Status::RolledBack, _) => Ok(Some(Done::skipped("already rolled back"))),
        (Status::Failed, _) if target::undo_entries(&run.doc).is_empty() => {
            run.log.info("nothing was changed on any host; nothing to take back");
            Ok(Some(Done::skipped("nothing was changed")))
        }
        (Status::Failed, Some(exit @ (Exit::HealthUnknown | Exit::VerifyUnknown | Exit::LockLost))) => {
            run.log.warn(format!("not rolling back: {}, and that says nothing about the release", exit.meaning()));
            run.log.warn("look at it; then `cm-verify` again, or `cm-rollback` to go back");
            Ok(Some(Done::warned(format!("left in place: {}", exit.meaning()))))
        }
        (Status::Failed, _) => Ok(None),
    }
}

async fn roll_back(project: &Project, args: &Args, run: &mut Run) -> Result<Done> {
    let hosts = connect(project, args, run).await?;
    let mut ledgers = Vec::new();
    for host in &hosts {
        ledgers.push(Ledger::read(host, &project.name()).await?);
    }
    let targets = target::choose(project, args, &run.doc, &hosts, &ledgers).await?;
    if run.started_here && args.run.is_none() {
        run.doc.set_target(
            &project.name(),
            Some(&project.branch()),
            targets.first().map(|target| target.commit.as_str()),
        );
    }
    announce(&targets, run);
    if run.dry_run() {
        run.doc.set_facts(json!({"hosts": targets.iter().map(HostTarget::to_json).collect::<Map<_, _>>()}));
        return Ok(Done::ok("would roll back"));
    }
    let lock = project.lock();
    let guard = Guard::enter(&project.name(), lock.lease, &lock.file, &hosts, run).await?;
    let to = targets.first().map(|target| target.commit.clone());
    let result = go_back_on_all(project, args, &hosts, &ledgers, targets, &guard, run).await;
    tell(project, to.as_deref(), &result, run).await;
    let released = guard.release().await;
    result.and_then(|done| released.map(|()| done))
}

async fn connect(project: &Project, args: &Args, run: &Run) -> Result<Vec<Host>> {
    let names: Vec<String> = if args.on_failure {
        target::undo_entries(&run.doc).iter().filter_map(|entry| entry["host"].as_str().map(str::to_owned)).collect()
    } else if args.host.is_empty() {
        project.hosts().iter().map(|host| host.name.clone()).collect()
    } else {
        args.host.clone()
    };
    let targets: Vec<_> = names.iter().map(|name| Target::of(project, project.host(name)?)).collect::<Result<_>>()?;
    connect_all(&targets, &run.log).await
}

fn announce(targets: &[HostTarget], run: &Run) {
    for target in targets {
        let names: Vec<_> = target.services.keys().cloned().collect();
        run.log.warn(format!("rolling back on {}: {} to commit {}", target.host, names.join(", "), target.short()));
    }
}

/// All hosts that were switched, one after the other; a host that fails does not
/// keep the others from going back.
async fn go_back_on_all(
    project: &Project,
    args: &Args,
    hosts: &[Host],
    ledgers: &[Ledger],
    targets: Vec<HostTarget>,
    guard: &Guard,
    run: &mut Run,
) -> Result<Done> {
    let mut facts = Map::new();
    let mut failures: Vec<Failure> = Vec::new();
    for target in targets {
        let Some((host, ledger)) = hosts.iter().zip(ledgers).find(|(host, _)| host.name() == target.host) else {
            continue;
        };
        let outcome = go_back(project, host, ledger, &target, guard, run).await;
        facts.insert(target.host.clone(), outcome.to_json(&target));
        if let Outcome::Failed(failure) = outcome {
            run.log.failure(&failure);
            failures.push(failure);
        }
    }
    let verdict = if failures.is_empty() && !args.skip_verify {
        proof::outside(project, &run.log).await
    } else {
        proof::Outside::Skipped
    };
    run.doc.set_facts(json!({"hosts": facts, "verify": verdict.word()}));
    judge(&failures, &verdict, run)
}

/// Tells people how it ended, also where it ended badly.
async fn tell(project: &Project, to: Option<&str>, result: &Result<Done>, run: &Run) {
    let verdict = match result {
        Ok(_) => "rolled back and healthy".to_owned(),
        Err(failure) => format!("the rollback FAILED: {}", failure.message),
    };
    cm_notify::tell(project, &run.doc, cm_notify::Message::RolledBack { to, verdict: &verdict }, &run.log).await;
}

fn judge(failures: &[Failure], verdict: &proof::Outside, run: &Run) -> Result<Done> {
    let hint = "what runs where is in facts.rollback of the document; `cm-health --all` looks again, `cm-rollback --list` shows where else to go";
    if let Some(first) = failures.first() {
        return Err(Failure { exit: Exit::RollbackFailed, ..first.clone() }.hint(hint));
    }
    if let proof::Outside::Failing(checks) = verdict {
        let message = format!("rolled back and healthy, but these checks fail: {}", checks.join(", "));
        return Err(Failure::new(Exit::RollbackFailed, "rollback.verify", message).hint(hint));
    }
    let summary = match verdict {
        proof::Outside::Passing => "rolled back, healthy and verified",
        proof::Outside::Unknown(_) => "rolled back and healthy; verification could not be carried out",
        _ => "rolled back and healthy",
    };
    if let proof::Outside::Unknown(what) = verdict {
        run.log.warn(format!("could not verify from here: {what}"));
    }
    run.log.success(summary);
    Ok(Done::rolled_back(summary))
}

/// A value of a map that may not be there.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
