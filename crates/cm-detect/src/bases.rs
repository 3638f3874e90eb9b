//! What each service runs now: from the ledgers of the hosts, or one revision for
//! all of them. A base that is not known is never "nothing changed".

use crate::args::OnUnknownBase;
use crate::notes::Notes;
use cm_core::{Exit, Failure, Result, facts, plural};
use cm_git::{Oid, Repository};
use cm_host::{Host, Target};
use cm_ledger::Ledger;
use cm_project::{HostSpec, Project};
use std::collections::BTreeMap;

/// What a service runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Base {
    /// This commit.
    Commit {
        /// The commit.
        id: Oid,
        /// Whether the release that put it there was found good.
        good: bool,
    },
    /// Nothing that was recorded.
    Never {
        /// Whether nothing at all was recorded on the host.
        first: bool,
    },
    /// A commit that this clone does not have.
    Unknown(String),
}

impl Base {
    /// The commit's id, known here or not.
    pub fn commit(&self) -> Option<String> {
        match self {
            Base::Commit { id, .. } => Some(id.to_string()),
            Base::Never { .. } => None,
            Base::Unknown(id) => Some(id.clone()).filter(|id| !id.is_empty()),
        }
    }
}

/// What all services run.
#[derive(Clone, Debug)]
pub enum Bases {
    /// What the hosts' ledgers say, by host and service; a host that was not asked is missing.
    Hosts(BTreeMap<String, BTreeMap<String, Base>>),
    /// One revision for all.
    Revision(Base),
}

/// What the hosts say of themselves.
pub struct Told {
    /// What runs there.
    pub bases: Bases,
    /// By host its newest release, where there is one.
    pub releases: BTreeMap<String, String>,
    /// The hosts, to ask them more.
    pub hosts: Vec<Host>,
}

impl Told {
    /// One revision for all; no host was asked.
    pub fn nothing(bases: Bases) -> Told {
        Told { bases, releases: BTreeMap::new(), hosts: Vec::new() }
    }

    /// What the ledgers of `hosts` say.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Detect`] for an unknown commit, if that is to stop.
    pub async fn by(
        repository: &Repository,
        project: &Project,
        hosts: &[&HostSpec],
        on_unknown: Option<OnUnknownBase>,
        notes: &Notes,
    ) -> Result<Told> {
        let (mut all, mut releases) = (BTreeMap::new(), BTreeMap::new());
        let (connected, ledgers): (Vec<_>, Vec<_>) = ledgers(project, hosts, notes).await?.into_iter().unzip();
        for (host, ledger) in hosts.iter().zip(ledgers) {
            if ledger.unreadable > 0 {
                notes.warn(format!(
                    "{} of {}'s ledger cannot be read: skipped",
                    plural(ledger.unreadable as u64, "record"),
                    host.name
                ));
            }
            let mut services = BTreeMap::new();
            for (service, base) in of_ledger(repository, &ledger)? {
                if let Base::Unknown(commit) = &base {
                    report(repository, commit, &format!("{service} on {}", host.name), on_unknown, notes)?;
                }
                services.insert(service, base);
            }
            all.insert(host.name.clone(), services);
            releases.extend(ledger.records().last().map(|newest| (host.name.clone(), newest.id.clone())));
        }
        Ok(Told { bases: Bases::Hosts(all), releases, hosts: connected })
    }
}

impl Bases {
    /// One revision for every service.
    ///
    /// # Errors
    /// [`Exit::Detect`] if this clone does not have it, unless that is to mean everything.
    pub fn from_revision(
        repository: &Repository,
        rev: &str,
        on_unknown: Option<OnUnknownBase>,
        notes: &Notes,
    ) -> Result<Self> {
        match repository.find(rev)? {
            Some(id) => Ok(Bases::Revision(Base::Commit { id, good: true })),
            None if on_unknown == Some(OnUnknownBase::All) => {
                notes.warn(format!("this clone has no commit {rev:?}: everything counts as changed"));
                Ok(Bases::Revision(Base::Unknown(rev.to_owned())))
            }
            None => Err(unknown(repository, rev, "--base")),
        }
    }

