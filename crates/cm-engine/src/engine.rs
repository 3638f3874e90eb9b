//! The one place that chooses an engine where services are looked at.

use crate::compose_sight::ComposeSight;
use crate::interface::Sight;
use crate::swarm_sight::SwarmSight;
use cm_core::{Exit, Failure, Log, Result};
use cm_host::Host;
use cm_project::{Engine, Project};
use serde_json::Value;

/// Who answers for `host`.
pub fn sight(host: &Host) -> &'static dyn Sight {
    match host.engine() {
        Engine::Compose => &ComposeSight,
        Engine::Swarm => &SwarmSight,
    }
}

/// Refuses a version that the engine of `host` cannot run, and tells what it does otherwise.
///
/// # Errors
/// [`Exit::Config`] `engine.refused` with all that stands in the way; as [`Sight::obstacles`].
pub async fn accepts(project: &Project, host: &Host, config: &Value, log: &Log) -> Result<()> {
    let (stops, told): (Vec<_>, Vec<_>) =
        sight(host).obstacles(project, host, config).await?.into_iter().partition(|obstacle| obstacle.stops);
    told.iter().for_each(|obstacle| log.debug(format!("on {}: {}", host.name(), obstacle.message)));
    let Some(first) = stops.first() else { return Ok(()) };
    let message = format!("on {}: {}", host.name(), first.message);
    let failure = Failure::new(Exit::Config, "engine.refused", message);
    let failure = stops.iter().skip(1).fold(failure, |all, other| all.cause(format!("also: {}", other.message)));
    Err(if first.hint.is_empty() { failure } else { failure.hint(first.hint.clone()) })
}
