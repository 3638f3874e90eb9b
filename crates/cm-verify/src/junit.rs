//! The results as a JUnit report, which every CI shows as a list of tests.

use crate::results::Results;
use cm_core::facts::{CanaryVerdict, CheckVerdict};
use cm_core::{Exit, Failure, OrFail, Result, redact};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::path::Path;
use std::time::Duration;

/// Writes the report.
///
/// # Errors
/// [`Exit::Config`] if the file cannot be written.
pub fn write(path: &Path, project: &str, results: &Results) -> Result<()> {
    let text = report(project, results).to_string();
    let text = text.map_err(|error| Failure::bug("the JUnit report cannot be written down").cause(error))?;
    std::fs::write(path, text).or_fail(Exit::Config, "junit.write", format!("cannot write {}", path.display()))
}

/// One test.
struct Case<'a> {
    name: &'a str,
    time: Duration,
    outcome: CheckVerdict,
    kind: String,
    message: &'a str,
}

fn report(project: &str, results: &Results) -> Report {
    let cases = cases(results);
    let time = cases.iter().map(|case| case.time).sum();
    let mut suite = TestSuite::new(redact(project));
    suite.set_time(time).add_test_cases(cases.iter().map(|case| case.element(project)));
    let mut report = Report::new(redact(project));
    report.set_time(time).add_test_suite(suite);
    report
}

fn cases(results: &Results) -> Vec<Case<'_>> {
    let canary = results.canary.as_ref().map(|canary| Case {
        name: "Canary",
        time: Duration::ZERO,
        outcome: match canary.verdict {
            CanaryVerdict::Pass => CheckVerdict::Pass,
            CanaryVerdict::Fail => CheckVerdict::Fail,
            CanaryVerdict::Inconclusive => CheckVerdict::Warn,
        },
        kind: "canary".to_owned(),
        message: &canary.message,
    });
    let checks = results.checks.iter().map(|check| Case {
        name: &check.name,
        time: Duration::from_millis(check.latency_ms.unwrap_or_default()),
        outcome: check.verdict,
        kind: check.severity.map_or(check.code.clone(), |severity| format!("{} {}", severity.as_str(), check.code)),
        message: &check.message,
    });
    canary.into_iter().chain(checks).collect()
}

impl Case<'_> {
    /// A warning is a pass that says something.
    fn element(&self, project: &str) -> TestCase {
        let (message, kind) = (redact(self.message), redact(&self.kind));
        let not = |what: NonSuccessKind| {
            let mut status = TestCaseStatus::non_success(what);
            status.set_message(message.as_ref()).set_type(kind.as_ref());
            status
        };
        let status = match self.outcome {
            CheckVerdict::Pass | CheckVerdict::Warn => TestCaseStatus::success(),
            CheckVerdict::Fail => not(NonSuccessKind::Failure),
            CheckVerdict::Unknown => not(NonSuccessKind::Error),
        };
        let mut case = TestCase::new(redact(self.name), status);
        case.set_classname(redact(project)).set_time(self.time);
        if self.outcome == CheckVerdict::Warn {
            case.set_system_out(format!("{kind}: {message}"));
        }
        case
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::check;

    #[test]
    fn a_report_tells_failures_from_what_is_unknown() {
        let mut failed = check(CheckVerdict::Fail);
        failed.message = "\"a\" < b & c".to_owned();
        let checks = vec![check(CheckVerdict::Pass), failed, check(CheckVerdict::Unknown), check(CheckVerdict::Warn)];
        let xml = report("shop", &Results { checks, ..Results::default() }).to_string().expect("XML");
        let suite = xml.lines().find(|line| line.contains("<testsuite ")).expect("a suite");
        assert!(
            [r#"name="shop""#, r#"tests="4""#, r#"failures="1""#, r#"errors="1""#]
                .iter()
                .all(|part| suite.contains(part)),
            "{suite}"
        );
        assert!(xml.contains(r#"<failure message="&quot;a&quot; &lt; b &amp; c" type="P1 x""#), "{xml}");
        assert_eq!((xml.matches("<testcase").count(), xml.matches("<error ").count()), (4, 1));
    }
}
