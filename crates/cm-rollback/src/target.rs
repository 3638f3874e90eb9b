//! The target of every host, complete: what the ledger says, and that all of it is
//! still there. Everything is looked for before anything is touched.

use crate::choose::{self, Choice, FailedRun, Named, Wanted, nothing};
use crate::irreversible::{Crossed, OfHost};
use crate::{Args, database, env, irreversible};
use cm_checkout::Checkout;
use cm_core::facts::{BuildFacts, HealthFacts, HealthState, Reached, RolledBackHost};
use cm_core::{Document, Exit, Failure, Result, Run, Step, Undo, UndoRelease};
use cm_host::Host;
use cm_ledger::{Ledger, Record, RecordedBackup};
use cm_project::{OnFailure, Project};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one host is rolled back to.
#[derive(Clone, Debug)]
pub struct HostTarget {
    /// The host's name.
    pub host: String,
    /// Its checkout.
    pub checkout: String,
    /// The commit and the state of each service.
    pub choice: Choice,
    /// Services whose images are gone and are built again.
    pub gone: BTreeSet<String>,
    /// The commit that the checkout is at now.
    pub head: String,
    /// Files that were changed by hand on the host and that going back overwrites.
    pub endangered: Vec<String>,
    /// The backups to restore.
    pub backups: Vec<RecordedBackup>,
}

impl HostTarget {
    /// The commit, as people write it.
    pub fn short(&self) -> &str {
        self.choice.commit.get(..12).unwrap_or(&self.choice.commit)
    }

    /// What it is rolled back to, for the document.
    pub fn facts(&self) -> RolledBackHost {
        RolledBackHost {
            commit: Some(self.choice.commit.clone()),
            release: self.choice.release.clone(),
            services: Some(self.choice.services.clone()),
            rebuilt: Some(self.gone.clone()),
            ..RolledBackHost::default()
        }
    }
}

/// The undo entries of cm-build that a rollback can use, one a host, newest first. Of a run that
/// switched a host twice, what was there before the first time counts. A host that cm-build left
/// as it was has nothing to take back.
pub fn undo_entries(doc: &Document) -> Vec<UndoRelease> {
    let (mut hosts, mut places) = (Vec::<Vec<UndoRelease>>::new(), HashMap::new());
    for undo in doc.undo().into_iter().rev() {
        let Undo::Release(release) = undo else { continue };
        let next = hosts.len();
        let at = *places.entry(release.host.clone()).or_insert(next);
        if at == next {
            hosts.push(Vec::new());
        }
        hosts[at].push(release);
    }
    let built = doc.part::<BuildFacts>().hosts.unwrap_or_default();
    let reached = |host: &str| built.get(host).and_then(|host| host.reached);
    let untouched = |entries: &[UndoRelease]| entries.len() == 1 && reached(&entries[0].host) == Some(Reached::Nothing);
    hosts.into_iter().filter(|entries| !untouched(entries)).filter_map(merged).collect()
}

/// The oldest of `entries`, which are newest first, with the services that only newer ones have.
fn merged(entries: Vec<UndoRelease>) -> Option<UndoRelease> {
    let mut services = BTreeMap::new();
    for entry in &entries {
        services.extend(entry.services.clone());
    }
    Some(UndoRelease { services, ..entries.into_iter().next_back()? })
}

/// The targets of all hosts, looked for on the hosts. Empty only where later releases took the
/// place of the run that failed.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] if there is no good release, or it is not there any more, or
/// an irreversible one is in between; [`Exit::Usage`] for a name that is none.
pub async fn choose(
    project: &Project,
    args: &Args,
    run: &Run,
    hosts: &[Host],
    ledgers: &[Ledger],
) -> Result<Vec<HostTarget>> {
    let named = args.to.as_deref().map(|to| choose::named(to, ledgers)).transpose()?;
    let mut targets = Vec::new();
    for (host, ledger) in hosts.iter().zip(ledgers) {
        let chosen = if args.on_failure {
            after_failure(project, host, ledger, &run.doc)?
        } else {
            by_request(project, args, host.name(), ledger, ledgers, named.as_ref())?
        };
        let Some((choice, checkout)) = chosen else { continue };
        choice.notes.iter().for_each(|note| run.log.warn(format!("on {}: {note}", host.name())));
        if choice.services.is_empty() {
            continue;
        }
        let mut target = there(project, args, host, choice, checkout).await?;
        target.backups = cross(project, args, (host, ledger), (hosts, ledgers), &target.choice, run)?;
        targets.push(target);
    }
    if targets.is_empty() && !args.on_failure {
        return Err(no_match(args));
    }
    Ok(targets)
}

