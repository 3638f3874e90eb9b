//! Which process holds a lock, so that a PID used again by another process is not
//! taken for it: PID and start time, valid for one boot and one PID namespace.

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A process, for as long as the machine runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Process {
    /// The machine's name, for people; two machines may share it.
    pub machine: String,
    /// The boot of its kernel, unique in the world; empty if it is not known.
    pub boot_id: String,
    /// The PID namespace, as the inode number of `/proc/self/ns/pid`; 0 if it is not known.
    pub pid_namespace: u64,
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// It runs.
    Alive,
    /// It is known not to run any more.
    Gone,
    /// It belongs to another machine, boot or container, or must not be looked at.
    Unknown,
}

impl Process {
    /// This process.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Process::of(std::process::id())?.ok_or_else(|| io::Error::other("/proc does not know this process"))
    }

    /// The process `pid` of this machine, or `None` if there is none.
    ///
    /// # Errors
    /// If it is there and `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(start) = running_since(pid)? else { return Ok(None) };
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Some(Process { machine, boot_id: boot_id(), pid_namespace: pid_namespace(), pid, start }))
    }

    /// Whether it still runs, as far as this process can tell.
    pub fn life(&self) -> Life {
        let same_kernel = !self.boot_id.is_empty() && self.boot_id == boot_id();
        if !same_kernel || self.pid_namespace == 0 || self.pid_namespace != pid_namespace() {
            return Life::Unknown;
        }
        match running_since(self.pid) {
            Ok(Some(start)) if start == self.start => Life::Alive,
            Ok(_) => Life::Gone,
            Err(_) => Life::Unknown,
        }
    }

    /// The id of the user whose process it is, if it is one of this machine that may be looked at.
    pub fn user(&self) -> Option<u32> {
        user_of(self.pid)
    }
}

/// The effective user of `pid`. The owner of `/proc/PID` would be root for a program that its user
/// may run but not read.
fn user_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// When `pid` started; `None` if it is not there or only waits to be reaped. A
/// `/proc` that hides other users' processes is an error, not "not there".
fn running_since(pid: u32) -> io::Result<Option<u64>> {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    if test_kill_process(id) == Err(rustix::io::Errno::SRCH) {
        return Ok(None);
    }
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        // It may have ended between the two looks.
        Err(_) if test_kill_process(id) == Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
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

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        let process = Process::current().expect("/proc");
        assert_eq!((process.life(), process.user()), (Life::Alive, Some(rustix::process::geteuid().as_raw())));
    }

    #[test]
    fn an_ended_process_is_gone_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let process = Process::of(child.id()).expect("/proc").expect("runs");
        assert_eq!(process.life(), Life::Alive);
        child.kill().expect("kill");
        while process.life() == Life::Alive {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(process.life(), Life::Gone, "a zombie");
        child.wait().expect("wait");
        assert_eq!(process.life(), Life::Gone, "reaped");
    }

    #[test]
    fn a_pid_used_again_is_another_process() {
        let mut process = Process::current().expect("/proc");
        process.start += 1;
        assert_eq!(process.life(), Life::Gone);
    }

    #[test]
    fn nothing_is_proved_about_another_boot_or_container() {
        let current = Process::current().expect("/proc");
        let elsewhere = Process { boot_id: "another".to_owned(), pid: 0, ..current.clone() };
        assert_eq!(elsewhere.life(), Life::Unknown);
        let container = Process { pid_namespace: 1, pid: 0, ..current };
        assert_eq!(container.life(), Life::Unknown);
    }

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let line = "7 (a) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(line), Some(Some(4242)));
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }
}
