//! Messages for people, and whether one of them was a warning: the stage of a run
//! that had something to warn of is marked as such.

use cm_core::Log;
use std::cell::Cell;

/// A log that remembers whether it warned.
pub struct Notes {
    /// Where messages go.
    pub log: Log,
    warned: Cell<bool>,
}

impl Notes {
    /// Nothing was said yet.
    pub fn new(log: &Log) -> Self {
        Notes { log: log.clone(), warned: Cell::new(false) }
    }

    /// Something to look at.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.warned.set(true);
        self.log.warn(message);
    }

    /// Whether anything was warned of.
    pub fn warned(&self) -> bool {
        self.warned.get()
    }
}
