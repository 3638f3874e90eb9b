//! `--restore-db`: the data is rolled back with the code. Restoring is cm-backup's work, so
//! its program is run, under this run's lock; its own checks and its own words apply.

use cm_core::{Exit, Failure, Log, Result};
use cm_lease::{FILE_VARIABLE, Guard, NONCE_VARIABLE};
use cm_ledger::RecordedBackup;
use cm_project::Project;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A restore that takes longer is looked at by a person.
const LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// The host whose database a backup belongs to.
pub fn host_of(backup: &RecordedBackup) -> Option<&str> {
    backup.place.split_once(':').map(|(host, _)| host)
}

/// Puts `backup` back. The services that use the database should be stopped.
///
/// # Errors
/// [`Exit::RollbackFailed`] if cm-backup is not there or says that it failed; the database is
/// then as it was, or cm-backup says what it is.
pub async fn restore(project: &Project, backup: &RecordedBackup, guard: &Guard, log: &Log) -> Result<()> {
    let arguments = cm_rollout::restore_arguments(project, backup);
    let line = arguments.iter().map(|word| cm_lease::quote(word).to_string()).collect::<Vec<_>>().join(" ");
    let line = format!("cm-backup {line}");
    log.info(format!("restoring the database: {line}"));
    let failed = |why: String| {
        Failure::new(Exit::RollbackFailed, "rollback.restore", format!("the database was not restored: {why}"))
            .hint(format!("its own message is above; again: {line}"))
    };
    let mut command = Command::new("cm-backup");
    command.args(arguments).current_dir(&project.root);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    if let Some((nonce, file)) = guard.holding() {
        command.env(NONCE_VARIABLE, nonce).env(FILE_VARIABLE, file);
    }
    let ended = tokio::time::timeout(LIMIT, command.status()).await;
    match ended.map_err(|_| failed(format!("no end after {} h", LIMIT.as_secs() / 3600)))? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("cm-backup ended with {status}"))),
        Err(error) => Err(failed("cm-backup cannot be started".to_owned()).cause(error)),
    }
}
