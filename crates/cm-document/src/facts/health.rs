//! What `cm-health` saw: the servers before a deployment, the services after it.

use super::{known, known_list};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the health gate saw.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct HealthFacts {
    /// The worst of all services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<HealthState>,
    /// Every service that was watched.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceVerdict>>,
    /// Services that were not watched and are unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwell_neighbours: Option<Vec<Neighbour>>,
    /// In a dry run: by host the services that would be watched.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub would_watch: Option<BTreeMap<String, Vec<String>>>,
    /// What `cm-health --preflight` of the same run found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
}

/// A service that was not watched and is unhealthy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Neighbour {
    /// The service.
    pub service: String,
    /// Its host.
    pub host: String,
    /// Its container.
    pub container: String,
    /// What is wrong.
    pub state: String,
    /// Whether it was so before the deployment, null if nobody looked.
    pub before: Option<bool>,
}

/// The look at the servers before a deployment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Preflight {
    /// By host: versions, room, checkout, what is unhealthy now.
    #[serde(deserialize_with = "known")]
    pub hosts: Option<BTreeMap<String, Value>>,
    /// What is not as it should be.
    pub findings: Option<Vec<Finding>>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Finding {
    /// The host, null for this machine.
    pub host: Option<String>,
    /// Stable, for scripts.
    pub code: String,
    /// `warn`, or `fail`: the deployment must not start.
    pub weight: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What a service was found to be.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Looked at, and good for the whole window.
    Healthy,
    /// Looked at, and not.
    Unhealthy,
    /// Not looked at, or not to the end. Never the same as healthy.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The gate's last word about one service on one host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct ServiceVerdict {
    /// The service in the compose file.
    pub service: String,
    /// The host, by its name in `cm.toml`.
    pub host: String,
    /// What it was found to be.
    pub state: HealthState,
    /// Why, for scripts: `healthy`, `finished`, or the code of what is wrong.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// The container that decided.
    pub container: Option<String>,
    /// How its process ended, if it did and Docker still knows.
    pub exit_code: Option<i64>,
    /// What the last health check or probe said.
    pub health_output: Option<String>,
    /// The last lines of its log; only of a service that failed.
    pub log_tail: Vec<String>,
    /// How often the service was looked at.
    pub readings: u32,
    /// From the start of the gate to this verdict.
    pub waited_ms: u64,
    /// What the service looked like, from each change on; the first hundred changes.
    #[serde(rename = "course")]
    pub timeline: Vec<Moment>,
}

/// From when on a service looked how.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Moment {
    /// Milliseconds since the start of the gate.
    pub at_ms: u64,
    /// `good` (healthy, and not yet for its whole window), `healthy`, `finished`, or the code of what is wrong or awaited, such as `starting`.
    pub phase: String,
}

impl ServiceVerdict {
    /// `SERVICE on HOST: MESSAGE`.
    pub fn line(&self) -> String {
        format!("{} on {}: {}", self.service, self.host, self.message)
    }
}

impl super::Part for HealthFacts {
    const TOOL: &'static str = "health";
}