fn after_failure(project: &Project, host: &Host, ledger: &Ledger, doc: &Document) -> Result<Option<(Choice, String)>> {
    let Some(undo) = undo_entries(doc).into_iter().find(|entry| entry.host == host.name()) else { return Ok(None) };
    let exit = doc.error().map(|error| error.exit());
    let judged = matches!(exit, Some(Exit::Unhealthy | Exit::VerifyFailed));
    let run = FailedRun { id: doc.run_id(), started_at: doc.started_at(), judged };
    let choice = choose::after_failure(host.name(), &undo, ledger, &run)?;
    let (said, checkout) = (undo.checkout, project.host(host.name())?.checkout()?);
    if !said.is_empty() && said != checkout {
        let message = format!("on {}: the document rolls back {said:?}, and cm.toml says {checkout:?}", host.name());
        return Err(Failure::new(Exit::BadInput, "input.checkout", message)
            .hint("nothing was changed; cm-rollback </dev/null rolls back by what the servers know"));
    }
    Ok(choice.map(|choice| (choice, checkout)))
}

fn by_request(
    project: &Project,
    args: &Args,
    host: &str,
    ledger: &Ledger,
    ledgers: &[Ledger],
    to: Option<&Named>,
) -> Result<Option<(Choice, String)>> {
    let named = args.to.is_some() || !args.service.is_empty() || !args.host.is_empty();
    // With nothing named it is the newest release that is rolled back, and a host that it did
    // not touch keeps what it runs.
    let (newest, latest) = (ledger.records().last(), choose::latest(ledgers));
    if !named && newest.map(|record| &record.id) != latest.map(|record| &record.id) {
        return Ok(newest.map(|newest| (kept_back(host, newest), String::new())));
    }
    let wanted = Wanted { to, services: services_here(project, args, host)?, confirm: args.confirm };
    let choice = choose::by_request(host, ledger, &wanted)?;
    choice.map(|choice| Ok((choice, project.host(host)?.checkout()?))).transpose()
}

/// A host keeps what it runs, because another one says that it has a newer release. That is told, so that no
/// host keeps another one from going back in silence.
fn kept_back(host: &str, newest: &Record) -> Choice {
    let (id, at) = (&newest.id, &newest.at);
    let note = format!(
        "nothing is rolled back: its newest release, {id} of {at}, is not the newest of all hosts; `cm-rollback --host {host}` rolls it back"
    );
    Choice { notes: vec![note], ..Choice::default() }
}

/// The services of `--service` that run on this host.
fn services_here(project: &Project, args: &Args, host: &str) -> Result<Option<BTreeSet<String>>> {
    let mut here = BTreeSet::new();
    for name in &args.service {
        project.service(name)?;
        if project.host_of(name).is_some_and(|spec| spec.name == host) {
            here.insert(name.clone());
        }
    }
    Ok(Some(here).filter(|_| !args.service.is_empty()))
}

fn cross(
    project: &Project,
    args: &Args,
    (host, ledger): (&Host, &Ledger),
    (hosts, ledgers): (&[Host], &[Ledger]),
    choice: &Choice,
    run: &Run,
) -> Result<Vec<RecordedBackup>> {
    let own = OfHost { host: host.name(), ledger };
    let all: Vec<_> = hosts.iter().zip(ledgers).map(|(host, ledger)| OfHost { host: host.name(), ledger }).collect();
    let mut crossed = irreversible::crossed(choice, own, &all);
    // Nobody is asked: another host is believed only where this run knows it, too.
    crossed.retain(|other| !args.on_failure || other.host == own.host || is_of_run(&run.doc, other));
    let backups = irreversible::backups(project, &crossed, &all);
    if let Some(warning) = irreversible::judge(project, host.name(), &crossed, &backups, args)? {
        run.log.warn(warning);
    }
    Ok(if args.restore_db { backups } else { Vec::new() })
}

/// Whether this run itself did something irreversible on the host of `crossed`, as far as it knows.
fn is_of_run(doc: &Document, crossed: &Crossed<'_>) -> bool {
    let built = doc.part::<BuildFacts>().hosts.unwrap_or_default();
    let built = built.get(crossed.host).and_then(|host| host.irreversible.as_ref());
    let began = || undo_entries(doc).iter().any(|entry| entry.host == crossed.host);
    crossed.record.id == doc.run_id() && built.map_or_else(began, |files| !files.is_empty())
}

fn no_match(args: &Args) -> Failure {
    match &args.to {
        Some(to) => nothing(format!("every service that ran with {to} runs the same already")),
        None => nothing("no host has another verified release to roll back to"),
    }
}

