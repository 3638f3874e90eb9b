//! What a switch of a Swarm needs, brought to where it is needed before anything is switched.

use cm_swarm::{Sight, Stack};
use std::collections::BTreeMap;

/// Images in the registry and on every node, configs and secrets in the Swarm.
#[derive(Clone, Debug)]
pub struct Brought {
    pub(crate) stack: Stack,
    /// What the Swarm ran then.
    pub(crate) before: Sight,
    /// By image of the compose file, its name in the registry.
    pub(crate) images: BTreeMap<String, String>,
    /// By kind and key, the configs and secrets.
    pub(crate) names: BTreeMap<&'static str, BTreeMap<String, String>>,
}
