//! From the merged tree to services: what of a service decides where its files are,
//! what it is built from, and whether its container must be replaced.

use super::load::Loader;
use super::{Build, Compose, Context, EnvFile, Mount, Service};
use crate::nearest;
use crate::pattern::clean;
use crate::tree::Place;
use crate::yaml::{Node, Yaml};
use cm_core::Result;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys that are no part of a container's configuration: they order, choose or
/// build, and Compose replaces no container because of them.
const NOT_CONFIGURATION: [&str; 7] =
    ["build", "depends_on", "develop", "extends", "profiles", "pull_policy", "pull_refresh_after"];

/// Keys of `build` that do not change the image.
const NOT_IN_IMAGE: [&str; 3] = ["cache_from", "cache_to", "pull"];

/// The services of the merged tree `root`, whose paths are relative to `directory`.
pub fn services(root: &Node, directory: &str, loader: &Loader) -> Result<Vec<Service>> {
    let Some(all) = root.get("services") else { return Ok(Vec::new()) };
    let reader = Reader { root, directory, loader };
    let mut services = Vec::new();
    for (name, node) in all.pairs() {
        services.push(reader.service(name, node)?);
    }
    for service in &services {
        reader.check_references(service, all)?;
    }
    Ok(services)
}

struct Reader<'a> {
    root: &'a Node,
    directory: &'a str,
    loader: &'a Loader<'a>,
}

