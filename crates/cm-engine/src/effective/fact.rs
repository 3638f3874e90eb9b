//! What later programs need of a host's effective project, made from its answer.

use super::{Answer, Model, Need};
use crate::{Definition, Port};
use cm_project::{EffectiveHost, EffectiveService, External};
use std::collections::{BTreeMap, BTreeSet};

impl Answer {
    /// What a host answered about the commit that is to run, of which `head` is the model; `missing` is what it lacks.
    pub fn fact(&self, head: &Model, commit: &str, missing: &BTreeSet<Need>) -> EffectiveHost {
        let answer = self;
        let config = head.config();
        let jobs = config.jobs();
        let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, definition) in &config.services {
            images.entry(definition.image.clone()).or_default().insert(name.clone());
        }
        images.retain(|image, _| config.services.values().any(|service| service.builds && service.image == *image));
        let service =
            |(name, definition): (&String, &Definition)| (name.clone(), fact_of(definition, jobs.contains(name)));
        EffectiveHost {
            project: config.project.clone(),
            commit: commit.to_owned(),
            compose: answer.version.clone(),
            services: config.services.iter().map(service).collect(),
            images,
            external: External {
                networks: head.external("networks"),
                volumes: head.external("volumes"),
                files: head.files(),
            },
            missing: missing.iter().map(|(kind, name)| format!("{kind} {name}")).collect(),
            drift: BTreeMap::new(),
            idle: BTreeSet::new(),
        }
    }
}

fn fact_of(definition: &Definition, job: bool) -> EffectiveService {
    EffectiveService {
        replicas: definition.replicas,
        job,
        image: definition.image.clone(),
        builds: definition.builds,
        container_name: definition.container_name.clone(),
        ports: definition.published.iter().map(port).collect(),
    }
}

fn port(port: &Port) -> String {
    let address = if port.address.is_empty() { "0.0.0.0" } else { &port.address };
    let last = if port.last == port.first { String::new() } else { format!("-{}", port.last) };
    format!("{address}:{}{last}/{}", port.first, port.protocol)
}
