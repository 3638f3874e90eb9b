//! What runs the services of a project: Docker Compose on each host, or one Docker Swarm.

use crate::service_section::OnChange;
use crate::value::Template;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs the services.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker Compose, on each host for itself.
    #[default]
    Compose,
    /// A Docker Swarm; the one host is a manager of it.
    Swarm,
}

impl Engine {
    /// What a changed file that a container sees asks for, where nobody says it. In a Swarm it is another config, and
    /// a task with another config is another task.
    pub(crate) fn on_change(self) -> OnChange {
        match self {
            Engine::Compose => OnChange::Restart,
            Engine::Swarm => OnChange::Recreate,
        }
    }
}

/// `[swarm]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swarm {
    /// The registry that images are pushed to and that every node pulls from, with a path if it wants one:
    /// `registry.example.org/shop`.
    pub registry: Template,
    /// The other managers that have a checkout, as `address` of the host names the first: `user@node2`. The first of
    /// all of them that answers and speaks for the Swarm is worked with.
    #[serde(default)]
    pub managers: Vec<Template>,
    /// Nodes that are no managers, written in the same way: the login there needs Docker and no checkout. They are asked
    /// whether they are fit to run tasks, old images are removed there, and a probe or a backup of a task there is possible.
    #[serde(default)]
    pub workers: Vec<Template>,
}
