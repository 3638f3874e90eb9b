//! The way through a Dockerfile: follows the stages that the target reaches and
//! collects the paths they take from directories of the repository, and the images and
//! services they stand on.

use super::built_from::{BuildInputs, Origin, Triggers};
use super::directory::{Directory, escaped, links};
use super::image::plain_image;
use super::rule::{self, PathRule};
use super::scope::{PLATFORM_VARIABLES, Scope};
use crate::compose::{Build, Context};
use crate::dockerfile::words::{Value, expand};
use crate::dockerfile::{Copy, Dockerfile, Mount, Stage, Step, is_image};
use crate::pattern::{Patterns, Source, UNKNOWN};
use crate::tree::{self, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What the stages that are based on a stage take over from it.
#[derive(Clone)]
pub(super) struct Inherited {
    pub(super) variables: Scope,
    pub(super) triggers: Vec<Step>,
}

/// A walk, with what it has collected so far.
pub(super) struct Walk<'a> {
    pub(super) tree: &'a dyn Tree,
    pub(super) build: &'a Build,
    pub(super) outer: Triggers<'a>,
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) out: BuildInputs,
    /// The stages that were begun: a stage that copies from itself ends there.
    pub(super) begun: BTreeSet<usize>,
    pub(super) left: BTreeMap<usize, Inherited>,
    /// The main context first, then the named ones.
    pub(super) directories: Vec<Directory>,
}

