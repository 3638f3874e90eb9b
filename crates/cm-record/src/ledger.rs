//! The outcome in the ledgers of the hosts that were changed.

use cm_core::facts::{BuildFacts, BuiltHost, BuiltService, CheckVerdict, HealthFacts, HealthState, VerifyFacts};
use cm_core::{Document, Failure, Result, Run, Status};
use cm_git::Repository;
use cm_host::Connect;
use cm_lease::{Guard, with_lock_asked_meanwhile};
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use cm_project::{HostSpec, Project};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Appends the outcome on every host that cm-build changed; gives the names of those
/// where it is written now, and the first failure: a host that is gone does not keep
/// the others from being told. What was rolled back is recorded by cm-rollback, which
/// knows what runs now.
///
/// # Errors
/// The document names a host that the configuration does not.
pub async fn record(project: &Project, run: &Run) -> Result<(Vec<String>, Option<Failure>)> {
    let changed = changed(&run.doc);
    let (mut written, mut failure) = (Vec::new(), None);
    let committed_at = committed_at(&project.repository, run.doc.commit());
    if run.doc.status() == Status::RolledBack {
        return Ok((written, failure));
    }
    for (name, services) in changed {
        let spec = project.host(&name)?;
        let (reasons, committed_at) = (reasons(&run.doc, &name), committed_at.clone());
        let record = Record { services, reasons, committed_at, ..outcome(&run.doc) };
        match append(project, spec, &record, run).await {
            Ok(true) => written.push(name),
            Ok(false) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Ok((written, failure))
}

/// Of a host where no service was replaced, only what the run has begun there is brought to its end:
/// left open, the next run would take this one for interrupted. Where no lock is held for the run,
/// it is taken for this.
async fn append(project: &Project, spec: &HostSpec, record: &Record, run: &Run) -> Result<bool> {
    let host = project.connect_to(spec, &run.log).await?;
    if record.services.is_empty() {
        let ledger = Ledger::read(&host, &project.name()).await?;
        if !ledger.record(&record.id).is_some_and(Record::is_open) {
            return Ok(false);
        }
    }
    let append = async |guard: &Guard| Ledger::append(&guard.fenced(&host)?, &project.name(), record).await;
    with_lock_asked_meanwhile(project, std::slice::from_ref(&host), run, append).await.map(|()| true)
}

/// When a commit was made, by the local repository; without one nobody knows, and nothing fails.
fn committed_at(directory: &Path, commit: Option<&str>) -> Option<String> {
    let repository = Repository::open(directory).ok()?;
    let commit = repository.find(commit?).ok()??;
    repository.committed_at(commit).map(|at| at.to_string())
}

/// For a dry run.
pub fn describe(doc: &Document) -> String {
    let hosts: BTreeSet<_> = doc.planned().into_iter().map(|service| service.host).collect();
    if hosts.is_empty() { "no host".to_owned() } else { Vec::from_iter(hosts).join(", ") }
}

/// The record without its services, which differ from host to host.
fn outcome(doc: &Document) -> Record {
    Record { verdict: verdict(doc), cause: doc.error().map(|error| error.message), ..Record::of(doc) }
}

/// Of a service's reasons in a record: a ledger is read whole on every run.
const REASONS: usize = 5;

/// Why the services on `host` were in the plan.
fn reasons(doc: &Document, host: &str) -> BTreeMap<String, Vec<String>> {
    let word = |reason: &cm_core::Reason| match reason.path.as_str() {
        "" => reason.rule.clone(),
        path => format!("{path} ({})", reason.rule),
    };
    let planned = doc.planned().into_iter().filter(|service| service.host == host);
    let told = planned.map(|service| (service.name, service.reasons.iter().take(REASONS).map(word).collect()));
    told.filter(|(_, words): &(_, Vec<_>)| !words.is_empty()).collect()
}

/// Verified is only what was looked at: without outside checks it is `healthy`, and
/// without the gate it stays `pending`.
pub fn verdict(doc: &Document) -> Verdict {
    let (health, verify): (HealthFacts, VerifyFacts) = (doc.part(), doc.part());
    let healthy = health.verdict == Some(HealthState::Healthy);
    let verified = matches!(verify.verdict(), Some(CheckVerdict::Pass | CheckVerdict::Warn));
    match doc.status() {
        Status::Failed => Verdict::Failed,
        Status::RolledBack => Verdict::RolledBack,
        Status::Ok if healthy && verified => Verdict::Verified,
        Status::Ok if healthy => Verdict::Healthy,
        Status::Ok => Verdict::Pending,
    }
}

/// What each host's services run now, by the facts of cm-build. Services it never
/// got to (an image that did not build) run what they ran before: no state of theirs.
fn changed(doc: &Document) -> BTreeMap<String, BTreeMap<String, ServiceState>> {
    let build: BuildFacts = doc.part();
    let hosts = build.hosts.into_iter().flatten().map(|(host, facts)| (host, states(facts)));
    // A failed one may have begun and replaced nothing.
    let failed = doc.status() == Status::Failed;
    hosts.filter(|(_, states): &(_, BTreeMap<_, _>)| failed || !states.is_empty()).collect()
}

fn states(host: BuiltHost) -> BTreeMap<String, ServiceState> {
    let commit = host.to.unwrap_or_default();
    let services = host.services.into_iter().flatten();
    services.filter(|(_, built)| built.was_reached()).map(|(name, built)| (name, state(&commit, built))).collect()
}

fn state(commit: &str, built: BuiltService) -> ServiceState {
    ServiceState {
        commit: commit.to_owned(),
        image: built.image.unwrap_or_default(),
        image_id: built.image_id.unwrap_or_default(),
        tag: built.tag.unwrap_or_default(),
        config_hash: built.config_hash.unwrap_or_default(),
        removed: built.removed == Some(true),
        build_ms: built.build_ms.flatten(),
        update_ms: built.update_ms.flatten(),
        canary: built.canary.flatten().and_then(|canary| Some(canary.report()?.verdict.as_str().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(status: &str, health: Option<&str>, verify: Option<&str>) -> Document {
        let mut value = Document::start("cm-detect", "ada", false).as_value();
        value["status"] = status.into();
        value["facts"] = json!({"health": {"verdict": health, "preflight": {}}, "verify": {"verdict": verify}});
        Document::parse("cm-record", value.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn verified_is_only_what_was_looked_at() {
        let cases = [
            ("ok", Some("healthy"), Some("warn"), Verdict::Verified),
            ("ok", Some("healthy"), None, Verdict::Healthy),
            ("ok", Some("healthy"), Some("unknown"), Verdict::Healthy),
            ("ok", None, Some("pass"), Verdict::Pending),
            ("failed", Some("healthy"), Some("fail"), Verdict::Failed),
            ("excellent", Some("healthy"), Some("pass"), Verdict::Failed),
        ];
        for (status, health, verify, wanted) in cases {
            assert_eq!(verdict(&document(status, health, verify)), wanted, "{status} {health:?} {verify:?}");
        }
    }

    #[test]
    fn a_record_says_why_each_service_of_its_host_was_in_the_plan() {
        let mut value = Document::start("cm-detect", "ada", false).as_value();
        let many: Vec<_> = (0..9).map(|n| json!({"path": format!("web/{n}"), "rule": "context"})).collect();
        value["services"] = json!([
            {"name": "web", "host": "a", "action": "build", "reasons": many},
            {"name": "api", "host": "a", "action": "build", "reasons": [{"path": "", "rule": "full"}]},
            {"name": "docs", "host": "b", "action": "build", "reasons": [{"path": "", "rule": "full"}]},
        ]);
        let doc = Document::parse("cm-record", value.to_string().as_bytes()).expect("valid");
        let reasons = reasons(&doc, "a");
        assert_eq!(reasons.keys().collect::<Vec<_>>(), ["api", "web"]);
        assert_eq!((reasons["web"].len(), reasons["web"][0].as_str()), (REASONS, "web/0 (context)"));
        assert_eq!(reasons["api"], ["full"]);
    }

    #[test]
    fn a_service_that_was_never_reached_has_no_new_state() {
        let host = json!({"to": "abc", "services": {"web": {"image_id": "sha256:1", "image": "web"}, "api": {"image_id": ""}}});
        let states = states(serde_json::from_value(host).expect("a host"));
        assert_eq!(states.keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(states["web"].commit, "abc");
    }
}
