//! A backup of a MongoDB database, from where to where: what the flags, the environment and
//! `cm.toml` come to, before anything is connected to.

use crate::backup::{Backup, Outcome};
use crate::location::{self, Deployment, Flags, Section};
use crate::mongodump::Method;
use crate::name;
use crate::remote::{self, MongoOrder, Order};
use crate::run_on::RunOn;
use crate::source::Source;
use crate::store::Store;
use crate::to::To;
use cm_archive::manifest::Deploy;
use cm_core::{Log, Result};
use cm_host::{Connect, Host, Target};
use cm_mongo::dump::Options;
use cm_project::Project;
use jiff::Timestamp;
use std::path::PathBuf;

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

/// What a plan leads to, connected.
#[derive(Debug)]
struct Route {
    /// The database; `None` if it was never deployed.
    source: Option<Source>,
    /// Where the backup goes.
    store: Store,
}

impl Plan {
    /// A backup of the database at a URI in this process's environment.
    pub fn of_variable(request: &Request, variable: &str, to: To, project: Option<&str>) -> Result<Plan> {
        let database = request.flags.database.clone();
        Plan {
            from: From::Environment(variable.to_owned()),
            to,
            database,
            project: project.map(str::to_owned),
            at: Timestamp::now(),
            request: request.clone(),
        }
        .checked()
    }

    /// A backup of what a section of `project` says.
    ///
    /// # Errors
    /// [`Exit::Config`] if something is missing or wrong.
    pub fn of_section(request: &Request, project: &Project, section: Section, to: To) -> Result<Plan> {
        let name = Some(project.name());
        let from = match &request.flags.uri_env {
            Some(variable) => From::Environment(variable.clone()),
            None => From::Service(Box::new(Deployment {
                project: project.clone(),
                host: section.host,
                service: section.service,
                uri_env: section.uri_env,
            })),
        };
        let (database, request) = (section.database, request.clone());
        Plan { request, from, to, database, project: name, at: Timestamp::now() }.checked()
    }

    fn checked(self) -> Result<Plan> {
        self.database.as_deref().map_or(Ok(()), cm_mongo::name::check_database)?;
        Ok(self)
    }

    /// The plan for people, after "back up".
    pub fn describe(&self) -> String {
        format!("{} to {}", self.database_display(), self.to.display())
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

    /// The database to read: the one that was named, else the URI's.
    ///
    /// # Errors
    /// [`Exit::Config`] if there is neither.
    fn database(&self, of_uri: Option<&str>) -> Result<String> {
        cm_mongo::name::database(self.database.as_deref(), of_uri)
    }

    /// Where the backup goes.
    pub fn to(&self) -> &To {
        &self.to
    }

    /// What the names of this plan's backups begin with.
    fn prefix(&self, database: &str) -> String {
        match &self.to {
            To::File { name, .. } => name.clone(),
            _ => name::prefix(self.project.as_deref(), database),
        }
    }

    /// The backup's file name.
    fn file_name(&self, prefix: &str, commit: Option<&str>) -> String {
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
    async fn order(&self, deploy: Deploy, log: &Log) -> Result<Option<(Host, Order)>> {
        let (From::Service(from), To::Host { directory, .. }) = (&self.from, &self.to) else { return Ok(None) };
        let at_the_data = Target::of(&from.project, &from.host)?;
        let Some(host) = remote::at_work_on(&self.to, &at_the_data, self.request.run_on, log).await? else {
            return Ok(None);
        };
        let checkout = from.host.checkout()?;
        let checkout = checkout.trim_end_matches('/');
        let order = MongoOrder {
            host: host.name().to_owned(),
            compose_project: location::compose_project(&from.project, &host, checkout).await?,
            service: from.service.clone(),
            volumes: location::volumes(&from.project, &from.service),
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
        Ok(Some((host, Order::Mongo(Box::new(order)))))
    }

    /// Connects to both ends, each host once.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], and those of [`Source`].
    async fn open(&self, log: &Log) -> Result<Route> {
        let server = match &self.from {
            From::Service(from) => Some(from.project.connect_to(&from.host, log).await?),
            From::Environment(_) => None,
        };
        let store = self.to.open(server.as_ref(), log).await?;
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

    /// Makes the backup: on the server, where cm-backup is there, else from here.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`], and those of [`Plan::order`] and [`Plan::open`].
    pub async fn carry_out(&self, deploy: Deploy, log: &Log) -> Result<(Outcome, Option<Store>)> {
        if let Some((host, order)) = self.order(deploy.clone(), log).await? {
            return Ok((order.send(&host, None, log).await?, self.to.store_on(&host)));
        }
        let Route { source, store } = self.open(log).await?;
        let Some(source) = source else {
            return Ok((Outcome::NothingYet("no database container yet: nothing to back up".to_owned()), None));
        };
        let made = self.make(deploy, &source, &store, log).await;
        source.close().await;
        Ok((made?, Some(store)))
    }

    async fn make(&self, deploy: Deploy, source: &Source, store: &Store, log: &Log) -> Result<Outcome> {
        let database = self.database(source.database.as_deref())?;
        let prefix = self.prefix(&database);
        let name = self.file_name(&prefix, deploy.commit.as_deref());
        let backup = Backup {
            source,
            database: &database,
            store,
            prefix: &prefix,
            name: &name,
            deploy,
            options: &self.request.options,
            method: self.request.method,
            allow_empty: self.request.allow_empty,
            restore_check: self.request.restore_check,
            strict: self.request.strict,
            log,
        };
        backup.make().await
    }
}
