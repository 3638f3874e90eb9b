//! The places that flags and `cm.toml` name: the project's database in its container, directories
//! for backups, hosts. A backup's [plan](crate::plan) and the other subcommands find them here.

use crate::source::{self, Deployed, Source};
use crate::store::Store;
use cm_core::{CommonArgs, Exit, Failure, Log, Result};
use cm_host::{Connect, Host, Target};
use cm_mongo::ReadFrom;
use cm_project::{Backup, BackupKind, HostSpec, Project};
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

impl Flags {
    /// Whether they say of what the backup is.
    pub fn names_one(&self) -> bool {
        self.host.is_some() || self.service.is_some() || self.uri_env.is_some()
    }
}

/// A MongoDB database that runs as a service of a compose project on a host.
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
            project: &compose_project(&self.project, server, checkout).await?,
            service: &self.service,
            volumes: &volumes(&self.project, &self.service),
            env_file: &format!("{checkout}/{}", env_file(&self.project)),
        };
        deployed.open(&self.uri_env).await
    }
}

/// The project's name as Compose on the host knows it; where no Compose is there any more, as its
/// definition says: containers need none to be backed up.
///
/// # Errors
/// Those of [`cm_engine::project_name`].
pub async fn compose_project(project: &Project, server: &Host, checkout: &str) -> Result<String> {
    let checkout = checkout.trim_end_matches('/');
    match cm_engine::project_name(project, server, checkout).await {
        Err(failure) if failure.code == "compose.missing" => {
            let named = project.compose.name.clone().filter(|name| !name.contains('$'));
            Ok(named.unwrap_or_else(|| cm_engine::directory_name(project, checkout)))
        }
        name => name,
    }
}

/// The named volumes in the definition of `service`.
pub fn volumes(project: &Project, service: &str) -> Vec<String> {
    project.compose.service(service).map(source::named_volumes).unwrap_or_default()
}

/// The env file on the server, relative to its checkout.
pub fn env_file(project: &Project) -> String {
    project.variable_files().into_iter().next().unwrap_or_else(|| ".env".to_owned())
}

/// A `[backup]` with the flags over it.
#[derive(Clone, Debug)]
pub struct Section {
    /// What `cm.toml` says, where it says anything of this database.
    pub backup: Option<Backup>,
    /// The host of the database.
    pub host: HostSpec,
    /// Its service; empty where it has none.
    pub service: String,
    /// The variable of the host's env file that has its URI.
    pub uri_env: String,
    /// The database to read.
    pub database: Option<String>,
    /// The directory of the host for backups.
    pub directory: String,
}

impl Section {
    /// What `cm.toml` says to back up, as far as the flags do not choose: all of it, the sections of
    /// one service, or that of a MongoDB database that only the flags name.
    ///
    /// # Errors
    /// [`Exit::Config`] if no host is known; [`Exit::Usage`] for flags that are for one of several.
    pub fn all(flags: &Flags, project: &Project) -> Result<Vec<Section>> {
        let chosen = Section::chosen(flags, project);
        let of_one = flags.database.is_some() || flags.host.is_some() || flags.remote_dir.is_some();
        if of_one && chosen.len() > 1 {
            let labels: Vec<_> = chosen.iter().map(|backup| backup.label()).collect();
            let message = format!("cm.toml has several backups: {}", labels.join(", "));
            return Err(Failure::new(Exit::Usage, "usage.section", message).hint("name one of them: --service NAME"));
        }
        match chosen.as_slice() {
            [] => Ok(vec![Section::of(flags, project, None)?]),
            chosen => chosen.iter().map(|backup| Section::of(flags, project, Some(backup))).collect(),
        }
    }

    fn chosen<'a>(flags: &Flags, project: &'a Project) -> Vec<&'a Backup> {
        let all = project.backups();
        let mongodb = || all.iter().find(|backup| backup.kind == BackupKind::Mongodb).into_iter().collect();
        match &flags.service {
            _ if flags.uri_env.is_some() => mongodb(),
            None => all.iter().collect(),
            Some(name) => {
                let named: Vec<_> = all.iter().filter(|backup| backup.label() == name).collect();
                if named.is_empty() { mongodb() } else { named }
            }
        }
    }

    /// That one, with the flags over it.
    ///
    /// # Errors
    /// [`Exit::Config`] if no host is known.
    pub fn of(flags: &Flags, project: &Project, backup: Option<&Backup>) -> Result<Section> {
        let service = match backup {
            Some(backup) if backup.kind != BackupKind::Mongodb => backup.service_name().to_owned(),
            Some(backup) => flags.service.clone().unwrap_or_else(|| backup.service_name().to_owned()),
            None => flags.service.clone().unwrap_or_else(|| BackupKind::Mongodb.as_str().to_owned()),
        };
        let named = flags.host.as_deref().or_else(|| Some(backup?.host.as_ref()?.get_ref().as_str()));
        let host = match named {
            Some(name) => project.host(name)?.clone(),
            None => project.host_of(&service).cloned().ok_or_else(|| {
                Failure::new(Exit::Config, "backup.no-host", "no host is known")
                    .hint("name one under [hosts] in cm.toml, or use --uri-env VARIABLE --output DIR")
            })?,
        };
        let directory = flags.remote_dir.clone().or_else(|| Some(backup?.directory.clone()));
        Ok(Section {
            backup: backup.cloned(),
            host,
            service,
            uri_env: backup.map_or_else(|| "MONGODB_URI".to_owned(), |backup| backup.uri_env.clone()),
            database: flags.database.clone().or_else(|| backup?.database.clone()),
            directory: directory.unwrap_or_else(|| "~/backups".to_owned()),
        })
    }

    /// Whether cm-backup reads the database by itself.
    pub fn is_mongodb(&self) -> bool {
        self.kind() == BackupKind::Mongodb
    }

    /// The kind of its database.
    pub fn kind(&self) -> BackupKind {
        self.backup.as_ref().map_or(BackupKind::Mongodb, |backup| backup.kind)
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
    let target = Target::at("this machine", "local");
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

/// The directories of hosts that `cm.toml` names, each once.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn configured_stores(flags: &Flags, log: &Log) -> Result<Vec<Store>> {
    let project = Project::load(&flags.common, cm_git::tracked)?;
    let mut places: Vec<(Target, String)> = Vec::new();
    for section in Section::all(flags, &project)? {
        let place = (Target::of(&project, &section.host)?, section.directory);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let mut stores = Vec::new();
    for (target, directory) in places {
        stores.push(Store::new(Host::connect(&target, log).await?, &directory));
    }
    Ok(stores)
}

/// The host of that name in `cm.toml`, connected.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn host_named(flags: &Flags, name: &str, log: &Log) -> Result<Host> {
    let project = Project::load(&flags.common, cm_git::tracked)?;
    project.connect_to(project.host(name)?, log).await
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
    let mut sections = Section::all(flags, &project)?.into_iter().filter(Section::is_mongodb);
    let section = sections.next().ok_or_else(|| {
        let message = "cm.toml has no backup of a MongoDB database, which this is a backup of";
        Failure::new(Exit::Config, "backup.not-configured", message).hint("--uri-env VARIABLE leads to one")
    })?;
    if let Some(other) = sections.next() {
        let message = format!("cm.toml has several MongoDB databases: {} and {}", section.service, other.service);
        return Err(Failure::new(Exit::Usage, "usage.section", message).hint("name one of them: --service NAME"));
    }
    let host = project.connect_to(&section.host, log).await?;
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
