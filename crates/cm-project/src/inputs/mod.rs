//! Which files each service depends on, inferred from the compose file and the
//! Dockerfiles it names; and the other way round, which services a changed path
//! touches. Where something cannot be known here, more is taken rather than less.

mod build;
pub mod rule;

use crate::compose::{Compose, Service};
use crate::config::ServiceSection;
use crate::pattern::{Patterns, Source};
use crate::tree::{self, Kind, Tree};
use build::{BuildInputs, plain_image};
use cm_core::{Action, Result};
use rule::PathRule;
use std::collections::BTreeSet;

pub use build::plain_image as full_image_name;

/// The inputs of every service of a compose file.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// One entry per service, in the compose file's order.
    pub services: Vec<ServiceInputs>,
}

/// What one service depends on.
#[derive(Clone, Debug)]
pub struct ServiceInputs {
    /// The service.
    pub name: String,
    /// Whether it is built at all.
    pub is_built: bool,
    /// The services whose images its own image is built on.
    pub built_on: BTreeSet<String>,
    image: Vec<PathRule>,
    narrowed: Patterns,
    recreate: Vec<PathRule>,
    mounted: Vec<PathRule>,
}

/// A path's effect on a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effect {
    /// What has to be done at least: build, recreate, or restart for a mounted file.
    pub action: Action,
    /// The rule's name.
    pub rule: &'static str,
}

impl Inputs {
    /// The inputs of `compose`'s services, files read from `tree`. `project` is the
    /// compose project's name, `rules` what `cm.toml` says about a service; the
    /// paths there are relative to `prefix`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] for a Dockerfile with a mistake.
    pub fn of(
        tree: &dyn Tree,
        compose: &Compose,
        project: &str,
        prefix: &str,
        rules: &dyn Fn(&str) -> ServiceSection,
    ) -> Result<Self> {
        let mut services = Vec::new();
        let mut images = Vec::new();
        for service in &compose.services {
            let build = service.build.as_ref().map(|build| build::inputs(tree, build)).transpose()?;
            let build = build.unwrap_or_default();
            services.push(ServiceInputs::new(tree, service, &build, prefix, &rules(&service.name)));
            images.push(build);
        }
        for (service, build) in services.iter_mut().zip(&images) {
            for (sibling, image) in compose.services.iter().zip(&images) {
                if sibling.build.is_some() && sibling.name != service.name && uses(build, sibling, project) {
                    service.built_on.insert(sibling.name.clone());
                    service.image.extend(build.context.iter().filter(|_| image.has_triggers).cloned());
                }
            }
        }
        Ok(Inputs { services })
    }

    /// What a change of `path` means: for each service, in order, its effect. A
    /// `module` is a submodule, whose change is one of all below it.
    pub fn classify(&self, path: &[u8], module: bool) -> Vec<Option<Effect>> {
        self.services.iter().map(|service| service.effect(path, module)).collect()
    }
}

impl ServiceInputs {
    fn new(tree: &dyn Tree, service: &Service, build: &BuildInputs, prefix: &str, rules: &ServiceSection) -> Self {
        let mut image = build.rules.clone();
        let (narrow, add): (Vec<&str>, Vec<&str>) =
            rules.paths.iter().map(String::as_str).partition(|path| path.starts_with('!'));
        image.extend(add.into_iter().map(|path| configured(prefix, path)));
        let narrow = narrow.into_iter().map(|path| tree::join(prefix, &path[1..]));
        let env_files = service.env_files.iter().filter_map(|file| file.place.inside());
        let mounts = service.mounts.iter().filter_map(|mount| mount.source.inside());
        ServiceInputs {
            name: service.name.clone(),
            is_built: service.build.is_some(),
            built_on: BTreeSet::new(),
            image,
            narrowed: Patterns::of(narrow.collect::<Vec<_>>().iter().map(String::as_str)),
            recreate: env_files.flat_map(|path| with_links(tree, rule::ENV_FILE, path)).collect(),
            mounted: mounts.flat_map(|path| with_links(tree, mount_rule(tree, path), path)).collect(),
        }
    }

    /// What the service depends on, a line each, for people.
    pub fn describe(&self) -> Vec<String> {
        let rules = self.image.iter().chain(&self.recreate).chain(&self.mounted);
        let mut lines: Vec<String> = rules.map(PathRule::describe).collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// The strongest effect of a change of `path`.
    fn effect(&self, path: &[u8], module: bool) -> Option<Effect> {
        let find = |rules: &[PathRule], action| {
            let rule = rules.iter().find(|rule| rule.applies(path, module))?;
            Some(Effect { action, rule: rule.name })
        };
        let image = || find(&self.image, Action::Build).filter(|_| !self.narrowed.matches(path));
        image().or_else(|| find(&self.recreate, Action::Recreate)).or_else(|| find(&self.mounted, Action::Restart))
    }
}

/// A `paths` entry of `cm.toml`: `**` means what it does in `.dockerignore`.
fn configured(prefix: &str, pattern: &str) -> PathRule {
    let include = Some(std::rc::Rc::new(Patterns::of([pattern])));
    PathRule { source: Source::new("."), include, ..PathRule::below(rule::PATHS, prefix) }
}

/// Whether a mount is a single file; what is not there yet will be made a folder.
fn mount_rule(tree: &dyn Tree, path: &str) -> &'static str {
    let target = tree::follow(tree, path).map(|(path, _)| path);
    match target.and_then(|path| tree.kind(&path)) {
        Some(Kind::File) => rule::MOUNTED_FILE,
        _ => rule::MOUNTED_FOLDER,
    }
}

/// Rules for a path, the links on the way to it and where they lead.
fn with_links(tree: &dyn Tree, name: &'static str, path: &str) -> Vec<PathRule> {
    let mut rules = vec![PathRule::below(name, path)];
    if let Some((target, links)) = tree::follow(tree, path)
        && !links.is_empty()
    {
        rules.extend(links.iter().chain([&target]).map(|path| PathRule::below(name, path)));
    }
    rules
}

/// Whether a build takes something from the image that `sibling` is built into.
fn uses(build: &BuildInputs, sibling: &Service, project: &str) -> bool {
    let default = || format!("{project}-{}", sibling.name);
    let name = plain_image(&sibling.image.clone().unwrap_or_else(default));
    let same = |used: &String| match used.split_once(crate::pattern::UNKNOWN) {
        Some((start, _)) => name.starts_with(start),
        None => plain_image(used) == name,
    };
    build.services.contains(&sibling.name) || build.images.iter().any(same)
}

#[cfg(test)]
mod tests;
