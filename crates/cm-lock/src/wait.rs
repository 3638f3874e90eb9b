//! Taking the lock, at once or after a wait. Between two attempts nothing is held, so
//! that waiters never block each other, and an interrupted wait leaves nothing.

use crate::place::Place;
use cm_core::{Exit, Failure, Log, Result, Signals, time};
use cm_lease::{Attempt, Held, Holder, Record, Wanted};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The mean pause of a waiter that has just come, in seconds.
const LONGEST: f64 = 1.0;

/// The mean pause of one that has waited long, in seconds. Waiters that came first ask more often, so
/// that none of them starves.
const SHORTEST: f64 = 0.2;

/// The same where the holder is on this machine: asking is a few system calls, and no host hears of it.
const SHORTEST_HERE: f64 = 0.04;

/// The mean time before the first attempt of one that is ready to wait, in seconds.
const COURTESY: f64 = 0.15;

/// How often a waiter says that it still waits, for those who read a log.
const REMINDER: Duration = Duration::from_secs(30);

/// Added to what is left of a dead holder's lease.
const SLACK: Duration = Duration::from_secs(5);

/// Takes the lock for `record`. Without a `limit` it refuses at once, unless the holder is known to be
/// gone: then there is nobody to talk to, and it waits for the rest of the lease.
///
/// # Errors
/// [`Exit::LockHeld`] with the holder; [`Exit::Interrupted`] and [`Exit::Terminated`] by a
/// signal; those of [`cm_lease::take`].
pub async fn take(
    place: &Place,
    mut record: Record,
    limit: Option<Duration>,
    log: &Log,
    signals: &mut Signals,
) -> Result<(Held, Record)> {
    let mut wanted = place.wanted(log).await?;
    let mut waiting = Waiting { began: Instant::now(), limit, shortest: SHORTEST, for_stale: false, said: None };
    if limit.is_some() {
        // Whoever is ready to wait lets those go first who wait already: without this, one that comes back at
        // once takes the lock again and again in the moment in which it is free.
        tokio::time::sleep(Duration::from_secs_f64(COURTESY * (0.5 + random()))).await;
    }
    loop {
        record.since = time::now();
        match attempt(&wanted, &record, signals).await {
            Ok(Attempt::Taken(held)) => return Ok((held, record)),
            Ok(Attempt::Held(holder)) => waiting.goes_on(&holder, log)?,
            // A connection that broke while waiting is made again.
            Err(failure) if failure.exit == Exit::Unreachable && waiting.is_on() => {
                log.warn(format!("{failure}; trying again"));
                wanted = place.wanted(log).await?;
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            () = tokio::time::sleep(waiting.pause()) => {}
            exit = signals.next() => return Err(interrupted(exit)),
        }
    }
}

/// One attempt, brought to its end also when a signal comes: half of it must not stay.
async fn attempt(wanted: &Wanted, record: &Record, signals: &mut Signals) -> Result<Attempt<Held>> {
    let taking = cm_lease::take(wanted, record);
    let mut taking = std::pin::pin!(taking);
    let signal = tokio::select! {
        attempt = &mut taking => return attempt,
        signal = signals.next() => signal,
    };
    if let Attempt::Taken(held) = taking.await? {
        held.release().await?;
    }
    Err(interrupted(signal))
}

fn interrupted(exit: Exit) -> Failure {
    Failure::new(exit, "interrupted", "interrupted before the deploy lock was taken")
}

struct Waiting {
    began: Instant,
    limit: Option<Duration>,
    /// The mean pause that it may come to, in seconds.
    shortest: f64,
    /// Whether the limit is that of a dead holder's lease.
    for_stale: bool,
    /// What was said last about the holder, and when.
    said: Option<(Seen, Instant)>,
}

/// What makes a holder and its step: the nonce and the step.
type Seen = (Option<String>, Option<String>);

impl Waiting {
    fn is_on(&self) -> bool {
        self.limit.is_some_and(|limit| self.began.elapsed() < limit)
    }

    /// Goes on waiting, and says for whom and for how long: at first, when that has changed, and now and then.
    fn goes_on(&mut self, holder: &Holder, log: &Log) -> Result<()> {
        if self.limit.is_none_or(|_| self.for_stale) {
            self.for_stale = true;
            // Again each time: with somebody else there, waiting is over.
            self.limit = holder.stale_for().map(|left| self.began.elapsed() + left + SLACK);
        }
        let Some(limit) = self.limit else { return Err(holder.refusal()) };
        if !self.is_on() {
            return Err(holder.refusal().cause(format!("waited {} s for it", limit.as_secs())));
        }
        self.shortest = if matches!(holder.place, cm_lease::Place::Here(_)) { SHORTEST_HERE } else { SHORTEST };
        let (nonce, step) = holder.identity();
        let seen = (nonce.map(str::to_owned), step.map(str::to_owned));
        let news = |(said, when): &(Seen, Instant)| *said != seen || when.elapsed() >= REMINDER;
        if self.said.as_ref().is_none_or(news) {
            log.info(format!("{}, held by {}", self.so_far(limit), holder.describe()));
            self.said = Some((seen, Instant::now()));
        }
        Ok(())
    }

    /// How long it has waited, and how long it still will.
    fn so_far(&self, limit: Duration) -> String {
        let waited = self.began.elapsed();
        let left = limit.saturating_sub(waited).as_secs();
        match waited.as_secs() {
            0 => format!("waiting up to {left} s for the deploy lock"),
            waited => format!("waited {waited} s for the deploy lock, up to {left} s more"),
        }
    }

    /// Until the next attempt: shorter the longer one waits, at random between half and
    /// one and a half times that, and never past the limit.
    fn pause(&self) -> Duration {
        let waited = self.began.elapsed();
        // The square sets those who came first clearly apart from the crowd.
        let mean = (LONGEST / (1.0 + waited.as_secs_f64().powi(2) / 4.0)).max(self.shortest);
        let pause = Duration::from_secs_f64(mean * (0.5 + random()));
        let left = self.limit.unwrap_or_default().saturating_sub(waited);
        pause.min(left.max(Duration::from_millis(20)))
    }
}

/// From 0 to 1, out of the random bits of a UUID.
fn random() -> f64 {
    let bits = u16::try_from(Uuid::now_v7().as_u128() & 0xFFFF).unwrap_or_default();
    f64::from(bits) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_says_for_how_long() {
        let waiting = |seconds| Waiting {
            began: Instant::now() - Duration::from_secs(seconds),
            limit: None,
            shortest: SHORTEST,
            for_stale: false,
            said: None,
        };
        let limit = Duration::from_secs(600);
        assert!(waiting(0).so_far(limit).starts_with("waiting up to 59"));
        let later = waiting(65).so_far(limit);
        assert!(later.starts_with("waited 65 s for the deploy lock, up to 53"), "{later}");
    }

    #[test]
    fn pauses_are_bounded_and_those_who_came_first_ask_more_often() {
        let waiting = |seconds| Waiting {
            began: Instant::now() - Duration::from_secs(seconds),
            limit: Some(Duration::from_secs(7200)),
            shortest: SHORTEST,
            for_stale: false,
            said: None,
        };
        for _ in 0..200 {
            let (new, old) = (waiting(0).pause().as_secs_f64(), waiting(600).pause().as_secs_f64());
            assert!((0.45..=1.6).contains(&new), "{new}");
            assert!((0.09..=0.31).contains(&old), "{old}");
        }
    }
}
