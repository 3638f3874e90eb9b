//! What the gate says about a service, and why.

use std::time::Duration;

pub use cm_core::facts::{HealthState as State, Moment, ServiceVerdict as Verdict};

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
