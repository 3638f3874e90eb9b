//! Where to go back to, by the ledger of a host alone: per service the last verified
//! release, never merely the one before. Pure, so that any history can be tried on it.

use cm_core::{Exit, Failure, Result, UndoRelease, UndoService};
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What one host is rolled back to.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The commit its checkout is moved back to.
    pub commit: String,
    /// What each service is rolled back to; `None` for one that did not exist and is removed.
    pub services: BTreeMap<String, Option<ServiceState>>,
    /// The release whose files and environment go with it; `None` for what ran before cm came.
    pub release: Option<String>,
    /// The place in the ledger of the oldest release among the targets.
    pub oldest: Option<usize>,
    /// What people should know about it.
    pub notes: Vec<String>,
}

/// What a person asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The release that was named.
    pub to: Option<&'a Named>,
    /// The services of this host that were named; `None` if none was.
    pub services: Option<BTreeSet<String>>,
    /// Whether `--confirm` was given.
    pub confirm: bool,
}

/// A release as `--to` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// Its run's id.
    pub id: String,
    /// The full commit, where a commit was named: of a release that was rolled back there are two.
    pub commit: Option<String>,
    /// When its run began: a host that it did not touch goes to what it ran then.
    pub time: Option<Timestamp>,
}

/// Fewer characters of a name fit too much.
const SHORTEST: usize = 4;

/// There is nothing, or nothing any more, to go back to.
pub fn nothing(message: impl Into<String>) -> Failure {
    Failure::new(Exit::NothingToRollBackTo, "rollback.no-target", message)
        .hint("`cm-rollback --list` shows the releases; a fix forward is a deployment like any other")
}

/// The release that `to` names: a run's id or a commit, or how one begins.
///
/// # Errors
/// [`Exit::Usage`] if no host has it, or it fits several.
pub fn named(to: &str, ledgers: &[Ledger]) -> Result<Named> {
    let records = || ledgers.iter().flat_map(Ledger::records);
    let fits = |name: &str| to.len() >= SHORTEST && name.starts_with(to);
    let ids: BTreeSet<&str> = records().map(|record| record.id.as_str()).filter(|id| fits(id)).collect();
    let commits: BTreeSet<&str> = records().flat_map(commits).filter(|commit| fits(commit)).collect();
    match (Vec::from_iter(&ids).as_slice(), Vec::from_iter(&commits).as_slice()) {
        // A whole name fits one, whatever longer ones a host says there are.
        _ if ids.contains(to) => Ok(of_id(to, ledgers)),
        _ if commits.contains(to) => Ok(of_commit(to, ledgers)),
        ([id], []) => Ok(of_id(id, ledgers)),
        ([], [commit]) => Ok(of_commit(commit, ledgers)),
        ([], []) => Err(Failure::new(Exit::Usage, "usage.unknown-release", format!("no host has a release {to:?}"))
            .hint("cm-rollback --list shows them; a name needs at least four characters")),
        _ => Err(Failure::new(Exit::Usage, "usage.ambiguous-release", format!("{to:?} fits several releases"))
            .cause(ids.into_iter().chain(commits).collect::<Vec<_>>().join(" "))
            .hint("give more of it")),
    }
}

fn commits(record: &Record) -> impl Iterator<Item = &str> {
    let states = record.services.values().chain(record.attempted.values());
    [record.commit.as_str()].into_iter().chain(states.map(|state| state.commit.as_str()))
}

fn of_id(id: &str, ledgers: &[Ledger]) -> Named {
    let time = ledgers.iter().filter_map(|ledger| ledger.record(id)?.time()).min();
    Named { id: id.to_owned(), commit: None, time }
}

/// The newest good release of a commit on any host; where none is good, the newest.
fn of_commit(commit: &str, ledgers: &[Ledger]) -> Named {
    let each = || ledgers.iter().filter_map(|ledger| ledger.records().get(of_commit_on(ledger, commit)?));
    let newest =
        |wanted: fn(&Record) -> bool| each().filter(|record| wanted(record)).max_by_key(|record| record.order());
    let record = newest(is_untouched).or_else(|| newest(|_| true));
    let id = record.map(|record| record.id.clone()).unwrap_or_default();
    Named { id, commit: Some(commit.to_owned()), time: record.and_then(Record::time) }
}

