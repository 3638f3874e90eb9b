//! The window in which services are seen to stay healthy, as far as it is known while it lasts: since when
//! all of them have been good, and when that will have been for long enough. Whoever wants to ask them something
//! meanwhile hears of it by a note in the run's journal.

use cm_core::Journal;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

/// The note's name.
const NOTE: &str = "window";

/// A window whose end moves by less than this is the same one.
const SAME: Duration = Duration::from_millis(200);

/// A window that lasts, or has ended well.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    /// Since when every service was good in every reading.
    pub since: Timestamp,
    /// When it will be over, if they stay so.
    pub until: Timestamp,
}

impl Window {
    /// The name of the note and what reads it.
    pub const NOTE: &'static str = NOTE;

    /// Reads a note.
    pub fn read(text: &str) -> Option<Window> {
        serde_json::from_str(text).ok()
    }

    /// Writes the note into a run's journal; takes it back where there is none.
    pub fn note(window: Option<&Window>, journal: &Journal) {
        journal.set_note(NOTE, window.and_then(|window| serde_json::to_string(window).ok()).as_deref());
    }

    fn is_about(&self, other: &Window) -> bool {
        let apart = self.until.duration_since(other.until).unsigned_abs();
        self.since == other.since && apart < SAME
    }
}

/// What one host's services come to, counted from the beginning of the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hope {
    pub since: Duration,
    pub until: Duration,
}

impl Hope {
    pub fn and(self, other: Hope) -> Hope {
        Hope { since: self.since.max(other.since), until: self.until.max(other.until) }
    }
}

/// What all hosts come to, gathered from their guards.
#[derive(Clone, Debug)]
pub struct Hopes {
    began: Timestamp,
    hosts: Arc<Mutex<Vec<Option<Hope>>>>,
    to: Option<Sender<Option<Window>>>,
}

impl Hopes {
    pub fn new(began: Instant, hosts: usize, to: Option<Sender<Option<Window>>>) -> Hopes {
        let ago = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
        Hopes { began: Timestamp::now() - ago, hosts: Arc::new(Mutex::new(vec![None; hosts])), to }
    }

    /// Notes what a host comes to, and tells of a window that begins, moves or ends by it.
    pub fn note(&self, host: usize, hope: Option<Hope>) {
        {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = hosts.get_mut(host) else { return };
            *known = hope;
        }
        let window = self.window();
        if let Some(to) = &self.to {
            to.send_if_modified(|last| {
                let same = matches!((&last, &window), (Some(last), Some(window)) if last.is_about(window))
                    || last.is_none() && window.is_none();
                *last = if same { *last } else { window };
                !same
            });
        }
    }

    /// The window, if all services of all hosts are good.
    pub fn window(&self) -> Option<Window> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Option<Vec<Hope>> = hosts.iter().copied().collect();
        let hope = all?.into_iter().reduce(Hope::and)?;
        let at = |after: Duration| self.began.checked_add(SignedDuration::try_from(after).ok()?).ok();
        Some(Window { since: at(hope.since)?, until: at(hope.until)? })
    }
}
