//! What Docker remembers of a container's past, measured with the host's own clocks: how long
//! its process has run, and for how long its health checks have passed.
//!
//! Dates count only where nothing speaks against them. The wall clock may have been set, so the
//! kernel's clock has to agree that the process is that old. Docker keeps the results of checks
//! over a restart, so those from before it are left out, and a gap between two results (the
//! container was paused, or the host asleep) ends what is known. Whatever cannot be compared
//! is not evidence: `None`.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The host's clocks first, so that nothing seems older than it is; then, for each process, what
/// the kernel says of it; then `docker inspect`. Without `/proc` or a fine clock only that.
pub const INSPECT: &str = r#"
[ -n "$ids" ] || exit 0
read -r up rest </proc/uptime && printf 'clocks %s %s\n' "$(date +%s.%N)" "$up"
failed=0
found=$(docker inspect --type container -- $ids) || failed=$?
for pid in $(printf '%s\n' "$found" | sed -n 's/^ *"Pid": \([1-9][0-9]*\),$/\1/p'); do
    { read -r line </proc/"$pid"/stat; } 2>/dev/null && printf 'process %s\n' "$line"
done
printf '%s\n' "$found"
exit "$failed""#;

/// The kernel counts the start of a process in this unit (`USER_HZ`, the same on all of Linux that Docker runs on).
const TICKS_PER_SECOND: f64 = 100.0;

/// What Docker takes for the interval and the time limit of a health check that has none.
const DEFAULT_CHECK: Duration = Duration::from_secs(30);

/// How many results of checks Docker keeps (`maxLogEntries` of its `daemon/health.go`).
const KEPT_CHECKS: usize = 5;

/// A check may begin so much later than it is due on a busy host.
const LATE: Duration = Duration::from_secs(5);

/// A check may end so much after the clock was read: the containers are looked at after it.
const AFTER: Duration = Duration::from_secs(2);

/// The host's clocks at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clocks {
    now: Option<Timestamp>,
    /// Since the host's start, asleep or not.
    uptime: Duration,
    /// By process, when it was started, since the host's start.
    started: BTreeMap<u64, Duration>,
}

impl Clocks {
    /// Takes the lines about clocks and processes off the answer to [`INSPECT`].
    pub fn split(answer: &[u8]) -> (Clocks, &[u8]) {
        let (mut clocks, mut rest) = (Clocks::default(), answer);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..end]);
            match line.split_once(' ') {
                Some(("clocks", words)) => clocks.read_clocks(words),
                Some(("process", stat)) => clocks.started.extend(process(stat)),
                _ => return (clocks, rest),
            }
            rest = &rest[end + 1..];
        }
        (clocks, rest)
    }

    fn read_clocks(&mut self, words: &str) {
        let Some((now, uptime)) = words.split_once(' ') else { return };
        let Some((seconds, nanoseconds)) = now.split_once('.') else { return };
        let now = seconds.parse().ok().zip(nanoseconds.parse().ok());
        self.now = now.and_then(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).ok());
        self.uptime = uptime.parse().ok().and_then(|up| Duration::try_from_secs_f64(up).ok()).unwrap_or_default();
    }

    /// How long ago `at` was; `None` for a time to come.
    fn since(&self, at: Timestamp) -> Option<Duration> {
        self.now?.duration_since(at).try_into().ok()
    }
}

/// The process and its start, of a line of `/proc/PID/stat`. Its name, in brackets, is its own choice.
fn process(stat: &str) -> Option<(u64, Duration)> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let ticks: f64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some((pid, Duration::try_from_secs_f64(ticks / TICKS_PER_SECOND).ok()?))
}

/// How long the container's process has run without an end, if it runs.
pub fn ran(container: &Value, clocks: &Clocks) -> Option<Duration> {
    if container.pointer("/State/Status").and_then(Value::as_str) != Some("running") {
        return None;
    }
    let by_docker = clocks.since(time(container.pointer("/State/StartedAt"))?)?;
    let process = container.pointer("/State/Pid").and_then(Value::as_u64)?;
    let by_kernel = clocks.uptime.checked_sub(*clocks.started.get(&process)?)?;
    Some(by_docker.min(by_kernel))
}

/// For how long its health checks have passed, one after the other, up to now; at most `ran`.
pub fn checks_passed(container: &Value, clocks: &Clocks, ran: Option<Duration>) -> Option<Duration> {
    let (ran, now) = (ran?, clocks.now?);
    let started = time(container.pointer("/State/StartedAt"))?;
    let interval = check_limit(container, "Interval");
    let longest_gap = interval + check_limit(container, "Timeout") + LATE;
    let (mut since, mut later, mut passed) = (None, now.checked_add(AFTER).ok()?, 0);
    for entry in container.pointer("/State/Health/Log")?.as_array()?.iter().rev() {
        let Some((start, end)) = time(entry.get("Start")).zip(time(entry.get("End"))) else { break };
        let gap: Result<Duration, _> = later.duration_since(end).try_into();
        let follows = start >= started && end >= start && gap.is_ok_and(|gap| gap <= longest_gap);
        if entry.get("ExitCode").and_then(Value::as_i64) != Some(0) || !follows {
            break;
        }
        (since, later, passed) = (Some(start), start, passed + 1);
    }
    let (since, dropped) = (clocks.since(since?)?, passed == KEPT_CHECKS);
    // Docker makes a check an interval after the last one's end, so that none of those that it has dropped was made
    // in that time. While a container starts the interval is another one.
    let starting = container.pointer("/Config/Healthcheck/StartPeriod").and_then(Value::as_u64).unwrap_or_default();
    let before = since + interval;
    Some(if dropped && before + Duration::from_nanos(starting) <= ran { before } else { since.min(ran) })
}

