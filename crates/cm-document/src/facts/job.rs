//! What became of a job of a release: in the ledger of its host, and in what cm-build says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a job. A word this version does not know says nothing: nobody runs it again unasked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// It is started, again after it failed; its container says how it ends.
    Started,
    /// It ended with 0; or a person said that it counts as done.
    Done,
    /// It ended with another exit code. The next deployment runs it again.
    Failed,
    /// It did not come to its end by itself: the server or the engine went down, there was no memory, or it took too long.
    Interrupted,
    /// A person said that it is to be run again.
    Again,
    /// What it did to the data was undone.
    Undone,
    /// Written by a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl JobOutcome {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            JobOutcome::Started => "started",
            JobOutcome::Done => "done",
            JobOutcome::Failed => "failed",
            JobOutcome::Interrupted => "interrupted",
            JobOutcome::Again => "again",
            JobOutcome::Undone => "undone",
            JobOutcome::Unknown => "unknown",
        }
    }

    /// Whether the next deployment of the same commit runs it.
    pub fn runs_again(self) -> bool {
        matches!(self, JobOutcome::Failed | JobOutcome::Again | JobOutcome::Undone)
    }
}
