//! Real traffic, from Caddy's access log: what users got, beside what the canary's own
//! requests got. The log is a service's output or a file on its host, one JSON object
//! a line; it is read as it comes, and what is no access is passed over.

use super::{Sample, Side};
use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Host, Target};
use cm_project::Project;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// The end of the log that is looked at, in bytes: minutes of a busy site.
const TAIL: &str = "16777216";

/// A log is read within this time, or there is no real traffic to speak of.
const LIMIT: Duration = Duration::from_secs(15);

const OF_CONTAINER: &str = r#"exec docker logs --since "$1" "$2" 2>&1"#;
const OF_FILE: &str = r#"exec tail -c "$2" -- "$1""#;

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
    let host = Host::connect(&Target::of(project, spec)?, log).await?;
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
    let containers = cm_engine::containers(host, &project.compose_name()).await?;
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
        assert_eq!((side.requests, side.failures), (8, 1), "{side:?}");
        let later = Timestamp::from_second(4_000_000_000).expect("a time");
        assert_eq!(LOG.lines().filter_map(|line| access(line, later)).count(), 0);
    }
}
