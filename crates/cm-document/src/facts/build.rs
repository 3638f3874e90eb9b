//! What `cm-build` did, host by host, and what of it can be undone.

use super::{CanaryFacts, known, known_list, known_word};
use crate::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was built and switched.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildFacts {
    /// In a dry run: the flags that the plan was made with.
    pub plan: Option<BuildPlan>,
    /// By host.
    #[serde(deserialize_with = "known")]
    pub hosts: Option<BTreeMap<String, BuiltHost>>,
    /// By host the image names that cm-build prune removed.
    #[serde(deserialize_with = "known")]
    pub pruned: Option<BTreeMap<String, Vec<String>>>,
}

/// How a plan is to be carried out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildPlan {
    /// Whether everything is built again and replaced.
    pub full: bool,
    /// Whether files that were changed by hand are given up.
    pub discard_local_changes: bool,
}

/// What a plan for a host rests on: if one of it is another one, the plan is refused.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Basis {
    /// The commit of the checkout.
    pub head: Option<String>,
    /// The last release in the host's ledger.
    pub release: Option<String>,
    /// By planned service the ids of its containers.
    #[serde(deserialize_with = "known")]
    pub containers: Option<BTreeMap<String, Vec<String>>>,
}

/// What was done on a host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuiltHost {
    /// In a dry run: what would be done, one command a line.
    pub steps: Option<Vec<String>>,
    /// In a dry run: the files that change, at most 500 of them; null where that cannot be known.
    pub files: Option<Vec<String>>,
    /// How many there are.
    pub files_count: Option<u64>,
    /// In a dry run: the names of old images that could go afterwards.
    pub images_removed: Option<Vec<String>>,
    /// In a dry run: the most room that one of the last builds took, in bytes.
    pub build_bytes: Option<u64>,
    /// In a dry run: how much is free where Docker keeps its images, in bytes.
    pub free_bytes: Option<u64>,
    /// In a dry run: what the plan rests on.
    pub basis: Option<Basis>,
    /// How far it got: `nothing`, `moving` or `moved` (the checkout), `built`, `switching` (the containers) or `done`.
    pub reached: Option<String>,
    /// The name of the Compose project there.
    pub project: Option<String>,
    /// The checkout.
    pub checkout: Option<String>,
    /// The commit it was at.
    pub from: Option<String>,
    /// The commit it is at.
    pub to: Option<String>,
    /// The protected files, as they were found and left.
    pub protected: Option<Vec<Protected>>,
    /// By service.
    #[serde(deserialize_with = "known")]
    pub services: Option<BTreeMap<String, BuiltService>>,
    /// The jobs and release commands of the release that belong to this host, in their order.
    #[serde(deserialize_with = "known_list")]
    pub jobs: Option<Vec<JobRun>>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
}

/// A protected file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Protected {
    /// Its path, relative to the checkout.
    pub path: String,
}

/// What was done to a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuiltService {
    /// What was planned.
    #[serde(deserialize_with = "known_word")]
    pub action: Option<Action>,
    /// The image's name.
    pub image: Option<String>,
    /// The image's id, empty if it was not got to.
    pub image_id: Option<String>,
    /// The tag that keeps the image.
    pub tag: Option<String>,
    /// Compose's hash of the service's configuration.
    pub config_hash: Option<String>,
    /// Whether the service was removed.
    pub removed: Option<bool>,
    /// Whether it is a job: run once before anything is replaced, with no container that stays.
    pub job: Option<bool>,
    /// The image it ran before.
    pub previous_image_id: Option<String>,
    /// Its containers now.
    pub container_ids: Option<Vec<String>>,
    /// In which order its containers are replaced, and why: `rolling` or `stop-first`.
    pub update: Option<String>,
    /// How long that took, in milliseconds.
    pub update_ms: Option<u64>,
    /// How long nothing of it ran meanwhile, in milliseconds, without its own start; null where nobody knows, or there was no gap.
    pub gap_ms: Option<u64>,
    /// What its first new container came to beside the old one, as `facts.verify.canary`; null where cm.toml has no
    /// canary for it. In a dry run what it would be asked, `url` and `requests`, or why it is not: `not_asked`.
    #[serde(deserialize_with = "known_word")]
    pub canary: Option<CanaryFacts>,
    /// In a dry run: how long it took the last time.
    pub last_update_ms: Option<u64>,
}

/// A job or release command of a release.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct JobRun {
    /// The service, or `SERVICE: COMMAND`.
    pub name: String,
    /// The service it is, or in whose image it ran.
    pub service: String,
    /// The command, null for that of the service itself.
    pub command: Option<Vec<String>>,
    /// What became of it: `done`, `failed`, `interrupted` or `unknown`.
    pub outcome: String,
    /// Its exit code, null where it had none.
    pub exit_code: Option<i64>,
    /// Why it was interrupted.
    pub cause: Option<String>,
    /// Its container.
    pub container: String,
    /// Whether this run started or followed it; else it had ended before.
    pub ran: bool,
    /// How long this run waited for it, in milliseconds.
    pub duration_ms: u64,
    /// The file on the deploying machine with what it said.
    pub log: Option<String>,
}

impl BuiltService {
    /// Whether the run got to it: a service whose image did not build runs what it ran before.
    pub fn was_reached(&self) -> bool {
        self.removed == Some(true) || self.image_id.as_ref().is_some_and(|id| !id.is_empty())
    }
}

impl super::Part for BuildFacts {
    const TOOL: &'static str = "build";
}
