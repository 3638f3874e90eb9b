//! What a canary came to, as documents and people get it.

use super::rules::{Judgement, Look, Rules};
use super::side::{Sample, Side};
use super::stats;
use super::verdict::Verdict;
use cm_core::redact;
use cm_project::{Canary, Severity};
use serde::Serialize;

/// A canary's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    pub url: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, for scripts: `ok`, `row`, `errors`, `latency`, …
    pub code: &'static str,
    /// Why, for people.
    pub message: String,
    /// How bad it is, by the runbook's escalation table.
    pub severity: Severity,
    /// How many requests were judged; fewer than wanted if it was decided early.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The smallest error rate, in percent, that would have shown 95 times in 100.
    pub detectable_percent: Option<f64>,
    /// The median latency of good answers.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept; empty if there were none.
    pub percentiles_ms: Vec<f64>,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// What the old release did; `None` where there was nothing to compare with.
    pub baseline: Option<Baseline>,
    /// What users got, before and since; `None` where no access log was read.
    pub traffic: Option<Traffic>,
}

/// The old release in a report, or what users got from one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// How many requests were judged.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// The median latency of good answers.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept; empty if there were none.
    pub percentiles_ms: Vec<f64>,
}

impl Baseline {
    /// What `side` comes to.
    pub fn of(side: &Side) -> Baseline {
        let sorted = side.sorted();
        let percentile = |step: u8| stats::quantile(&sorted, f64::from(step) / 20.0);
        Baseline {
            requests: side.requests,
            failures: side.failures,
            median_ms: stats::quantile(&sorted, 0.5),
            p95_ms: stats::quantile(&sorted, 0.95),
            percentiles_ms: (0..=20).filter_map(percentile).collect(),
        }
    }
}

/// What users got, in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traffic {
    /// Where it was read: a service's name, or a path on the host.
    pub access_log: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, for scripts, as [`Report::code`].
    pub code: &'static str,
    /// Since the switch.
    pub new: Baseline,
    /// Before the build.
    pub old: Baseline,
}

/// A report that nothing could be asked, and why.
pub fn not_asked(url: &str, why: String, canary: &Canary) -> Report {
    let mut side = Side::default();
    side.add(Sample::NotMade(why));
    report(url, &side, None, Rules { canary, changed: &[] }.judge(&side, None, Look::Last))
}

/// The report on a judgement of `new`.
pub fn report(url: &str, new: &Side, old: Option<&Side>, judgement: Judgement) -> Report {
    let Baseline { median_ms, p95_ms, percentiles_ms, .. } = Baseline::of(new);
    Report {
        url: redact(url).into_owned(),
        verdict: judgement.verdict,
        code: judgement.code,
        message: judgement.message,
        severity: judgement.severity,
        requests: new.requests,
        failures: new.failures,
        not_judged: new.not_judged,
        detectable_percent: judgement.detectable.map(|rate| (rate * 1_000.0).round() / 10.0),
        median_ms,
        p95_ms,
        percentiles_ms,
        first_failure: new.first_failure.clone(),
        baseline: old.map(Baseline::of),
        traffic: None,
    }
}
