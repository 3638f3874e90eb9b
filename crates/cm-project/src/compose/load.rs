//! From files to one tree: reads the compose files, replaces variables, follows
//! `include` and `extends`, and merges.

use super::merge::{clean, merge};
use crate::nearest;
use crate::source::{self, Position};
use crate::tree::{self, Place, Tree};
use crate::yaml::{self, Node, Template, Yaml};
use cm_core::{Exit, Failure, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// How deep `include` and `extends` may lead from file to file.
const MAX_DEPTH: usize = 32;

/// The sections that an included file brings along.
const RESOURCES: [&str; 6] = ["services", "volumes", "networks", "configs", "secrets", "models"];

/// Reads the files of one project.
pub struct Loader<'a> {
    tree: &'a dyn Tree,
    /// Every file that was read, with its text for error messages.
    sources: HashMap<Arc<str>, String>,
    /// Every text with variables in those files.
    pub templates: Vec<Template>,
    /// The env files of `include`s, which hold values too.
    pub include_env_files: Vec<String>,
}

/// The values of variables.
type Variables = HashMap<String, String>;

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
    pub fn new(tree: &'a dyn Tree) -> Self {
        Loader { tree, sources: HashMap::new(), templates: Vec::new(), include_env_files: Vec::new() }
    }

    /// The files that were read, by their paths.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.sources.keys().map(ToString::to_string).collect();
        files.sort();
        files
    }

    /// A failure at a place in a file that was read.
    pub fn failure(&self, code: &str, at: &Position, message: impl std::fmt::Display) -> Failure {
        let text = self.sources.get(&at.file).map_or("", String::as_str);
        source::failure(code, at, text, message)
    }

    /// The merged tree of `files`, all relative paths relative to the first file's directory.
    pub fn load(&mut self, files: &[String], variables: &Variables) -> Result<Node> {
        let directory = files.first().map_or("", |file| tree::parent(file));
        self.merged(files, directory, &Chain { variables, links: Vec::new() })
    }

    fn merged(&mut self, files: &[String], directory: &str, chain: &Chain) -> Result<Node> {
        let mut whole: Option<Node> = None;
        for file in files {
            let node = self.file(file, directory, chain)?;
            whole = match whole {
                None => clean(node, &[]),
                Some(base) => merge(base, node, &[]),
            };
        }
        whole.ok_or_else(|| Failure::new(Exit::Config, "compose.no-file", "no compose file is named"))
    }

    /// One file with what it includes and extends.
    fn file(&mut self, file: &str, directory: &str, chain: &Chain) -> Result<Node> {
        let chain = chain.enter(file.to_owned()).map_err(|cycle| Failure::new(Exit::Config, "compose.cycle", cycle))?;
        let mut node = self.parse(file, &chain)?;
        self.extend_services(&mut node, file, directory, &chain)?;
        if let Some(includes) = node.take("include") {
            node = self.include(node, &includes, directory, &chain)?;
        }
        Ok(node)
    }

    /// Reads and parses a file and replaces its variables.
    fn parse(&mut self, file: &str, chain: &Chain) -> Result<Node> {
        let unreadable = |cause: String| {
            Failure::new(Exit::Config, "compose.unreadable", format!("cannot read the compose file {file}"))
                .cause(cause)
        };
        let bytes = tree::read(self.tree, file).map_err(|error| unreadable(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| {
            unreadable("there is no such file".to_owned()).hint("name it in cm.toml: [compose] files = [\"…\"]")
        })?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
        let name: Arc<str> = file.into();
        let parsed = yaml::parse(&name, &text);
        self.sources.insert(Arc::clone(&name), text);
        let mut node = parsed?;
        if !matches!(node.value, Yaml::Map(_)) {
            return Err(self.failure("compose.invalid", &node.at, format!("wanted a mapping, found {}", node.what())));
        }
        let known = |variable: &str| chain.variables.get(variable).cloned();
        node.interpolate(&known).map_err(|(at, bad)| self.failure("compose.interpolation", &at, bad))?;
        for template in node.templates() {
            if !self.templates.contains(&template) {
                self.templates.push(template);
            }
        }
        Ok(node)
    }

    fn include(&mut self, node: Node, includes: &Node, directory: &str, chain: &Chain) -> Result<Node> {
        let mut whole = node;
        for entry in includes.items() {
            let included = self.included(entry, directory, chain)?;
            for section in RESOURCES {
                let Some(brought) = included.get(section).cloned() else { continue };
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
                Place::Inside(path) if !entry.unresolved => files.push(path),
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
        let env_files = match entry.get("env_file") {
            Some(files) => {
                texts(files).iter().filter_map(|path| Place::at(directory, path).inside().map(str::to_owned)).collect()
            }
            None => vec![tree::join(&own_directory, ".env")],
        };
        self.include_env_files.extend(env_files.iter().cloned());
        for (name, value) in read_variables(self.tree, &env_files) {
            variables.entry(name).or_insert(value);
        }
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
        Ok(merge(base, service, &["services", name]))
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
        let node = self.parse(&path, chain)?;
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

/// The variables in those of `files` that the repository has.
pub fn read_variables(tree: &dyn Tree, files: &[String]) -> Variables {
    let mut variables = Variables::new();
    for file in files {
        if let Ok(Some(bytes)) = tree::read(tree, file) {
            variables.extend(env_file(&String::from_utf8_lossy(&bytes)));
        }
    }
    variables
}

/// The assignments in an env file.
fn env_file(text: &str) -> Vec<(String, String)> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()).to_owned()))
        .collect()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote)
            && let Some((inside, _)) = inside.split_once(quote)
        {
            return inside;
        }
    }
    value.split_once(" #").map_or(value, |(value, _)| value).trim_end()
}

