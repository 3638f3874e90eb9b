//! What was found, in words and as the end of the program.

use cm_canary::Side;
use cm_checks as checks;
use cm_core::facts::{CanaryReport, CanaryVerdict, CheckResult, CheckVerdict, VerifyFacts};
use cm_core::{Done, Exit, Failure, Log, Result, plural};
use cm_project::{Consequence, Severity};

/// A message names this many checks; the lines above it name all.
const NAMED: usize = 3;

/// All results of a verification.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The canary's; `None` if it was not asked.
    pub canary: Option<CanaryReport>,
    /// What its requests came to.
    pub answers: Option<Side>,
    /// The checks'; empty if they were not made.
    pub checks: Vec<CheckResult>,
    /// Whether a deployment waits for the verdict: it is not rolled back for what the
    /// runbook fixes forward. Alone, a check that fails is a failure.
    pub deploying: bool,
    /// What `cm.toml` makes of an inconclusive canary.
    pub inconclusive: Option<Consequence>,
}

impl Results {
    /// The worst of all. Nothing at all is unknown.
    pub fn verdict(&self) -> CheckVerdict {
        let canary = self.canary.as_ref().map(|canary| self.of_canary(canary.verdict));
        let checks = Some(self.of_checks()).filter(|_| !self.checks.is_empty());
        let rank = |outcome: &CheckVerdict| match outcome {
            CheckVerdict::Pass => 0,
            CheckVerdict::Warn => 1,
            CheckVerdict::Unknown => 2,
            CheckVerdict::Fail => 3,
        };
        let alone_and_unsure = self.checks.is_empty() && canary == Some(CheckVerdict::Warn);
        let worst = canary.into_iter().chain(checks).max_by_key(rank).unwrap_or(CheckVerdict::Unknown);
        if alone_and_unsure { CheckVerdict::Unknown } else { worst }
    }

    fn of_canary(&self, verdict: CanaryVerdict) -> CheckVerdict {
        match (verdict, self.inconclusive) {
            (CanaryVerdict::Pass, _) | (CanaryVerdict::Inconclusive, Some(Consequence::Pass)) => CheckVerdict::Pass,
            (CanaryVerdict::Fail, _) | (CanaryVerdict::Inconclusive, Some(Consequence::Fail)) => CheckVerdict::Fail,
            (CanaryVerdict::Inconclusive, _) => CheckVerdict::Warn,
        }
    }

    fn of_checks(&self) -> CheckVerdict {
        match (checks::overall(&self.checks), self.severity()) {
            (CheckVerdict::Fail, Some(severity)) if self.deploying && !severity.takes_back() => {
                let unknown = self.with(CheckVerdict::Unknown).next().is_some();
                if unknown { CheckVerdict::Unknown } else { CheckVerdict::Warn }
            }
            (outcome, _) => outcome,
        }
    }

    /// How bad it is: the worst of what failed. Where nothing answers as it should, it
    /// is as bad as it gets.
    pub fn severity(&self) -> Option<Severity> {
        let failed = || self.with(CheckVerdict::Fail);
        let everything = failed().count() > 1 && failed().count() == self.checks.len();
        let canary = self.canary.as_ref().filter(|canary| self.of_canary(canary.verdict) == CheckVerdict::Fail);
        let worst = failed().filter_map(|check| check.severity).chain(canary.map(|canary| canary.severity)).min();
        if everything { Some(Severity::P0) } else { worst }
    }

    /// For the document and for CI.
    pub fn facts(&self) -> VerifyFacts {
        VerifyFacts {
            verdict: Some(Some(self.verdict())),
            severity: Some(self.severity()),
            response: Some(self.severity().map(|severity| severity.response().to_owned())),
            canary: Some(self.canary.clone()),
            checks: Some(self.checks.clone()),
            ..VerifyFacts::default()
        }
    }

    /// The answers to a canary that passed: they say what this release is like.
    pub fn good_answers(&self) -> Option<&Side> {
        self.answers.as_ref().filter(|_| self.canary.as_ref().is_some_and(|it| it.verdict == CanaryVerdict::Pass))
    }

    /// All of it, a line each.
    pub fn say(&self, log: &Log) {
        self.say_canary(log);
        self.say_checks(log);
    }

    /// One line on the canary.
    fn say_canary(&self, log: &Log) {
        let Some(canary) = &self.canary else { return };
        let text = format!("Canary  {}", canary.message);
        match (canary.verdict, self.of_canary(canary.verdict)) {
            (CanaryVerdict::Pass, _) => log.pass(text),
            (CanaryVerdict::Inconclusive, CheckVerdict::Fail) => log.fail(format!("{text} (inconclusive)")),
            (CanaryVerdict::Inconclusive, _) => log.warn(format!("{text} (inconclusive)")),
            (CanaryVerdict::Fail, _) => log.fail(text),
        }
    }

