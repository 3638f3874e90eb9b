//! Brings servers to a commit: moves the checkout, builds what changed, replaces
//! containers. What is there is looked at first, on all hosts; what takes the change
//! back is journalled; then the hosts are changed side by side. A host that fails
//! does not stop another one partway, but it fails the deployment.

mod args;
mod basis;
mod build_log;
mod building;
mod built;
mod contract;
mod decide;
mod deployment;
mod estimate;
mod explain;
mod jobs;
mod looked;
mod migrations;
mod observed;
mod plan;
mod preview;
mod prune;
mod push;
mod release;
mod room;
mod saved;
mod site;
mod stopped;
mod switched;

pub use args::{Args, Selection, Sub};

use cm_core::facts::{BuildFacts, BuiltHost};
use cm_core::{CommonArgs, Done, Early, Failure, Found, Log, Result, Run, Step, Stop, interruption};
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock_asked_meanwhile};
use cm_project::Project;
use explain::explain;
use futures_util::future::{FutureExt, join_all};
use looked::Looked;
use observed::Observed;
use plan::{HostPlan, plans};
use saved::Saved;
use std::collections::BTreeMap;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-build";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-detect | cm-build --dry-run", "what would be done where"),
        ("cm-build --service web </dev/null", "build one service and replace it"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    const FINISHES_ON_INTERRUPT: bool = true;
    const ON_INTERRUPT: &'static str = "stopping once no service is partway; a second Ctrl-C stops at once";
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(args: &Args) -> Step {
        match &args.command {
            Some(Sub::Prune) => Step::Prune,
            Some(Sub::Push) => Step::Push,
            Some(Sub::Job(_)) | None => Step::Build,
        }
    }

    fn ask_ahead(args: &Args, early: Early) -> Option<impl Future<Output = Option<Found>> + 'static> {
        let common = args.common.clone();
        match args.command {
            Some(Sub::Prune) => Some(prune::ask_ahead(common, early).boxed_local()),
            None if args.plan.is_none() => {
                let looked = looked::Ahead::ask(common, args.selection.clone(), early);
                Some(looked.map(|found| found.map(|found| Box::new(found) as Found)).boxed_local())
            }
            _ => None,
        }
    }

    async fn run(mut args: Args, run: &mut Run) -> Result<Done> {
        let project = cm_git::of_run(&args.common, &run.doc)?;
        args.selection.full |= run.doc.full();
        match &args.command {
            Some(Sub::Push) => return unless_stopped(push::run(&project, run)).await,
            Some(Sub::Prune) => {
                let pruned = unless_stopped(prune::run(&project, run)).await;
                return pruned.or_else(|failure| left_for_later(failure, run));
            }
            Some(Sub::Job(decision)) => return decide::run(&project, decision, run).await,
            None => {}
        }
        let saved = match &args.plan {
            Some(path) => Some(saved::read(path, &project, run)?),
            None => {
                unless_stopped(plan::start_without_document(&project, &args.selection, run)).await?;
                None
            }
        };
        let plans = plans(&project, &run.doc)?;
        if plans.is_empty() {
            run.log.info("no service has changed; nothing to build");
            run.doc.set_part(&BuildFacts { hosts: Some(BTreeMap::new()), ..BuildFacts::default() });
            return Ok(Done::ok("nothing to do"));
        }
        let selection = saved.as_ref().map_or(&args.selection, |saved| &saved.selection);
        if run.dry_run() {
            return unless_stopped(foresee(&project, selection, &plans, saved.as_ref(), run)).await;
        }
        deploy(&project, selection, plans, saved.as_ref(), run).await
    }
}

/// In a pipe the release was verified before it came to pruning: images that stay a
/// while longer do not make it a failed one.
fn left_for_later(failure: Failure, run: &Run) -> Result<Done> {
    if run.started_here {
        return Err(failure);
    }
    run.log.warn(format!("old images stay for now: {failure}"));
    Ok(Done::warned(format!("could not prune: {}", failure.message)))
}

