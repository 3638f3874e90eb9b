//! What one image is built from: follows the stages that the target reaches and
//! collects the paths they take from directories of the repository, and the images and
//! services they stand on.

use super::rule::{self, PathRule};
use crate::compose::{Build, Context};
use crate::dockerfile::words::{Value, expand};
use crate::dockerfile::{Copy, Dockerfile, Mount, Stage, Step};
use crate::pattern::{Patterns, Source, UNKNOWN};
use crate::source::Position;
use crate::tree::{self, Place, Tree};
use cm_core::{Exit, Failure, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What an image is built from.
#[derive(Clone, Debug, Default)]
pub struct BuildInputs {
    /// The paths of the repository.
    pub rules: Vec<PathRule>,
    /// The images it takes something from; [`UNKNOWN`] stands for what is not known of a name.
    pub images: BTreeSet<String>,
    /// The services whose images it takes something from by their names.
    pub services: BTreeSet<String>,
    /// The ONBUILD steps of the image, which run in the builds based on it.
    pub triggers: Vec<Step>,
    /// All of the build context: what the ONBUILD steps of a base image may take.
    pub context: Option<PathRule>,
}

/// Variables that BuildKit sets by itself; their values depend on the builder.
const PLATFORM_VARIABLES: [&str; 9] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

/// The ONBUILD steps of an image that a service of the project builds.
pub type Triggers<'a> = &'a dyn Fn(&Origin) -> Vec<Step>;

/// The inputs of `build`, which may be based on images with `triggers`.
///
/// # Errors
/// [`Exit::Config`] for a Dockerfile with a mistake, or a target that it does not have.
pub fn inputs(tree: &dyn Tree, build: &Build, triggers: Triggers) -> Result<BuildInputs> {
    let mut out = BuildInputs::default();
    let Some((file, dockerfile)) = dockerfile(tree, build, &mut out)? else { return Ok(out) };
    let target = dockerfile.target(&file, build.target.as_deref())?;
    let ignore_file = format!("{file}.dockerignore");
    let own_ignore = build.inline.is_none() && tree::read(tree, &ignore_file).ok().flatten().is_some();
    let mut walk = Walk {
        tree,
        build,
        outer: triggers,
        dockerfile: &dockerfile,
        out,
        begun: BTreeSet::new(),
        left: BTreeMap::new(),
        directories: Vec::new(),
    };
    if let Context::Directory(directory) = &build.context {
        let ignore = if own_ignore { ignore_file.clone() } else { tree::join(directory, ".dockerignore") };
        walk.directories.push(Directory::new(tree, directory, ignore));
    }
    let left = walk.stage(target);
    let (mut out, directories) = (walk.out, walk.directories);
    out.triggers = left.triggers;
    if let (Context::Directory(_), Some(directory)) = (&build.context, directories.first()) {
        out.context = Some(directory.rule(rule::TRIGGER, Source::new(".")));
    }
    for directory in directories.iter().filter(|directory| directory.used) {
        out.rules.push(PathRule::exact(rule::DOCKERIGNORE, &directory.ignore_file));
    }
    // A file that is not there yet becomes an input by appearing.
    if directories.first().is_some_and(|directory| directory.used) && !own_ignore && build.inline.is_none() {
        out.rules.push(PathRule::exact(rule::DOCKERIGNORE, &ignore_file));
    }
    Ok(out)
}

/// The Dockerfile and its name. `None` where it cannot be read here: then the whole
/// context is the input, if it is ours.
fn dockerfile(tree: &dyn Tree, build: &Build, out: &mut BuildInputs) -> Result<Option<(String, Dockerfile)>> {
    if let Some(text) = &build.inline {
        let name = "dockerfile_inline".to_owned();
        let parsed = match &build.inline_at {
            Some(at) => Dockerfile::parse_inline(text, at, &compose_text(tree, at))?,
            None => Dockerfile::parse(&name, text)?,
        };
        return Ok(Some((name, parsed)));
    }
    let Context::Directory(context) = &build.context else { return Ok(None) };
    let Some(path) = dockerfile_path(tree, context, build.dockerfile.as_deref()) else {
        out.rules.push(PathRule::below(rule::CONTEXT, context));
        return Ok(None);
    };
    let unreadable =
        |cause: String| Failure::new(Exit::Config, "dockerfile.unreadable", format!("cannot read {path}")).cause(cause);
    let bytes = tree::read(tree, &path).map_err(|error| unreadable(error.to_string()))?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    out.rules.push(PathRule::exact(rule::DOCKERFILE, &path));
    if let Some((target, links)) = tree::follow(tree, &path) {
        out.rules.extend(links.iter().chain([&target]).map(|path| PathRule::exact(rule::DOCKERFILE, path)));
    }
    Ok(Some((path.clone(), Dockerfile::parse(&path, &text)?)))
}

/// The text of the compose file that `at` is in.
fn compose_text(tree: &dyn Tree, at: &Position) -> String {
    let bytes = tree::read(tree, &at.file).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the Dockerfile is, if it is in the repository.
/// The Dockerfile that `build` names and `tree` does not have; the server may have it.
pub fn missing_dockerfile(tree: &dyn Tree, build: &Build) -> Option<String> {
    let (None, Context::Directory(context)) = (&build.inline, &build.context) else { return None };
    let name = build.dockerfile.as_deref();
    let place = Place::at(context, name.unwrap_or("Dockerfile"));
    // Outside of the repository nothing is known.
    let path = place.inside()?;
    dockerfile_path(tree, context, name).is_none().then(|| path.to_owned())
}

fn dockerfile_path(tree: &dyn Tree, context: &str, named: Option<&str>) -> Option<String> {
    let names = named.map_or_else(|| vec!["Dockerfile", "dockerfile"], |name| vec![name]);
    let places = names.into_iter().filter_map(|name| Place::at(context, name).inside().map(str::to_owned));
    places.into_iter().find(|path| tree::read(tree, path).ok().flatten().is_some())
}

/// A directory that is sent as a context, with its own ignore file.
struct Directory {
    path: String,
    ignore_file: String,
    ignore: Rc<Patterns>,
    used: bool,
}

impl Directory {
    fn new(tree: &dyn Tree, path: &str, ignore_file: String) -> Self {
        let text = tree::read(tree, &ignore_file).ok().flatten().unwrap_or_default();
        let ignore = Rc::new(Patterns::parse(&String::from_utf8_lossy(&text)));
        Directory { path: path.to_owned(), ignore_file, ignore, used: false }
    }

    fn rule(&self, name: &'static str, source: Source) -> PathRule {
        PathRule {
            name,
            root: self.path.clone(),
            source,
            include: None,
            exclude: Rc::default(),
            ignore: Rc::clone(&self.ignore),
        }
    }
}

/// Where a FROM, a `--from` or a mount takes things from.
pub enum Origin {
    /// The stage of this number.
    Stage(usize),
    /// The number of a directory in [`Walk::directories`].
    Directory(usize),
    /// The image of this service.
    Service(String),
    /// The image of this name.
    Image(String),
    /// Nothing that a change in the repository could change.
    Elsewhere,
}

/// The variables of a stage; the last assignment counts.
#[derive(Clone, Debug, Default)]
struct Variables {
    known: Vec<(String, Value)>,
    /// Whether a base image may set variables that nobody here knows.
    open: bool,
}

impl Variables {
    fn get(&self, name: &str) -> Value {
        let found = self.known.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found.unwrap_or(if self.open { Value::Unknown } else { Value::Unset })
    }

    fn set(&mut self, name: &str, text: String) {
        let value = if text.contains(UNKNOWN) { Value::Unknown } else { Value::Known(text) };
        self.known.push((name.to_owned(), value));
    }
}

/// What the stages that are based on a stage take over from it.
#[derive(Clone)]
struct Inherited {
    variables: Variables,
    triggers: Vec<Step>,
}

struct Walk<'a> {
    tree: &'a dyn Tree,
    build: &'a Build,
    outer: Triggers<'a>,
    dockerfile: &'a Dockerfile,
    out: BuildInputs,
    /// The stages that were begun: a stage that copies from itself ends there.
    begun: BTreeSet<usize>,
    left: BTreeMap<usize, Inherited>,
    /// The main context first, then the named ones.
    directories: Vec<Directory>,
}

impl Walk<'_> {
    /// Collects what the stage `index` and all it stands on need.
    fn reach(&mut self, index: usize) {
        if self.begun.insert(index) {
            self.stage(index);
        }
    }

    /// Walks through a stage, once; returns what stages based on it inherit.
    fn stage(&mut self, index: usize) -> Inherited {
        if let Some(left) = self.left.get(&index) {
            return left.clone();
        }
        self.begun.insert(index);
        let dockerfile = self.dockerfile;
        let stage: &Stage = &dockerfile.stages[index];
        if let Some(origin) = stage.name.as_deref().and_then(|name| self.named_context(name)) {
            // A named context of a stage's name takes the stage's place: none of its steps is done.
            self.whole(origin);
            let unknown = Variables { known: Vec::new(), open: true };
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
    fn base(&mut self, index: usize, stage: &Stage) -> (Variables, Vec<Step>) {
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
                self.out.images.insert(base);
                (Variables { known: Vec::new(), open }, Vec::new())
            }
            None => {
                let origin = self.outside(&base);
                let mut triggers = (self.outer)(&origin);
                self.whole(origin);
                if triggers.is_empty() && base.contains("onbuild") {
                    triggers.push(everything());
                }
                (Variables { known: Vec::new(), open }, triggers)
            }
        }
    }

    /// The ARGs before the first FROM, with the build's arguments.
    fn global_variables(&self) -> Variables {
        let mut variables = Variables::default();
        variables.known.extend(PLATFORM_VARIABLES.map(|name| (name.to_owned(), Value::Unknown)));
        for (name, default) in &self.dockerfile.args {
            self.declare(name, default.as_deref(), None, &mut variables);
        }
        variables
    }

    /// ARG: the build's argument, else the default, else what was said before the first FROM.
    fn declare(&self, name: &str, default: Option<&str>, global: Option<&Variables>, variables: &mut Variables) {
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

    fn step(&mut self, step: &Step, variables: &mut Variables) {
        let escape = self.dockerfile.escape;
        match step {
            Step::Arg(args) => {
                let global = self.global_variables();
                for (name, default) in args {
                    self.declare(name, default.as_deref(), Some(&global), variables);
                }
            }
            Step::Env(pairs) => {
                for (name, value) in pairs {
                    let text = expand(value, escape, &|name| variables.get(name));
                    variables.set(name, text);
                }
            }
            Step::Copy(copy) => self.copy(copy, &|word| expand(word, escape, &|name| variables.get(name))),
            Step::Run(mounts) => {
                let expanded = |word: &str| expand(word, escape, &|name| variables.get(name));
                mounts.iter().for_each(|mount| self.mount(mount, &expanded));
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
        match self.dockerfile.stage(&from).map_or_else(|| self.outside(&from), Origin::Stage) {
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

/// The links on the way to `path` in the directory `root`, and where they lead. Inside
/// a build context no link leads out: the context is the root of everything.
fn links(tree: &dyn Tree, root: &str, path: &str) -> Vec<String> {
    let view = Below { tree, root };
    match tree::follow(&view, path) {
        Some((target, links)) if !links.is_empty() => [links, vec![target]].concat(),
        _ => Vec::new(),
    }
}

/// A directory of a tree as a tree of its own, whose links cannot leave it.
struct Below<'a> {
    tree: &'a dyn Tree,
    root: &'a str,
}

impl Tree for Below<'_> {
    fn kind(&self, path: &str) -> Option<tree::Kind> {
        self.tree.kind(&tree::join(self.root, path))
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        let content = self.tree.content(&tree::join(self.root, path))?;
        if self.kind(path) != Some(tree::Kind::Link) {
            return Ok(content);
        }
        Ok(content.map(|target| contained(tree::parent(path), &target)))
    }
}

/// The target of a link in `directory`, as seen from there, kept inside the root.
fn contained(directory: &str, target: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(target);
    let start = if text.starts_with('/') { String::new() } else { format!("/{directory}") };
    let whole = crate::pattern::clean(&format!("{start}/{text}"));
    let up = "../".repeat(directory.split('/').filter(|part| !part.is_empty()).count());
    format!("{up}{}", whole.trim_start_matches('/')).into_bytes()
}

/// A path as a source that means just it.
fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([c])).collect()
}

/// An image's name in its full form, so that two spellings of one are equal.
pub fn plain_image(name: &str) -> String {
    let name = name.trim_start_matches("docker.io/").trim_start_matches("library/");
    let after_slash = name.rsplit('/').next().unwrap_or(name);
    if after_slash.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}
