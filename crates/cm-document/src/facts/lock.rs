//! What `cm-lock acquire` says: the lock that is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lock that is held.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct LockFacts {
    /// Names this one holding; a UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The lock file of the deploying machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The hosts on which it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// The process that holds and renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_pid: Option<u32>,
    /// The process whose life it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_pid: Option<u32>,
    /// After cm-lock release: the nonce of what was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
}

impl super::Part for LockFacts {
    const TOOL: &'static str = "lock";
}
