//! What `cm-lock acquire` says: the lock that is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lock that is held.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct LockFacts {
    /// Names this one holding; a UUID.
    pub nonce: Option<String>,
    /// The lock file of the deploying machine.
    pub file: Option<String>,
    /// The hosts on which it is held.
    pub hosts: Option<Vec<String>>,
    /// The process that holds and renews it.
    pub holder_pid: Option<u32>,
    /// The process whose life it has.
    pub owner_pid: Option<u32>,
    /// After cm-lock release: the nonce of what was given back.
    pub released: Option<String>,
}

impl super::Part for LockFacts {
    const TOOL: &'static str = "lock";
}
