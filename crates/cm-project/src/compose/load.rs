//! From files to one tree: reads the compose files, replaces variables, follows
//! `include` and `extends`, and merges.

use super::Warning;
use super::merge::{clean, merge};
use super::raw;
use super::rebase::{WORKING_DIRECTORY, rebase, rebase_service, up_from};
use crate::nearest;
use crate::source::{self, Position};
use crate::template;
use crate::tree::{self, Place, Tree};
use crate::variables::{Refused, Variables};
use crate::yaml::{self, Node, Template, Yaml};
use cm_core::{Exit, Failure, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How deep `include` and `extends` may lead from file to file.
const MAX_DEPTH: usize = 32;

/// How many files they may bring in, those counted again that several others bring in. A
/// few short files that each include two others would go on for ever.
const MAX_FILES: usize = 2_000;

/// The largest compose file, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// The sections that an included file brings along.
const RESOURCES: [&str; 6] = ["services", "volumes", "networks", "configs", "secrets", "models"];

/// Reads the files of one project.
pub struct Loader<'a> {
    tree: &'a dyn Tree,
    /// Where Compose runs: the directory of `cm.toml`.
    directory: &'a str,
    /// Every file that was read, with its text for error messages.
    sources: HashMap<Arc<str>, String>,
    /// The documents of those files, as they were parsed.
    parsed: HashMap<Arc<str>, Vec<Node>>,
    /// How often a file was brought in.
    brought: usize,
    /// How many bytes variables may still come to.
    room: usize,
    /// Every text with variables in those files.
    pub templates: Vec<Template>,
    known_templates: HashSet<(Arc<str>, usize, usize)>,
    /// The env files of `include`s, which hold values too.
    pub include_env_files: Vec<String>,
    /// What Compose will refuse.
    pub warnings: Vec<Warning>,
}

/// A file's place in the chain of `include`s and `extends`.
struct Chain<'a> {
    variables: &'a Variables,
    /// `FILE` or `FILE SERVICE`, from the outermost on.
    links: Vec<String>,
}

impl Chain<'_> {
    fn enter(&self, link: String) -> Result<Self, String> {
        if self.links.contains(&link) || self.links.len() >= MAX_DEPTH {
            return Err(format!("{} leads back to itself", [&self.links[..], &[link]].concat().join(" → ")));
        }
        Ok(Chain { variables: self.variables, links: [&self.links[..], &[link]].concat() })
    }
}

