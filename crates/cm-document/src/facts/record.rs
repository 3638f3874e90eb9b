//! What `cm-record` wrote down, and whom it told.

use crate::Event;
use crate::lenient::known_word;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was recorded.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RecordFacts {
    /// The hosts whose ledger has the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// What became of the deploy event.
    #[serde(deserialize_with = "known_word", skip_serializing_if = "Option::is_none")]
    pub event: Option<RecordedEvent>,
}

/// The deploy event of a run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RecordedEvent {
    /// `delivered`, `waits`, `rejected`, `lost` or `not configured`.
    Sent(String),
    /// In a dry run: what would be sent.
    ToSend(Box<Event>),
}

impl super::Part for RecordFacts {
    const TOOL: &'static str = "record";
}
