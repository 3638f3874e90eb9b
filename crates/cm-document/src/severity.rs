//! How bad it is that something fails, in the runbook's own terms: what follows from it, and
//! whether a release is rolled back for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a failed check is, by the runbook's escalation table.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Severity {
    /// Nobody can work.
    P0,
    /// One service is down.
    #[default]
    P1,
    /// Slow, or wrong now and then.
    P2,
    /// Something that can wait.
    P3,
}

impl Severity {
    /// What the runbook does about it.
    pub fn response(self) -> &'static str {
        match self {
            Severity::P0 => "immediate rollback, page on-call",
            Severity::P1 => "targeted rollback of the affected service",
            Severity::P2 => "investigate the logs, no immediate rollback",
            Severity::P3 => "fix forward in the next deploy",
        }
    }

    /// Whether the release is rolled back for it.
    pub fn takes_back(self) -> bool {
        self <= Severity::P1
    }

    /// `P0` to `P3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::P0 => "P0",
            Severity::P1 => "P1",
            Severity::P2 => "P2",
            Severity::P3 => "P3",
        }
    }
}
