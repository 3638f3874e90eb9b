//! One service, from Compose's words to a stack's.

use crate::health_time::{duration, monitor};
use crate::keys::{Fate, fate};
use crate::note::Note;
use crate::service::Service;
use crate::size::too_large;
use crate::value::{is_empty, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The translation of one service.
pub(crate) struct Translation<'a> {
    /// Its name.
    pub name: &'a str,
    /// The project's name.
    pub project: &'a str,
    /// What means something else in a Swarm.
    pub notes: &'a mut Vec<Note>,
    /// What a Swarm cannot do.
    pub refused: &'a mut Vec<Note>,
}

impl Translation<'_> {
    fn note(&mut self, key: &str, words: impl Into<String>) {
        let note = Note::new(self.name, key, words);
        self.notes.push(note);
    }

    fn refuse(&mut self, key: &str, words: impl Into<String>) {
        let note = Note::new(self.name, key, words);
        self.refused.push(note);
    }

    /// Translates it.
    pub fn service(&mut self, service: &Value) -> Service {
        let image = Some(text(service, "/image")).filter(|image| !image.is_empty()).map(str::to_owned);
        let mut translated = Service {
            image: image.unwrap_or_else(|| format!("{}-{}", self.project, self.name)),
            builds: service.get("build").is_some(),
            ..Service::default()
        };
        for (key, value) in service.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value)) {
            match fate(key) {
                Fate::Kept => drop(translated.definition.insert(key.clone(), value.clone())),
                Fate::Silent | Fate::Placed => {}
                Fate::Mapped(words) => self.note(key, words),
                Fate::Refused(words) => self.refuse(key, words),
            }
        }
        translated.after = Self::after(service);
        self.environment(&mut translated.definition);
        self.health(&mut translated.definition);
        self.ports(&mut translated.definition);
        self.networks(&mut translated.definition);
        let pinned = service.pointer("/deploy/placement/constraints").is_some_and(|all| !is_empty(all));
        let writes = self.mounts(&mut translated.definition, service, pinned);
        self.deploy(&mut translated, service, writes);
        self.refused.extend(too_large(self.name, &translated.definition));
        translated
    }

    fn after(service: &Value) -> BTreeSet<String> {
        let all = service.get("depends_on").and_then(Value::as_object);
        // One that it waits for the end of is a job, and has run before.
        all.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// A variable without a value would be filled in on the manager, by whatever is set there.
    fn environment(&mut self, definition: &mut Map<String, Value>) {
        let Some(Value::Object(all)) = definition.get_mut("environment") else { return };
        let unset: Vec<String> =
            all.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
        all.retain(|_, value| !value.is_null());
        for name in unset {
            self.note("environment", format!("{name} has no value, and is not set"));
        }
    }

    fn health(&mut self, definition: &mut Map<String, Value>) {
        let Some(Value::Object(check)) = definition.get_mut("healthcheck") else { return };
        if check.remove("start_interval").is_some() {
            self.note("healthcheck", "start_interval is left out: a stack does not take it");
        }
    }

    fn ports(&mut self, definition: &mut Map<String, Value>) {
        let Some(Value::Array(ports)) = definition.get_mut("ports") else { return };
        let mut refused = Vec::new();
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            port.retain(|key, _| !matches!(key.as_str(), "name" | "app_protocol"));
            if port.remove("host_ip").is_some() {
                refused.push("a Swarm publishes on every address of a node: remove the address, and close the port in the firewall");
            }
            let published = port.get("published").and_then(Value::as_str).map(str::to_owned);
            match published.map(|text| text.parse::<u16>()) {
                Some(Ok(number)) => drop(port.insert("published".to_owned(), number.into())),
                Some(Err(_)) => refused.push("a range of ports is not one port: write each of them"),
                None => {}
            }
        }
        refused.into_iter().for_each(|words| self.refuse("ports", words));
    }

    fn networks(&mut self, definition: &mut Map<String, Value>) {
        let Some(Value::Object(networks)) = definition.get_mut("networks") else { return };
        let mut refused = false;
        for network in networks.values_mut().filter_map(Value::as_object_mut) {
            let fixed = ["ipv4_address", "ipv6_address", "mac_address", "link_local_ips"];
            refused |= fixed.iter().any(|key| network.get(*key).is_some_and(|value| !is_empty(value)));
            network.retain(|key, _| key == "aliases");
        }
        if refused {
            self.refuse("networks", "Swarm gives addresses: find the service by its name");
        }
    }

    /// Whether it writes to a volume or a directory.
    fn mounts(&mut self, definition: &mut Map<String, Value>, service: &Value, pinned: bool) -> bool {
        let mut mounts = match definition.remove("volumes") {
            Some(Value::Array(mounts)) => mounts,
            _ => Vec::new(),
        };
        let mut writes = false;
        for mount in mounts.iter_mut().filter_map(Value::as_object_mut) {
            let of = |key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (kind, source) = (of("type"), of("source"));
            writes |= kind != "tmpfs" && mount.get("read_only").and_then(Value::as_bool) != Some(true);
            if let Some(Value::Object(bind)) = mount.get_mut("bind") {
                bind.retain(|key, _| key == "propagation");
            }
            mount.retain(|_, value| !is_empty(value));
            match kind.as_str() {
                "bind" if !pinned => self.refuse(
                    "volumes",
                    format!("{source} is a path of one node: make it a `configs:` entry, or pin the service to a node with `deploy.placement.constraints`"),
                ),
                "volume" if !pinned => self.refuse(
                    "volumes",
                    format!("the data of volume {source:?} is on one node: pin the service to it with `deploy.placement.constraints`, as `node.labels.{} == true`", self.name),
                ),
                _ => {}
            }
        }
        if let Some(size) = service.get("shm_size").filter(|size| !is_empty(size)) {
            let size = size.as_u64().or_else(|| size.as_str()?.parse().ok());
            mounts.push(json!({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": size}}));
        }
        if !mounts.is_empty() {
            definition.insert("volumes".to_owned(), mounts.into());
        }
        writes
    }

    fn deploy(&mut self, translated: &mut Service, service: &Value, writes: bool) {
        let mut deploy = match translated.definition.remove("deploy") {
            Some(Value::Object(deploy)) => deploy,
            _ => Map::new(),
        };
        if let Some(scale) = service.get("scale").filter(|_| !deploy.contains_key("replicas")) {
            deploy.insert("replicas".to_owned(), scale.clone());
        }
        let one_port =
            |port: &Value| text(port, "/mode") == "host" && port.get("published").is_some_and(|p| !p.is_null());
        let host_ports = service.get("ports").and_then(Value::as_array).is_some_and(|all| all.iter().any(one_port));
        self.restart(&mut deploy, service);
        self.resources(&mut deploy, service);
        translated.start_first = self.update(&mut deploy, service, host_ports, writes);
        let global = deploy.get("mode").and_then(Value::as_str).is_some_and(|mode| mode.starts_with("global"));
        if deploy.get("mode").and_then(Value::as_str).is_some_and(|mode| mode.ends_with("-job")) {
            self.refuse(
                "deploy.mode",
                "a job is run by cm, once in a release: `job = true` in cm.toml, and without the mode here",
            );
        }
        let replicas = deploy.get("replicas").and_then(Value::as_u64).unwrap_or(1);
        translated.replicas = (!global).then_some(replicas);
        deploy.retain(|_, value| !is_empty(value));
        translated.definition.insert("deploy".to_owned(), deploy.into());
    }

    fn restart(&mut self, deploy: &mut Map<String, Value>, service: &Value) {
        let restart = text(service, "/restart");
        if restart.is_empty() || deploy.contains_key("restart_policy") {
            return;
        }
        let (how, times) = restart.split_once(':').unwrap_or((restart, ""));
        let policy = match how {
            "no" => json!({"condition": "none"}),
            "on-failure" => match times.parse::<u64>() {
                Ok(times) => json!({"condition": "on-failure", "max_attempts": times}),
                Err(_) => json!({"condition": "on-failure"}),
            },
            _ => json!({"condition": "any"}),
        };
        deploy.insert("restart_policy".to_owned(), policy);
    }

    fn resources(&mut self, deploy: &mut Map<String, Value>, service: &Value) {
        let mut resources = deploy.remove("resources").unwrap_or_else(|| json!({}));
        let places = [
            ("mem_limit", "limits", "memory"),
            ("cpus", "limits", "cpus"),
            ("pids_limit", "limits", "pids"),
            ("mem_reservation", "reservations", "memory"),
        ];
        for (key, part, name) in places {
            let Some(value) = service.get(key).filter(|value| !is_empty(value)) else { continue };
            if is_empty(&resources[part][name]) {
                resources[part][name] = value.clone();
            }
        }
        for part in ["limits", "reservations"] {
            if let Some(Value::Object(all)) = resources.get_mut(part) {
                // A stack wants words where Compose writes numbers.
                for name in ["cpus", "memory"] {
                    if let Some(value) = all.get_mut(name).filter(|value| value.is_number()) {
                        *value = value.to_string().into();
                    }
                }
                if all.remove("devices").is_some_and(|devices| !is_empty(&devices)) {
                    self.refuse("deploy.resources", "a Swarm hands out no devices of a node");
                }
            }
        }
        if let Value::Object(resources) = &mut resources {
            resources.retain(|_, value| !is_empty(value));
        }
        deploy.insert("resources".to_owned(), resources);
    }

    /// Says how it is updated; whether the new task starts first.
    fn update(&mut self, deploy: &mut Map<String, Value>, service: &Value, host_ports: bool, writes: bool) -> bool {
        let needed = monitor(service);
        let mut config = deploy.remove("update_config").filter(|config| !is_empty(config)).unwrap_or_else(|| json!({}));
        let order = match text(&config, "/order") {
            "" if host_ports || writes => "stop-first".to_owned(),
            "" => "start-first".to_owned(),
            order => order.to_owned(),
        };
        if order == "start-first" && host_ports {
            self.refuse(
                "deploy.update_config",
                "start-first waits for ever for a port that the old task has: stop-first",
            );
        }
        let own = config.get("monitor").and_then(Value::as_str).and_then(duration);
        if own.is_some_and(|own| own < needed) {
            self.note(
                "deploy.update_config",
                format!("monitor is {} s: less than its health check takes to fail", needed.as_secs()),
            );
        }
        config["order"] = order.clone().into();
        config["monitor"] = format!("{}ms", own.unwrap_or_default().max(needed).as_millis()).into();
        if text(&config, "/failure_action").is_empty() {
            // The way back is the release's, and not that of single services.
            config["failure_action"] = "pause".into();
        }
        deploy.insert("update_config".to_owned(), config);
        order == "start-first"
    }
}
