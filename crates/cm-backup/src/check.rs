//! `cm-backup verify FILE`: proves a backup again, or any archive of mongodump.

use crate::manifest::{self, Manifest};
use crate::text;
use crate::verify::{self, Contents};
use cm_core::{Exit, Failure, Io, OrFail, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

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
    /// The file; `-` for stdin.
    pub file: &'a Path,
    /// Its manifest, if not beside it.
    pub manifest: Option<&'a Path>,
    /// Whether a file without a manifest is an error.
    pub strict: bool,
}

impl Check<'_> {
    /// Reads the file and its manifest, says what was found, and writes it as JSON if wanted.
    ///
    /// # Errors
    /// [`Exit::Backup`] for a file that is damaged or not what its manifest says;
    /// [`Exit::Usage`] for one that cannot be opened.
    pub async fn run(&self, json: bool, io: &Io) -> Result<Exit> {
        let file = self.file.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&file));
        let contents = read.await.map_err(|error| Failure::bug("the proving thread ended").cause(error))??;
        let manifest = self.read_manifest()?;
        let proof = self.judge(&contents, manifest.as_ref())?;
        let name = self.file.display();
        let holds = format!(
            "{}, {}, {}",
            text::plural(contents.prelude.entries.len() as u64, "collection"),
            text::plural(contents.documents(), "document"),
            text::bytes(contents.bytes)
        );
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

    fn judge(&self, contents: &Contents, manifest: Option<&Manifest>) -> Result<Proof> {
        let Some(manifest) = manifest else {
            if self.strict {
                let message = format!("{}: structure intact, completeness not proved", self.file.display());
                return Err(Failure::new(Exit::Backup, "backup.no-manifest", message)
                    .hint("name its manifest: --manifest FILE"));
            }
            return Ok(Proof::Intact);
        };
        let differences = contents.differences(manifest);
        if differences.is_empty() {
            return Ok(Proof::Complete);
        }
        let message = format!("{} is not the backup that its manifest describes", self.file.display());
        let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
        Err(differences.into_iter().take(10).fold(failure, Failure::cause))
    }

    /// The manifest that was named, or the one beside the file.
    fn read_manifest(&self) -> Result<Option<Manifest>> {
        let beside = || -> Option<PathBuf> {
            let name = manifest::name_for(self.file.file_name()?.to_str()?);
            Some(self.file.with_file_name(name)).filter(|path| path.exists())
        };
        let Some(path) = self.manifest.map(Path::to_owned).or_else(beside) else { return Ok(None) };
        let unreadable = || format!("cannot read the manifest {}", path.display());
        let bytes = std::fs::read(&path).or_fail(Exit::Usage, "backup.manifest", unreadable())?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|why| Failure::new(Exit::Backup, "backup.manifest", unreadable()).cause(why))?;
        Ok(Some(manifest))
    }
}

fn read(path: &Path) -> Result<Contents> {
    let input: Box<dyn Read + Send> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => {
            let opened = File::open(path);
            Box::new(opened.or_fail(Exit::Usage, "backup.no-file", format!("cannot open {}", path.display()))?)
        }
    };
    verify::read_back(input).map_err(|error| {
        Failure::new(Exit::Backup, "backup.not-proved", format!("{} is not an intact backup", path.display()))
            .cause(error)
    })
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
