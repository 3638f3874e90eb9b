//! A stored dump, read: its file is hashed, unpacked where it was compressed here, and its bytes are
//! looked at; a database's own program may read them on the way.

use crate::pipe;
use crate::store::Hashed;
use cm_archive::manifest::Manifest;
use cm_archive::progress::Progress;
use cm_archive::{HashedReader, ReadError, Stored, codec, read};
use cm_core::{Exit, Failure, Result};
use cm_dump::{Counts, Kind, Said, Scan};
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What a file was found to be.
#[derive(Debug)]
pub struct Whole {
    /// Its length, in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
    /// The length of the dump in it, in bytes.
    pub data_bytes: u64,
    /// What the dump's bytes show.
    pub counts: Option<Counts>,
}

impl Hashed for Whole {
    fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl Whole {
    /// In what it differs from what its manifest says.
    pub fn differences(&self, manifest: &Manifest) -> Vec<String> {
        let mut found = Vec::new();
        if self.bytes != manifest.bytes {
            found.push(format!("the file has {} bytes, its manifest says {}", self.bytes, manifest.bytes));
        }
        if self.sha256 != manifest.sha256 {
            found.push(format!("the file's SHA-256 is {}, its manifest says {}", self.sha256, manifest.sha256));
        }
        if let Some(counts) = &self.counts {
            found.extend(cm_dump::differences(&counts_of(manifest), counts));
        }
        found
    }
}

/// That a restore, which said `said`, made of the dump what `manifest` says; else `failure`, with the
/// differences.
///
/// # Errors
/// `failure`.
pub fn check_restored(said: &str, whole: &Whole, manifest: &Manifest, failure: Failure) -> Result<Said> {
    let mut differences = whole.differences(manifest);
    let said = Said::parse(said).unwrap_or_else(|why| {
        differences.push(why);
        Said::default()
    });
    differences.extend(cm_dump::differences(&counts_of(manifest), &said.counted));
    match differences.is_empty() {
        true => Ok(said),
        false => Err(differences.into_iter().take(10).fold(failure, Failure::cause)),
    }
}

/// The rows that a manifest says are in its backup.
fn counts_of(manifest: &Manifest) -> Counts {
    manifest.tables.iter().map(|table| (table.name.clone(), table.rows)).collect()
}

/// How a file is read.
pub struct Reading {
    /// What looks at its bytes.
    pub scan: Box<dyn Scan>,
    /// Whether the dump is compressed by its own program, and stays so.
    pub is_packed: bool,
    /// How far it is.
    pub progress: Arc<Progress>,
}

impl Reading {
    /// For a dump of that kind.
    pub fn of(kind: &dyn Kind) -> Reading {
        Reading { scan: kind.scan(), is_packed: kind.words().is_packed, progress: Arc::default() }
    }

    /// Reads `input` to its end, and shows the dump to `out`. One that does not read it is no error:
    /// it says itself why.
    ///
    /// # Errors
    /// [`ReadError`] for what is no whole dump.
    pub fn run(mut self, input: &mut (dyn Read + Send), out: &mut dyn Write) -> Result<Whole, ReadError> {
        let mut file = HashedReader::new(input);
        let mut unpacked: Box<dyn Read + Send + '_> = match self.is_packed {
            true => Box::new(&mut file),
            false => codec::unpack(&mut file).map_err(unreadable)?.1,
        };
        let (mut chunk, mut data_bytes, mut is_read) = (vec![0; CHUNK], 0, true);
        let damaged = |offset, what| ReadError::Damaged { offset, what };
        loop {
            let length = match unpacked.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            self.scan.feed(&chunk[..length]).map_err(|why| damaged(data_bytes, why))?;
            is_read = is_read && out.write_all(&chunk[..length]).is_ok();
            data_bytes += length as u64;
            self.progress.add(0, length as u64);
        }
        let counts = self.scan.finish().map_err(|why| damaged(data_bytes, why))?;
        drop(unpacked);
        let (bytes, sha256) = file.finish();
        Ok(Whole { bytes, sha256, data_bytes, counts })
    }
}

fn unreadable(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            ReadError::Damaged { offset: 0, what: error.to_string() }
        }
        _ => ReadError::Io(error),
    }
}

/// Reads a stored dump for a program: its bytes come out of the first half, what it was found to be
/// from the second. What is not wanted to its end is given up by dropping the first.
pub fn pour(stored: Arc<dyn Stored>, reading: Reading) -> (DuplexStream, JoinHandle<Result<Whole>>) {
    let (mut sink, source) = pipe::pipe();
    let task = tokio::spawn(async move {
        let name = stored.display();
        let job = move |input| cm_archive::drained(input, |input| reading.run(input, &mut sink));
        let whole = read(&*stored, job).await?;
        whole.map_err(|error| not_intact(&name).cause(error))
    });
    (source, task)
}

/// The failure of a stored dump that is damaged, without its cause.
pub fn not_intact(name: &str) -> Failure {
    Failure::new(Exit::Backup, "backup.not-proved", format!("{name} is not an intact backup"))
}

/// What the reading came to.
///
/// # Errors
/// Those of [`pour`].
pub async fn end(task: JoinHandle<Result<Whole>>) -> Result<Whole> {
    task.await.map_err(|error| Failure::bug("the reading task ended").cause(error))?
}
