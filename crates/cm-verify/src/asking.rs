//! The canary as part of a deployment: what is asked before the build, and what after
//! the switch is compared with it. How it is judged is in `cm-canary`.

use crate::kept::Kept;
use cm_canary::{self as canary, Side, Target, traffic};
use cm_core::facts::{Baseline, CanaryReport, CanaryVerdict};
use cm_core::{Document, Exit, Failure, Log, Result, Step};
use cm_engine::Container;
use cm_gate::{Change, Wanted, changes};
use cm_host::{Connect, Host};
use cm_project::Project;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// As much of the real traffic before the build is looked at, in minutes.
const TRAFFIC_MINUTES: i64 = 10;

/// What ran before the build, as `facts.verify.baseline` keeps it.
#[derive(Clone, Debug, Default)]
pub struct Before {
    requests: Option<Side>,
    traffic: Option<Side>,
    /// The run whose canary the requests were, if nothing was asked now.
    from: Option<String>,
}

impl Before {
    /// Asks what runs now. Nothing that goes wrong here fails a deployment: it may be
    /// the one that fixes it.
    /// `side` is what was answered already.
    pub async fn ask(project: &Project, mut side: Side, log: &Log) -> Before {
        let canary = project.canary();
        let requests = match Target::public(canary, project.verify().timeout) {
            Ok(Some(target)) => {
                let task = log.task("asking what runs now");
                let left = canary.baseline_requests().saturating_sub(side.samples.requests + side.samples.not_judged);
                task.counts(target.asked(), Some(left.into()), "requests");
                canary::baseline(&target, canary, &mut side).await;
                Some(side.thinned())
            }
            Ok(None) => None,
            Err(failure) => {
                log.warn(format!("no baseline for the canary: {failure}"));
                None
            }
        };
        let since = Timestamp::now() - SignedDuration::from_mins(TRAFFIC_MINUTES);
        Before { requests, traffic: real_traffic(project, since, log).await, from: None }
    }

    /// What the canary of the last release was answered. What users got is looked at now.
    pub async fn again(project: &Project, kept: Kept, log: &Log) -> Before {
        let since = Timestamp::now() - SignedDuration::from_mins(TRAFFIC_MINUTES);
        let traffic = real_traffic(project, since, log).await;
        Before { requests: Some(kept.side), traffic, from: Some(kept.run) }
    }

    /// How long half of the requests took at most, in milliseconds.
    pub fn median_ms(&self) -> Option<f64> {
        let sorted = self.requests.as_ref()?.sorted();
        sorted.get(sorted.len() / 2).copied()
    }

    /// What an earlier program of this run asked.
    ///
    /// # Errors
    /// [`Exit::BadInput`] where the document has lost it, or a part of it: with nothing to compare with, a release
    /// that is worse than the one before could pass.
    pub fn read(doc: &Document) -> Result<Before> {
        let kept = doc.facts("verify").and_then(|facts| facts.get("baseline"));
        if kept.is_none() && doc.done(Step::Baseline).is_none() {
            return Ok(Before::default());
        }
        let Baseline { requests, traffic, from } = kept.and_then(whole).ok_or_else(lost)?;
        Ok(Before { requests: requests.map(Side::from), traffic: traffic.map(Side::from), from })
    }

    /// For the document.
    pub fn facts(&self) -> Baseline {
        let samples = |side: &Option<Side>| side.as_ref().map(|side| side.samples.clone());
        Baseline { requests: samples(&self.requests), traffic: samples(&self.traffic), from: self.from.clone() }
    }

    /// What was seen, for people.
    pub fn summary(&self) -> String {
        match self.requests.as_ref().map(|side| &side.samples) {
            None => "nothing was asked".to_owned(),
            Some(side) if side.requests == 0 => {
                let why = side.excuse.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("nothing answers yet{why}")
            }
            Some(side) => {
                let because = side.first_failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("{} of {} requests failed{because}", side.failures, side.requests)
            }
        }
    }

    /// Whether what runs now answers as it should.
    pub fn is_good(&self) -> bool {
        self.requests.as_ref().is_some_and(|side| side.samples.requests > 0 && side.samples.failures == 0)
    }
}

