//! What `docker compose config` says, and what follows from it.

use crate::image_name::full_name;
use crate::{Condition, Port};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What `docker compose config` says of the project.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The project's name: its label on containers.
    pub project: String,
    /// Every service, by name.
    pub services: BTreeMap<String, Definition>,
}

/// What cm needs of a service's definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The image it runs: `image:`, or the name Compose makes up.
    pub image: String,
    /// Whether Compose builds the image.
    pub builds: bool,
    /// How `up` would pull the image; `None` for one that a service of the project builds, or that is never pulled.
    pub pull: Option<Pull>,
    /// Of what `build:` says with every variable's value: differs where the image may.
    pub build_hash: u64,
    /// The services it waits for, and what it waits for.
    pub depends_on: BTreeMap<String, Condition>,
    /// How many containers it should have.
    pub replicas: u64,
    /// Whether Docker restarts it; a service without is allowed to end with 0.
    pub restarts: bool,
    /// Whether Docker checks its health.
    pub has_healthcheck: bool,
    /// How long a container may take to stop.
    pub stop_grace: Duration,
    /// Why no second container can run alongside the first, whatever anybody says.
    pub single: Option<String>,
    /// What only one container at a time should use, as far as the file shows.
    pub exclusive: Option<String>,
    /// The ports of the host that it publishes.
    pub published: Vec<Port>,
    /// The volumes, by their name for Docker, and the directories of the host that it may write.
    pub writes: BTreeSet<String>,
    /// The name that its one container has, where the file gives it one.
    pub container_name: Option<String>,
    networks: Map<String, Value>,
}

/// How the image of a service is pulled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pull {
    /// What it has to run on; empty for the host's own.
    pub platform: String,
    /// Whether it is also pulled where the host has an image of that name.
    pub always: bool,
}

impl Config {
    /// Reads the JSON of `docker compose config`.
    pub fn read(value: &Value) -> Config {
        let project = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let services = value.get("services").and_then(Value::as_object);
        let volumes = value.get("volumes");
        let definitions = services.into_iter().flatten().map(|(name, service)| {
            let definition = Definition::read(&project, name, service);
            (name.clone(), Definition { writes: writes(&project, service, volumes), ..definition })
        });
        let mut definitions: BTreeMap<String, Definition> = definitions.collect();
        let tags = services.into_iter().flatten().filter_map(|(_, service)| service.pointer("/build/tags")?.as_array());
        let tags = tags.flatten().filter_map(Value::as_str);
        let built = definitions.values().filter(|definition| definition.builds).map(|one| one.image.as_str());
        let made: BTreeSet<String> = built.chain(tags).map(full_name).collect();
        // What another service builds is in no registry, before that is done.
        let pulled = definitions.values_mut().filter(|definition| definition.pull.is_some());
        pulled.filter(|one| made.contains(&full_name(&one.image))).for_each(|one| one.pull = None);
        Config { services: definitions, project: project.clone() }
    }

    /// The services that another one waits for to end well: each is a job, by the compose file's own word.
    pub fn jobs(&self) -> BTreeSet<String> {
        let all = self.services.values().flat_map(|definition| &definition.depends_on);
        all.filter(|(_, condition)| **condition == Condition::Completed).map(|(name, _)| name.clone()).collect()
    }

    /// Everything that `services` wait for, directly or not.
    pub fn dependencies(&self, services: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut queue: Vec<&str> = services.iter().map(String::as_str).collect();
        while let Some(name) = queue.pop() {
            for dependency in self.services.get(name).into_iter().flat_map(|definition| definition.depends_on.keys()) {
                if found.insert(dependency.clone()) {
                    queue.push(dependency);
                }
            }
        }
        found
    }
}

impl Definition {
    fn read(project: &str, name: &str, service: &Value) -> Definition {
        let image = service.get("image").and_then(Value::as_str).map(str::to_owned);
        let depends_on = service.get("depends_on").and_then(Value::as_object);
        let replicas = service.pointer("/deploy/replicas").or_else(|| service.get("scale")).and_then(Value::as_u64);
        let restart = service.get("restart").and_then(Value::as_str).unwrap_or("no");
        Definition {
            has_healthcheck: has_healthcheck(service),
            stop_grace: stop_grace(service),
            single: single(service),
            exclusive: exclusive(service),
            published: crate::port::of_service(service),
            writes: BTreeSet::new(),
            container_name: service.get("container_name").and_then(Value::as_str).map(str::to_owned),
            networks: service.get("networks").and_then(Value::as_object).cloned().unwrap_or_default(),
            image: image.unwrap_or_else(|| format!("{project}-{name}")),
            builds: service.get("build").is_some(),
            pull: pull(service),
            build_hash: hash(&(service.get("build").map(Value::to_string), service.get("image").map(Value::to_string))),
            depends_on: depends_on
                .into_iter()
                .flatten()
                .map(|(name, how)| (name.clone(), Condition::read(how)))
                .collect(),
            // What a program outside of Docker provides has no container.
            replicas: if service.get("provider").is_some() { 0 } else { replicas.unwrap_or(1) },
            restarts: restart != "no",
        }
    }

