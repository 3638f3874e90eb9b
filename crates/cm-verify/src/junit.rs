//! The results as a JUnit report, which every CI shows as a list of tests.

use crate::results::Results;
use cm_canary::Verdict;
use cm_checks::Outcome;
use cm_core::{Exit, OrFail, Result, redact};
use std::fmt::Write as _;
use std::path::Path;

/// Writes the report.
///
/// # Errors
/// [`Exit::Config`] if the file cannot be written.
pub fn write(path: &Path, project: &str, results: &Results) -> Result<()> {
    let text = redact(&report(project, results)).into_owned();
    std::fs::write(path, text).or_fail(Exit::Config, "junit.write", format!("cannot write {}", path.display()))
}

/// One test.
struct Case<'a> {
    name: &'a str,
    seconds: f64,
    outcome: Outcome,
    kind: String,
    message: &'a str,
}

fn report(project: &str, results: &Results) -> String {
    let cases = cases(results);
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    let (failures, errors) = (count(Outcome::Fail), count(Outcome::Unknown));
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    let totals = format!(r#"tests="{}" failures="{failures}" errors="{errors}" time="{seconds:.3}""#, cases.len());
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n");
    let _ = writeln!(xml, r#"  <testsuite name="{}" {totals}>"#, escape(project));
    for case in &cases {
        let _ = writeln!(xml, "    {}", case.element(project));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn cases(results: &Results) -> Vec<Case<'_>> {
    let canary = results.canary.as_ref().map(|canary| Case {
        name: "Canary",
        seconds: 0.0,
        outcome: match canary.verdict {
            Verdict::Pass => Outcome::Pass,
            Verdict::Fail => Outcome::Fail,
            Verdict::Inconclusive => Outcome::Warn,
        },
        kind: "canary".to_owned(),
        message: &canary.message,
    });
    let checks = results.checks.iter().map(|check| Case {
        name: &check.name,
        seconds: check.latency_ms.unwrap_or_default() as f64 / 1_000.0,
        outcome: check.verdict,
        kind: check.severity.map_or(check.code.to_owned(), |severity| format!("{} {}", severity.word(), check.code)),
        message: &check.message,
    });
    canary.into_iter().chain(checks).collect()
}

impl Case<'_> {
    /// A warning is a pass that says something.
    fn element(&self, project: &str) -> String {
        let (message, kind) = (escape(self.message), escape(&self.kind));
        let open = format!(
            r#"<testcase classname="{}" name="{}" time="{:.3}""#,
            escape(project),
            escape(self.name),
            self.seconds
        );
        match self.outcome {
            Outcome::Pass => format!("{open}/>"),
            Outcome::Warn => format!("{open}><system-out>{kind}: {message}</system-out></testcase>"),
            Outcome::Fail => format!(r#"{open}><failure message="{message}" type="{kind}"/></testcase>"#),
            Outcome::Unknown => format!(r#"{open}><error message="{message}" type="{kind}"/></testcase>"#),
        }
    }
}

/// For attributes and text; characters that XML does not know are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::check;

    #[test]
    fn a_report_tells_failures_from_what_is_unknown() {
        let mut failed = check(Outcome::Fail);
        failed.message = "\"a\" < b & c".to_owned();
        let checks = vec![check(Outcome::Pass), failed, check(Outcome::Unknown), check(Outcome::Warn)];
        let xml = report("shop", &Results { checks, ..Results::default() });
        assert!(xml.contains(r#"<testsuite name="shop" tests="4" failures="1" errors="1" time="0.000">"#), "{xml}");
        assert!(xml.contains(r#"<failure message="&quot;a&quot; &lt; b &amp; c" type="P1 x"/>"#), "{xml}");
        assert_eq!((xml.matches("<testcase").count(), xml.matches("<error ").count()), (4, 1));
    }
}
