//! Rolls back to what was verified. The target of each service is its last verified
//! release, not the commit before: after three bad deployments the commit before is
//! bad too. Everything is looked for before anything is touched; going back is giving
//! kept images their name again and starting them, without a build; and the result
//! is gated and verified like a deployment, so that "rolled back" is never just hoped.

mod args;
mod back;
mod choose;
mod database;
mod down;
mod env;
#[cfg(test)]
mod histories;
mod irreversible;
mod list;
mod ready;
mod rebuild;
mod record;
mod resume;
mod runs;
mod site;
mod target;
mod verification;

pub use args::Args;

use back::{Back, Outcome};
use cm_core::facts::RollbackFacts;
use cm_core::{Accepts, CommonArgs, Done, Exit, Failure, Io, Journal, Result, Run, Status, Step};
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock};
use cm_ledger::Ledger;
use cm_project::Project;
use site::Site;
use std::collections::BTreeMap;
use target::HostTarget;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-rollback";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-rollback --list", "which releases there are to roll back to"),
        ("cm-rollback --service web </dev/null", "roll one service back"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    const ACCEPTS: Accepts = Accepts::Any;
    const FINISHES_ON_INTERRUPT: bool = true;
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(_: &Args) -> Step {
        Step::Rollback
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if !args.list {
            return None;
        }
        Some(list::list(args, io).await.map(|()| Exit::Done))
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        if let Some(id) = &args.run {
            run.doc = resume::killed_run(id)?;
        }
        if args.on_failure {
            if let Some(done) = resume::nothing_to_do(run)? {
                return Ok(done);
            }
        } else if !run.started_here && run.doc.status() != Status::Ok {
            return Err(Failure::new(Exit::Usage, "usage.on-failure", "a failed document came in")
                .hint("use cm-rollback --on-failure at the end of a pipe"));
        }
        let project = cm_git::of_run(&args.common, &run.doc)?;
        roll_back(&project, &args, run).await
    }
}

async fn roll_back(project: &Project, args: &Args, run: &mut Run) -> Result<Done> {
    if args.restore_db {
        project.check_restore_in_rollback()?;
    }
    if args.on_failure {
        for host in target::kept(project.on_failure(), &run.doc) {
            run.log.warn(format!(
                "on {host}: the new release stays (on_failure = \"keep\"), and nothing has verified it; deploy again"
            ));
        }
    }
    let mut hosts = project.connect(target::hosts(project, args, &run.doc), &run.log).await?;
    let mut ledgers = Vec::new();
    for host in &hosts {
        ledgers.push(Ledger::read(host, &project.name()).await?);
    }
    let targets = target::choose(project, args, run, &hosts, &ledgers).await?;
    if targets.is_empty() {
        run.log.info("later releases took the place of this one on every host; nothing to roll back");
        return Ok(Done::skipped("later releases took its place"));
    }
    if run.started_here && args.run.is_none() {
        let commit = targets.first().map(|target| target.choice.commit.as_str());
        run.doc.set_target(&project.name(), Some(&project.branch()), commit);
    }
    announce(&targets, run);
    if run.dry_run() {
        let hosts = targets.iter().map(|target| (target.host.clone(), target.facts()));
        run.doc.set_part(&RollbackFacts { hosts: Some(hosts.collect()), verify: None });
        return Ok(Done::ok("would roll back"));
    }
    if let Some(name) = target::other_backup_host(&targets, &hosts) {
        hosts.extend(project.connect([name], &run.log).await?);
    }
    with_lock(project, &hosts, Identity::from(&*run), async |guard| {
        if args.on_failure
            && let Err(failure) = Journal::of(run.doc.run_id()).keep_going_back()
        {
            // Going back matters more.
            run.log.warn(failure.to_string());
        }
        let to = targets.first().map(|target| target.choice.commit.clone());
        let result = go_back_on_all(project, args, &hosts, &ledgers, targets, guard, run).await;
        tell(project, to.as_deref(), &result, run).await;
        result
    })
    .await
}

fn announce(targets: &[HostTarget], run: &Run) {
    for target in targets {
        let names: Vec<_> = target.choice.services.keys().cloned().collect();
        run.log.warn(format!("rolling back on {}: {} to commit {}", target.host, names.join(", "), target.short()));
        if !target.gone.is_empty() {
            let gone: Vec<_> = target.gone.iter().cloned().collect();
            run.log.warn(format!("on {}: images to build again first: {}", target.host, gone.join(", ")));
        }
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
    let mut facts = BTreeMap::new();
    let mut failures: Vec<Failure> = Vec::new();
    for mut target in targets {
        let Some((host, ledger)) = hosts.iter().zip(ledgers).find(|(host, _)| host.name() == target.host) else {
            continue;
        };
        let back = Back(Site { project, args, host, ledger, guard, run });
        let outcome = back.carry_out(&mut target).await;
        facts.insert(target.host.clone(), outcome.facts(&target));
        if let Outcome { failure: Some(failure), .. } = outcome {
            run.log.failure(&failure);
            failures.push(failure);
        }
    }
    let verdict = if failures.is_empty() && !args.skip_verify {
        verification::outside(project, &run.log).await
    } else {
        verification::Outside::Skipped
    };
    run.doc.set_part(&RollbackFacts { hosts: Some(facts), verify: Some(verdict.as_str().to_owned()) });
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

fn judge(failures: &[Failure], verdict: &verification::Outside, run: &Run) -> Result<Done> {
    let hint = "what runs where is above and in facts.rollback of the document. Next: look (`cm-health --all </dev/null`), then \
        `cm-rollback </dev/null` again, or to another release: `cm-rollback --list`, `cm-rollback --to RELEASE </dev/null`";
    if let Some(first) = failures.first() {
        // The same containers, on the way back.
        let code = if first.code == "build.remove" { "rollback.remove".to_owned() } else { first.code.clone() };
        return Err(Failure { exit: Exit::RollbackFailed, code, ..first.clone() }.hint(hint));
    }
    if let verification::Outside::Failing(checks) = verdict {
        let message = format!("rolled back and healthy, but these checks fail: {}", checks.join(", "));
        return Err(Failure::new(Exit::RollbackFailed, "rollback.verify", message).hint(hint));
    }
    let summary = match verdict {
        verification::Outside::Passing => "rolled back, healthy and verified",
        verification::Outside::Unknown(_) => "rolled back and healthy; verification could not be carried out",
        _ => "rolled back and healthy",
    };
    if let verification::Outside::Unknown(what) = verdict {
        run.log.warn(format!("could not verify from here: {what}"));
    }
    run.log.success(summary);
    Ok(Done::rolled_back(summary))
}
