//! From where to where: what the flags, the environment and `cm.toml` come to,
//! before anything is connected to.

use crate::args::{Args, Place};
use crate::dump::{Dump, Method, Options};
use crate::manifest::{Deploy, Selection};
use crate::name;
use crate::select::ReadFrom;
use crate::source::{self, Deployed, Source};
use crate::store::Store;
use crate::there::{self, Order};
use crate::{accounts, mongodump, survey, text};
use cm_core::{Exit, Failure, Io, Log, Result, Run};
use cm_host::{Host, Target};
use cm_project::{HostSpec, Project};
use jiff::Timestamp;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// The code of the failure that there is no project here.
const NO_PROJECT: &str = "config.no-project";

/// One backup, planned.
#[derive(Debug)]
pub struct Plan {
    from: From,
    to: To,
    database: Option<String>,
    /// The project, where one is known.
    pub project: Option<String>,
    /// What is read, and how.
    pub options: Options,
    read_from: Option<ReadFrom>,
    at: Timestamp,
}

#[derive(Debug)]
enum From {
    /// A variable of this process's environment.
    Environment(String),
    /// A service of a compose project on a host.
    Service(Box<FromService>),
}

#[derive(Debug)]
struct FromService {
    project: Project,
    host: HostSpec,
    service: String,
    uri_env: String,
}

#[derive(Debug)]
enum To {
    /// A folder of this machine; the name is made.
    Folder(PathBuf),
    /// A new file of this machine.
    File { folder: PathBuf, name: String },
    /// A folder of a host.
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
    pub fn make(args: &Args, run: &mut Run) -> Result<Option<Plan>> {
        let to_here = args.output.as_deref().map(|path| local_target(args, path)).transpose()?;
        let plan = match (&args.uri_env, to_here) {
            (Some(variable), Some(to)) => Plan {
                from: From::Environment(variable.clone()),
                to,
                database: args.database.clone(),
                project: run.doc.project().map(str::to_owned),
                options: options(args)?,
                read_from: args.read_preference,
                at: Timestamp::now(),
            },
            (_, to) => {
                let project = Project::load(&args.common)?;
                if run.started_here {
                    run.doc.set_target(&project.name(), Some(&project.branch()), None);
                }
                let wanted = args.host.is_some() || args.service.is_some() || args.uri_env.is_some();
                if project.backup().is_none() && !wanted {
                    return not_configured(run);
                }
                Plan::of_project(args, project, to)?
            }
        };
        plan.database.as_deref().map_or(Ok(()), name::check_database)?;
        Ok(Some(plan))
    }

