//! One service of a stack.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// One service of a stack.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The image, as the compose file names it.
    pub image: String,
    /// Whether it is built.
    pub builds: bool,
    /// The services that it starts after.
    pub after: BTreeSet<String>,
    /// How many tasks it should have; `None` for one on each node.
    pub replicas: Option<u64>,
    /// Whether the new task starts before the old one ends.
    pub start_first: bool,
    pub(crate) definition: Map<String, Value>,
}

impl Service {
    /// Whether `nodes` that take tasks have room for one task more than it has: where each may have only so many, a
    /// new task that starts before the old one ends would wait for ever.
    pub fn has_room(&self, nodes: usize) -> bool {
        let number = |place| self.definition.get("deploy").and_then(|deploy| deploy.pointer(place)?.as_u64());
        let most = number("/placement/max_replicas_per_node").unwrap_or_default();
        let replicas = self.replicas.unwrap_or_default();
        let at_once = match number("/update_config/parallelism").unwrap_or(1) {
            0 => replicas,
            some => some.min(replicas),
        };
        most == 0 || most.saturating_mul(nodes as u64) >= replicas + at_once
    }
}
