//! Where to go back to: per service the last verified release, everything checked
//! to be there before anything is touched.

use crate::{Args, text};
use cm_checkout::Checkout;
use cm_core::{Document, Exit, Failure, Result};
use cm_host::Host;
use cm_ledger::{Ledger, Record, ServiceState};
use cm_project::Project;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one host goes back to.
#[derive(Clone, Debug)]
pub struct HostTarget {
    /// The host's name.
    pub host: String,
    /// Its checkout.
    pub checkout: String,
    /// The commit its checkout goes back to.
    pub commit: String,
    /// What each service goes back to; `None` for one that did not exist and is removed.
    pub services: BTreeMap<String, Option<ServiceState>>,
    /// The release that is taken back.
    pub failed: String,
    /// Files that were changed by hand on the host and that going back overwrites.
    pub endangered: Vec<String>,
}

impl HostTarget {
    /// The commit, as people write it.
    pub fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    /// The host's name and what it goes back to, for the document.
    pub fn to_json(&self) -> (String, Value) {
        (self.host.clone(), json!({"commit": self.commit, "services": self.services}))
    }
}

/// The undo entries of cm-build that a rollback can use, newest first, one a host.
pub fn undo_entries(doc: &Document) -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    for entry in doc.undo().iter().rev().filter(|entry| entry["kind"] == "release") {
        if !entries.iter().any(|known| known["host"] == entry["host"]) {
            entries.push(entry.clone());
        }
    }
    entries
}

/// The targets of all hosts. Images and commits are looked for on the hosts.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] if there is no good release, or it is not there any more.
pub async fn choose(
    project: &Project,
    args: &Args,
    doc: &Document,
    hosts: &[Host],
    ledgers: &[Ledger],
) -> Result<Vec<HostTarget>> {
    let mut targets = Vec::new();
    let latest = latest(ledgers);
    for (host, ledger) in hosts.iter().zip(ledgers) {
        let target = if args.on_failure {
            let undo = undo_entries(doc).into_iter().find(|entry| entry["host"] == host.name());
            Some(after_failure(&undo.unwrap_or_default(), ledger, doc.run_id())?)
        } else if !in_question(args, ledger, latest) {
            None
        } else {
            by_request(project, args, host.name(), ledger)?
        };
        targets.extend(target);
    }
    if targets.is_empty() {
        return Err(no_match(args));
    }
    for target in &mut targets {
        if let Some(host) = hosts.iter().find(|host| host.name() == target.host) {
            target.endangered = check_there(project, host, target).await?;
        }
    }
    Ok(targets)
}

fn nothing(message: impl Into<String>) -> Failure {
    Failure::new(Exit::NothingToRollBackTo, "rollback.no-target", message)
        .hint("`cm-rollback --list` shows the releases; a fix forward is a deployment like any other")
}

/// The way back from a run that failed: per service the last good release; where cm
/// never deployed it before, what ran before it came.
fn after_failure(undo: &Value, ledger: &Ledger, run: &str) -> Result<HostTarget> {
    let planned = undo.get("services").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut services = BTreeMap::new();
    let mut lost = Vec::new();
    for (name, before) in &planned {
        let known = ledger.records().iter().any(|record| record.id != run && record.services.contains_key(name));
        match ledger.last_good(name, run) {
            Some((_, state)) => services.insert(name.clone(), Some(state.clone())),
            None if known => {
                lost.push(name.clone());
                None
            }
            None => services.insert(name.clone(), ran_before(before, &text(undo, "from"))),
        };
    }
    if !lost.is_empty() {
        return Err(nothing(format!("on {}: no release of {} was ever verified", text(undo, "host"), lost.join(", "))));
    }
    let good = ledger.records().iter().rev().filter(|record| record.id != run);
    let newest = |wanted: fn(&&Record) -> bool| good.clone().find(wanted).map(|record| record.commit.clone());
    let commit = newest(|record| record.verdict.is_good()).or_else(|| newest(|record| record.verdict.did_well()));
    // A failed release may have brought new services and nothing else: going back is removing them.
    if commit.is_none() && services.values().all(Option::is_none) {
        return Err(nothing(format!(
            "on {}: this was the first deployment; nothing ran before it",
            text(undo, "host")
        )));
    }
    let commit = commit.unwrap_or_else(|| text(undo, "from"));
    Ok(HostTarget {
        host: text(undo, "host"),
        checkout: text(undo, "checkout"),
        commit,
        services,
        failed: run.to_owned(),
        endangered: Vec::new(),
    })
}