impl Reader<'_> {
    fn wrong<T>(&self, node: &Node, wanted: &str) -> Result<T> {
        let message = format!("wanted {wanted}, found {}", node.what());
        Err(self.loader.failure("compose.invalid", &node.at, message))
    }

    fn service(&self, name: &str, node: &Node) -> Result<Service> {
        if !matches!(node.value, Yaml::Map(_)) {
            return self.wrong(node, "a mapping with the service's keys");
        }
        let text = |key: &str| node.get(key).and_then(Node::text);
        Ok(Service {
            name: name.to_owned(),
            build: node.get("build").map(|build| self.build(build)).transpose()?,
            image: text("image"),
            container_name: text("container_name"),
            env_files: self.env_files(node)?,
            label_files: self.label_files(node),
            mounts: self.mounts(node)?,
            depends_on: self.names(node, "depends_on")?,
            restarts_with: restarts_with(node),
            profiles: self.texts(node, "profiles")?,
            ports: node.get("ports").map_or_else(Vec::new, |ports| ports.items().iter().map(port).collect()),
            restart: text("restart"),
            has_healthcheck: has_healthcheck(node),
            replicas: replicas(node),
            platform: text("platform"),
            configuration: self.configuration(node),
            templates: node.templates(),
        })
    }

    fn build(&self, node: &Node) -> Result<Build> {
        if !matches!(node.value, Yaml::Map(_)) {
            return self.wrong(node, "a directory or a mapping with the build's keys");
        }
        let text = |key: &str| node.get(key).and_then(Node::text);
        let context = match node.get("context") {
            Some(context) => self.context(context)?,
            None => Context::Directory(self.directory.to_owned()),
        };
        let mut contexts = Vec::new();
        for (name, value) in node.get("additional_contexts").map_or(&[][..], Node::pairs) {
            contexts.push((name.clone(), self.context(value)?));
        }
        let mut args = BTreeMap::new();
        for (name, value) in node.get("args").map_or(&[][..], Node::pairs) {
            args.insert(name.clone(), value.text().filter(|_| !value.unresolved));
        }
        let mut build = Build {
            context,
            dockerfile: text("dockerfile"),
            inline: text("dockerfile_inline"),
            inline_at: node.get("dockerfile_inline").map(|inline| inline.at.clone()),
            target: text("target").filter(|target| !target.is_empty()),
            contexts,
            args,
            configuration: without(node, &NOT_IN_IMAGE),
        };
        build.configuration = one_spelling(&build);
        Ok(build)
    }

    /// A build context: a directory, a sibling service, or something that is not ours.
    fn context(&self, node: &Node) -> Result<Context> {
        let Some(text) = node.text() else { return self.wrong(node, "a directory or an address") };
        if let Some(service) = text.strip_prefix("service:") {
            return Ok(Context::Service(service.to_owned()));
        }
        if let Some(image) = text.strip_prefix("docker-image://") {
            return Ok(Context::Image(image.to_owned()));
        }
        if node.unresolved || is_remote(&text) {
            return Ok(Context::Elsewhere(text));
        }
        Ok(match Place::at(self.directory, &text) {
            Place::Inside(path) => Context::Directory(path),
            Place::Outside(path) => Context::Elsewhere(path),
        })
    }

    fn env_files(&self, node: &Node) -> Result<Vec<EnvFile>> {
        let Some(files) = node.get("env_file") else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for item in files.items() {
            let path = item.get("path").unwrap_or(item);
            let Some(text) = path.text() else { return self.wrong(path, "a file name") };
            let required = item.get("required").is_none_or(Node::is_true);
            found.push(EnvFile { place: Place::at(self.directory, &text), required });
        }
        Ok(found)
    }

    fn label_files(&self, node: &Node) -> Vec<Place> {
        let files = node.get("label_file").map_or(&[][..], Node::items).iter().filter_map(Node::text);
        files.map(|file| Place::at(self.directory, &file)).collect()
    }

    /// The files and directories of the repository that the container sees.
    fn mounts(&self, node: &Node) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for item in node.get("volumes").map_or(&[][..], Node::items) {
            mounts.extend(self.bind(item)?);
        }
        for (section, default) in [("configs", "/"), ("secrets", "/run/secrets/")] {
            for item in node.get(section).map_or(&[][..], Node::items) {
                mounts.extend(self.resource(item, section, default));
            }
        }
        Ok(mounts)
    }

    fn bind(&self, item: &Node) -> Result<Option<Mount>> {
        let field = |name: &str| item.get(name).and_then(Node::text);
        let (source, target) = match &item.value {
            Yaml::Text(text) => match text.split_once(':') {
                Some((source, rest)) if source.starts_with(['.', '/', '~']) => {
                    (source.to_owned(), rest.split(':').next().unwrap_or_default().to_owned())
                }
                _ => return Ok(None),
            },
            Yaml::Map(_) if field("type").as_deref() == Some("bind") => {
                (field("source").unwrap_or_default(), field("target").unwrap_or_default())
            }
            Yaml::Map(_) => return Ok(None),
            _ => return self.wrong(item, "a volume such as \"./file:/path\""),
        };
        Ok(Some(Mount { source: Place::at(self.directory, &source), target }))
    }

    /// A config or secret that is a file of the repository.
    fn resource(&self, item: &Node, section: &str, default: &str) -> Option<Mount> {
        let name = item.get("source").unwrap_or(item).text()?;
        let file = self.root.get(section)?.get(&name)?.get("file")?.text()?;
        let target = item.get("target").and_then(Node::text).unwrap_or_else(|| format!("{default}{name}"));
        Some(Mount { source: Place::at(self.directory, &file), target })
    }

    /// The keys of a mapping that also may be a list of names.
    fn names(&self, node: &Node, key: &str) -> Result<Vec<String>> {
        match node.get(key) {
            None => Ok(Vec::new()),
            Some(Node { value: Yaml::Map(pairs), .. }) => Ok(pairs.iter().map(|(name, _)| name.clone()).collect()),
            Some(other) => self.wrong(other, "a list of services"),
        }
    }

    fn texts(&self, node: &Node, key: &str) -> Result<Vec<String>> {
        match node.get(key) {
            None => Ok(Vec::new()),
            Some(Node { value: Yaml::List(items), .. }) => Ok(items.iter().filter_map(Node::text).collect()),
            Some(other) => self.wrong(other, "a list"),
        }
    }

    /// What a container of this service is made with, to compare: its own keys and
    /// the networks, volumes, configs and secrets that it names.
    fn configuration(&self, node: &Node) -> Value {
        let mut own = without(node, &NOT_CONFIGURATION);
        if let Value::Object(own) = &mut own {
            own.retain(|key, _| !key.starts_with("x-"));
            for section in ["networks", "volumes", "configs", "secrets"] {
                let named = self.named(node, section);
                if !named.is_empty() {
                    own.insert(format!("the project's {section}"), Value::Object(named));
                }
            }
        }
        own
    }

    /// The project's `section` entries that the service uses.
    fn named(&self, node: &Node, section: &str) -> Map<String, Value> {
        let Some(all) = self.root.get(section) else { return Map::new() };
        let mut names: Vec<String> = match node.get(section) {
            Some(Node { value: Yaml::Map(pairs), .. }) => pairs.iter().map(|(name, _)| name.clone()).collect(),
            Some(list) => list.items().iter().filter_map(resource_name).collect(),
            None => Vec::new(),
        };
        if section == "networks" && names.is_empty() {
            names.push("default".to_owned());
        }
        names.into_iter().filter_map(|name| Some((name.clone(), all.get(&name)?.to_json()))).collect()
    }

    /// Every service that another one names is there.
    fn check_references(&self, service: &Service, all: &Node) -> Result<()> {
        let names = || all.pairs().iter().map(|(name, _)| name.as_str());
        let contexts = service.build.iter().flat_map(|build| &build.contexts);
        let built = contexts.filter_map(|(_, context)| match context {
            Context::Service(name) => Some(name),
            _ => None,
        });
        for wanted in service.depends_on.iter().chain(built) {
            if !names().any(|name| name == wanted) {
                let at = &all.get(&service.name).unwrap_or(all).at;
                let message = format!("the service {:?} needs {wanted:?}, which is no service", service.name);
                return Err(self
                    .loader
                    .failure("compose.unknown-service", at, message)
                    .hint(nearest::hint(wanted, names().collect::<Vec<_>>())));
            }
        }
        Ok(())
    }
}