impl<'a> Loader<'a> {
    /// A reader of `tree` for a Compose that runs in `directory`.
    pub fn new(tree: &'a dyn Tree, directory: &'a str) -> Self {
        Loader {
            tree,
            directory,
            sources: HashMap::new(),
            parsed: HashMap::new(),
            brought: 0,
            room: template::ROOM,
            templates: Vec::new(),
            known_templates: HashSet::new(),
            include_env_files: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The files that were read, by their paths.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.sources.keys().map(ToString::to_string).collect();
        files.sort();
        files
    }

    /// Notes something about the service `service` at a place in a file.
    pub fn warn(&mut self, at: &Position, service: Option<&str>, message: impl Into<String>) {
        let warning = Warning { at: at.clone(), message: message.into(), service: service.map(str::to_owned) };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn note(&mut self, warnings: Vec<Warning>) {
        let new = |warning: &Warning| !self.warnings.contains(warning);
        let new: Vec<Warning> = warnings.into_iter().filter(new).collect();
        self.warnings.extend(new);
    }

    /// The files that were read from.
    pub fn tree(&self) -> &'a dyn Tree {
        self.tree
    }

    /// A failure at a place in a file that was read.
    pub fn failure(&self, code: &str, at: &Position, message: impl std::fmt::Display) -> Failure {
        let text = self.sources.get(&at.file).map_or("", String::as_str);
        source::failure(code, at, text, message)
    }

    /// The merged tree of `files`, all relative paths relative to the first file's directory.
    pub fn load(&mut self, files: &[String], variables: &Variables) -> Result<Node> {
        let directory = files.first().map_or("", |file| tree::parent(file));
        let whole = self.merged(files, directory, &Chain { variables, links: Vec::new() })?;
        match files.first().filter(|_| whole.pairs().is_empty()) {
            Some(file) => Err(self.failure("compose.invalid", &start_of(file), "the file is empty")),
            None => Ok(whole),
        }
    }

    fn merged(&mut self, files: &[String], directory: &str, chain: &Chain) -> Result<Node> {
        let mut whole: Option<Node> = None;
        for file in files {
            let node = self.file(file, directory, chain)?;
            whole = match whole {
                None => clean(node, &[]),
                Some(base) => self.laid_over(base, node, &[]),
            };
        }
        whole.ok_or_else(|| Failure::new(Exit::Config, "compose.no-file", "no compose file is named"))
    }

    /// `over` laid over `base`, with what Compose refuses of that.
    fn laid_over(&mut self, base: Node, over: Node, path: &[&str]) -> Option<Node> {
        self.note(raw::overridden(&base, &over, path));
        merge(base, over, path)
    }

    /// One file with what its documents include and extend, later documents over earlier ones.
    fn file(&mut self, file: &str, directory: &str, chain: &Chain) -> Result<Node> {
        let chain = chain.enter(file.to_owned()).map_err(|cycle| Failure::new(Exit::Config, "compose.cycle", cycle))?;
        let mut whole: Option<Node> = None;
        for mut node in self.parse(file, &chain)? {
            self.note(raw::check(&node));
            self.extend_services(&mut node, file, directory, &chain)?;
            if let Some(includes) = node.take("include") {
                node = self.include(node, &includes, directory, &chain)?;
            }
            whole = match whole {
                None => Some(node),
                Some(base) => merge(base, node, &[]),
            };
        }
        Ok(whole.unwrap_or_else(|| Node::empty(start_of(file))))
    }

    /// Reads a file and replaces its variables: its documents.
    fn parse(&mut self, file: &str, chain: &Chain) -> Result<Vec<Node>> {
        self.brought += 1;
        if self.brought > MAX_FILES {
            let message = format!("include and extends bring in more than {MAX_FILES} files");
            return Err(self.failure("compose.too-large", &start_of(file), message));
        }
        let mut nodes = self.read(file)?;
        for node in &mut nodes {
            if !matches!(node.value, Yaml::Map(_)) {
                let message = format!("wanted a mapping, found {}", node.what());
                return Err(self.failure("compose.invalid", &node.at, message));
            }
            let replaced = node.interpolate(chain.variables, &mut self.room);
            replaced.map_err(|(at, bad)| self.failure("compose.interpolation", &at, bad))?;
            for template in node.templates() {
                self.note(raw::required(&template, chain.variables));
                let at = &template.at;
                if self.known_templates.insert((Arc::clone(&at.file), at.line, at.column)) {
                    self.templates.push(template);
                }
            }
        }
        Ok(nodes)
    }

    /// The documents of a file as they are written, read once.
    fn read(&mut self, file: &str) -> Result<Vec<Node>> {
        if let Some(known) = self.parsed.get(file) {
            return Ok(known.clone());
        }
        let unreadable = |cause: String| {
            Failure::new(Exit::Config, "compose.unreadable", format!("cannot read the compose file {file}"))
                .cause(cause)
        };
        let bytes = tree::read(self.tree, file).map_err(|error| unreadable(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| {
            unreadable("there is no such file".to_owned()).hint("name it in cm.toml: [compose] files = [\"…\"]")
        })?;
        if bytes.len() > MAX_BYTES {
            let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
            return Err(self.failure("compose.too-large", &start_of(file), message));
        }
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
        let name: Arc<str> = file.into();
        let parsed = yaml::parse(&name, &text);
        self.sources.insert(Arc::clone(&name), text);
        let nodes = parsed?;
        self.parsed.insert(name, nodes.clone());
        Ok(nodes)
    }

    /// Notes lines of env files that Compose refuses.
    pub fn refuse(&mut self, lines: Vec<Refused>) {
        self.warnings.extend(lines.into_iter().map(|refused| Warning {
            at: refused.at,
            message: format!("Compose refuses this line: {}", refused.why),
            service: None,
        }));
    }

    fn include(&mut self, node: Node, includes: &Node, directory: &str, chain: &Chain) -> Result<Node> {
        let mut whole = node;
        if includes.text().is_some() {
            self.warn(&includes.at, None, "Compose does not take a string as include: it wants a list");
        }
        for list in includes.items().iter().filter(|entry| matches!(entry.value, Yaml::List(_))) {
            self.warn(&list.at, None, "Compose does not take a list as an entry of include");
        }
        for entry in includes.items() {
            let included = self.included(entry, directory, chain)?;
            for section in RESOURCES {
                let Some(brought) = included.get(section).cloned() else { continue };
                self.note(raw::conflicts(section, whole.get(section), &brought));
                let merged = match whole.take(section) {
                    // The including file's own word counts more.
                    Some(own) => merge(brought, own, &[section]),
                    None => Some(brought),
                };
                if let Some(merged) = merged {
                    whole.set(section, merged);
                }
            }
        }
        Ok(whole)
    }

    /// What one entry of `include` brings, its paths relative to `directory`.
    fn included(&mut self, entry: &Node, directory: &str, chain: &Chain) -> Result<Node> {
        let paths = texts(entry.get("path").unwrap_or(entry));
        let mut files = Vec::new();
        for path in &paths {
            match Place::at(directory, path) {
                Place::Inside(path) if !entry.is_open() => files.push(path),
                _ => {
                    let message = format!("cannot include {path:?}: it is not in the repository");
                    return Err(self.failure("compose.include", &entry.at, message));
                }
            }
        }
        if let Some(missing) = files.iter().find(|file| matches!(tree::read(self.tree, file), Ok(None))) {
            let message = format!("cannot include {missing}: there is no such file");
            return Err(self.failure("compose.include", &entry.at, message));
        }
        let own_directory =
            match entry.get("project_directory").and_then(Node::text).map(|path| Place::at(directory, &path)) {
                Some(Place::Inside(path)) => path,
                _ => files.first().map_or("", |file| tree::parent(file)).to_owned(),
            };
        let mut variables = chain.variables.clone();
        let named = entry.get("env_file");
        let env_files = match named {
            Some(files) => {
                texts(files).iter().filter_map(|path| Place::at(directory, path).inside().map(str::to_owned)).collect()
            }
            None => vec![tree::join(&own_directory, ".env")],
        };
        let is_missing = |file: &&String| named.is_some() && matches!(tree::read(self.tree, file), Ok(None));
        for missing in env_files.iter().filter(is_missing).cloned().collect::<Vec<_>>() {
            let message = format!(
                "Compose refuses the include unless the server has its env file {missing}, which the commit has not"
            );
            self.warn(&entry.at, None, message);
        }
        if files.is_empty() {
            return Ok(Node::empty(entry.at.clone()));
        }
        self.include_env_files.extend(env_files.iter().cloned());
        let (own, refused) = Variables::read(self.tree, &env_files, &variables);
        variables.add_missing(own);
        self.refuse(refused);
        // A path that begins with the project's directory is one of the repository.
        variables.set(WORKING_DIRECTORY, &up_from(&own_directory, self.directory));
        let chain = Chain { variables: &variables, links: chain.links.clone() };
        let mut node = self.merged(&files, &own_directory, &chain)?;
        rebase(&mut node, &own_directory, directory);
        Ok(node)
    }

    fn extend_services(&mut self, node: &mut Node, file: &str, directory: &str, chain: &Chain) -> Result<()> {
        let Some(services) = node.get("services").cloned() else { return Ok(()) };
        let names: Vec<String> = services.pairs().iter().map(|(name, _)| name.clone()).collect();
        let mut extended = services.clone();
        for name in names {
            if let Some(service) = self.extended(&name, &services, file, directory, chain)? {
                extended.set(&name, service);
            }
        }
        node.set("services", extended);
        Ok(())
    }

    /// The service `name` of `services` with what it extends below it; `None` if it
    /// extends nothing.
    fn extended(
        &mut self,
        name: &str,
        services: &Node,
        file: &str,
        directory: &str,
        chain: &Chain,
    ) -> Result<Option<Node>> {
        let Some(mut service) = services.get(name).cloned() else { return Ok(None) };
        let Some(extends) = service.take("extends").filter(|extends| !extends.is_null()) else { return Ok(None) };
        let target = extends.get("service").unwrap_or(&extends).text().unwrap_or_default();
        let chain = chain
            .enter(format!("{file} {name}"))
            .map_err(|cycle| self.failure("compose.cycle", &extends.at, format!("extends {cycle}")))?;
        let base = match extends.get("file").and_then(Node::text) {
            Some(other) => self.base_elsewhere(&target, &other, &extends, directory, &chain)?,
            None => self.base_in(&target, services, &extends, file, directory, &chain)?,
        };
        Ok(self.laid_over(base, service, &["services", name]))
    }

    fn base_in(
        &mut self,
        target: &str,
        services: &Node,
        extends: &Node,
        file: &str,
        directory: &str,
        chain: &Chain,
    ) -> Result<Node> {
        let Some(base) = services.get(target).cloned() else {
            let names = services.pairs().iter().map(|(name, _)| name.as_str());
            let message = format!("cannot extend {target:?}: {file} has no such service");
            return Err(self
                .failure("compose.unknown-service", &extends.at, message)
                .hint(nearest::hint(target, names)));
        };
        Ok(self.extended(target, services, file, directory, chain)?.unwrap_or(base))
    }

    fn base_elsewhere(
        &mut self,
        target: &str,
        other: &str,
        extends: &Node,
        directory: &str,
        chain: &Chain,
    ) -> Result<Node> {
        let Place::Inside(path) = Place::at(directory, other) else {
            let message = format!("cannot extend from {other:?}: it is not in the repository");
            return Err(self.failure("compose.extends", &extends.at, message));
        };
        if let Ok(None) = tree::read(self.tree, &path) {
            let message = format!("cannot extend from {path}: there is no such file");
            return Err(self.failure("compose.extends", &extends.at, message));
        }
        let nodes = self.parse(&path, chain)?;
        let whole = nodes.into_iter().reduce(|base, node| merge(base.clone(), node, &[]).unwrap_or(base));
        let node = whole.ok_or_else(|| self.failure("compose.invalid", &start_of(&path), "the file is empty"))?;
        let own_directory = tree::parent(&path).to_owned();
        let services = node.get("services").cloned().unwrap_or_else(|| Node::new(Yaml::Map(Vec::new()), extends));
        let mut base = self.base_in(target, &services, extends, &path, &own_directory, chain)?;
        rebase_service(&mut base, &own_directory, directory);
        Ok(base)
    }
}

/// A string or a list of strings.
fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Yaml::List(items) => items.iter().filter_map(Node::text).collect(),
        _ => node.text().into_iter().collect(),
    }
}

/// The first place in a file.
fn start_of(file: &str) -> Position {
    Position { file: file.into(), line: 1, column: 1 }
}
