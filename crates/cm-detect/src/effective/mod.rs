//! What the hosts' own Compose says of the project, for the commit that runs and for the one that is
//! to run. It is asked once a run, alongside the ledgers, and decides wherever it answers; the
//! model of this machine says why, and stands in where there is no server.

mod files;
mod known;
mod plan;
pub mod resolve;

pub use plan::{Adjusted, SETTINGS};
pub use resolve::Values;

use crate::bases::{Base, Bases};
use crate::notes::Notes;
use cm_core::{Exit, Failure, Result};
use cm_engine::effective::{Answer, Asked, Need};
use cm_engine::{Compose, sight};
use cm_git::{Oid, Repository};
use cm_host::Host;
use cm_project::{EffectiveHost, Project};
use files::Asking;
use futures_util::future::join_all;
use known::Known;
use std::collections::{BTreeMap, BTreeSet};

/// What the hosts that answered say.
#[derive(Debug, Default)]
pub struct Effective {
    hosts: BTreeMap<String, Known>,
}

impl Effective {
    /// Asks each of `hosts` about the commits that it runs and about `head`.
    ///
    /// # Errors
    /// [`Exit::Config`] with Compose's own message if a host does not take the file of `head`, or if two
    /// checkouts on one host share a project; [`Exit::Unreachable`] if one does not answer in time.
    pub async fn ask(
        repository: &Repository,
        project: &Project,
        head: Oid,
        bases: &Bases,
        hosts: &[Host],
        notes: &Notes,
    ) -> Result<Self> {
        let mut asked = Vec::new();
        for host in hosts {
            let checkout = project.host(host.name())?.checkout()?;
            let asking = Asking::of(repository, project, head, &running(bases, host.name()))?;
            asked.push((host, Compose::of(project, host, &checkout), asking));
        }
        let answers = join_all(asked.iter().map(|(_, compose, asking)| compose.effective(&asking.question))).await;
        let mut effective = Effective::default();
        for ((host, _, asking), answer) in asked.iter().zip(answers) {
            match answer? {
                Asked::Nothing => no_checkout(project, host.name(), !services(bases, host.name()).is_empty(), notes)?,
                Asked::Unknown(why) => notes.warn(format!(
                    "{}: Compose there could not be asked what the project is ({why}): decided from the commit alone",
                    host.name()
                )),
                Asked::Answer(answer) => {
                    let missing = missing(repository, project, head, host, &answer)?;
                    let known = Known::new(*answer, asking, &head.to_string(), &missing);
                    known.check(host.name(), project, &services(bases, host.name()), notes)?;
                    effective.hosts.insert(host.name().to_owned(), known);
                }
            }
        }
        Ok(effective)
    }

    /// Whether no host was asked, or none answered.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// For the document: what later programs need, by host. `drift` is what the plan found.
    pub fn facts(
        &self,
        project: &Project,
        drift: &BTreeMap<(String, String), BTreeSet<String>>,
    ) -> BTreeMap<String, EffectiveHost> {
        let fact = |(host, known): (&String, &Known)| {
            let mut fact: EffectiveHost = known.fact.clone();
            fact.services.retain(|service, _| project.host_of(service).is_none_or(|of| of.name == *host));
            let own = drift.iter().filter(|((of, _), _)| of == host);
            fact.drift = own.map(|((_, service), keys)| (service.clone(), keys.clone())).collect();
            fact.idle = known.idle(host, project);
            (host.clone(), fact)
        };
        self.hosts.iter().map(fact).collect()
    }
}

/// What the services of `host` need there and it lacks, without what the commit `head` brings.
///
/// # Errors
/// [`Exit::Detect`] if the repository cannot be read.
fn missing(
    repository: &Repository,
    project: &Project,
    head: Oid,
    host: &Host,
    answer: &Answer,
) -> Result<BTreeSet<Need>> {
    let own = |service: &str| project.host_of(service).is_none_or(|of| of.name == host.name());
    let mut missing = answer.lacks(sight(host).wants(), &own);
    let tree = repository.tree(head)?;
    let protected = project.protected();
    missing.retain(|(kind, path)| {
        let inside = path.strip_prefix(&answer.path).and_then(|rest| rest.strip_prefix('/'));
        let brought = |path: &str| !protected.iter().any(|file| file == path) && files::brings(&tree, path);
        !["file", "path"].contains(kind) || !inside.is_some_and(brought)
    });
    Ok(missing)
}

/// The commits that services of a host run, those of most services first.
fn running(bases: &Bases, host: &str) -> Vec<Oid> {
    let Bases::Hosts(hosts) = bases else { return Vec::new() };
    let mut counts: BTreeMap<Oid, usize> = BTreeMap::new();
    for base in hosts.get(host).into_iter().flat_map(BTreeMap::values) {
        if let Base::Commit { id, .. } = base {
            *counts.entry(*id).or_default() += 1;
        }
    }
    let mut commits: Vec<_> = counts.into_iter().collect();
    commits.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    commits.into_iter().map(|(id, _)| id).collect()
}

/// The services that the ledger of a host says run there.
fn services(bases: &Bases, host: &str) -> BTreeSet<String> {
    let Bases::Hosts(hosts) = bases else { return BTreeSet::new() };
    hosts.get(host).into_iter().flat_map(BTreeMap::keys).cloned().collect()
}

/// Nobody could be asked. Before the first deployment that is as it should be.
fn no_checkout(project: &Project, host: &str, deployed: bool, notes: &Notes) -> Result<()> {
    let checkout = project.host(host)?.checkout()?;
    match deployed {
        true => notes.warn(format!(
            "{host}: there is no directory {checkout}, although releases ran there: Compose could not be asked what the project is, \
             and everything is decided from the commit alone; if the checkout was moved, fix `checkout` in cm.toml"
        )),
        false => notes.log.info(format!(
            "{host}: there is no directory {checkout} yet: what the project is there is decided from the commit alone"
        )),
    }
    Ok(())
}

/// Two checkouts on one host that would take each other's containers or releases for their own.
fn shared(host: &str, project: &Project, here: &str, other: &str, theirs: &str, ours: &str) -> Failure {
    let name = project.name();
    let message = match theirs == ours {
        true => format!(
            "on {host}: the containers of the compose project {ours} come from {other}, and this deployment's checkout is {here}: \
             each would replace the other's"
        ),
        false => format!(
            "on {host}: the releases of the project {name} run from {other}, as the compose project {theirs}; \
             {here} is another checkout, as {ours}: both cannot have one ledger"
        ),
    };
    Failure::new(Exit::Config, "detect.shared-project", message).hint(format!(
        "give this one a `project` of its own in cm.toml, and a compose project name of its own (COMPOSE_PROJECT_NAME in its .env); \
         or deploy to {other}: checkout = \"{other}\"; or, if nothing is deployed from {other} any more, remove that directory"
    ))
}
