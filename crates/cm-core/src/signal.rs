//! Ctrl-C and termination, as values that a program can wait for; and Ctrl-Z, which leaves a clean terminal.

use crate::Exit;
use rustix::process::{Signal as Number, getpid, kill_process};
use std::io;
use std::sync::LazyLock;
use std::sync::OnceLock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

static STOP: LazyLock<watch::Sender<Option<Exit>>> = LazyLock::new(|| watch::channel(None).0);

/// That somebody asked this process to end: for a program that finishes what must not be left
/// partway and then stops.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

impl Stop {
    /// How the process should exit, if it was asked to end.
    pub fn requested() -> Option<Exit> {
        *STOP.borrow()
    }

    /// Waits until it is.
    pub async fn wait() -> Exit {
        let mut told = STOP.subscribe();
        match told.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            _ => std::future::pending().await,
        }
    }

    pub(crate) fn request(exit: Exit) {
        STOP.send_replace(Some(exit));
    }
}

/// The signals that ask a program to end.
#[derive(Debug)]
pub struct Signals {
    /// A shell without job control has its background jobs ignore Ctrl-C.
    interrupt: Option<Signal>,
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
        Ok(Signals {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one and says how the process should then exit. The end of the
    /// terminal comes once: the kernel and the shell both tell of it, and that is no
    /// impatience of anybody's.
    pub async fn next(&mut self) -> Exit {
        let (exit, terminal_ended) = tokio::select! {
            () = received(&mut self.interrupt) => (Exit::Interrupted, false),
            _ = self.terminate.recv() => (Exit::Terminated, false),
            () = received(&mut self.hangup) => (Exit::Terminated, true),
        };
        if terminal_ended {
            self.hangup = None;
        }
        exit
    }
}

/// From now on Ctrl-Z has `put_away` put away what must not stay on the terminal, and stop this process by the function
/// that it is given.
pub fn on_suspend(put_away: fn(&dyn Fn())) {
    let Ok(Some(mut suspended)) = unless_ignored(SignalKind::from_raw(Number::TSTP.as_raw())) else { return };
    tokio::spawn(async move {
        while suspended.recv().await.is_some() {
            put_away(&|| {
                let _stopped = kill_process(getpid(), Number::STOP);
            });
        }
    });
}

fn unless_ignored(kind: SignalKind) -> io::Result<Option<Signal>> {
    if is_ignored(kind.as_raw_value()) { Ok(None) } else { signal(kind).map(Some) }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with the signal of this number ignored, as `nohup` and a shell's
/// `trap ''` have it. Children inherit that, unless somebody listens for the signal in between.
pub fn is_ignored(signal: i32) -> bool {
    // Asked first before anybody listens, and that answer stays.
    static IGNORED: OnceLock<u64> = OnceLock::new();
    let mask = *IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
    });
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
