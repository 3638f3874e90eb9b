//! What was found, in words and as the end of the program.

use cm_core::{Done, Exit, Failure, Log, Result};
use cm_gate::canary::{Report, Verdict};
use cm_gate::checks::{self, CheckResult, Outcome};
use serde_json::{Value, json};

/// A message names this many checks; the lines above it name all.
const NAMED: usize = 3;

/// All results of a verification.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The canary's; `None` if it was not asked.
    pub canary: Option<Report>,
    /// The checks'; empty if they were not made.
    pub checks: Vec<CheckResult>,
}

impl Results {
    /// The worst of all. Nothing at all is unknown.
    pub fn verdict(&self) -> Outcome {
        let canary = self.canary.as_ref().map(|canary| match canary.verdict {
            Verdict::Pass => Outcome::Pass,
            Verdict::Fail => Outcome::Fail,
            Verdict::Inconclusive => Outcome::Warn,
        });
        let checks = Some(checks::overall(&self.checks)).filter(|_| !self.checks.is_empty());
        let rank = |outcome: &Outcome| match outcome {
            Outcome::Pass => 0,
            Outcome::Warn => 1,
            Outcome::Unknown => 2,
            Outcome::Fail => 3,
        };
        let alone_and_unsure = self.checks.is_empty() && canary == Some(Outcome::Warn);
        let worst = canary.into_iter().chain(checks).max_by_key(rank).unwrap_or(Outcome::Unknown);
        if alone_and_unsure { Outcome::Unknown } else { worst }
    }

    /// For the document and for CI.
    pub fn to_json(&self) -> Value {
        json!({"verdict": self.verdict(), "canary": self.canary, "checks": self.checks})
    }

    /// One line on the canary.
    pub fn say_canary(&self, log: &Log) {
        let Some(canary) = &self.canary else { return };
        let latency = canary.median_ms.map_or(String::new(), |ms| format!("; median {ms} ms"));
        let text = format!("Canary  {}{latency}", canary.message);
        match canary.verdict {
            Verdict::Pass => log.pass(text),
            Verdict::Inconclusive => log.warn(format!("{text} (inconclusive)")),
            Verdict::Fail => log.fail(text),
        }
    }

    /// One line on each check, in the runbook's words; its body for the curious.
    pub fn say_checks(&self, log: &Log) {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for check in &self.checks {
            let text = format!("{:width$}  {}", check.name, check.message);
            match check.verdict {
                Outcome::Pass => log.pass(text),
                Outcome::Warn => log.warn(text),
                Outcome::Fail => log.fail(text),
                Outcome::Unknown => log.warn(format!("{text} (unknown)")),
            }
            if let Some(body) = check.body.as_ref().filter(|body| !body.is_empty()) {
                log.debug(format!("{}: {body}", check.url));
            }
        }
    }

