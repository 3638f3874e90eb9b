//! What `cm-health` saw: the servers before a deployment, the services after it.

use crate::lenient::{known, known_list, known_or_default};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the health gate saw.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct HealthFacts {
    /// The worst of all services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<HealthState>,
    /// Since when every service was good in every reading, up to the verdict; not there where one is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good_since: Option<String>,
    /// Every service that was watched.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceVerdict>>,
    /// Services that were not watched and are unhealthy.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub unwell_neighbours: Option<Vec<OtherService>>,
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
pub struct OtherService {
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

/// A container that was not healthy before a deployment.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Unhealthy {
    /// Its service.
    pub service: String,
    /// The host.
    pub host: String,
    /// Its name.
    pub container: String,
    /// What is wrong: `unhealthy`, `restarting`, `exited with 1`, …
    pub state: String,
}

/// The look at the servers before a deployment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Preflight {
    /// By host: versions, room, checkout, what is unhealthy now.
    #[serde(deserialize_with = "known")]
    pub hosts: Option<BTreeMap<String, PreflightHost>>,
    /// What is not as it should be.
    #[serde(deserialize_with = "known_list")]
    pub findings: Option<Vec<Finding>>,
}

/// A server before a deployment; null is what could not be found out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct PreflightHost {
    /// The version of Docker.
    pub docker: Option<String>,
    /// The version of Compose.
    pub compose: Option<String>,
    /// Room where Docker keeps its images, in KiB.
    pub docker_disk_kib: Option<Room>,
    /// Room where the checkout is, in KiB.
    pub checkout_disk_kib: Option<Room>,
    /// Free memory, in KiB.
    pub memory_available_kib: Option<u64>,
    /// The commit of the checkout.
    pub head: Option<String>,
    /// The branch of the checkout.
    pub branch: Option<String>,
    /// How far its clock is ahead of the deploying machine's, in seconds, if that is certain.
    pub clock_ahead_s: Option<f64>,
    /// What was not healthy.
    pub unwell: Vec<Unhealthy>,
}

/// Room on a disk, in the unit that its name says.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Room {
    /// What is free.
    pub free: u64,
    /// What there is.
    pub total: u64,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// People should know.
    Warn,
    /// The deployment must not start. So reads a word that this version does not know.
    #[default]
    #[serde(other)]
    Fail,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Finding {
    /// The host, null for this machine.
    pub host: Option<String>,
    /// Stable, for scripts.
    pub code: String,
    /// How much it matters.
    pub weight: Weight,
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
    #[serde(deserialize_with = "known_or_default")]
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
