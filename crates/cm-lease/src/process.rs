//! Which process holds a lock, so that a PID used again by another process is not
//! taken for it: PID and start time, valid for one boot and one PID namespace.

#[cfg(target_os = "linux")]
use crate::proc::{boot_id, namespace, parents, start, user};
#[cfg(not(target_os = "linux"))]
use crate::ps::{boot_id, namespace, parents, start, user};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

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
    /// When it started: on Linux in clock ticks since the boot, elsewhere as a number that `ps` tells.
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
    /// If the system does not tell: `/proc` cannot be read, or there is no `ps`.
    pub fn current() -> io::Result<Self> {
        Process::of(std::process::id())?.ok_or_else(|| io::Error::other("the system does not know this process"))
    }

    /// The process `pid` of this machine, or `None` if there is none.
    ///
    /// # Errors
    /// If it is there and the system does not tell.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(start) = running_since(pid)? else { return Ok(None) };
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Some(Process { machine, boot_id: boot_id(), pid_namespace: namespace(), pid, start }))
    }

    /// Whether it still runs, as far as this process can tell.
    pub fn life(&self) -> Life {
        let same_kernel = !self.boot_id.is_empty() && self.boot_id == boot_id();
        if !same_kernel || self.pid_namespace == 0 || self.pid_namespace != namespace() {
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
        user(self.pid)
    }

    /// Every process of this machine, with its parent; none where the system does not tell.
    pub fn parents() -> BTreeMap<u32, u32> {
        parents()
    }
}

/// When `pid` started; `None` if it is not there or only waits to be reaped. A system
/// that hides other users' processes is an error, not "not there".
fn running_since(pid: u32) -> io::Result<Option<u64>> {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    if test_kill_process(id) == Err(rustix::io::Errno::SRCH) {
        return Ok(None);
    }
    match start(pid) {
        // It may have ended between the two looks.
        Err(_) if test_kill_process(id) == Err(rustix::io::Errno::SRCH) => Ok(None),
        told => told,
    }
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
}
