//! What `cm-build` did, host by host, and what of it can be undone.

use super::{CanaryReport, JobOutcome};
use crate::lenient::{known, known_list, known_word, nullable};
use crate::{Action, Reason};
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
    /// The commit of the checkout; empty where nothing is checked out.
    pub head: Option<String>,
    /// The last release in the host's ledger.
    pub release: Option<String>,
    /// By planned service the ids of its containers.
    #[serde(deserialize_with = "known")]
    pub containers: Option<BTreeMap<String, Vec<String>>>,
}

/// How far cm-build got on a host.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Nothing was changed, or it was put back.
    Nothing,
    /// The checkout is being moved.
    Moving,
    /// The checkout is moved.
    Moved,
    /// The images are built.
    Built,
    /// Containers are being replaced.
    Switching,
    /// All is done.
    Done,
}

/// What was done on a host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuiltHost {
    /// The name of the Compose project there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout: Option<String>,
    /// The commit it was at, null where nothing was checked out.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub from: Option<Option<String>>,
    /// The commit it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The protected files, as they were found and left.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub protected: Option<Vec<Protected>>,
    /// In a dry run: the files that change, at most 500 of them; null where that cannot be known.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub files: Option<Option<Vec<String>>>,
    /// In a dry run: how many there are.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub files_count: Option<Option<u64>>,
    /// By service.
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, BuiltService>>,
    /// The jobs and release commands of the release that belong to this host, in their order.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Vec<JobRun>>,
    /// Files of the release that are irreversible migrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<Vec<String>>,
    /// How far it got.
    #[serde(deserialize_with = "known_word", skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// In a dry run: what would be done, one command a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// In a dry run: the names of old images that could go afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_removed: Option<Vec<String>>,
    /// In a dry run: the most room that one of the last builds took, in bytes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub build_bytes: Option<Option<u64>>,
    /// In a dry run: how much is free where Docker keeps its images, in bytes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<Option<u64>>,
    /// In a dry run: what the plan rests on.
    #[serde(deserialize_with = "known_word", skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
}

/// A protected file, as it was found and left.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Protected {
    /// Its path, relative to the checkout.
    pub path: String,
    /// Inode, mode, owner and size, as `stat` says them; or `absent`.
    pub stat: String,
    /// SHA-256 of the content; empty for what is no regular file.
    pub sha256: String,
}

/// What was done to a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BuiltService {
    /// What was planned.
    #[serde(deserialize_with = "known_word", skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// In a dry run: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<Reason>>,
    /// The image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image's id, empty if it was not got to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The tag that keeps the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Compose's hash of the service's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Whether the service was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<bool>,
    /// Whether it is a job: run once before anything is replaced, with no container that stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<bool>,
    /// The image it ran before; null where it did not run.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub previous_image_id: Option<Option<String>>,
    /// Its containers now; null where it was not got to.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub container_ids: Option<Option<Vec<String>>>,
    /// How long its image was built, in milliseconds, from what the builder said first of it to the last; null where
    /// it was not built.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub build_ms: Option<Option<u64>>,
    /// In which order its containers are replaced, and why: `rolling` or `stop-first`; null where none is.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub update: Option<Option<String>>,
    /// How long that took, in milliseconds.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub update_ms: Option<Option<u64>>,
    /// How long nothing of it ran meanwhile, in milliseconds, without its own start; null where nobody knows, or there was no gap.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<Option<u64>>,
    /// Its canary; null where cm.toml has none for it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub canary: Option<Option<ServiceCanary>>,
    /// In a dry run: how long it took the last time; null where nobody knows.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub last_update_ms: Option<Option<u64>>,
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
    /// What became of it.
    pub outcome: JobOutcome,
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
