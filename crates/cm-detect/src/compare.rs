//! What differs between one base and the commit to deploy: each changed path with
//! what it means for each service, and the compose file as it was.

use crate::repository::{Change, Repository};
use cm_core::Result;
use cm_project::compose::{self, Compose, Service};
use cm_project::inputs::{Effect, Inputs};
use cm_project::tree::Tree;
use cm_project::{Config, Project, tree};
use git2::Oid;
use serde_json::Value;

/// One base compared with the commit to deploy.
pub struct Comparison {
    /// The base.
    pub base: Oid,
    /// Every path that differs, in order.
    pub changes: Vec<Change>,
    /// For each change, the effect on each service, in the order of the inputs.
    pub effects: Vec<Vec<Option<Effect>>>,
    /// The compose file at the base; `None` if it cannot be read there.
    pub compose: Option<Compose>,
}

impl Comparison {
    /// Compares `base` with `head`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the repository cannot be read.
    pub fn new(repository: &Repository, project: &Project, inputs: &Inputs, base: Oid, head: Oid) -> Result<Self> {
        let changes = repository.changes(base, head)?;
        let effects = changes.iter().map(|change| inputs.classify(&change.path, change.module)).collect();
        let tree = repository.tree(base)?;
        Ok(Comparison { base, changes, effects, compose: compose_at(&tree, project).ok() })
    }

    /// What changed in a service's part of the compose file, as names of rules.
    pub fn configuration(&self, service: &Service, project: &str) -> Configuration {
        let Some(compose) = &self.compose else { return Configuration::Unreadable };
        let Some(before) = compose.service(&service.name) else { return Configuration::New };
        if build_of(before, project) != build_of(service, project) {
            return Configuration::Build;
        }
        if before.configuration != service.configuration { Configuration::Container } else { Configuration::Same }
    }
}

/// How a service's part of the compose file changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Configuration {
    /// Not at all.
    Same,
    /// What its image is built from, or what the image is called.
    Build,
    /// What its container is made with.
    Container,
    /// It was not there.
    New,
    /// The compose file of the base cannot be read.
    Unreadable,
}

/// Everything of a service that decides about its image, apart from files.
fn build_of<'a>(service: &'a Service, project: &str) -> Option<(&'a Value, Option<&'a str>, String)> {
    let build = service.build.as_ref()?;
    let image = service.image.clone().unwrap_or_else(|| format!("{project}-{}", service.name));
    Some((&build.configuration, service.platform.as_deref(), image))
}

/// The compose file in `tree`: the files that its own `cm.toml` names, else those of
/// the project.
pub fn compose_at(tree: &dyn Tree, project: &Project) -> Result<Compose> {
    let own = config_at(tree, &project.prefix);
    let own =
        own.map(|config| Project::of(project.root.clone(), project.repository.clone(), project.prefix.clone(), config));
    match own.filter(|own| !own.compose_files().is_empty()) {
        Some(own) => compose::load(tree, &own.compose_files(), &own.variable_files()),
        None => compose::load(tree, &project.compose_files(), &project.variable_files()),
    }
}

/// The `cm.toml` in `tree`, if there is one that can be read.
fn config_at(tree: &dyn Tree, prefix: &str) -> Option<Config> {
    let path = tree::join(prefix, cm_project::config::FILE_NAME);
    let bytes = tree::read(tree, &path).ok()??;
    Config::parse(&path, std::str::from_utf8(&bytes).ok()?).ok()
}