    /// The name that a container of this service still has to get. Compose makes a new one as
    /// `ID_NAME`, with the short id of the one it replaces, and renames it when that is gone; an
    /// engine or a Compose that dies between the two leaves it so.
    pub fn unfinished_name<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (id, rest) = name.split_at_checked(12)?;
        let replaced = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        rest.strip_prefix('_')
            .filter(|rest| replaced && !rest.is_empty() && self.container_name.as_deref() != Some(name))
    }

    /// The networks for an override in which a container under another name still goes by
    /// this service's fixed name.
    pub(crate) fn networks_with_all_names(&self) -> Value {
        let aliases: Vec<&String> = self.container_name.iter().collect();
        let named = |(network, _): (&String, &Value)| (network.clone(), json!({"aliases": aliases}));
        self.networks.iter().map(named).collect::<Map<_, _>>().into()
    }
}

/// As Compose decides it. A policy such as `daily` is left to `up`, where the host has an image.
fn pull(service: &Value) -> Option<Pull> {
    let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default();
    let policy = text("pull_policy");
    let pulled = service.get("image").is_some() && service.get("build").is_none();
    let pull = Pull { platform: text("platform").to_owned(), always: policy == "always" };
    (pulled && !["never", "build"].contains(&policy)).then_some(pull)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn has_healthcheck(service: &Value) -> bool {
    let Some(check) = service.get("healthcheck") else { return false };
    let none = check.pointer("/test/0").and_then(Value::as_str) == Some("NONE");
    !none && check.get("disable").and_then(Value::as_bool) != Some(true) && check.get("test").is_some()
}

/// Compose writes `1m30s`; Docker's own default is ten seconds.
fn stop_grace(service: &Value) -> Duration {
    let text = service.get("stop_grace_period").and_then(Value::as_str).unwrap_or("10s");
    let (mut seconds, mut number) = (0.0, String::new());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let milli = c == 'm' && rest.peek() == Some(&'s');
        let unit = match c {
            'h' => 3600.0,
            'm' if milli => 0.001,
            'm' => 60.0,
            's' => 1.0,
            _ => {
                number.push(c);
                continue;
            }
        };
        seconds += unit * std::mem::take(&mut number).parse().unwrap_or(0.0);
        if milli {
            rest.next();
        }
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(10))
}

fn single(service: &Value) -> Option<String> {
    let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default();
    let ports = service.get("ports").and_then(Value::as_array);
    // What stands there may have come from an env file, so that no value is told.
    if ports.into_iter().flatten().any(|port| port.get("published").is_some_and(|port| !port.is_null())) {
        return Some("it publishes a port of the host".to_owned());
    }
    match text("network_mode") {
        "" | "bridge" => {}
        mode @ ("host" | "none") => return Some(format!("its network_mode is {mode}")),
        _ => return Some("its network is another container's".to_owned()),
    }
    let fixed =
        |network: &Value| ["ipv4_address", "ipv6_address", "mac_address"].iter().any(|k| network.get(k).is_some());
    let networks = service.get("networks").and_then(Value::as_object);
    if networks.is_some_and(|networks| networks.values().any(fixed)) || !text("mac_address").is_empty() {
        return Some("its network address is fixed".to_owned());
    }
    None
}

/// The mounts of a service that it may write.
fn written(service: &Value) -> impl Iterator<Item = &Value> {
    let mounts = service.get("volumes").and_then(Value::as_array);
    mounts.into_iter().flatten().filter(|mount| {
        let kind = mount.get("type").and_then(Value::as_str).unwrap_or_default();
        kind != "tmpfs" && mount.get("read_only").and_then(Value::as_bool) != Some(true)
    })
}

/// What they are called on the host: a volume's full name, a directory's path. `volumes` is the
/// project's section; a volume without an entry there has the name that Compose makes up.
fn writes(project: &str, service: &Value, volumes: Option<&Value>) -> BTreeSet<String> {
    let full = |source: &str| {
        let named = volumes.and_then(|all| all.get(source)?.get("name")?.as_str());
        named.map_or_else(|| format!("{project}_{source}"), str::to_owned)
    };
    let name = |mount: &Value| {
        let source = mount.get("source").and_then(Value::as_str).filter(|source| !source.is_empty())?;
        Some(if mount.get("type").and_then(Value::as_str) == Some("volume") { full(source) } else { source.to_owned() })
    };
    written(service).filter_map(name).collect()
}

