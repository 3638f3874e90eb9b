//! Time as documents and records write it: RFC 3339, UTC, milliseconds.

use jiff::{Timestamp, Unit};

/// Now, as `2026-05-04T09:30:00.123Z`.
pub fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}
