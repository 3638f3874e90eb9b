//! In a test build, stops this process right before a request to a host, as a laptop does that falls
//! asleep: `CM_STOP_BEFORE=N` before the Nth request, `CM_STOP_BEFORE=change:N` before the Nth
//! that is behind the deploy lock. A release build has none of it.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    static CHANGES: AtomicU64 = AtomicU64::new(0);

    /// Whether changes alone are counted, and the number of the request.
    static STOP: LazyLock<Option<(bool, u64)>> = LazyLock::new(|| {
        let said = std::env::var("CM_STOP_BEFORE").ok()?;
        let (changes, number) = match said.strip_prefix("change:") {
            Some(number) => (true, number),
            None => (false, said.as_str()),
        };
        Some((changes, number.parse().ok()?))
    });

    pub fn before_request(changes: bool) {
        let Some((changes_alone, number)) = *STOP else { return };
        let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let changed = CHANGES.fetch_add(u64::from(changes), Ordering::Relaxed) + u64::from(changes);
        let reached = if changes_alone { changes && changed == number } else { requests == number };
        if reached {
            let _stopped = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        }
    }
}

#[cfg(not(debug_assertions))]
mod armed {
    pub fn before_request(_changes: bool) {}
}

pub use armed::before_request;
