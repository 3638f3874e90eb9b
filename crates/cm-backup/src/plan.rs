//! From where to where: what the flags, the environment and `cm.toml` come to,
//! before anything is connected to.

use crate::location::{self, Deployment, Flags, Section};
use crate::mongodump::Method;
use crate::name;
use crate::remote::{self, Order};
use crate::source::Source;
use crate::store::Store;
use cm_archive::manifest::Deploy;
use cm_core::{Exit, Failure, Log, Result, Run};
use cm_host::{Host, Target};
use cm_mongo::dump::Options;
use cm_project::Project;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// What is wanted, as the command line says it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where things are.
    pub flags: Flags,
    /// A directory or a new file of this machine.
    pub output: Option<PathBuf>,
    /// What is read, and how.
    pub options: Options,
    /// Who reads.
    pub method: Method,
    /// Where the program works.
    pub run_on: RunOn,
    /// A database without documents is taken as it is.
    pub allow_empty: bool,
    /// It is restored to compare.
    pub restore_check: bool,
    /// Warnings are errors.
    pub strict: bool,
}

/// Where the program works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunOn {
    /// On the server, if this version is installed there.
    Auto,
    /// On this machine, through a tunnel.
    ThisMachine,
    /// On the server in any case.
    Server,
}

/// One backup, planned.
#[derive(Debug)]
pub struct Plan {
    /// What is wanted.
    pub request: Request,
    from: From,
    to: To,
    database: Option<String>,
    /// The project, where one is known.
    pub project: Option<String>,
    at: Timestamp,
}

#[derive(Debug)]
enum From {
    /// A variable of this process's environment.
    Environment(String),
    /// A service of a compose project on a host.
    Service(Box<Deployment>),
}

#[derive(Debug)]
enum To {
    /// A directory of this machine; the name is made.
    Directory(PathBuf),
    /// A new file of this machine.
    File { directory: PathBuf, name: String },
    /// A directory of a host.
    Host { target: Target, directory: String },
}

/// What a plan leads to, connected.
#[derive(Debug)]
pub struct Route {
    /// The database; `None` if it was never deployed.
    pub source: Option<Source>,
    /// Where the backup goes.
    pub store: Store,
}

impl Plan {
    /// Works out the plan; `None` if the project does not want backups.
    ///
    /// # Errors
    /// [`Exit::Config`] or [`Exit::Usage`] if something is missing or wrong.
    pub fn make(request: Request, run: &mut Run) -> Result<Option<Plan>> {
        let flags = &request.flags;
        let local = request.output.as_deref().map(|path| local_target(flags, path)).transpose()?;
        let plan = match (&flags.uri_env, local) {
            (Some(variable), Some(to)) => Plan {
                from: From::Environment(variable.clone()),
                to,
                database: flags.database.clone(),
                project: run.doc.project().map(str::to_owned),
                at: Timestamp::now(),
                request,
            },
            (_, to) => {
                let project = Project::load(&flags.common, cm_git::tracked)?;
                project.check_project(&run.doc)?;
                if run.started_here {
                    run.doc.set_target(&project.name(), Some(&project.branch()), None);
                }
                let wanted = flags.host.is_some() || flags.service.is_some() || flags.uri_env.is_some();
                if project.backup().is_none() && !wanted {
                    return not_configured(run);
                }
                Plan::of_project(request, project, to)?
            }
        };
        plan.database.as_deref().map_or(Ok(()), cm_mongo::name::check_database)?;
        Ok(Some(plan))
    }

    fn of_project(request: Request, project: Project, to: Option<To>) -> Result<Plan> {
        let section = Section::read(&request.flags, &project)?;
        let to = match to {
            Some(to) => to,
            None => To::Host { target: Target::of(&project, &section.host)?, directory: section.directory },
        };
        let name = Some(project.name());
        let from = match &request.flags.uri_env {
            Some(variable) => From::Environment(variable.clone()),
            None => From::Service(Box::new(Deployment {
                project,
                host: section.host,
                service: section.service,
                uri_env: section.uri_env,
            })),
        };
        Ok(Plan { request, from, to, database: section.database, project: name, at: Timestamp::now() })
    }

    /// The plan for people, after "back up".
    pub fn describe(&self) -> String {
        format!("{} to {}", self.database_display(), self.target_display())
    }

    /// The database and where it is.
    pub fn database_display(&self) -> String {
        let database = match &self.database {
            Some(name) => format!("database {name:?}"),
            None => "the database".to_owned(),
        };
        match &self.from {
            From::Environment(variable) => format!("{database} at ${variable}"),
            From::Service(from) => format!("{database} of service {} on {}", from.service, from.host.name),
        }
    }

    fn target_display(&self) -> String {
        match &self.to {
            To::Directory(directory) => directory.display().to_string(),
            To::File { directory, name } => directory.join(name).display().to_string(),
            To::Host { target, directory } => format!("{}:{directory}", target.name),
        }
    }

    /// The database to read: the one that was named, else the URI's.
    ///
    /// # Errors
    /// [`Exit::Config`] if there is neither.
    pub fn database(&self, of_uri: Option<&str>) -> Result<String> {
        cm_mongo::name::database(self.database.as_deref(), of_uri)
    }

