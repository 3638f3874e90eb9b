//! What `cm-detect` found out: what is deployed, and what it was compared with.

use super::EffectiveHost;
use crate::lenient::{known_if_readable, known_list, known_word};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is deployed, and what it was compared with.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct DetectFacts {
    /// The commit that is deployed.
    pub head: Option<String>,
    /// As which branch.
    pub branch: Option<String>,
    /// Whether a person named the branch, which then need not be checked out.
    pub branch_named: Option<bool>,
    /// By host and service the commit that runs, null where nothing is known to; with --base only `all`.
    #[serde(deserialize_with = "known_word")]
    pub bases: Option<BTreeMap<String, Bases>>,
    /// By host the newest release in its ledger; a host without any, or that was not asked, is missing.
    #[serde(deserialize_with = "known_if_readable")]
    pub releases: Option<BTreeMap<String, String>>,
    /// How many services the plan names, those that stay as they are among them.
    pub services: Option<u64>,
    /// Whether everything is rebuilt.
    pub full: Option<bool>,
    /// The services that flags named, null for all.
    pub selected: Option<BTreeSet<String>>,
    /// Services that changed and were not asked for.
    pub not_selected: Option<Vec<String>>,
    /// The hosts that flags named, null for all.
    pub selected_hosts: Option<BTreeSet<String>>,
    /// How many files differ.
    pub changed_files: Option<u64>,
    /// Changed files that no service depends on, at most 500 of them.
    pub unmapped: Option<Vec<String>>,
    /// How many there are.
    pub unmapped_count: Option<u64>,
    /// Changed files that the servers keep their own version of.
    pub protected: Option<Vec<String>>,
    /// Services that changed and whose images cannot be built.
    pub broken: Option<Vec<String>>,
    /// Services that are gone from the compose file.
    pub removed: Option<Vec<String>>,
    /// By host what its own Compose says of the project, where it was asked. Later programs go by it.
    #[serde(deserialize_with = "known_if_readable")]
    pub effective: Option<BTreeMap<String, EffectiveHost>>,
    /// How many commits the remote branch does not have yet, if it is known.
    pub unpushed: Option<u64>,
    /// Uncommitted files, which are not deployed.
    pub dirty: Option<Dirty>,
    /// What came since the oldest of the bases, newest first, at most 50 commits of it.
    #[serde(deserialize_with = "known_list")]
    pub commits: Option<Vec<Commit>>,
}

/// The commit of what runs: of the services of a host, or with --base of all.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Bases {
    /// Of all.
    All(Option<String>),
    /// By service.
    Services(BTreeMap<String, Option<String>>),
}

/// A commit that is deployed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Commit {
    /// Its full id.
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    pub at: Option<String>,
    /// By whom.
    pub author: String,
    /// The first paragraph of its message.
    pub subject: String,
}

/// Uncommitted files.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Dirty {
    /// How many; null where nobody could look.
    pub count: Option<u64>,
    /// The first of them.
    pub files: Vec<String>,
    /// The services they would have changed.
    pub services: Vec<String>,
}

impl super::Part for DetectFacts {
    const TOOL: &'static str = "detect";
}
