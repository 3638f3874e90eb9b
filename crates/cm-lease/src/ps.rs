//! What a system without `/proc`, such as macOS, says of its processes: by `ps` and `sysctl`. Linux
//! has a `ps` with the same options, by which it is tested.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};

/// When `pid` started, by the second: a number that tells it from a later process with its number. `None` for one that
/// only waits to be reaped.
///
/// # Errors
/// If `ps` does not say, be it because it has ended.
pub fn start(pid: u32) -> io::Result<Option<u64>> {
    let said = ps(&["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()])?;
    parse_start(&said).ok_or_else(|| io::Error::other(format!("ps does not know process {pid}")))
}

/// `Ss   Mon May  4 09:30:00 2026`. The words become a number: nobody counts with it.
fn parse_start(said: &str) -> Option<Option<u64>> {
    let (state, started) = said.trim().split_once(char::is_whitespace)?;
    let words = started.split_whitespace().collect::<Vec<_>>().join(" ");
    let number = || {
        words
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    // Kept below 2^53: every reader of JSON reads it back as it is.
    Some((!state.starts_with('Z')).then(|| number() >> 11))
}

/// The effective user of `pid`.
pub fn user(pid: u32) -> Option<u32> {
    ps(&["-o", "uid=", "-p", &pid.to_string()]).ok()?.trim().parse().ok()
}

/// Every process of this machine, with its parent.
pub fn parents() -> BTreeMap<u32, u32> {
    parse_parents(&ps(&["-A", "-o", "pid=", "-o", "ppid="]).unwrap_or_default())
}

fn parse_parents(said: &str) -> BTreeMap<u32, u32> {
    let pair = |line: &str| {
        let (id, parent) = line.trim().split_once(char::is_whitespace)?;
        Some((id.parse().ok()?, parent.trim().parse().ok()?))
    };
    said.lines().filter_map(pair).collect()
}

/// This boot of the kernel; empty if it is not known.
pub fn boot_id() -> String {
    said_by("sysctl", &["-n", "kern.bootsessionuuid"]).map(|said| said.trim().to_owned()).unwrap_or_default()
}

/// There are no PID namespaces: all processes are in the one that there is.
pub fn namespace() -> u64 {
    1
}

fn ps(options: &[&str]) -> io::Result<String> {
    said_by("ps", options)
}

/// In words that do not depend on who asks, for the start of a process is told in them.
fn said_by(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output =
        Command::new(program).args(arguments).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ps_tells_processes_apart_by_when_they_started() {
        let own = start(std::process::id()).expect("ps").expect("it runs");
        assert_eq!(start(std::process::id()).expect("ps"), Some(own), "the same answer each time");
        assert!(own < 1 << 53);
        let of = |said| parse_start(said).expect("a start");
        assert_eq!(of("Ss   Mon May  4 09:30:00 2026\n"), of("R+ Mon May 4 09:30:00 2026"));
        assert_ne!(of("Ss Mon May  4 09:30:00 2026"), of("Ss Mon May  4 09:30:01 2026"));
        assert_eq!(of("Z+   Mon May  4 09:30:00 2026"), None, "it waits to be reaped");
        assert_eq!(parse_start(""), None);
        assert!(start(u32::MAX >> 2).is_err(), "there is no such process");
    }

    #[test]
    fn ps_knows_users_and_parents_as_proc_does() {
        let own = std::process::id();
        assert_eq!(user(own), crate::proc::user(own));
        assert_eq!(parents().get(&own), crate::proc::parents().get(&own));
        assert_eq!(namespace(), 1);
        assert!(boot_id().lines().count() <= 1, "one word, or none where it is not told");
        assert_eq!(parse_parents("    1     0\n  412     1\nPID PPID\n"), BTreeMap::from([(1, 0), (412, 1)]));
    }
}
