//! How a job ended well: for its stage, for the document, and for the exit code.

use crate::{Exit, StageStatus, Status};

/// How a job ended well.
#[derive(Clone, Debug)]
pub struct Done {
    pub(crate) status: StageStatus,
    pub(crate) summary: String,
    pub(crate) changed: bool,
    pub(crate) exit: Exit,
    pub(crate) outcome: Option<Status>,
}

impl Done {
    fn new(status: StageStatus, summary: impl Into<String>) -> Self {
        Done { status, summary: summary.into(), changed: false, exit: Exit::Done, outcome: None }
    }

    /// It worked.
    pub fn ok(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Ok, summary)
    }

    /// It worked, and people should look at something.
    pub fn warned(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Warned, summary)
    }

    /// There was nothing to do.
    pub fn skipped(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Skipped, summary)
    }

    /// An earlier stage failed, so nothing was done: for programs that accept any document, but
    /// not in every use.
    pub fn refused(summary: impl Into<String>) -> Self {
        let mut done = Done::skipped(summary);
        done.exit = Exit::Refused;
        done
    }

    /// The services were rolled back: the deployment failed, the rollback did not.
    pub fn rolled_back(summary: impl Into<String>) -> Self {
        let mut done = Done::new(StageStatus::Ok, summary).changed(true);
        done.exit = Exit::RolledBack;
        done.outcome = Some(Status::RolledBack);
        done
    }

    /// It worked, but for something besides it that people should look at.
    #[must_use]
    pub fn warned_of(mut self, what: &str) -> Self {
        self.status = StageStatus::Warned;
        self.summary = format!("{}; {what}", self.summary);
        self
    }

    /// Whether anything was changed.
    #[must_use]
    pub fn changed(mut self, changed: bool) -> Self {
        self.changed = changed;
        self
    }
}
