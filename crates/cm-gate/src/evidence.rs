//! What helps to understand a failure: how the process ended and the last lines it
//! wrote. Gathered once, as soon as a service failed, because the engine remembers few
//! events; that it cannot be had changes nothing.
//!
//! Programs print their own secrets when they crash, so the values of the container's environment
//! are hidden on the server, before anything of it travels.

use super::verdict::Verdict;
use cm_core::redact;
use cm_host::{Host, Secrets};
use std::time::Duration;

/// How many log lines a report shows.
const LINES: usize = 20;

/// A log line is cut after this many characters.
const MAX_LINE: usize = 500;

const LIMIT: Duration = Duration::from_secs(15);

/// Before what is not all there yet is looked at once more.
const AGAIN: Duration = Duration::from_millis(500);

/// How a process ends that the kernel killed.
const KILLED: i64 = 137;

/// `$1` container, `$2` lines, then Docker's words for a log. Three parts: the exit code of the last run that ended in
/// one line, and how the engine's last events of ends and of want of memory follow each other in another (a running
/// container has forgotten both, the events have not: up to now, as `--until 0s` ends at a whole
/// second that may lie before the death); and the log.
const LOOK: &str = concat!(
    "# Looks at the end of a container.\n",
    cm_host::small_sh!(),
    r#"name=$1 lines=$2
shift 2
ends=$(docker events --since 15m --until "$(now)" --filter "container=$name" --filter event=die --filter event=oom \
  --format '{{.Action}} {{index .Actor.Attributes "exitCode"}}' 2>/dev/null)
printf '%s\n' "$ends" | sed -n 's/^die //p' | tail -n 1 | grep . || echo
printf '%s\n' "$ends" | tail -n 3 | cut -d ' ' -f 1 | tr '\n' ' '
echo
"$@" --tail "$lines" "$name" 2>&1 | tail -c 65536"#
);

/// What was found about a container that failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    exit_code: Option<i64>,
    for_memory: bool,
    /// Whether the engine may still have something to tell of this end.
    is_open: bool,
    log_tail: Vec<String>,
}

/// Looks for it; `container` is what Docker's commands take for it.
pub async fn gather(host: &Host, container: &str) -> Option<Evidence> {
    let first = look(host, container).await;
    if first.as_ref().is_some_and(|found| !found.is_open) {
        return first;
    }
    tokio::time::sleep(AGAIN).await;
    look(host, container).await.or(first)
}

impl Evidence {
    /// Reads what [`LOOK`] writes.
    fn read(text: &str) -> Evidence {
        let mut parts = text.splitn(3, '\n');
        let exit_code = parts.next().and_then(|line| line.trim().parse().ok());
        let events: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
        let log_tail = tail(parts.next().unwrap_or_default().trim_end());
        let for_memory = events.contains(&"oom");
        // The engine writes the last lines of a process down a moment after it has told its end, and tells of want of
        // memory a moment before or after.
        let is_open = log_tail.is_empty() || events.last() == Some(&"oom") || exit_code == Some(KILLED) && !for_memory;
        Evidence { exit_code, for_memory, is_open, log_tail }
    }

    /// Completes the verdict on the container.
    pub fn complete(self, verdict: &mut Verdict) {
        let is_open = verdict.exit_code.is_none() && matches!(verdict.code.as_str(), "restarted" | "oom-killed");
        if let Some(code) = self.exit_code.filter(|_| is_open) {
            verdict.exit_code = Some(code);
            verdict.message = format!("{}, {}", verdict.message, crate::exit_code::exit_code(code));
        }
        if self.for_memory && matches!(verdict.code.as_str(), "restarted" | "restarting" | "exited") {
            verdict.code = "oom-killed".to_owned();
            verdict.message = format!("{}; it was killed for want of memory", verdict.message);
        }
        verdict.log_tail = self.log_tail;
        verdict.health_output = verdict.health_output.take().map(|said| redact(&said).into_owned());
    }
}

async fn look(host: &Host, container: &str) -> Option<Evidence> {
    let secrets = Secrets::default().container(container);
    let logs = cm_engine::sight(host).logs().iter().map(|word| (*word).to_owned());
    let arguments = [container.to_owned(), LINES.to_string()].into_iter().chain(logs);
    let script = host.script(LOOK, arguments).hiding(&secrets).limit(LIMIT);
    Some(Evidence::read(&String::from_utf8_lossy(&script.output().await.ok()?.stdout)))
}

fn tail(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| redact(&line.chars().take(MAX_LINE).collect::<String>()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::add_secret;

    #[test]
    fn a_running_container_has_forgotten_how_it_ended_and_the_events_have_not() {
        let verdict = |code: &str| Verdict {
            service: "web".to_owned(),
            host: "h".to_owned(),
            state: crate::State::Unhealthy,
            code: code.to_owned(),
            message: "ended".to_owned(),
            container: None,
            exit_code: None,
            health_output: Some("using tok-abcdef-2".to_owned()),
            log_tail: Vec::new(),
            readings: 2,
            waited_ms: 0,
            timeline: Vec::new(),
        };
        add_secret("tok-abcdef-2");
        for (code, exit_code, for_memory, wanted) in [
            ("restarted", Some(3), false, ("restarted", Some(3), "ended, exit code 3")),
            ("restarted", None, false, ("restarted", None, "ended")),
            ("restarted", Some(137), true, ("oom-killed", Some(137), "it was killed for want of memory")),
            // It was seen between the two events.
            ("oom-killed", Some(137), true, ("oom-killed", Some(137), "ended, exit code 137 (SIGKILL)")),
            ("oom-killed", None, true, ("oom-killed", None, "ended")),
            // How often it ended before is no matter.
            ("unhealthy", Some(3), true, ("unhealthy", None, "ended")),
        ] {
            let mut verdict = verdict(code);
            let log_tail = vec!["bye".to_owned()];
            Evidence { exit_code, for_memory, is_open: false, log_tail }.complete(&mut verdict);
            assert_eq!((verdict.code.as_str(), verdict.exit_code), (wanted.0, wanted.1));
            assert!(verdict.message.ends_with(wanted.2), "{}", verdict.message);
            assert_eq!((verdict.log_tail.len(), verdict.health_output.as_deref()), (1, Some("using ***")));
        }
    }

    #[test]
    fn an_end_is_open_as_long_as_the_engine_may_tell_more_of_it() {
        for (said, exit_code, for_memory, is_open) in [
            ("3\ndie \nbye", Some(3), false, false),
            ("3\ndie \n", Some(3), false, true),
            ("\n\nbye", None, false, false),
            ("137\noom die \nbye", Some(137), true, false),
            ("\noom \nbye", None, true, true),
            // Of the run that ended, told late, or of one that ends now.
            ("137\ndie oom \nbye", Some(137), true, true),
            // Killed by somebody, or for want of memory.
            ("137\ndie \nbye", Some(137), false, true),
            ("", None, false, true),
        ] {
            let found = Evidence::read(said);
            assert_eq!(
                (found.exit_code, found.for_memory, found.is_open),
                (exit_code, for_memory, is_open),
                "{said:?}"
            );
        }
        assert_eq!(Evidence::read("3\ndie \none\ntwo\n").log_tail, ["one", "two"]);
    }

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let log = (0..50).map(|n| format!("{n} {}", "x".repeat(2_000))).collect::<Vec<_>>().join("\n");
        let lines = tail(&log);
        assert_eq!((lines.len(), lines[19].chars().count()), (LINES, MAX_LINE));
        assert!(lines[0].starts_with("30 "));
    }
}
