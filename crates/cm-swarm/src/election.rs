//! A Swarm whose leader is lost chooses another one, within some ten seconds. Docker waits for that by itself, but what
//! it had begun to ask the old leader fails, and says nothing about the service that was meant.

use cm_core::{Failure, Result};
use std::time::{Duration, Instant};

/// A leader is chosen within this time, or too few managers are left.
const LIMIT: Duration = Duration::from_secs(45);

/// Between two attempts.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How Docker says so, in lower case.
const WORDS: [&str; 10] = [
    "does not have a leader",
    "no elected leader",
    "raft:",
    "code = unavailable",
    "code = deadlineexceeded",
    "context deadline exceeded",
    "transport is closing",
    "error while dialing",
    "error reading from server",
    "not the leader",
];

/// What the managers never take, whoever leads them: the next attempt ends alike.
const TOO_LARGE: &str = "raft message is too large";

/// Does `work`, and once more while it fails because there is no leader. What it does can be done twice.
///
/// # Errors
/// Those of `work`.
pub(crate) async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match work().await {
            Err(failure) if lasts(&failure, began) => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
}

/// Whether what was begun then may have failed because there is no leader yet.
pub(crate) fn lasts(failure: &Failure, began: Instant) -> bool {
    is_election(failure) && began.elapsed() < LIMIT
}

fn is_election(failure: &Failure) -> bool {
    let is_one = |said: String| !said.contains(TOO_LARGE) && WORDS.iter().any(|words| said.contains(words));
    failure.code == "swarm.no-quorum" || failure.causes.iter().any(|cause| is_one(cause.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::Exit;

    #[tokio::test]
    async fn what_fails_for_want_of_a_leader_is_done_again_and_nothing_else_is() {
        let lost = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing\"";
        let large = "rpc error: code = Unknown desc = raft: raft message is too large and can't be sent";
        for (cause, wanted) in [(lost, 2), ("network shop_default is not there", 1), (large, 1)] {
            let mut times = 0;
            let done = patiently(async || {
                times += 1;
                if times == 2 { Ok(()) } else { Err(Failure::new(Exit::Build, "swarm.deploy", "no").cause(cause)) }
            });
            assert_eq!(done.await.is_ok(), wanted == 2);
            assert_eq!(times, wanted, "{cause}");
        }
    }
}