/// Rewrites the paths of everything in `node`, written in the directory `from`, so that
/// they mean the same in the directory `to`.
fn rebase(node: &mut Node, from: &str, to: &str) {
    let Some(mut services) = node.take("services") else { return };
    if let Yaml::Map(pairs) = &mut services.value {
        pairs.iter_mut().for_each(|(_, service)| rebase_service(service, from, to));
    }
    node.set("services", services);
    for section in ["configs", "secrets"] {
        let Some(mut all) = node.take(section) else { continue };
        if let Yaml::Map(pairs) = &mut all.value {
            pairs.iter_mut().for_each(|(_, resource)| rebase_key(resource, "file", from, to));
        }
        node.set(section, all);
    }
}

fn rebase_service(service: &mut Node, from: &str, to: &str) {
    if from == to {
        return;
    }
    if let Some(mut build) = service.take("build") {
        if let Yaml::Text(_) = build.value {
            rebase_context(&mut build, from, to);
        } else {
            if build.get("context").is_none() {
                build.set("context", Node::new(Yaml::Text(".".to_owned()), &build.clone()));
            }
            with(&mut build, "context", |node| rebase_context(node, from, to));
            with(&mut build, "additional_contexts", |node| {
                each(node, &mut |entry| rebase_named_context(entry, from, to))
            });
        }
        service.set("build", build);
    }
    for key in ["env_file", "label_file"] {
        with(service, key, |node| match node.value {
            Yaml::Text(_) => rebase_text(node, from, to),
            _ => each(node, &mut |entry| match entry.value {
                Yaml::Text(_) => rebase_text(entry, from, to),
                _ => rebase_key(entry, "path", from, to),
            }),
        });
    }
    with(service, "volumes", |node| each(node, &mut |mount| rebase_mount(mount, from, to)));
    with(service, "extends", |node| rebase_key(node, "file", from, to));
}

/// Changes the value of `key` where there is one.
fn with(node: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Yaml::Map(pairs) = &mut node.value
        && let Some((_, value)) = pairs.iter_mut().find(|(known, _)| known == key)
    {
        change(value);
    }
}

fn each(node: &mut Node, change: &mut dyn FnMut(&mut Node)) {
    match &mut node.value {
        Yaml::List(items) => items.iter_mut().for_each(change),
        Yaml::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| change(value)),
        _ => {}
    }
}

fn rebase_key(node: &mut Node, key: &str, from: &str, to: &str) {
    with(node, key, |value| rebase_text(value, from, to));
}

fn rebase_text(node: &mut Node, from: &str, to: &str) {
    if let Yaml::Text(text) = &mut node.value {
        *text = rebased(text, from, to);
    }
}

fn rebase_context(node: &mut Node, from: &str, to: &str) {
    if node.text().is_some_and(|text| !super::service::is_remote(&text)) {
        rebase_text(node, from, to);
    }
}

/// An entry of `additional_contexts`, which may be `NAME=PATH`.
fn rebase_named_context(node: &mut Node, from: &str, to: &str) {
    let Yaml::Text(text) = &mut node.value else { return };
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (format!("{name}="), path.to_owned()),
        None => (String::new(), text.clone()),
    };
    if !super::service::is_remote(&path) {
        *text = format!("{name}{}", rebased(&path, from, to));
    }
}

fn rebase_mount(node: &mut Node, from: &str, to: &str) {
    if node.get("type").and_then(Node::text).as_deref() == Some("bind") {
        return rebase_key(node, "source", from, to);
    }
    if let Yaml::Text(text) = &mut node.value
        && let Some((source, rest)) = text.split_once(':')
        && source.starts_with('.')
    {
        *text = format!("{}:{rest}", rebased(source, from, to));
    }
}

/// The path `path` of the directory `from`, as it is written in the directory `to`.
fn rebased(path: &str, from: &str, to: &str) -> String {
    if path.starts_with(['/', '~']) || path.contains("${") {
        return path.to_owned();
    }
    let up = "../".repeat(to.split('/').filter(|part| !part.is_empty()).count());
    format!("./{up}{}", tree::join(from, path.trim_start_matches("./")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_compose_does() {
        let text = "# no\nexport A=1\nB=\"x y\" # note\nC='#'\nD=plain # note\n\nE=\nF\n";
        let wanted = [("A", "1"), ("B", "x y"), ("C", "#"), ("D", "plain"), ("E", "")];
        assert_eq!(env_file(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn paths_keep_their_meaning_in_another_directory() {
        assert_eq!(rebased("./a", "lib/x", ""), "./lib/x/a");
        assert_eq!(rebased("../a", "lib/x", "deploy"), "./../lib/x/../a");
        assert_eq!(rebased("/abs", "lib", ""), "/abs");
    }
}
