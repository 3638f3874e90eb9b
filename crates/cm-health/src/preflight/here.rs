//! What this machine lacks or has to say before a deployment: better known now.

use super::LIMIT;
use super::finding::Finding;
use super::needs;
use cm_core::facts::LockFacts;
use cm_core::{Exit, Run};
use cm_git::Repository;
use cm_host::Host;
use cm_lease::{Holder, NONCE_VARIABLE, Place, local, remote};
use cm_project::Project;

/// The branch and the tree here, the lock's file, and what the checks afterwards will want.
pub async fn findings(project: &Project, run: &Run) -> Vec<Finding> {
    let mut findings = checks(project);
    findings.extend(jobs(project));
    // The programs before this one in a pipe have said it.
    if run.started_here {
        findings.extend(tree(project).await);
    }
    if !has_lock(run) {
        findings.extend(lock(project, run));
    }
    findings
}

fn checks(project: &Project) -> Vec<Finding> {
    let obstacles = project.verify().checks.iter().filter_map(|check| {
        let why = cm_checks::obstacle(check)?;
        Some(Finding::warn(
            &needs::CHECK,
            format!("the check {:?} cannot be made after the deployment: {why}", check.name),
        ))
    });
    let canary = project.canary().url.as_ref().and_then(|url| url.expand().err());
    let canary = canary.map(|failure| {
        Finding::warn(&needs::CANARY, format!("the canary cannot be asked after the deployment: {failure}"))
    });
    obstacles.chain(canary).collect()
}

/// What the gate will expect to end, although nobody said that it is a job.
fn jobs(project: &Project) -> Option<Finding> {
    let guessed = project.compose.services.iter().filter(|service| {
        let rules = project.rules(&service.name);
        let said = rules.health.one_shot.is_some() || rules.probe.is_some() || project.is_job(&service.name);
        !said && service.profiles.is_empty() && service.looks_like_a_job()
    });
    let names: Vec<&str> = guessed.map(|service| service.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let message = format!(
        "taken for jobs that end, because they have no restart policy, health check or published port: {}",
        names.join(", ")
    );
    let hint = "one that stays wants `restart: unless-stopped` in the compose file; \
                of a job that is run once in a release, `job = true` under [services.NAME] says it, of any other that ends \
                `one_shot = true` under [services.NAME.health]";
    Some(Finding::warn(&needs::JOB, message).hint(hint))
}

async fn tree(project: &Project) -> Vec<Finding> {
    let Ok(repository) = Repository::open(&project.repository) else { return Vec::new() };
    let mut findings = Vec::new();
    let (branch, deployed) = (repository.head().ok().and_then(|head| head.branch), project.branch());
    if let Some(branch) = branch.filter(|branch| *branch != deployed) {
        let message = format!("this is {branch}, and {deployed} is what is deployed");
        findings.push(Finding::warn(&needs::BRANCH, message).hint(repository.switch_hint(&deployed)));
    }
    // Large trees take their time, and a file system that hangs takes all of it.
    let look = tokio::task::spawn_blocking(move || repository.uncommitted(false));
    let changed = tokio::time::timeout(LIMIT, look).await;
    let count = changed.ok().and_then(Result::ok).and_then(Result::ok).map_or(0, |changed| changed.len());
    if count > 0 {
        let files = cm_core::plural(count as u64, "changed file");
        findings.push(
            Finding::warn(&needs::TREE, format!("{files} here not committed"))
                .hint("commits are deployed, nothing else: git commit, or git stash"),
        );
    }
    findings
}

/// Whether this run is inside a lock, which its programs then ask themselves.
pub fn has_lock(run: &Run) -> bool {
    let set = std::env::var_os(NONCE_VARIABLE).is_some_and(|value| !value.is_empty());
    set || run.doc.part::<LockFacts>().nonce.is_some()
}

fn lock(project: &Project, run: &Run) -> Option<Finding> {
    let path = project.lock().file;
    match local::look(&path) {
        Ok(local::Sight::Free(_)) => None,
        Ok(local::Sight::Held(record)) => {
            Some(held(&Holder { place: Place::Here(path), record, step: None, renewed: None }, run.dry_run()))
        }
        Err(failure) => Some(Finding::of(&needs::LOCK, failure.exit, &failure)),
    }
}

/// The same on a host.
pub async fn lock_on(project: &Project, host: &Host, dry: bool) -> Option<Finding> {
    let dir = cm_ledger::state_dir(&project.name());
    let there = match remote::look_before(host, &dir).await {
        Ok(remote::Sight::Free) => return None,
        Ok(remote::Sight::There(there)) => there,
        Ok(remote::Sight::Odd) => {
            let failure = remote::odd(host, &dir);
            return Some(Finding::of(&needs::LOCK, failure.exit, &failure));
        }
        Err(failure) => return Some(Finding::of(&needs::LOCK, failure.exit, &failure)),
    };
    if there.stealable().is_some() {
        return None;
    }
    let (age, step) = (there.age, there.step.clone());
    match there.record {
        Ok(record) => {
            let place = Place::Host(host.name().to_owned());
            Some(held(&Holder { place, record: Some(record), step, renewed: Some(age) }, dry))
        }
        Err(failure) => {
            let failure = remote::unreadable(host, failure);
            Some(Finding::of(&needs::LOCK, failure.exit, &failure))
        }
    }
}

/// Somebody else deploys. A dry run takes no lock, so that stops nothing.
fn held(holder: &Holder, dry: bool) -> Finding {
    let refusal = holder.refusal();
    let finding = match dry {
        true => Finding::warn(&needs::LOCK, refusal.message),
        false => Finding::fail(Exit::LockHeld, &needs::LOCK, refusal.message),
    };
    refusal.hint.into_iter().fold(finding, Finding::hint)
}
