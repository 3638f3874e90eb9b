//! The data contract of cm: the document that travels through a pipe, the steps of a
//! deployment, failures with their codes and hints, and the exit codes. Everything that two
//! programs, or two versions of one, must agree on is here and nowhere else; this crate knows
//! no command line, no runtime and no network, so that anything can read a document with it.

mod bounds;
pub mod codes;
mod cut;
mod document;
mod event;
mod exit;
pub mod facts;
mod failure;
mod json;
mod lenient;
mod names;
mod options;
mod plan;
mod reading;
mod severity;
mod stage;
mod step;
pub mod time;
mod undo;
mod words;

pub use bounds::{MAX_ENTRIES, MAX_VALUES};
pub use cut::{MAX_STRING, cut};
pub use document::{Document, SCHEMA, Status};
pub use event::{EVENT_SCHEMA, Event, EventError, EventService, EventStage, EventStatus};
pub use exit::Exit;
pub use facts::{Part, ServiceState};
pub use failure::{Failure, OrFail, Result};
pub use json::parse_strict;
pub use names::{BranchName, CommitId, HostName, ImageRef, ProjectName, RunId, ServiceName};
pub use options::Skip;
pub use plan::{Action, Reason, Service};
pub use reading::MAX_BYTES;
pub use severity::Severity;
pub use stage::{RunError, Stage, StageStatus};
pub use step::Step;
pub use undo::{Undo, UndoOther, UndoRelease, UndoService};
pub use words::{all_healthy, decapitalized, plural, size};
