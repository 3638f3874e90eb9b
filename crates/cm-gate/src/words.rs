//! How numbers are said in messages.

use std::time::Duration;

/// `12 ms`, `3.4 s` or `2 min 5 s`.
pub fn time(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 if ms % 1_000 < 50 => format!("{s} s"),
        1_000..120_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} min {} s", s / 60, s % 60),
    }
}

/// Whole milliseconds, for records.
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// `exit code 1`, or `exit code 137 (SIGKILL)` where a signal ended the process.
pub fn exit_code(code: i64) -> String {
    let signal = match code - 128 {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return format!("exit code {code}"),
    };
    format!("exit code {code} ({signal})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (ms, text) in [(12, "12 ms"), (3_400, "3.4 s"), (10_000, "10 s"), (10_012, "10 s"), (125_000, "2 min 5 s")]
        {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(exit_code(137), "exit code 137 (SIGKILL)");
        assert_eq!(exit_code(3), "exit code 3");
    }
}