/// The image a service ran before cm knew it.
fn ran_before(before: &Value, commit: &str) -> Option<ServiceState> {
    let image_id = text(before, "image_id");
    if image_id.is_empty() {
        return None;
    }
    Some(ServiceState { commit: commit.to_owned(), image: text(before, "image"), image_id, ..ServiceState::default() })
}

/// The newest release of all hosts; run ids sort by time.
fn latest(ledgers: &[Ledger]) -> Option<&str> {
    ledgers.iter().filter_map(|ledger| ledger.records().last()).map(|record| record.id.as_str()).max()
}

/// Whether a host goes back at all: with nothing named it is the newest release that
/// is taken back, and a host that it did not touch keeps what it runs.
fn in_question(args: &Args, ledger: &Ledger, latest: Option<&str>) -> bool {
    let named = args.to.is_some() || !args.service.is_empty() || !args.host.is_empty();
    named || ledger.records().last().map(|record| record.id.as_str()) == latest
}

/// The way back that a person asked for: from what runs now to another good release.
fn by_request(project: &Project, args: &Args, host: &str, ledger: &Ledger) -> Result<Option<HostTarget>> {
    let Some(newest) = ledger.records().last() else { return Ok(None) };
    if args.to.is_none() && newest.verdict == cm_ledger::Verdict::RolledBack {
        return Err(nothing(format!("on {host}: the last release is a rollback already ({})", newest.id))
            .hint("name where to go: cm-rollback --to RELEASE; `cm-rollback --list` shows them"));
    }
    // Unnamed, only what was verified will do; a person may name a merely healthy one.
    let fits = |record: &Record| record.verdict.is_good() || (args.to.is_some() && record.verdict.did_well());
    let good = |record: &&Record| fits(record) && args.to.as_ref().is_none_or(|to| names(record, to));
    let mut services = BTreeMap::new();
    let mut commit = (0, String::new());
    for name in services_in_question(project, args, host, newest, ledger)? {
        let Some(now) = ledger.running(&name) else { continue };
        let differs = |state: &&ServiceState| !state.removed && state.commit != now.commit;
        let mut states = ledger
            .records()
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, record)| good(record))
            .filter_map(|(at, record)| Some((at, record, record.services.get(&name).filter(differs)?)));
        if let Some((at, record, state)) = states.next() {
            // The compose file and mounted files are those of the newest release among the targets.
            commit = std::cmp::max(commit, (at + 1, record.commit.clone()));
            services.insert(name, Some(state.clone()));
        }
    }
    if services.is_empty() {
        return Ok(None);
    }
    let checkout = project.host(host)?.checkout()?;
    Ok(Some(HostTarget {
        host: host.to_owned(),
        checkout,
        commit: commit.1,
        services,
        failed: newest.id.clone(),
        endangered: Vec::new(),
    }))
}

fn names(record: &Record, to: &str) -> bool {
    to.len() >= 4
        && (record.id.starts_with(to)
            || record.commit.starts_with(to)
            || record.services.values().any(|state| state.commit.starts_with(to)))
}

/// The named services; without a name those of the newest release, or all for `--to`.
fn services_in_question(
    project: &Project,
    args: &Args,
    host: &str,
    newest: &Record,
    ledger: &Ledger,
) -> Result<Vec<String>> {
    if !args.service.is_empty() {
        let here = |name: &&String| project.host_of(name).is_some_and(|spec| spec.name == host);
        return args
            .service
            .iter()
            .map(|name| project.service(name).map(|_| name.clone()))
            .collect::<Result<Vec<_>>>()
            .map(|names| names.iter().filter(here).cloned().collect());
    }
    if args.to.is_some() {
        return Ok(ledger.services().into_iter().collect());
    }
    Ok(newest.services.keys().cloned().collect())
}

fn no_match(args: &Args) -> Failure {
    match &args.to {
        Some(to) => nothing(format!("no host has a verified release {to:?} that differs from what runs")),
        None => nothing("no host has another verified release to go back to"),
    }
}

