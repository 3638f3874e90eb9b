//! The exit code of a container's process, in words.

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
    fn signals_have_names() {
        assert_eq!(exit_code(137), "exit code 137 (SIGKILL)");
        assert_eq!(exit_code(3), "exit code 3");
    }
}
