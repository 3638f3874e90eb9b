//! The project: where it is, what `cm.toml` says, what its compose file says, and
//! whether the two agree.

use crate::compose::{self, Compose};
use crate::config::{Backup, Canary, Config, Health, Notify, OnChange, OnFailure, Ops, Prune, ServiceSection, Verify};
use crate::engine::Engine;
use crate::found::{default_files, find, read_config, repository_of};
use crate::host::HostSpec;
use crate::nearest;
use crate::pattern::Patterns;
use crate::references;
use crate::tracked::{Committed, Tracked};
use crate::tree::{self, Dir, Place, Tree};
use cm_core::facts::EffectiveHost;
use cm_core::{CommonArgs, Exit, Failure, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The env file that Compose takes by itself.
const ENV_FILE: &str = ".env";

/// A project on this machine.
#[derive(Clone, Debug)]
pub struct Project {
    /// The directory of `cm.toml`, or of the compose file where there is no `cm.toml`.
    pub root: PathBuf,
    /// The Git repository's directory; `root` where there is no repository.
    pub repository: PathBuf,
    /// `root` relative to `repository`; empty if they are the same.
    pub prefix: String,
    /// What `cm.toml` says.
    pub config: Config,
    /// What the compose file of the working tree says.
    pub compose: Compose,
    /// The SSH configuration file to use instead of the user's (`CM_SSH_CONFIG`).
    pub ssh_config: Option<PathBuf>,
    /// Whether the compose files are those that Compose takes by itself, because `cm.toml` names none.
    pub takes_defaults: bool,
    pub(crate) hosts: Vec<HostSpec>,
    /// What the hosts' own Compose says, by host.
    pub(crate) effective: BTreeMap<String, EffectiveHost>,
}

/// The deploy lock of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lock {
    /// The lock file.
    pub file: PathBuf,
    /// How long a host's lock outlives its holder's last sign of life.
    pub lease: Duration,
}

impl Project {
    /// The project that a program was started in; `tracked` says which files Git knows.
    ///
    /// # Errors
    /// [`Exit::Config`]: no project, or a mistake in `cm.toml` or the compose file.
    pub fn load(common: &CommonArgs, tracked: Tracked) -> Result<Self> {
        let start = common.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        Project::open(&start, common.config.as_deref(), tracked)
    }

