//! `cm-backup verify FILE`: proves a backup again, or any archive of mongodump.

use crate::args::Args;
use crate::file::{BackupFile, drained};
use crate::manifest::Manifest;
use crate::progress::{Goal, Progress};
use crate::verify::{self, Contents};
use crate::{places, restore, text};
use cm_core::{Exit, Failure, Io, Log, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// How sure one can be of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// It is intact and holds all that its manifest says.
    Complete,
    /// It is intact; nothing says what should be in it.
    Intact,
}

/// What to prove.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    /// The file.
    pub file: &'a BackupFile,
    /// Its manifest, if not beside it.
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
    pub async fn run(&self, server: Option<&Args>, json: bool, io: &Io) -> Result<Exit> {
        if server.is_some() && matches!(self.file, BackupFile::Stdin) {
            return Err(restore::read_twice());
        }
        let (contents, proof) = self.prove(&io.log).await?;
        if let Some(args) = server {
            self.rehearse(args, &contents, io).await?;
        }
        let name = self.file.display();
        let holds = holds(&contents);
        match proof {
            Proof::Complete => io.log.success(format!("{name} is proved: {holds}, all as its manifest says")),
            Proof::Intact => {
                io.log.warn(format!("{name}: structure intact, completeness not proved (no manifest): {holds}"))
            }
        }
        if json {
            io.print_json(&report(&contents, proof))?;
        }
        Ok(Exit::Done)
    }

    async fn rehearse(&self, args: &Args, contents: &Contents, io: &Io) -> Result<()> {
        let destination = places::destination(args, &io.log).await?;
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
            let message = format!("{} has no manifest, so nothing proves that it is complete", self.file.display());
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
    pub async fn prove(&self, log: &Log) -> Result<(Contents, Proof)> {
        let manifest = self.manifest().await?;
        let progress = Arc::new(Progress::default());
        let goal = Goal {
            what: "proof",
            bytes: manifest.as_ref().map(|manifest| manifest.data_bytes),
            collections: manifest.as_ref().map_or(0, |manifest| manifest.namespaces.len() as u64),
        };
        tokio::select! {
            proved = self.prove_against(manifest.as_ref(), &progress) => proved,
            never = progress.report(log, goal) => never,
        }
    }

    /// As [`Check::prove`], for one who tells people how far it is.
    ///
    /// # Errors
    /// As [`Check::run`].
    pub async fn prove_against(
        &self,
        manifest: Option<&Manifest>,
        progress: &Arc<Progress>,
    ) -> Result<(Contents, Proof)> {
        let watched = Arc::clone(progress);
        let read = self.file.read(move |input| drained(input, |input| verify::read_back_watched(input, &watched)));
        let contents = read.await?.map_err(|error| {
            Failure::new(Exit::Backup, "backup.not-proved", format!("{} is not an intact backup", self.file.display()))
                .cause(error)
        })?;
        let proof = self.judge(&contents, manifest)?;
        Ok((contents, proof))
    }

    fn judge(&self, contents: &Contents, manifest: Option<&Manifest>) -> Result<Proof> {
        let Some(manifest) = manifest else { return Ok(Proof::Intact) };
        let differences = contents.differences(manifest);
        if differences.is_empty() {
            return Ok(Proof::Complete);
        }
        let message = format!("{} is not the backup that its manifest describes", self.file.display());
        let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
        Err(differences.into_iter().take(10).fold(failure, Failure::cause))
    }
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

fn report(contents: &Contents, proof: Proof) -> Value {
    json!({
        "proved": if proof == Proof::Complete { "complete" } else { "intact" },
        "bytes": contents.bytes,
        "sha256": contents.sha256,
        "compression": contents.compressed.word(),
        "server_version": contents.prelude.server_version,
        "tool_version": contents.prelude.tool_version,
        "documents": contents.documents(),
        "namespaces": contents.namespaces(),
    })
}
