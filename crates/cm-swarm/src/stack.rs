//! From what `docker compose config` says of a project to what `docker stack deploy` takes. The two formats differ:
//! a stack refuses what it does not know, and ignores in silence what it knows and cannot do. So each key has its
//! place in a table ([`crate::keys`]), everything that changes its meaning is noted, and what a Swarm cannot do is
//! refused before anything is done.

use crate::content::{self, Content, Names, Source};
use crate::note::Note;
use crate::service::Service;
use crate::translation::Translation;
use crate::value::{is_empty, text};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A project as a stack.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Its name: the namespace of everything it has.
    pub name: String,
    /// Its services.
    pub services: BTreeMap<String, Service>,
    /// Its configs and secrets.
    pub contents: Vec<Content>,
    /// What means something else in a Swarm.
    pub notes: Vec<Note>,
    /// What a Swarm cannot do. A stack with one of these is not deployed.
    pub refused: Vec<Note>,
    networks: Map<String, Value>,
    volumes: Map<String, Value>,
}

impl Stack {
    /// Translates the JSON of `docker compose config`.
    pub fn of(config: &Value) -> Stack {
        let mut stack = Stack { name: text(config, "/name").to_owned(), ..Stack::default() };
        stack.contents = content::read(config, "configs", "config", &mut stack.refused);
        stack.contents.extend(content::read(config, "secrets", "secret", &mut stack.refused));
        stack.networks = networks(config, &mut stack.refused);
        stack.volumes = volumes(config);
        for (name, service) in config.get("services").and_then(Value::as_object).into_iter().flatten() {
            let (notes, refused) = (&mut stack.notes, &mut stack.refused);
            let translated = Translation { name, project: &stack.name, notes, refused }.service(service);
            stack.services.insert(name.clone(), translated);
        }
        stack
    }

    /// The variables that configs and secrets are made from.
    pub fn variables(&self) -> BTreeSet<String> {
        let variable = |content: &Content| match &content.source {
            Source::Variable(name) => Some(name.clone()),
            _ => None,
        };
        self.contents.iter().filter_map(variable).collect()
    }

    /// The names of `wanted` in steps: each step depends on those before it alone.
    pub fn steps(&self, wanted: &[String]) -> Vec<Vec<String>> {
        let mut left: BTreeSet<&String> = wanted.iter().filter(|name| self.services.contains_key(*name)).collect();
        let mut steps = Vec::new();
        while !left.is_empty() {
            let waits = |name: &String| self.before(name).iter().any(|other| left.contains(other));
            let step: Vec<String> = left.iter().filter(|name| !waits(name)).map(|name| (*name).clone()).collect();
            // Compose refuses a circle; whatever is left would go at once.
            let step = if step.is_empty() { left.iter().map(|name| (*name).clone()).collect() } else { step };
            left.retain(|name| !step.contains(name));
            steps.push(step);
        }
        steps
    }

    /// Everything that `name` starts after, directly or not.
    fn before(&self, name: &str) -> BTreeSet<String> {
        let (mut all, mut queue) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(next) = queue.pop() {
            for other in self.services.get(&next).into_iter().flat_map(|service| &service.after) {
                if other != name && all.insert(other.clone()) {
                    queue.push(other.clone());
                }
            }
        }
        all
    }

    /// The file for `docker stack deploy` with these services alone, their images as `images` names them. `names` are
    /// the configs and secrets, by kind and key, as the Swarm has them.
    pub fn file(&self, services: &[String], images: &BTreeMap<String, String>, names: &BTreeMap<&str, Names>) -> Value {
        let one = |name: &String| {
            let service = self.services.get(name)?;
            let mut definition = service.definition.clone();
            definition.insert("image".to_owned(), images.get(&service.image).unwrap_or(&service.image).clone().into());
            Some((name.clone(), Value::Object(definition)))
        };
        let section = |kind: &str| -> Map<String, Value> {
            let all = names.get(kind).into_iter().flatten();
            all.map(|(key, name)| (key.clone(), Content::entry(name))).collect()
        };
        json!({
            "version": "3.8",
            "services": services.iter().filter_map(one).collect::<Map<_, _>>(),
            "networks": self.networks,
            "volumes": self.volumes,
            "configs": section("config"),
            "secrets": section("secret"),
        })
    }
}

fn networks(config: &Value, refused: &mut Vec<Note>) -> Map<String, Value> {
    let mut networks = Map::new();
    for (key, value) in config.get("networks").and_then(Value::as_object).into_iter().flatten() {
        let driver = text(value, "/driver");
        if !matches!(driver, "" | "bridge" | "overlay") {
            refused.push(Note::new(
                "",
                &format!("networks.{key}"),
                format!("its driver is {driver}: a Swarm's networks are overlay"),
            ));
        }
        let mut network = value.as_object().cloned().unwrap_or_default();
        network
            .retain(|key, value| !is_empty(value) && !matches!(key.as_str(), "driver" | "enable_ipv4" | "enable_ipv6"));
        if !network.contains_key("external") {
            network.insert("driver".to_owned(), "overlay".into());
        }
        networks.insert(key.clone(), network.into());
    }
    networks
}

fn volumes(config: &Value) -> Map<String, Value> {
    let mut volumes = config.get("volumes").and_then(Value::as_object).cloned().unwrap_or_default();
    for volume in volumes.values_mut().filter_map(Value::as_object_mut) {
        volume.retain(|_, value| !is_empty(value));
    }
    volumes
}

#[cfg(test)]
mod tests;
