//! A process and all that it started, as far as the system tells: a shell that is asked to end leaves the
//! programs of its pipe behind, and those are the ones that change something.

use cm_lease::{Life, Process};
use rustix::process::{Pid, Signal, kill_process};

/// One process, told apart from a later one with its number.
pub struct Member(Process);

impl Member {
    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.0.life() == Life::Alive
    }
}

/// The process `root` and its descendants, the youngest generation last.
pub fn family(root: u32) -> Vec<Member> {
    let parents = Process::parents();
    let mut ids = vec![root];
    let mut next = 0;
    while let Some(parent) = ids.get(next).copied() {
        next += 1;
        ids.extend(
            parents
                .iter()
                .filter(|(id, of)| **of == parent && !ids.contains(*id))
                .map(|(id, _)| *id)
                .collect::<Vec<_>>(),
        );
    }
    ids.into_iter().filter_map(|id| Process::of(id).ok().flatten().map(Member)).collect()
}

/// Sends `signal` to each of them that still is who it was.
pub fn signal_all(members: &[Member], signal: Signal) {
    for member in members.iter().filter(|member| member.is_alive()) {
        if let Some(id) = i32::try_from(member.0.pid).ok().and_then(Pid::from_raw) {
            let _ended_meanwhile = kill_process(id, signal);
        }
    }
}
