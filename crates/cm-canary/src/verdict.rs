//! The three things that a canary can come to.

use serde::Serialize;

/// What a canary came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that would have shown is there.
    Pass,
    /// The new release is worse, or fails grossly.
    Fail,
    /// It cannot be said.
    Inconclusive,
}
