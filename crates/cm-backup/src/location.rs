//! The places that flags and `cm.toml` name: the project's database in its container, directories
//! for backups, hosts. A backup's [plan](crate::plan) and the other subcommands find them here.

use crate::source::{self, Deployed, Source};
use crate::store::Store;
use cm_core::{CommonArgs, Exit, Failure, Log, Result};
use cm_host::{Host, Target};
use cm_mongo::ReadFrom;
use cm_project::{HostSpec, Project};
use std::path::{Path, PathBuf};

/// The code of the failure that there is no project here.
const NO_PROJECT: &str = "config.no-project";

/// What the command line says of where things are.
#[derive(Clone, Debug)]
pub struct Flags {
    /// What every program has.
    pub common: CommonArgs,
    /// The host of the database.
    pub host: Option<String>,
    /// Its service.
    pub service: Option<String>,
    /// A variable of this process's environment that has the URI.
    pub uri_env: Option<String>,
    /// The database.
    pub database: Option<String>,
    /// The directory of the host for backups.
    pub remote_dir: Option<String>,
    /// The member of a replica set that is read.
    pub read_from: Option<ReadFrom>,
}

/// A database that runs as a service of a compose project on a host.
#[derive(Debug)]
pub struct Deployment {
    /// The project.
    pub project: Project,
    /// The host it runs on.
    pub host: HostSpec,
    /// Its service.
    pub service: String,
    /// The variable of the host's env file that has its URI.
    pub uri_env: String,
}

impl Deployment {
    /// Connects to it; `None` if it was never deployed.
    ///
    /// # Errors
    /// Those of [`Deployed::open`].
    pub async fn open(&self, server: &Host) -> Result<Option<Source>> {
        let checkout = self.host.checkout()?;
        let checkout = checkout.trim_end_matches('/');
        let deployed = Deployed {
            host: server,
            project: &self.compose_project(checkout),
            service: &self.service,
            volumes: &self.volumes(),
            env_file: &format!("{checkout}/{}", env_file(&self.project)),
            uri_env: &self.uri_env,
        };
        deployed.open().await
    }

    /// The project's name as Compose knows it: its own, or that of the directory.
    pub fn compose_project(&self, checkout: &str) -> String {
        let directory = || cm_engine::directory_name(&self.project, checkout);
        self.project.compose.name.clone().unwrap_or_else(directory)
    }

    /// The named volumes in the service's definition.
    pub fn volumes(&self) -> Vec<String> {
        self.project.compose.service(&self.service).map(source::named_volumes).unwrap_or_default()
    }
}

/// The env file on the server, relative to its checkout.
pub fn env_file(project: &Project) -> String {
    project.variable_files().into_iter().next().unwrap_or_else(|| ".env".to_owned())
}

/// `[backup]` with the flags over it.
#[derive(Debug)]
pub struct Section {
    /// The host of the database.
    pub host: HostSpec,
    /// Its service.
    pub service: String,
    /// The variable of the host's env file that has its URI.
    pub uri_env: String,
    /// The database to read.
    pub database: Option<String>,
    /// The directory of the host for backups.
    pub directory: String,
}

impl Section {
    /// Puts the flags over what `cm.toml` says.
    ///
    /// # Errors
    /// [`Exit::Config`] if no host is known.
    pub fn read(flags: &Flags, project: &Project) -> Result<Self> {
        let section = project.backup();
        let service = flags.service.clone().or_else(|| section.map(|section| section.service.as_ref().clone()));
        let service = service.unwrap_or_else(|| "mongodb".to_owned());
        let named = flags.host.as_deref().or_else(|| section?.host.as_ref().map(|host| host.as_ref().as_str()));
        let host = match named {
            Some(name) => project.host(name)?.clone(),
            None => project.host_of(&service).cloned().ok_or_else(|| {
                Failure::new(Exit::Config, "backup.no-host", "no host is known")
                    .hint("name one under [hosts] in cm.toml, or use --uri-env VARIABLE --output DIR")
            })?,
        };
        Ok(Section {
            host,
            service,
            uri_env: section.map_or_else(|| "MONGODB_URI".to_owned(), |section| section.uri_env.clone()),
            database: flags.database.clone().or_else(|| section?.database.clone()),
            directory: (flags.remote_dir.clone())
                .or_else(|| section.map(|section| section.directory.clone()))
                .unwrap_or_else(|| "~/backups".to_owned()),
        })
    }
}

