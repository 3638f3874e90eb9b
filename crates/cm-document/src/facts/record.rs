//! What `cm-record` wrote down, and whom it told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was recorded.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RecordFacts {
    /// The hosts whose ledger has the outcome.
    pub hosts: Option<Vec<String>>,
    /// `delivered`, `waits`, `rejected`, `lost` or `not configured`; in a dry run the event itself.
    pub event: Option<Value>,
}

impl super::Part for RecordFacts {
    const TOOL: &'static str = "record";
}