/// The name in an entry of a service's `volumes`, `configs` or `secrets`.
fn resource_name(item: &Node) -> Option<String> {
    let name = item.get("source").unwrap_or(item).text()?;
    Some(name.split(':').next().unwrap_or_default().to_owned())
}

/// A mapping as JSON without some of its keys.
fn without(node: &Node, keys: &[&str]) -> Value {
    let kept = node.pairs().iter().filter(|(key, _)| !keys.contains(&key.as_str()));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.to_json())).collect())
}

/// The configuration of a build with its paths in one spelling: `app`, `./app` and
/// `app/` are the same directory, and `Dockerfile` is what is read if nothing is said.
fn one_spelling(build: &Build) -> Value {
    let mut configuration = build.configuration.clone();
    if let Value::Object(keys) = &mut configuration {
        keys.insert("context".to_owned(), Value::String(format!("{:?}", build.context)));
        if let Some(file) = keys.remove("dockerfile").as_ref().and_then(Value::as_str).map(clean)
            && file != "Dockerfile"
        {
            keys.insert("dockerfile".to_owned(), Value::String(file));
        }
        let contexts = build.contexts.iter().map(|(name, context)| (name.clone(), format!("{context:?}").into()));
        keys.insert("additional_contexts".to_owned(), Value::Object(contexts.collect()));
    }
    configuration
}

fn restarts_with(node: &Node) -> Vec<String> {
    let all = node.get("depends_on").map_or(&[][..], Node::pairs).iter();
    let restart = all.filter(|(_, how)| how.get("restart").is_some_and(Node::is_true));
    restart.map(|(name, _)| name.clone()).collect()
}

fn port(node: &Node) -> String {
    node.text().unwrap_or_else(|| {
        let field = |name: &str| node.get(name).and_then(Node::text);
        let published = field("published").map_or(String::new(), |port| format!("{port}:"));
        format!("{published}{}", field("target").unwrap_or_default())
    })
}

fn has_healthcheck(node: &Node) -> bool {
    let Some(check) = node.get("healthcheck") else { return false };
    let none = |test: &Node| test.text().or_else(|| test.items().first()?.text()).is_some_and(|first| first == "NONE");
    !check.get("disable").is_some_and(Node::is_true) && !check.get("test").is_some_and(none)
}

fn replicas(node: &Node) -> u32 {
    let deployed = node.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = deployed.or_else(|| node.get("scale")).and_then(Node::text);
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Whether a build context is fetched from somewhere else.
pub fn is_remote(text: &str) -> bool {
    let prefixes = ["git@", "github.com/", "service:"];
    text.contains("://") || prefixes.iter().any(|prefix| text.starts_with(prefix))
}

impl Compose {
    /// The service `name`.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The names of all services, in the file's order.
    pub fn names(&self) -> Vec<&str> {
        self.services.iter().map(|service| service.name.as_str()).collect()
    }
}
