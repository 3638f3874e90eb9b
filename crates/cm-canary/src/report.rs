//! What a canary came to, as documents and people get it.

use super::rules::{Judgement, Look, Rules};
use super::side::{Sample, Side};
use cm_core::facts::CanaryReport;
use cm_core::redact;
use cm_project::Canary;

/// A report that nothing could be asked, and why.
pub fn not_asked(url: &str, why: String, canary: &Canary) -> CanaryReport {
    let mut side = Side::default();
    side.add(Sample::NotMade(why));
    report(url, &side, None, Rules { canary, changed: &[] }.judge(&side, None, Look::Last))
}

/// The report on a judgement of `new`.
pub fn report(url: &str, new: &Side, old: Option<&Side>, judgement: Judgement) -> CanaryReport {
    let figures = new.figures();
    CanaryReport {
        url: redact(url).into_owned(),
        verdict: judgement.verdict,
        code: judgement.code.to_owned(),
        message: judgement.message,
        severity: judgement.severity,
        requests: figures.requests,
        failures: figures.failures,
        not_judged: new.samples.not_judged,
        detectable_percent: judgement.detectable.map(|rate| (rate * 1_000.0).round() / 10.0),
        median_ms: figures.median_ms,
        p95_ms: figures.p95_ms,
        percentiles_ms: figures.percentiles_ms,
        first_failure: new.samples.first_failure.clone(),
        baseline: old.map(Side::figures),
        traffic: None,
    }
}
