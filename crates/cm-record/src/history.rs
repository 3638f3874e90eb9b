//! What the ledgers say, for people and for scripts.

use crate::abandoned;
use cm_core::{Io, Result};
use cm_host::{Target, connect_all};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value, json};

/// Lists the newest releases of every host.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or a ledger that cannot be read.
pub async fn history(project: &Project, as_json: bool, last: usize, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    if as_json {
        let hosts: Map<String, Value> =
            ledgers.iter().map(|(host, ledger)| (host.clone(), json!(newest(ledger, last)))).collect();
        return io.print_json(&Value::Object(hosts));
    }
    let mut rows = vec![["HOST", "RELEASE", "AT", "COMMIT", "VERDICT", "BY", "SERVICES"].map(str::to_owned)];
    for (host, ledger) in &ledgers {
        rows.extend(newest(ledger, last).into_iter().map(|record| row(host, record)));
    }
    io.print(&cm_core::table(&rows))
}

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
        begin(&record.at, 19),
        begin(&record.commit, 12),
        record.verdict.word().to_owned(),
        record.actor.clone(),
        services.join(","),
    ]
}

/// The ledgers of all hosts, by host.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or one that cannot be read.
pub async fn read_all(project: &Project, io: &Io) -> Result<Vec<(String, Ledger)>> {
    let targets: Vec<_> = project.hosts().iter().map(|host| Target::of(project, host)).collect::<Result<_>>()?;
    let mut ledgers = Vec::new();
    for host in connect_all(&targets, &io.log).await? {
        let mut ledger = Ledger::read(&host, &project.name()).await?;
        for record in abandoned::of(&host, &project.name(), &ledger, None).await? {
            ledger.apply(abandoned::said(&record));
        }
        if ledger.unreadable > 0 {
            io.log.warn(format!("on {}: {} lines of the ledger cannot be read", host.name(), ledger.unreadable));
        }
        ledgers.push((host.name().to_owned(), ledger));
    }
    Ok(ledgers)
}
