//! From the merged tree to services: what of a service decides where its files are,
//! what it is built from, and whether its container must be replaced.

use super::load::Loader;
use super::{Build, Context, EnvFile, Mount, Service, canonical, context, unknown};
use crate::dotenv::Format;
use crate::tree::{self, Place};
use crate::variables::Variables;
use crate::yaml::{Node, Yaml};
use crate::{nearest, template};
use cm_core::{Failure, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys that are no part of a container's configuration: they order, choose or
/// build, and Compose replaces no container because of them.
const NOT_CONFIGURATION: [&str; 6] =
    ["build", "depends_on", "extends", "profiles", "pull_policy", "pull_refresh_after"];

/// Keys of `build` that do not change the image.
const NOT_IN_IMAGE: [&str; 3] = ["cache_from", "cache_to", "pull"];

/// The services of the merged tree `root`, whose paths are relative to `directory`.
pub fn services(root: &Node, directory: &str, loader: &mut Loader, variables: &Variables) -> Result<Vec<Service>> {
    let Some(all) = root.get("services") else { return Ok(Vec::new()) };
    let reader = Reader { root, directory, loader, variables };
    let mut services = Vec::new();
    for (name, node) in all.pairs() {
        services.push(reader.service(name, node)?);
    }
    let missing: Vec<_> =
        services.iter().filter_map(|service| Some((service, reader.unknown(service, all)?))).collect();
    if let Some((service, wanted)) = missing.iter().find(|(service, _)| service.profiles.is_empty()) {
        return Err(reader.no_service(service, wanted, all));
    }
    // Compose does not look at what a service needs that no profile starts.
    for (service, wanted) in &missing {
        let at = all.get(&service.name).map_or(&all.at, |node| &node.at);
        loader.warn(
            at,
            Some(&service.name),
            format!("Compose refuses the service {}: there is no service {wanted:?}", service.name),
        );
    }
    for (name, node) in all.pairs() {
        unknown::warn(name, node, root, loader);
    }
    services.iter_mut().for_each(|service| read_env_files(service, loader, variables));
    Ok(services)
}

/// What the env files that the repository has come to, later ones over earlier ones.
fn read_env_files(service: &mut Service, loader: &mut Loader, variables: &Variables) {
    let inside = |file: &EnvFile| Some((file.place.inside()?.to_owned(), file.format));
    let files: Vec<_> = service.env_files.iter().filter_map(inside).collect();
    let mut outer = variables.clone();
    outer.add_missing(own_variables(&service.configuration));
    let (own, mut refused) = Variables::read_as(loader.tree(), &files, &outer);
    service.file_environment = own.values();
    let is_here =
        |place: &Place| place.inside().is_some_and(|path| matches!(tree::read(loader.tree(), path), Ok(Some(_))));
    let all_here = refused.is_empty() && service.env_files.iter().all(|file| is_here(&file.place));
    service.environment = all_here.then(|| whole(&own, service.configuration.get("environment")));
    // Label files refer to nothing but themselves.
    let labels: Vec<String> =
        service.label_files.iter().filter_map(|place| place.inside().map(str::to_owned)).collect();
    let (labels, odd) = Variables::read(loader.tree(), &labels, &Variables::default());
    service.file_labels = labels.values();
    let all_here = odd.is_empty() && service.label_files.iter().all(is_here);
    service.labels = all_here.then(|| whole(&labels, service.configuration.get("labels")));
    refused.extend(odd);
    for line in refused {
        loader.warn(&line.at, Some(&service.name), format!("Compose refuses this line: {}", line.why));
    }
}

/// What files and the compose file come to together. A sign of a variable means something else in each of them.
fn whole(files: &Variables, own: Option<&Value>) -> BTreeMap<String, String> {
    let mut all = files.values();
    for (name, value) in own.and_then(Value::as_object).into_iter().flatten() {
        let text = match value.as_str() {
            Some(text) if !text.contains('$') => text.to_owned(),
            _ => format!("\0{value}"),
        };
        all.insert(name.clone(), text);
    }
    all
}

/// The service's own environment, to which its env files may refer.
fn own_variables(configuration: &Value) -> Variables {
    let mut variables = Variables::default();
    for (name, value) in configuration.get("environment").and_then(Value::as_object).into_iter().flatten() {
        value.as_str().into_iter().for_each(|text| variables.set(name, text));
    }
    variables
}

struct Reader<'a> {
    root: &'a Node,
    directory: &'a str,
    loader: &'a Loader<'a>,
    variables: &'a Variables,
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
        let env_files = self.env_files(node)?;
        Ok(Service {
            name: name.to_owned(),
            file_environment: BTreeMap::new(),
            environment: None,
            file_labels: BTreeMap::new(),
            labels: None,
            build: node.get("build").map(|build| self.build(build)).transpose()?,
            image: text("image"),
            container_name: text("container_name"),
            env_files,
            label_files: self.label_files(node),
            mounts: self.mounts(node)?,
            depends_on: self.names(node, "depends_on")?,
            requires: depended(node, |how| how.get("required").is_none_or(Node::is_true)),
            restarts_with: depended(node, |how| how.get("restart").is_some_and(Node::is_true)),
            waits_for: depended(node, |how| {
                how.get("condition").and_then(Node::text).as_deref() == Some("service_completed_successfully")
            }),
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
            args.insert(name.clone(), self.argument(name, value));
        }
        let is_open = |key: &str| node.get(key).is_some_and(Node::is_open);
        let mut build = Build {
            context,
            open_dockerfile: is_open("dockerfile"),
            open_target: is_open("target"),
            tags: node.get("tags").map_or(&[][..], Node::items).iter().filter_map(Node::text).collect(),
            dockerfile: text("dockerfile"),
            inline: text("dockerfile_inline"),
            inline_at: node.get("dockerfile_inline").map(|inline| inline.at.clone()),
            target: text("target").filter(|target| !target.is_empty()),
            contexts,
            args,
            configuration: without(node, &NOT_IN_IMAGE),
        };
        build.configuration = canonical::build(&build);
        Ok(build)
    }

    /// A build context: a directory, a sibling service, or something that is not ours.
    fn context(&self, node: &Node) -> Result<Context> {
        match context::context(node, self.directory) {
            Some(context) => Ok(context),
            None => self.wrong(node, "a directory or an address"),
        }
    }

    /// The value of a build argument, as far as it is known; without one Compose takes it from the environment.
    fn argument(&self, name: &str, value: &Node) -> Option<String> {
        if !value.is_null() {
            return value.text().filter(|_| !value.is_open());
        }
        let known = self.variables.open(name).filter(|(_, unknown)| unknown.is_empty());
        known.map(|(text, _)| text.to_owned())
    }

    fn env_files(&self, node: &Node) -> Result<Vec<EnvFile>> {
        let Some(files) = node.get("env_file") else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for item in files.items() {
            let path = item.get("path").unwrap_or(item);
            let Some(text) = path.text() else { return self.wrong(path, "a file name") };
            let required = item.get("required").is_none_or(Node::is_true);
            let is_raw = item.get("format").and_then(Node::text).as_deref() == Some("raw");
            let format = if is_raw { Format::Raw } else { Format::Quoted };
            found.push(EnvFile { place: context::place(path, &text, self.directory), required, format });
        }
        Ok(found)
    }

    fn label_files(&self, node: &Node) -> Vec<Place> {
        let files = node.get("label_file").map_or(&[][..], Node::items).iter();
        files.filter_map(|file| Some(context::place(file, &file.text()?, self.directory))).collect()
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
            Yaml::Text(text) => match context::split(text, ':').as_slice() {
                [source, target, ..] if is_path(source) => ((*source).to_owned(), (*target).to_owned()),
                _ => return Ok(None),
            },
            Yaml::Map(_) if field("type").as_deref() == Some("bind") => {
                (field("source").unwrap_or_default(), field("target").unwrap_or_default())
            }
            Yaml::Map(_) => return Ok(None),
            _ => return self.wrong(item, "a volume such as \"./file:/path\""),
        };
        let node = item.get("source").unwrap_or(item);
        Ok(Some(Mount { source: context::place(node, &source, self.directory), target }))
    }

    /// A config or secret that is a file of the repository.
    fn resource(&self, item: &Node, section: &str, default: &str) -> Option<Mount> {
        let name = item.get("source").unwrap_or(item).text()?;
        let file = self.root.get(section)?.get(&name)?.get("file")?;
        let target = item.get("target").and_then(Node::text).unwrap_or_else(|| format!("{default}{name}"));
        Some(Mount { source: context::place(file, &file.text()?, self.directory), target })
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
    /// the networks, volumes, configs, secrets and models that it names.
    fn configuration(&self, node: &Node) -> Value {
        let mut own = canonical::service(without(node, &NOT_CONFIGURATION), self.variables);
        if let Value::Object(own) = &mut own {
            own.retain(|key, _| !key.starts_with("x-"));
            for section in ["networks", "volumes", "configs", "secrets", "models"] {
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
        let entries =
            names.into_iter().filter_map(|name| Some((name.clone(), self.with_value(all.get(&name)?.to_json()))));
        // One of which nothing is said is as Compose makes it.
        let says_something = |(_, entry): &(String, Value)| entry.as_object().is_some_and(|keys| !keys.is_empty());
        entries.filter(says_something).collect()
    }

    /// What a config or a secret takes from a variable is content of it: a container keeps what it was made with.
    fn with_value(&self, mut resource: Value) -> Value {
        let name = resource.get("environment").and_then(Value::as_str);
        if let Some(value) = name.and_then(|name| self.variables.get(name)).map(Value::from) {
            resource["value"] = value;
        }
        resource
    }

    /// A service that `service` names and that is not there.
    fn unknown(&self, service: &Service, all: &Node) -> Option<String> {
        let contexts = service.build.iter().flat_map(|build| &build.contexts);
        let built = contexts.filter_map(|(_, context)| match context {
            Context::Service(name) => Some(name),
            _ => None,
        });
        let is_missing = |wanted: &&String| all.pairs().iter().all(|(name, _)| name != *wanted);
        service.depends_on.iter().chain(built).find(is_missing).cloned()
    }

    fn no_service(&self, service: &Service, wanted: &str, all: &Node) -> Failure {
        let names: Vec<&str> = all.pairs().iter().map(|(name, _)| name.as_str()).collect();
        let at = &all.get(&service.name).unwrap_or(all).at;
        let message = format!("the service {:?} needs {wanted:?}, which is not a service", service.name);
        self.loader.failure("compose.unknown-service", at, message).hint(nearest::hint(wanted, names))
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
    let json = |key: &str, value: &Node| match key {
        "configs" | "secrets" => value.items().iter().map(used).collect(),
        _ => value.to_json(),
    };
    Value::Object(kept.map(|(key, value)| (key.clone(), json(key, value))).collect())
}

/// A config or a secret that a service uses. Text is no number in its mode: what it means depends on Compose's version.
fn used(item: &Node) -> Value {
    let mut value = item.to_json();
    if let Some(Node { value: Yaml::Text(text), .. }) = item.get("mode") {
        value["mode"] = format!("text {}", text.trim_start_matches('0')).into();
    }
    value
}

/// Whether the source of a mount in the short form is a path, and not the name of a volume.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
        || (source.starts_with('$') && source[template::length(source)..].starts_with('/'))
}

/// The services that it depends on in a way that `is_so`.
fn depended(node: &Node, is_so: impl Fn(&Node) -> bool) -> Vec<String> {
    let all = node.get("depends_on").map_or(&[][..], Node::pairs).iter();
    all.filter(|(_, how)| is_so(how)).map(|(name, _)| name.clone()).collect()
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

/// A service that a program outside of Docker provides has no container.
fn replicas(node: &Node) -> u32 {
    if node.get("provider").is_some() {
        return 0;
    }
    let deployed = node.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = deployed.or_else(|| node.get("scale")).and_then(Node::text);
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}
