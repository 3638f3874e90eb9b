//! What `cm-backup` says: the backup, or why there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The backup.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BackupFacts {
    /// Whether there is a backup that was read back whole.
    pub verified: Option<bool>,
    /// Why there is none.
    pub reason: Option<String>,
    /// Its path.
    pub file: Option<String>,
    /// The host it is on, null for this machine.
    pub host: Option<String>,
    /// The path of what proves it.
    pub manifest: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// The length of the file, in bytes.
    pub bytes: Option<u64>,
    /// The database.
    pub database: Option<String>,
    /// How many collections and views are in it.
    pub namespaces: Option<u64>,
    /// How many documents.
    pub documents: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What people should look at.
    pub warnings: Option<Vec<String>>,
}

impl super::Part for BackupFacts {
    const TOOL: &'static str = "backup";
}
