//! Waiting in tests: always for something that can be seen, never without a limit.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until `is` says so.
///
/// # Panics
/// If it does not within `limit`; `what` is the message.
pub fn until(what: &str, limit: Duration, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < limit, "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Waits for a process; gives its exit code, or -1 if a signal ended it.
///
/// # Panics
/// If it does not end within `limit`.
pub fn end(child: &mut Child, limit: Duration) -> i32 {
    let mut code = None;
    until("its end", limit, || {
        code = child.try_wait().expect("wait");
        code.is_some()
    });
    code.and_then(|status| status.code()).unwrap_or(-1)
}
