//! What differs between one base and the commit to deploy: each changed path with
//! what it means for each service, and the compose file as it was.

use crate::attributes::Conversion;
use crate::effective::{Values as HostValues, resolve};
use cm_core::{Action, Result};
use cm_git::{Change, CommitTree, Oid, Repository};
use cm_project::compose::{Compose, Service};
use cm_project::inputs::{Effect, Inputs, Reach, ServiceInputs, rule};
use cm_project::tree::{Place, Tree};
use cm_project::{Config, Project, tree};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// One base compared with the commit to deploy.
pub struct Comparison {
    /// The base.
    pub base: Oid,
    /// Every path that differs, in order.
    pub changes: Vec<Change>,
    /// For each service, in the order of the inputs, the number of each change that has an effect on it.
    effects: Vec<Vec<(usize, Effect)>>,
    /// What the base says.
    pub before: Known,
    /// The files that are each server's own: what the commit has of them does not count.
    protected: Vec<String>,
}

/// What a base says.
pub enum Known {
    /// Its compose file cannot be read.
    Unreadable,
    /// The same as the commit to deploy: nothing that was read there differs.
    Same,
    /// Something else.
    Was(Box<Before>),
}

/// The project at the commit to deploy, and what had to be read to know it.
pub struct After<'a> {
    /// The project, with the compose file.
    pub project: &'a Project,
    /// What each service depends on.
    pub inputs: &'a Inputs,
    /// Every path that was looked at.
    pub looked_at: &'a BTreeSet<String>,
    /// Whether flags name the compose files or the `cm.toml`: for every commit.
    pub is_named: bool,
    /// What the hosts have for the variables of the compose files.
    pub values: &'a HostValues,
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
    fn read(tree: &dyn Tree, after: &After) -> Result<Self> {
        let project = after.project;
        let own = config_at(tree, &project.prefix).filter(|_| !after.is_named).map(|config| {
            let takes_defaults = config.compose.files.is_empty();
            let (root, repository) = (project.root.clone(), project.repository.clone());
            let own = Project::of(root, repository, project.prefix.clone(), config);
            if takes_defaults { own.with_default_files(tree) } else { own }
        });
        let mut of = own.unwrap_or_else(|| project.clone().in_tree(tree));
        of.compose = resolve::load(tree, &of, project, after.values)?;
        let inputs =
            Inputs::of(tree, &of.compose, &of.possible_names(), &project.prefix, &|service| project.rules(service));
        let (profiles, name) = (of.profiles().to_vec(), of.compose_name());
        Ok(Before { compose: of.compose, inputs, profiles, project: name })
    }

    /// Whether Compose started the service.
    fn started(&self, service: &Service) -> bool {
        service.starts_with(&self.profiles)
    }
}

