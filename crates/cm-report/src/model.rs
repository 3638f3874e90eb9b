//! What the page shows of a deployment.

use crate::text::Text;
use cm_document::{StageStatus, Step};
use jiff::Timestamp;

/// How something ended, for its colour and its mark.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tone {
    Good,
    Warn,
    Bad,
    #[default]
    None,
}

/// A deployment.
#[derive(Debug, Default)]
pub struct Report {
    pub project: Text,
    pub branch: Text,
    pub commit: Text,
    pub run: Text,
    pub actor: Text,
    pub began: Option<Timestamp>,
    /// Milliseconds from its begin to the end of its last stage.
    pub length_ms: u64,
    pub outcome: (Tone, &'static str),
    pub error: Option<Error>,
    pub commits: Vec<Commit>,
    pub stages: Vec<Stage>,
    pub services: Vec<Service>,
    pub unchanged: Vec<Text>,
    pub health: Vec<Watched>,
    pub remarks: Vec<Text>,
    /// Those of rolling services in the order of their names, then that from outside.
    pub canaries: Vec<Canary>,
    pub checks: Vec<Check>,
    pub rollback: Vec<WentBack>,
    pub backups: Vec<Backup>,
    /// What became of the event for the ops API.
    pub event: Text,
    /// The hosts whose ledger has the outcome.
    pub ledgers: Vec<Text>,
}

#[derive(Debug)]
pub struct Error {
    pub stage: Text,
    pub code: Text,
    pub message: Text,
    pub causes: Vec<Text>,
    pub hint: Text,
    pub exit: Text,
}

#[derive(Debug)]
pub struct Commit {
    pub id: Text,
    pub author: Text,
    pub subject: Text,
}

#[derive(Debug)]
pub struct Stage {
    pub tool: Text,
    pub step: Option<Step>,
    pub status: StageStatus,
    pub tone: Tone,
    pub summary: Text,
    /// Milliseconds since the run began.
    pub at_ms: u64,
    pub length_ms: u64,
    /// How long it took on each host and how it ended there, where that is known.
    pub hosts: Vec<(Text, u64, Tone)>,
}

#[derive(Debug)]
pub struct Service {
    pub name: Text,
    pub host: Text,
    pub action: Text,
    pub reasons: Vec<Text>,
    pub before: Text,
    pub after: Text,
    pub image: Text,
    pub removed: bool,
    /// Gone back to `before` in the end.
    pub taken_back: bool,
}

#[derive(Debug)]
pub struct Watched {
    pub service: Text,
    pub host: Text,
    pub tone: Tone,
    pub message: Text,
    pub readings: u64,
    pub waited_ms: u64,
    pub said: Text,
    pub log: Vec<Text>,
    /// From when on it looked how, in milliseconds.
    pub timeline: Vec<(u64, Text)>,
}

#[derive(Debug, Default)]
pub struct Canary {
    /// The service whose new container was asked alongside the old one, and its host; empty
    /// for the canary from outside.
    pub of: Text,
    pub url: Text,
    pub tone: Tone,
    pub message: Text,
    pub severity: Text,
    pub new: Side,
    pub old: Option<Side>,
    /// What users got before and since, where they were enough to count or not.
    pub users: Option<(Side, Side)>,
}

/// One release under the canary's requests.
#[derive(Debug, Default)]
pub struct Side {
    pub requests: Text,
    pub failures: Text,
    pub median: Option<f64>,
    pub p95: Option<f64>,
    /// At 0, 5, …, 100 % of the good answers.
    pub percentiles: Vec<f64>,
}

#[derive(Debug)]
pub struct Check {
    pub name: Text,
    pub tone: Tone,
    pub verdict: Text,
    pub message: Text,
    pub url: Text,
}

#[derive(Debug)]
pub struct WentBack {
    pub host: Text,
    pub commit: Text,
    pub outcome: Text,
    pub services: Vec<Text>,
}

#[derive(Debug)]
pub struct Backup {
    pub verified: bool,
    pub place: Text,
    pub reason: Text,
    pub bytes: Option<u64>,
    pub contents: Text,
    /// What became of its copy elsewhere, and whether that is a copy.
    pub copy: Option<(bool, Text)>,
}
