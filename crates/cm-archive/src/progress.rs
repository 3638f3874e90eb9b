//! How far a dump, its verification or a restore is: counters that its threads move on, and what
//! people see of them: a task, where somebody watches, elsewhere a message now and then.

use crate::text;
use cm_core::Log;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often people hear how far it is, where there is no terminal.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How often whoever watches gets new numbers.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Before that much time nothing is said of the time that is left: it would only jump.
const SPEED_KNOWN_AFTER: Duration = Duration::from_secs(1);

/// The width of the bar, in columns.
const BAR: usize = 20;

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    documents: AtomicU64,
    bytes: AtomicU64,
    collections: AtomicU64,
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// One word for people: `backup`, `verification`, `restore`.
    pub what: &'a str,
    /// The length of all documents in bytes of BSON, where it is known, if only about.
    pub bytes: Option<u64>,
    /// Collections; 0 where that is not known.
    pub collections: u64,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug)]
struct Reached {
    documents: u64,
    bytes: u64,
    collections: u64,
    after: Duration,
}

impl Progress {
    /// More documents, and their length in bytes of BSON.
    pub fn add(&self, documents: u64, bytes: u64) {
        self.documents.fetch_add(documents, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are done, of something that counts them itself.
    pub fn reach(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Another collection is done.
    pub fn close(&self) {
        self.collections.fetch_add(1, Ordering::Relaxed);
    }

    fn reached(&self, clock: Instant) -> Reached {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reached {
            documents: read(&self.documents),
            bytes: read(&self.bytes),
            collections: read(&self.collections),
            after: clock.elapsed(),
        }
    }

    /// Tells people how far it is for as long as it is waited for; never ends.
    pub async fn report<T>(&self, log: &Log, goal: Goal<'_>) -> T {
        let clock = Instant::now();
        let shown = log.tells_tasks().then(|| log.task(goal.what));
        loop {
            tokio::time::sleep(if shown.is_some() { DRAW_INTERVAL } else { REPORT_INTERVAL }).await;
            let reached = self.reached(clock);
            match &shown {
                Some(task) => {
                    task.reached(reached.bytes, goal.bytes.filter(|all| *all > 0), "bytes");
                    task.note(&goal.line(reached));
                }
                None => log.info(goal.message(reached)),
            }
        }
    }
}

impl Goal<'_> {
    /// A message for where there is no terminal.
    fn message(&self, reached: Reached) -> String {
        let of =
            self.bytes.filter(|all| *all > 0).map_or(String::new(), |all| format!(" of about {}", text::bytes(all)));
        let left = self.left(reached).map_or(String::new(), |left| format!(", about {} left", text::duration(left)));
        let collections = match self.collections {
            0 => String::new(),
            all => format!(", {} of {all} collections done", reached.collections),
        };
        let documents = documents(reached).map_or(String::new(), |documents| format!(", {documents}"));
        format!("{}: {}{of}{documents}{collections}{left}", self.what, text::bytes(reached.bytes))
    }

    /// What stands on a terminal after how much is done, the most important first: the end of it may be cut.
    fn line(&self, reached: Reached) -> String {
        let share = self.bytes.filter(|all| *all > 0).map(|all| (reached.bytes as f64 / all as f64).min(1.0));
        let bar = share.map(|share| {
            let done = (share * BAR as f64) as usize;
            format!("[{}{}] {:3.0} %", "#".repeat(done), "-".repeat(BAR - done), (share * 100.0).floor())
        });
        let speed = reached.bytes as f64 / reached.after.as_secs_f64().max(0.001);
        let parts = [
            bar,
            self.left(reached).map(|left| format!("{} left", text::duration(left))),
            (self.collections > 0).then(|| format!("{}/{} collections", reached.collections, self.collections)),
            documents(reached),
            Some(format!("{}/s", text::bytes(speed as u64))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }

    /// How long it takes from here at the speed so far.
    fn left(&self, reached: Reached) -> Option<Duration> {
        let all = self.bytes.filter(|all| *all > reached.bytes && reached.bytes > 0)?;
        if reached.after < SPEED_KNOWN_AFTER {
            return None;
        }
        let share = (all - reached.bytes) as f64 / reached.bytes as f64;
        Duration::try_from_secs_f64(reached.after.as_secs_f64() * share).ok()
    }
}

/// `3 documents`; not everything that is copied has any.
fn documents(reached: Reached) -> Option<String> {
    (reached.documents > 0).then(|| cm_core::plural(reached.documents, "document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: Goal<'_> = Goal { what: "backup", bytes: Some(1_000_000_000), collections: 7 };

    fn reached(bytes: u64, seconds: u64) -> Reached {
        Reached { documents: 1_234_567, bytes, collections: 2, after: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_line_has_what_matters_most_first() {
        let whole = "[#########-----------]  46 %  4.7 s left  2/7 collections  1234567 documents  115 MB/s";
        assert_eq!(GOAL.line(reached(460_000_000, 4)), whole);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let unknown = Goal { bytes: None, ..GOAL };
        assert_eq!(unknown.line(reached(5_000_000, 1)), "2/7 collections  1234567 documents  5.0 MB/s");
        assert!(!GOAL.message(reached(0, 9)).contains("left"));
        let unknown = Goal { bytes: None, collections: 0, ..GOAL };
        assert_eq!(unknown.line(reached(5_000_000, 1)), "1234567 documents  5.0 MB/s");
        assert_eq!(unknown.message(reached(5_000_000, 1)), "backup: 5.0 MB, 1234567 documents");
        // More than was thought: no time is left, and no more than all is done.
        assert!(GOAL.line(reached(2_000_000_000, 9)).contains("100 %  2/7"));
    }

    #[test]
    fn a_message_says_how_far_it_is() {
        let message = GOAL.message(reached(250_000_000, 2));
        let wanted = "backup: 250 MB of about 1.0 GB, 1234567 documents, 2 of 7 collections done, about 6 s left";
        assert_eq!(message, wanted);
    }
}