/// A value that has all that this version would write.
fn whole<T: DeserializeOwned + Serialize>(value: &Value) -> Option<T> {
    fn has_all(value: &Value, wanted: &Value) -> bool {
        match wanted {
            Value::Object(wanted) => {
                wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| has_all(value, wanted)))
            }
            Value::Null => value.is_null(),
            _ => true,
        }
    }
    let read: T = serde_json::from_value(value.clone()).ok()?;
    has_all(value, &serde_json::json!(read)).then_some(read)
}

fn lost() -> Failure {
    let message = "what ran before the build was asked, and the document does not say what it answered";
    Failure::new(Exit::BadInput, "input.shape", message)
        .hint("pipe in what cm-build wrote, whole: without it a release that is worse could pass")
}

async fn real_traffic(project: &Project, since: Timestamp, log: &Log) -> Option<Side> {
    match traffic::since(project, since, log).await {
        Ok(side) => side,
        Err(failure) => {
            log.warn(format!("the canary does not see real traffic: {failure}"));
            None
        }
    }
}

/// A canary's report, and what its requests came to.
pub type Canary = (CanaryReport, Side);

/// Asks what runs now and compares it with what ran before.
///
/// # Errors
/// [`Exit::BadInput`](cm_core::Exit::BadInput) where the document does not say what was changed.
pub async fn after(project: &Project, doc: &Document, before: &Before, log: &Log) -> Result<Option<Canary>> {
    let canary = project.canary();
    let Some(template) = &canary.url else { return Ok(None) };
    let target = match Target::public(canary, project.verify().timeout) {
        Ok(Some(target)) => target,
        Ok(None) => return Ok(None),
        Err(failure) => {
            let report = canary::not_asked(template.as_written(), failure.to_string(), canary);
            return Ok(Some((report, Side::default())));
        }
    };
    let containers = Containers::look(project, doc, log).await?;
    let task = log.task("canary");
    task.counts(target.asked(), Some(canary.requests.into()), "requests");
    let (report, side) =
        canary::run(&target, canary, before.requests.as_ref(), async || containers.changes().await).await;
    drop(task);
    Ok(Some((with_traffic(project, doc, before, report, log).await, side)))
}

/// What users got. A canary that failed waits for nothing.
async fn with_traffic(
    project: &Project,
    doc: &Document,
    before: &Before,
    report: CanaryReport,
    log: &Log,
) -> CanaryReport {
    let Some(old) = before.traffic.as_ref().filter(|_| report.verdict != CanaryVerdict::Fail) else { return report };
    let Some(new) = real_traffic(project, switched_at(doc), log).await else { return report };
    traffic::join(report, project.canary(), &new, old)
}

/// When the new release was there: once cm-build was done.
fn switched_at(doc: &Document) -> Timestamp {
    let ended = doc.done(Step::Build).and_then(|stage| {
        let began: Timestamp = stage.started_at.parse().ok()?;
        Some(began + SignedDuration::from_millis(i64::try_from(stage.duration_ms).ok()?))
    });
    ended.unwrap_or_else(Timestamp::now)
}

/// The commit that each service was just built from.
///
/// # Errors
/// As [`after`].
pub fn deployed(doc: &Document) -> Result<BTreeMap<String, String>> {
    let built = changes(doc)?.into_iter().filter(Change::is_built);
    Ok(built.filter_map(|change| Some((change.service, doc.commit()?.to_owned()))).collect())
}

/// The containers of the deployed services, as they were when the canary began.
struct Containers {
    /// Each with the name of the compose project there.
    hosts: Vec<(Host, String)>,
    services: BTreeSet<String>,
    seen: Vec<Container>,
    /// Why some of them were not seen.
    unseen: Option<Failure>,
}

impl Containers {
    /// Those that stay running: a job is expected to end.
    async fn look(project: &Project, doc: &Document, log: &Log) -> Result<Containers> {
        let changes = changes(doc)?;
        let names: BTreeSet<_> = changes.iter().map(|change| change.host.clone()).collect();
        let services = changes.into_iter().filter(Change::stays).map(|change| change.service);
        let mut containers = Containers {
            hosts: Vec::new(),
            services: services.filter(|name| !Wanted::of(project, name).one_shot).collect(),
            seen: Vec::new(),
            unseen: None,
        };
        for name in names {
            match connect(project, &name, log).await {
                Ok(host) => containers.hosts.push(host),
                Err(failure) => containers.unseen = Some(failure),
            }
        }
        match containers.now().await {
            Ok(seen) => containers.seen = seen,
            Err(failure) => containers.unseen = Some(failure),
        }
        Ok(containers)
    }

