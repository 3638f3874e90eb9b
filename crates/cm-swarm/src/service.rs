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
