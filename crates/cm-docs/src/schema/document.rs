//! The document `cm.deployment/1` as types. Programs keep the document as
//! JSON, so that unknown fields survive; these types exist to describe it, and what
//! programs write is held against them by tests.

use cm_core::facts::Facts;
use cm_core::{RunError, Service, Stage, Undo};
use schemars::JsonSchema;
use serde::Serialize;

/// One deployment, as it travels through a pipe: one JSON object on one line. Fields that
/// a program does not know come out as they went in.
#[derive(JsonSchema, Serialize)]
#[schemars(title = "cm.deployment/1")]
pub struct Document {
    /// `cm.deployment/1`. A reader accepts any `cm.deployment/1.x` and refuses everything else.
    #[schemars(regex(pattern = r"^cm\.deployment/1(\..*)?$"))]
    pub schema: String,
    /// Who started the run, and when.
    pub run: Run,
    /// The project's name.
    pub project: Option<String>,
    /// The branch that is deployed.
    pub branch: Option<String>,
    /// The full id of the commit that is deployed.
    pub commit: Option<String>,
    /// What the deployment has come to so far: `ok`, `failed` or `rolled_back`. Any other word reads as `failed`.
    pub status: String,
    /// The plan: every service of the compose file, and what is to be done to it.
    pub services: Vec<Service>,
    /// What each program did, oldest first; every program appends one entry.
    pub stages: Vec<Stage>,
    /// What each program found out, under its name without `cm-`; it writes no other's.
    pub facts: Facts,
    /// What takes the changes back, oldest first. It is journalled before a change is made. Its `kind` is
    /// `release` for what cm-build changes, described here.
    pub undo: Vec<Undo>,
    /// The failure of the stage that failed first; null while there is none.
    pub error: Option<RunError>,
}

/// A run.
#[derive(JsonSchema, Serialize)]
pub struct Run {
    /// A UUID of version 7; `CM_RUN_ID` can choose it.
    pub id: String,
    /// Who deploys: `CM_ACTOR`, else USER@HOSTNAME.
    pub actor: String,
    /// When, RFC 3339 in UTC.
    pub started_at: String,
    /// Whether every program only says what it would do.
    pub dry_run: bool,
}
