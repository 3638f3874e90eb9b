//! What the gate says about a service, and why.

use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// What a service was found to be.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "HealthState")]
pub enum State {
    /// Looked at, and good for the whole window.
    Healthy,
    /// Looked at, and not.
    Unhealthy,
    /// Not looked at, or not to the end. Never the same as healthy.
    Unknown,
}

/// The gate's last word about one service on one host.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[schemars(rename = "ServiceVerdict")]
pub struct Verdict {
    /// The service in the compose file.
    pub service: String,
    /// The host, by its name in `cm.toml`.
    pub host: String,
    /// What it was found to be.
    pub state: State,
    /// Why, for scripts: `healthy`, `finished`, or the code of a [`Cause`].
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
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Moment {
    /// Milliseconds since the start of the gate.
    pub at_ms: u64,
    /// `good` (healthy, and not yet for its whole window), `healthy`, `finished`, or the code of what is wrong or awaited, such as `starting`.
    pub phase: String,
}

impl Verdict {
    /// `SERVICE on HOST: MESSAGE`.
    pub fn line(&self) -> String {
        format!("{} on {}: {}", self.service, self.host, self.message)
    }
}

/// All verdicts in one: the worst. No verdict at all is unknown.
pub fn overall(verdicts: &[Verdict]) -> State {
    let any = |state| verdicts.iter().any(|verdict| verdict.state == state);
    match () {
        () if any(State::Unhealthy) => State::Unhealthy,
        () if any(State::Unknown) || verdicts.is_empty() => State::Unknown,
        () => State::Healthy,
    }
}

/// Why a service is not good, or not yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cause {
    /// Stable, for scripts.
    pub code: &'static str,
    /// A lowercase fragment for people.
    pub message: String,
    /// The container's name.
    pub container: Option<String>,
    /// The exit code of its last run.
    pub exit_code: Option<i64>,
    /// What the last health check or probe said.
    pub health_output: Option<String>,
}

/// How the watch over one service ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    pub state: State,
    pub cause: Cause,
    /// When, counted from the start of the gate.
    pub at: Duration,
}
