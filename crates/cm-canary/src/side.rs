//! One side of a canary: what requests came to. A side can be kept in a document, so
//! that what ran before the build can be compared with what runs after it.

use super::stats;
use cm_core::facts::{self, Samples};
use cm_core::redact;
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// What they come to.
    pub samples: Samples,
    /// How the last samples ended: as many failed (or said nothing) in a row.
    row: (u32, u32),
    good: usize,
}

impl From<Samples> for Side {
    /// The side that was kept in a document; no row goes on.
    fn from(samples: Samples) -> Side {
        Side { samples, ..Side::default() }
    }
}

impl Side {
    /// Adds the next sample.
    pub fn add(&mut self, sample: Sample) {
        match sample {
            Sample::Good(latency) => self.add_good(latency.as_secs_f64() * 1_000.0),
            Sample::Failed(why) => {
                (self.samples.requests, self.samples.failures) = (self.samples.requests + 1, self.samples.failures + 1);
                self.row = (self.row.0 + 1, 0);
                self.samples.longest_row = self.samples.longest_row.max(self.row.0);
                self.samples.first_failure.get_or_insert_with(|| redact(&why).into_owned());
            }
            Sample::TurnedAway => self.add_nothing("turned away for asking too often (429)"),
            Sample::NotMade(why) => self.add_nothing(&redact(&why)),
        }
    }

    fn add_good(&mut self, latency_ms: f64) {
        self.samples.requests += 1;
        self.good += 1;
        self.row = (0, 0);
        if self.good > WARM_UP {
            // Two decimals: finer than any clock between two machines.
            self.samples.latencies_ms.push((latency_ms * 100.0).round() / 100.0);
        }
    }

    fn add_nothing(&mut self, why: &str) {
        self.samples.not_judged += 1;
        self.row = (0, self.row.1 + 1);
        self.samples.excuse.get_or_insert_with(|| why.to_owned());
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
    pub fn errors(&self) -> stats::Share {
        stats::Share { hits: self.samples.failures, total: self.samples.requests }
    }

    /// The latencies, sorted.
    pub fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// What the samples come to, for a report.
    pub fn figures(&self) -> facts::Side {
        let sorted = self.sorted();
        let percentile = |step: u8| stats::quantile(&sorted, f64::from(step) / 20.0);
        facts::Side {
            requests: self.samples.requests,
            failures: self.samples.failures,
            median_ms: stats::quantile(&sorted, 0.5),
            p95_ms: stats::quantile(&sorted, 0.95),
            percentiles_ms: (0..=20).filter_map(percentile).collect(),
        }
    }

    /// Both samples in one.
    pub fn and(mut self, later: Side) -> Side {
        self.samples.requests += later.samples.requests;
        self.samples.failures += later.samples.failures;
        self.samples.not_judged += later.samples.not_judged;
        self.samples.longest_row = self.samples.longest_row.max(later.samples.longest_row);
        self.samples.latencies_ms.extend(later.samples.latencies_ms);
        self.samples.first_failure = self.samples.first_failure.or(later.samples.first_failure);
        self.samples.excuse = self.samples.excuse.or(later.samples.excuse);
        self
    }

    /// The same, no larger than a document should be.
    pub fn thinned(mut self) -> Side {
        let step = self.samples.latencies_ms.len().div_ceil(KEPT).max(1);
        self.samples.latencies_ms = self.samples.latencies_ms.into_iter().step_by(step).collect();
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
        let text = serde_json::to_string(&side.samples).expect("JSON");
        let read = Side::from(serde_json::from_str::<Samples>(&text).expect("read"));
        assert_eq!((read.samples.requests, read.samples.failures, read.samples.longest_row), (11, 1, 1));
        assert_eq!(read.samples.latencies_ms, [1.24; 5]);
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
        assert_eq!((side.samples.requests, side.samples.failures, side.samples.not_judged), (10, 6, 3));
        assert_eq!((side.samples.longest_row, side.failing_now(), side.silent_now()), (3, 3, 0));
    }
}
