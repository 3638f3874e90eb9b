//! How far a dump or a restore is: counters that its threads move on, and what people
//! see of them.

use crate::text;
use cm_core::Log;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often people hear how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    documents: AtomicU64,
    bytes: AtomicU64,
    collections: AtomicU64,
}

impl Progress {
    /// More documents, and their length in bytes of BSON.
    pub fn add(&self, documents: u64, bytes: u64) {
        self.documents.fetch_add(documents, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Another collection is done.
    pub fn close(&self) {
        self.collections.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells people now and then; never ends.
    pub async fn report<T>(&self, log: &Log, what: &str, of_bytes: Option<u64>) -> T {
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let bytes = read(&self.bytes);
            let share =
                of_bytes.filter(|all| *all > 0).map_or(String::new(), |all| format!(" of about {}", text::bytes(all)));
            log.info(format!(
                "{what}: {}{share}, {} documents, {} collections done",
                text::bytes(bytes),
                read(&self.documents),
                read(&self.collections)
            ));
        }
    }
}
