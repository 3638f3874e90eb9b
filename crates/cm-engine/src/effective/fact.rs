//! What later programs need of a host's effective project, made from its answer. Names and paths of which a variable
//! of the server is a part say the variable: the document is no place for values.

use super::{Answer, Model, Need, Version};
use crate::{Definition, Port};
use cm_project::{EffectiveHost, EffectiveService, External};
use std::collections::{BTreeMap, BTreeSet};

impl Answer {
    /// What a host answered about the commit that is to run, of which `head` is the model; `missing` is what it lacks.
    /// Short words of the `public` files are no secrets.
    pub fn fact(&self, head: &Model, commit: &str, missing: &BTreeSet<Need>, public: &Version) -> EffectiveHost {
        let answer = self;
        let config = head.config();
        let mut values = public.without_public(head.variables());
        // The project's name is the label of its containers; whoever reads the document works with it.
        values.retain(|_, value| *value != config.project);
        let shown =
            |name: &str| cm_core::hide(name, values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let all_shown = |names: BTreeSet<String>| names.iter().map(|name| shown(name)).collect();
        let jobs = config.jobs();
        let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, definition) in &config.services {
            images.entry(shown(&definition.image)).or_default().insert(name.clone());
        }
        images.retain(|image, _| {
            config.services.values().any(|service| service.builds && shown(&service.image) == *image)
        });
        let service = |(name, definition): (&String, &Definition)| {
            (name.clone(), fact_of(definition, jobs.contains(name), &shown))
        };
        EffectiveHost {
            project: config.project.clone(),
            commit: commit.to_owned(),
            compose: answer.version.clone(),
            services: config.services.iter().map(service).collect(),
            images,
            external: External {
                networks: all_shown(head.external("networks")),
                volumes: all_shown(head.external("volumes")),
                files: all_shown(head.files()),
            },
            missing: missing.iter().map(|(kind, name)| format!("{kind} {}", shown(name))).collect(),
            drift: BTreeMap::new(),
            idle: BTreeSet::new(),
        }
    }
}

fn fact_of(definition: &Definition, job: bool, shown: &dyn Fn(&str) -> String) -> EffectiveService {
    EffectiveService {
        replicas: definition.replicas,
        job,
        image: shown(&definition.image),
        builds: definition.builds,
        container_name: definition.container_name.as_deref().map(shown),
        ports: definition.published.iter().map(|published| port(published, shown)).collect(),
    }
}

/// Numbers of ports are no secrets, whatever variable they came from.
fn port(port: &Port, shown: &dyn Fn(&str) -> String) -> String {
    let address = if port.address.is_empty() { "0.0.0.0".to_owned() } else { shown(&port.address) };
    let last = if port.last == port.first { String::new() } else { format!("-{}", port.last) };
    format!("{address}:{}{last}/{}", port.first, port.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_variable_stands_where_its_value_would_and_the_projects_name_stays() {
        let head = Model::new(json!({
            "name": "shop-y",
            "services": {"web": {"build": {"context": "."}, "container_name": "web-tok3n-of-nobody", "ports": [{"target": 80, "published": "8080"}]},
                "db": {"image": "postgres:16"}},
            "secrets": {"key": {"file": "/srv/tok3n-of-nobody/key"}},
            "x-cm-variables": {"COMPOSE_PROJECT_NAME": ["set", "shop-y"], "TOKEN": ["set", "tok3n-of-nobody"], "PORT": ["set", "8080"],
                "VERSION": ["set", "postgres:16"], "NONE": ["", ""]},
        }));
        let public = Version {
            files: [("compose.yml".to_owned(), b"image: postgres:16".to_vec())].into(),
            ..Version::default()
        };
        let answer = Answer::read("cm end", 1);
        let missing = BTreeSet::from([("path", "/dev/tok3n-of-nobody".to_owned())]);
        let fact = answer.fact(&head, "c", &missing, &public);
        assert_eq!((fact.project.as_str(), fact.services["web"].image.as_str()), ("shop-y", "shop-y-web"));
        assert_eq!(fact.services["db"].image, "postgres:16", "a word of the compose file");
        assert_eq!(fact.services["web"].container_name.as_deref(), Some("web-${TOKEN}"));
        assert_eq!(fact.services["web"].ports, ["0.0.0.0:8080/tcp"]);
        assert_eq!(fact.missing, ["path /dev/${TOKEN}"]);
        assert_eq!(fact.external.files, BTreeSet::from(["/srv/${TOKEN}/key".to_owned()]));
    }
}