/// Looks for every image and for the commit, before anything is touched. Gives the
/// files that were changed by hand and are in the way.
async fn check_there(project: &Project, host: &Host, target: &HostTarget) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (name, state) in &target.services {
        let Some(state) = state.as_ref().filter(|state| !state.image_id.is_empty()) else { continue };
        if cm_engine::image_id(host, &state.image_id).await?.is_none() {
            missing.push(format!("{name} ({})", if state.tag.is_empty() { &state.image_id } else { &state.tag }));
        }
    }
    if !missing.is_empty() {
        let message = format!("on {}: the images to go back to are gone: {}", target.host, missing.join(", "));
        return Err(nothing(message)
            .hint("pruned (`keep` in [prune] of cm.toml) or removed by hand; deploy that commit anew: git checkout COMMIT, then deploy"));
    }
    let checkout = Checkout::new(host, &target.checkout, project.remote(), &project.protected());
    checkout
        .prepare(None, &target.commit)
        .await
        .map(|state| state.endangered)
        .map_err(|failure| Failure { exit: Exit::NothingToRollBackTo, ..failure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::Verdict;

    fn state(commit: &str) -> ServiceState {
        ServiceState {
            commit: commit.to_owned(),
            image: "web".to_owned(),
            image_id: format!("sha256:{commit}"),
            ..ServiceState::default()
        }
    }

    fn ledger(releases: &[(&str, Verdict, &str)]) -> Ledger {
        let lines = releases.iter().map(|(id, verdict, commit)| {
            let mut record = Record::new(id, "ada", "main", commit);
            record.verdict = *verdict;
            record.services.insert("web".to_owned(), state(commit));
            serde_json::to_string(&record).expect("json")
        });
        Ledger::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
    }

    fn undo(image_id: Value) -> Value {
        json!({"kind": "release", "host": "h", "checkout": "~/x", "from": "headcommit", "services": {"web": {"action": "build", "image": "web", "image_id": image_id}}})
    }

    #[test]
    fn the_target_is_the_last_good_release_and_not_the_one_before() {
        let ledger = ledger(&[
            ("1", Verdict::Verified, "aaaa"),
            ("2", Verdict::Failed, "bbbb"),
            ("3", Verdict::Pending, "cccc"),
        ]);
        let target = after_failure(&undo("sha256:bbbb".into()), &ledger, "3").expect("target");
        assert_eq!(target.services["web"].as_ref().expect("state").image_id, "sha256:aaaa");
        assert_eq!(target.commit, "aaaa");
    }

    #[test]
    fn a_host_that_the_newest_release_did_not_touch_keeps_what_it_runs() {
        let newer = ledger(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Verified, "bbbb")]);
        let older = ledger(&[("0", Verdict::Verified, "aaaa"), ("1", Verdict::Verified, "bbbb")]);
        let both = [newer, older];
        let latest = latest(&both);
        let args = |line: &[&str]| <Args as clap::Parser>::parse_from([&["cm-rollback"], line].concat());
        assert!(in_question(&args(&[]), &both[0], latest) && !in_question(&args(&[]), &both[1], latest));
        assert!(in_question(&args(&["--host", "runners"]), &both[1], latest));
    }

    #[test]
    fn what_ran_before_cm_came_is_a_target_too() {
        let ledger = ledger(&[("1", Verdict::Pending, "aaaa")]);
        let target = after_failure(&undo("sha256:hand".into()), &ledger, "1").expect("target");
        assert_eq!(target.services["web"].as_ref().expect("state").image_id, "sha256:hand");
        assert_eq!(target.commit, "headcommit");
    }

    #[test]
    fn after_a_failed_first_deployment_there_is_nothing_to_go_back_to() {
        let ledger = ledger(&[("1", Verdict::Pending, "aaaa")]);
        assert_eq!(
            after_failure(&undo(Value::Null), &ledger, "1").expect_err("nothing").exit,
            Exit::NothingToRollBackTo
        );
    }

    #[test]
    fn a_release_that_only_brought_a_new_service_is_taken_back_by_removing_it() {
        let ledger = ledger(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Pending, "bbbb")]);
        let undo = json!({"host": "h", "checkout": "~/x", "from": "aaaa", "services": {"new": {"action": "build", "image": null, "image_id": null}}});
        let target = after_failure(&undo, &ledger, "2").expect("target");
        assert_eq!((target.commit.as_str(), &target.services["new"]), ("aaaa", &None));
    }

    #[test]
    fn releases_that_were_never_verified_are_no_target() {
        let ledger = ledger(&[("1", Verdict::Failed, "aaaa"), ("2", Verdict::Pending, "bbbb")]);
        assert_eq!(
            after_failure(&undo("sha256:aaaa".into()), &ledger, "2").expect_err("nothing").exit,
            Exit::NothingToRollBackTo
        );
    }
}
