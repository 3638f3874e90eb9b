//! `[backup.copy]`: a verified backup that is also kept elsewhere, by programs of the project on the
//! host that has it. What is sent is hashed on its way into the last of them; what comes back is
//! compared with that. A file alongside the backup says what became of it, and so does the manifest
//! where the run waits for it, so that a copy that failed never looks like one that exists.

use crate::store::Store;
use cm_archive::manifest::Manifest;
use cm_archive::progress::{Goal, Progress};
use cm_core::facts::CopyState;
use cm_core::{Exit, Failure, Log, Result};
use cm_project::{BackupCopy, OnCopyFailure};
use std::time::Duration;

/// A copy ends with its connection; this only bounds what nothing else does.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

const COPY: &str = concat!("# Copies a backup elsewhere.\n", include_str!("pipeline.sh"), include_str!("copy.sh"));
const BEGIN: &str = concat!("# Begins to copy a backup elsewhere.\n", include_str!("begin.sh"));
const REMOVE: &str = concat!("# Removes a copy of a backup.\n", include_str!("pipeline.sh"), include_str!("remove.sh"));
const ANNOTATE: &str = concat!("# Writes what became of a copy.\n", include_str!("annotate.sh"));

/// Copies the backup of `manifest` in `store` as `copy` says, and notes in the manifest what became of it;
/// gives what people should know.
///
/// # Errors
/// [`Exit::Backup`] for a copy that failed, where that is to end the run: then the manifest says so, too.
pub async fn copy(store: &Store, manifest: &mut Manifest, copy: &BackupCopy, log: &Log) -> Result<Option<String>> {
    let place = store.display(&manifest.file);
    log.info(format!("copying {place} elsewhere with {}", copy.command.programs()));
    let state = match store.copy(manifest, copy, log).await {
        Ok(state) => state,
        Err(failure) => {
            CopyState { state: CopyState::FAILED.to_owned(), why: Some(failure.to_string()), ..CopyState::default() }
        }
    };
    manifest.copy = Some(state.clone());
    if copy.wait {
        store.annotate(manifest).await?;
    }
    if state.state != CopyState::FAILED {
        log.info(format!("{place}: {}", state.note()));
        return Ok(None);
    }
    let message = format!("{place} is verified, and its copy failed");
    let why = state.why.unwrap_or_default();
    match copy.on_failure {
        OnCopyFailure::Warn => Ok(Some(format!("{message}: {why}"))),
        OnCopyFailure::Fail => Err(Failure::new(Exit::Backup, "backup.copy-failed", message)
            .cause(why)
            .hint("look at the program of [backup.copy]; on_failure = \"warn\" there makes this a warning")),
    }
}

impl Store {
    /// Copies the backup of `manifest`, or begins to. A copy that failed is no error of this.
    async fn copy(&self, manifest: &Manifest, copy: &BackupCopy, log: &Log) -> Result<CopyState> {
        let pipelines = [Some(&copy.command), copy.read.as_ref(), copy.remove.as_ref()];
        let [keep, read, remove] =
            pipelines.map(|programs| programs.map(|programs| words(programs.of(&manifest.file))).unwrap_or_default());
        let [directory, name] = self.arguments(&manifest.file);
        let numbers = [copy.rate_limit.unwrap_or_default(), keep.len() as u64, read.len() as u64];
        let fixed = [directory, name].into_iter().chain(numbers.map(|number| number.to_string()));
        let arguments = fixed.chain(keep).chain(read).chain(remove);
        if copy.wait {
            return self.copied(arguments, manifest.bytes, log).await;
        }
        let command = self.host().script(BEGIN, std::iter::once(COPY.to_owned()).chain(arguments));
        command.text(Exit::Backup, "backup.copy-failed").await?;
        Ok(CopyState { state: CopyState::RUNNING.to_owned(), ..CopyState::default() })
    }

    /// Copies, and tells people how far it is.
    async fn copied(&self, arguments: impl Iterator<Item = String>, bytes: u64, log: &Log) -> Result<CopyState> {
        let (progress, mut said) = (Progress::default(), String::new());
        let command = self.host().script(COPY, arguments).limit(LIMIT);
        let copying = command.stream(Exit::Backup, "backup.copy-failed", |line| match line.strip_prefix("at ") {
            Some(at) => progress.reach(at.parse().unwrap_or_default()),
            None => said.extend([line, "\n"]),
        });
        tokio::select! {
            copied = copying => copied?,
            never = progress.report(log, Goal { what: "copy", bytes: Some(bytes), collections: 0 }) => never,
        }
        Ok(CopyState::parse(&said))
    }

    /// Writes the manifest of a backup again, with what became of its copy.
    async fn annotate(&self, manifest: &Manifest) -> Result<()> {
        let command = self.host().script(ANNOTATE, self.arguments(&manifest.file)).stdin(manifest.to_text());
        command.text(Exit::Backup, "backup.store").await.map(drop)
    }

    /// Removes the copy of the backup `name`, where `copy` says how.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the program said.
    pub async fn remove_copy(&self, name: &str, copy: &BackupCopy) -> Result<()> {
        let Some(remove) = &copy.remove else { return Ok(()) };
        let command = self.host().script(REMOVE, words(remove.of(name))).limit(LIMIT);
        command.text(Exit::Backup, "prune.copy").await.map(drop)
    }
}

/// A pipeline as the scripts read it.
fn words(programs: Vec<Vec<String>>) -> Vec<String> {
    programs.into_iter().flat_map(|program| std::iter::once(program.len().to_string()).chain(program)).collect()
}
