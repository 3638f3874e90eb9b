//! The canary: a number of requests right after the switch, and what they prove.
//!
//! A handful of good answers proves little, so the report says what it would have
//! seen: with n requests and no failure, an error rate below about 3/n can hide.
//! Gross failure (three in a row) decides at once; requests that say nothing about
//! production, because they never got there, are not counted as either.

use crate::checks::no_answer::NoAnswer;
use crate::words;
use cm_core::{Exit, Result, redact};
use cm_http::{Client, Request};
use cm_project::Canary;
use serde::Serialize;
use std::time::Duration;

/// As many failures, or requests that could not be made, in a row decide at once.
const IN_A_ROW: u32 = 3;

/// An error rate that a passed canary rules out is ruled out with this probability.
const CONFIDENCE: f64 = 0.95;

/// What a canary came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No more failures than allowed.
    Pass,
    /// Too many.
    Fail,
    /// Too few requests could be judged to say either.
    Inconclusive,
}

/// What one request came to.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Sample {
    Good(Duration),
    /// An error, or no answer.
    Failed(String),
    /// Turned away for asking too often (429): it says nothing.
    TurnedAway,
    /// It never got there.
    NotMade(String),
}

/// A canary's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    pub url: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, for people.
    pub message: String,
    /// How many requests should be made.
    pub wanted: u32,
    /// How many were made and judged; fewer if it was decided early.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many may fail.
    pub max_failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The smallest error rate, in percent, that would have been noticed 95 times in 100.
    pub detectable_percent: Option<f64>,
    /// The median latency of good answers.
    pub median_ms: Option<u64>,
    /// The latency that 95 % of the good answers kept.
    pub p95_ms: Option<u64>,
    /// The first failure, in words.
    pub first_failure: Option<String>,
}

/// Makes the canary's requests, one after the other; `None` if `cm.toml` names no URL.
/// Each takes at most `limit`.
///
/// # Errors
/// [`Exit::Bug`] if the HTTP client cannot be set up.
pub async fn run(canary: &Canary, limit: Duration) -> Result<Option<Report>> {
    let Some(template) = &canary.url else { return Ok(None) };
    let url = match template.expand() {
        Ok(url) => url,
        Err(failure) => {
            let mut tally = Tally::new(canary);
            tally.add(Sample::NotMade(failure.to_string()));
            return Ok(Some(tally.report(template.as_written())));
        }
    };
    let client = Client::new(limit)?;
    let mut tally = Tally::new(canary);
    while !tally.is_decided() {
        tally.add(ask(&client, &url).await);
    }
    Ok(Some(tally.report(&url)))
}

async fn ask(client: &Client, url: &str) -> Sample {
    let request = Request { url: url.to_owned(), ..Request::default() };
    match client.send(&request, Exit::VerifyUnknown).await {
        Ok(answer) if answer.status == 429 => Sample::TurnedAway,
        Ok(answer) if answer.status >= 400 => Sample::Failed(format!("answered {}", answer.status)),
        Ok(answer) => Sample::Good(answer.latency),
        Err(failure) => {
            let reason = NoAnswer::of(&failure);
            let cause = failure.causes.last().map_or("no reason known", String::as_str);
            let words = format!("{} ({cause})", reason.words());
            if reason.says_nothing() { Sample::NotMade(words) } else { Sample::Failed(words) }
        }
    }
}

/// The samples so far.
struct Tally {
    wanted: u32,
    max_failures: u32,
    samples: Vec<Sample>,
}

impl Tally {
    fn new(canary: &Canary) -> Self {
        Tally { wanted: canary.requests, max_failures: canary.max_failures.unwrap_or(0), samples: Vec::new() }
    }

    fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    fn count(&self, which: impl Fn(&Sample) -> bool) -> u32 {
        self.samples.iter().filter(|sample| which(sample)).count().try_into().unwrap_or(u32::MAX)
    }

    fn failures(&self) -> u32 {
        self.count(|sample| matches!(sample, Sample::Failed(_)))
    }

    fn judged(&self) -> u32 {
        self.count(|sample| matches!(sample, Sample::Good(_) | Sample::Failed(_)))
    }

    /// Whether the last samples, as many as decide, are all of this kind.
    fn ends_with(&self, which: impl Fn(&Sample) -> bool) -> bool {
        let last = self.samples.iter().rev().take(IN_A_ROW as usize);
        self.samples.len() >= IN_A_ROW as usize && last.clone().all(which)
    }

    fn is_gross(&self) -> bool {
        self.ends_with(|sample| matches!(sample, Sample::Failed(_)))
    }

    /// Whether more requests would change nothing.
    fn is_decided(&self) -> bool {
        let hopeless = self.ends_with(|sample| matches!(sample, Sample::NotMade(_) | Sample::TurnedAway));
        self.samples.len() >= self.wanted as usize || self.failures() > self.max_failures || self.is_gross() || hopeless
    }

    /// The error rate that would have made this canary fail in 95 of 100 cases.
    fn detectable(&self) -> Option<f64> {
        let rate = failures_expected(self.max_failures) / f64::from(self.judged());
        Some(rate).filter(|rate| *rate <= 1.0)
    }

    fn verdict(&self) -> Verdict {
        match () {
            () if self.failures() > self.max_failures || self.is_gross() => Verdict::Fail,
            () if self.judged() < self.wanted || self.detectable().is_none() => Verdict::Inconclusive,
            () => Verdict::Pass,
        }
    }