    /// Whether the backup is one of many in its directory.
    pub fn is_in_a_series(&self) -> bool {
        !matches!(self.to, To::File { .. })
    }

    /// What the names of this plan's backups begin with.
    pub fn prefix(&self, database: &str) -> String {
        match &self.to {
            To::File { name, .. } => name.clone(),
            _ => name::prefix(self.project.as_deref(), database),
        }
    }

    /// The backup's file name.
    pub fn file_name(&self, prefix: &str, commit: Option<&str>) -> String {
        match &self.to {
            To::File { name, .. } => name.clone(),
            _ => name::file_name(prefix, self.at, commit, self.request.options.compression.suffix()),
        }
    }

    /// The plan as an order to the server that has the database and keeps the backup, and that
    /// server; `None` where it is this machine, or there are two, or cm-backup is not there.
    ///
    /// # Errors
    /// [`Exit::Config`], [`Exit::Unreachable`]; [`Exit::Backup`] where it has to be there, and is not.
    pub async fn order(&self, deploy: Deploy, log: &Log) -> Result<Option<(Host, Order)>> {
        let (From::Service(from), To::Host { target, directory }) = (&self.from, &self.to) else { return Ok(None) };
        let wanted = self.request.run_on;
        if wanted == RunOn::ThisMachine || target.is_local() || *target != Target::of(&from.project, &from.host)? {
            return Ok(None);
        }
        let host = Host::connect(target, log).await?;
        if !remote::is_installed(&host).await {
            if wanted == RunOn::Server {
                let message = format!("there is no cm-backup {} on {}", env!("CARGO_PKG_VERSION"), host.name());
                return Err(Failure::new(Exit::Backup, "backup.there", message)
                    .hint("install it where `ssh HOST cm-backup` finds it, or leave out --run-on server"));
            }
            return Ok(None);
        }
        let checkout = from.host.checkout()?;
        let checkout = checkout.trim_end_matches('/');
        let order = Order {
            host: host.name().to_owned(),
            compose_project: from.compose_project(checkout),
            service: from.service.clone(),
            volumes: from.volumes(),
            env_file: format!("{checkout}/{}", location::env_file(&from.project)),
            uri_env: from.uri_env.clone(),
            database: self.database.clone(),
            directory: directory.clone(),
            options: self.request.options.clone(),
            method: self.request.method,
            at: self.at,
            allow_empty: self.request.allow_empty,
            restore_check: self.request.restore_check,
            strict: self.request.strict,
            deploy,
        };
        Ok(Some((host, order)))
    }

    /// The directory of the server that carries an order out.
    pub fn remote_store(&self, host: &Host) -> Option<Store> {
        match &self.to {
            To::Host { directory, .. } => Some(Store::new(host.clone(), directory)),
            _ => None,
        }
    }

    /// Connects to both ends, each host once.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], and those of [`Source`].
    pub async fn open(&self, log: &Log) -> Result<Route> {
        let server = match &self.from {
            From::Service(from) => Some(Host::connect(&Target::of(&from.project, &from.host)?, log).await?),
            From::Environment(_) => None,
        };
        let store = match (&self.to, &server) {
            (To::Directory(directory) | To::File { directory, .. }, _) => {
                location::on_this_machine(directory, log).await?
            }
            (To::Host { target, directory }, Some(host)) if target == host.target() => {
                Store::new(host.clone(), directory)
            }
            (To::Host { target, directory }, _) => Store::new(Host::connect(target, log).await?, directory),
        };
        let source = match (&self.from, &server) {
            (From::Environment(variable), _) => {
                Some(Source::from_environment(variable, self.request.flags.read_from).await?)
            }
            (From::Service(from), Some(server)) => from.open(server).await?,
            (From::Service(_), None) => unreachable!("the host of a service was connected to"),
        };
        source.iter().for_each(|source| source.tell(log));
        Ok(Route { source, store })
    }
}

/// A project without `[backup]`: fine in a pipe, a mistake by hand.
fn not_configured(run: &Run) -> Result<Option<Plan>> {
    if run.started_here {
        return Err(Failure::new(Exit::Config, "backup.not-configured", "cm.toml does not say what to back up")
            .hint("add [backup] to cm.toml, or: cm-backup --uri-env VARIABLE --database NAME --output DIR"));
    }
    run.log.warn("no backup: cm.toml has no [backup]");
    Ok(None)
}

/// Whether `--output` names a directory or a new file.
fn local_target(flags: &Flags, path: &Path) -> Result<To> {
    let path = location::absolute(flags, path)?;
    // What is not there yet is a file only if its name says of which kind.
    let as_directory =
        path.is_dir() || path.to_string_lossy().ends_with('/') || (!path.exists() && path.extension().is_none());
    if as_directory {
        return Ok(To::Directory(path));
    }
    let unusable = || {
        Failure::new(Exit::Usage, "usage.output", format!("cannot write a backup to {}", path.display()))
            .hint("name a directory, or a file that is not there yet")
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unusable)?;
    let directory = path.parent().ok_or_else(unusable)?;
    if path.exists() {
        return Err(unusable().cause("it is there already"));
    }
    Ok(To::File { directory: directory.to_owned(), name: name.to_owned() })
}
