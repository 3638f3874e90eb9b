//! `--rate-limit`: how fast a database is read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets no more through than so many bytes a second, shared by all that read.
#[derive(Debug)]
pub struct Pace {
    rate: Option<u64>,
    /// When what was read so far may have been read.
    due: Mutex<Instant>,
}

impl Pace {
    /// `rate` in bytes a second; without one, as fast as it goes.
    pub fn new(rate: Option<u64>) -> Self {
        Pace { rate: rate.filter(|rate| *rate > 0), due: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may have been read.
    pub async fn wait(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let until = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *due
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pace_is_kept() {
        let (pace, clock) = (Pace::new(Some(1_000_000)), Instant::now());
        for _ in 0..4 {
            pace.wait(50_000).await;
        }
        assert!(clock.elapsed() >= Duration::from_millis(200));
    }
}
