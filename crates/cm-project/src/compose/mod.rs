//! The compose file: what `docker compose` would read, as far as it decides which
//! files a service depends on. Values that only servers know stay unresolved; that
//! is no error here. On a host, `docker compose config` has the last word.

mod canonical;
mod consistency;
mod context;
mod format;
mod keys;
mod load;
mod merge;
mod raw;
mod rebase;
mod schema;
mod service;
mod spelling;
mod unknown;
mod values;

use crate::dotenv::Format;
use crate::source::Position;
use crate::tree::{self, Place, Tree};
use crate::variables::Variables;
use cm_core::Result;
use load::Loader;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub use crate::yaml::Template;
pub use canonical::nanoseconds;
pub use context::is_remote;
pub use format::is_size;
pub use keys::is_key;

/// The names under which Compose looks for its file, in its order.
pub const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The names of the file that Compose lays over it by itself, in its order.
pub const OVERRIDE_NAMES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// A whole compose project.
#[derive(Clone, Debug, Default)]
pub struct Compose {
    /// The project's name, if `COMPOSE_PROJECT_NAME` or a file says it.
    pub name: Option<String>,
    /// The profiles that `COMPOSE_PROFILES` switches on where no flag names others.
    pub profiles: Vec<String>,
    /// The services in the file's order.
    pub services: Vec<Service>,
    /// The files that were read, included and extended ones too, relative to the repository's root.
    pub files: Vec<String>,
    /// Every text with variables in those files. Compose reads them all, also of services
    /// that do not run.
    pub templates: Vec<Template>,
    /// The variables whose values secrets and configs are.
    pub resource_variables: Vec<String>,
    /// The env files of `include`s, there or not, relative to the repository's root.
    pub include_env_files: Vec<String>,
    /// What Compose will refuse, and what only a server can know.
    pub warnings: Vec<Warning>,
    /// What Compose in one version reads otherwise than in another, to be said where no server is asked.
    pub by_version: Vec<Warning>,
}

/// Something in a file that people should look at before a server does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// Where.
    pub at: Position,
    /// What; never a value of a variable.
    pub message: String,
    /// The service that it is about, if it is none while nothing starts that service.
    pub service: Option<String>,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How its image is built; `None` if it is pulled.
    pub build: Option<Build>,
    /// The image's name.
    pub image: Option<String>,
    /// The container's name, if it is fixed.
    pub container_name: Option<String>,
    /// Files with its environment.
    pub env_files: Vec<EnvFile>,
    /// What those of them that the repository has come to, to compare two commits.
    pub file_environment: BTreeMap<String, String>,
    /// Its whole environment, to compare two commits; `None` where an env file is not in the repository, or is refused.
    pub environment: Option<BTreeMap<String, String>>,
    /// Files with its labels.
    pub label_files: Vec<Place>,
    /// What those of them that the repository has come to.
    pub file_labels: BTreeMap<String, String>,
    /// All its labels, as its environment.
    pub labels: Option<BTreeMap<String, String>>,
    /// Bind mounts, and the files of its configs and secrets.
    pub mounts: Vec<Mount>,
    /// The services it depends on.
    pub depends_on: Vec<String>,
    /// Those of them that must be there (`required: false` says otherwise).
    pub requires: Vec<String>,
    /// Those of them with which it restarts.
    pub restarts_with: Vec<String>,
    /// Those of them that it waits for to end with 0.
    pub waits_for: Vec<String>,
    /// The profiles it belongs to; it always runs if there are none.
    pub profiles: Vec<String>,
    /// Its ports, in the short form.
    pub ports: Vec<String>,
    /// The restart policy.
    pub restart: Option<String>,
    /// Whether the compose file gives it a healthcheck; its image may have one too.
    pub has_healthcheck: bool,
    /// How many containers it has.
    pub replicas: u32,
    /// The platform its image is built for.
    pub platform: Option<String>,
    /// What its container is made with, to compare two commits; the build apart.
    pub configuration: Value,
    /// The texts with variables that it is made of, after `include`, `extends` and merging.
    pub templates: Vec<Template>,
}

impl Service {
    /// Whether Compose starts it by itself when `profiles` are switched on.
    pub fn starts_with(&self, profiles: &[String]) -> bool {
        let is_on = |profile: &String| profiles.iter().any(|on| on == profile || on == "*");
        self.profiles.is_empty() || self.profiles.iter().any(is_on)
    }

    /// Whether nothing in the compose file says that it stays: no restart policy, no health check, no
    /// published port. Its image may still have a health check.
    pub fn looks_like_a_job(&self) -> bool {
        let restarts = !matches!(self.restart.as_deref(), None | Some("no"));
        !restarts && !self.has_healthcheck && self.ports.is_empty()
    }
}

