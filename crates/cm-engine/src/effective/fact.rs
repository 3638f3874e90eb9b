//! What later programs need of a host's effective project, without a value of its environment:
//! decided once a run by cm-detect, and carried in the document.

use super::{Answer, Model};
use crate::Definition;
use cm_core::Document;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A host's project as its own Compose says it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct EffectiveHost {
    /// The compose project's name: the label of its containers.
    pub project: String,
    /// The commit whose compose file and `cm.toml` count.
    pub commit: String,
    /// The version of Compose there.
    pub compose: String,
    /// The services that Compose starts there, or would if they are that host's.
    pub services: BTreeMap<String, EffectiveService>,
    /// Images that are built, each with every service that runs it.
    pub images: BTreeMap<String, BTreeSet<String>>,
    /// What the project uses and does not make.
    pub external: External,
    /// What of that the host does not have, as `network NAME`, `volume NAME` or `file PATH`.
    pub missing: Vec<String>,
    /// What runs there otherwise than its configuration says, by service: settings by name.
    pub drift: BTreeMap<String, BTreeSet<String>>,
}

/// A service as a host's Compose starts it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct EffectiveService {
    /// How many containers it has; 0 is an answer.
    pub replicas: u64,
    /// Whether another service waits until it has ended well (`service_completed_successfully`).
    pub job: bool,
    /// The image it runs.
    pub image: String,
    /// Whether Compose builds that image.
    pub builds: bool,
    /// The name of its container, where it is fixed.
    pub container_name: Option<String>,
    /// The ports of the host that it publishes, as `ADDRESS:PORT/PROTOCOL`.
    pub ports: Vec<String>,
}

/// What a project uses and others make.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct External {
    /// Networks.
    pub networks: BTreeSet<String>,
    /// Volumes.
    pub volumes: BTreeSet<String>,
    /// The files of configs and secrets.
    pub files: BTreeSet<String>,
}

impl EffectiveHost {
    /// What a host answered about the commit that is to run.
    pub fn of(answer: &Answer, head: &Model, commit: &str) -> Self {
        let config = head.config();
        let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, definition) in &config.services {
            images.entry(definition.image.clone()).or_default().insert(name.clone());
        }
        images.retain(|image, _| config.services.values().any(|service| service.builds && service.image == *image));
        let service = |(name, definition): (&String, &Definition)| {
            (name.clone(), EffectiveService::of(definition, config.jobs.contains(name)))
        };
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
            missing: answer.missing.iter().map(|(kind, name)| format!("{kind} {name}")).collect(),
            drift: BTreeMap::new(),
        }
    }

    /// What the document of a run knows of `host`, if a program asked it about the commit that is deployed.
    pub fn known(doc: &Document, host: &str) -> Option<Self> {
        let value = doc.facts("detect")?.get("effective")?.get(host)?;
        let known: EffectiveHost = serde_json::from_value(value.clone()).ok()?;
        (Some(known.commit.as_str()) == doc.commit() && !known.project.is_empty()).then_some(known)
    }
}

impl EffectiveService {
    fn of(definition: &Definition, job: bool) -> Self {
        EffectiveService {
            replicas: definition.replicas,
            job,
            image: definition.image.clone(),
            builds: definition.builds,
            container_name: definition.container_name().map(str::to_owned),
            ports: definition.ports.clone(),
        }
    }
}
