//! Reads an archive and trusts nothing in it: lengths, order, checksums, and that
//! everything the prelude announces was closed. Memory: one document, and one
//! small record per collection.

use crate::format::{
    self, BUCKETS, Entry, Kind, MAGIC, MAX_DOCUMENT, MIN_DOCUMENT, Prelude, TERMINATOR, Tally, Totals, VERSION,
};
use crate::metadata;
use bson::RawDocument;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};

/// A prelude is kept in memory, several times; a file that claims a larger one is not believed, in
/// bytes. A thousand collections have about one megabyte.
const MAX_PRELUDE: u64 = 48 << 20;

/// What an entry takes in memory besides its text, in bytes.
const ENTRY: u64 = 512;

/// Why an archive cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The bytes could not be had.
    Io(io::Error),
    /// The bytes are not a whole archive.
    Damaged {
        /// Where, in bytes of the uncompressed stream.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "cannot be read: {error}"),
            ReadError::Damaged { offset, what } => write!(f, "{what} (at byte {offset} of the uncompressed archive)"),
        }
    }
}

impl std::error::Error for ReadError {}

/// What comes out of an archive.
#[derive(Debug)]
pub enum Item<'r> {
    /// A document of the entry at `index`.
    Document {
        /// The entry's place in the prelude.
        index: usize,
        /// The document, raw.
        bytes: &'r [u8],
    },
    /// The entry at `index` is complete and its checksum is right.
    Closed {
        /// The entry's place in the prelude.
        index: usize,
        /// All its documents added up.
        totals: Totals,
    },
}

/// Reads from `input`, which should buffer.
pub struct Reader<R> {
    input: Counted<R>,
    prelude: Prelude,
    tallies: Vec<Tally>,
    /// By database and collection as blocks name them.
    places: HashMap<(String, String), usize>,
    current: Option<usize>,
    buffer: Vec<u8>,
}

/// What stands where a document or a terminator may stand.
enum Token {
    Terminator,
    Document,
    End,
}

impl<R: Read> Reader<R> {
    /// Reads everything up to the first block.
    ///
    /// # Errors
    /// [`ReadError`] if it is no archive.
    pub fn open(input: R) -> Result<Self, ReadError> {
        let mut input = Counted { input, offset: 0 };
        let mut buffer = Vec::new();
        if input.u32()? != Some(MAGIC) {
            return Err(input.damaged("this is not a mongodump archive"));
        }
        let mut prelude = read_header(&mut input, &mut buffer)?;
        let mut places = HashMap::new();
        loop {
            match input.token(&mut buffer)? {
                Token::Terminator => break,
                Token::End => return Err(input.damaged("the archive ends in its list of collections")),
                Token::Document => {}
            }
            let entry = read_entry(&input, &buffer)?;
            place(&mut places, &entry, prelude.entries.len()).map_err(|what| input.damaged(what))?;
            prelude.entries.push(entry);
            if input.offset + prelude.entries.len() as u64 * ENTRY > MAX_PRELUDE {
                return Err(input.damaged("the list of collections is too long"));
            }
        }
        let tallies = prelude.entries.iter().map(|_| Tally::new()).collect();
        Ok(Reader { input, prelude, tallies, places, current: None, buffer })
    }

    /// What the archive announces.
    pub fn prelude(&self) -> &Prelude {
        &self.prelude
    }

    /// The next document or closed collection; `None` once everything that the
    /// prelude announces was closed and the input is at its end.
    ///
    /// # Errors
    /// [`ReadError`]; the archive must then not be trusted.
    #[expect(clippy::should_implement_trait, reason = "it lends its buffer")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        loop {
            let token = self.input.token(&mut self.buffer)?;
            match (self.current, token) {
                (None, Token::End) => return self.end().map(|()| None),
                (None, Token::Terminator) => return Err(self.input.damaged("two blocks end in a row")),
                (None, Token::Document) => {
                    if let Some(index) = self.start_block()? {
                        return Ok(Some(Item::Closed { index, totals: self.tallies[index].totals() }));
                    }
                }
                (Some(_), Token::End) => return Err(self.input.damaged("the archive ends inside a block")),
                (Some(_), Token::Terminator) => self.current = None,
                (Some(index), Token::Document) => {
                    self.tallies[index].add(&self.buffer);
                    return Ok(Some(Item::Document { index, bytes: &self.buffer }));
                }
            }
        }
    }

    /// Reads the head of a block from the buffer; the entry that it closes, if it does.
    fn start_block(&mut self) -> Result<Option<usize>, ReadError> {
        let head = BlockHead::parse(&self.buffer).map_err(|error| self.input.damaged(error))?;
        let name = format!("{}.{}", head.db, head.collection);
        let Some(&index) = self.places.get(&(head.db, head.collection)) else {
            return Err(self.input.damaged(format!("a block for {name}, which the archive does not announce")));
        };
        if self.tallies[index].closed {
            return Err(self.input.damaged(format!("a block for {name} after its end")));
        }
        if !head.last {
            self.current = Some(index);
            return Ok(None);
        }
        match self.input.token(&mut self.buffer)? {
            Token::Terminator => {}
            _ => return Err(self.input.damaged(format!("the last block of {name} does not end"))),
        }
        let found = self.tallies[index].totals().crc;
        if found != head.crc {
            let announced = head.crc;
            let what = format!("the documents of {name} have the checksum {found:016x}, not {announced:016x}");
            return Err(self.input.damaged(what));
        }
        self.tallies[index].closed = true;
        Ok(Some(index))
    }

    fn end(&self) -> Result<(), ReadError> {
        let open = self.prelude.entries.iter().zip(&self.tallies).filter(|(_, tally)| !tally.closed);
        let names: Vec<_> = open.map(|(entry, _)| entry.namespace()).take(3).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(self.input.damaged(format!("the archive ends before these are complete: {}", names.join(", "))))
    }
}

