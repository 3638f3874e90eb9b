//! A backup that is there already: a file or directory of this machine, what comes on stdin, or
//! a file on a host. It is read whole each time it is looked at, and never written.

use crate::archive::Directory;
use crate::args::Args;
use crate::copied::Copied;
use crate::manifest::{self, Manifest};
use crate::places;
use crate::store::Store;
use cm_core::{Exit, Failure, Log, OrFail, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// Which file is meant, for one who named another.
const MANIFEST_HINT: &str = "it is the FILE.manifest.json that was written with the backup";

/// Where a backup is.
#[derive(Clone, Debug)]
pub enum BackupFile {
    /// A file of this machine, or a directory that mongodump made.
    Here(PathBuf),
    /// stdin; it can be read once.
    Stdin,
    /// A file, or a directory that mongodump made, in a directory of a host.
    There {
        /// The directory.
        store: Store,
        /// The file's name in it.
        name: String,
        /// What was copied here, where it is a directory that mongodump made.
        copied: Option<Copied>,
    },
}

impl BackupFile {
    /// Understands what `list` and the ledger print: `HOST:PATH` for a host of `cm.toml`,
    /// `:PATH` or a plain path for this machine, `-` for stdin.
    ///
    /// # Errors
    /// [`Exit::Config`] or [`Exit::Unreachable`] where a host is named.
    pub async fn find(args: &Args, file: &Path, log: &Log) -> Result<BackupFile> {
        let text = file.to_str().unwrap_or_default();
        if text == "-" {
            return Ok(BackupFile::Stdin);
        }
        let here = places::absolute(args, Path::new(text.strip_prefix(':').unwrap_or(text)))?;
        let host = text.split_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
        match host {
            Some((host, path)) if !here.exists() => BackupFile::there(args, host, path, log).await,
            _ => Ok(BackupFile::Here(here)),
        }
    }

    async fn there(args: &Args, host: &str, path: &str, log: &Log) -> Result<BackupFile> {
        let host = places::host_named(args, host, log).await?;
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
        Ok(BackupFile::There { store, name: name.to_owned(), copied })
    }

    /// For people, and understood by [`BackupFile::find`].
    pub fn display(&self) -> String {
        match self {
            BackupFile::Here(path) => path.display().to_string(),
            BackupFile::Stdin => "stdin".to_owned(),
            BackupFile::There { store, name, .. } => store.display(name),
        }
    }

    /// Runs `job` with the file on a thread of its own. A transfer that broke is told apart
    /// from a job that failed only if the job reads to the end: see [`drained`].
    ///
    /// # Errors
    /// [`Exit::Usage`] if there is no such file; [`Exit::Unreachable`] and [`Exit::Backup`]
    /// for a transfer that broke.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(Box<dyn Read + Send>) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, transfer) = self.start(job).await?;
        transfer.end().await?;
        Ok(done)
    }

    /// As [`BackupFile::read`], for a job that wants only the beginning.
    ///
    /// # Errors
    /// As [`BackupFile::read`].
    pub async fn peek<T: Send + 'static, E: Send + 'static>(
        &self,
        job: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>> {
        let (done, transfer) = self.start(job).await?;
        match done {
            Ok(done) => {
                transfer.give_up();
                Ok(Ok(done))
            }
            Err(failed) => transfer.end().await.map(|()| Err(failed)),
        }
    }

    async fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce(Box<dyn Read + Send>) -> T + Send + 'static,
    ) -> Result<(T, Transfer)> {
        let (input, transfer): (Box<dyn Read + Send>, _) = match self {
            BackupFile::Here(path) => (open(path)?, None),
            BackupFile::Stdin => (Box::new(io::stdin()), None),
            BackupFile::There { copied: Some(copied), .. } => (open(&copied.path())?, None),
            BackupFile::There { store, name, copied: None } => {
                let (input, transfer) = store.open(name);
                (Box::new(input), Some(transfer))
            }
        };
        let done = tokio::task::spawn_blocking(move || job(input)).await;
        let done = done.map_err(|error| Failure::bug("the reading thread ended").cause(error))?;
        Ok((done, Transfer(transfer)))
    }

    /// The manifest that was named, or the one beside the file.
    ///
    /// # Errors
    /// [`Exit::Usage`] if a named one cannot be read, [`Exit::Backup`] if it is none.
    pub async fn manifest(&self, named: Option<&Path>) -> Result<Option<Manifest>> {
        let found = match (named, self) {
            (Some(path), _) => Some((path.display().to_string(), read_small(path)?)),
            (None, BackupFile::Here(path)) => {
                let beside = path.file_name().and_then(|name| name.to_str()).map(manifest::name_for);
                let beside = beside.map(|name| path.with_file_name(name)).filter(|path| path.exists());
                beside.map(|path| Ok((path.display().to_string(), read_small(&path)?))).transpose()?
            }
            (None, BackupFile::Stdin) => None,
            (None, BackupFile::There { store, name, .. }) => {
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

/// What brings a file from a host.
struct Transfer(Option<JoinHandle<Result<u64>>>);

impl Transfer {
    async fn end(self) -> Result<()> {
        let Some(transfer) = self.0 else { return Ok(()) };
        transfer.await.map_err(|error| Failure::bug("the transfer ended").cause(error))?.map(drop)
    }

    fn give_up(self) {
        if let Some(transfer) = self.0 {
            transfer.abort();
        }
    }
}

/// Opens a file of this machine; a directory is read as the archive it would be.
fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    if path.is_dir() {
        let directory = Directory::open(path);
        let message = format!("{} is no directory of mongodump, or not all of it", path.display());
        return Ok(Box::new(directory.or_fail(Exit::Backup, "backup.not-proved", message)?));
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

/// `job` with `input`, and what it leaves of it read to the end, so that a sender that
/// failed can say so.
pub fn drained<T>(mut input: Box<dyn Read + Send>, job: impl FnOnce(&mut (dyn Read + Send)) -> T) -> T {
    let done = job(&mut *input);
    let _rest = io::copy(&mut input, &mut io::sink());
    done
}