    fn of_project(args: &Args, project: Project, to: Option<To>) -> Result<Plan> {
        let section = Section::read(args, &project)?;
        let to = match to {
            Some(to) => to,
            None => To::Host { target: Target::of(&project, &section.host)?, directory: section.directory },
        };
        let name = Some(project.name());
        let from = match &args.uri_env {
            Some(variable) => From::Environment(variable.clone()),
            None => From::Service(Box::new(FromService {
                project,
                host: section.host,
                service: section.service,
                uri_env: section.uri_env,
            })),
        };
        Ok(Plan {
            from,
            to,
            database: section.database,
            project: name,
            options: options(args)?,
            read_from: args.read_preference,
            at: Timestamp::now(),
        })
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
            To::Folder(folder) => folder.display().to_string(),
            To::File { folder, name } => folder.join(name).display().to_string(),
            To::Host { target, directory } => format!("{}:{directory}", target.name),
        }
    }

    /// The database to read: the one that was named, else the URI's.
    ///
    /// # Errors
    /// [`Exit::Config`] if there is neither.
    pub fn database(&self, of_uri: Option<&str>) -> Result<String> {
        name::database(self.database.as_deref(), of_uri)
    }

    /// Whether the backup is one of many in its folder.
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
            _ => name::file_name(prefix, self.at, commit, self.options.compression.suffix()),
        }
    }

    /// The plan as an order to the server that has the database and keeps the backup, and that
    /// server; `None` where it is this machine, or there are two, or cm-backup is not there.
    ///
    /// # Errors
    /// [`Exit::Config`], [`Exit::Unreachable`]; [`Exit::Backup`] where it has to be there, and is not.
    pub async fn order(&self, args: &Args, deploy: Deploy, log: &Log) -> Result<Option<(Host, Order)>> {
        let (From::Service(from), To::Host { target, directory }) = (&self.from, &self.to) else { return Ok(None) };
        let wanted = args.run_on;
        if wanted == Place::Here || target.is_local() || *target != Target::of(&from.project, &from.host)? {
            return Ok(None);
        }
        let host = Host::connect(target, log).await?;
        if !there::is_installed(&host).await {
            if wanted == Place::Server {
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
            env_file: format!("{checkout}/{}", env_file(&from.project)),
            uri_env: from.uri_env.clone(),
            database: self.database.clone(),
            directory: directory.clone(),
            options: self.options.clone(),
            at: self.at,
            allow_empty: args.allow_empty,
            restore_check: args.restore_check,
            strict: args.strict,
            deploy,
        };
        Ok(Some((host, order)))
    }

    /// The folder of the server that carries an order out.
    pub fn store_there(&self, host: &Host) -> Option<Store> {
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
            (To::Folder(folder) | To::File { folder, .. }, _) => here(folder, log).await?,
            (To::Host { target, directory }, Some(host)) if target == host.target() => {
                Store::new(host.clone(), directory)
            }
            (To::Host { target, directory }, _) => Store::new(Host::connect(target, log).await?, directory),
        };
        let source = match (&self.from, &server) {
            (From::Environment(variable), _) => Some(Source::from_environment(variable, self.read_from).await?),
            (From::Service(from), Some(server)) => from.open(server).await?,
            (From::Service(_), None) => unreachable!("the host of a service was connected to"),
        };
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

impl FromService {
    async fn open(&self, server: &Host) -> Result<Option<Source>> {
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

    /// The project's name as Compose knows it: its own, or that of the folder.
    fn compose_project(&self, checkout: &str) -> String {
        let folder = || checkout.rsplit('/').next().unwrap_or_default().to_lowercase();
        self.project.compose.name.clone().unwrap_or_else(folder)
    }

    /// The named volumes in the service's definition.
    fn volumes(&self) -> Vec<String> {
        self.project.compose.service(&self.service).map(source::named_volumes).unwrap_or_default()
    }
}

/// The env file on the server, relative to its checkout.
fn env_file(project: &Project) -> String {
    project.variable_files().into_iter().next().unwrap_or_else(|| ".env".to_owned())
}

/// `[backup]` with the flags over it.
struct Section {
    host: HostSpec,
    service: String,
    uri_env: String,
    database: Option<String>,
    directory: String,
}

impl Section {
    fn read(args: &Args, project: &Project) -> Result<Self> {
        let section = project.backup();
        let service = args.service.clone().or_else(|| section.map(|section| section.service.as_ref().clone()));
        let service = service.unwrap_or_else(|| "mongodb".to_owned());
        let named = args.host.as_deref().or_else(|| section?.host.as_ref().map(|host| host.as_ref().as_str()));
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
            database: args.database.clone().or_else(|| section?.database.clone()),
            directory: (args.remote_dir.clone())
                .or_else(|| section.map(|section| section.directory.clone()))
                .unwrap_or_else(|| "~/backups".to_owned()),
        })
    }
}

/// What the flags say of the reading.
fn options(args: &Args) -> Result<Options> {
    let options = Options {
        selection: Selection::of(args)?,
        compression: args.compression,
        consistency: args.consistency,
        rate_limit: args.rate_limit,
        method: args.method,
    };
    if args.method == Method::Mongodump {
        if args.uri_env.is_some() {
            let message = "--method mongodump runs in the database's container, which --uri-env does not lead to";
            return Err(Failure::new(Exit::Usage, "usage.method", message).hint("--host and --service, or cm.toml, do"));
        }
        mongodump::check(&options)?;
    }
    Ok(options)
}

/// Whether `--output` names a folder or a new file.
fn local_target(args: &Args, path: &Path) -> Result<To> {
    let path = absolute(args, path)?;
    let as_folder = path.is_dir() || path.to_string_lossy().ends_with('/');
    if as_folder {
        return Ok(To::Folder(path));
    }
    let unusable = || {
        Failure::new(Exit::Usage, "usage.output", format!("cannot write a backup to {}", path.display()))
            .hint("name a folder, or a file that is not there yet")
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unusable)?;
    let folder = path.parent().ok_or_else(unusable)?;
    if path.exists() {
        return Err(unusable().cause("it is there already"));
    }
    Ok(To::File { folder: folder.to_owned(), name: name.to_owned() })
}

/// A path as the flags mean it: from the folder that `-C` names.
///
/// # Errors
/// [`Exit::Usage`] for an empty one.
pub fn absolute(args: &Args, path: &Path) -> Result<PathBuf> {
    let path = args.common.directory.as_deref().unwrap_or(Path::new("")).join(path);
    std::path::absolute(&path).map_err(|error| {
        Failure::new(Exit::Usage, "usage.output", format!("cannot use the path {:?}", path.display().to_string()))
            .cause(error)
    })
}

