//! What a service runs: in the ledger of its host, and in what a rollback says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a service runs after the release.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
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
    /// How long its containers took to be replaced, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_ms: Option<u64>,
    /// How long its image was built, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_ms: Option<u64>,
    /// What its first new container came to alongside the old one: `pass`, `fail` or `inconclusive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
}

impl ServiceState {
    /// Whether going from one to the other would change nothing.
    pub fn is_same(&self, other: &ServiceState) -> bool {
        self.commit == other.commit && self.image_id == other.image_id && self.removed == other.removed
    }
}