/// Looks for every image, the commit and the env file.
async fn there(project: &Project, args: &Args, host: &Host, choice: Choice, checkout: String) -> Result<HostTarget> {
    let mut gone = missing(host, &choice).await?;
    if !gone.is_empty() {
        let states = gone.keys().filter_map(|name| choice.services.get(name)?.as_ref());
        let images = states.map(|state| (state.image.clone(), state.image_id.clone()));
        cm_rollout::bring_back(project, host, &images.collect::<Vec<_>>()).await?;
        gone = missing(host, &choice).await?;
    }
    let comes_back = gone.values().all(|built| *built && args.rebuild);
    if !comes_back {
        return Err(images_gone(host.name(), &gone, &choice));
    }
    if args.with_env {
        env::check(project, host, choice.release.as_deref()).await?;
    }
    let tree = Checkout::new(host, &checkout, project.remote(), &project.protected());
    let state = tree.prepare(None, &choice.commit).await.map_err(cannot_be_prepared)?;
    let mut endangered: BTreeSet<String> = state.endangered.into_iter().collect();
    let rebuilt = choice.services.iter().filter(|(name, _)| gone.contains_key(*name));
    let commits: BTreeSet<&str> = rebuilt.filter_map(|(_, state)| Some(state.as_ref()?.commit.as_str())).collect();
    for commit in commits {
        endangered.extend(tree.prepare(None, commit).await.map_err(cannot_be_prepared)?.endangered);
    }
    Ok(HostTarget {
        host: host.name().to_owned(),
        checkout,
        choice,
        gone: gone.into_keys().collect(),
        head: state.head,
        endangered: endangered.into_iter().collect(),
        backups: Vec::new(),
    })
}

/// A commit that is nowhere is nothing to roll back to; whatever else is wrong with a checkout keeps a release that is
/// there from being one.
fn cannot_be_prepared(failure: Failure) -> Failure {
    let exit = match failure.code.as_str() {
        _ if failure.exit == Exit::Unreachable => Exit::Unreachable,
        "checkout.no-commit" | "checkout.fetch" | "checkout.missing" | "checkout.clone" => Exit::NothingToRollBackTo,
        _ => Exit::RollbackFailed,
    };
    Failure { exit, ..failure }
}

/// The services whose image is not there, and whether it can be built again.
async fn missing(host: &Host, choice: &Choice) -> Result<BTreeMap<String, bool>> {
    let mut gone = BTreeMap::new();
    for (name, state) in &choice.services {
        let Some(state) = state.as_ref().filter(|state| !state.image_id.is_empty()) else { continue };
        if cm_engine::image_id(host, &state.image_id).await?.is_none() {
            gone.insert(name.clone(), !state.tag.is_empty());
        }
    }
    Ok(gone)
}

/// What is gone, and how each can come back: what was built here by `--rebuild`, what was pulled by pulling it.
fn images_gone(host: &str, gone: &BTreeMap<String, bool>, choice: &Choice) -> Failure {
    let names: Vec<_> = gone.keys().map(String::as_str).collect();
    let message = format!("on {host}: the images to roll back to are gone: {}", names.join(", "));
    let pulled: Vec<_> = gone.iter().filter(|(_, built)| !**built).map(|(name, _)| name.as_str()).collect();
    if pulled.is_empty() {
        return nothing(message).hint(
            "pruned (`keep` in [prune] of cm.toml) or removed by hand; --rebuild builds them again first, from the commit they came from",
        );
    }
    let image =
        |name: &&str| choice.services.get(*name)?.as_ref().map(|state| format!("{} ({})", state.image, state.image_id));
    let images: Vec<_> = pulled.iter().filter_map(image).collect();
    nothing(message).hint(format!(
        "{} was pulled, not built here, so nothing can build it again: bring {} back with `docker pull` or `docker load` on {host}, or roll back to another release: `cm-rollback --list`",
        pulled.join(", "),
        images.join(", ")
    ))
}

/// The hosts that take part: those the run changed, those that were named, or all.
pub fn hosts(project: &Project, args: &Args, doc: &Document) -> Vec<String> {
    if args.on_failure {
        let hosts = undo_entries(doc).into_iter().map(|entry| entry.host.to_string());
        let kept = kept(project.on_failure(), doc);
        return hosts.filter(|host| !kept.contains(host)).collect();
    }
    if args.host.is_empty() {
        return project.hosts().iter().map(|host| host.name.clone()).collect();
    }
    args.host.clone()
}

