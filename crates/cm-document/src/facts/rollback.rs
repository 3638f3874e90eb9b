//! What `cm-rollback` went back to.

use super::known;
use crate::ServiceState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was gone back to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RollbackFacts {
    /// By host.
    #[serde(deserialize_with = "known")]
    pub hosts: Option<BTreeMap<String, RolledBackHost>>,
    /// What was seen from outside afterwards.
    pub verify: Option<String>,
}

/// What a host went back to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RolledBackHost {
    /// The commit.
    pub commit: Option<String>,
    /// By service what it runs again; null for one that was removed again.
    #[serde(deserialize_with = "known")]
    pub services: Option<BTreeMap<String, Option<ServiceState>>>,
}

impl super::Part for RollbackFacts {
    const TOOL: &'static str = "rollback";
}