/// A path as the flags mean it: from the directory that `-C` names.
///
/// # Errors
/// [`Exit::Usage`] for an empty one.
pub fn absolute(flags: &Flags, path: &Path) -> Result<PathBuf> {
    let path = flags.common.directory.as_deref().unwrap_or(Path::new("")).join(path);
    std::path::absolute(&path).map_err(|error| {
        Failure::new(Exit::Usage, "usage.output", format!("cannot use the path {:?}", path.display().to_string()))
            .cause(error)
    })
}

/// A directory of this machine.
///
/// # Errors
/// [`Exit::Usage`] if its name is not UTF-8.
pub async fn on_this_machine(directory: &Path, log: &Log) -> Result<Store> {
    let target = Target { name: "this machine".to_owned(), address: "local".to_owned(), ssh_config: None };
    let host = Host::connect(&target, log).await?;
    let directory = directory.to_str().ok_or_else(|| {
        Failure::new(Exit::Usage, "usage.output", format!("the path {} is not UTF-8", directory.display()))
    })?;
    Ok(Store::new(host, directory))
}

/// The directory of this machine that a flag names.
///
/// # Errors
/// [`Exit::Usage`] if it cannot be one.
pub async fn local_store(flags: &Flags, directory: &Path, log: &Log) -> Result<Store> {
    on_this_machine(&absolute(flags, directory)?, log).await
}

/// The project; where `optional`, `None` in a directory that belongs to none. A project with
/// a mistake is an error in any case.
///
/// # Errors
/// [`Exit::Config`].
pub fn project_if_any(flags: &Flags, optional: bool) -> Result<Option<Project>> {
    match Project::load(&flags.common, cm_git::tracked) {
        Ok(project) => Ok(Some(project)),
        Err(failure) if optional && failure.code == NO_PROJECT => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The directory of the host that `cm.toml` names.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn configured_store(flags: &Flags, log: &Log) -> Result<Store> {
    let project = Project::load(&flags.common, cm_git::tracked)?;
    let section = Section::read(flags, &project)?;
    let host = Host::connect(&Target::of(&project, &section.host)?, log).await?;
    Ok(Store::new(host, &section.directory))
}

/// The host of that name in `cm.toml`, connected.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn host_named(flags: &Flags, name: &str, log: &Log) -> Result<Host> {
    let project = Project::load(&flags.common, cm_git::tracked)?;
    Host::connect(&Target::of(&project, project.host(name)?)?, log).await
}

/// A database that is written to: that of a variable, or the project's own.
#[derive(Debug)]
pub struct Destination {
    /// The connection.
    pub source: Source,
    /// The project it belongs to and its host, which have a deploy lock.
    pub owner: Option<(Project, Host)>,
}

/// Connects to the database that the flags and `cm.toml` name.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`]; [`Exit::Backup`] if it does not answer.
pub async fn destination(flags: &Flags, log: &Log) -> Result<Destination> {
    if let Some(variable) = &flags.uri_env {
        let source = Source::from_environment(variable, Some(ReadFrom::Primary)).await.map_err(not_reached)?;
        return Ok(Destination { source, owner: None });
    }
    let project = Project::load(&flags.common, cm_git::tracked)?;
    let section = Section::read(flags, &project)?;
    let host = Host::connect(&Target::of(&project, &section.host)?, log).await?;
    let from = Deployment { project, host: section.host, service: section.service, uri_env: section.uri_env };
    let source = from.open(&host).await?.ok_or_else(|| {
        let message =
            format!("on {}: there is no container of service {:?} to restore into", host.name(), from.service);
        Failure::new(Exit::Backup, "backup.database-unreachable", message)
            .hint(format!("start it first: docker compose up -d {}", from.service))
    })?;
    Ok(Destination { source, owner: Some((from.project, host)) })
}

/// To do without a backup is no way out for a restore. (A container's failure says how to start it.)
fn not_reached(failure: Failure) -> Failure {
    match failure.code.as_str() {
        "backup.database-unreachable" => failure.hint("is the database running, and is that its URI?"),
        _ => failure,
    }
}