    /// The same without its compose file, for programs that read that elsewhere, such as from a commit.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn load_without_compose(common: &CommonArgs, tracked: Tracked) -> Result<Self> {
        let start = common.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        Project::open_without_compose(&start, common.config.as_deref(), tracked)
    }

    /// The project of the directory `start`, with the configuration `config` if given.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn open(start: &Path, config: Option<&Path>, tracked: Tracked) -> Result<Self> {
        let project = Project::open_without_compose(start, config, tracked)?;
        let compose = project.read_compose(&Dir(project.repository.clone()))?;
        Project { compose, ..project }.checked()
    }

    /// The project without its compose file, for programs that read that elsewhere,
    /// such as from a commit.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn open_without_compose(start: &Path, config: Option<&Path>, tracked: Tracked) -> Result<Self> {
        let start = start.canonicalize().map_err(|error| {
            let message = format!("cannot work in {}", start.display());
            Failure::new(Exit::Config, "config.no-directory", message).cause(error)
        })?;
        let found = find(&start, config)?;
        let repository = repository_of(&found.root).unwrap_or_else(|| found.root.clone());
        let prefix = found.root.strip_prefix(&repository).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let mut config = match &found.config {
            Some(path) => read_config(path)?,
            None => Config::default(),
        };
        let takes_defaults = config.compose.files.is_empty();
        if takes_defaults {
            let env_file = config.compose.env_file.clone();
            let tree = Committed::new(&repository, &prefix, tracked);
            config.compose.files = default_files(&tree, &prefix, env_file.as_deref());
        }
        Ok(Project { takes_defaults, ..Project::of(found.root, repository, prefix, config) })
    }

    /// A project whose configuration was read elsewhere, such as from a commit of a
    /// repository that is not checked out.
    pub fn of(root: PathBuf, repository: PathBuf, prefix: String, config: Config) -> Self {
        let mut project = Project {
            hosts: Vec::new(),
            effective: BTreeMap::new(),
            ssh_config: variable("CM_SSH_CONFIG").map(PathBuf::from),
            compose: Compose::default(),
            takes_defaults: false,
            root,
            repository,
            prefix,
            config,
        };
        let (name, sections) = (project.name(), project.config.hosts_in_order());
        project.hosts =
            sections.into_iter().map(|(host, section)| HostSpec::from_section(host, section, &name)).collect();
        project
    }

    /// The project with `compose` in the place of the working tree's compose file.
    ///
    /// # Errors
    /// [`Exit::Config`] where `cm.toml` names a service that it does not have.
    pub fn with_compose(self, compose: Compose) -> Result<Self> {
        Project { compose, ..self }.checked()
    }

    /// The compose files as `tree` has them.
    ///
    /// # Errors
    /// As [`compose::load`].
    pub fn read_compose(&self, tree: &dyn Tree) -> Result<Compose> {
        self.read_compose_with(tree, &BTreeMap::new())
    }

    /// The same with the values that a server has for variables.
    ///
    /// # Errors
    /// As [`compose::load`].
    pub fn read_compose_with(&self, tree: &dyn Tree, values: &BTreeMap<String, Option<String>>) -> Result<Compose> {
        compose::load_in(tree, &self.prefix, &self.compose_files(), &self.variable_files(), values)
    }

    /// The project with the compose files that Compose takes by itself in `tree`, in the place of those it has.
    #[must_use]
    pub fn with_default_files(self, tree: &dyn Tree) -> Self {
        Project { takes_defaults: true, ..self }.in_tree(tree)
    }

    /// The project as it is in `tree`: where `cm.toml` names no compose files, those that
    /// Compose takes there by itself.
    #[must_use]
    pub fn in_tree(mut self, tree: &dyn Tree) -> Self {
        if self.takes_defaults {
            self.config.compose.files = default_files(tree, &self.prefix, self.config.compose.env_file.as_deref());
        }
        self
    }

    fn checked(self) -> Result<Self> {
        references::check(&self.config, &self.compose)?;
        Ok(self)
    }

    /// The compose files, relative to the repository's root.
    pub fn compose_files(&self) -> Vec<String> {
        let files = self.config.compose.files.iter();
        files.filter_map(|file| Place::at(&self.prefix, file).inside().map(str::to_owned)).collect()
    }

    /// Compose's project directory: that of the first compose file, which its paths are relative to and
    /// its name is taken from. Relative to the repository's root.
    pub fn compose_directory(&self) -> String {
        self.compose_files().first().map_or_else(|| self.prefix.clone(), |file| tree::parent(file).to_owned())
    }

    /// The env file that Compose has to be told of, relative to the directory of `cm.toml`; `None` where it is
    /// the `.env` of the project's directory, which Compose takes by itself.
    pub fn env_file(&self) -> Option<String> {
        // `COMPOSE_FILE` leads elsewhere, and stands in the `.env` of where Compose runs.
        let led = self.takes_defaults && self.compose_directory() != self.prefix;
        self.config.compose.env_file.clone().or_else(|| led.then(|| ENV_FILE.to_owned()))
    }

    /// The files that hold the values of the compose file's variables, relative to the
    /// repository's root. Most are not in the repository: they are the servers' own.
    pub fn variable_files(&self) -> Vec<String> {
        match self.env_file() {
            Some(file) => Place::at(&self.prefix, &file).inside().map(str::to_owned).into_iter().collect(),
            None => vec![tree::join(&self.compose_directory(), ENV_FILE)],
        }
    }

    /// The project's name: `cm.toml`'s, else the compose file's, else the directory's.
    pub fn name(&self) -> String {
        let directory = || self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        self.config
            .project
            .clone()
            .or_else(|| self.compose.name.clone())
            .or_else(directory)
            .unwrap_or_else(|| "project".to_owned())
    }

    /// The branch that is deployed: `CM_BRANCH`, else `cm.toml`'s, else `main`.
    pub fn branch(&self) -> String {
        variable("CM_BRANCH").or_else(|| self.config.branch.clone()).unwrap_or_else(|| "main".to_owned())
    }

    /// The Git remote it is pushed to.
    pub fn remote(&self) -> &str {
        self.config.remote.as_deref().unwrap_or("origin")
    }

    /// What the first clone on a server leaves out, as git's `--filter` takes it.
    pub fn clone_filter(&self) -> Option<&str> {
        self.config.clone_filter.as_ref().map(crate::config::CloneFilter::as_str)
    }

    /// The hosts, in the order of `cm.toml`.
    pub fn hosts(&self) -> &[HostSpec] {
        &self.hosts
    }

    /// The name that Compose gives images and containers it is told no name for.
    pub fn compose_name(&self) -> String {
        self.compose.name.clone().unwrap_or_else(|| self.name())
    }

    /// The profiles that are switched on: those of `cm.toml`, else those of `COMPOSE_PROFILES`.
    pub fn profiles(&self) -> &[String] {
        let said = &self.config.compose.profiles;
        if said.is_empty() { &self.compose.profiles } else { said }
    }

    /// The name that Compose is likely to give the project whose checkout on a server is this directory. What its
    /// environment there says comes before that, and only Compose there knows.
    pub fn likely_name(&self, checkout: &str) -> String {
        let directory = tree::join(checkout, &self.compose_directory());
        let named = || normal_name(directory.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        self.compose.name.clone().unwrap_or_else(named)
    }

    /// The names that Compose may give the project on a server, which its images are called
    /// after: it is said, or the directory's, and directories differ.
    pub fn possible_names(&self) -> Vec<String> {
        let first = self.compose_files().into_iter().next().unwrap_or_default();
        let beside = tree::parent(&first).rsplit('/').next().unwrap_or_default().to_owned();
        let root = self.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut names = vec![self.compose_name()];
        for name in [self.name(), beside, root].iter().map(|name| normal_name(name)) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The services of a group.
    ///
    /// # Errors
    /// [`Exit::Usage`] with the nearest group's name.
    pub fn group(&self, name: &str) -> Result<Vec<&str>> {
        let group = self.config.groups.get(name).ok_or_else(|| {
            let known = self.config.groups.keys().map(String::as_str).collect::<Vec<_>>();
            Failure::new(Exit::Usage, "usage.unknown-group", format!("there is no group {name:?}"))
                .hint(nearest::hint(name, known))
        })?;
        Ok(group.iter().map(|service| service.as_ref().as_str()).collect())
    }

    /// The service `name` of the compose file.
    ///
    /// # Errors
    /// [`Exit::Usage`] with the nearest service's name.
    pub fn service(&self, name: &str) -> Result<&compose::Service> {
        self.compose.service(name).ok_or_else(|| {
            Failure::new(Exit::Usage, "usage.unknown-service", format!("there is no service {name:?}"))
                .hint(nearest::hint(name, self.compose.names()))
        })
    }

    /// What `cm.toml` says about `service`; the defaults if it says nothing.
    pub fn rules(&self, service: &str) -> ServiceSection {
        let named = self.config.services.iter().find(|(name, _)| name.as_ref() == service);
        named.map_or_else(ServiceSection::default, |(_, section)| section.clone())
    }

    /// What a changed bind-mounted file asks of `service`.
    pub fn on_change(&self, service: &str) -> OnChange {
        self.rules(service).on_change.unwrap_or_else(|| self.engine().on_change())
    }

    /// The files that a deploy never touches, relative to the repository's root.
    pub fn protected(&self) -> Vec<String> {
        let files = self.config.protect.files.iter();
        files.filter_map(|file| Place::at(&self.prefix, file).inside().map(str::to_owned)).collect()
    }

    /// The deploy lock: `CM_LOCK_FILE`, else `cm.toml`'s file, else one in `/tmp` named after the project.
    pub fn lock(&self) -> Lock {
        let file = variable("CM_LOCK_FILE").or_else(|| self.config.lock.file.clone());
        let file = file.unwrap_or_else(|| format!("/tmp/{}-deploy.lock", self.name().replace('/', "-")));
        Lock { file: PathBuf::from(file), lease: self.config.lock.lease }
    }

    /// What runs the services.
    pub fn engine(&self) -> Engine {
        self.config.engine
    }

    /// The registry of a Swarm, without a slash at its end.
    ///
    /// # Errors
    /// [`Exit::Config`] that names the variable that is not set.
    pub fn registry(&self) -> Result<String> {
        let registry = self.config.swarm.as_ref().map(|swarm| swarm.registry.expand()).transpose()?;
        Ok(registry.unwrap_or_default().trim_end_matches('/').to_owned())
    }

    /// When a deployment counts as healthy.
    pub fn health(&self) -> &Health {
        &self.config.health
    }

    /// The canary requests.
    pub fn canary(&self) -> &Canary {
        &self.config.canary
    }

    /// The checks after a deploy.
    pub fn verify(&self) -> &Verify {
        &self.config.verify
    }

    /// The backups before a deploy, in the order of `cm.toml`.
    pub fn backups(&self) -> &[Backup] {
        &self.config.backup.0
    }

    /// The name of the host that a backup's data is on, where that is known.
    pub fn backup_host<'a>(&'a self, backup: &'a Backup) -> Option<&'a str> {
        match &backup.host {
            Some(named) => Some(named.get_ref().as_str()),
            None => self.host_of(backup.service_name()).map(|host| host.name.as_str()),
        }
    }

    /// Who is told.
    pub fn notify(&self) -> &Notify {
        &self.config.notify
    }

    /// Where deployments are recorded, if anywhere.
    pub fn ops(&self) -> Option<&Ops> {
        self.config.ops.as_ref()
    }

    /// The files whose change makes a release irreversible.
    pub fn migrations(&self) -> Patterns {
        Patterns::of(self.config.rollback.migrations.iter().map(String::as_str))
    }

    /// What becomes of the other hosts when one fails.
    pub fn on_failure(&self) -> OnFailure {
        self.config.rollback.on_failure
    }

    /// How much is kept for rollbacks.
    pub fn prune(&self) -> &Prune {
        &self.config.prune
    }
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A directory's name as Compose makes a project's name of it.
fn normal_name(name: &str) -> String {
    let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let name: String = name.to_lowercase().chars().filter(kept).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}