/// A limit of its health check, which has Docker's own if it has none.
fn check_limit(container: &Value, key: &str) -> Duration {
    let nanoseconds = container.pointer(&format!("/Config/Healthcheck/{key}")).and_then(Value::as_u64);
    nanoseconds.filter(|number| *number > 0).map_or(DEFAULT_CHECK, Duration::from_nanos)
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A host that has been up for 1,000 s at 10:00:00; process 7 was started `age` seconds ago.
    fn clocks(age: u32) -> Clocks {
        let ticks = (1_000 - age) * 100;
        let before = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0";
        let text = format!("clocks 1764410400.500000000 1000.00\nprocess 7 (a ) b) {before} {ticks} 9 9\n[{{}}]\n");
        let (clocks, rest) = Clocks::split(text.as_bytes());
        assert_eq!(rest, b"[{}]\n");
        clocks
    }

    /// A container that was started `age` seconds before 10:00:00, with checks of `(begin, exit code)`, each of
    /// which took a tenth of a second; an interval of 2 s and a limit of 1 s.
    fn container(age: i64, checks: &[(i64, i64)]) -> Value {
        let at = |ago: i64, more: i64| {
            let at = Timestamp::new(1_764_410_400 - ago, 0).expect("a time");
            at.checked_add(jiff::SignedDuration::from_millis(more)).expect("a time").to_string()
        };
        let log: Vec<_> = checks
            .iter()
            .map(|(ago, code)| json!({"Start": at(*ago, 0), "End": at(*ago, 100), "ExitCode": code}))
            .collect();
        json!({
            "State": {"Status": "running", "Pid": 7, "StartedAt": at(age, 0), "Health": {"Log": log}},
            "Config": {"Healthcheck": {"Interval": 2_000_000_000_u64, "Timeout": 1_000_000_000_u64}},
        })
    }

    fn seconds(duration: Option<Duration>) -> Option<u64> {
        duration.map(|duration| duration.as_secs())
    }

    #[test]
    fn a_process_is_as_old_as_docker_and_the_kernel_agree_that_it_is() {
        for (docker, kernel, wanted) in [
            (60, 60, Some(60)),
            // The clock was set forward, or back, since it was started.
            (3_600, 60, Some(60)),
            (10, 60, Some(10)),
            // It says that it is started in the future.
            (-5, 60, None),
        ] {
            assert_eq!(seconds(ran(&container(docker, &[]), &clocks(kernel))), wanted, "{docker} {kernel}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_no_evidence() {
        let good = container(60, &[]);
        assert_eq!(ran(&good, &Clocks::default()), None, "no clock");
        let mut other = good.clone();
        other["State"]["Pid"] = json!(8);
        assert_eq!(ran(&other, &clocks(60)), None, "a process that the kernel does not know");
        for status in ["paused", "restarting", "exited", "created"] {
            let mut other = good.clone();
            other["State"]["Status"] = json!(status);
            assert_eq!(ran(&other, &clocks(60)), None, "{status}");
        }
        let coarse = b"clocks 1764410400.N 1000.00\n[]";
        assert_eq!(Clocks::split(coarse).0.now, None, "date without nanoseconds");
        assert_eq!(Clocks::split(b"[]\n"), (Clocks::default(), &b"[]\n"[..]), "an answer without clocks");
        assert_eq!(process("7 (x) S 1"), None);
    }

    #[test]
    fn checks_count_as_far_back_as_they_passed_without_a_gap() {
        let passed = |age, checks: &[(i64, i64)]| {
            let (container, clocks) = (container(age, checks), clocks(60));
            seconds(checks_passed(&container, &clocks, ran(&container, &clocks)))
        };
        for (what, age, checks, wanted) in [
            ("all that passed so far", 60, &[(7, 0), (5, 0), (3, 0), (1, 0)][..], Some(7)),
            ("five, before which others were dropped", 60, &[(9, 0), (7, 0), (5, 0), (3, 0), (1, 0)], Some(11)),
            ("five, and started just before the first one", 10, &[(9, 0), (7, 0), (5, 0), (3, 0), (1, 0)], Some(9)),
            ("one failed among them", 60, &[(9, 0), (7, 0), (5, 1), (3, 0), (1, 0)], Some(3)),
            ("the last one failed", 60, &[(9, 0), (7, 0), (1, 1)], None),
            ("green once, and long ago", 60, &[(50, 0)], None),
            ("a gap, as when it was paused", 60, &[(40, 0), (38, 0), (3, 0), (1, 0)], Some(3)),
            ("older than its last start", 4, &[(9, 0), (7, 0), (5, 0), (3, 0), (1, 0)], Some(3)),
            ("all of them older than its last start", 2, &[(9, 0), (7, 0), (5, 0)], None),
            ("from a time to come", 60, &[(-3_600, 0)], None),
            ("the clock was set back meanwhile", 60, &[(5, 0), (-30, 0), (1, 0)], Some(1)),
            ("none yet", 60, &[], None),
        ] {
            assert_eq!(passed(age, checks), wanted, "{what}");
        }
        let mut slow = container(60, &[(9, 0), (7, 0), (5, 0), (3, 0), (1, 0)]);
        for (start_period, wanted) in [(48_u64, Some(11)), (52, Some(9))] {
            slow["Config"]["Healthcheck"]["StartPeriod"] = json!(start_period * 1_000_000_000);
            let known = checks_passed(&slow, &clocks(60), ran(&slow, &clocks(60)));
            assert_eq!(seconds(known), wanted, "a start period of {start_period} s");
        }
        let (long, clocks) = (container(3_600, &[(5, 0), (3, 0), (1, 0)]), clocks(2));
        let known = checks_passed(&long, &clocks, ran(&long, &clocks));
        assert_eq!(seconds(known), Some(2), "never longer than its process runs");
    }
}
