//! How an update of a service ended, or whether it has: Swarm's own word for it.

use crate::value::text;
use serde_json::Value;

/// The state of a service's last update.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Update {
    /// There was none since the service was made, or the last one is done.
    Done,
    /// It runs, or is being rolled back.
    Running,
    /// Swarm stopped partway, since a task failed.
    Paused,
    /// Swarm went back to what the service was before, by itself.
    RolledBack,
}

impl Update {
    /// Reads a service as `docker service inspect` shows it.
    pub(crate) fn read(service: &Value) -> Update {
        match text(service, "/UpdateStatus/State") {
            "updating" | "rollback_started" => Update::Running,
            "paused" | "rollback_paused" => Update::Paused,
            "rollback_completed" => Update::RolledBack,
            // A state of a later version is no success.
            "" | "completed" => Update::Done,
            _ => Update::Paused,
        }
    }
}
