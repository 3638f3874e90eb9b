//! Why a service runs what it runs: the release that put it there, on every host that has it.

use crate::history::{begin, read_all};
use crate::show::image_id;
use cm_core::{Exit, Failure, Io, Result, time::local};
use cm_ledger::{Ledger, Record, ServiceState};
use cm_project::Project;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The last word of a ledger about a service.
struct Answer<'a> {
    /// The newest release that touched it.
    last: &'a Record,
    state: &'a ServiceState,
    /// The first of the releases without a break that left it as it is.
    since: &'a Record,
}

/// Prints which release put `service` there, per host.
///
/// # Errors
/// [`Exit::Usage`] if no ledger knows the service; those of reading the ledgers.
pub async fn why(project: &Project, service: &str, as_json: bool, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    let answers: Vec<_> =
        ledgers.iter().filter_map(|(host, ledger)| Some((host.as_str(), answer(ledger, service)?))).collect();
    if answers.is_empty() {
        return Err(unknown(&ledgers, service));
    }
    if as_json {
        let hosts: Map<_, _> =
            answers.iter().map(|(host, answer)| ((*host).to_owned(), to_json(answer, service))).collect();
        return io.print_json(&Value::Object(hosts));
    }
    let parts: Vec<_> = answers.iter().map(|(host, answer)| io.facts(&rows(host, answer, service))).collect();
    io.print(&parts.join("\n\n"))
}

fn unknown(ledgers: &[(String, Ledger)], service: &str) -> Failure {
    let known: BTreeSet<_> = ledgers.iter().flat_map(|(_, ledger)| ledger.services()).collect();
    let known = Vec::from_iter(known).join(", ");
    Failure::new(Exit::Usage, "usage.unknown-service", format!("no release has a service {service:?}"))
        .hint(if known.is_empty() { "nothing was deployed yet".to_owned() } else { format!("there are {known}") })
}

fn answer<'a>(ledger: &'a Ledger, service: &str) -> Option<Answer<'a>> {
    let touched = || ledger.records().iter().rev().filter_map(|record| Some((record, record.services.get(service)?)));
    let (last, state) = touched().next()?;
    let since = touched().take_while(|(_, earlier)| earlier.is_same(state)).last()?.0;
    Some(Answer { last, state, since })
}

/// What led to it: a rollback has what went wrong, a deployment the changed paths.
fn reasons(answer: &Answer, service: &str) -> Vec<String> {
    let (last, since) = (answer.last, answer.since);
    if !last.took_back.is_empty() {
        return vec![format!("a rollback from {}", last.took_back.join(", "))];
    }
    if let Some(tried) = last.attempted.get(service) {
        let cause = last.cause.as_deref().unwrap_or("no cause is recorded");
        return vec![format!("a rollback from commit {}: {cause}", begin(&tried.commit, 12))];
    }
    since.reasons.get(service).or_else(|| last.reasons.get(service)).cloned().unwrap_or_default()
}

fn to_json(answer: &Answer, service: &str) -> Value {
    let Answer { last, state, since } = answer;
    json!({
        "release": last.id, "at": last.at, "actor": last.actor, "branch": last.branch,
        "verdict": last.verdict, "taken_back": last.taken_back.get(service), "cause": last.cause,
        "state": state, "since": {"release": since.id, "at": since.at, "actor": since.actor},
        "reasons": reasons(answer, service),
    })
}

fn rows(host: &str, answer: &Answer, service: &str) -> Vec<[String; 2]> {
    let Answer { last, state, since } = answer;
    let mut rows = vec![("host", host.to_owned()), ("service", service.to_owned())];
    if state.removed {
        rows.push(("runs", "nothing: the release removed it".to_owned()));
    }
    rows.extend([
        ("commit", state.commit.clone()),
        ("image", format!("{} {}", state.image, image_id(&state.image_id)).trim().to_owned()),
        ("release", last.id.clone()),
        ("at", local(&last.at)),
        ("by", format!("{}, branch {}", last.actor, last.branch)),
        ("verdict", last.verdict.as_str().to_owned()),
    ]);
    rows.extend(last.cause.clone().map(|cause| ("cause", cause)));
    rows.extend(last.taken_back.get(service).map(|why| ("rolled back", why.clone())));
    if since.id != last.id {
        rows.push(("unchanged since", format!("{}, {} by {}", since.id, local(&since.at), since.actor)));
    }
    let reasons = reasons(answer, service);
    let known = if reasons.is_empty() { vec!["not recorded".to_owned()] } else { reasons };
    rows.extend(known.into_iter().map(|reason| ("why", reason)));
    rows.into_iter().map(|(key, value)| [key.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, commit: &str) -> Record {
        let mut record = Record::new(id, "ada", "main", commit);
        let state = ServiceState { commit: commit.to_owned(), ..Default::default() };
        record.services.insert("web".to_owned(), state);
        record.reasons.insert("web".to_owned(), vec![format!("web/{id}.py (context)")]);
        record
    }

    fn ledger(records: &[Record]) -> Ledger {
        Ledger::parse(records.iter().map(|record| json!(record).to_string()).collect::<Vec<_>>().join("\n").as_bytes())
    }

    #[test]
    fn the_change_is_of_the_release_that_brought_it_not_of_the_last_that_left_it() {
        let ledger = ledger(&[record("1", "a"), record("2", "b"), record("3", "b")]);
        let found = answer(&ledger, "web").expect("known");
        assert_eq!((found.last.id.as_str(), found.since.id.as_str()), ("3", "2"));
        assert_eq!(reasons(&found, "web"), ["web/2.py (context)"]);
        assert!(cm_core::table(&rows("h", &found, "web")).contains("unchanged since  2, "));
        assert!(answer(&ledger, "api").is_none());
    }

    #[test]
    fn after_a_rollback_what_went_wrong_is_the_reason() {
        let mut back = record("2", "a");
        back.attempted.insert("web".to_owned(), ServiceState { commit: "bad".to_owned(), ..Default::default() });
        back.cause = Some("web is not healthy".to_owned());
        let ledger = ledger(&[record("1", "a"), back]);
        let found = answer(&ledger, "web").expect("known");
        assert_eq!(reasons(&found, "web"), ["a rollback from commit bad: web is not healthy"]);
        assert_eq!(to_json(&found, "web")["since"]["release"], "1");
    }
}
