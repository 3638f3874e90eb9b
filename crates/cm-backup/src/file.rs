//! A backup that is there already: a file or directory of this machine, what comes on stdin, or
//! a file on a host. It is read whole each time it is looked at, and never written.

use crate::copied::Copied;
use crate::location::{self, Flags};
use crate::store::Store;
use cm_archive::manifest::{self, Manifest};
use cm_archive::{Directory, Opened, Stored, Transfer};
use cm_core::{Exit, Failure, Log, OrFail, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Which file is meant, for one who named another.
const MANIFEST_HINT: &str = "it is the FILE.manifest.json that was written with the backup";

/// Where a backup is.
#[derive(Clone, Debug)]
pub enum BackupFile {
    /// A file of this machine, or a directory that mongodump made.
    Local(PathBuf),
    /// stdin; it can be read once.
    Stdin,
    /// A file, or a directory that mongodump made, in a directory of a host.
    Remote {
        /// The directory.
        store: Store,
        /// The file's name in it.
        name: String,
        /// What was copied to this machine, where it is a directory that mongodump made.
        copied: Option<Copied>,
    },
}

impl BackupFile {
    /// Understands what `list` and the ledger print: `HOST:PATH` for a host of `cm.toml`,
    /// `:PATH` or a plain path for this machine, `-` for stdin.
    ///
    /// # Errors
    /// [`Exit::Config`] or [`Exit::Unreachable`] where a host is named.
    pub async fn find(flags: &Flags, file: &Path, log: &Log) -> Result<BackupFile> {
        let text = file.to_str().unwrap_or_default();
        if text == "-" {
            return Ok(BackupFile::Stdin);
        }
        let local = location::absolute(flags, Path::new(text.strip_prefix(':').unwrap_or(text)))?;
        let host = text.split_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
        match host {
            Some((host, path)) if !local.exists() => BackupFile::remote(flags, host, path, log).await,
            _ => Ok(BackupFile::Local(local)),
        }
    }

    async fn remote(flags: &Flags, host: &str, path: &str, log: &Log) -> Result<BackupFile> {
        let host = location::host_named(flags, host, log).await?;
        let path = path.trim_end_matches('/');
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let directory = if directory.is_empty() { "/" } else { directory };
        if name.is_empty() {
            return Err(Failure::new(Exit::Usage, "backup.no-file", format!("{path:?} names no file")));
        }
        let store = Store::new(host, directory);
        let copied = Copied::of(&store, name).await?;
        if copied.is_some() {
            log.info(format!("{} is a directory: it was copied to this machine", store.display(name)));
        }
        Ok(BackupFile::Remote { store, name: name.to_owned(), copied })
    }

    /// The manifest that was named, or the one alongside the file.
    ///
    /// # Errors
    /// [`Exit::Usage`] if a named one cannot be read, [`Exit::Backup`] if it is none.
    pub async fn manifest(&self, named: Option<&Path>) -> Result<Option<Manifest>> {
        let found = match (named, self) {
            (Some(path), _) => Some((path.display().to_string(), read_small(path)?)),
            (None, BackupFile::Local(path)) => {
                let name = path.file_name().and_then(|name| name.to_str()).map(manifest::name_for);
                let alongside = name.map(|name| path.with_file_name(name)).filter(|path| path.exists());
                alongside.map(|path| Ok((path.display().to_string(), read_small(&path)?))).transpose()?
            }
            (None, BackupFile::Stdin) => None,
            (None, BackupFile::Remote { store, name, .. }) => {
                let name = manifest::name_for(name);
                store.read(&name).await?.map(|bytes| (store.display(&name), bytes))
            }
        };
        let Some((place, bytes)) = found else { return Ok(None) };
        let manifest = Manifest::parse(&bytes).map_err(|why| {
            let failure =
                Failure::new(Exit::Backup, "backup.manifest", format!("cannot read the manifest {place}")).cause(why);
            failure.hint(MANIFEST_HINT)
        })?;
        Ok(Some(manifest))
    }
}

impl Stored for BackupFile {
    /// For people, and understood by [`BackupFile::find`].
    fn display(&self) -> String {
        match self {
            BackupFile::Local(path) => path.display().to_string(),
            BackupFile::Stdin => "stdin".to_owned(),
            BackupFile::Remote { store, name, .. } => store.display(name),
        }
    }

    fn open(&self) -> Result<Opened> {
        let (input, transfer): (Box<dyn Read + Send>, _) = match self {
            BackupFile::Local(path) => (open(path)?, None),
            BackupFile::Stdin => (Box::new(io::stdin()), None),
            BackupFile::Remote { copied: Some(copied), .. } => (open(&copied.path())?, None),
            BackupFile::Remote { store, name, copied: None } => {
                let (input, transfer) = store.open(name);
                (Box::new(input), Some(transfer))
            }
        };
        Ok(Opened { input, transfer: Transfer(transfer) })
    }
}

/// Opens a file of this machine; a directory is read as the archive it would be.
fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    if path.is_dir() {
        let directory = Directory::open(path);
        let message = format!("{} is not a directory of mongodump, or not all of it", path.display());
        return Ok(Box::new(directory.or_fail(Exit::Backup, "backup.not-proved", message)?));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_file() && (name.ends_with(".bson") || name.ends_with(".bson.gz")) {
        let message = format!("{} is not a file of mongodump", path.display());
        return Ok(Box::new(Directory::open_file(path).or_fail(Exit::Backup, "backup.not-proved", message)?));
    }
    let file = File::open(path).map_err(|error| {
        let failure = Failure::new(Exit::Usage, "backup.no-file", format!("cannot open {}", path.display()));
        failure.cause(error).hint("cm-backup list shows the backups that there are")
    })?;
    Ok(Box::new(file))
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let failure =
            Failure::new(Exit::Usage, "backup.manifest", format!("cannot read the manifest {}", path.display()));
        failure.cause(error).hint(MANIFEST_HINT)
    })
}