/// The same by one ledger alone: where it is in it.
fn of_commit_on(ledger: &Ledger, commit: &str) -> Option<usize> {
    let newest = |wanted: fn(&Record) -> bool| {
        ledger.records().iter().rposition(|record| wanted(record) && commits(record).any(|other| other == commit))
    };
    newest(is_untouched).or_else(|| newest(|_| true))
}

fn is_untouched(record: &Record) -> bool {
    record.verdict.did_well() && record.taken_back.is_empty()
}

/// The way back that a person asked for; `None` if this host has no part in it. One without services
/// says in its notes why.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] for a rollback of a rollback, or a service without any good release.
pub fn by_request(host: &str, ledger: &Ledger, wanted: &Wanted<'_>) -> Result<Option<Choice>> {
    let choice = match wanted.to {
        Some(to) => to_named(ledger, to, wanted),
        None => to_last_verified(host, ledger, wanted)?,
    };
    Ok(choice.filter(|choice| !choice.services.is_empty() || !choice.notes.is_empty()))
}

/// The release that a service's state comes from, and the state.
type Found<'a> = (usize, &'a ServiceState);

/// What the ledger says of `service` now, also that it was removed.
fn current<'a>(ledger: &'a Ledger, service: &str) -> Option<Found<'a>> {
    let records = ledger.records().iter().enumerate().rev();
    records.filter_map(|(at, record)| Some((at, record.services.get(service)?))).next()
}

fn to_last_verified(host: &str, ledger: &Ledger, wanted: &Wanted<'_>) -> Result<Option<Choice>> {
    let Some(newest) = ledger.records().last() else { return Ok(None) };
    let names = wanted.services.clone().unwrap_or_else(|| newest.services.keys().cloned().collect());
    let (mut choice, mut lost, mut newest_target) = (Choice::default(), Vec::new(), 0);
    for name in names {
        let Some((at, now)) = current(ledger, &name) else { continue };
        let release = &ledger.records()[at];
        if release.verdict == Verdict::RolledBack && !wanted.confirm {
            return Err(already_rolled_back(host, &name, release));
        }
        let earlier = || {
            let records = ledger.records()[..at].iter().enumerate().rev();
            records.filter_map(|(at, record)| Some((at, record, record.services.get(&name)?)))
        };
        let good = |(_, record, state): &(usize, &Record, &ServiceState)| {
            record.verdict.is_good() && !record.is_taken_back(&name) && !state.removed && !state.is_same(now)
        };
        match earlier().find(good) {
            Some((at, _, state)) => {
                newest_target = newest_target.max(at);
                choice.oldest = Some(choice.oldest.map_or(at, |oldest| oldest.min(at)));
                choice.services.insert(name, Some(state.clone()));
            }
            None if earlier().next().is_some() => lost.push(name),
            None => choice.notes.push(format!("{name} came with this release and keeps running")),
        }
    }
    if !lost.is_empty() {
        return Err(none_verified(host, ledger, &lost));
    }
    // The compose file and mounted files are those of the newest release among the targets.
    if let Some(record) = ledger.records().get(newest_target) {
        choice.commit.clone_from(&record.commit);
        choice.release = Some(record.id.clone());
    }
    Ok(Some(choice))
}

/// No earlier release of `services` was verified; one that was healthy can still be named.
fn none_verified(host: &str, ledger: &Ledger, services: &[String]) -> Failure {
    let failure = nothing(format!("on {host}: {} has no other verified release", services.join(", ")));
    let runs = |name: &String| current(ledger, name).map(|(at, _)| at);
    let newest = services.iter().filter_map(runs).max().unwrap_or_default();
    let healthy = |record: &&Record| {
        record.verdict == Verdict::Healthy
            && services.iter().all(|name| record.services.contains_key(name) && !record.is_taken_back(name))
    };
    match ledger.records()[..newest].iter().rev().find(healthy) {
        Some(record) => failure.hint(format!(
            "release {} of commit {} was healthy, and no check of [[verify.checks]] has verified it: `cm-rollback --to {}` rolls back to it",
            record.id,
            record.commit.get(..12).unwrap_or(&record.commit),
            record.id
        )),
        None => failure,
    }
}

