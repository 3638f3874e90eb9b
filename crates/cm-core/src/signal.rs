//! Ctrl-C and termination, as values that a program can wait for.

use crate::Exit;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a program to end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not listened for under `nohup`: the end of the terminal must then end nothing.
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on these signals are received here and end nothing by themselves.
    ///
    /// # Errors
    /// Those of `sigaction(2)`.
    pub fn listen() -> io::Result<Self> {
        let hangup = SignalKind::hangup();
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_ignored(rustix::process::Signal::HUP.as_raw()) { None } else { Some(signal(hangup)?) },
        })
    }

    /// Waits for the next one and says how the process should then exit. The end of the
    /// terminal comes once: the kernel and the shell both tell of it, and that is no
    /// impatience of anybody's.
    pub async fn next(&mut self) -> Exit {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let (exit, terminal_ended) = tokio::select! {
            _ = self.interrupt.recv() => (Exit::Interrupted, false),
            _ = self.terminate.recv() => (Exit::Terminated, false),
            _ = hangup => (Exit::Terminated, true),
        };
        if terminal_ended {
            self.hangup = None;
        }
        exit
    }
}

/// Whether this process ignores the signal with this number, as `nohup` and a shell's `trap ''` have
/// it. Children inherit that, unless somebody listens for the signal in between.
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::{Signals, is_ignored};
    use crate::Exit;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn the_end_of_the_terminal_comes_once() {
        let mut signals = Signals::listen().expect("listens");
        kill_process(getpid(), Signal::HUP).expect("sent");
        assert_eq!(signals.next().await, Exit::Terminated);
        kill_process(getpid(), Signal::HUP).expect("sent");
        assert!(tokio::time::timeout(Duration::from_millis(200), signals.next()).await.is_err());
    }

    #[test]
    fn a_rust_program_ignores_closed_pipes_and_no_interrupt() {
        assert!(is_ignored(rustix::process::Signal::PIPE.as_raw()));
        assert!(!is_ignored(rustix::process::Signal::TERM.as_raw()));
        assert!(!is_ignored(0) && !is_ignored(65));
    }
}
