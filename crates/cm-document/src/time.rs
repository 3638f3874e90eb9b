//! Time as documents and records write it (RFC 3339, UTC, milliseconds), and lengths of time as people do.

use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp, Unit};
use std::time::Duration;

/// Now, as `2026-05-04T09:30:00.123Z`.
pub fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}

/// Reads a length of time as every file and flag of cm takes it: `500ms`, `90s`, `1m30s`, `1h`, `30d`, `4w`.
///
/// # Errors
/// What is wrong with it, as a fragment.
pub fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a length of time such as 10s, 2m, 1h30m or 500ms");
    let span = SpanParser::new().parse_span(text.trim()).map_err(|_| wrong())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    length.try_into().map_err(|_| wrong())
}

/// How many seconds ago `text` was, RFC 3339; `None` if it is no time. Never negative.
pub fn seconds_since(text: &str) -> Option<u64> {
    let at: Timestamp = text.parse().ok()?;
    Some(Timestamp::now().duration_since(at).as_secs().max(0).unsigned_abs())
}

/// A measured length of time for people: `12 ms`, `3.4 s`, `2 min 5 s` or `6 h`.
pub fn span(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 if ms % 1_000 < 50 => format!("{s} s"),
        1_000..120_000 => format!("{:.1} s", duration.as_secs_f64()),
        120_000..7_200_000 => format!("{} min {} s", s / 60, s % 60),
        _ if s / 60 % 60 == 0 => format!("{} h", s / 3600),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// Whole milliseconds, for records.
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// An RFC 3339 time for people: local, with its offset from UTC. What is not a time stays as it is.
pub fn local(at: &str) -> String {
    let time = at.parse::<Timestamp>().map(|at| at.to_zoned(TimeZone::system()));
    time.map_or_else(|_| at.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// A moment as [`local`] writes it, from now: `12 min ago`; `None` for what is none, or is to come.
pub fn ago(local: &str) -> Option<String> {
    let read = jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S %:z", local).and_then(|time| time.to_timestamp());
    seconds_since(&read.ok()?.to_string()).map(|seconds| format!("{} ago", rough(seconds)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_from_now() {
        let at = Timestamp::now() - std::time::Duration::from_secs(250);
        assert_eq!(ago(&local(&at.to_string())).as_deref(), Some("4 min ago"));
        assert_eq!((ago("yesterday"), ago("-")), (None, None));
    }

    #[test]
    fn lengths_of_time_are_read_everywhere_alike() {
        let day = 86_400_000;
        for (text, milliseconds) in [
            ("180s", 180_000),
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("12h", day / 2),
            ("30d", 30 * day),
            ("4w", 28 * day),
            ("0s", 0),
        ] {
            assert_eq!(length(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "soon",
            "-1s",
            "-5",
            "1h30",
            "1mo",
            "1 hour ago",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn measured_times_are_short() {
        let long = [(125_000, "2 min 5 s"), (21_600_000, "6 h"), (7_260_000, "2 h 1 min")];
        for (ms, text) in [(12, "12 ms"), (3_400, "3.4 s"), (10_000, "10 s"), (10_012, "10 s")].into_iter().chain(long)
        {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }
}
