//! Real traffic, from Caddy's access log: what users got, alongside what the canary's own
//! requests got. The log is a service's output or a file on its host, one JSON object
//! a line; it is read as it comes, and what is no access is passed over.

use super::rules::{Look, Rules};
use super::side::{Sample, Side};
use cm_core::facts::{CanaryReport, CanaryVerdict, Traffic};
use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Connect, Host};
use cm_project::{Canary, Project};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// The end of the log that is looked at, in bytes: minutes of a busy site.
const TAIL: &str = "16777216";

/// A log is read within this time, or there is no real traffic to speak of.
const LIMIT: Duration = Duration::from_secs(15);

const OF_CONTAINER: &str = r#"# Reads the access log of a container.
exec docker logs --since "$1" "$2" 2>&1"#;
const OF_FILE: &str = r#"# Reads an access log.
exec tail -c "$2" -- "$1""#;

/// The canary's report with what users got, which can only make it worse, and only where
/// there are enough of them before and since.
pub fn join(report: CanaryReport, canary: &Canary, new: &Side, old: &Side) -> CanaryReport {
    let traffic = |verdict, code: &str| {
        let access_log = canary.access_log.clone().unwrap_or_default();
        Some(Traffic { access_log, verdict, code: code.to_owned(), new: new.figures(), old: old.figures() })
    };
    if new.samples.requests < canary.min_requests || old.samples.requests < canary.min_requests {
        let (now, before, wanted) = (new.samples.requests, old.samples.requests, canary.min_requests);
        let message = format!(
            "{}; real traffic is too little to count: {now} requests, before {before}, wanted {wanted}",
            report.message
        );
        return CanaryReport { message, traffic: traffic(CanaryVerdict::Inconclusive, "few"), ..report };
    }
    let judgement = Rules { canary, changed: &[] }.judge(new, Some(old), Look::Last);
    let traffic = traffic(judgement.verdict, judgement.code);
    if judgement.verdict == CanaryVerdict::Pass {
        let message = format!("{}; real traffic: {}", report.message, judgement.message);
        return CanaryReport { message, traffic, ..report };
    }
    CanaryReport {
        verdict: judgement.verdict,
        code: judgement.code.to_owned(),
        severity: judgement.severity,
        message: format!("real traffic: {}; {}", judgement.message, report.message),
        traffic,
        ..report
    }
}

/// What the log says since `since`; `None` where `cm.toml` names no log.
///
/// # Errors
/// [`Exit::VerifyUnknown`] if it cannot be read.
pub async fn since(project: &Project, since: Timestamp, log: &Log) -> Result<Option<Side>> {
    let Some(place) = &project.canary().access_log else { return Ok(None) };
    let is_file = place.starts_with(['/', '~']);
    let of_service = || project.host_of(place);
    let spec = if is_file { project.hosts().first() } else { of_service() };
    let spec = spec.ok_or_else(|| {
        Failure::new(Exit::VerifyUnknown, "canary.access-log", format!("no host runs a service {place:?}"))
    })?;
    let host = project.connect_to(spec, log).await?;
    let command = if is_file {
        host.script(OF_FILE, [host.path(place), TAIL.to_owned()])
    } else {
        host.script(OF_CONTAINER, [since.to_string(), container(project, &host, place).await?])
    };
    let mut side = Side::default();
    let read = |line: &str| {
        if let Some(sample) = access(line, since) {
            side.add(sample);
        }
    };
    command.limit(LIMIT).stream(Exit::VerifyUnknown, "canary.access-log", read).await?;
    Ok(Some(side.thinned()))
}

async fn container(project: &Project, host: &Host, service: &str) -> Result<String> {
    let containers = cm_engine::project_containers(project, host).await?;
    let found = containers.into_iter().find(|container| container.service == service);
    found.map(|container| container.id).ok_or_else(|| {
        let message = format!("no container of {service:?} on {}, where the access log should be", host.name());
        Failure::new(Exit::VerifyUnknown, "canary.access-log", message)
    })
}

