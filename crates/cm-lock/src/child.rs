//! The command under the lock. Its streams are this program's own, untouched; signals
//! that reach only this program are handed on; its end decides how this program ends.

use crate::family::{family, signal_all};
use cm_core::{Exit, Log, is_ignored};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
#[cfg(target_os = "linux")]
use rustix::process::{getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// "Found, but cannot be run", as shells say it.
const CANNOT_RUN: i32 = 126;

/// "Not found", as shells say it.
const NOT_FOUND: i32 = 127;

/// How long a command may take to end when the lock is lost.
const GRACE: Duration = Duration::from_secs(10);

/// The signals that are handed on.
const FORWARDED: [Signal; 6] = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2];

/// Signals on their way to the command. Made before the lock is taken, so that none of
/// them ends this program while it holds the lock.
#[derive(Debug)]
pub struct Forward {
    received: mpsc::UnboundedReceiver<Signal>,
    on_terminal: bool,
}

impl Forward {
    /// From now on these signals are received here.
    ///
    /// # Errors
    /// Those of `sigaction(2)`.
    pub fn listen() -> io::Result<Self> {
        let (sender, received) = mpsc::unbounded_channel();
        // What this process was told to ignore (nohup, a shell's background job), the command is to ignore
        // as well, and it inherits that as long as nobody listens here.
        for kind in FORWARDED.into_iter().filter(|kind| !is_ignored(kind.as_raw())) {
            let mut stream = signal(SignalKind::from_raw(kind.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(kind).is_ok() {} });
        }
        Ok(Forward { received, on_terminal: in_foreground() })
    }

    /// Throws away what came before there was a command.
    fn forget(&mut self) {
        while self.received.try_recv().is_ok() {}
    }

    /// The next signal that the command has not been sent already. Ctrl-C, Ctrl-\ and the
    /// end of the terminal reach the whole process group: handed on, they would count twice.
    async fn next(&mut self) -> Signal {
        loop {
            match self.received.recv().await {
                Some(Signal::INT | Signal::QUIT) if in_foreground() => {}
                Some(Signal::HUP) if self.on_terminal => {}
                Some(signal) => return signal,
                None => std::future::pending().await,
            }
        }
    }
}

/// Whether this process group is the one that the terminal's keys reach.
fn in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal) == Ok(getpgrp()))
}

/// Runs the command to its end, or until the lock is `lost`; gives the code to exit with.
pub async fn run(mut command: Command, mut forward: Forward, lost: impl Future<Output = ()>, log: &Log) -> i32 {
    end_with_this_process(&mut command);
    forward.forget();
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = match command.spawn() {
        Ok(child) => wait(child, forward, lost).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(Ended::ByItself(status)) => code(status),
        Ok(Ended::LockLost) => i32::from(Exit::LockLost.code()),
        Err(error) => {
            log.fail(format!("cannot run {name:?}: {error}"));
            if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
        }
    }
}

/// How the command ended.
enum Ended {
    ByItself(ExitStatus),
    LockLost,
}

async fn wait(mut child: Child, mut forward: Forward, lost: impl Future<Output = ()>) -> io::Result<Ended> {
    let mut lost = std::pin::pin!(lost);
    loop {
        tokio::select! {
            status = child.wait() => return status.map(Ended::ByItself),
            signal = forward.next() => hand_on(&child, signal),
            () = &mut lost => break,
        }
    }
    end(child).await;
    Ok(Ended::LockLost)
}

/// Asks the command and all that it started to end, and ends what has not in time: the lock is
/// somebody else's.
async fn end(mut child: Child) {
    let Some(id) = child.id() else { return };
    let all = family(id);
    signal_all(&all, Signal::TERM);
    // One that is stopped hears of nothing before that.
    signal_all(&all, Signal::CONT);
    let _status = tokio::time::timeout(GRACE, child.wait()).await;
    signal_all(&all.into_iter().filter(|process| process.is_alive()).collect::<Vec<_>>(), Signal::KILL);
    let _killed = child.wait().await;
}

/// The process is not reaped before `wait` returns, so its id is still its own.
fn hand_on(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ended_meanwhile = kill_process(id, signal);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Has the kernel send SIGTERM to the command when this process dies, be it by SIGKILL: the
/// lock is free from then on, and nobody may go on as if it were held.
#[cfg(target_os = "linux")]
fn end_with_this_process(command: &mut Command) {
    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have died before the kernel was told.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    #[expect(unsafe_code, reason = "it runs between fork and exec: two system calls, no allocation")]
    // SAFETY: `before_exec` does nothing that is forbidden between fork and exec.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// No other kernel does that: there the command hears of the lost lock from the hosts, which refuse what it changes.
#[cfg(not(target_os = "linux"))]
fn end_with_this_process(_: &mut Command) {}
