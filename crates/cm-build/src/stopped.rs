//! How far a host got, also where that is not all the way, and what there is to say of it.

use crate::built::{Built, Parts};
use cm_checkout::Protected;
use cm_core::{Action, Failure};
use cm_ledger::JobOutcome;
use cm_rollout::{Canaries, JobReport, Replaced};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How far a host got.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reached {
    /// Nothing was changed, or it was put back.
    Nothing,
    /// The checkout is being moved.
    Moving,
    /// The checkout is moved.
    Moved,
    /// The images are built.
    Built,
    /// Containers are being replaced.
    Switching,
    /// All is done.
    Done,
}

impl Reached {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Reached::Nothing => "nothing",
            Reached::Moving => "moving",
            Reached::Moved => "moved",
            Reached::Built => "built",
            Reached::Switching => "switching",
            Reached::Done => "done",
        }
    }
}

/// What replacing containers has come to.
#[derive(Default)]
pub struct Replacing {
    /// By service, its containers now.
    pub containers: BTreeMap<String, Vec<String>>,
    /// By service, how its containers were replaced.
    pub replaced: BTreeMap<String, Replaced>,
    /// What canaries came to.
    pub canaries: Canaries,
}

/// A host that got no further.
pub struct Stopped<'a> {
    /// What was there, and what was built.
    pub built: Built<'a>,
    /// What was replaced.
    pub replacing: Replacing,
    /// How far it got.
    pub reached: Reached,
    /// Why it got no further.
    pub failure: Failure,
}

impl<'a> Stopped<'a> {
    /// One on which no container was touched.
    pub fn new(built: Built<'a>, reached: Reached, failure: Failure) -> Self {
        Stopped { built, replacing: Replacing::default(), reached, failure }
    }

    /// For the document.
    pub fn facts(&self) -> Value {
        facts(&self.built, &self.replacing, self.reached)
    }

    /// The host's name.
    pub fn host_name(&self) -> &str {
        self.built.observed.site.host.name()
    }

    /// What the host is like now, for people.
    pub fn state(&self) -> String {
        self.built.state(self.reached)
    }
}

impl Built<'_> {
    /// What the host is like now, for people.
    pub fn state(&self, reached: Reached) -> String {
        let site = &self.observed.site;
        let (short, checkout, services) = (site.release.short(), &site.plan.checkout, site.plan.names().join(", "));
        let state = match reached {
            Reached::Nothing => "nothing was changed".to_owned(),
            Reached::Moving => format!("{checkout} may be partway to {short}; no container was touched"),
            Reached::Moved => format!("{checkout} was moved to {short}; no container was touched"),
            Reached::Built => format!("{checkout} is at {short} and its images are built; no container was touched"),
            Reached::Switching => {
                format!("containers were being replaced: each of {services} runs {short} or what it ran")
            }
            Reached::Done => format!("{services} run {short}; health not checked"),
        };
        format!("on {}: {state}", site.host.name())
    }
}

/// What was done on a host, for the document.
pub fn facts(built: &Built<'_>, replacing: &Replacing, reached: Reached) -> Value {
    let (observed, parts) = (&built.observed, &built.parts);
    let site = &observed.site;
    let services = site.plan.services.iter();
    let services: Map<String, Value> = services
        .map(|service| (service.name.clone(), facts_of(built, replacing, &service.name, service.action)))
        .collect();
    json!({
        "project": observed.compose_project,
        "checkout": site.plan.checkout,
        "from": Some(&observed.head).filter(|head| !head.is_empty()),
        "to": site.release.commit(),
        "protected": parts.protected.iter().map(Protected::to_json).collect::<Vec<_>>(),
        "services": services,
        "jobs": parts.jobs.iter().map(job).collect::<Vec<_>>(),
        "irreversible": observed.irreversible,
        "reached": reached.as_str(),
        "duration_ms": (parts.seconds * 1000.0).round(),
    })
}

fn facts_of(built: &Built<'_>, replacing: &Replacing, service: &str, action: Action) -> Value {
    let Parts { states, job_services, .. } = &built.parts;
    let state = states.get(service).cloned().unwrap_or_default();
    let before = built.observed.before.iter().find(|container| container.service == service);
    let replaced = replacing.replaced.get(service);
    json!({
        "action": action.word(),
        "image": state.image,
        "image_id": state.image_id,
        "tag": state.tag,
        "config_hash": state.config_hash,
        "removed": state.removed,
        "job": job_services.contains(service),
        "previous_image_id": before.map(|container| &container.image_id),
        "container_ids": replacing.containers.get(service),
        "update": replaced.map(|replaced| replaced.order.words()),
        "update_ms": replaced.map(|replaced| replaced.took.as_millis() as u64),
        "gap_ms": replaced.and_then(|replaced| replaced.gap).map(|gap| gap.as_millis() as u64),
        "canary": replacing.canaries.get(service),
    })
}

/// A job, for the document.
fn job(report: &JobReport) -> Value {
    json!({
        "name": report.job.name,
        "service": report.job.service,
        "command": report.job.command,
        "outcome": report.state.outcome.as_str(),
        "exit_code": report.state.exit_code,
        "cause": report.state.cause,
        "container": report.state.container,
        "ran": report.ran,
        "duration_ms": report.took.as_millis() as u64,
        "log": Some(&report.log).filter(|log| !log.is_empty()),
    })
}

/// Whether every job of a host is done.
pub fn all_done(reports: &[JobReport]) -> bool {
    reports.iter().all(|report| report.state.outcome == JobOutcome::Done)
}
