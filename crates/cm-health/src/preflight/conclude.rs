//! What a preflight comes to: every finding is told, and the gravest decides.

use super::finding::{Finding, gravity};
use super::report::Report;
use cm_core::facts::Weight;
use cm_core::{Column, Done, Exit, Failure, Log, Result};

const HEAD: [&str; 6] = ["HOST", "DOCKER", "COMPOSE", "DISK FREE", "CHECKOUT", "BRANCH"];

const COLUMNS: [Column; 6] = [Column::Whole, Column::Whole, Column::Whole, Column::Whole, Column::Id, Column::Cut];

/// The end of a preflight: what was found is told, and the gravest of it is the failure.
///
/// # Errors
/// The gravest finding.
pub fn conclude(reports: &[Report], own: Vec<Finding>, log: &Log) -> Result<Done> {
    let looked: Vec<_> = reports.iter().filter(|report| report.facts.get("docker").is_some()).collect();
    if log.is_live() && looked.len() > 1 {
        let rows = looked.iter().map(|report| report.row());
        log.table(&[HEAD.map(str::to_owned)].into_iter().chain(rows).collect::<Vec<_>>(), COLUMNS);
    } else {
        looked.iter().for_each(|report| log.info(report.line()));
    }
    let findings: Vec<&Finding> = own.iter().chain(reports.iter().flat_map(|report| &report.findings)).collect();
    for finding in findings.iter().filter(|finding| finding.weight == Weight::Warn) {
        let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!("\nhint: {hint}"));
        log.warn(format!("{}{hint}", finding.line()));
    }
    let failures: Vec<_> = findings.iter().filter(|finding| finding.weight == Weight::Fail).collect();
    // The first of the gravest.
    let Some(gravest) = failures.iter().rev().max_by_key(|finding| gravity(finding.exit)) else {
        let names = reports.iter().map(|report| report.host.as_str()).collect::<Vec<_>>().join(", ");
        let summary = format!("ready: {names}");
        log.success(format!("servers {summary}"));
        return Ok(if findings.is_empty() { Done::ok(summary) } else { Done::warned(summary) });
    };
    let mut failure = Failure::new(gravest.exit, gravest.about.code, gravest.line());
    failure.hint.clone_from(&gravest.hint);
    failure.retryable = matches!(gravest.exit, Exit::Unreachable | Exit::LockHeld);
    let mut hints = vec![&gravest.hint];
    for other in failures.iter().filter(|other| other.line() != gravest.line()) {
        // What is to be done is said once, also where several servers lack the same.
        let hint = other.hint.as_ref().filter(|_| !hints.contains(&&other.hint));
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        failure = failure.cause(format!("also: {}{hint}", other.line()));
        hints.push(&other.hint);
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::facts::Facts;
    use crate::preflight::needs;

    #[test]
    fn a_row_of_every_host_fits_the_width_there_is() {
        let told = "docker=26.1.5+dfsg1\ncompose=2.26.1-4\nhead=0123456789abcdef0123456789abcdef01234567\nbranch=feature/a-branch-with-a-name-of-forty-letters\n";
        let host = "platform-of-a-customer-in-frankfurt";
        let report = Report { facts: Facts::parse(told), ..Report::new(host) };
        let rows = [HEAD.map(str::to_owned), report.row()];
        for width in [60, 80, 110, 200] {
            let shown = cm_core::fitted(&rows, COLUMNS, width, false);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            let missing = [host, "26.1.5+dfsg1", "2.26.1-4", "01234567"].into_iter().find(|it| !shown.contains(*it));
            assert_eq!(missing, None, "{width}: {shown}");
        }
    }

    #[test]
    fn the_gravest_finding_decides_and_the_others_are_named() {
        let mut report = Report {
            findings: vec![
                Finding::fail(Exit::Config, &needs::ENV_FILE, "no env file"),
                Finding::fail(Exit::Unreachable, &needs::HOST, "cannot be reached"),
                Finding::warn(&needs::DISK, "nearly full"),
            ],
            ..Report::new("one")
        };
        let log = Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let failure = conclude(std::slice::from_ref(&report), Vec::new(), &log).expect_err("grave");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Unreachable, "preflight.host"));
        assert_eq!(failure.causes, ["also: no env file"]);
        report.findings.drain(..2);
        assert!(conclude(&[report], Vec::new(), &log).is_ok(), "a warning stops nothing");
    }
}
