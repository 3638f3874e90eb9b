//! What ran after one release and after another, on every host. A release names only the
//! services it touched, so what ran is added up from the ledger's begin.

use crate::history::{begin, read_all};
use crate::show::{find, image_id};
use cm_core::{Column, Io, Result, time::local};
use cm_ledger::{Ledger, Record, ServiceState};
use cm_project::Project;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A service that differs.
#[derive(Debug, PartialEq)]
struct Change {
    host: String,
    service: String,
    /// What ran after each release; `None` where it did not run.
    states: [Option<ServiceState>; 2],
}

const HEAD: [&str; 6] = ["HOST", "SERVICE", "COMMIT", "THEN", "IMAGE", "THEN"];

const COLUMNS: [Column; 6] = [Column::Whole, Column::Whole, Column::Id, Column::Id, Column::Cut, Column::Cut];

/// Prints the services that differ between the releases `runs`.
///
/// # Errors
/// Those of [`find`], and of reading the ledgers.
pub async fn diff(project: &Project, runs: [&str; 2], as_json: bool, wide: bool, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    let ids = [find(&ledgers, runs[0])?, find(&ledgers, runs[1])?];
    let changes = changes(&ledgers, &ids);
    if as_json {
        return io.print_json(&to_json(&ledgers, &ids, &changes));
    }
    for id in &ids {
        let record = record(&ledgers, id);
        io.log.info(record.map_or_else(|| id.clone(), headline));
    }
    if changes.is_empty() {
        io.log.info("the same services run after both");
        return Ok(());
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(changes.iter().map(row));
    io.print_table(&rows, COLUMNS, wide)
}

fn headline(record: &Record) -> String {
    let commit = begin(&record.commit, 12);
    format!("{}: {commit}, {} at {} by {}", record.id, record.verdict.as_str(), local(&record.at), record.actor)
}

fn record<'a>(ledgers: &'a [(String, Ledger)], id: &str) -> Option<&'a Record> {
    ledgers.iter().find_map(|(_, ledger)| ledger.record(id))
}

fn row(change: &Change) -> [String; 6] {
    let [a, b] = &change.states;
    let commit = |state: &Option<ServiceState>| state.as_ref().map_or("-".to_owned(), |state| begin(&state.commit, 12));
    let image = |state: &Option<ServiceState>| state.as_ref().map_or("-".to_owned(), |state| image_id(&state.image_id));
    [change.host.clone(), change.service.clone(), commit(a), commit(b), image(a), image(b)]
}

fn to_json(ledgers: &[(String, Ledger)], ids: &[String; 2], changes: &[Change]) -> Value {
    let release = |id: &String| {
        let of = |record: &Record| json!({"id": id, "at": record.at, "actor": record.actor, "commit": record.commit, "verdict": record.verdict});
        record(ledgers, id).map(of)
    };
    let change = |change: &Change| json!({"host": change.host, "service": change.service, "a": change.states[0], "b": change.states[1]});
    json!({"a": release(&ids[0]), "b": release(&ids[1]), "services": changes.iter().map(change).collect::<Vec<_>>()})
}

fn changes(ledgers: &[(String, Ledger)], ids: &[String; 2]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (host, ledger) in ledgers {
        let [a, b] = [after(ledger, &ids[0]), after(ledger, &ids[1])];
        for service in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            let states = [a.get(service).cloned(), b.get(service).cloned()];
            let same = match &states {
                [Some(a), Some(b)] => a.is_same(b) && a.config_hash == b.config_hash,
                _ => false,
            };
            if !same {
                changes.push(Change { host: host.clone(), service: service.clone(), states });
            }
        }
    }
    changes
}

/// What ran after release `id`. A host that the release did not touch has none of it; there,
/// run ids tell what came before, for they sort by time.
fn after(ledger: &Ledger, id: &str) -> BTreeMap<String, ServiceState> {
    let records = ledger.records();
    let until = match records.iter().position(|record| record.id == id) {
        Some(index) => index + 1,
        None => records.iter().rposition(|record| record.id.as_str() < id).map_or(0, |index| index + 1),
    };
    let mut states = BTreeMap::new();
    for (name, state) in records[..until].iter().flat_map(|record| &record.services) {
        states.insert(name.clone(), state.clone());
    }
    states.retain(|_, state| !state.removed);
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(records: &[(&str, &[(&str, &str)])]) -> Ledger {
        let line = |(id, services): &(&str, &[(&str, &str)])| {
            let mut record = Record::new(id, "ada", "main", "c");
            for (name, commit) in *services {
                let state =
                    ServiceState { commit: (*commit).to_owned(), removed: commit.is_empty(), ..Default::default() };
                record.services.insert((*name).to_owned(), state);
            }
            json!(record).to_string()
        };
        Ledger::parse(records.iter().map(line).collect::<Vec<_>>().join("\n").as_bytes())
    }

    #[test]
    fn host_service_and_commits_stay_whole_in_every_width() {
        let state = |commit: &str| ServiceState {
            commit: commit.repeat(5),
            image_id: format!("sha256:{}", "f0".repeat(32)),
            ..Default::default()
        };
        let service = "backend-gateway-with-a-name-of-40-letters".to_owned();
        let states = [Some(state("01234567")), Some(state("89abcdef"))];
        let change = Change { host: "platform".to_owned(), service: service.clone(), states };
        let rows = [HEAD.map(str::to_owned), row(&change)];
        for width in [50, 80, 110, 200] {
            let shown = cm_core::fitted(&rows, COLUMNS, width, false);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            let missing = ["platform", &service, "01234567", "89abcdef"].into_iter().find(|it| !shown.contains(*it));
            assert_eq!(missing, None, "{width}: {shown}");
        }
    }

    #[test]
    fn what_ran_is_added_up_also_on_a_host_that_a_release_did_not_touch() {
        let ledgers = [
            (
                "a".to_owned(),
                ledger(&[("1", &[("web", "x"), ("api", "x")]), ("3", &[("web", "y")]), ("4", &[("api", "")])]),
            ),
            ("b".to_owned(), ledger(&[("1", &[("docs", "x")]), ("2", &[("docs", "y")])])),
        ];
        let named = |ids: [&str; 2]| {
            let changes = changes(&ledgers, &ids.map(str::to_owned));
            let commit =
                |state: &Option<ServiceState>| state.as_ref().map_or("-".to_owned(), |state| state.commit.clone());
            let word =
                |c: &Change| format!("{}/{} {} {}", c.host, c.service, commit(&c.states[0]), commit(&c.states[1]));
            changes.iter().map(word).collect::<Vec<_>>()
        };
        assert_eq!(named(["1", "2"]), ["b/docs x y"]);
        assert_eq!(named(["1", "3"]), ["a/web x y", "b/docs x y"]);
        assert_eq!(named(["3", "4"]), ["a/api x -"]);
        assert_eq!(named(["4", "3"]), ["a/api - x"]);
        assert_eq!(named(["3", "3"]), [""; 0]);
    }
}
