//! Removes images that nothing needs any more. Only names that cm gave are looked
//! at; what a container uses, what runs, and the last verified releases of each
//! service stay. Docker's own prune is never called: it knows no releases.

use crate::HostPlan;
use cm_core::facts::BuildFacts;
use cm_core::{CommonArgs, Document, Done, Early, Exit, Found, Result, Run, Step, plural};
use cm_engine::Container;
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock_asked_meanwhile};
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use cm_project::Project;
use cm_rollout::repository;
use std::collections::{BTreeMap, BTreeSet};

/// Every name with cm's tag, and the image behind it.
const LIST: [&str; 6] = ["docker", "image", "ls", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"];

/// Images whose last name went to a newer one, as when a commit is built again without cache.
/// Compose has put the project's name on them.
const NAMELESS: [&str; 7] = ["docker", "image", "ls", "--no-trunc", "-q", "--filter=dangling=true", "--filter"];

/// The images that containers use, running or not.
/// Without the list there is no answer: nobody shall take it for "none".
const IN_USE: &str = r#"# Looks for images that containers use.
ids=$(docker ps -aq --no-trunc) || exit; [ -z "$ids" ] || exec docker inspect --type container --format '{{.Image}}' $ids"#;

/// Prunes the document's hosts, or all hosts of the project.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::LockLost`]; [`Exit::Build`] if Docker does not answer.
pub async fn run(project: &Project, run: &mut Run) -> Result<Done> {
    let names = if run.started_here {
        project.hosts().iter().map(|host| host.name.clone()).collect()
    } else {
        changed_hosts(&run.doc)
    };
    if run.started_here {
        run.doc.set_target(&project.name(), None, None);
    }
    let removable: Option<Removable> = run.found_ahead().await;
    if let Some(nothing) = removable.as_ref().filter(|removable| removable.values().all(Vec::is_empty)) {
        // Nothing is changed, so that nobody has to be asked for the lock.
        set_facts(run, nothing.clone());
        return Ok(done(0));
    }
    let removable = removable.unwrap_or_default();
    let hosts = project.connect(&names, &run.log).await?;
    let identity = Identity::from(&*run);
    let removed = with_lock_asked_meanwhile(project, &hosts, identity, async |guard| {
        prune_all(project, &hosts, removable, guard, run).await
    })
    .await?;
    Ok(done(removed))
}

fn done(removed: usize) -> Done {
    Done::ok(format!("{removed} old images removed")).changed(removed > 0)
}

fn set_facts(run: &mut Run, pruned: Removable) {
    run.doc.add_part(&BuildFacts { pruned: Some(pruned), ..BuildFacts::default() });
}

/// The hosts that this run changed; pruning one it did not touch is not its business.
fn changed_hosts(doc: &Document) -> Vec<String> {
    doc.part::<BuildFacts>().hosts.unwrap_or_default().into_keys().collect()
}

/// What can go, by host.
type Removable = BTreeMap<String, Vec<String>>;

/// Looks for what can go while the services are watched: neither their health nor a check changes it.
pub async fn ask_ahead(common: CommonArgs, early: Early) -> Option<Found> {
    let doc = early.document(Step::Build).await?;
    let project = cm_git::of_run(&common, &doc).ok()?;
    let mut found = Removable::new();
    for host in project.connect(&changed_hosts(&doc), &early.log).await.ok()? {
        found.insert(host.name().to_owned(), removable(&project, &host).await.ok()?);
    }
    Some(Box::new(found))
}

async fn prune_all(
    project: &Project,
    hosts: &[Host],
    mut known: Removable,
    guard: &Guard,
    run: &mut Run,
) -> Result<usize> {
    let mut pruned = Removable::new();
    let mut count = 0;
    for host in hosts {
        let names = match known.remove(host.name()) {
            Some(names) => names,
            None => removable(project, host).await?,
        };
        if run.dry_run() {
            run.log.info(format!(
                "would remove on {}: {}",
                host.name(),
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            ));
        } else if !names.is_empty() {
            count += cm_engine::remove_images(&guard.fenced(host)?, &names).await?;
            run.log.info(format!("on {}: removed {}", host.name(), plural(names.len() as u64, "old image name")));
        }
        pruned.insert(host.name().to_owned(), names);
    }
    set_facts(run, pruned);
    Ok(count)
}

/// The names that nothing needs any more.
///
/// # Errors
/// As [`run`].
pub async fn removable(project: &Project, host: &Host) -> Result<Vec<String>> {
    let ledger = Ledger::read(host, &project.name()).await?;
    not_needed(project, host, &ledger, &[]).await
}

/// What could go once `plan` is carried out and found good; `containers` are what runs now.
///
/// # Errors
/// As [`run`].
pub async fn after(
    project: &Project,
    host: &Host,
    ledger: &Ledger,
    plan: &HostPlan,
    containers: &[Container],
) -> Result<Vec<String>> {
    let starts = plan.to_start();
    let to_come = |name: &String| {
        (name.clone(), ServiceState { image_id: format!("to come: {name}"), ..ServiceState::default() })
    };
    let mut record = Record::new("to come", "", "", "");
    record.verdict = Verdict::Verified;
    record.services = starts.iter().map(to_come).collect();
    let leave = containers.iter().filter(|container| starts.contains(&container.service));
    let leave: Vec<&str> = leave.map(|container| container.image_id.as_str()).collect();
    not_needed(project, host, &ledger.with(record), &leave).await
}

/// The names that neither a release in `ledger` nor a container needs; those in `leave` each
/// stand for a container that will be gone.
async fn not_needed(project: &Project, host: &Host, ledger: &Ledger, leave: &[&str]) -> Result<Vec<String>> {
    let keep = usize::try_from(project.prune().keep).unwrap_or(usize::MAX).max(1);
    let mut keep = ledger.images_to_keep(keep);
    let (in_use, list) = (host.script(IN_USE, [""; 0]), host.command(LIST));
    let (used, listed, nameless) = tokio::join!(
        in_use.text(Exit::Build, "prune.containers"),
        list.text(Exit::Build, "prune.images"),
        nameless(project, host),
    );
    let (used, listed, nameless) = (used?, listed?, nameless?);
    let mut used: Vec<&str> = used.lines().collect();
    for image in leave {
        if let Some(at) = used.iter().position(|other| other == image) {
            used.swap_remove(at);
        }
    }
    keep.extend(used.into_iter().map(str::to_owned));
    // Also of images that were pulled: what ran before has a name of ours, too.
    let mut repositories: BTreeSet<String> =
        ledger.images().iter().map(|image| repository(image).to_owned()).filter(|name| !name.is_empty()).collect();
    repositories.extend(cm_rollout::pushed_as(project, &repositories)?);
    let mut names = choose(&listed, &repositories, &keep);
    names.extend(nameless.lines().filter(|id| !keep.contains(*id)).map(str::to_owned));
    Ok(names)
}

/// The ids of the project's images that have no name, one a line.
async fn nameless(project: &Project, host: &Host) -> Result<String> {
    let checkout = project.host(host.name())?.checkout()?;
    let ours = format!("label=com.docker.compose.project={}", cm_engine::project_name(project, host, &checkout).await?);
    let nameless = host.command(NAMELESS.into_iter().chain([ours.as_str()]));
    nameless.text(Exit::Build, "prune.images").await
}

/// The names to remove: cm's own, of this project's images, that nothing keeps.
fn choose(listed: &str, repositories: &BTreeSet<String>, keep: &BTreeSet<String>) -> Vec<String> {
    let ours = |name: &str| {
        name.rsplit_once(':')
            .is_some_and(|(repository, tag)| tag.starts_with("cm-") && repositories.contains(repository))
    };
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    pairs.filter(|(id, name)| ours(name) && !keep.contains(*id)).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_that_nothing_keeps_are_chosen() {
        let listed = "sha256:1 shop/web:cm-aaa\nsha256:2 shop/web:cm-bbb\nsha256:2 shop/web:latest\nsha256:3 other/app:cm-ccc\nsha256:4 shop/web:v1";
        let repositories = BTreeSet::from(["shop/web".to_owned()]);
        let keep = BTreeSet::from(["sha256:1".to_owned()]);
        assert_eq!(choose(listed, &repositories, &keep), ["shop/web:cm-bbb"]);
    }
}
