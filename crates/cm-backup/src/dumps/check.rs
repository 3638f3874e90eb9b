//! `cm-backup verify FILE` for a backup that is no archive of MongoDB, as its manifest says.

use super::place;
use super::pour::{self, Reading, Whole, pour};
use super::source::Source;
use super::trial::{is_possible, trial};
use crate::file::BackupFile;
use crate::location::Flags;
use cm_archive::manifest::Manifest;
use cm_archive::progress::Goal;
use cm_archive::{Stored, text};
use cm_core::{Exit, Failure, Io, Log, Result};
use cm_dump::{Kind, Spec};
use cm_project::BackupKind;
use serde_json::json;
use std::sync::Arc;

/// Reads the file whole and compares it with its manifest; it is also restored to compare, where
/// `server` says into which database.
///
/// # Errors
/// [`Exit::Backup`] for a file that is damaged, or not what its manifest says.
pub async fn check(
    file: &BackupFile,
    manifest: &Manifest,
    server: Option<&Flags>,
    json: bool,
    io: &Io,
) -> Result<Exit> {
    let whole = verify(file, manifest, &io.log).await?;
    if let Some(flags) = server {
        let (_, source) = place::find(flags, manifest, &io.log).await?;
        if is_possible(&source) {
            trial(&source, file, manifest, &io.log).await?;
            io.log.pass("what a restore makes of it has the same tables and rows");
        } else {
            read_by_command(&source, file, manifest).await?;
            io.log.pass("the command of `verify` reads all of it; what a restore makes of it has no place but its own");
        }
    }
    let holds = format!("{}, {}", manifest.holds(), text::bytes(whole.bytes));
    io.log.success(format!("{} is verified: {holds}, all as its manifest says", file.display()));
    for what in &manifest.not_verified {
        io.log.info(format!("not verified: {what}"));
    }
    if json {
        io.print_json(&json!({
            "proved": "complete",
            "kind": manifest.kind,
            "bytes": whole.bytes,
            "sha256": whole.sha256,
            "compression": manifest.compression,
            "server_version": manifest.server.version,
            "tool_version": manifest.tool,
            "documents": manifest.documents,
            "tables": manifest.tables,
            "not_verified": manifest.not_verified,
        }))?;
    }
    Ok(Exit::Done)
}

/// Has the project's own command read it, where nothing else can try it.
async fn read_by_command(source: &Source, file: &BackupFile, manifest: &Manifest) -> Result<()> {
    let job = source.kind.check().ok_or_else(|| {
        let message = format!(
            "nothing can try a backup of kind {}: what restores it has no place but its own, and no command of `verify` reads it",
            manifest.kind
        );
        Failure::new(Exit::Usage, "usage.restore-check", message).hint(
            "set `verify` of its [[backup]] in cm.toml to a command that restores what it reads to a place of its own, and fails if that is not whole; or leave out --restore-check",
        )
    })?;
    let (bytes, task) = pour(Arc::new(file.clone()), Reading::of(&*source.kind));
    let said = source.place.feed(&job, bytes, "backup.restore-check").await;
    let whole = pour::end(task).await;
    said.and(whole).map(drop)
}

/// Reads the file whole and compares it with its manifest.
///
/// # Errors
/// As [`check`].
pub async fn verify(file: &BackupFile, manifest: &Manifest, log: &Log) -> Result<Whole> {
    let reading = Reading::of(&*kind_of(manifest)?);
    let progress = Arc::clone(&reading.progress);
    let goal = Goal { what: "verification", bytes: Some(manifest.data_bytes), collections: 0 };
    let (mut bytes, task) = pour(Arc::new(file.clone()), reading);
    let work = async {
        let _all = tokio::io::copy(&mut bytes, &mut tokio::io::sink()).await;
        pour::end(task).await
    };
    let whole = tokio::select! {
        whole = work => whole?,
        never = progress.report(log, goal) => never,
    };
    let differences = whole.differences(manifest);
    if differences.is_empty() {
        return Ok(whole);
    }
    let message = format!("{} is not the backup that its manifest describes", file.display());
    let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
    Err(differences.into_iter().take(10).fold(failure, Failure::cause))
}

/// The kind that a manifest names, for its bytes alone.
fn kind_of(manifest: &Manifest) -> Result<Box<dyn Kind>> {
    let kind = BackupKind::parse(&manifest.kind).ok_or_else(|| {
        let message = format!("a backup of kind {:?} is not known to this version", manifest.kind);
        Failure::new(Exit::Backup, "backup.manifest", message).hint("a newer cm-backup made it; use that")
    })?;
    Spec::alone(kind).kind(Default::default())
}