/// The hosts that keep the new release, because another one is why the deployment failed and
/// `on_failure` says so: cm-build was done with them, or the gate found nothing wrong there.
/// What failed outside is no single host's.
pub fn kept(on_failure: OnFailure, doc: &Document) -> BTreeSet<String> {
    let all = undo_entries(doc).into_iter().map(|entry| entry.host.to_string());
    let step = doc.error().and_then(|error| error.step);
    let healthy = |host: &String| match step {
        Some(Step::Build) => {
            let built = doc.part::<BuildFacts>().hosts.unwrap_or_default();
            built.get(host).and_then(|host| host.reached) == Some(Reached::Done)
        }
        Some(Step::Health) => {
            let services = doc.part::<HealthFacts>().services.unwrap_or_default();
            let here = || services.iter().filter(|verdict| verdict.host == *host);
            here().count() > 0 && here().all(|verdict| verdict.state == HealthState::Healthy)
        }
        _ => false,
    };
    match on_failure {
        OnFailure::Keep => all.filter(healthy).collect(),
        OnFailure::Revert => BTreeSet::new(),
    }
}

/// A host that holds a backup to restore, and is not one of `hosts`.
pub fn other_backup_host<'a>(targets: &'a [HostTarget], hosts: &[Host]) -> Option<&'a str> {
    let backups = targets.iter().flat_map(|target| &target.backups).filter_map(database::host_of);
    backups.into_iter().find(|name| hosts.iter().all(|host| host.name() != *name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn failed(step: &str, facts: Value) -> Document {
        let mut value = Document::start("cm-build", "ada", false).as_value();
        value["status"] = "failed".into();
        value["error"] = json!({"stage": "cm-x", "step": step, "code": "x.y", "exit": 30});
        value["facts"] = facts;
        value["undo"] = json!([{"kind": "release", "host": "one"}, {"kind": "release", "host": "two"}]);
        Document::parse("cm-rollback", value.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn a_checkout_in_the_way_is_no_missing_release() {
        for (code, exit, told) in [
            ("checkout.no-commit", Exit::Build, 62),
            ("checkout.fetch", Exit::Build, 62),
            ("checkout.git", Exit::Build, 61),
            ("checkout.blocked", Exit::Build, 61),
            ("host.timeout", Exit::Unreachable, 7),
        ] {
            let failure = cannot_be_prepared(Failure::new(exit, code, "on one: no"));
            assert_eq!((failure.exit.code(), failure.code.as_str()), (told, code));
        }
    }

    #[test]
    fn nothing_is_rolled_back_where_no_host_was_switched() {
        let facts =
            |one: &str, two: &str| json!({"build": {"hosts": {"one": {"reached": one}, "two": {"reached": two}}}});
        let left = |facts| undo_entries(&failed("build", facts)).len();
        assert_eq!((left(facts("nothing", "nothing")), left(facts("nothing", "moved"))), (0, 1));
        assert_eq!(left(json!({"build": {"hosts": {"one": {"reached": "nothing"}}}})), 1);
        assert_eq!(left(json!({})), 2, "killed: nobody knows");
    }

    #[test]
    fn a_hint_promises_no_rebuild_of_what_was_pulled() {
        let hint = |gone: &[(&str, bool)]| {
            let gone = gone.iter().map(|(name, built)| ((*name).to_owned(), *built)).collect();
            images_gone("h", &gone, &Choice::default()).hint.expect("a hint")
        };
        assert!(hint(&[("web", true)]).contains("--rebuild"));
        for gone in [&[("redis", false)][..], &[("redis", false), ("web", true)][..]] {
            let said = hint(gone);
            assert!(!said.contains("--rebuild") && said.starts_with("redis was pulled"), "{said}");
        }
    }

    #[test]
    fn a_host_is_kept_only_where_cm_toml_says_so_and_another_one_failed() {
        let build = json!({"build": {"hosts": {"one": {"reached": "done"}, "two": {"reached": "moved"}}}});
        let health = json!({"health": {"services": [
            {"host": "one", "state": "healthy"}, {"host": "two", "state": "healthy"}, {"host": "two", "state": "unhealthy"},
        ]}});
        for (step, facts) in [("build", &build), ("health", &health)] {
            let doc = failed(step, facts.clone());
            assert_eq!(kept(OnFailure::Keep, &doc), BTreeSet::from(["one".to_owned()]), "{step}");
            assert!(kept(OnFailure::Revert, &doc).is_empty());
        }
        assert!(kept(OnFailure::Keep, &failed("verify", build)).is_empty(), "what fails outside is no single host's");
    }
}
