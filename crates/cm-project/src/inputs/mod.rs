//! Which files each service depends on, inferred from the compose file and the
//! Dockerfiles it names; and the other way round, which services a changed path
//! touches. Where something cannot be known here, more is taken rather than less.

mod build;
mod built_from;
mod directory;
mod image;
mod reach;
pub mod rule;
mod scope;
mod walk;

use crate::compose::{Compose, Service};
use crate::pattern::{Patterns, Source, UNKNOWN};
use crate::service_section::ServiceSection;
use crate::template;
use crate::tree::{self, Kind, Place, Tree};
use built_from::{BuildInputs, Origin, Triggers};
use cm_core::{Action, Failure};
use image::Built;
use rule::PathRule;
use std::collections::{BTreeMap, BTreeSet};

pub use build::missing_dockerfile;
pub use image::plain_image as full_image_name;
pub use reach::Reach;

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
    /// The other services that build the image it runs.
    pub runs: BTreeSet<String>,
    /// Why its image cannot be built.
    pub broken: Option<Failure>,
    /// What BuildKit will refuse or do otherwise than it looks, with its place.
    pub warnings: Vec<String>,
    /// What its env files come to.
    pub file_environment: BTreeMap<String, String>,
    /// All of its environment, where it is known.
    pub environment: Option<BTreeMap<String, String>>,
    /// All of its labels, where they are known.
    pub labels: Option<BTreeMap<String, String>>,
    /// What its label files come to.
    pub file_labels: BTreeMap<String, String>,
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
    /// The inputs of `compose`'s services, files read from `tree`. `projects` are the names
    /// that the compose project may have, `rules` what `cm.toml` says about a service; the
    /// paths there are relative to `prefix`. A service whose image cannot be built says why.
    pub fn of(
        tree: &dyn Tree,
        compose: &Compose,
        projects: &[String],
        prefix: &str,
        rules: &dyn Fn(&str) -> ServiceSection,
    ) -> Self {
        let all = &compose.services;
        let read = |service: &Service, triggers: Triggers| {
            let build = service.build.as_ref().map(|build| build::inputs(tree, build, triggers));
            build.unwrap_or_else(|| Ok(BuildInputs::default()))
        };
        let mut broken: Vec<Option<Failure>> = vec![None; all.len()];
        let mut images: Vec<BuildInputs> = Vec::new();
        for (index, service) in all.iter().enumerate() {
            images.push(read(service, &|_| Vec::new()).unwrap_or_else(|failure| {
                broken[index] = Some(failure);
                service.build.as_ref().map(BuildInputs::of_broken).unwrap_or_default()
            }));
        }
        let built = Built::of(all, projects);
        for (index, service) in all.iter().enumerate().filter(|(_, service)| service.build.is_some()) {
            let triggers = |origin: &Origin| built.triggers(origin, index, &images);
            let again =
                built.used(&images[index], index, &images).into_iter().any(|other| !images[other].triggers.is_empty());
            if again && let Ok(read) = read(service, &triggers) {
                images[index] = read;
            }
        }
        let mut services = Vec::new();
        for (index, (service, build)) in all.iter().zip(&images).enumerate() {
            let mut inputs = ServiceInputs::new(tree, service, build, prefix, &rules(&service.name));
            inputs.broken = broken[index].take();
            inputs.runs = built.run_by(index);
            inputs.warnings.extend(warning_of_guess(&built, build, index));
            for other in built.used(build, index, &images) {
                inputs.built_on.insert(all[other].name.clone());
                let guessed = build.images.iter().any(|name| name.contains(UNKNOWN));
                let fires = guessed && !images[other].triggers.is_empty();
                inputs.image.extend(build.context.iter().filter(|_| fires).cloned());
            }
            services.push(inputs);
        }
        Inputs { services }
    }

    /// What a change of `path` means: for each service, in order, its effect. A
    /// `module` is a submodule, whose change is one of all below it.
    pub fn classify(&self, path: &[u8], module: bool) -> Vec<Option<Effect>> {
        self.services.iter().map(|service| service.effect(path, module)).collect()
    }

    /// The inputs of the service `name`.
    pub fn service(&self, name: &str) -> Option<&ServiceInputs> {
        self.services.iter().find(|service| service.name == name)
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
        let env_files = env_files.flat_map(|path| with_links(tree, rule::ENV_FILE, path));
        let label_files = service.label_files.iter().filter_map(Place::inside);
        let label_files = label_files.flat_map(|path| with_links(tree, rule::LABEL_FILE, path));
        let mounts = service.mounts.iter().filter_map(|mount| mount.source.inside());
        ServiceInputs {
            name: service.name.clone(),
            is_built: service.build.is_some(),
            built_on: BTreeSet::new(),
            runs: BTreeSet::new(),
            broken: None,
            warnings: build.warnings.clone(),
            file_environment: service.file_environment.clone(),
            environment: service.environment.clone(),
            labels: service.labels.clone(),
            file_labels: service.file_labels.clone(),
            image,
            narrowed: Patterns::of(narrow.collect::<Vec<_>>().iter().map(String::as_str)),
            recreate: env_files.chain(label_files).collect(),
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

    /// Whether the file `path`, where there is one, is part of what the image is built from.
    pub fn takes(&self, path: &[u8]) -> bool {
        let mut rules = self.image.iter().filter(|rule| rule.name != rule::DOCKERIGNORE);
        rules.any(|rule| rule.applies(path, false)) && !self.narrowed.matches(path)
    }

    /// Whether an ignore file was given up on: so many patterns for so many files that those it ignores count, too.
    pub fn is_exhausted(&self) -> bool {
        self.narrowed.is_exhausted() || self.image.iter().any(PathRule::is_exhausted)
    }

    /// The directories that everything the image is built from is in.
    pub fn directories(&self) -> BTreeSet<String> {
        let rules = self.image.iter().filter(|rule| rule.name != rule::DOCKERIGNORE);
        rules.map(|rule| tree::join(&rule.root, rule.source.fixed())).collect()
    }

    /// The directories, or files, that every path with an effect is at or below; a submodule may be above.
    pub fn reach(&self) -> impl Iterator<Item = String> {
        let rules = self.image.iter().chain(&self.recreate).chain(&self.mounted);
        rules.map(|rule| tree::join(&rule.root, rule.source.fixed()))
    }

    /// The strongest effect of a change of `path`. An ignore file comes last of what
    /// decides about the image: its effect means that nothing else takes it.
    pub fn effect(&self, path: &[u8], module: bool) -> Option<Effect> {
        let find = |rules: &[PathRule], action| {
            let rule = rules.iter().find(|rule| rule.applies(path, module))?;
            Some(Effect { action, rule: rule.name })
        };
        let image = || find(&self.image, Action::Build).filter(|_| !self.narrowed.matches(path));
        image().or_else(|| find(&self.recreate, Action::Recreate)).or_else(|| find(&self.mounted, Action::Restart))
    }
}

/// What to say where only the server knows which image a build is based on, and it may be that of another service.
fn warning_of_guess(built: &Built, build: &BuildInputs, own: usize) -> Option<String> {
    let asked = &build.asked_for_base;
    let matters = !asked.is_empty() && built.may_be_meant(&build.open_images, own);
    let verb = if asked.len() == 1 { "decides" } else { "decide" };
    let names = || asked.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    matters.then(|| format!("{} {verb} which image it is built on, and only the server knows the value", names()))
}

/// A `paths` entry of `cm.toml`: `**` means what it does in `.dockerignore`.
fn configured(prefix: &str, pattern: &str) -> PathRule {
    let include = Some(std::rc::Rc::new(Patterns::of([pattern])));
    PathRule { source: Source::new("."), include, ..PathRule::below(rule::PATHS, prefix) }
}

/// Whether a mount is a single file; what is not there yet will be made a directory.
fn mount_rule(tree: &dyn Tree, path: &str) -> &'static str {
    let target = tree::follow(tree, path).map(|(path, _)| path);
    match target.and_then(|path| tree.kind(&path)) {
        Some(Kind::File) => rule::MOUNTED_FILE,
        _ => rule::MOUNTED_DIRECTORY,
    }
}

/// Rules for a path, the links on the way to it and where they lead.
fn with_links(tree: &dyn Tree, name: &'static str, path: &str) -> Vec<PathRule> {
    let pattern = template::replaced(path, '*');
    if pattern != path {
        // What only a server knows of it is any text without a slash.
        return vec![PathRule { source: Source::new(&pattern), ..PathRule::below(name, "") }];
    }
    let mut rules = vec![PathRule::below(name, path)];
    if let Some((target, links)) = tree::follow(tree, path)
        && !links.is_empty()
    {
        rules.extend(links.iter().chain([&target]).map(|path| PathRule::below(name, path)));
    }
    rules
}

#[cfg(test)]
mod tests;