impl Comparison {
    /// Judges `changes`, all that differs between `base` and `head`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the repository cannot be read.
    pub fn new(repository: &Repository, after: &After, base: Oid, head: Oid, changes: Vec<Change>) -> Result<Self> {
        let (was, is) = (repository.tree(base)?, repository.tree(head)?);
        let before = match after.looked_at.iter().all(|path| was.stands(path) == is.stands(path)) {
            true => Known::Same,
            false => Before::read(&was, after).map_or(Known::Unreadable, |before| Known::Was(Box::new(before))),
        };
        let before_of = |service: &'_ ServiceInputs| match &before {
            Known::Was(before) => before.inputs.service(&service.name),
            Known::Unreadable | Known::Same => None,
        };
        let services = &after.inputs.services;
        let sides = services.iter().map(|service| Sides {
            before: if matches!(before, Known::Same) { Some(service) } else { before_of(service) },
            after: service,
        });
        let sides: Vec<Sides> = sides.collect();
        let mut effects = Vec::with_capacity(sides.len());
        for (sides, near) in sides.iter().zip(near(&sides, &changes)) {
            effects.push(sides.judge(&is, &changes, &near)?);
        }
        for (number, change) in changes.iter().enumerate() {
            if let Some(conversion) = Conversion::of(&change.path, &was, &is) {
                convert(number, &conversion, &sides, &is, &mut effects)?;
            }
        }
        Ok(Comparison { base, changes, effects, before, protected: after.project.protected() })
    }

    /// What has an effect on the service of this number, in the order of the paths.
    pub fn effects(&self, service: usize) -> impl Iterator<Item = (&Change, Effect)> {
        self.effects[service].iter().map(|(number, effect)| (&self.changes[*number], *effect))
    }

    /// The compose file of the base, where it is another one.
    pub fn compose(&self) -> Option<&Compose> {
        match &self.before {
            Known::Was(before) => Some(&before.compose),
            Known::Unreadable | Known::Same => None,
        }
    }

    /// What changed in a service's part of the compose file, as names of rules.
    pub fn configuration(&self, service: &Service, project: &str) -> Configuration {
        let before = match &self.before {
            Known::Unreadable => return Configuration::Unreadable,
            Known::Same => return Configuration::Same,
            Known::Was(before) => before,
        };
        let Some(was) = before.compose.service(&service.name) else { return Configuration::New };
        if build_of(was, &before.project) != build_of(service, project) {
            return Configuration::Build;
        }
        // Under another name everything is made again.
        let same = was.configuration == service.configuration || self.comes_to(was) == self.comes_to(service);
        let same = same && before.project == project;
        if same { Configuration::Same } else { Configuration::Container }
    }

    /// A service's configuration with its environment and its labels as Compose hands them over, however they are written:
    /// in files or in the compose file. What the repository does not have, or a server has otherwise, stays as it is written.
    fn comes_to(&self, service: &Service) -> Value {
        let mut configuration = service.configuration.clone();
        let is_own = |place: &Place| place.inside().is_some_and(|path| self.protected.iter().any(|own| own == path));
        let env_files = service.env_files.iter().any(|file| is_own(&file.place));
        let label_files = service.label_files.iter().any(is_own);
        let parts = [
            (service.environment.as_ref().filter(|_| !env_files), ["environment", "env_file"]),
            (service.labels.as_ref().filter(|_| !label_files), ["labels", "label_file"]),
        ];
        for (result, keys) in parts {
            if let (Some(result), Value::Object(all)) = (result, &mut configuration) {
                all.retain(|key, _| !keys.contains(&key.as_str()));
                all.insert(format!("all of {}", keys[0]), json!(result));
            }
        }
        configuration
    }

    /// Whether the env files of a service come to something else because of what they refer to:
    /// none of them changed itself.
    pub fn environment_differs(&self, service: &Service) -> bool {
        let Known::Was(before) = &self.before else { return false };
        let Some(was) = before.compose.service(&service.name) else { return false };
        let is_file = |change: &Change| {
            let mut files = service.env_files.iter().filter_map(|file| file.place.inside());
            files.any(|file| file.as_bytes() == change.path)
        };
        !self.changes.iter().any(is_file)
            && was.env_files == service.env_files
            && was.file_environment != service.file_environment
            && self.comes_to(was) != self.comes_to(service)
    }

    /// Whether the base had the service without starting it.
    pub fn was_idle(&self, service: &str) -> bool {
        let Known::Was(before) = &self.before else { return false };
        before.compose.service(service).is_some_and(|service| !before.started(service))
    }

    /// The images of other services that one was built on, or is now, but not both.
    pub fn other_base_image(&self, inputs: &ServiceInputs) -> Option<String> {
        let Known::Was(before) = &self.before else { return None };
        let was = &before.inputs.service(&inputs.name)?.built_on;
        was.symmetric_difference(&inputs.built_on).next().cloned()
    }
}

/// What files come to, and what they and the compose file come to, if that is known.
type Values<'a> = (&'a BTreeMap<String, String>, Option<&'a BTreeMap<String, String>>);

/// What a service depended on, and what it depends on now.
struct Sides<'a> {
    before: Option<&'a ServiceInputs>,
    after: &'a ServiceInputs,
}

