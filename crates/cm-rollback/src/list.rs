//! `--list`: the releases of every host, and which of them can be rolled back to.

use crate::Args;
use cm_core::{Column, Exit, Io, Result, plural};
use cm_host::{Connect, Host};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Prints per host its releases, newest first: as JSON, or as a table for people.
///
/// # Errors
/// [`Exit::Unreachable`], or a ledger that cannot be read.
pub async fn list(args: &Args, io: &Io) -> Result<()> {
    let project = Project::load(&args.common, cm_git::tracked)?;
    let (mut hosts, mut rows) = (Map::new(), vec![HEAD.map(str::to_owned)]);
    for host in project.connect_to_all(&io.log).await? {
        let ledger = Ledger::read_last(&host, &project.name(), args.last).await?;
        if ledger.unreadable > 0 {
            let lines = plural(ledger.unreadable as u64, "line");
            io.log.warn(format!("on {}: {lines} of the ledger cannot be read", host.name()));
        }
        let images = images(&host).await?;
        let records = || ledger.records().iter().rev().take(args.last);
        rows.extend(records().map(|record| row(host.name(), record, &images)));
        hosts.insert(host.name().to_owned(), records().map(|record| describe(record, &images)).collect());
    }
    if args.json { io.print_json(&Value::Object(hosts)) } else { io.print_table(&rows, COLUMNS, args.wide) }
}

const HEAD: [&str; 9] = ["HOST", "RELEASE", "COMMIT", "AGE", "VERDICT", "SERVICES", "IMAGES", "NOTE", "BACKUP"];

const COLUMNS: [Column; 9] = [
    Column::Whole,
    Column::Id,
    Column::Id,
    Column::Whole,
    Column::State,
    Column::Cut,
    Column::State,
    Column::Cut,
    Column::Path,
];

/// One release for scripts. `target` says whether `cm-rollback` would go back to it by itself.
fn describe(record: &Record, images: &BTreeSet<String>) -> Value {
    let gone = gone(record, images);
    let tried: BTreeSet<&str> = record.attempted.values().map(|state| state.commit.as_str()).collect();
    json!({
        "id": record.id,
        "at": record.at,
        "age_s": cm_core::time::seconds_since(&record.at),
        "commit": record.commit,
        "verdict": record.verdict.as_str(),
        "services": record.services.keys().collect::<Vec<_>>(),
        "images": if gone.is_empty() { "there" } else { "gone" },
        "gone": gone,
        "target": gone.is_empty() && is_target(record),
        "backup": record.backup,
        "backups": record.each_backup(),
        "cause": record.cause,
        "tried": tried,
        "taken_back": record.taken_back,
        "irreversible": record.irreversible,
    })
}

fn row(host: &str, record: &Record, images: &BTreeSet<String>) -> [String; 9] {
    let gone = gone(record, images);
    let begin = |text: &str| text.get(..12).unwrap_or(text).to_owned();
    let age = cm_core::time::seconds_since(&record.at).map_or_else(|| "?".to_owned(), cm_core::time::rough);
    [
        host.to_owned(),
        record.id.clone(),
        begin(record.tried()),
        age,
        record.verdict.as_str().to_owned(),
        record.services.keys().cloned().collect::<Vec<_>>().join(","),
        match gone.len() {
            0 => "there".to_owned(),
            all if all == record.services.len() => "gone".to_owned(),
            some => format!("{some} gone"),
        },
        note(record, &gone),
        record.backup.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn note(record: &Record, gone: &[String]) -> String {
    let mut notes = Vec::new();
    if !gone.is_empty() && gone.len() < record.services.len() {
        notes.push(format!("no image of {}", gone.join(",")));
    }
    if !record.irreversible.is_empty() {
        notes.push("irreversible".to_owned());
    }
    if !record.taken_back.is_empty() {
        let names: Vec<_> = record.taken_back.keys().map(String::as_str).collect();
        notes.push(format!("rolled back: {}", names.join(",")));
    }
    notes.extend(record.cause.clone());
    notes.join("; ")
}

fn is_target(record: &Record) -> bool {
    record.verdict.is_good() && record.services.keys().any(|name| !record.is_taken_back(name))
}

/// The services whose image is not on the host any more.
fn gone(record: &Record, images: &BTreeSet<String>) -> Vec<String> {
    let there = |id: &String| id.is_empty() || images.contains(id);
    record.services.iter().filter(|(_, state)| !there(&state.image_id)).map(|(name, _)| name.clone()).collect()
}

async fn images(host: &Host) -> Result<BTreeSet<String>> {
    // Also those that only a container's id holds.
    let command = host.command(["docker", "image", "ls", "--all", "--no-trunc", "-q"]);
    Ok(command.text(Exit::HealthUnknown, "engine.images").await?.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::{ServiceState, Verdict};

    #[test]
    fn a_release_whose_images_are_gone_or_that_was_taken_back_is_no_target() {
        let mut record = Record::new("1", "ada", "main", "0123456789abcdef");
        record.verdict = Verdict::Verified;
        record
            .services
            .insert("web".to_owned(), ServiceState { image_id: "sha256:a".to_owned(), ..Default::default() });
        let there = BTreeSet::from(["sha256:a".to_owned()]);
        assert_eq!(describe(&record, &there)["target"], true);
        assert_eq!(describe(&record, &BTreeSet::new())["target"], false);
        assert_eq!(row("h", &record, &BTreeSet::new())[6], "gone");
        let state = ServiceState { image_id: "sha256:b".to_owned(), ..Default::default() };
        record.services.insert("api".to_owned(), state);
        assert_eq!(row("h", &record, &there)[6..8], ["1 gone", "no image of api"]);
        record.services.remove("api");
        record.take_back(["web".to_owned()].iter(), "it was slow");
        assert_eq!(describe(&record, &there)["target"], false);
        assert_eq!(row("h", &record, &there)[4], "failed");
    }
    #[test]
    fn a_failed_release_shows_the_commit_it_tried_and_all_of_its_cause() {
        let mut record = Record::new("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "ada", "main", "0123456789abcdef");
        let state = |commit: &str| ServiceState { commit: commit.to_owned(), ..Default::default() };
        let name = "backend-gateway-with-a-name-of-40-letters".to_owned();
        record.verdict = Verdict::RolledBack;
        record.cause = Some(format!("health: on platform: {name} is not healthy: it was started 3 times within 10 s"));
        record.services = [(name.clone(), state("0123456789abcdef"))].into();
        record.attempted = [(name, state("fedcba9876543210"))].into();
        record.backup = Some("platform:/var/backups/shop/mongodb-2026-11-24.archive.zst".to_owned());
        let rows = [HEAD.map(str::to_owned), row("platform", &record, &BTreeSet::new())];
        assert!(cm_core::table(&rows).contains("it was started 3 times within 10 s"), "--wide and a pipe have all");
        for width in [40, 80, 110, 200] {
            let shown = cm_core::fitted(&rows, COLUMNS, width, false);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            for whole in ["platform", "01980e5c", "fedcba98", "rolled_back"] {
                assert!(shown.contains(whole), "{width}: {whole}: {shown}");
            }
        }
        assert!(cm_core::fitted(&rows, COLUMNS, 110, false).contains(".zst"), "which file it is");
    }
}