/// Says what would be done, in the order in which it would be done, and what would stop a
/// deployment, in the same words. What a host would have to say is left out if it is not
/// reached.
async fn foresee(
    project: &Project,
    selection: &Selection,
    plans: &[HostPlan],
    saved: Option<&Saved>,
    run: &mut Run,
) -> Result<Done> {
    let services: usize = plans.iter().map(|plan| plan.services.len()).sum();
    let services = cm_core::plural(services as u64, "service");
    let done = Done::ok(format!("would change {services} on {}", cm_core::plural(plans.len() as u64, "host")));
    let mut facts = BTreeMap::new();
    let hosts = match connect(project, plans, run).await {
        Ok(hosts) => hosts,
        Err(failure) => {
            for plan in plans {
                let steps = plan.describe(project, selection);
                steps.iter().for_each(|step| run.log.info(format!("would do on {}: {step}", plan.host)));
                facts.insert(plan.host.clone(), BuiltHost { steps: Some(steps), ..BuiltHost::default() });
            }
            run.doc.set_part(&planned(selection, facts));
            run.log.warn(format!("could not look at the hosts, so that this plan cannot be applied: {failure}"));
            return Ok(done);
        }
    };
    let commit = run.doc.commit().unwrap_or_default().to_owned();
    let release = release::Release::of(&run.doc)?;
    let (mut moved, mut previews) = (Vec::new(), Vec::new());
    for (host, plan) in hosts.iter().zip(plans) {
        let looked = preview::look(project, selection, host, plan, &commit, &run.log).await;
        let preview = looked.map_err(|failure| explain(host.name(), failure))?;
        preview.can_be_recorded(project, &release)?;
        previews.push(preview);
    }
    preview::foresee(project, selection, &hosts, &mut previews)?;
    for ((host, plan), preview) in hosts.iter().zip(plans).zip(&previews) {
        preview.tell(&run.log);
        moved.extend(saved.map(|saved| saved.moved(host.name(), &preview.basis)).unwrap_or_default());
        facts.insert(plan.host.clone(), preview.facts());
    }
    run.doc.set_part(&planned(selection, facts));
    contract::check(project, &hosts, plans, &commit, &run.log).await?;
    tell_unverifiable(project, &run.log);
    if moved.is_empty() { Ok(done) } else { Err(saved::refused(&moved)) }
}

/// What a dry run says: what would be done on each host, and how that was asked for.
fn planned(selection: &Selection, hosts: BTreeMap<String, BuiltHost>) -> BuildFacts {
    BuildFacts { plan: Some(saved::facts(selection)), hosts: Some(hosts), pruned: None }
}

/// What changes nothing partway may be stopped at any moment.
async fn unless_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        exit = Stop::wait() => Err(interruption(exit)),
    }
}

async fn deploy(
    project: &Project,
    selection: &Selection,
    plans: Vec<HostPlan>,
    saved: Option<&Saved>,
    run: &mut Run,
) -> Result<Done> {
    let hosts = unless_stopped(connect(project, &plans, run)).await?;
    let ahead = run.found_ahead::<looked::Ahead>().await.and_then(looked::Ahead::recent);
    let ahead = ahead.filter(|looked| looked.len() == hosts.len());
    // The hosts are looked at in several ways at once as soon as the lock is there.
    let shells: Vec<_> =
        hosts.iter().cloned().map(|host| tokio::spawn(async move { host.open_shells().await })).collect();
    with_lock_asked_meanwhile(project, &hosts, Identity::from(&*run), async |guard| {
        join_all(shells).await;
        switch_all(Sites { project, selection, hosts: &hosts, plans, saved, ahead }, guard, run).await
    })
    .await
}

async fn connect(project: &Project, plans: &[HostPlan], run: &Run) -> Result<Vec<Host>> {
    project.connect(plans.iter().map(|plan| &plan.host), &run.log).await
}

/// Better known now than at night: only what was verified is rolled back to unasked.
fn tell_unverifiable(project: &Project, log: &Log) {
    if project.verify().checks.is_empty() {
        log.warn(
            "cm.toml has no [[verify.checks]], so nothing can verify this release: no later rollback will choose it by itself, \
             only `cm-rollback --to RELEASE` rolls back to it",
        );
    }
}

/// The hosts of a deployment and what is to be done on them.
struct Sites<'a> {
    project: &'a Project,
    selection: &'a Selection,
    hosts: &'a [Host],
    plans: Vec<HostPlan>,
    saved: Option<&'a Saved>,
    /// What was asked before, host by host.
    ahead: Option<Vec<Looked>>,
}