    /// One line on each check, in the runbook's words; its body for the curious.
    fn say_checks(&self, log: &Log) {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for check in &self.checks {
            let class = check.severity.filter(|_| check.verdict == CheckVerdict::Fail);
            let class = class.map_or(String::new(), |class| format!(" — {}: {}", class.as_str(), class.response()));
            let text = format!("{:width$}  {}{class}", check.name, check.message);
            match check.verdict {
                CheckVerdict::Pass => log.pass(text),
                CheckVerdict::Warn => log.warn(text),
                CheckVerdict::Fail => log.fail(text),
                CheckVerdict::Unknown => log.warn(format!("{text} (unknown)")),
            }
            if let Some(body) = check.body.as_ref().filter(|body| !body.is_empty()) {
                log.debug(format!("{}: {body}", check.url));
            }
        }
    }

    fn with(&self, verdict: CheckVerdict) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(move |check| check.verdict == verdict)
    }

    /// The failed or unknown checks, in words.
    fn names(&self, verdict: CheckVerdict) -> String {
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
        if let Some(canary) = canary.filter(|canary| self.of_canary(canary.verdict) == CheckVerdict::Fail) {
            let failure =
                Failure::new(Exit::VerifyFailed, "canary.failed", format!("the canary failed: {}", canary.message));
            let checks = self.names(CheckVerdict::Fail);
            let failure = if checks.is_empty() { failure } else { failure.cause(format!("also: {checks}")) };
            return Some(failure.hint("`cm-rollback` rolls back to the last verified release"));
        }
        match self.verdict() {
            CheckVerdict::Pass | CheckVerdict::Warn => None,
            CheckVerdict::Fail => {
                let severity = self.severity().unwrap_or_default();
                let message = format!(
                    "{} of {} failed ({}): {}",
                    self.with(CheckVerdict::Fail).count(),
                    plural(count as u64, "check"),
                    severity.as_str(),
                    self.names(CheckVerdict::Fail)
                );
                Some(Failure::new(Exit::VerifyFailed, "verify.failed", message).hint(format!(
                    "{}: {}; `cm-rollback` rolls back to the last verified release",
                    severity.as_str(),
                    severity.response()
                )))
            }
            // cm.toml says that an unsure canary is a warning; the facts still say unknown.
            CheckVerdict::Unknown if self.deploying && count == 0 && self.canary.is_some() => None,
            CheckVerdict::Unknown => Some(self.unknown(count)),
        }
    }

    /// What fails and is fixed forward, in a deployment.
    pub fn fixed_forward(&self) -> Option<String> {
        let failed = Some(self.names(CheckVerdict::Fail)).filter(|names| !names.is_empty());
        failed.filter(|_| self.failure().is_none())
    }

    fn unknown(&self, count: usize) -> Failure {
        let message = match (&self.canary, count) {
            (Some(canary), 0) => format!("the canary is inconclusive: {}", canary.message),
            _ => {
                let unknown = self.with(CheckVerdict::Unknown).count();
                let all = plural(count as u64, "check");
                format!("{unknown} of {all} could not be made: {}", self.names(CheckVerdict::Unknown))
            }
        };
        Failure::new(Exit::VerifyUnknown, "verify.unknown", message)
            .hint("could not verify (a local problem, not production's): fix it on this machine, then: cm-verify </dev/null")
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
        let unsure = self.canary.as_ref().is_some_and(|canary| canary.verdict == CanaryVerdict::Inconclusive);
        if !asked && unsure {
            return Ok(Done::warned("the canary is inconclusive; no checks were made"));
        }
        let (count, warnings) = (self.checks.len(), self.with(CheckVerdict::Warn).count());
        let failed = self.with(CheckVerdict::Fail).count();
        if !asked {
            return Ok(Done::skipped("the canary passed; no checks were made"));
        }
        if self.verdict() == CheckVerdict::Pass {
            let checks = plural(count as u64, "check");
            log.success(format!("all {checks} passed"));
            return Ok(Done::ok(format!("{checks} passed")));
        }
        let canary = self.canary.as_ref().filter(|canary| canary.verdict == CanaryVerdict::Inconclusive);
        let canary = canary.map_or("", |_| ", canary inconclusive");
        let summary = match self.severity().filter(|_| failed > 0) {
            None if warnings == 0 => format!("{} passed{canary}", plural(count as u64, "check")),
            None => format!("{} passed, {warnings} of them with a warning{canary}", plural(count as u64, "check")),
            Some(class) => format!(
                "{} of {} passed; {} ({}): {}{canary}",
                count - failed,
                plural(count as u64, "check"),
                self.names(CheckVerdict::Fail),
                class.as_str(),
                class.response()
            ),
        };
        log.warn(&summary);
        Ok(Done::warned(summary))
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A result as a check would give it; P1 where it fails.
    pub fn check(verdict: CheckVerdict) -> CheckResult {
        let severity = Some(Severity::P1).filter(|_| verdict == CheckVerdict::Fail);
        CheckResult {
            name: "Gateway health".to_owned(),
            url: "http://x/".to_owned(),
            verdict,
            code: "x".to_owned(),
            message: "503, wanted 200".to_owned(),
            severity,
            response: severity.map(|severity| severity.response().to_owned()),
            status: None,
            latency_ms: None,
            attempts: 1,
            body: Some("secret of the body".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::check;
    use super::*;
    use cm_core::{Format, Level};

    fn canary(verdict: CanaryVerdict) -> CanaryReport {
        CanaryReport {
            url: "http://x/".to_owned(),
            verdict,
            code: "x".to_owned(),
            message: "1 of 20 requests failed".to_owned(),
            severity: Severity::P1,
            requests: 20,
            failures: 1,
            not_judged: 0,
            detectable_percent: None,
            median_ms: None,
            p95_ms: None,
            percentiles_ms: Vec::new(),
            first_failure: None,
            baseline: None,
            traffic: None,
        }
    }

    /// The exit code and the failure's code; 0 for a pass.
    fn end(canary_verdict: Option<CanaryVerdict>, outcomes: &[CheckVerdict]) -> (u8, String) {
        let results = Results {
            canary: canary_verdict.map(canary),
            checks: outcomes.iter().map(|outcome| check(*outcome)).collect(),
            ..Results::default()
        };
        let log = Log::new("test", Format::Json, Level::Fail);
        match results.conclude(true, &log) {
            Ok(_) => (0, String::new()),
            Err(failure) => (failure.exit.code(), failure.code),
        }
    }

    #[test]
    fn the_worst_result_decides() {
        use CheckVerdict::{Fail, Pass, Unknown, Warn};
        for (canary, outcomes, exit, code) in [
            (Some(CanaryVerdict::Pass), &[Pass, Pass][..], 0, ""),
            (Some(CanaryVerdict::Pass), &[Pass, Warn], 0, ""),
            (None, &[Pass], 0, ""),
            (Some(CanaryVerdict::Inconclusive), &[Pass], 0, ""),
            (Some(CanaryVerdict::Pass), &[Pass, Unknown], 51, "verify.unknown"),
            (Some(CanaryVerdict::Pass), &[Pass, Unknown, Fail], 50, "verify.failed"),
            (Some(CanaryVerdict::Fail), &[Pass], 50, "canary.failed"),
            (Some(CanaryVerdict::Fail), &[], 50, "canary.failed"),
            (Some(CanaryVerdict::Inconclusive), &[], 51, "verify.unknown"),
            (None, &[], 51, "verify.unknown"),
        ] {
            assert_eq!(end(canary, outcomes), (exit, code.to_owned()), "{canary:?} {outcomes:?}");
        }
    }

    #[test]
    fn a_deployment_is_rolled_back_for_p0_and_p1_alone() {
        let log = Log::new("test", Format::Json, Level::Fail);
        for (severity, deploying, wanted) in [
            (Severity::P0, true, 50),
            (Severity::P1, true, 50),
            (Severity::P2, true, 0),
            (Severity::P3, true, 0),
            (Severity::P3, false, 50),
        ] {
            let failed = CheckResult { severity: Some(severity), ..check(CheckVerdict::Fail) };
            let results = Results { checks: vec![check(CheckVerdict::Pass), failed], deploying, ..Results::default() };
            let exit = results.conclude(true, &log).map_or_else(|failure| failure.exit.code(), |_| 0);
            assert_eq!((exit, results.severity()), (wanted, Some(severity)), "{deploying}");
            assert!(results.verdict() != CheckVerdict::Pass);
        }
        // Both are down, whatever each would be alone.
        let docs = CheckResult { severity: Some(Severity::P3), ..check(CheckVerdict::Fail) };
        let results = Results { checks: vec![docs.clone(), docs], deploying: true, ..Results::default() };
        assert_eq!(results.severity(), Some(Severity::P0));
    }

    #[test]
    fn cm_toml_says_what_an_inconclusive_canary_comes_to() {
        for (inconclusive, wanted) in [
            (Consequence::Pass, CheckVerdict::Pass),
            (Consequence::Warn, CheckVerdict::Warn),
            (Consequence::Fail, CheckVerdict::Fail),
        ] {
            let results = Results {
                canary: Some(canary(CanaryVerdict::Inconclusive)),
                checks: vec![check(CheckVerdict::Pass)],
                inconclusive: Some(inconclusive),
                ..Results::default()
            };
            assert_eq!(results.verdict(), wanted);
        }
    }

    #[test]
    fn bodies_stay_out_of_documents() {
        let results = Results { checks: vec![check(CheckVerdict::Pass)], ..Results::default() };
        assert!(!serde_json::json!(results.facts()).to_string().contains("secret of the body"));
    }
}