impl Walk<'_> {
    /// Collects what the stage `index` and all it stands on need.
    pub(super) fn reach(&mut self, index: usize) {
        if self.begun.insert(index) {
            self.stage(index);
        }
    }

    /// Walks through a stage, once; returns what stages based on it inherit.
    pub(super) fn stage(&mut self, index: usize) -> Inherited {
        if let Some(left) = self.left.get(&index) {
            return left.clone();
        }
        self.begun.insert(index);
        let dockerfile = self.dockerfile;
        let stage: &Stage = &dockerfile.stages[index];
        if let Some(origin) = stage.name.as_deref().and_then(|name| self.named_context(name)) {
            // A named context of a stage's name takes the stage's place: none of its steps is done.
            self.whole(origin);
            let unknown = Scope { known: Vec::new(), open: true };
            let left = Inherited { variables: unknown, triggers: Vec::new() };
            self.left.insert(index, left.clone());
            return left;
        }
        let (mut variables, inherited) = self.base(index, stage);
        let mut triggers = Vec::new();
        for step in inherited.iter().chain(&stage.steps) {
            match step {
                Step::OnBuild(step) => triggers.push((**step).clone()),
                step => self.step(step, &mut variables),
            }
        }
        let left = Inherited { variables, triggers };
        self.left.insert(index, left.clone());
        left
    }

    /// The variables a stage starts with and the ONBUILD steps of its base.
    fn base(&mut self, index: usize, stage: &Stage) -> (Scope, Vec<Step>) {
        let global = self.global_variables();
        let base = expand(&stage.base, self.dockerfile.escape, &|name| global.get(name));
        let earlier = self.dockerfile.stages[..index]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&base.to_ascii_lowercase()));
        let open = base != "scratch";
        match earlier {
            Some(earlier) => {
                let inherited = self.stage(earlier);
                (inherited.variables, inherited.triggers)
            }
            None if base.contains(UNKNOWN) => {
                // Any stage could be meant, and any image.
                (0..index).for_each(|earlier| self.reach(earlier));
                self.open_base(stage, base);
                (Scope { known: Vec::new(), open }, Vec::new())
            }
            None => {
                let origin = self.outside(&base);
                let mut triggers = (self.outer)(&origin);
                self.whole(origin);
                if triggers.is_empty() && base.contains("onbuild") {
                    triggers.push(everything());
                }
                (Scope { known: Vec::new(), open }, triggers)
            }
        }
    }

    /// Notes an image of which only a server knows all: by its defaults, where they make a name, as Compose's do.
    fn open_base(&mut self, stage: &Stage, base: String) {
        let mut defaults = Scope::default();
        for (name, default) in &self.dockerfile.args {
            let given = self.build.args.get(name).is_some_and(Option::is_some);
            if given || default.is_some() {
                self.declare(name, default.as_deref(), None, &mut defaults);
            }
            if let (Some(None), Some(default)) = (self.build.args.get(name), default) {
                let text = expand(default, self.dockerfile.escape, &|name| defaults.get(name));
                defaults.set(name, text);
            }
            if let Some(None) = self.build.args.get(name) {
                self.out.asked_for_base.insert(name.clone());
            }
        }
        defaults.known.extend(PLATFORM_VARIABLES.map(|name| (name.to_owned(), Value::Unknown)));
        let usual = expand(&stage.base, self.dockerfile.escape, &|name| defaults.get(name));
        let is_name = is_image(&usual);
        self.out.images.insert(if is_name { usual } else { base.clone() });
        self.out.open_images.insert(base);
    }

    /// The ARGs before the first FROM, with the build's arguments.
    fn global_variables(&self) -> Scope {
        let mut variables = Scope::default();
        variables.known.extend(PLATFORM_VARIABLES.map(|name| (name.to_owned(), Value::Unknown)));
        for (name, default) in &self.dockerfile.args {
            self.declare(name, default.as_deref(), None, &mut variables);
        }
        variables
    }

    /// ARG: the build's argument, else the default, else what was said before the first FROM.
    fn declare(&self, name: &str, default: Option<&str>, global: Option<&Scope>, variables: &mut Scope) {
        let value = match (self.build.args.get(name), default) {
            (Some(Some(given)), _) => Value::Known(given.clone()),
            (Some(None), _) => Value::Unknown,
            (None, Some(default)) => {
                let text = expand(default, self.dockerfile.escape, &|name| variables.get(name));
                return variables.set(name, text);
            }
            (None, None) => match global.map_or(Value::Unset, |global| global.get(name)) {
                Value::Unset if PLATFORM_VARIABLES.contains(&name) => Value::Unknown,
                value => value,
            },
        };
        if value != Value::Unset {
            variables.known.push((name.to_owned(), value));
        }
    }

    fn step(&mut self, step: &Step, variables: &mut Scope) {
        let escape = self.dockerfile.escape;
        match step {
            Step::Arg(args) => {
                let global = self.global_variables();
                for (name, default) in args {
                    self.declare(name, default.as_deref(), Some(&global), variables);
                }
            }
            Step::Env(pairs) => {
                // All of one ENV is replaced before any of it is set.
                let texts: Vec<String> =
                    pairs.iter().map(|(_, value)| expand(value, escape, &|name| variables.get(name))).collect();
                pairs.iter().zip(texts).for_each(|((name, _), text)| variables.set(name, text));
            }
            Step::Copy(copy) => self.copy(copy, &|word| expand(word, escape, &|name| variables.get(name))),
            Step::Run(mounts) => {
                let expanded = |word: &str| expand(word, escape, &|name| variables.get(name));
                mounts.iter().for_each(|mount| self.mount(mount, &expanded));
            }
            Step::Words(words) => {
                let texts = words.words.iter().map(|word| expand(word, escape, &|name| variables.get(name)));
                let refused = texts.filter(|text| !text.contains(UNKNOWN)).find_map(|text| words.refused(&text));
                if let Some(why) = refused.filter(|_| self.out.refused.is_none()) {
                    self.out.refused = Some((words.line, why));
                }
            }
            Step::OnBuild(_) => {}
        }
    }

    fn copy(&mut self, copy: &Copy, expanded: &dyn Fn(&str) -> String) {
        let sources: Vec<String> = copy.sources.iter().map(|source| expanded(source)).collect();
        let Some(directory) = self.origin_directory(copy.from.as_deref(), expanded) else { return };
        let name = if copy.is_add { rule::ADD } else { rule::COPY };
        let exclude: Vec<String> = copy.exclude.iter().map(|pattern| expanded(pattern)).collect();
        // What is not known must not exclude anything.
        let exclude = exclude.iter().map(String::as_str).filter(|pattern| !pattern.contains(UNKNOWN));
        let exclude = Rc::new(Patterns::of(exclude));
        for source in sources.iter().filter(|source| !(copy.is_add && is_address(source))) {
            self.take(directory, name, source, copy.parents, &exclude);
        }
    }

    fn mount(&mut self, mount: &Mount, expanded: &dyn Fn(&str) -> String) {
        let kind = expanded(&mount.kind);
        let takes_context = mount.from.is_none() && (kind == "bind" || kind.contains(UNKNOWN));
        if (mount.from.is_some() || takes_context)
            && !matches!(kind.as_str(), "secret" | "ssh" | "tmpfs")
            && let Some(directory) = self.origin_directory(mount.from.as_deref(), expanded)
        {
            self.take(directory, rule::MOUNT, &expanded(&mount.source), false, &Rc::default());
        }
    }

    /// The directory that `from` (or the build context) is. Anything else is noted as
    /// needed in whole, and gives `None`.
    fn origin_directory(&mut self, from: Option<&str>, expanded: &dyn Fn(&str) -> String) -> Option<usize> {
        let Some(from) = from else {
            return matches!(self.build.context, Context::Directory(_)).then_some(0);
        };
        let from = expanded(from);
        if from.contains(UNKNOWN) {
            (0..self.dockerfile.stages.len()).for_each(|stage| self.reach(stage));
            self.out.images.insert(from);
            return None;
        }
        let stage = self.dockerfile.stage(&from);
        let name = stage.and_then(|index| self.dockerfile.stages[index].name.clone());
        // A named context of a stage's name takes the stage's place.
        let instead = name.and_then(|name| self.named_context(&name));
        let origin = instead.or(stage.map(Origin::Stage));
        match origin.unwrap_or_else(|| self.outside(&from)) {
            Origin::Directory(directory) => Some(directory),
            other => {
                self.whole(other);
                None
            }
        }
    }

    /// What a name that is no stage stands for.
    fn outside(&mut self, name: &str) -> Origin {
        match self.named_context(name) {
            Some(origin) => origin,
            None if name == "scratch" => Origin::Elsewhere,
            None => Origin::Image(name.to_owned()),
        }
    }

    fn named_context(&mut self, name: &str) -> Option<Origin> {
        let wanted = plain_image(name);
        let (_, context) =
            self.build.contexts.iter().find(|(known, _)| known == name || plain_image(known) == wanted)?;
        Some(match context {
            Context::Directory(path) => {
                let path = path.clone();
                Origin::Directory(self.directory(&path))
            }
            Context::Service(name) => Origin::Service(name.clone()),
            Context::Image(name) => Origin::Image(name.clone()),
            Context::Unknown(path) => {
                self.out.rules.push(PathRule::below(rule::CONTEXT, path));
                Origin::Elsewhere
            }
            Context::Elsewhere(_) => Origin::Elsewhere,
        })
    }

    fn directory(&mut self, path: &str) -> usize {
        if let Some(index) = self.directories.iter().position(|directory| directory.path == path) {
            return index;
        }
        self.directories.push(Directory::new(self.tree, path, tree::join(path, ".dockerignore")));
        self.directories.len() - 1
    }

    /// Notes that all of `origin` is needed.
    fn whole(&mut self, origin: Origin) {
        match origin {
            Origin::Stage(index) => self.reach(index),
            Origin::Directory(directory) => self.take(directory, rule::CONTEXT, ".", false, &Rc::default()),
            Origin::Service(name) => drop(self.out.services.insert(name)),
            Origin::Image(name) => drop(self.out.images.insert(name)),
            Origin::Elsewhere => {}
        }
    }

    /// Notes that `source` of a directory is needed, and what it links to.
    fn take(&mut self, directory: usize, name: &'static str, source: &str, parents: bool, exclude: &Rc<Patterns>) {
        let directory = &mut self.directories[directory];
        directory.used = true;
        let base = PathRule { exclude: Rc::clone(exclude), ..directory.rule(name, Source::new(source)) };
        if parents {
            let (pivot, pattern) = source.split_once("/./").unwrap_or(("/", source));
            // What is not known makes the pattern mean everything.
            let include = (!source.contains(UNKNOWN)).then(|| Rc::new(Patterns::of([pattern])));
            self.out.rules.push(PathRule { source: Source::new(pivot), include, ..base });
            return;
        }
        for path in links(self.tree, &directory.path, base.source.fixed()) {
            self.out.rules.push(PathRule { source: Source::new(&escaped(&path)), ..base.clone() });
        }
        self.out.rules.push(base);
    }
}

/// `COPY . .`, which base images for one language like to trigger.
fn everything() -> Step {
    Step::Copy(Copy { sources: vec![".".to_owned()], ..Copy::default() })
}

fn is_address(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}