    fn report(&self, url: &str) -> Report {
        let verdict = self.verdict();
        let mut latencies: Vec<Duration> = self.samples.iter().filter_map(Sample::latency).collect();
        latencies.sort();
        let detectable = self.detectable().filter(|_| verdict == Verdict::Pass);
        Report {
            url: redact(url).into_owned(),
            verdict,
            message: self.message(verdict),
            wanted: self.wanted,
            requests: self.judged(),
            failures: self.failures(),
            max_failures: self.max_failures,
            not_judged: self.count(|sample| matches!(sample, Sample::TurnedAway | Sample::NotMade(_))),
            detectable_percent: detectable.map(|rate| (rate * 1_000.0).round() / 10.0),
            median_ms: quantile(&latencies, 0.5),
            p95_ms: quantile(&latencies, 0.95),
            first_failure: self.samples.iter().find_map(Sample::failure).map(str::to_owned),
        }
    }

    fn message(&self, verdict: Verdict) -> String {
        let counted = format!("{} of {} requests failed", self.failures(), self.judged());
        let because = self.samples.iter().find_map(Sample::failure).map_or(String::new(), |why| format!(": {why}"));
        match (verdict, self.detectable()) {
            (Verdict::Fail, _) => format!("{counted}{because}"),
            (Verdict::Pass, Some(rate)) => {
                format!("{counted}; an error rate of {:.0} % or more would have shown", rate * 100.0)
            }
            _ if self.judged() == 0 && !self.samples.is_empty() => {
                format!("no request could be judged{}", self.excuse())
            }
            _ => format!("{counted}; {} requests are too few to say more{}", self.judged(), self.excuse()),
        }
    }

    /// Why requests were not judged.
    fn excuse(&self) -> String {
        let why = self.samples.iter().find_map(|sample| match sample {
            Sample::NotMade(why) => Some(why.as_str()),
            Sample::TurnedAway => Some("turned away for asking too often (429)"),
            _ => None,
        });
        why.map_or(String::new(), |why| format!(": {why}"))
    }
}

impl Sample {
    fn latency(&self) -> Option<Duration> {
        match self {
            Sample::Good(latency) => Some(*latency),
            _ => None,
        }
    }

    fn failure(&self) -> Option<&str> {
        match self {
            Sample::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// The nearest-rank quantile, in milliseconds.
fn quantile(sorted: &[Duration], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let value = sorted.get(rank.checked_sub(1)?)?;
    Some(words::milliseconds(*value))
}

/// How many failures must be expected (as the mean of a Poisson distribution) for
/// more than `allowed` to happen with [`CONFIDENCE`]: 3.0 for none allowed, 4.7 for one.
fn failures_expected(allowed: u32) -> f64 {
    let missed = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=allowed {
            term *= mean / f64::from(k);
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * f64::from(allowed));
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if missed(middle) > 1.0 - CONFIDENCE { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(requests: u32, max_failures: u32) -> Canary {
        Canary { requests, max_failures: Some(max_failures), ..Canary::default() }
    }

    /// `.` good, `x` failed, `t` turned away, `?` not made.
    fn play(samples: &str, requests: u32, max_failures: u32) -> (Verdict, usize) {
        let mut tally = Tally::new(&canary(requests, max_failures));
        for sample in samples.chars() {
            if tally.is_decided() {
                break;
            }
            tally.add(match sample {
                '.' => Sample::Good(Duration::from_millis(10)),
                'x' => Sample::Failed("answered 503".to_owned()),
                't' => Sample::TurnedAway,
                _ => Sample::NotMade("the name does not resolve here".to_owned()),
            });
        }
        (tally.verdict(), tally.samples.len())
    }

    #[test]
    fn verdicts_and_when_they_are_certain() {
        for (samples, requests, allowed, verdict, made) in [
            ("....................", 20, 0, Verdict::Pass, 20),
            ("...x................", 20, 0, Verdict::Fail, 4),
            ("..x.....x...........", 20, 2, Verdict::Pass, 20),
            ("..x.....x....x......", 20, 2, Verdict::Fail, 14),
            // Gross failure decides, whatever is allowed.
            ("....xxx.............", 20, 10, Verdict::Fail, 7),
            ("xx.xx.xx.xx.........", 20, 10, Verdict::Pass, 20),
            // What could not be judged is no pass.
            ("????????????????????", 20, 0, Verdict::Inconclusive, 3),
            ("...............tt...", 20, 0, Verdict::Inconclusive, 20),
            ("..t..t.x............", 20, 0, Verdict::Fail, 8),
            // Two good answers prove nothing.
            ("..", 2, 0, Verdict::Inconclusive, 2),
            ("", 0, 0, Verdict::Inconclusive, 0),
        ] {
            assert_eq!(play(samples, requests, allowed), (verdict, made), "{samples} of {requests}, {allowed} allowed");
        }
    }

    #[test]
    fn the_smallest_visible_error_rate_is_the_rule_of_three() {
        for (allowed, expected) in [(0, 2.996), (1, 4.744), (2, 6.296), (5, 10.513)] {
            let found = failures_expected(allowed);
            assert!((found - expected).abs() < 0.001, "{allowed}: {found}");
        }
    }

    #[test]
    fn a_report_says_what_it_could_have_seen() {
        let mut tally = Tally::new(&canary(20, 0));
        (1..=20).for_each(|n| tally.add(Sample::Good(Duration::from_millis(n))));
        let report = tally.report("http://x/");
        assert_eq!((report.median_ms, report.p95_ms, report.detectable_percent), (Some(10), Some(19), Some(15.0)));
        assert_eq!(report.message, "0 of 20 requests failed; an error rate of 15 % or more would have shown");
    }
}
