//! The course of a canary: who is asked how often, and when it ends early.

use super::report::report;

use super::rules::{Judgement, Look, Rules};
use super::side::Side;
use super::target::Target;
use super::watch;
use cm_core::Result;
use cm_core::facts::{CanaryReport, CanaryVerdict};
use cm_project::{Canary, Severity};
use futures_util::{StreamExt, stream};
use std::time::{Duration, Instant};

/// An old and a new release are asked alongside each other for as long as this at most: the
/// deployment waits, and what is that slow is judged by what came until then.
const PATIENCE: Duration = Duration::from_secs(180);

/// Pairs of requests under way at the same time.
const PAIRS: usize = 4;

/// Asks what runs now, before it is replaced, until `side` has as many answers as are wanted. It ends early where
/// nothing answers, and may be ended in between and gone on with later.
pub async fn baseline(target: &Target, canary: &Canary, side: &mut Side) {
    let hopeless = |side: &Side| {
        side.silent_now() >= 3 || (side.samples.requests >= 20 && side.samples.failures == side.samples.requests)
    };
    let made = side.samples.requests + side.samples.not_judged;
    target.ask_many(canary.baseline_requests().saturating_sub(made), side, hopeless).await;
}

/// Asks the new release and judges it; `old` is its baseline. `changed` says what became
/// of containers since the canary began ([`changes`]): it is asked again and again, and
/// a change ends the canary at once. Where it cannot be said at the end, nothing passes.
/// Says the verdict, and what the requests came to.
pub async fn run(
    target: &Target,
    canary: &Canary,
    old: Option<&Side>,
    changed: impl AsyncFn() -> Result<Vec<String>>,
) -> (CanaryReport, Side) {
    let mut new = Side::default();
    let mut look = Look::First;
    loop {
        let none = Rules { canary, changed: &[] };
        let row = none.row(old);
        let asking = target.ask_many(canary.requests, &mut new, |side| none.is_decided(side, row));
        let changes = watch::while_asking(asking, &changed).await;
        let judgement = judge(canary, &changes, &new, old, look);
        if look == Look::Last || !judgement.in_doubt {
            return (report(target.url(), &new, old, judgement), new);
        }
        look = Look::Last;
    }
}

/// Asks an old and a new release alongside each other, in turns, so that nothing but the
/// release differs: not the hour, not the load. This is the canary of a rolling
/// deployment, where the first new container runs alongside an old one. `changed` is as in [`run`].
pub async fn side_by_side(
    old: &Target,
    new: &Target,
    canary: &Canary,
    changed: impl AsyncFn() -> Result<Vec<String>>,
) -> CanaryReport {
    let none = Rules { canary, changed: &[] };
    let (mut before, mut after) = (Side::default(), Side::default());
    let (mut look, began) = (Look::First, Instant::now());
    loop {
        let asking = async {
            let pair = |_| async { tokio::join!(old.clone().ask(), new.clone().ask()) };
            let mut pairs = stream::iter(0..canary.requests).map(pair).buffered(PAIRS);
            while let Some((one, other)) = pairs.next().await {
                before.add(one);
                after.add(other);
                // Until the old one is known well enough, a row says nothing where it fails, too.
                let unsure = before.samples.failures > 0 && before.samples.requests < canary.min_requests;
                let row = if unsure { u32::MAX } else { none.row(Some(&before)) };
                if none.is_decided(&after, row) || began.elapsed() > PATIENCE {
                    break;
                }
            }
        };
        let changes = watch::while_asking(asking, &changed).await;
        let judgement = judge(canary, &changes, &after, Some(&before), look);
        if look == Look::Last || !judgement.in_doubt {
            return report(new.url(), &after, Some(&before), judgement);
        }
        look = Look::Last;
    }
}

/// Good answers alone are not a pass where it was not seen whether a container restarted.
fn judge(canary: &Canary, changes: &Result<Vec<String>>, new: &Side, old: Option<&Side>, look: Look) -> Judgement {
    let changed = changes.as_deref().unwrap_or_default();
    let judgement = Rules { canary, changed }.judge(new, old, look);
    match changes {
        Err(failure) if judgement.verdict == CanaryVerdict::Pass => Judgement {
            verdict: CanaryVerdict::Inconclusive,
            code: "unseen",
            message: format!("{}; whether a container restarted was not seen: {failure}", judgement.message),
            severity: Severity::P2,
            ..judgement
        },
        _ => judgement,
    }
}

#[cfg(test)]
mod tests;
