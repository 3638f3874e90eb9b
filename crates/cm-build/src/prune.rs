//! Removes images that nothing needs any more. Only names that cm gave are looked
//! at; what a container uses, what runs, and the last verified releases of each
//! service stay. Docker's own prune is never called: it knows no releases.

use crate::HostPlan;
use cm_core::facts::BuildFacts;
use cm_core::{CommonArgs, Document, Done, Early, Exit, Found, Log, Result, Run, Step, plural};
use cm_engine::Container;
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock_asked_meanwhile};
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use cm_project::Project;
use cm_rollout::repository;
use std::collections::{BTreeMap, BTreeSet};

/// Every name with cm's tag, and the image behind it.
const LIST: [&str; 6] = ["docker", "image", "ls", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"];

/// The same of images that were pulled by digest, which have no tag.
const PULLED: [&str; 7] =
    ["docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}}"];

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

/// What can go, by host, and for a host whose engine runs containers on other machines, too, by `HOST/NODE`.
type Removable = BTreeMap<String, Vec<String>>;

/// Looks for what can go while the services are watched: neither their health nor a check changes it.
pub async fn ask_ahead(common: CommonArgs, early: Early) -> Option<Found> {
    let doc = early.document(Step::Build).await?;
    let project = cm_git::of_run(&common, &doc).ok()?;
    let mut found = Removable::new();
    for host in project.connect(&changed_hosts(&doc), &early.log).await.ok()? {
        for (name, machine) in machines(&host).await.ok()?.0 {
            found.insert(name, removable_on(&project, &host, &machine).await.ok()?);
        }
    }
    Some(Box::new(found))
}

/// A host and the other machines that have images of what it runs, each by its name in the document; and the names of
/// those that cannot be reached.
async fn machines(host: &Host) -> Result<(Vec<(String, Host)>, Vec<String>)> {
    let others = cm_engine::sight(host).others(host).await?;
    let reached = others.reached.into_iter().map(|(node, machine)| (format!("{}/{node}", host.name()), machine));
    Ok(([(host.name().to_owned(), host.clone())].into_iter().chain(reached).collect(), others.unknown))
}

/// In a deployment the preflight has said it.
fn tell_unknown(host: &Host, unknown: &[String], run: &Run) {
    if unknown.is_empty() {
        return;
    }
    let message = format!(
        "on {}: old images stay on {}, which no address in cm.toml that answers is\nhint: add it to `workers` under [swarm], or there: \
         docker image prune -a --filter until=240h",
        host.name(),
        unknown.join(", ")
    );
    if run.started_here { run.log.warn(message) } else { run.log.debug(message) }
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
        let (machines, unknown) = machines(host).await?;
        tell_unknown(host, &unknown, run);
        for (name, machine) in machines {
            let images = match known.remove(&name) {
                Some(images) => images,
                None => removable_on(project, host, &machine).await?,
            };
            if run.dry_run() {
                let images = if images.is_empty() { "nothing".to_owned() } else { images.join(", ") };
                run.log.info(format!("would remove on {name}: {images}"));
            } else if !images.is_empty() {
                // Docker keeps what a container uses, and what is gone by mistake is pulled again.
                let fenced = match name == host.name() {
                    true => guard.fenced(host)?,
                    false => guard.beyond(host, &machine).await?,
                };
                if name == host.name() {
                    count += prune_registry(project, host, guard, &run.log).await?;
                }
                count += cm_engine::remove_images(&fenced, &images).await?;
                run.log.info(format!("on {name}: removed {}", plural(images.len() as u64, "old image name")));
            }
            pruned.insert(name, images);
        }
    }
    set_facts(run, pruned);
    Ok(count)
}

/// The same images in the registry that they were pushed to, if there is one. How many are gone.
async fn prune_registry(project: &Project, host: &Host, guard: &Guard, log: &Log) -> Result<usize> {
    let ledger = Ledger::read(host, &project.name()).await?;
    let keep = ledger.images_to_keep(kept(project));
    let gone = cm_rollout::forget_pushed(project, &guard.fenced(host)?, &repositories(&ledger), &keep, log).await?;
    if gone > 0 {
        log.info(format!("removed {} from the registry", plural(gone as u64, "old image")));
    }
    Ok(gone)
}

/// How many releases of each service keep their images.
fn kept(project: &Project) -> usize {
    usize::try_from(project.prune().keep).unwrap_or(usize::MAX).max(1)
}

