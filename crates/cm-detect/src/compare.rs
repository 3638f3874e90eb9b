//! What differs between one base and the commit to deploy: each changed path with
//! what it means for each service, and the compose file as it was.

use crate::repository::{Change, CommitTree, Repository};
use cm_core::Result;
use cm_project::compose::{self, Compose, Service};
use cm_project::inputs::{Effect, Inputs, ServiceInputs, rule};
use cm_project::tree::Tree;
use cm_project::{Config, Project, tree};
use git2::Oid;
use serde_json::Value;
use std::collections::HashSet;

/// One base compared with the commit to deploy.
pub struct Comparison {
    /// The base.
    pub base: Oid,
    /// Every path that differs, in order.
    pub changes: Vec<Change>,
    /// For each change, the effect on each service, in the order of the inputs.
    pub effects: Vec<Vec<Option<Effect>>>,
    /// What the base says; `None` if its compose file cannot be read.
    pub before: Option<Before>,
}

/// The project as it was at a base.
pub struct Before {
    /// The compose file.
    pub compose: Compose,
    /// What each service depended on.
    pub inputs: Inputs,
    /// The profiles that were switched on.
    profiles: Vec<String>,
    /// The name that Compose gave images without one.
    project: String,
}

impl Before {
    /// Reads the project at a base: by its own `cm.toml`, else as the project says.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if the compose file cannot be read.
    fn read(tree: &dyn Tree, project: &Project) -> Result<Self> {
        let own = config_at(tree, &project.prefix)
            .map(|config| Project::of(project.root.clone(), project.repository.clone(), project.prefix.clone(), config))
            .filter(|own| !own.compose_files().is_empty());
        let of = own.as_ref().unwrap_or(project);
        let compose = compose::load(tree, &of.compose_files(), &of.variable_files())?;
        let name = compose.name.clone().unwrap_or_else(|| of.name());
        let inputs = Inputs::before(tree, &compose, &name, &project.prefix, &|service| project.rules(service))?;
        Ok(Before { compose, inputs, profiles: of.config.compose.profiles.clone(), project: name })
    }

    /// Whether Compose started the service.
    fn started(&self, service: &Service) -> bool {
        starts(service, &self.profiles)
    }
}

/// Whether Compose starts `service` by itself when `profiles` are switched on.
pub fn starts(service: &Service, profiles: &[String]) -> bool {
    service.profiles.is_empty() || service.profiles.iter().any(|profile| profiles.contains(profile))
}

impl Comparison {
    /// Compares `base` with `head`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the repository cannot be read.
    pub fn new(repository: &Repository, project: &Project, inputs: &Inputs, base: Oid, head: Oid) -> Result<Self> {
        let changes = repository.changes(base, head)?;
        let before = Before::read(&repository.tree(base)?, project).ok();
        let known = before.as_ref().map(|before| &before.inputs);
        let mut effects: Vec<Vec<Option<Effect>>> =
            changes.iter().map(|_| Vec::with_capacity(inputs.services.len())).collect();
        let tree = repository.tree(head)?;
        for service in &inputs.services {
            let sides = Sides { before: known.and_then(|inputs| inputs.service(&service.name)), after: service };
            sides.judge(&tree, &changes, &mut effects)?;
        }
        Ok(Comparison { base, changes, effects, before })
    }

    /// What changed in a service's part of the compose file, as names of rules.
    pub fn configuration(&self, service: &Service, project: &str) -> Configuration {
        let Some(before) = &self.before else { return Configuration::Unreadable };
        let Some(was) = before.compose.service(&service.name) else { return Configuration::New };
        if build_of(was, &before.project) != build_of(service, project) {
            return Configuration::Build;
        }
        if was.configuration != service.configuration { Configuration::Container } else { Configuration::Same }
    }

    /// Whether the base had the service without starting it.
    pub fn was_idle(&self, service: &str) -> bool {
        let was = self.before.as_ref().and_then(|before| Some((before, before.compose.service(service)?)));
        was.is_some_and(|(before, service)| !before.started(service))
    }

    /// The images of other services that one was built on, or is now, but not both.
    pub fn other_base_image(&self, inputs: &ServiceInputs) -> Option<String> {
        let was = &self.before.as_ref()?.inputs.service(&inputs.name)?.built_on;
        was.symmetric_difference(&inputs.built_on).next().cloned()
    }
}

/// What a service depended on, and what it depends on now.
struct Sides<'a> {
    before: Option<&'a ServiceInputs>,
    after: &'a ServiceInputs,
}

impl Sides<'_> {
    /// Adds the effect of every change on this service to `effects`.
    fn judge(&self, tree: &CommitTree, changes: &[Change], effects: &mut [Vec<Option<Effect>>]) -> Result<()> {
        let mut filtered: Option<bool> = None;
        for (change, effects) in changes.iter().zip(effects) {
            let mut effect = self.effect(change);
            if effect.is_some_and(|effect| effect.rule == rule::DOCKERIGNORE) && self.before.is_some() {
                let differs = match filtered {
                    Some(known) => known,
                    None => self.filters_differ(tree, changes)?,
                };
                filtered = Some(differs);
                effect = effect.filter(|_| differs);
            }
            effects.push(effect);
        }
        Ok(())
    }

    /// The strongest effect of a change: of a file that was taken, or is taken now.
    fn effect(&self, change: &Change) -> Option<Effect> {
        let of = |inputs: &ServiceInputs| inputs.effect(&change.path, change.module);
        let Some(before) = self.before else { return of(self.after) };
        let was = (!change.added).then(|| of(before)).flatten();
        let is = (!change.deleted).then(|| of(self.after)).flatten();
        let of_ignore_file = |effect: &Effect| effect.rule == rule::DOCKERIGNORE;
        match (was, is) {
            // The ignore file itself is copied on one side.
            (Some(was), Some(is)) if of_ignore_file(&is) && !of_ignore_file(&was) => Some(was),
            (Some(was), Some(is)) => Some(if was.action > is.action { was } else { is }),
            (was, is) => is.or(was),
        }
    }

    /// Whether a file that did not change itself is part of what the image is built
    /// from on one side only: what a changed ignore file can do. Changed files are
    /// judged by themselves.
    fn filters_differ(&self, tree: &CommitTree, changes: &[Change]) -> Result<bool> {
        let Some(before) = self.before else { return Ok(true) };
        let changed: HashSet<&[u8]> = changes.iter().map(|change| change.path.as_slice()).collect();
        let differs = |path: &[u8]| !changed.contains(path) && before.takes(path) != self.after.takes(path);
        let folders = before.folders().union(&self.after.folders()).cloned().collect();
        tree.any_below(&folders, &differs)
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

/// The `cm.toml` in `tree`, if there is one that can be read.
fn config_at(tree: &dyn Tree, prefix: &str) -> Option<Config> {
    let path = tree::join(prefix, cm_project::config::FILE_NAME);
    let bytes = tree::read(tree, &path).ok()??;
    Config::parse(&path, std::str::from_utf8(&bytes).ok()?).ok()
}