    fn with(&self, verdict: Outcome) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(move |check| check.verdict == verdict)
    }

    /// The failed or unknown checks, in words.
    fn names(&self, verdict: Outcome) -> String {
        let lines = self.with(verdict).take(NAMED).map(|check| format!("{}: {}", check.name, check.message));
        let mut text = lines.collect::<Vec<_>>().join("; ");
        let more = self.with(verdict).count().saturating_sub(NAMED);
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }

    /// Why this verification does not pass, if it does not.
    pub fn failure(&self) -> Option<Failure> {
        let count = self.checks.len();
        let canary = self.canary.as_ref();
        if let Some(canary) = canary.filter(|canary| canary.verdict == Verdict::Fail) {
            let failure =
                Failure::new(Exit::VerifyFailed, "canary.failed", format!("the canary failed: {}", canary.message));
            let checks = self.names(Outcome::Fail);
            let failure = if checks.is_empty() { failure } else { failure.cause(format!("also: {checks}")) };
            return Some(failure.hint("`cm-rollback` goes back to the last verified release"));
        }
        match self.verdict() {
            Outcome::Pass | Outcome::Warn => None,
            Outcome::Fail => {
                let message = format!(
                    "{} of {count} checks failed: {}",
                    self.with(Outcome::Fail).count(),
                    self.names(Outcome::Fail)
                );
                Some(Failure::new(Exit::VerifyFailed, "verify.failed", message).hint(
                    "look at the logs of the services behind them; `cm-rollback` goes back to the last verified release",
                ))
            }
            Outcome::Unknown => Some(self.unknown(count)),
        }
    }

    fn unknown(&self, count: usize) -> Failure {
        let message = match (&self.canary, count) {
            (Some(canary), 0) => format!("the canary says nothing: {}", canary.message),
            _ => {
                let unknown = self.with(Outcome::Unknown).count();
                format!("{unknown} of {count} checks could not be made: {}", self.names(Outcome::Unknown))
            }
        };
        Failure::new(Exit::VerifyUnknown, "verify.unknown", message)
            .hint("this says nothing about production; mend it here, then: cm-verify </dev/null")
            .retryable()
    }

    /// Ends the program. `asked` says whether checks were asked for: without them
    /// nothing is verified, even if the canary passed.
    ///
    /// # Errors
    /// [`Exit::VerifyFailed`] or [`Exit::VerifyUnknown`].
    pub fn conclude(&self, asked: bool, log: &Log) -> Result<Done> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let (count, warnings) = (self.checks.len(), self.with(Outcome::Warn).count());
        if !asked {
            return Ok(Done::skipped("the canary passed; no checks were made"));
        }
        if self.verdict() == Outcome::Pass {
            log.success(format!("all {count} checks passed"));
            return Ok(Done::ok(format!("{count} checks passed")));
        }
        let canary = self.canary.as_ref().filter(|canary| canary.verdict == Verdict::Inconclusive);
        let canary = canary.map_or("", |_| ", canary inconclusive");
        let summary = format!("{count} checks passed, {warnings} of them with a warning{canary}");
        log.warn(&summary);
        Ok(Done::warned(summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Format, Level};

    fn check(verdict: Outcome) -> CheckResult {
        CheckResult {
            name: "Gateway health".to_owned(),
            url: "http://x/".to_owned(),
            verdict,
            code: "x",
            message: "503, wanted 200".to_owned(),
            status: None,
            latency_ms: None,
            attempts: 1,
            body: Some("secret of the body".to_owned()),
        }
    }

    fn canary(verdict: Verdict) -> Report {
        Report {
            url: "http://x/".to_owned(),
            verdict,
            message: "1 of 20 requests failed".to_owned(),
            wanted: 20,
            requests: 20,
            failures: 1,
            max_failures: 0,
            not_judged: 0,
            detectable_percent: None,
            median_ms: None,
            p95_ms: None,
            first_failure: None,
        }
    }

    /// The exit code and the failure's code; 0 for a pass.
    fn end(canary_verdict: Option<Verdict>, outcomes: &[Outcome]) -> (u8, String) {
        let results = Results {
            canary: canary_verdict.map(canary),
            checks: outcomes.iter().map(|outcome| check(*outcome)).collect(),
        };
        let log = Log::new("test", Format::Json, Level::Fail);
        match results.conclude(true, &log) {
            Ok(_) => (0, String::new()),
            Err(failure) => (failure.exit.code(), failure.code),
        }
    }

    #[test]
    fn the_worst_result_decides() {
        use Outcome::{Fail, Pass, Unknown, Warn};
        for (canary, outcomes, exit, code) in [
            (Some(Verdict::Pass), &[Pass, Pass][..], 0, ""),
            (Some(Verdict::Pass), &[Pass, Warn], 0, ""),
            (None, &[Pass], 0, ""),
            (Some(Verdict::Inconclusive), &[Pass], 0, ""),
            (Some(Verdict::Pass), &[Pass, Unknown], 51, "verify.unknown"),
            (Some(Verdict::Pass), &[Pass, Unknown, Fail], 50, "verify.failed"),
            (Some(Verdict::Fail), &[Pass], 50, "canary.failed"),
            (Some(Verdict::Fail), &[], 50, "canary.failed"),
            (Some(Verdict::Inconclusive), &[], 51, "verify.unknown"),
            (None, &[], 51, "verify.unknown"),
        ] {
            assert_eq!(end(canary, outcomes), (exit, code.to_owned()), "{canary:?} {outcomes:?}");
        }
    }

    #[test]
    fn bodies_stay_out_of_documents() {
        let results = Results { canary: None, checks: vec![check(Outcome::Pass)] };
        assert!(!results.to_json().to_string().contains("secret of the body"));
    }
}