    async fn now(&self) -> Result<Vec<Container>> {
        let mut all = Vec::new();
        for (host, compose_project) in &self.hosts {
            all.extend(cm_engine::containers(host, compose_project).await?);
        }
        all.retain(|container| self.services.contains(&container.service));
        Ok(all)
    }

    /// What became of them; an error where that cannot be said of all.
    async fn changes(&self) -> Result<Vec<String>> {
        let changes = canary::changes(&self.seen, &self.now().await?);
        match &self.unseen {
            Some(failure) if changes.is_empty() => Err(failure.clone()),
            _ => Ok(changes),
        }
    }
}

async fn connect(project: &Project, name: &str, log: &Log) -> Result<(Host, String)> {
    let spec = project.host(name)?;
    let host = project.connect_to(spec, log).await?;
    let compose_project = cm_engine::project_name(project, &host, &spec.checkout()?).await?;
    Ok((host, compose_project))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::facts::{Samples, VerifyFacts};
    use serde_json::json;

    #[test]
    fn a_baseline_travels_in_the_document() {
        let mut doc = Document::start("cm-verify", "ada", false);
        assert!(Before::read(&doc).expect("none was asked").requests.is_none());
        let kept = json!({"requests": 600, "failures": 2, "longest_row": 1, "latencies_ms": [1.5, 2.25]});
        let side = Side::from(serde_json::from_value::<Samples>(kept).expect("samples"));
        let before = Before { requests: Some(side.clone()), traffic: None, from: None };
        doc.set_part(&VerifyFacts { baseline: Some(before.facts()), ..VerifyFacts::default() });
        let doc = Document::parse("cm-verify", doc.to_text(false).as_bytes()).expect("valid");
        let read = Before::read(&doc).expect("whole");
        assert_eq!((read.requests, read.traffic), (Some(side), None));
    }

    #[test]
    fn a_baseline_that_lost_a_field_is_refused() {
        let mut doc = Document::start("cm-verify", "ada", false);
        let samples = json!({"requests": 600, "failures": 2, "longest_row": 1, "latencies_ms": [1.5, 2.25]});
        let side = Side::from(serde_json::from_value::<Samples>(samples).expect("samples"));
        let before = Before { requests: Some(side.clone()), traffic: Some(side), from: None };
        doc.set_part(&VerifyFacts { baseline: Some(before.facts()), ..VerifyFacts::default() });
        let mut whole = doc.as_value();
        whole["stages"] = json!([{"tool": "cm-verify", "step": "baseline", "version": "1", "status": "ok", "exit": 0, "changed": false, "started_at": "2026-05-04T09:30:00Z", "duration_ms": 1, "summary": "s"}]);
        let read =
            |value: &Value| Before::read(&Document::parse("cm-verify", value.to_string().as_bytes()).expect("valid"));
        assert!(read(&whole).is_ok());
        let mut tried = 0;
        for parent in [
            "/facts",
            "/facts/verify",
            "/facts/verify/baseline",
            "/facts/verify/baseline/requests",
            "/facts/verify/baseline/traffic",
        ] {
            let keys: Vec<_> =
                whole.pointer(parent).and_then(Value::as_object).expect("an object").keys().cloned().collect();
            for key in keys {
                let mut value = whole.clone();
                value.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(&key);
                assert_eq!(read(&value).expect_err(&key).exit, Exit::BadInput, "{parent}/{key}");
                tried += 1;
            }
        }
        assert!(tried >= 18, "{tried}");
    }

    #[test]
    fn only_what_was_built_runs_the_new_commit() {
        let mut value = Document::start("cm-verify", "ada", false).as_value();
        let commit = "0123456789012345678901234567890123456789";
        value["commit"] = commit.into();
        value["services"] = json!([
            {"name": "web", "host": "h", "action": "build"},
            {"name": "caddy", "host": "h", "action": "reload"},
            {"name": "db", "host": "h", "action": "none"}
        ]);
        let doc = Document::parse("cm-verify", value.to_string().as_bytes()).expect("valid");
        assert_eq!(deployed(&doc).expect("read"), [("web".to_owned(), commit.to_owned())].into());
    }
}
