//! The look at the servers before a deployment: whatever would make it fail partway
//! should stop it here, and what is unhealthy now is written down, so that a deployment
//! is not blamed for it. A few round trips per host, all hosts at once. It changes nothing but
//! that a checkout fetches the commit that is to come, so a dry run does it too.

mod backups;
mod checkout;
mod coming;
mod conclude;
mod engine;
mod expected;
mod facts;
mod finding;
mod findings;
mod here;
mod keys;
mod names;
pub mod needs;
mod report;
mod running;
mod script;
mod server;
mod tunnels;

pub use script::script;
pub use server::Early as Servers;

use cm_core::facts::{HealthFacts, Preflight, Unhealthy};
use cm_core::{Action, Done, Early, Result, Run, Skip, Step};
use cm_project::{HostSpec, Project};
use coming::Coming;
use conclude::conclude;
use finding::Finding;
use futures_util::future::join_all;
use report::{Lock, Report, look};
use std::future::ready;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Looks at every host that the document plans something on; at all if it plans nothing.
///
/// # Errors
/// The gravest finding: [`cm_core::Exit::Unreachable`], [`cm_core::Exit::HealthUnknown`] or [`cm_core::Exit::Config`].
pub async fn run(project: &Project, run: &mut Run) -> Result<Done> {
    let reports = match run.found_ahead::<Ahead>().await {
        Some(Ahead(reports)) => reports,
        None => {
            let (coming, lock) = (Coming::read(project, run.doc.commit()), lock(run));
            let nothing = server::Early::default();
            let looks = hosts(project, run)?
                .into_iter()
                .map(|spec| look(project, spec, &coming, (&nothing, lock), ready(()), &run.log));
            join_all(looks).await
        }
    };
    let mut reports = reports;
    if run.doc.skips(Skip::Backup) {
        reports.iter_mut().for_each(|report| report.findings.retain(|finding| finding.about != &needs::BACKUP));
    }
    let mut own = here::findings(project, run).await;
    let facts: Vec<_> = reports.iter().map(|report| (report.host.as_str(), &report.facts)).collect();
    own.extend(keys::missing(project, &facts, facts.len() == project.hosts().len()));
    run.doc.add_part(&HealthFacts { preflight: Some(facts_of(&reports, &own)), ..HealthFacts::default() });
    conclude(&reports, own, &run.log)
}

/// What was asked while the commit was pushed.
pub struct Ahead(Vec<Report>);

impl Ahead {
    /// Asks every host that `run` looks at; `None` where that cannot be told.
    pub async fn ask(project: &Project, run: &Run, servers: &Servers, early: &Early) -> Option<Ahead> {
        let (coming, lock) = (Coming::read(project, run.doc.commit()), lock(run));
        // If our own document comes first, it is pushed as well.
        let pushed = async || {
            early.done(Step::Push).await;
        };
        let looks = hosts(project, run).ok()?.into_iter();
        Some(Ahead(join_all(looks.map(|spec| look(project, spec, &coming, (servers, lock), pushed(), &run.log))).await))
    }
}

fn lock(run: &Run) -> Lock {
    match (here::has_lock(run), run.dry_run()) {
        (true, _) => Lock::Ours,
        (false, dry) => Lock::Look { dry },
    }
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