/// A folder of this machine.
async fn here(folder: &Path, log: &Log) -> Result<Store> {
    let target = Target { name: "this machine".to_owned(), address: "local".to_owned(), ssh_config: None };
    let host = Host::connect(&target, log).await?;
    let folder = folder.to_str().ok_or_else(|| {
        Failure::new(Exit::Usage, "usage.output", format!("the path {} is not UTF-8", folder.display()))
    })?;
    Ok(Store::new(host, folder))
}

/// The folder of this machine that a flag names.
///
/// # Errors
/// [`Exit::Usage`] if it cannot be one.
pub async fn local_store(args: &Args, folder: &Path, log: &Log) -> Result<Store> {
    here(&absolute(args, folder)?, log).await
}

/// The project; where `optional`, `None` in a folder that belongs to none. A project with
/// a mistake is an error in any case.
///
/// # Errors
/// [`Exit::Config`].
pub fn project_if_any(args: &Args, optional: bool) -> Result<Option<Project>> {
    match Project::load(&args.common) {
        Ok(project) => Ok(Some(project)),
        Err(failure) if optional && failure.code == NO_PROJECT => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The folder of the host that `cm.toml` names.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn configured_store(args: &Args, log: &Log) -> Result<Store> {
    let project = Project::load(&args.common)?;
    let section = Section::read(args, &project)?;
    let host = Host::connect(&Target::of(&project, &section.host)?, log).await?;
    Ok(Store::new(host, &section.directory))
}

/// The host of that name in `cm.toml`, connected.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Unreachable`].
pub async fn host_named(args: &Args, name: &str, log: &Log) -> Result<Host> {
    let project = Project::load(&args.common)?;
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
pub async fn destination(args: &Args, log: &Log) -> Result<Destination> {
    if let Some(variable) = &args.uri_env {
        return Ok(Destination { source: Source::from_environment(variable, None).await?, owner: None });
    }
    let project = Project::load(&args.common)?;
    let section = Section::read(args, &project)?;
    let host = Host::connect(&Target::of(&project, &section.host)?, log).await?;
    let from = FromService { project, host: section.host, service: section.service, uri_env: section.uri_env };
    let source = from.open(&host).await?.ok_or_else(|| {
        let message =
            format!("on {}: there is no container of service {:?} to restore into", host.name(), from.service);
        Failure::new(Exit::Backup, "backup.database-unreachable", message)
            .hint(format!("start it first: docker compose up -d {}", from.service))
    })?;
    Ok(Destination { source, owner: Some((from.project, host)) })
}

/// `--output -`: the archive on stdout, which nobody can read back from here.
///
/// # Errors
/// [`Exit::Usage`] for a terminal or without `--uri-env`, and those of a backup.
pub async fn to_stdout(args: &Args, io: &Io) -> Result<Exit> {
    let usage = |message: &str, hint: &str| Failure::new(Exit::Usage, "usage.output", message).hint(hint);
    let variable = args.uri_env.as_deref().ok_or_else(|| {
        usage("--output - needs --uri-env", "cm-backup --uri-env VARIABLE --database NAME --output - > FILE")
    })?;
    if std::io::stdout().is_terminal() {
        return Err(usage("a backup is no text for a terminal", "redirect it: --output - > FILE"));
    }
    if args.common.dry_run {
        io.log.info(format!("would write a backup of the database at ${variable} to stdout"));
        return Ok(Exit::Done);
    }
    let source = Source::from_environment(variable, args.read_preference).await?;
    let named = args.database.clone().or_else(|| source.database.clone());
    let database = named.ok_or_else(|| usage("no database is named", "name it: --database NAME"))?;
    name::check_database(&database)?;
    let options = options(args)?;
    let mut survey = survey::survey(&source.client, &database).await?;
    if let Some(selection) = &options.selection {
        selection.apply(&mut survey)?;
    }
    if options.selection.is_none() {
        survey.accounts = accounts::read(&source.client, &database).await;
    }
    if survey.collections.is_empty() && !args.allow_empty {
        let message = format!("the database {database:?} at ${variable} is not there");
        return Err(Failure::new(Exit::Backup, "backup.empty", message).hint("--allow-empty takes it as it is"));
    }
    let (client, survey, consistency) = (&source.client, &survey, options.consistency);
    let dump = Dump { client, survey, options: &options, consistency, log: &io.log };
    let dumped = dump.run(std::io::stdout()).await;
    source.close().await;
    let (_, dumped) = dumped?.split();
    for warning in &dumped.warnings {
        io.log.warn(warning);
    }
    io.log.success(format!("wrote {}, SHA-256 {}", text::bytes(dumped.bytes), dumped.sha256));
    io.log.warn("what went to stdout was not read back: prove it where it arrives, with `cm-backup verify`");
    Ok(Exit::Done)
}
