//! The look at the servers before a deployment: whatever would make it fail partway
//! should stop it here, and what is unhealthy now is written down, so that a deployment
//! is not blamed for it. A few round trips per host, all hosts at once. It changes nothing but
//! that a checkout fetches the commit that is to come, so a dry run does it too.

mod checkout;
mod coming;
mod conclude;
mod expected;
mod facts;
mod finding;
mod findings;
mod here;
mod keys;
mod names;
pub mod needs;
mod report;
mod script;
mod tunnels;

pub use script::script;

use cm_core::facts::{HealthFacts, Preflight, Unhealthy};
use cm_core::{Action, Done, Failure, Result, Run};
use cm_project::{HostSpec, Project};
use coming::Coming;
use conclude::conclude;
use finding::Finding;
use report::{Lock, Report, look};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Looks at every host that the document plans something on; at all if it plans nothing.
///
/// # Errors
/// The gravest finding: [`cm_core::Exit::Unreachable`], [`cm_core::Exit::HealthUnknown`] or [`cm_core::Exit::Config`].
pub async fn run(project: &Project, run: &mut Run) -> Result<Done> {
    let mut looking = Vec::new();
    let coming = Coming::read(project, run.doc.commit());
    let lock = match (here::has_lock(run), run.dry_run()) {
        (true, _) => Lock::Ours,
        (false, dry) => Lock::Look { dry },
    };
    for spec in hosts(project, run)? {
        let (project, spec, log, coming) = (project.clone(), spec.clone(), run.log.clone(), coming.clone());
        looking.push(tokio::spawn(async move { look(&project, &spec, &coming, lock, &log).await }));
    }
    let mut reports = Vec::new();
    for task in looking {
        let report = task.await.map_err(|error| Failure::bug("a look at a host ended early").cause(error))?;
        reports.push(report);
    }
    let mut own = here::findings(project, run).await;
    let facts: Vec<_> = reports.iter().map(|report| (report.host.as_str(), &report.facts)).collect();
    own.extend(keys::missing(project, &facts, facts.len() == project.hosts().len()));
    run.doc.add_part(&HealthFacts { preflight: Some(facts_of(&reports, &own)), ..HealthFacts::default() });
    conclude(&reports, own, &run.log)
}

/// What was unhealthy when a preflight of this run looked; `None` if none did.
pub fn unhealthy_before(doc: &cm_core::Document) -> Option<Vec<Unhealthy>> {
    let hosts = doc.part::<HealthFacts>().preflight?.hosts?;
    Some(hosts.into_values().flat_map(|host| host.unwell).collect())
}

fn hosts<'a>(project: &'a Project, run: &Run) -> Result<Vec<&'a HostSpec>> {
    let mut names: Vec<String> = Vec::new();
    for service in run.doc.services().into_iter().filter(|service| service.action != Action::None) {
        if !names.contains(&service.host) {
            names.push(service.host);
        }
    }
    match names.is_empty() {
        true => Ok(project.hosts().iter().collect()),
        false => names.iter().map(|name| project.host(name)).collect(),
    }
}

fn facts_of(reports: &[Report], own: &[Finding]) -> Preflight {
    let findings = own.iter().chain(reports.iter().flat_map(|report| &report.findings));
    Preflight {
        hosts: Some(reports.iter().map(|report| (report.host.clone(), report.facts())).collect()),
        findings: Some(findings.map(Finding::facts).collect()),
    }
}
