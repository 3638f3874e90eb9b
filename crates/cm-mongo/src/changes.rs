//! Whether what was read of a collection is all of it: others write, drop and rename meanwhile.

use crate::survey::{self, Found};
use cm_archive::Totals;
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Database;
use std::collections::HashMap;

/// The code of a failure because a collection changed its identity while it was read.
pub const CHANGED: &str = "backup.changed";

/// A collection that was made again while it was read may be two halves of which neither is known:
/// an empty answer is what a missing one gives. One that is gone can be told, as what was read of it
/// is all there will ever be: the places of those.
///
/// # Errors
/// [`Exit::Backup`] with [`CHANGED`] or `backup.short`.
pub async fn check_unchanged(database: &Database, before: &[Found], log: &Log) -> Result<Vec<usize>> {
    let after = survey::listed(database).await?;
    let after: HashMap<_, _> = after.iter().map(|one| (one.name.as_str(), one)).collect();
    let moved = |found: &Found| {
        let new = || after.values().filter(|one| !before.iter().any(|found| found.entry.collection == one.name));
        match &found.uuid {
            Some(_) => after.values().any(|one| one.uuid == found.uuid),
            None => new().next().is_some(),
        }
    };
    let mut gone = Vec::new();
    let mut changed = Vec::new();
    for (at, found) in before.iter().enumerate() {
        match after.get(found.entry.collection.as_str()) {
            // Under another name it may have been read twice, or not at all.
            None if moved(found) => changed.push(found.entry.collection.as_str()),
            None => gone.push(at),
            Some(other) if other.uuid == found.uuid && other.kind == found.entry.kind => {}
            Some(_) => changed.push(found.entry.collection.as_str()),
        }
    }
    if let Some(first) = changed.first() {
        return Err(changed_failure(database.name(), first, &changed));
    }
    for name in after.keys().filter(|name| !before.iter().any(|found| found.entry.collection == **name)) {
        log.info(format!("{}.{name} appeared during the backup and is not in it", database.name()));
    }
    Ok(gone)
}

fn changed_failure(database: &str, first: &str, all: &[&str]) -> Failure {
    let flags: Vec<_> = all.iter().map(|name| format!("--exclude-collection={name}")).collect();
    Failure::new(Exit::Backup, CHANGED, format!("{database}.{first} was renamed or made again while it was read"))
        .hint(format!(
            "if it is made again all the time, as by $out, and can be made again after a restore, leave it out: {}",
            flags.join(" ")
        ))
        .retryable()
}

/// Compares what was read with what the server counted, if need be once more, and says
/// what it counted. Writers may be at work, so a difference is news; half of the documents
/// missing is not.
///
/// # Errors
/// [`Exit::Backup`] with [`CHANGED`] or `backup.short`.
pub async fn check_count(
    database: &Database,
    found: &Found,
    totals: Totals,
    first: u64,
    log: &Log,
) -> Result<((u64, u64), Option<String>)> {
    let (read, name) = (totals.documents, found.entry.namespace());
    if read == first {
        return Ok(((first, first), None));
    }
    let after = survey::count(database, found).await.unwrap_or(first);
    if (first.min(after)..=first.max(after)).contains(&read) {
        log.info(format!(
            "{name} changed while it was read: the server counted {first} documents, and {after} after; {read} were read"
        ));
        return Ok(((first, after), None));
    }
    let exact = survey::count_exactly(database, found).await.unwrap_or(after);
    let (least, most) = (first.min(after).min(exact), first.max(after).max(exact));
    if (least..=most).contains(&read) {
        log.info(format!("{name} changed while it was read: the server counts {exact} documents, {read} were read"));
        return Ok(((first, after), None));
    }
    let message = format!("{read} documents of {name} were read, and the server counts {exact}");
    if read < least.div_ceil(2) {
        return Err(Failure::new(Exit::Backup, "backup.short", message)
            .cause("the cursor ended early without an error")
            .hint("look at the database's log, then try again")
            .retryable());
    }
    Ok(((first, after), Some(message)))
}

/// Whether what ended in `failure` is only gone.
///
/// # Errors
/// [`Exit::Backup`] with [`CHANGED`] or `backup.short`.
pub async fn survived(database: &Database, found: &Found, failure: Failure) -> Result<()> {
    let name = found.entry.collection.as_str();
    match survey::listed(database).await?.iter().any(|one| one.name == name) {
        true => Err(changed_failure(database.name(), name, &[name]).cause(failure.message)),
        false => Ok(()),
    }
}