impl<'a> Sites<'a> {
    /// Looks at every host.
    async fn look(self, release: &'a release::Release, guard: &Guard, log: &Log) -> Result<Vec<Observed<'a>>> {
        let Sites { project, selection, hosts, plans, saved, ahead } = self;
        let asked = ahead.is_some();
        let ahead = ahead.map_or_else(|| vec![None; hosts.len()], |looked| looked.into_iter().map(Some).collect());
        let keys =
            async { if asked { Ok(()) } else { contract::check(project, hosts, &plans, release.commit(), log).await } };
        let looks = hosts.iter().zip(plans.clone()).zip(ahead).map(|((host, plan), ahead)| async {
            let site = site::Site::new((host, project), plan, release, selection);
            Observed::look(site, ahead, log).await.map_err(|failure| explain(host.name(), failure))
        });
        let (holds, keys, looked) = tokio::join!(guard.check_all(hosts), keys, join_all(looks));
        holds?;
        keys?;
        let observed: Vec<Observed<'_>> = looked.into_iter().collect::<Result<_>>()?;
        observed.iter().try_for_each(Observed::can_be_recorded)?;
        if let Some(saved) = saved {
            still_as_planned(saved, &observed).await?;
        }
        Ok(observed)
    }
}

/// Looks at every host, writes down the way back, then changes every host.
async fn switch_all(sites: Sites<'_>, guard: &Guard, run: &mut Run) -> Result<Done> {
    let (project, release) = (sites.project, release::Release::of(&run.doc)?);
    let observed = unless_stopped(sites.look(&release, guard, &run.log)).await?;
    tell_unverifiable(project, &run.log);
    cm_notify::tell(project, &run.doc, cm_notify::Message::Started, &run.log).await;
    for host in &observed {
        run.push_undo(&host.undo(run.doc.tool())?)?;
    }
    let ends = deployment::carry_out(observed, guard, &run.log).await;
    conclude(&ends, &release, run)
}

/// What the hosts came to: facts for the document, and the failure of the first that failed.
fn conclude(ends: &[deployment::End<'_>], release: &release::Release, run: &mut Run) -> Result<Done> {
    let facts = ends.iter().map(|end| match end {
        Ok(host) => (host.host_name().to_owned(), host.facts()),
        Err(stopped) => (stopped.host_name().to_owned(), stopped.facts()),
    });
    run.doc.set_part(&BuildFacts { hosts: Some(facts.collect()), ..BuildFacts::default() });
    let stopped = || ends.iter().filter_map(|end| end.as_ref().err());
    // One that was only held says nothing of its own.
    let mut failures: Vec<Failure> =
        stopped().map(|stopped| explain(stopped.host_name(), stopped.failure.clone())).collect();
    failures.sort_by_key(|failure| failure.code == "release.held");
    if let Some((first, others)) = failures.split_first() {
        for end in ends {
            run.log.warn(end.as_ref().map_or_else(|stopped| stopped.state(), switched::Switched::state));
        }
        let others = others.iter().filter(|other| other.code != "release.held");
        return Err(others.fold(first.clone(), |all, other| all.cause(format!("also: {other}"))));
    }
    let services: usize = ends.iter().flatten().map(switched::Switched::service_count).sum();
    let verb = if services == 1 { "runs" } else { "run" };
    let services = cm_core::plural(services as u64, "service");
    let hosts = cm_core::plural(ends.len() as u64, "host");
    Ok(Done::ok(format!("{services} on {hosts} {verb} {}", release.short())).changed(true))
}

/// Compares the hosts, and the branch that the plan is of, with what the plan rests on.
async fn still_as_planned(saved: &Saved, hosts: &[Observed<'_>]) -> Result<()> {
    let mut moved = Vec::new();
    for host in hosts {
        moved.extend(saved.moved(host.site.host.name(), &host.basis().await?));
    }
    if let Some(host) = hosts.first() {
        moved.extend(host.branch_moved().await?);
    }
    if moved.is_empty() { Ok(()) } else { Err(saved::refused(&moved)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Document, Exit, Format, Level};

    #[test]
    fn in_a_pipe_a_release_does_not_fail_for_its_old_images() {
        let log = Log::new("cm-build", Format::Text, Level::Fail);
        let mut run = Run::new(Document::start("cm-build", "ada", false), log, false);
        let failure = || Failure::new(Exit::Build, "prune.images", "the engine is busy");
        assert!(left_for_later(failure(), &run).is_ok());
        run.started_here = true;
        assert_eq!(left_for_later(failure(), &run).expect_err("alone it fails").exit, Exit::Build);
    }
}
