//! What the ledgers say, for people and for scripts.

use crate::abandoned;
use cm_core::{Column, Io, Result, plural, time::local};
use cm_host::Connect;
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value, json};

/// Lists the newest releases of every host.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or a ledger that cannot be read.
pub async fn history(project: &Project, as_json: bool, wide: bool, last: usize, io: &Io) -> Result<()> {
    let ledgers = read_last(project, last, io).await?;
    if as_json {
        let hosts: Map<String, Value> =
            ledgers.iter().map(|(host, ledger)| (host.clone(), json!(newest(ledger, last)))).collect();
        return io.print_json(&Value::Object(hosts));
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    for (host, ledger) in &ledgers {
        rows.extend(newest(ledger, last).into_iter().map(|record| row(host, record)));
    }
    io.print_table(&rows, COLUMNS, wide)
}

const HEAD: [&str; 7] = ["HOST", "RELEASE", "AT", "COMMIT", "VERDICT", "BY", "SERVICES"];

const COLUMNS: [Column; 7] =
    [Column::Whole, Column::Id, Column::Time, Column::Id, Column::State, Column::Cut, Column::Cut];

/// How `text` begins: `length` characters of it.
pub fn begin(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

fn newest(ledger: &Ledger, last: usize) -> Vec<&Record> {
    ledger.records().iter().rev().take(last).collect()
}

fn row(host: &str, record: &Record) -> [String; 7] {
    let services: Vec<_> = record.services.keys().cloned().collect();
    [
        host.to_owned(),
        record.id.clone(),
        local(&record.at),
        begin(record.tried(), 12),
        record.verdict.as_str().to_owned(),
        record.actor.clone(),
        services.join(","),
    ]
}

/// The ledgers of all hosts, by host.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or one that cannot be read.
pub async fn read_all(project: &Project, io: &Io) -> Result<Vec<(String, Ledger)>> {
    read_last(project, usize::MAX, io).await
}

/// The ledgers of all hosts, by host, with at least the last `count` releases.
async fn read_last(project: &Project, count: usize, io: &Io) -> Result<Vec<(String, Ledger)>> {
    let mut ledgers = Vec::new();
    for host in project.connect_to_all(&io.log).await? {
        let mut ledger = Ledger::read_last(&host, &project.name(), count).await?;
        for record in abandoned::of(&host, &project.name(), &ledger, None).await? {
            ledger.apply(abandoned::said(&record));
        }
        if ledger.unreadable > 0 {
            let lines = plural(ledger.unreadable as u64, "line");
            io.log.warn(format!("on {}: {lines} of the ledger cannot be read", host.name()));
        }
        ledgers.push((host.name().to_owned(), ledger));
    }
    Ok(ledgers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::{ServiceState, Verdict};

    fn state(commit: &str) -> ServiceState {
        ServiceState { commit: commit.to_owned(), ..ServiceState::default() }
    }

    #[test]
    fn a_release_that_was_rolled_back_shows_the_commit_it_tried() {
        let mut record = Record::new("1", "ada", "main", "good");
        assert_eq!(row("h", &record)[3], "good");
        (record.verdict, record.cause) = (Verdict::RolledBack, Some("web is not healthy".to_owned()));
        record.services = [("web".to_owned(), state("good"))].into();
        record.attempted = [("new".to_owned(), state("")), ("web".to_owned(), state("bad"))].into();
        assert_eq!(row("h", &record)[3], "bad");
        record.verdict = Verdict::Failed;
        assert_eq!(row("h", &record)[3], "bad", "a rollback that failed");
        record.took_back = vec!["0".to_owned()];
        assert_eq!(row("h", &record)[3], "good", "a rollback that a person asked for");
    }

    #[test]
    fn a_time_says_how_far_from_utc_it_is_and_is_the_same_moment() {
        let shown = local("2026-05-04T09:30:00.123Z");
        let read = jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S %:z", &shown).and_then(|time| time.to_timestamp());
        assert_eq!(read.expect(&shown).to_string(), "2026-05-04T09:30:00Z");
        assert_eq!(local("yesterday"), "yesterday");
    }
    #[test]
    fn at_each_width_what_people_look_for_is_whole() {
        let mut record = Record::new("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "ada@laptop.office.example", "main", "c");
        record.verdict = Verdict::Verified;
        record.commit = "0123456789abcdef0123".to_owned();
        record.services = [("backend-gateway-with-a-name-of-40-letters".to_owned(), state("c"))].into();
        let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain([row("platform-east-01", &record)]).collect();
        for width in [40, 80, 110, 200] {
            let shown = cm_core::fitted(&rows, COLUMNS, width, false);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            for whole in ["platform-east-01", "01980e5c", "01234567", "verified"] {
                assert!(shown.contains(whole), "{width}: {whole}: {shown}");
            }
            let zone = local(&record.at)[19..].to_owned();
            assert!(shown.contains(" ago") || shown.contains(&zone), "{width}: {shown}");
        }
    }
}
