//! The deploy event: a finished deployment as the ops API gets it. It holds what a reader of a
//! timeline wants, and nothing secret.

use crate::{Action, StageStatus, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The schema of an event.
pub const EVENT_SCHEMA: &str = "cm.deploy-event/1";

/// A finished deployment, as the ops API gets it: what a reader of a timeline wants.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[schemars(title = "cm.deploy-event/1")]
pub struct Event {
    /// `cm.deploy-event/1`.
    #[schemars(regex(pattern = r"^cm\.deploy-event/1(\..*)?$"))]
    pub schema: String,
    /// The run's id.
    pub id: String,
    /// The project's name.
    pub project: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The full commit id.
    pub commit: Option<String>,
    /// How it ended.
    pub status: EventStatus,
    /// Who deployed.
    pub actor: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it was recorded, RFC 3339 in UTC.
    pub finished_at: String,
    /// How long it took, in seconds.
    pub duration_s: u64,
    /// The services that were planned to change.
    pub services: Vec<EventService>,
    /// What each program did.
    pub stages: Vec<EventStage>,
    /// What failed first, if anything did.
    pub error: Option<EventError>,
    /// The backup's file, if there is one; of several, the first.
    pub backup: Option<String>,
    /// Every backup's file, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It worked.
    Succeeded,
    /// It failed.
    Failed,
    /// It failed, and what ran before runs again.
    RolledBack,
    /// It was interrupted, and nobody resumed it.
    Abandoned,
}

impl EventStatus {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            EventStatus::Succeeded => "succeeded",
            EventStatus::Failed => "failed",
            EventStatus::RolledBack => "rolled_back",
            EventStatus::Abandoned => "abandoned",
        }
    }
}

/// A service in an event.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct EventService {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// What was planned.
    pub action: Action,
}

/// A stage in an event.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct EventStage {
    /// The program.
    pub tool: String,
    /// Which step of the deployment it was.
    pub step: Option<Step>,
    /// How it ended.
    pub status: StageStatus,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// One line for people.
    pub summary: String,
}

/// The failure in an event.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct EventError {
    /// The program that failed.
    pub stage: String,
    /// Its code.
    pub code: String,
    /// Its message.
    pub message: String,
}