/// Remembers where blocks for `entry` belong. Servers keep a time series under its
/// bucket name or, from 8.3 on, under its own.
fn place(places: &mut HashMap<(String, String), usize>, entry: &Entry, index: usize) -> Result<(), String> {
    let mut names = vec![entry.collection.clone()];
    if entry.kind == Kind::Timeseries {
        names.push(format!("{BUCKETS}{}", entry.collection));
    }
    for name in names {
        if places.insert((entry.db.clone(), name), index).is_some() {
            return Err(format!("{} is announced twice", entry.namespace()));
        }
    }
    Ok(())
}

fn read_header<R: Read>(input: &mut Counted<R>, buffer: &mut Vec<u8>) -> Result<Prelude, ReadError> {
    let Token::Document = input.token(buffer)? else {
        return Err(input.damaged("the archive has no header"));
    };
    let parsed = parse_header(buffer).map_err(|error| input.damaged(format!("the header is damaged: {error}")))?;
    let (version, prelude) = parsed;
    if version != VERSION {
        return Err(input.damaged(format!("the archive's format is {version:?}, only {VERSION:?} is known")));
    }
    Ok(prelude)
}

fn parse_header(bytes: &[u8]) -> Result<(String, Prelude), Box<dyn std::error::Error>> {
    let document = RawDocument::from_bytes(bytes)?;
    let text = |key: &str| document.get_str(key).map(str::to_owned);
    let prelude = Prelude {
        server_version: text("server_version")?,
        tool_version: text("tool_version")?,
        concurrent_collections: document.get_i32("concurrent_collections")?,
        entries: Vec::new(),
    };
    Ok((text("version")?, prelude))
}

fn read_entry<R>(input: &Counted<R>, bytes: &[u8]) -> Result<Entry, ReadError> {
    let damaged = |error: String| input.damaged(format!("an entry of the list of collections is damaged: {error}"));
    parse_entry(bytes).map_err(|error| damaged(error.to_string()))
}

fn parse_entry(bytes: &[u8]) -> Result<Entry, Box<dyn std::error::Error>> {
    let document = RawDocument::from_bytes(bytes)?;
    let word = document.get_str("type").unwrap_or_default();
    metadata::check_size(document.get_str("metadata")?)?;
    Ok(Entry {
        db: document.get_str("db")?.to_owned(),
        collection: document.get_str("collection")?.to_owned(),
        metadata: document.get_str("metadata")?.to_owned(),
        kind: Kind::from_word(word).ok_or_else(|| format!("unknown type {word:?}"))?,
        in_buckets: false,
    })
}

struct BlockHead {
    db: String,
    collection: String,
    last: bool,
    crc: u64,
}

impl BlockHead {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let parse = || -> Result<Self, Box<dyn std::error::Error>> {
            let document = RawDocument::from_bytes(bytes)?;
            Ok(BlockHead {
                db: document.get_str("db")?.to_owned(),
                collection: document.get_str("collection")?.to_owned(),
                last: document.get_bool("EOF")?,
                crc: document.get_i64("CRC")?.cast_unsigned(),
            })
        };
        parse().map_err(|error| format!("the head of a block is damaged: {error}"))
    }
}

/// The input, and how far it was read.
struct Counted<R> {
    input: R,
    offset: u64,
}

impl<R> Counted<R> {
    fn damaged(&self, what: impl Into<String>) -> ReadError {
        ReadError::Damaged { offset: self.offset, what: what.into() }
    }
}

impl<R: Read> Counted<R> {
    /// Fills `buffer`, or says how much there was before the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let filled = format::fill(&mut self.input, buffer).map_err(|error| self.unreadable(error))?;
        self.offset += filled as u64;
        Ok(filled)
    }

    /// Decoders report damage in the words of I/O.
    fn unreadable(&self, error: io::Error) -> ReadError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput => self.damaged(format!("the compressed data is damaged: {error}")),
            UnexpectedEof => self.damaged("the compressed data ends too early"),
            _ => ReadError::Io(error),
        }
    }

    fn u32(&mut self) -> Result<Option<u32>, ReadError> {
        let mut bytes = [0; 4];
        match self.fill(&mut bytes)? {
            0 => Ok(None),
            4 => Ok(Some(u32::from_le_bytes(bytes))),
            _ => Err(self.damaged("the archive ends too early")),
        }
    }

    /// Reads a terminator, or a whole document into `buffer`.
    fn token(&mut self, buffer: &mut Vec<u8>) -> Result<Token, ReadError> {
        let length = match self.u32()? {
            None => return Ok(Token::End),
            Some(TERMINATOR) => return Ok(Token::Terminator),
            Some(length) => length as usize,
        };
        if !(MIN_DOCUMENT..=MAX_DOCUMENT).contains(&length) {
            return Err(self.damaged(format!("a document claims to be {length} bytes long")));
        }
        buffer.clear();
        buffer.extend_from_slice(&u32::try_from(length).unwrap_or_default().to_le_bytes());
        buffer.resize(length, 0);
        if self.fill(&mut buffer[4..])? != length - 4 {
            return Err(self.damaged("the archive ends too early inside a document"));
        }
        if buffer[length - 1] != 0 {
            return Err(self.damaged("a document does not end where it should"));
        }
        Ok(Token::Document)
    }
}
