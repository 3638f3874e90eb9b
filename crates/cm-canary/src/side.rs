//! One side of a canary: what requests came to. A side can be kept in a document, so
//! that what ran before the build can be compared with what runs after it.

use cm_core::redact;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The first answers of a service that was just started are slower than it is; as
/// many say nothing about its speed.
const WARM_UP: usize = 5;

/// More latencies than this are thinned out: they are for a document.
const KEPT: usize = 4_000;

/// What one request came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sample {
    /// Answered, and not with an error.
    Good(Duration),
    /// An error, or no answer.
    Failed(String),
    /// Turned away for asking too often (429): it says nothing.
    TurnedAway,
    /// It never got there.
    NotMade(String),
}

/// The samples of one release, in the order in which they came.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Side {
    /// How many requests were judged.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The most failures one after the other.
    pub longest_row: u32,
    /// How the last samples ended: as many failed (or said nothing) in a row.
    #[serde(skip)]
    row: (u32, u32),
    /// The latencies of good answers, in milliseconds; those of the warm-up left out.
    pub latencies_ms: Vec<f64>,
    /// The first failure, or else why a request said nothing.
    pub first_failure: Option<String>,
    /// Why requests said nothing.
    pub excuse: Option<String>,
    #[serde(skip)]
    good: usize,
}

impl Side {
    /// Adds the next sample.
    pub fn add(&mut self, sample: Sample) {
        match sample {
            Sample::Good(latency) => self.add_good(latency.as_secs_f64() * 1_000.0),
            Sample::Failed(why) => {
                (self.requests, self.failures) = (self.requests + 1, self.failures + 1);
                self.row = (self.row.0 + 1, 0);
                self.longest_row = self.longest_row.max(self.row.0);
                self.first_failure.get_or_insert_with(|| redact(&why).into_owned());
            }
            Sample::TurnedAway => self.add_nothing("turned away for asking too often (429)"),
            Sample::NotMade(why) => self.add_nothing(&redact(&why)),
        }
    }

    fn add_good(&mut self, latency_ms: f64) {
        self.requests += 1;
        self.good += 1;
        self.row = (0, 0);
        if self.good > WARM_UP {
            // Two decimals: finer than any clock between two machines.
            self.latencies_ms.push((latency_ms * 100.0).round() / 100.0);
        }
    }

    fn add_nothing(&mut self, why: &str) {
        self.not_judged += 1;
        self.row = (0, self.row.1 + 1);
        self.excuse.get_or_insert_with(|| why.to_owned());
    }

    /// How many failed one after the other, up to the last one.
    pub fn failing_now(&self) -> u32 {
        self.row.0
    }

    /// How many said nothing, one after the other, up to the last one.
    pub fn silent_now(&self) -> u32 {
        self.row.1
    }

    /// The share that failed.
    pub fn errors(&self) -> super::stats::Share {
        super::stats::Share { hits: self.failures, total: self.requests }
    }

    /// The latencies, sorted.
    pub fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// Both samples in one.
    pub fn and(mut self, later: Side) -> Side {
        self.requests += later.requests;
        self.failures += later.failures;
        self.not_judged += later.not_judged;
        self.longest_row = self.longest_row.max(later.longest_row);
        self.latencies_ms.extend(later.latencies_ms);
        self.first_failure = self.first_failure.or(later.first_failure);
        self.excuse = self.excuse.or(later.excuse);
        self
    }

    /// The same, no larger than a document should be.
    pub fn thinned(mut self) -> Side {
        let step = self.latencies_ms.len().div_ceil(KEPT).max(1);
        self.latencies_ms = self.latencies_ms.into_iter().step_by(step).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_survives_a_document() {
        let mut side = Side::default();
        (0..10).for_each(|n| side.add(Sample::Good(Duration::from_micros(1_234 + n))));
        side.add(Sample::Failed("answered 503".to_owned()));
        let text = serde_json::to_string(&side).expect("JSON");
        let read: Side = serde_json::from_str(&text).expect("read");
        assert_eq!((read.requests, read.failures, read.longest_row), (11, 1, 1));
        assert_eq!(read.latencies_ms, [1.24; 5]);
    }

    #[test]
    fn rows_are_counted_as_they_come() {
        let mut side = Side::default();
        for sample in "..xx.x??t.xxx".chars() {
            side.add(match sample {
                '.' => Sample::Good(Duration::from_millis(1)),
                'x' => Sample::Failed("answered 500".to_owned()),
                't' => Sample::TurnedAway,
                _ => Sample::NotMade("the name does not resolve here".to_owned()),
            });
        }
        assert_eq!((side.requests, side.failures, side.not_judged), (10, 6, 3));
        assert_eq!((side.longest_row, side.failing_now(), side.silent_now()), (3, 3, 0));
    }
}
