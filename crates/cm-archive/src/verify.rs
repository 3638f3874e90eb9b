//! Verification: a backup is read to its last byte, its structure, checksums and
//! collections are checked, and all of it is compared with its manifest. Without a
//! manifest a file can be intact, but nothing shows that it is complete.

use crate::codec::{self, Compressed};
use crate::format::{Prelude, Totals};
use crate::hashed::HashedReader;
use crate::manifest::{Manifest, Namespace};
use crate::progress::Progress;
use crate::reader::{Item, ReadError, Reader};
use crate::stored::{self, Stored, drained};
use cm_core::{Exit, Failure, Result};
use std::io::{self, Read};
use std::sync::Arc;

/// What a backup holds, by its own bytes.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// How it is compressed.
    pub compressed: Compressed,
    /// What it announces.
    pub prelude: Prelude,
    /// What it holds of each entry.
    pub totals: Vec<Totals>,
}

impl Contents {
    /// Documents in all.
    pub fn documents(&self) -> u64 {
        self.totals.iter().map(|totals| totals.documents).sum()
    }

    /// What a manifest would say of each collection.
    pub fn namespaces(&self) -> Vec<Namespace> {
        let pairs = self.prelude.entries.iter().zip(&self.totals);
        pairs.map(|(entry, totals)| Namespace::new(entry, *totals, None)).collect()
    }

    /// In what the file differs from its manifest; nothing means that it is verified.
    pub fn differences(&self, manifest: &Manifest) -> Vec<String> {
        let mut found = Vec::new();
        if self.bytes != manifest.bytes {
            found.push(format!("the file has {} bytes, its manifest says {}", self.bytes, manifest.bytes));
        }
        if self.sha256 != manifest.sha256 {
            found.push(format!("the file's SHA-256 is {}, its manifest says {}", self.sha256, manifest.sha256));
        }
        if self.documents() != manifest.documents {
            found.push(format!("{} documents, the manifest says {}", self.documents(), manifest.documents));
        }
        found.extend(differing_namespaces(&self.namespaces(), &manifest.namespaces));
        found
    }
}

fn differing_namespaces(found: &[Namespace], announced: &[Namespace]) -> Vec<String> {
    let same = |a: &Namespace, b: &Namespace| a.db == b.db && a.collection == b.collection;
    let mut differences = Vec::new();
    for want in announced {
        let name = format!("{}.{}", want.db, want.collection);
        match found.iter().find(|have| same(have, want)) {
            None => differences.push(format!("{name} is not in the file")),
            Some(have) if (have.documents, have.bytes, &have.crc) != (want.documents, want.bytes, &want.crc) => {
                differences.push(format!("{name}: {}, the manifest says {}", counts(have), counts(want)));
            }
            Some(have) if (&have.kind, &have.indexes) != (&want.kind, &want.indexes) => {
                differences.push(format!("{name}: its type or indexes differ from the manifest's"));
            }
            Some(_) => {}
        }
    }
    for have in found.iter().filter(|have| !announced.iter().any(|want| same(have, want))) {
        differences.push(format!("{}.{} is not in the manifest", have.db, have.collection));
    }
    differences
}

fn counts(namespace: &Namespace) -> String {
    format!("{} documents of {} bytes with checksum {}", namespace.documents, namespace.bytes, namespace.crc)
}

/// Reads a backup to its last byte.
///
/// # Errors
/// [`ReadError`] for anything but an intact archive.
pub fn read_back(input: impl Read + Send) -> Result<Contents, ReadError> {
    read_documents(input, |_, _| {})
}

/// As [`read_back`]; `progress` says how far that is.
///
/// # Errors
/// As [`read_back`].
pub fn read_back_watched(input: impl Read + Send, progress: &Progress) -> Result<Contents, ReadError> {
    read_items(input, |item| {
        match item {
            Item::Document { bytes, .. } => progress.add(1, bytes.len() as u64),
            Item::Closed { .. } => progress.close(),
        }
        Ok(())
    })
}

/// Reads a backup to its last byte and shows every document: the entry's place in
/// the prelude, and the raw bytes.
///
/// # Errors
/// As [`read_back`]; what was shown before an error must not be trusted.
pub fn read_documents(input: impl Read + Send, mut show: impl FnMut(usize, &[u8])) -> Result<Contents, ReadError> {
    read_items(input, |item| {
        if let Item::Document { index, bytes } = item {
            show(index, bytes);
        }
        Ok(())
    })
}

/// Reads a backup to its last byte and shows everything in it; ends early where `show` fails.
///
/// # Errors
/// As [`read_back`], and those of `show`.
pub fn read_items(
    input: impl Read + Send,
    mut show: impl FnMut(Item<'_>) -> Result<(), ReadError>,
) -> Result<Contents, ReadError> {
    let mut file = HashedReader::new(input);
    let (compressed, unpacked) = codec::unpack(&mut file).map_err(unreadable)?;
    let mut reader = Reader::open(unpacked)?;
    let mut totals = vec![Totals::default(); reader.prelude().entries.len()];
    while let Some(item) = reader.next()? {
        if let Item::Closed { index, totals: closed } = item {
            totals[index] = closed;
        }
        show(item)?;
    }
    let prelude = reader.prelude().clone();
    drop(reader);
    let (bytes, sha256) = file.finish();
    Ok(Contents { bytes, sha256, compressed, prelude, totals })
}

/// Reads only what a backup announces, which nothing has verified yet.
///
/// # Errors
/// As [`read_back`].
pub fn read_prelude(input: impl Read + Send) -> Result<Prelude, ReadError> {
    let (_, unpacked) = codec::unpack(input).map_err(unreadable)?;
    Ok(Reader::open(unpacked)?.prelude().clone())
}

fn unreadable(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::InvalidData => ReadError::Damaged { offset: 0, what: error.to_string() },
        _ => ReadError::Io(error),
    }
}

/// How sure one can be of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verified {
    /// It is intact and holds all that its manifest says.
    Complete,
    /// It is intact; nothing says what should be in it.
    Intact,
}

impl Verified {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verified::Complete => "complete",
            Verified::Intact => "intact",
        }
    }
}

/// Reads a stored backup to its last byte and compares it with its manifest; `progress` says
/// how far that is.
///
/// # Errors
/// [`Exit::Backup`] for one that is damaged, or not what its manifest says.
pub async fn verify(
    stored: &dyn Stored,
    manifest: Option<&Manifest>,
    progress: &Arc<Progress>,
) -> Result<(Contents, Verified)> {
    let watched = Arc::clone(progress);
    let read = stored::read(stored, move |input| drained(input, |input| read_back_watched(input, &watched)));
    let contents = read.await?.map_err(|error| not_intact(stored).cause(error))?;
    let verified = compare(stored, &contents, manifest)?;
    Ok((contents, verified))
}

/// The failure of a stored backup that is damaged, without its cause.
pub fn not_intact(stored: &dyn Stored) -> Failure {
    Failure::new(Exit::Backup, "backup.not-proved", format!("{} is not an intact backup", stored.display()))
}

fn compare(stored: &dyn Stored, contents: &Contents, manifest: Option<&Manifest>) -> Result<Verified> {
    let Some(manifest) = manifest else { return Ok(Verified::Intact) };
    let differences = contents.differences(manifest);
    if differences.is_empty() {
        return Ok(Verified::Complete);
    }
    let message = format!("{} is not the backup that its manifest describes", stored.display());
    let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
    Err(differences.into_iter().take(10).fold(failure, Failure::cause))
}
