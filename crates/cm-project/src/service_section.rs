//! `[services.NAME]` of `cm.toml`: what is special about single services, and the health
//! gate that they are measured by.

use crate::duration;
use crate::release::Drain;
use crate::value::Template;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What a changed bind-mounted file asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Validate and reload inside the running container.
    Reload,
    /// Restart the container that is there.
    #[default]
    Restart,
    /// Replace the container.
    Recreate,
}

/// How the containers of a service are replaced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The new one is healthy before the old one leaves: both run for a while.
    Rolling,
    /// The old one leaves before the new one comes.
    StopFirst,
}

/// `[services.NAME]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSection {
    /// What a changed bind-mounted file asks for.
    pub on_change: Option<OnChange>,
    /// The command, run in the container, that says whether the new file is valid.
    pub validate: Vec<String>,
    /// The command, run in the container, that makes it read the new file.
    pub reload: Vec<String>,
    /// More paths that the service's image depends on, as globs; `!` narrows.
    pub paths: Vec<String>,
    /// What is asked of each container, besides or instead of a healthcheck.
    pub probe: Option<Probe>,
    /// When this service counts as healthy, where it differs from `[health]`.
    pub health: ServiceHealth,
    /// How its containers are replaced; without it, `rolling` only what the compose file runs several times.
    pub update: Option<Update>,
    /// What the old container and the first new one are asked side by side before the old one leaves,
    /// where the service is replaced rolling: `http://SERVICE:PORT/PATH`, within the network. How often and how
    /// it is judged, `[canary]` says.
    pub canary: Option<Template>,
    /// Whether it is a job: run once in a release, before any container is replaced. Without it, it is one if another
    /// service waits for it to end (`service_completed_successfully`).
    pub job: Option<bool>,
    /// How long that job may take; half an hour if nothing is said.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub job_timeout: Option<Duration>,
    /// The command that takes back what that job did to the data: a rollback runs it in the image that is left.
    pub down: Vec<String>,
    /// Whether that job changes data in a way that older code may not understand, so that no rollback goes across it
    /// unconfirmed; without it, `[rollback] migrations` decides, or it is taken for granted.
    pub changes_data: Option<bool>,
    /// What happens to its old containers before they are stopped, where it is replaced rolling.
    pub drain: Option<Drain>,
}

/// A question to a container.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "an address such as \"http://127.0.0.1:8080/\", or a command as a list of words")]
pub enum Probe {
    /// `http://127.0.0.1:PORT/PATH` or `tcp://127.0.0.1:PORT`; 127.0.0.1 is the container itself.
    Address(String),
    /// A command that is run in the container: the program and its arguments.
    Command(Vec<String>),
}

/// `[services.NAME.health]`: what is left out is as in `[health]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceHealth {
    /// How long to wait in all.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub timeout: Option<Duration>,
    /// Consecutive good readings that are wanted.
    pub readings: Option<u32>,
    /// How long the readings must be good, with nothing restarted.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub window: Option<Duration>,
    /// Whether it is a job, good when it has ended with 0; without it, the compose file decides.
    pub one_shot: Option<bool>,
}

/// `[health]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// How long to wait in all.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// The time between two readings.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// Consecutive good readings that are wanted.
    pub readings: u32,
    /// How long the readings must be good, with nothing restarted.
    #[serde(deserialize_with = "duration::deserialize")]
    pub window: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            timeout: Duration::from_secs(180),
            interval: Duration::from_secs(1),
            readings: 3,
            window: Duration::from_secs(10),
        }
    }
}
