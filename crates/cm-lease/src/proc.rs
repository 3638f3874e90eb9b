//! What Linux says of its processes, in `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// When `pid` started, in clock ticks since the boot; `None` for one that only waits to be reaped.
///
/// # Errors
/// If that cannot be read, be it because it has ended.
pub fn start(pid: u32) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be read")))
}

/// The start time in a line of `/proc/PID/stat`, `None` inside for a zombie. The
/// command's name may contain anything, so fields are counted behind its last `)`.
fn parse_stat(text: &str) -> Option<Option<u64>> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(if matches!(state, "Z" | "X" | "x") { None } else { Some(start) })
}

/// The effective user of `pid`. The owner of `/proc/PID` would be root for a program that its user
/// may run but not read.
pub fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Every process of this machine, with its parent.
pub fn parents() -> BTreeMap<u32, u32> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, parent(id)?))).collect()
}

/// The second field after the command's name, which may itself contain anything.
fn parent(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// This boot of the kernel; empty if it is not known.
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The PID namespace of this process; 0 if it is not known.
pub fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let line = "7 (a) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(line), Some(Some(4242)));
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }

    #[test]
    fn the_parent_of_a_process_is_known() {
        let own = std::process::id();
        assert_eq!(parents().get(&own).copied(), parent(own));
        assert!(parent(own).is_some_and(|parent| parent > 0));
    }
}
