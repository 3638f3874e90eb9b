//! Writes an archive. Collections may be interleaved; what is never written is the
//! closing block of a collection that was not read to its end.

use crate::format::{Entry, MAGIC, MAX_DOCUMENT, MIN_DOCUMENT, Prelude, TERMINATOR, Tally, Totals, VERSION};
use bson::{RawDocumentBuf, rawdoc};
use std::io::{self, Write};

/// Writes blocks to `out`, which should collect small writes.
pub struct Writer<W> {
    out: W,
    namespaces: Vec<(Entry, Tally)>,
}

impl<W: Write> Writer<W> {
    /// Writes everything up to the first block.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(mut out: W, prelude: &Prelude) -> io::Result<Self> {
        out.write_all(&MAGIC.to_le_bytes())?;
        out.write_all(header(prelude).as_bytes())?;
        for entry in &prelude.entries {
            out.write_all(checked(&entry.namespace(), describe(entry).as_bytes())?)?;
        }
        out.write_all(&TERMINATOR.to_le_bytes())?;
        let namespaces = prelude.entries.iter().map(|entry| (entry.clone(), Tally::new())).collect();
        Ok(Writer { out, namespaces })
    }

    /// The output, to take from it what was written so far.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes documents of the entry at `index` as one block; the totals so far.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidData`] for a document the format
    /// cannot hold, or one that an iterator could not give.
    ///
    /// # Panics
    /// If `index` is not one of the prelude's.
    pub fn documents<'d>(
        &mut self,
        index: usize,
        documents: impl IntoIterator<Item = io::Result<&'d [u8]>>,
    ) -> io::Result<Totals> {
        let (entry, tally) = &mut self.namespaces[index];
        if tally.closed {
            return Err(io::Error::other(format!("{} is closed already", entry.namespace())));
        }
        self.out.write_all(block(entry, None).as_bytes())?;
        for document in documents {
            let document = checked(&entry.collection, document?)?;
            tally.add(document);
            self.out.write_all(document)?;
        }
        self.out.write_all(&TERMINATOR.to_le_bytes())?;
        Ok(tally.totals())
    }

    /// Says that the entry at `index` is complete.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// # Panics
    /// As [`Writer::documents`].
    pub fn close(&mut self, index: usize) -> io::Result<Totals> {
        let (entry, tally) = &mut self.namespaces[index];
        let totals = tally.totals();
        self.out.write_all(block(entry, Some(totals.crc)).as_bytes())?;
        self.out.write_all(&TERMINATOR.to_le_bytes())?;
        tally.closed = true;
        Ok(totals)
    }

    /// Ends the archive: the output and the totals of each entry, in their order.
    ///
    /// # Errors
    /// If an entry was not closed; the archive must then not be used.
    pub fn finish(self) -> io::Result<(W, Vec<Totals>)> {
        if let Some((entry, _)) = self.namespaces.iter().find(|(_, tally)| !tally.closed) {
            return Err(io::Error::other(format!("{} was not read to its end", entry.namespace())));
        }
        let totals = self.namespaces.iter().map(|(_, tally)| tally.totals()).collect();
        Ok((self.out, totals))
    }
}

fn header(prelude: &Prelude) -> RawDocumentBuf {
    rawdoc! {
        "concurrent_collections": prelude.concurrent_collections,
        "version": VERSION,
        "server_version": prelude.server_version.as_str(),
        "tool_version": prelude.tool_version.as_str(),
    }
}

fn describe(entry: &Entry) -> RawDocumentBuf {
    rawdoc! {
        "db": entry.db.as_str(),
        "collection": entry.collection.as_str(),
        "metadata": entry.metadata.as_str(),
        "size": 0_i32,
        "type": entry.kind.as_str(),
    }
}

/// The head of a block; with a CRC it closes its collection.
fn block(entry: &Entry, crc: Option<u64>) -> RawDocumentBuf {
    rawdoc! {
        "db": entry.db.as_str(),
        "collection": entry.data_collection(),
        "EOF": crc.is_some(),
        "CRC": crc.unwrap_or_default().cast_signed(),
    }
}

/// A document that readers of the format will accept, or why they would not.
fn checked<'d>(place: &str, document: &'d [u8]) -> io::Result<&'d [u8]> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{why} in {place}"));
    match document.len() {
        length if length > MAX_DOCUMENT => Err(bad("a document is larger than 16 MiB, which no archive can hold,")),
        length if length < MIN_DOCUMENT || document[length - 1] != 0 => {
            Err(bad("the server sent a malformed document"))
        }
        _ => Ok(document),
    }
}
