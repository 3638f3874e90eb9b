//! One release as a host remembers it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema of a record.
pub const SCHEMA: &str = "cm.release/1";

/// What became of a release. A word this version does not know is not good.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Services were switched, the outcome is not known: it runs, or its run was killed.
    Pending,
    /// Healthy and verified.
    Verified,
    /// Healthy; verification was skipped on purpose. No target of a rollback.
    Healthy,
    /// Not healthy, or verification failed, and it was left in place.
    Failed,
    /// It failed and the services were taken back to what `services` says.
    RolledBack,
    /// Written by a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Verdict {
    /// Whether what the record's `services` say can be gone back to.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Verified | Verdict::RolledBack)
    }

    /// Whether the release did what was asked of it, verified or not.
    pub fn did_well(self) -> bool {
        self.is_good() || self == Verdict::Healthy
    }

    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pending => "pending",
            Verdict::Verified => "verified",
            Verdict::Healthy => "healthy",
            Verdict::Failed => "failed",
            Verdict::RolledBack => "rolled_back",
            Verdict::Unknown => "unknown",
        }
    }
}

/// What a service runs after the release.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ServiceState {
    /// The full id of the commit its image and configuration come from.
    pub commit: String,
    /// The image's name in the compose file, without cm's tag.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// The immutable tag that keeps the image, `NAME:cm-COMMIT`; empty for images cm does not build.
    pub tag: String,
    /// Compose's hash of the service's configuration.
    pub config_hash: String,
    /// Whether the release removed the service.
    pub removed: bool,
}

/// One release on one host. `services` holds those it touched.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run's id: one release, one id, on every host.
    pub id: String,
    /// When this record was written, RFC 3339 in UTC.
    pub at: String,
    /// Who deployed.
    pub actor: String,
    /// The branch it came from.
    pub branch: String,
    /// The full commit id.
    pub commit: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What the services it touched run now.
    pub services: BTreeMap<String, ServiceState>,
    /// After a rollback: what had been tried.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attempted: BTreeMap<String, ServiceState>,
    /// The backup taken before it, as `HOST:PATH`.
    pub backup: Option<String>,
    /// Why it failed.
    pub cause: Option<String>,
}

impl Record {
    /// A record of a release whose outcome is not known yet.
    pub fn new(id: &str, actor: &str, branch: &str, commit: &str) -> Self {
        Record {
            schema: SCHEMA.to_owned(),
            id: id.to_owned(),
            at: cm_core::time::now(),
            actor: actor.to_owned(),
            branch: branch.to_owned(),
            commit: commit.to_owned(),
            verdict: Verdict::Pending,
            ..Record::default()
        }
    }
}
