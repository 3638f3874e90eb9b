//! Time as documents and records write it: RFC 3339, UTC, milliseconds.

use jiff::{Timestamp, Unit};

/// Now, as `2026-05-04T09:30:00.123Z`.
pub fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}

/// How many seconds ago `text` was, RFC 3339; `None` if it is no time. Never negative.
pub fn seconds_since(text: &str) -> Option<u64> {
    let at: Timestamp = text.parse().ok()?;
    Some(Timestamp::now().duration_since(at).as_secs().max(0).unsigned_abs())
}

/// A length of time for people: `40 s`, `12 min`, `5 h`, `3 d`.
pub fn rough(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
