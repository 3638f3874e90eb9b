//! How long Swarm has to watch a new task before it may call it good. By itself it is 5 s: shorter than most health
//! checks take to fail, so that a broken release counts as a success.

use crate::value::number;
use serde_json::Value;
use std::time::Duration;

/// Swarm's own.
const LEAST: Duration = Duration::from_secs(5);

/// What the engine takes between the last failed check and saying so.
const SLACK: Duration = Duration::from_secs(2);

/// Docker's own interval, and how often a check may fail.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u64 = 3;

/// The time in which a health check of `service` can say no: `start_period + interval × retries`, and a little.
pub(crate) fn monitor(service: &Value) -> Duration {
    let Some(check) = service.get("healthcheck").filter(|check| check.get("test").is_some()) else { return LEAST };
    let time = |key: &str| check.get(key).and_then(Value::as_str).and_then(duration);
    let retries = Some(number(check, "/retries")).filter(|retries| *retries > 0).unwrap_or(RETRIES);
    let retries = u32::try_from(retries).unwrap_or(u32::MAX);
    let checks = time("interval").unwrap_or(INTERVAL).saturating_add(time("timeout").unwrap_or_default());
    let all = checks.saturating_mul(retries).saturating_add(time("start_period").unwrap_or_default());
    LEAST.max(all.saturating_add(SLACK))
}

/// A length of time as Compose writes it: `1m30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let count: f64 = rest[..end].parse().ok()?;
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, seconds) = units.into_iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        total += count * seconds;
        rest = &rest[end + unit.len()..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn swarm_watches_for_as_long_as_a_check_takes_to_fail() {
        let of = |check: Value| monitor(&json!({"healthcheck": check})).as_secs_f64();
        let check =
            json!({"test": ["CMD", "x"], "start_period": "1m0s", "interval": "10s", "timeout": "5s", "retries": 4});
        assert_eq!(of(check), 60.0 + 15.0 * 4.0 + 2.0);
        assert_eq!(of(json!({"test": ["CMD", "x"]})), 92.0, "Docker's own");
        assert_eq!(of(json!({"disable": true})), 5.0);
        assert_eq!(monitor(&json!({})), LEAST);
    }

    #[test]
    fn times_are_read_as_compose_writes_them() {
        for (text, ms) in [("1m30s", 90_000), ("500ms", 500), ("1h0m0.5s", 3_600_500)] {
            assert_eq!(duration(text).map(|time| time.as_millis()), Some(ms), "{text}");
        }
        assert_eq!((duration("soon"), duration("5"), duration("5x")), (None, None, None));
    }
}
