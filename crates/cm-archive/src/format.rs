//! mongodump's archive format, written and read as a stream, so that every
//! `mongorestore --archive` can restore what is written here.
//!
//! A file is: a magic number, a header, one entry per collection (the prelude), a
//! terminator, then blocks. A block names its collection and carries documents up
//! to a terminator; the last block of each collection says so and has the CRC of
//! all of that collection's documents. Nothing marks the end of the file: it is
//! complete when every collection of the prelude was closed. That is why a block
//! that closes a collection is only ever written after its cursor ended well.

use crc::{CRC_64_XZ, Crc, Digest, Table};
use std::fmt;
use std::io::{self, Read};

/// The first four bytes of a file, little-endian.
pub const MAGIC: u32 = 0x8199_e26d;

/// Ends the prelude and every block.
pub(crate) const TERMINATOR: u32 = 0xffff_ffff;

/// The largest document a reader of the format accepts, in bytes.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// The smallest: a length and the final zero.
pub(crate) const MIN_DOCUMENT: usize = 5;

/// The version of the format in the header.
pub const VERSION: &str = "0.1";

/// Where a server before 8.3 keeps the documents of a time-series collection.
pub(crate) const BUCKETS: &str = "system.buckets.";

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// What stands before the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prelude {
    /// The version of the server that was dumped.
    pub server_version: String,
    /// The program that wrote the archive.
    pub tool_version: String,
    /// How many collections were read at a time.
    pub concurrent_collections: i32,
    /// The collections and views, in the order of the file.
    pub entries: Vec<Entry>,
}

/// One collection or view of the prelude.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its database.
    pub db: String,
    /// Its name.
    pub collection: String,
    /// Options and indexes in canonical Extended JSON.
    pub metadata: String,
    /// What it is.
    pub kind: Kind,
    /// Whether its documents stand under `system.buckets.NAME`.
    pub in_buckets: bool,
}

impl Entry {
    /// `database.collection`, for messages.
    pub fn namespace(&self) -> String {
        format!("{}.{}", self.db, self.collection)
    }

    /// The collection's name in the blocks that carry its documents.
    pub fn data_collection(&self) -> String {
        if self.in_buckets { format!("{BUCKETS}{}", self.collection) } else { self.collection.clone() }
    }
}

/// What a namespace is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Holds documents.
    Collection,
    /// A stored query; it has no documents of its own.
    View,
    /// Measurements, kept as buckets.
    Timeseries,
}

impl Kind {
    /// The word in the file. An empty one, which old tools wrote, is a collection.
    pub fn from_word(word: &str) -> Option<Kind> {
        match word {
            "" | "collection" => Some(Kind::Collection),
            "view" => Some(Kind::View),
            "timeseries" => Some(Kind::Timeseries),
            _ => None,
        }
    }

    /// The word that is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Collection => "collection",
            Kind::View => "view",
            Kind::Timeseries => "timeseries",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Collection => "collection",
            Kind::View => "view",
            Kind::Timeseries => "time series",
        })
    }
}

/// The documents of one namespace, added up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// How many.
    pub documents: u64,
    /// Their length, in bytes of BSON.
    pub bytes: u64,
    /// CRC-64/XZ over all of them, in order; 0 for none.
    pub crc: u64,
}

/// Adds documents up as they pass.
#[derive(Clone)]
pub(crate) struct Tally {
    documents: u64,
    bytes: u64,
    digest: Digest<'static, u64, Table<16>>,
    /// Whether the namespace is complete.
    pub closed: bool,
}

impl Tally {
    pub fn new() -> Self {
        Tally { documents: 0, bytes: 0, digest: CRC.digest(), closed: false }
    }

    pub fn add(&mut self, document: &[u8]) {
        self.documents += 1;
        self.bytes += document.len() as u64;
        self.digest.update(document);
    }

    pub fn totals(&self) -> Totals {
        Totals { documents: self.documents, bytes: self.bytes, crc: self.digest.clone().finalize() }
    }
}

/// Fills `buffer`, or as much of it as there is before the end of `input`; how much that was.
pub(crate) fn fill(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
