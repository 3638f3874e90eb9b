//! What `cm-build` did, host by host, and what of it can be undone.

use super::{CanaryReport, known, known_list, known_word};
use crate::Action;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was built and switched.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildFacts {
    /// In a dry run: the flags that the plan was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<BuildPlan>,
    /// By host.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub hosts: Option<BTreeMap<String, BuiltHost>>,
    /// By host the image names that cm-build prune removed.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
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
    /// Its canary; null where cm.toml has none for it.
    #[serde(deserialize_with = "known_word")]
    pub canary: Option<ServiceCanary>,
    /// In a dry run: how long it took the last time.
    pub last_update_ms: Option<u64>,
}

/// The canary of a service whose new containers come before its old ones leave.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ServiceCanary {
    /// What its first new container came to alongside the old one, as `facts.verify.canary`.
    Report(Box<CanaryReport>),
    /// In a dry run: why it would not be asked.
    NotAsked {
        /// For people.
        not_asked: String,
    },
    /// In a dry run: what it would be asked, and how often.
    Asked {
        /// The URL.
        url: String,
        /// How many requests.
        requests: u32,
    },
}

impl ServiceCanary {
    /// What it came to, if it was asked.
    pub fn report(&self) -> Option<&CanaryReport> {
        if let ServiceCanary::Report(report) = self { Some(report) } else { None }
    }
}

impl<'de> Deserialize<'de> for ServiceCanary {
    /// A report has a verdict; what would be asked has none.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("verdict").is_some_and(Value::is_string) {
            return Ok(ServiceCanary::Report(Box::new(CanaryReport::deserialize(value).map_err(Error::custom)?)));
        }
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(not_asked) = text("not_asked") {
            return Ok(ServiceCanary::NotAsked { not_asked });
        }
        let requests = value.get("requests").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        let (Some(url), Some(requests)) = (text("url"), requests) else {
            return Err(Error::custom("neither a canary's report nor what it would be asked"));
        };
        Ok(ServiceCanary::Asked { url, requests })
    }
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
