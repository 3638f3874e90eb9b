//! How far a host got, also where that is not all the way, and what there is to say of it.

use crate::built::{Built, Parts};
use cm_core::facts::{BuiltHost, BuiltService, JobRun, Reached, ServiceCanary};
use cm_core::time::milliseconds;
use cm_core::{Action, Failure, Service};
use cm_ledger::JobOutcome;
use cm_rollout::{Canaries, JobReport, Replaced};
use std::collections::BTreeMap;

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
    pub fn facts(&self) -> BuiltHost {
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
        let services = site.plan.names().join(", ");
        let there = (site.plan.checkout.as_str(), site.release.short(), services.as_str());
        let state = words(reached, there, self.observed.head.is_empty(), self.parts.jobs_begun);
        format!("on {}: {state}", site.host.name())
    }
}

/// How far a host got, in words that are true wherever it stopped: `checkout`, `short` and `services` of the release;
/// `first` where there was no checkout before, `jobs` where they had begun.
fn words(reached: Reached, (checkout, short, services): (&str, &str, &str), first: bool, jobs: bool) -> String {
    let untouched = match jobs {
        true => "no container was replaced; what a job needs may have been started, and what jobs did to data stays",
        false => "no container was touched",
    };
    match reached {
        Reached::Nothing if first => untouched.to_owned(),
        Reached::Nothing => format!("{checkout} is where it was; {untouched}"),
        Reached::Moving => format!("{checkout} may be partway to {short}; {untouched}"),
        Reached::Moved => format!("{checkout} was moved to {short}; {untouched}"),
        Reached::Built => format!("{checkout} is at {short} and its images are built; {untouched}"),
        Reached::Switching => format!("containers were being replaced: each of {services} runs {short} or what it ran"),
        Reached::Done => format!("{services} run {short}; health not checked"),
    }
}

/// What was done on a host, for the document.
pub fn facts(built: &Built<'_>, replacing: &Replacing, reached: Reached) -> BuiltHost {
    let (observed, parts) = (&built.observed, &built.parts);
    let site = &observed.site;
    let service = |service: &Service| (service.name.clone(), facts_of(built, replacing, &service.name, service.action));
    BuiltHost {
        project: Some(observed.compose_project.clone()),
        checkout: Some(site.plan.checkout.clone()),
        from: Some(Some(observed.head.clone()).filter(|head| !head.is_empty())),
        to: Some(site.release.commit().to_owned()),
        protected: Some(parts.protected.clone()),
        services: Some(site.plan.services.iter().map(service).collect()),
        jobs: Some(parts.jobs.iter().map(job).collect()),
        irreversible: Some(observed.irreversible.clone()),
        reached: Some(reached),
        duration_ms: Some((parts.seconds * 1000.0).round()),
        ..BuiltHost::default()
    }
}

fn facts_of(built: &Built<'_>, replacing: &Replacing, service: &str, action: Action) -> BuiltService {
    let Parts { states, job_services, .. } = &built.parts;
    let state = states.get(service).cloned().unwrap_or_default();
    let before = built.observed.before.iter().find(|container| container.service == service);
    let replaced = replacing.replaced.get(service);
    let canary = replacing.canaries.get(service);
    BuiltService {
        action: Some(action),
        image: Some(state.image),
        image_id: Some(state.image_id),
        tag: Some(state.tag),
        config_hash: Some(state.config_hash),
        removed: Some(state.removed),
        job: Some(job_services.contains(service)),
        previous_image_id: Some(before.map(|container| container.image_id.clone())),
        container_ids: Some(replacing.containers.get(service).cloned()),
        update: Some(replaced.map(|replaced| replaced.order.words())),
        build_ms: Some(built.parts.build_times.get(service).copied().map(milliseconds)),
        update_ms: Some(replaced.map(|replaced| milliseconds(replaced.took))),
        gap_ms: Some(replaced.and_then(|replaced| replaced.gap).map(milliseconds)),
        canary: Some(canary.map(|report| ServiceCanary::Report(Box::new(report.clone())))),
        ..BuiltService::default()
    }
}

/// A job, for the document.
fn job(report: &JobReport) -> JobRun {
    JobRun {
        name: report.job.name.clone(),
        service: report.job.service.clone(),
        command: report.job.command.clone(),
        outcome: report.state.outcome,
        exit_code: report.state.exit_code,
        cause: report.state.cause.clone(),
        container: report.state.container.clone(),
        ran: report.ran,
        duration_ms: milliseconds(report.took),
        log: Some(report.log.clone()).filter(|log| !log.is_empty()),
    }
}

/// Whether every job of a host is done.
pub fn all_done(reports: &[JobReport]) -> bool {
    reports.iter().all(|report| report.state.outcome == JobOutcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_host_is_true_wherever_it_stopped() {
        let words = |reached, first, jobs| words(reached, ("~/shop", "0123456789ab", "web, api"), first, jobs);
        assert_eq!(words(Reached::Nothing, false, false), "~/shop is where it was; no container was touched");
        assert_eq!(words(Reached::Nothing, true, false), "no container was touched", "a directory may have been made");
        for reached in [Reached::Nothing, Reached::Moving, Reached::Moved, Reached::Built] {
            let said = words(reached, false, true);
            assert!(said.contains("no container was replaced; what a job needs may have been started"), "{said}");
            assert!(words(reached, false, false).ends_with("; no container was touched"));
        }
        for reached in [Reached::Switching, Reached::Done] {
            let said = words(reached, false, false);
            assert!(!said.contains("touched") && said.contains("web, api"), "{said}");
        }
    }
}
