//! What the ledgers say, for people and for scripts.

use cm_core::{Exit, Failure, Io, Result};
use cm_host::{Target, connect_all};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value, json};

/// Lists the newest releases of every host.
///
/// # Errors
/// [`Exit::Unreachable`], or a ledger that cannot be read.
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

fn newest(ledger: &Ledger, last: usize) -> Vec<&Record> {
    ledger.records().iter().rev().take(last).collect()
}

fn row(host: &str, record: &Record) -> [String; 7] {
    let services: Vec<_> = record.services.keys().cloned().collect();
    let begin = |text: &str, length: usize| text.chars().take(length).collect::<String>();
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

/// Shows one release on every host that has it.
///
/// # Errors
/// [`Exit::Usage`] if no host has it, or the beginning fits several.
pub async fn show(project: &Project, run: &str, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    let mut found = Map::new();
    let mut ids = std::collections::BTreeSet::new();
    for (host, ledger) in &ledgers {
        for record in ledger.records().iter().filter(|record| record.id.starts_with(run)) {
            ids.insert(record.id.clone());
            found.insert(host.clone(), json!(record));
        }
    }
    match ids.len() {
        1 => io.print_json(&Value::Object(found)),
        0 => Err(Failure::new(Exit::Usage, "usage.unknown-release", format!("no host has a release {run:?}"))
            .hint("cm-record history lists them")),
        _ => Err(Failure::new(Exit::Usage, "usage.ambiguous-release", format!("{run:?} fits several releases"))
            .cause(ids.into_iter().collect::<Vec<_>>().join(" "))),
    }
}

async fn read_all(project: &Project, io: &Io) -> Result<Vec<(String, Ledger)>> {
    let targets: Vec<_> = project.hosts().iter().map(|host| Target::of(project, host)).collect::<Result<_>>()?;
    let mut ledgers = Vec::new();
    for host in connect_all(&targets, &io.log).await? {
        let ledger = Ledger::read(&host, &project.name()).await?;
        if ledger.unreadable > 0 {
            io.log.warn(format!("on {}: {} lines of the ledger cannot be read", host.name(), ledger.unreadable));
        }
        ledgers.push((host.name().to_owned(), ledger));
    }
    Ok(ledgers)
}