/// A volume or directory of the host that it may write, or a device.
fn exclusive(service: &Value) -> Option<String> {
    match written(service).next() {
        Some(_) => Some("it writes to a volume".to_owned()),
        None => service.get("devices").map(|_| "it uses a device of the host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_name_get_the_one_compose_makes_up() {
        let config = Config::read(&json!({"name": "shop", "services": {
            "web": {"build": {}, "depends_on": {"api": {}}, "restart": "always"},
            "api": {"image": "acme/api", "build": {}, "depends_on": {"db": {}}},
            "db": {"image": "mongo:7", "deploy": {"replicas": 3}},
            "tunnel": {"provider": {"type": "cloud"}},
        }}));
        assert_eq!(
            (config.services["web"].image.as_str(), config.services["api"].image.as_str()),
            ("shop-web", "acme/api")
        );
        assert_eq!((config.services["db"].replicas, config.services["tunnel"].replicas), (3, 0));
        assert_eq!(config.dependencies(&["web".to_owned()]).into_iter().collect::<Vec<_>>(), ["api", "db"]);
        assert!(config.services["web"].restarts && !config.services["api"].restarts);
    }

    #[test]
    fn a_job_is_what_somebody_waits_for_to_end() {
        let config = Config::read(&json!({"name": "shop", "services": {
            "web": {"depends_on": {"migrate": {"condition": "service_completed_successfully"}, "db": {"condition": "service_healthy"}}},
            "migrate": {"depends_on": {"db": {"condition": "service_started"}}},
            "db": {},
        }}));
        assert_eq!(config.jobs().into_iter().collect::<Vec<_>>(), ["migrate"]);
        assert_eq!(config.services["web"].depends_on["db"], Condition::Healthy);
    }

    #[test]
    fn what_a_service_writes_has_the_name_that_docker_knows() {
        let config = Config::read(
            &json!({"name": "shop", "volumes": {"data": {"name": "elsewhere"}}, "services": {"db": {"volumes": [
                {"type": "volume", "source": "data", "target": "/a"}, {"type": "volume", "source": "other", "target": "/b"},
                {"type": "bind", "source": "/srv/x", "target": "/c"}, {"type": "bind", "source": "/srv/y", "target": "/d", "read_only": true},
                {"type": "volume", "target": "/e"}, {"type": "tmpfs", "target": "/t"},
            ]}}}),
        );
        assert_eq!(config.services["db"].writes.iter().collect::<Vec<_>>(), ["/srv/x", "elsewhere", "shop_other"]);
    }

    fn definition(service: Value) -> Definition {
        Config::read(&json!({"name": "shop", "services": {"web": service}})).services["web"].clone()
    }

    #[test]
    fn what_allows_no_second_container_is_seen() {
        for (service, single) in [
            (json!({"ports": [{"target": 80, "published": "80"}]}), Some("it publishes a port of the host")),
            (json!({"ports": [{"target": 80}]}), None),
            (json!({"network_mode": "host"}), Some("its network_mode is host")),
            (json!({"networks": {"a": {"ipv4_address": "10.0.0.2"}}}), Some("its network address is fixed")),
            (json!({"networks": {"a": null}}), None),
        ] {
            assert_eq!(definition(service.clone()).single.as_deref(), single, "{service}");
        }
        for (service, exclusive) in [
            (json!({"volumes": [{"type": "volume", "target": "/data"}]}), true),
            (json!({"volumes": [{"type": "bind", "target": "/c", "read_only": true}]}), false),
            (json!({"volumes": [{"type": "tmpfs", "target": "/t"}]}), false),
            (json!({"devices": ["/dev/x"]}), true),
            (json!({}), false),
        ] {
            assert_eq!(definition(service.clone()).exclusive.is_some(), exclusive, "{service}");
        }
    }

    #[test]
    fn grace_periods_are_read_as_compose_writes_them() {
        for (text, ms) in [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("1h0m0s", 3_600_000)] {
            assert_eq!(definition(json!({"stop_grace_period": text})).stop_grace.as_millis(), ms, "{text}");
        }
        assert_eq!(definition(json!({})).stop_grace.as_secs(), 10);
    }

    #[test]
    fn a_health_check_that_is_switched_off_is_none() {
        assert!(definition(json!({"healthcheck": {"test": ["CMD", "true"]}})).has_healthcheck);
        for off in [json!({}), json!({"healthcheck": {"disable": true}}), json!({"healthcheck": {"test": ["NONE"]}})] {
            assert!(!definition(off.clone()).has_healthcheck, "{off}");
        }
    }

    #[test]
    fn a_container_that_compose_was_about_to_rename_is_known_by_its_name() {
        let web = definition(json!({"container_name": "acme-web"}));
        assert_eq!(web.unfinished_name("9dee0079fd75_acme-web"), Some("acme-web"));
        for name in
            ["acme-web", "9dee0079fd7_acme-web", "9dee0079fd75_", "9dee0079fd75-acme-web", "gdee0079fd75_acme-web"]
        {
            assert_eq!(web.unfinished_name(name), None, "{name}");
        }
        let odd = definition(json!({"container_name": "9dee0079fd75_acme-web"}));
        assert_eq!(odd.unfinished_name("9dee0079fd75_acme-web"), None, "it is its own");
    }

    #[test]
    fn a_container_beside_another_goes_by_its_fixed_name_too() {
        let web = definition(json!({"container_name": "acme-web", "networks": {"default": null}}));
        assert_eq!(web.networks_with_all_names(), json!({"default": {"aliases": ["acme-web"]}}));
    }
}
