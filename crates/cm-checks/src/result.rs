//! What a check came to, and what all of them together say about it: one silence is
//! production's fault, silence everywhere can as well be this machine's network.

use super::no_answer::NoAnswer;
use cm_core::facts::{CheckResult, CheckVerdict};
use cm_project::Severity;

/// All results in one: a failure outweighs what is unknown, that outweighs a
/// warning. No result at all is unknown.
pub fn overall(results: &[CheckResult]) -> CheckVerdict {
    let any = |outcome| results.iter().any(|result| result.verdict == outcome);
    match () {
        () if any(CheckVerdict::Fail) => CheckVerdict::Fail,
        () if any(CheckVerdict::Unknown) || results.is_empty() => CheckVerdict::Unknown,
        () if any(CheckVerdict::Warn) => CheckVerdict::Warn,
        () => CheckVerdict::Pass,
    }
}

/// A timeout is a failure of production only if something else there gave a sign of
/// life. Silence everywhere can as well be this machine's network.
pub fn doubt_silence(results: &mut [CheckResult]) {
    let silence =
        |result: &CheckResult| result.verdict == CheckVerdict::Unknown || result.code == NoAnswer::TimedOut.code();
    if !results.iter().all(silence) {
        return;
    }
    for result in results.iter_mut().filter(|result| result.verdict == CheckVerdict::Fail) {
        result.verdict = CheckVerdict::Unknown;
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
        result.verdict = CheckVerdict::Fail;
        result.message.push_str("; other names do");
    }
}

/// Slow answers, and those that came only after all, are the runbook's P2, however bad
/// it would be if the check failed.
pub fn class(result: &mut CheckResult) {
    let failed = result.severity;
    result.severity = match (result.verdict, result.code.as_str()) {
        (CheckVerdict::Fail, _) => failed,
        (CheckVerdict::Warn, "slow" | "retried" | "degraded") => failed.max(Some(Severity::P2)),
        (CheckVerdict::Warn, _) => Some(Severity::P3),
        (CheckVerdict::Pass | CheckVerdict::Unknown, _) => None,
    };
    result.response = result.severity.map(|severity| severity.response().to_owned());
}
