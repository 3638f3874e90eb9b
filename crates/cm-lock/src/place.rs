//! Which lock is meant: the file on this machine, the hosts, and the directory there.
//! What only concerns this machine works without any `cm.toml`.

use crate::acquired_hosts;
use crate::args::Where;
use cm_core::{CommonArgs, Document, Exit, Failure, Log, OrFail, Result};
use cm_host::{Host, Target, connect_all};
use cm_lease::Wanted;
use cm_project::Project;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lock file where nothing names one.
const DEFAULT_FILE: &str = "/tmp/cm-deploy.lock";

/// The lease where there is no `cm.toml`.
const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// One lock, here and on hosts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Place {
    /// The lock file of this machine, absolute.
    pub file: PathBuf,
    /// How long a host's record lives without being renewed.
    pub lease: Duration,
    /// The project; its name is part of the directory on the hosts.
    pub project: Option<String>,
    hosts: Vec<Target>,
}

impl Place {
    /// What the flags, the environment and `cm.toml` say, in this order.
    ///
    /// # Errors
    /// [`Exit::Config`], [`Exit::Usage`].
    pub fn new(common: &CommonArgs, flags: &Where) -> Result<Self> {
        let project = match find_project(common) {
            Ok(project) => Some(project),
            Err(failure) if is_none(&failure) && flags.host.is_empty() && (flags.local || flags.file.is_some()) => None,
            // A broken configuration is no reason to lock less than was asked for, but
            // it has no say about a lock of this machine that is named.
            Err(_) if flags.local && flags.file.is_some() => None,
            Err(failure) => return Err(failure),
        };
        let hosts = match &project {
            Some(project) if !flags.local => targets_of(project, &flags.host)?,
            _ => Vec::new(),
        };
        let lock = project.as_ref().map(Project::lock);
        let file = flags.file.clone().or_else(|| lock.as_ref().map(|lock| lock.file.clone()));
        Ok(Place {
            file: absolute(common, &file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE)))?,
            lease: lock.map_or(DEFAULT_LEASE, |lock| lock.lease),
            project: project.as_ref().map(Project::name),
            hosts,
        })
    }

    /// The lock that the programs of this run rely on: on the hosts that `cm-lock acquire`
    /// locked, else on those where the plan changes something, else on all.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub fn of_run(common: &CommonArgs, document: &Document) -> Result<Self> {
        let planned = || (!document.services().is_empty()).then(|| document.hosts());
        let hosts = acquired_hosts(document).or_else(planned);
        let local = hosts.as_ref().is_some_and(Vec::is_empty);
        let host = hosts.unwrap_or_default();
        let file = std::env::var_os(cm_lease::FILE_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
        Place::new(common, &Where { file, host, local })
    }

    /// The hosts' names, in the order they are locked.
    pub fn host_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.hosts.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The hosts, not connected.
    pub fn targets(&self) -> &[Target] {
        &self.hosts
    }

    /// The lock's directory on each host.
    pub fn dir(&self) -> String {
        cm_host::state_dir(self.project.as_deref().unwrap_or_default())
    }

    /// Connects to the hosts.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; says how to do without a host where there are others.
    pub async fn connect(&self, log: &Log) -> Result<Vec<Host>> {
        let others = if self.hosts.len() > 1 { "; to lock only the other hosts, name them: --host NAME" } else { "" };
        connect_all(&self.hosts, log).await.map_err(|mut failure| {
            failure.hint = failure.hint.map(|hint| format!("{hint}{others}"));
            failure
        })
    }

    /// What is to be locked, with its hosts connected.
    ///
    /// # Errors
    /// [`Exit::Unreachable`].
    pub async fn wanted(&self, log: &Log) -> Result<Wanted> {
        let hosts = self.connect(log).await?;
        Ok(Wanted { file: self.file.clone(), dir: self.dir(), hosts, log: log.clone() })
    }

    /// The lock in words.
    pub fn describe(&self) -> String {
        match self.host_names().join(", ") {
            names if names.is_empty() => self.file.display().to_string(),
            names => format!("{} and hosts {names}", self.file.display()),
        }
    }
}

/// Refuses the document of another project than that of `cm.toml`.
///
/// # Errors
/// [`Exit::BadInput`].
pub fn check_project(common: &CommonArgs, document: &Document) -> Result<()> {
    find_project(common).map_or(Ok(()), |project| project.check_project(document))
}

/// The project, without its compose file where that has no say in the project's name.
fn find_project(common: &CommonArgs) -> Result<Project> {
    let start = common.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let project = Project::open_without_compose(&start, common.config.as_deref(), cm_git::tracked)?;
    if project.config.project.is_some() {
        Ok(project)
    } else {
        Project::open(&start, common.config.as_deref(), cm_git::tracked)
    }
}

fn is_none(failure: &Failure) -> bool {
    failure.code == "config.no-project"
}

fn targets_of(project: &Project, flags: &[String]) -> Result<Vec<Target>> {
    if flags.is_empty() {
        return project.hosts().iter().map(|host| Target::of(project, host)).collect();
    }
    flags.iter().map(|flag| Target::of(project, &project.host_by_flag(flag)?)).collect()
}

/// The path from where the program works; programs inside may work elsewhere.
fn absolute(common: &CommonArgs, file: &Path) -> Result<PathBuf> {
    let file = common.directory.as_deref().map_or_else(|| file.to_owned(), |dir| dir.join(file));
    std::path::absolute(&file).or_fail(Exit::Config, "lock.unusable", "cannot tell where the lock file is")
}