/// One access of somebody else than this program, if the line is one. A client that
/// went away (status 0) says nothing; one that asks for what is not there is answered well.
fn access(line: &str, since: Timestamp) -> Option<Sample> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let is_access = entry["logger"].as_str().is_some_and(|logger| logger.starts_with("http.log.access"));
    let at = entry["ts"].as_f64().filter(|_| is_access)?;
    let agent = entry["request"]["headers"]["User-Agent"][0].as_str().unwrap_or_default();
    if agent.starts_with("cm/") || at < since.as_second() as f64 {
        return None;
    }
    match entry["status"].as_u64()? {
        0 => None,
        status @ 500.. => Some(Sample::Failed(format!("users were answered {status}"))),
        _ => Some(Sample::Good(Duration::try_from_secs_f64(entry["duration"].as_f64()?).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as Caddy 2.6 wrote them.
    const LOG: &str = include_str!("access.jsonl");

    #[test]
    fn what_users_got_is_read_and_the_canarys_own_requests_are_not() {
        let mut side = Side::default();
        let begin = Timestamp::from_second(1_700_000_000).expect("a time");
        LOG.lines().filter_map(|line| access(line, begin)).for_each(|sample| side.add(sample));
        assert_eq!((side.samples.requests, side.samples.failures), (8, 1), "{side:?}");
        let later = Timestamp::from_second(4_000_000_000).expect("a time");
        assert_eq!(LOG.lines().filter_map(|line| access(line, later)).count(), 0);
    }
    /// `good` answers and `failed` ones, never two of those in a row.
    fn side(good: u32, failed: u32) -> Side {
        let mut side = Side::default();
        for n in 0..good {
            side.add(Sample::Good(Duration::from_millis(10)));
            if n < failed {
                side.add(Sample::Failed("users were answered 500".to_owned()));
            }
        }
        side
    }

    #[test]
    fn what_users_got_makes_it_worse_where_they_are_enough_and_never_better() {
        let canary = Canary { access_log: Some("caddy".to_owned()), ..Canary::default() };
        for (asked, new, verdict, code, says, of_traffic) in [
            (
                side(200, 0),
                side(120, 0),
                CanaryVerdict::Pass,
                "ok",
                "; real traffic: 0 of 120 requests failed, before 0 of 120",
                "ok",
            ),
            (
                side(200, 0),
                side(90, 30),
                CanaryVerdict::Fail,
                "errors",
                "real traffic: 30 of 120 requests failed, before 0 of 120: users were answered 500; 0 of 200",
                "errors",
            ),
            (
                side(200, 0),
                side(5, 0),
                CanaryVerdict::Pass,
                "ok",
                "; real traffic is too little to count: 5 requests, before 120, wanted 100",
                "few",
            ),
            // Two errors of five say nothing yet, and five good answers do not make up for too few requests.
            (side(200, 0), side(3, 2), CanaryVerdict::Pass, "ok", "; real traffic is too little to count", "few"),
            (
                side(20, 0),
                side(5, 0),
                CanaryVerdict::Inconclusive,
                "few",
                "; real traffic is too little to count",
                "few",
            ),
            (
                side(20, 0),
                side(120, 0),
                CanaryVerdict::Inconclusive,
                "few",
                "; real traffic: 0 of 120 requests failed",
                "ok",
            ),
        ] {
            let judgement = Rules { canary: &canary, changed: &[] }.judge(&asked, None, Look::Last);
            let report = crate::report::report("http://x/", &asked, None, judgement);
            let report = join(report, &canary, &new, &side(120, 0));
            assert_eq!((report.verdict, report.code.as_str()), (verdict, code), "{report:?}");
            assert!(report.message.contains(says), "{}", report.message);
            assert_eq!(
                (report.requests, report.failures),
                (asked.samples.requests, asked.samples.failures),
                "its own figures stay"
            );
            let traffic = report.traffic.expect("the log was read");
            assert_eq!((traffic.access_log.as_str(), traffic.code.as_str()), ("caddy", of_traffic));
            assert_eq!((traffic.new.requests, traffic.new.failures), (new.samples.requests, new.samples.failures));
            assert_eq!((traffic.old.requests, traffic.old.failures), (120, 0));
        }
    }
}
