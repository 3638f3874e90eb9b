//! What a run says of its backups, to people and in the document: for one as ever, and for several
//! a list, with what they have in common before it.

use crate::backup::Outcome;
use crate::store::Store;
use crate::task::Made;
use cm_archive::manifest::{self, Manifest};
use cm_archive::text;
use cm_core::facts::BackupFacts;
use cm_core::{Done, Log};
use std::collections::BTreeSet;
use std::time::Duration;

/// What became of one backup.
#[derive(Debug)]
pub struct Report {
    facts: BackupFacts,
    summary: String,
    /// Whether there is a backup, and nothing to warn of.
    is_verified: bool,
    has_warnings: bool,
}

impl Report {
    /// Says what became of it.
    pub fn of(made: Made, took: Duration, log: &Log) -> Report {
        match (made.outcome, made.store) {
            (Outcome::Verified { manifest, warnings }, Some(store)) => {
                let summary = summary(&manifest, &store, took);
                log.success(format!("backup verified: {summary}"));
                manifest.not_verified.iter().for_each(|what| log.debug(format!("not verified: {what}")));
                warnings.iter().for_each(|warning| log.warn(warning));
                let has_warnings = !warnings.is_empty();
                Report { facts: facts_of(&manifest, &store, &warnings, took), summary, is_verified: true, has_warnings }
            }
            (Outcome::NothingYet(why), _) => {
                log.warn(&why);
                Report { facts: no_backup(&why), summary: why, is_verified: false, has_warnings: true }
            }
            (Outcome::Verified { .. }, None) => unreachable!("a verified backup is in a store"),
        }
    }
}

/// How the run ended.
pub fn done(reports: &[Report]) -> Done {
    let summary = reports.iter().map(|report| report.summary.as_str()).collect::<Vec<_>>().join("; ");
    let done = if reports.iter().any(|report| report.has_warnings) { Done::warned(summary) } else { Done::ok(summary) };
    done.changed(reports.iter().any(|report| report.is_verified))
}

/// What the document says.
pub fn facts(reports: &[Report]) -> BackupFacts {
    let [one] = reports else { return facts_of_several(reports) };
    one.facts.clone()
}

fn facts_of_several(reports: &[Report]) -> BackupFacts {
    let verified = reports.iter().find(|report| report.is_verified);
    let first = verified.or(reports.first()).map(|report| report.facts.clone()).unwrap_or_default();
    let all = || reports.iter().map(|report| &report.facts);
    let sum = |of: fn(&BackupFacts) -> Option<u64>| Some(all().filter_map(of).sum());
    BackupFacts {
        verified: Some(reports.iter().all(|report| report.is_verified)),
        reason: all().find_map(|one| one.reason.clone()),
        bytes: sum(|one| one.bytes),
        namespaces: sum(|one| one.namespaces),
        documents: sum(|one| one.documents),
        duration_ms: sum(|one| one.duration_ms),
        warnings: Some(all().filter_map(|one| one.warnings.clone()).flatten().collect()),
        backups: Some(all().cloned().collect()),
        ..first
    }
}

/// What the document says where there is none.
pub fn no_backup(why: &str) -> BackupFacts {
    BackupFacts { verified: Some(false), reason: Some(why.to_owned()), ..BackupFacts::default() }
}

/// The names of the files that were made.
pub fn names(facts: &BackupFacts) -> BTreeSet<String> {
    let files = facts.each().into_iter().filter_map(|one| one.file.as_deref());
    files.filter_map(|file| file.rsplit('/').next().map(str::to_owned)).collect()
}

fn summary(manifest: &Manifest, store: &Store, took: Duration) -> String {
    format!(
        "{} ({}, {}, {})",
        store.display(&manifest.file),
        text::bytes(manifest.bytes),
        manifest.holds(),
        text::duration(took)
    )
}

fn facts_of(manifest: &Manifest, store: &Store, warnings: &[String], took: Duration) -> BackupFacts {
    let parts = if manifest.is_mongodb() { manifest.namespaces.len() } else { manifest.tables.len() };
    BackupFacts {
        verified: Some(true),
        reason: None,
        kind: Some(manifest.kind.clone()),
        service: manifest.service.clone(),
        file: Some(store.path(&manifest.file)),
        host: Some(store.host_name().map(str::to_owned)),
        manifest: Some(store.path(&manifest::name_for(&manifest.file))),
        sha256: Some(manifest.sha256.clone()),
        bytes: Some(manifest.bytes),
        database: Some(manifest.database.clone()),
        namespaces: Some(parts as u64),
        documents: Some(manifest.documents),
        duration_ms: Some(cm_core::time::milliseconds(took)),
        consistency: Some(manifest.consistency.as_str().to_owned()),
        partial: Some(manifest.selection.is_some()),
        warnings: Some(warnings.to_vec()),
        not_verified: Some(manifest.not_verified.clone()).filter(|what| !what.is_empty()),
        copy: manifest.copy.clone(),
        backups: None,
        removed: None,
    }
}