fn already_rolled_back(host: &str, service: &str, release: &Record) -> Failure {
    nothing(format!("on {host}: {service} was rolled back already (by run {})", release.id)).hint(
        "name where to go: cm-rollback --to RELEASE (`cm-rollback --list` shows them); --confirm goes one further",
    )
}

/// The host as it was when the named release was done: every service that differs is rolled back.
fn to_named(ledger: &Ledger, to: &Named, wanted: &Wanted<'_>) -> Option<Choice> {
    let records = ledger.records();
    // What this host says of itself counts, whatever others say of the same commit.
    let own = match &to.commit {
        Some(commit) => of_commit_on(ledger, commit),
        None => records.iter().rposition(|record| record.id == to.id),
    };
    let then = (to.time, to.id.as_str());
    let at = own.or_else(|| records.iter().rposition(|record| record.order() < then))?;
    let mut choice = Choice { release: Some(records[at].id.clone()), oldest: Some(at), ..Choice::default() };
    choice.commit = match &to.commit {
        Some(commit) if own.is_some() => commit.clone(),
        _ => records[at].commit.clone(),
    };
    let known: BTreeSet<String> = records.iter().flat_map(|record| record.services.keys().cloned()).collect();
    for name in wanted.services.clone().unwrap_or(known) {
        let now = current(ledger, &name).map(|(_, state)| state).filter(|state| !state.removed);
        match state_at(ledger, at, own.map(|_| to), &name).filter(|state| !state.removed) {
            Some(state) if now.is_some_and(|now| now.is_same(state)) => {}
            Some(state) => drop(choice.services.insert(name, Some(state.clone()))),
            None if now.is_some() => choice.notes.push(format!("{name} came after that release and keeps running")),
            None => {}
        }
    }
    if own.is_some() && !records[at].verdict.did_well() {
        let why = records[at].cause.as_deref().unwrap_or("it was never found healthy");
        choice.notes.push(format!("release {} is {}: {why}", records[at].id, records[at].verdict.as_str()));
    }
    Some(choice)
}

/// What `service` ran when the release at `at` was done. What was `named` counts whatever became of it.
fn state_at<'a>(ledger: &'a Ledger, at: usize, named: Option<&Named>, service: &str) -> Option<&'a ServiceState> {
    let records = &ledger.records()[..=at];
    let own = records.last().zip(named).and_then(|(record, to)| {
        let tried = record.attempted.get(service).filter(|state| to.commit.as_ref() == Some(&state.commit));
        tried.or_else(|| record.services.get(service))
    });
    let usable = |record: &&Record| record.verdict.did_well() && !record.is_taken_back(service);
    own.or_else(|| records.iter().rev().filter(usable).find_map(|record| record.services.get(service)))
}

/// A run that failed, as far as it matters for the way back.
#[derive(Clone, Debug, Default)]
pub struct FailedRun<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it began, RFC 3339.
    pub started_at: &'a str,
    /// Whether it was found bad, rather than interrupted: going back to what is the same would then help nobody.
    pub judged: bool,
}

