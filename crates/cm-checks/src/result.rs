//! What a check came to, and what all of them together say about it: one silence is
//! production's fault, silence everywhere can as well be this machine's network.

use super::no_answer::NoAnswer;
use cm_project::Severity;
use schemars::JsonSchema;
use serde::Serialize;

/// What a check, or all of them, came to.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CheckVerdict")]
pub enum Outcome {
    /// As expected.
    Pass,
    /// As expected, but somebody should know something.
    Warn,
    /// Not as expected, or no answer.
    Fail,
    /// Nothing was learned.
    Unknown,
}

/// The result of one check.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct CheckResult {
    /// Its name in `cm.toml`.
    pub name: String,
    /// What was asked; as written in `cm.toml` where that could not be expanded.
    pub url: String,
    /// What it came to.
    pub verdict: Outcome,
    /// Why, for scripts: `ok`, `status`, `refused`, …
    pub code: &'static str,
    /// Why, for people: a fragment such as `503, wanted 200`.
    pub message: String,
    /// How bad that is, by the runbook's escalation table; `None` where it passed, or nothing was learned.
    pub severity: Option<Severity>,
    /// What the runbook does about it.
    pub response: Option<&'static str>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// From the first byte sent to the last one read.
    pub latency_ms: Option<u64>,
    /// How often it was tried; more than once only where connections failed.
    pub attempts: u32,
    /// The beginning of the body, for people; not part of any record.
    #[serde(skip)]
    pub body: Option<String>,
}

/// All results in one: a failure outweighs what is unknown, that outweighs a
/// warning. No result at all is unknown.
pub fn overall(results: &[CheckResult]) -> Outcome {
    let any = |outcome| results.iter().any(|result| result.verdict == outcome);
    match () {
        () if any(Outcome::Fail) => Outcome::Fail,
        () if any(Outcome::Unknown) || results.is_empty() => Outcome::Unknown,
        () if any(Outcome::Warn) => Outcome::Warn,
        () => Outcome::Pass,
    }
}

/// A timeout is a failure of production only if something else there gave a sign of
/// life. Silence everywhere can as well be this machine's network.
pub fn doubt_silence(results: &mut [CheckResult]) {
    let silence = |result: &CheckResult| result.verdict == Outcome::Unknown || result.code == NoAnswer::TimedOut.code();
    if !results.iter().all(silence) {
        return;
    }
    for result in results.iter_mut().filter(|result| result.verdict == Outcome::Fail) {
        result.verdict = Outcome::Unknown;
        result.message.push_str("; nothing at all answered this machine");
    }
}

/// A name that does not resolve can be this machine's trouble, but not where the
/// resolver answers for other names and is sure that there is none like this.
pub fn believe_resolver(results: &mut [CheckResult], no_such_name: &[bool]) {
    let named = |result: &CheckResult| {
        let host = cm_http::host(&result.url).unwrap_or_default();
        let local = host == "localhost" || host.ends_with(".localhost") || host.starts_with('[');
        result.status.is_some() && !local && host.parse::<std::net::IpAddr>().is_err()
    };
    if !results.iter().any(named) {
        return;
    }
    for (result, _) in results.iter_mut().zip(no_such_name).filter(|(_, sure)| **sure) {
        result.verdict = Outcome::Fail;
        result.message.push_str("; other names do");
    }
}

/// Slow answers, and those that came only after all, are the runbook's P2, however bad
/// it would be if the check failed.
pub fn class(result: &mut CheckResult) {
    let failed = result.severity;
    result.severity = match (result.verdict, result.code) {
        (Outcome::Fail, _) => failed,
        (Outcome::Warn, "slow" | "retried" | "degraded") => failed.max(Some(Severity::P2)),
        (Outcome::Warn, _) => Some(Severity::P3),
        (Outcome::Pass | Outcome::Unknown, _) => None,
    };
    result.response = result.severity.map(Severity::response);
}
