//! `cm-backup verify FILE`: verifies a backup again, or any archive of mongodump.

use crate::dumps;
use crate::file::BackupFile;
use crate::location::{self, Flags};
use cm_archive::manifest::Manifest;
use cm_archive::progress::{Goal, Progress};
use cm_archive::{Contents, Stored, Verified, text, verify};
use cm_core::{Exit, Failure, Io, Log, Result};
use cm_mongo::restore;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// What to verify.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    /// The file.
    pub file: &'a BackupFile,
    /// Its manifest, if not alongside it.
    pub manifest: Option<&'a Path>,
    /// Whether a file without a manifest is an error.
    pub strict: bool,
}

impl Check<'_> {
    /// Reads the file and its manifest, says what was found, and writes it as JSON if wanted.
    /// It is also restored to compare, where `server` says into which one.
    ///
    /// # Errors
    /// [`Exit::Backup`] for a file that is damaged, not what its manifest says, or comes back
    /// in another form from a restore; [`Exit::Usage`] for one that cannot be opened.
    pub async fn run(&self, server: Option<&Flags>, json: bool, io: &Io) -> Result<Exit> {
        if server.is_some() && matches!(self.file, BackupFile::Stdin) {
            return Err(read_twice());
        }
        if let Some(manifest) = self.manifest().await?.filter(|manifest| !manifest.is_mongodb()) {
            return dumps::check(self.file, &manifest, server, json, io).await;
        }
        let (contents, verified) = self.verify(&io.log).await?;
        if let Some(flags) = server {
            self.rehearse(flags, &contents, io).await?;
        }
        let name = self.file.display();
        let holds = holds(&contents);
        match verified {
            Verified::Complete => io.log.success(format!("{name} is verified: {holds}, all as its manifest says")),
            Verified::Intact => {
                io.log.warn(format!("{name}: structure intact, completeness not verified (no manifest): {holds}"))
            }
        }
        if json {
            io.print_json(&report(&contents, verified))?;
        }
        Ok(Exit::Done)
    }

    async fn rehearse(&self, flags: &Flags, contents: &Contents, io: &Io) -> Result<()> {
        let destination = location::destination(flags, &io.log).await?;
        let same = restore::rehearse(&destination.source.client, self.file, contents, &io.log).await;
        destination.source.close().await;
        same?;
        io.log.pass("what a restore makes of it is the same, document by document");
        Ok(())
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// As [`BackupFile::manifest`]; [`Exit::Backup`] if there has to be one, before all of a large
    /// file is read for nothing.
    pub async fn manifest(&self) -> Result<Option<Manifest>> {
        let manifest = self.file.manifest(self.manifest).await?;
        if manifest.is_none() && self.strict {
            let message = format!("{} has no manifest, so nothing says whether it is complete", self.file.display());
            return Err(
                Failure::new(Exit::Backup, "backup.no-manifest", message).hint("name its manifest: --manifest FILE")
            );
        }
        Ok(manifest)
    }

    /// Reads the file to its last byte and compares it with its manifest.
    ///
    /// # Errors
    /// As [`Check::run`].
    pub async fn verify(&self, log: &Log) -> Result<(Contents, Verified)> {
        let manifest = self.manifest().await?;
        let progress = Arc::new(Progress::default());
        let goal = Goal {
            what: "verification",
            bytes: manifest.as_ref().map(|manifest| manifest.data_bytes),
            collections: manifest.as_ref().map_or(0, |manifest| manifest.namespaces.len() as u64),
        };
        tokio::select! {
            verified = verify::verify(self.file, manifest.as_ref(), &progress) => verified,
            never = progress.report(log, goal) => never,
        }
    }
}

/// stdin is no backup to restore.
pub fn read_twice() -> Failure {
    Failure::new(Exit::Usage, "restore.stdin", "a restore reads the backup twice, which stdin cannot")
        .hint("write it to a file first")
}

/// What a backup holds, for people.
pub fn holds(contents: &Contents) -> String {
    format!(
        "{}, {}, {}",
        cm_core::plural(contents.prelude.entries.len() as u64, "collection"),
        cm_core::plural(contents.documents(), "document"),
        text::bytes(contents.bytes)
    )
}

fn report(contents: &Contents, verified: Verified) -> Value {
    json!({
        "proved": verified.as_str(),
        "bytes": contents.bytes,
        "sha256": contents.sha256,
        "compression": contents.compressed.as_str(),
        "server_version": contents.prelude.server_version,
        "tool_version": contents.prelude.tool_version,
        "documents": contents.documents(),
        "namespaces": contents.namespaces(),
    })
}