/// The way back from a run that failed: per service the last good release; where cm
/// never deployed it before, what ran before it came. `None` if later releases took its place.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`].
pub fn after_failure(host: &str, undo: &UndoRelease, ledger: &Ledger, run: &FailedRun<'_>) -> Result<Option<Choice>> {
    let from = undo.from.as_deref().unwrap_or_default();
    let (mut choice, mut lost, mut same) = (Choice::default(), Vec::new(), Vec::new());
    let mut ancient = false;
    for (name, before) in &undo.services {
        let name: &str = name;
        if let Some(later) = deployed_since(ledger, name, run) {
            choice.notes.push(format!("{name} was deployed again by run {}; it keeps what it runs", later.id));
            continue;
        }
        let known = ledger.records().iter().any(|record| record.id != run.id && record.services.contains_key(name));
        // A rollback that was interrupted has put the target in the place of what was tried.
        let own = ledger.record(run.id);
        let tried = own.and_then(|record| record.attempted.get(name).or_else(|| record.services.get(name)));
        match ledger.last_good(name, run.id) {
            Some((_, state)) if run.judged && tried.is_some_and(|tried| tried.is_same(state)) => {
                same.push(name.to_owned())
            }
            Some((record, state)) => {
                let at = ledger.records().iter().position(|other| other.id == record.id);
                choice.oldest = [choice.oldest, at].into_iter().flatten().min();
                choice.services.insert(name.to_owned(), Some(state.clone()));
            }
            None if known => lost.push(name.to_owned()),
            None => {
                ancient = true;
                choice.services.insert(name.to_owned(), ran_before(before, from));
            }
        }
    }
    if !lost.is_empty() {
        return Err(nothing(format!("on {host}: no release of {} was ever verified", lost.join(", "))));
    }
    if choice.services.is_empty() {
        return if same.is_empty() { Ok(None) } else { Err(identical(host, &same)) };
    }
    if ancient {
        choice.oldest = None;
    }
    let good = good_record(ledger, run.id);
    // A failed release may have brought new services and nothing else: going back is removing them.
    if good.is_none() && choice.services.values().all(Option::is_none) {
        return Err(nothing(format!("on {host}: this was the first deployment; nothing ran before it")));
    }
    choice.release = good.map(|record| record.id.clone());
    choice.commit = good.map_or_else(|| from.to_owned(), |record| record.commit.clone());
    if choice.commit.is_empty() {
        return Err(nothing(format!("on {host}: there was no checkout before this deployment")));
    }
    Ok(Some(choice))
}

/// The newest good release of the host, another one than `run`.
fn good_record<'a>(ledger: &'a Ledger, run: &str) -> Option<&'a Record> {
    let newest = |wanted: fn(Verdict) -> bool| {
        ledger.records().iter().rev().find(|record| record.id != run && wanted(record.verdict))
    };
    newest(Verdict::is_good).or_else(|| newest(Verdict::did_well))
}

fn identical(host: &str, services: &[String]) -> Failure {
    nothing(format!(
        "on {host}: {} failed with what was verified before; rolling back to it changes nothing",
        services.join(", ")
    ))
    .hint("something else has changed: the host, its env file, a database. `cm-rollback --list` shows older releases")
}

/// The release that took the place of `run` for a service.
fn deployed_since<'a>(ledger: &'a Ledger, service: &str, run: &FailedRun<'_>) -> Option<&'a Record> {
    let records = ledger.records();
    let later = match records.iter().position(|record| record.id == run.id) {
        Some(at) => &records[at + 1..],
        None => {
            let began: Option<jiff::Timestamp> = run.started_at.parse().ok();
            let before = |record: &Record| {
                let at: Option<jiff::Timestamp> = record.at.parse().ok();
                began.zip(at).is_none_or(|(began, at)| at < began)
            };
            &records[records.iter().rposition(before).map_or(0, |at| at + 1)..]
        }
    };
    later.iter().find(|record| record.services.contains_key(service))
}

/// The image a service ran before cm knew it.
fn ran_before(before: &UndoService, commit: &str) -> Option<ServiceState> {
    let image_id = before.image_id.as_ref()?.to_string();
    let image = before.image.as_deref().unwrap_or_default().to_owned();
    Some(ServiceState { commit: commit.to_owned(), image, image_id, ..ServiceState::default() })
}

/// The newest release of all hosts, by when its run began.
pub fn latest(ledgers: &[Ledger]) -> Option<&Record> {
    ledgers.iter().filter_map(|ledger| ledger.records().last()).max_by_key(|record| record.order())
}

#[cfg(test)]
mod tests;
