//! What `cm-rollback` went back to.

use crate::ServiceState;
use crate::lenient::known;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was rolled back to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RollbackFacts {
    /// By host.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub hosts: Option<BTreeMap<String, RolledBackHost>>,
    /// What was seen from outside afterwards: `passing`, `failing`, `unknown`, or `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
}

/// What a host went back to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RolledBackHost {
    /// The commit.
    pub commit: Option<String>,
    /// The release that was rolled back to; null for what ran before cm came.
    pub release: Option<String>,
    /// By service what it runs again; null for one that was removed again.
    #[serde(deserialize_with = "known")]
    pub services: Option<BTreeMap<String, Option<ServiceState>>>,
    /// The services whose images were gone and are built again.
    pub rebuilt: Option<BTreeSet<String>>,
    /// `healthy`, or what failed. Not there in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// After a failure: by service what its container is now, as far as that is known.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub runs: Option<BTreeMap<String, RunsNow>>,
}

/// What a service's container is.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RunsNow {
    /// The image it was made from.
    pub image_id: String,
    /// Docker's word for its state.
    pub status: String,
}

impl super::Part for RollbackFacts {
    const TOOL: &'static str = "rollback";
}
