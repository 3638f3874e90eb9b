//! One host goes back: checkout, image names, containers, gate, ledger.

use crate::proof;
use crate::target::HostTarget;
use cm_checkout::Checkout;
use cm_core::{Exit, Failure, Result, Run};
use cm_engine::{Compose, UpOptions};
use cm_host::Host;
use cm_lease::Guard;
use cm_ledger::{Ledger, Record, ServiceState, Verdict, state_dir};
use cm_project::Project;
use serde_json::{Value, json};

/// How it ended on a host.
pub enum Outcome {
    /// It runs what it ran, and the gate saw it healthy.
    Healthy,
    /// It did not get there.
    Failed(Failure),
}

impl Outcome {
    /// For the document.
    pub fn to_json(&self, target: &HostTarget) -> Value {
        let (_, mut value) = target.to_json();
        value["outcome"] = match self {
            Outcome::Healthy => "healthy".into(),
            Outcome::Failed(failure) => failure.to_string().into(),
        };
        value
    }
}

/// Takes one host back and records how it ended.
pub async fn go_back(
    project: &Project,
    host: &Host,
    ledger: &Ledger,
    target: &HostTarget,
    guard: &Guard,
    run: &Run,
) -> Outcome {
    let result = steps(project, host, target, guard, run).await;
    let failure = result.as_ref().err();
    // Who holds the lock now writes the ledger now.
    let recorded = match failure {
        Some(lost) if lost.exit == Exit::LockLost => Ok(()),
        _ => record(project, host, ledger, target, failure, run).await,
    };
    match result.and(recorded) {
        Ok(()) => Outcome::Healthy,
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn steps(project: &Project, host: &Host, target: &HostTarget, guard: &Guard, run: &Run) -> Result<()> {
    guard.check(host).await?;
    let checkout = Checkout::new(host, &target.checkout, project.remote(), &project.protected());
    let snapshots = format!("{}/snapshots", state_dir(&project.name()));
    let snapshot = format!("{}-back", run.doc.run_id());
    keep_changes(host, &checkout, target, &snapshots, &snapshot, run).await?;
    checkout.move_to(&target.commit, &snapshots, &snapshot).await?;
    for state in target.services.values().flatten().filter(|state| !state.image_id.is_empty()) {
        guard.check(host).await?;
        cm_engine::tag(host, &state.image_id, &state.image, Exit::RollbackFailed).await?;
    }
    let compose = Compose::of(project, host, &target.checkout);
    let compose_project = compose.config().await?.project;
    guard.check(host).await?;
    remove_new(host, &compose_project, target, run).await?;
    let services: Vec<&String> =
        target.services.iter().filter(|(_, state)| state.is_some()).map(|(name, _)| name).collect();
    if services.is_empty() {
        return Ok(()); // `up` without a name means every service
    }
    guard.check(host).await?;
    compose.up(&services, UpOptions::default(), |line| run.log.debug(line)).await?;
    guard.check(host).await?;
    follow_mounts(host, &compose, &compose_project, &services, run).await?;
    let wanted: Vec<_> =
        target.services.iter().filter_map(|(name, state)| Some((name.as_str(), state.as_ref()?))).collect();
    proof::gate(project, host, &compose_project, &wanted, run).await
}

/// Going back is not stopped by a file that somebody changed by hand, and does not lose it.
async fn keep_changes(
    host: &Host,
    checkout: &Checkout<'_>,
    target: &HostTarget,
    snapshots: &str,
    snapshot: &str,
    run: &Run,
) -> Result<()> {
    if target.endangered.is_empty() {
        return Ok(());
    }
    checkout.keep(&target.endangered, snapshots, snapshot).await?;
    let (first, more) = (&target.endangered[0], target.endangered.len() - 1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    run.log.warn(format!(
        "on {}: {first}{more} in {} was no commit's; a copy is in {snapshots}/{snapshot}",
        host.name(),
        target.checkout
    ));
    Ok(())
}

/// A service that the failed release brought did not exist before.
async fn remove_new(host: &Host, compose_project: &str, target: &HostTarget, run: &Run) -> Result<()> {
    let is_new = |service: &String| target.services.get(service).is_some_and(Option::is_none);
    for container in
        cm_engine::containers(host, compose_project).await?.iter().filter(|container| is_new(&container.service))
    {
        run.log.info(format!("on {}: removing {}, which is new in the failed release", host.name(), container.name));
        host.command(["docker", "stop", &container.id]).text(Exit::RollbackFailed, "rollback.remove").await?;
        host.command(["docker", "rm", &container.id]).text(Exit::RollbackFailed, "rollback.remove").await?;
    }
    Ok(())
}

/// A container that `up` left alone may hold a mounted file of the failed release.
async fn follow_mounts(
    host: &Host,
    compose: &Compose<'_>,
    compose_project: &str,
    services: &[&String],
    run: &Run,
) -> Result<()> {
    let now = cm_engine::containers(host, compose_project).await?;
    for container in now.iter().filter(|found| services.contains(&&found.service) && found.is_running()) {
        if let Some(file) = cm_engine::stale_mount(host, container).await? {
            run.log.info(format!("on {}: restarting {}, which sees another {file}", host.name(), container.service));
            compose.restart(&container.service).await?;
        }
    }
    Ok(())
}

/// Marks the release that was taken back as failed, so that it is no target again,
/// and writes down what runs now. The mark comes first: the last record says what runs.
async fn record(
    project: &Project,
    host: &Host,
    ledger: &Ledger,
    target: &HostTarget,
    failure: Option<&Failure>,
    run: &Run,
) -> Result<()> {
    let mut record =
        Record::new(run.doc.run_id(), run.doc.actor(), run.doc.branch().unwrap_or_default(), &target.commit);
    let failed = ledger.record(&target.failed);
    if let Some(failed) = failed {
        record.attempted.clone_from(&failed.services);
        if failed.id != record.id {
            let cause = Some(format!("rolled back by run {}", record.id));
            Ledger::append(host, &project.name(), &Record { verdict: Verdict::Failed, cause, ..failed.clone() })
                .await?;
        }
    }
    record.backup = failed.and_then(|failed| failed.backup.clone());
    record.cause = run.doc.error().and_then(|error| error["message"].as_str()).map(str::to_owned);
    record.verdict = Verdict::RolledBack;
    record.services =
        target.services.iter().map(|(name, state)| (name.clone(), restored(state.as_ref(), &target.commit))).collect();
    if let Some(failure) = failure {
        record.verdict = Verdict::Failed;
        record.cause = Some(format!("the rollback failed: {failure}"));
    }
    Ledger::append(host, &project.name(), &record).await
}

fn restored(state: Option<&ServiceState>, commit: &str) -> ServiceState {
    match state {
        Some(state) => state.clone(),
        None => ServiceState { commit: commit.to_owned(), removed: true, ..ServiceState::default() },
    }
}

/// Used by the listing too.
pub fn describe(record: &Record) -> Value {
    json!({"id": record.id, "at": record.at, "commit": record.commit, "verdict": record.verdict.word(), "services": record.services.keys().collect::<Vec<_>>(), "backup": record.backup})
}