    /// What `service` runs on `host`; `None` if the host was not asked.
    pub fn of(&self, host: &str, service: &str) -> Option<Base> {
        match self {
            Bases::Revision(base) => Some(base.clone()),
            Bases::Hosts(hosts) => {
                let services = hosts.get(host)?;
                Some(services.get(service).cloned().unwrap_or(Base::Never { first: services.is_empty() }))
            }
        }
    }

    /// For the document.
    pub fn facts(&self) -> BTreeMap<String, facts::Bases> {
        match self {
            Bases::Revision(base) => BTreeMap::from([("all".to_owned(), facts::Bases::All(base.commit()))]),
            Bases::Hosts(hosts) => {
                let services = |services: &BTreeMap<String, Base>| {
                    facts::Bases::Services(services.iter().map(|(name, base)| (name.clone(), base.commit())).collect())
                };
                hosts.iter().map(|(host, of)| (host.clone(), services(of))).collect()
            }
        }
    }

    /// Every known commit that something runs, each once.
    pub fn commits(&self) -> Vec<Oid> {
        let known = |base: &Base| if let Base::Commit { id, .. } = base { Some(*id) } else { None };
        let mut commits: Vec<Oid> = match self {
            Bases::Revision(base) => known(base).into_iter().collect(),
            Bases::Hosts(hosts) => hosts.values().flat_map(BTreeMap::values).filter_map(known).collect(),
        };
        commits.sort();
        commits.dedup();
        commits
    }
}

/// The ledgers of the hosts, read side by side.
async fn ledgers(project: &Project, hosts: &[&HostSpec], notes: &Notes) -> Result<Vec<(Host, Ledger)>> {
    let targets: Vec<Target> = hosts.iter().map(|host| Target::of(project, host)).collect::<Result<_>>()?;
    let mut reading = Vec::new();
    for target in targets {
        let (name, log) = (project.name(), notes.log.clone());
        reading.push(tokio::spawn(async move {
            let host = Host::connect(&target, &log).await?;
            let ledger = Ledger::read_recent(&host, &name).await?;
            Ok((host, ledger))
        }));
    }
    let mut answers = Vec::new();
    for task in reading {
        answers.push(task.await.map_err(|error| Failure::bug("reading a ledger ended early").cause(error))?);
    }
    let answered = hosts.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
    let answered: Vec<&str> = answered.map(|(host, _)| host.name.as_str()).collect();
    answers.into_iter().collect::<Result<_>>().map_err(|failure| without(failure, &answered))
}

/// What does not answer may run anything, so that nothing is planned; but people may choose
/// to leave it out.
fn without(failure: Failure, answered: &[&str]) -> Failure {
    if failure.exit != Exit::Unreachable || answered.is_empty() {
        return failure;
    }
    let flags = answered.iter().map(|name| format!("--host {name}")).collect::<Vec<_>>().join(" ");
    let limited = format!("the services on hosts that answer can be deployed without it: {flags}");
    let hint = failure.hint.as_ref().map_or(limited.clone(), |hint| format!("{hint}; {limited}"));
    failure.hint(hint)
}

/// What a ledger says of each service that runs.
fn of_ledger(repository: &Repository, ledger: &Ledger) -> Result<Vec<(String, Base)>> {
    let mut bases = Vec::new();
    for service in ledger.services() {
        let Some(running) = ledger.running(&service) else { continue };
        let id = Oid::from_str(&running.commit).ok();
        let base = match id.map(|id| repository.find(&id.to_string())).transpose()?.flatten() {
            Some(id) => Base::Commit { id, good: running.good },
            None => Base::Unknown(running.commit),
        };
        bases.push((service, base));
    }
    Ok(bases)
}

fn report(
    repository: &Repository,
    commit: &str,
    what: &str,
    on_unknown: Option<OnUnknownBase>,
    notes: &Notes,
) -> Result<()> {
    if on_unknown == Some(OnUnknownBase::Fail) {
        return Err(unknown(repository, commit, what));
    }
    let hint = repository.fetch_hint();
    notes.warn(format!("{what} runs {commit:?}, which this clone does not have: all of it counts as changed ({hint})"));
    Ok(())
}

fn unknown(repository: &Repository, commit: &str, what: &str) -> Failure {
    let message = format!("this clone has no commit {commit:?} ({what})");
    Failure::new(Exit::Detect, "detect.unknown-base", message)
        .hint(format!("{}; --on-unknown-base all takes everything as changed", repository.fetch_hint()))
}