/// The repositories of all images in a ledger, also of those that were pulled: what ran before has a name of ours, too.
fn repositories(ledger: &Ledger) -> BTreeSet<String> {
    ledger.images().iter().map(|image| repository(image).to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The names that nothing needs any more.
///
/// # Errors
/// As [`run`].
pub async fn removable(project: &Project, host: &Host) -> Result<Vec<String>> {
    removable_on(project, host, host).await
}

/// The same on a machine that has images of what `host` runs.
async fn removable_on(project: &Project, host: &Host, machine: &Host) -> Result<Vec<String>> {
    let ledger = Ledger::read(host, &project.name()).await?;
    not_needed(project, host, machine, &ledger, &[]).await
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
    not_needed(project, host, host, &ledger.with(record), &leave).await
}

/// The names of a machine that neither a release in `ledger`, which is the host's, nor a container there needs; those in
/// `leave` each stand for a container that will be gone.
async fn not_needed(
    project: &Project,
    host: &Host,
    machine: &Host,
    ledger: &Ledger,
    leave: &[&str],
) -> Result<Vec<String>> {
    let mut keep = ledger.images_to_keep(kept(project));
    let ours = format!("label=com.docker.compose.project={}", compose_project(project, host).await?);
    let (in_use, list) = (machine.script(IN_USE, [""; 0]), machine.command(LIST));
    let nameless = machine.command(NAMELESS.into_iter().chain([ours.as_str()]));
    let pulled = machine.command(PULLED);
    let (used, listed, pulled, nameless) = tokio::join!(
        in_use.text(Exit::Build, "prune.containers"),
        list.text(Exit::Build, "prune.images"),
        pulled.text(Exit::Build, "prune.images"),
        nameless.text(Exit::Build, "prune.images"),
    );
    let (used, listed, pulled, nameless) = (used?, listed?, pulled?, nameless?);
    let mut used: Vec<&str> = used.lines().collect();
    for image in leave {
        if let Some(at) = used.iter().position(|other| other == image) {
            used.swap_remove(at);
        }
    }
    keep.extend(used.into_iter().map(str::to_owned));
    let mut repositories = repositories(ledger);
    let pushed = cm_rollout::pushed_as(project, &repositories)?;
    let mut names = choose_pulled(&pulled, &pushed, &keep);
    repositories.extend(pushed);
    names.extend(choose(&listed, &repositories, &keep));
    // One that goes by its digest is among them, too.
    let left = |id: &&str| !keep.contains(*id) && !pulled.lines().any(|line| is_chosen(line, id, &names));
    let nameless: Vec<String> = nameless.lines().filter(left).map(str::to_owned).collect();
    names.extend(nameless);
    Ok(names)
}

/// The name that Compose has of the project: its label is on what was built there.
async fn compose_project(project: &Project, host: &Host) -> Result<String> {
    let checkout = project.host(host.name())?.checkout()?;
    cm_engine::project_name(project, host, &checkout).await
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

/// Whether a line of [`PULLED`] is about the image `id`, and what it names is among `names`.
fn is_chosen(line: &str, id: &str, names: &[String]) -> bool {
    let [own, repository, _, digest] = line.split(' ').collect::<Vec<_>>()[..] else { return false };
    own == id && names.contains(&format!("{repository}@{digest}"))
}

/// The same of images without a tag, which a node pulls by digest; `pushed` are the registry's repositories.
fn choose_pulled(listed: &str, pushed: &BTreeSet<String>, keep: &BTreeSet<String>) -> Vec<String> {
    let old = listed.lines().filter_map(|line| {
        let [id, repository, tag, digest] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let ours = tag == "<none>" && digest.contains(':') && pushed.contains(repository) && !keep.contains(id);
        ours.then(|| format!("{repository}@{digest}"))
    });
    old.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_pulled_by_digest_goes_when_nothing_keeps_it() {
        let listed = "sha256:1 r/shop/web <none> sha256:a\nsha256:2 r/shop/web <none> sha256:b\n\
            sha256:3 r/shop/web cm-3 sha256:c\nsha256:4 r/other <none> sha256:d\nsha256:5 <none> <none> <none>";
        let (pushed, keep) = (["r/shop/web".to_owned()].into(), ["sha256:1".to_owned()].into());
        assert_eq!(choose_pulled(listed, &pushed, &keep), ["r/shop/web@sha256:b"]);
    }

    #[test]
    fn only_names_of_ours_that_nothing_keeps_are_chosen() {
        let listed = "sha256:1 shop/web:cm-aaa\nsha256:2 shop/web:cm-bbb\nsha256:2 shop/web:latest\nsha256:3 other/app:cm-ccc\nsha256:4 shop/web:v1";
        let repositories = BTreeSet::from(["shop/web".to_owned()]);
        let keep = BTreeSet::from(["sha256:1".to_owned()]);
        assert_eq!(choose(listed, &repositories, &keep), ["shop/web:cm-bbb"]);
    }
}
