//! What a probe heard, and how long it listens.

use std::time::Duration;

/// A container in the same engine answers within this time, or is not healthy.
pub const LIMIT: Duration = Duration::from_secs(3);

/// What a probe heard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The service answered and is content.
    Content,
    /// It did not answer, or it complains.
    Bad(String),
    /// Its command did not end in time, and may still run in the container.
    Hung(String),
    /// It could not be asked.
    NotAsked(String),
    /// It is still being asked.
    Pending,
}
