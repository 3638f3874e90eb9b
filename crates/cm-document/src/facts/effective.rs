//! What a host's own Compose says of the project: asked once a run by cm-detect, and used by every
//! later program in the place of deriving it again. No value of an environment is in it.

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
    /// What its services use, nobody makes and the host does not have: `network`, `volume`, `container`, `image`, `secret`
    /// or `config` and a name, `file` or `path` and a path.
    pub missing: Vec<String>,
    /// What runs there otherwise than its configuration says, by service: settings by name.
    pub drift: BTreeMap<String, BTreeSet<String>>,
    /// Services that run there although no profile that is switched on starts them. They are left as they are.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub idle: BTreeSet<String>,
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
