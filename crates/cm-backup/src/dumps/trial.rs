//! `--restore-check`: a dump is restored to where nobody uses it, what is there is counted and
//! compared with what the manifest says, and removed again.

use super::pour::{self, Reading, check_restored, pour};
use super::source::Source;
use crate::file::BackupFile;
use cm_archive::Stored;
use cm_archive::manifest::Manifest;
use cm_core::{Exit, Failure, Log, Result};
use cm_dump::Scratch;
use std::sync::Arc;

/// Whether there is a place to restore to that nobody uses.
pub fn is_possible(source: &Source) -> bool {
    source.kind.load(&scratch(), false).is_some()
}

/// Restores `file` alongside the database of `source`, and compares.
///
/// # Errors
/// [`Exit::Backup`] if it cannot be restored, or something else comes of it; [`Exit::Usage`] where
/// there is no place for it.
pub async fn trial(source: &Source, file: &BackupFile, manifest: &Manifest, log: &Log) -> Result<()> {
    let scratch = scratch();
    let job = source.kind.load(&scratch, false).ok_or_else(|| {
        let message = format!("a backup of kind {} is restored nowhere but in its place", manifest.kind);
        Failure::new(Exit::Usage, "usage.restore-check", message).hint("leave out --restore-check")
    })?;
    log.info(format!("restoring {} to where nobody uses it, to compare", file.display()));
    let (bytes, task) = pour(Arc::new(file.clone()), Reading::of(&*source.kind));
    let said = source.place.feed(&job, bytes, "backup.restore-check").await;
    let whole = pour::end(task).await;
    let (said, whole) = (said?, whole?);
    let message = format!("{} comes back from a restore in another form", file.display());
    let failure = Failure::new(Exit::Backup, "backup.restore-check", message);
    check_restored(&said, &whole, manifest, failure).map(drop)
}

/// Names that nobody else has.
pub fn scratch() -> Scratch {
    Scratch::of(uuid::Uuid::now_v7().as_u128())
}