impl Sides<'_> {
    /// The effects on this service, of those changes that are `near` it.
    fn judge(&self, tree: &CommitTree, changes: &[Change], near: &[usize]) -> Result<Vec<(usize, Effect)>> {
        let mut effects = Vec::new();
        let mut filtered: Option<bool> = None;
        for number in near {
            let Some(effect) = self.effect(&changes[*number]) else { continue };
            let is_same = match effect.rule {
                rule::ENV_FILE => self.is_same(|inputs| (&inputs.file_environment, inputs.environment.as_ref())),
                rule::LABEL_FILE => self.is_same(|inputs| (&inputs.file_labels, inputs.labels.as_ref())),
                _ => false,
            };
            if is_same {
                continue;
            }
            if effect.rule == rule::DOCKERIGNORE && self.before.is_some() {
                let differs = match filtered {
                    Some(known) => known,
                    None => self.filters_differ(tree, changes)?,
                };
                filtered = Some(differs);
                if !differs {
                    continue;
                }
            }
            effects.push((*number, effect));
        }
        Ok(effects)
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

    /// Whether env files or label files come to the same on both sides, by themselves or with what the compose file says:
    /// comments, spelling and where a value is written may differ.
    fn is_same(&self, of: impl Fn(&ServiceInputs) -> Values<'_>) -> bool {
        let Some(before) = self.before else { return false };
        let ((files_before, all_before), (files_after, all_after)) = (of(before), of(self.after));
        let all = all_before.is_some() && all_before == all_after;
        all || !files_before.is_empty() && files_before == files_after
    }

    /// What it does to the service that files may be checked out differently: those of its image count
    /// most, then env files, then mounted ones.
    fn converted(&self, tree: &CommitTree, conversion: &Conversion) -> Result<Option<Action>> {
        let strongest = Cell::new(None);
        let note = |path: &[u8]| {
            let effect = conversion.applies(path).then(|| self.after.effect(path, false)).flatten();
            let action = effect.filter(|effect| effect.rule != rule::DOCKERIGNORE).map(|effect| effect.action);
            strongest.set(strongest.get().max(action));
            action == Some(Action::Build)
        };
        tree.any_below(&self.after.reach().collect(), &note)?;
        Ok(strongest.get())
    }

    /// Whether a file that did not change itself is part of what the image is built
    /// from on one side only: what a changed ignore file can do. Changed files are
    /// judged by themselves.
    fn filters_differ(&self, tree: &CommitTree, changes: &[Change]) -> Result<bool> {
        let Some(before) = self.before else { return Ok(true) };
        let changed: HashSet<&[u8]> = changes.iter().map(|change| change.path.as_slice()).collect();
        let differs = |path: &[u8]| !changed.contains(path) && before.takes(path) != self.after.takes(path);
        let directories = before.directories().union(&self.after.directories()).cloned().collect();
        tree.any_below(&directories, &differs)
    }
}

/// For each service, the numbers of the changes that may have an effect on it.
fn near(services: &[Sides], changes: &[Change]) -> Vec<Vec<usize>> {
    let mut reach = Reach::default();
    for (number, sides) in services.iter().enumerate() {
        sides.before.into_iter().chain([sides.after]).for_each(|inputs| reach.add(number, inputs));
    }
    let mut near = vec![Vec::new(); services.len()];
    for (number, change) in changes.iter().enumerate() {
        reach.services(&change.path, change.module).into_iter().for_each(|service| near[service].push(number));
    }
    near
}

/// Adds the effect of a changed attributes file, whose number is `number`, to those services whose files it converts.
fn convert(
    number: usize,
    conversion: &Conversion,
    services: &[Sides],
    tree: &CommitTree,
    effects: &mut [Vec<(usize, Effect)>],
) -> Result<()> {
    for (sides, effects) in services.iter().zip(effects) {
        if let Some(action) = sides.converted(tree, conversion)? {
            let at = effects.partition_point(|(known, _)| *known < number);
            effects.retain(|(known, _)| *known != number);
            effects.insert(at, (number, Effect { action, rule: rule::ATTRIBUTES }));
        }
    }
    Ok(())
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