/// A service's `build`.
#[derive(Clone, Debug)]
pub struct Build {
    /// The build context.
    pub context: Context,
    /// The Dockerfile's path, relative to the context; `Dockerfile` if not said.
    pub dockerfile: Option<String>,
    /// The Dockerfile itself, written into the compose file.
    pub inline: Option<String>,
    /// Where the compose file has it.
    pub inline_at: Option<Position>,
    /// The stage that is built; the last if not said.
    pub target: Option<String>,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Whether only a server knows the Dockerfile's name.
    pub open_dockerfile: bool,
    /// Whether only a server knows the stage.
    pub open_target: bool,
    /// Named contexts.
    pub contexts: Vec<(String, Context)>,
    /// Build arguments; `None` where only the server knows the value.
    pub args: BTreeMap<String, Option<String>>,
    /// All of `build` that can change the image, to compare two commits.
    pub configuration: Value,
}

/// Where a build context comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Context {
    /// A directory of the repository.
    Directory(String),
    /// The image of another service.
    Service(String),
    /// A named image.
    Image(String),
    /// An address, or a path outside the repository.
    Elsewhere(String),
    /// Somewhere in this directory, or elsewhere: only a server knows.
    Unknown(String),
}

/// An `env_file`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvFile {
    /// Where it is.
    pub place: Place,
    /// Whether Compose insists on it.
    pub required: bool,
    /// How it is read.
    pub format: Format,
}

/// A file or directory that a container sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// Where it comes from.
    pub source: Place,
    /// Where the container sees it.
    pub target: String,
}

/// Reads the compose `files` (paths in the repository, later ones over earlier
/// ones). Variables get the values of those of `env_files` that the repository
/// has; the others keep their defaults or stay as they are.
///
/// # Errors
/// [`cm_core::Exit::Config`] with file, line, column and a caret.
pub fn load(tree: &dyn Tree, files: &[String], env_files: &[String]) -> Result<Compose> {
    load_in(tree, "", files, env_files, &BTreeMap::new())
}

/// The same for a Compose that runs in `directory` of the repository, with the values that a server has for
/// variables, or `None` where it has none.
///
/// # Errors
/// As [`load`].
pub fn load_in(
    tree: &dyn Tree,
    directory: &str,
    files: &[String],
    env_files: &[String],
    values: &BTreeMap<String, Option<String>>,
) -> Result<Compose> {
    let own = files.first().map_or("", |file| tree::parent(file));
    let mut surroundings = Variables::default();
    surroundings.set(rebase::WORKING_DIRECTORY, &rebase::up_from(own, directory));
    let (mut variables, refused) = Variables::read(tree, env_files, &surroundings);
    values.iter().for_each(|(name, value)| variables.put(name, value.as_deref()));
    variables.set(rebase::WORKING_DIRECTORY, &rebase::up_from(own, directory));
    let mut loader = Loader::new(tree, directory);
    loader.refuse(refused);
    let root = loader.load(files, &variables)?;
    let said = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let profiles = said("COMPOSE_PROFILES").unwrap_or_default();
    let services = service::services(&root, own, &mut loader, &variables)?;
    schema::check(&root, own, &mut loader);
    values::check(&root, &mut loader);
    consistency::check(&root, &mut loader);
    Ok(Compose {
        name: said("COMPOSE_PROJECT_NAME").or_else(|| root.get("name").and_then(crate::yaml::Node::text)),
        profiles: profiles.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        services,
        resource_variables: resource_variables(&root),
        files: loader.files(),
        templates: loader.templates,
        include_env_files: loader.include_env_files,
        by_version: values::by_version(&root),
        warnings: loader.warnings,
    })
}

impl Compose {
    /// The service `name`.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The services that another one waits for to end well: each is a job.
    pub fn awaited(&self) -> BTreeSet<String> {
        self.services.iter().flat_map(|service| service.waits_for.iter().cloned()).collect()
    }

    /// The names of all services, in the file's order.
    pub fn names(&self) -> Vec<&str> {
        self.services.iter().map(|service| service.name.as_str()).collect()
    }
}

/// The variables that secrets and configs take their values from.
fn resource_variables(root: &crate::yaml::Node) -> Vec<String> {
    let all = ["configs", "secrets"].into_iter().filter_map(|section| root.get(section));
    let named = all.flat_map(crate::yaml::Node::pairs).filter_map(|(_, resource)| resource.get("environment")?.text());
    named.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests;
