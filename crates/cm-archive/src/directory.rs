//! mongodump's other form, a directory with a file for each collection, read as the archive
//! that would hold the same. Whatever is done with an archive can so be done with a directory,
//! and there is one reader that judges both. A directory has no checksums and no list of what
//! should be in it: what can be seen is that every file is whole.

use crate::codec::{self, Compressed};
use crate::format::{self, BUCKETS, Entry, Kind, MAX_DOCUMENT, MIN_DOCUMENT, Prelude};
use crate::writer::Writer;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What ends the names of files with documents.
const DOCUMENTS: &str = ".bson";

/// What ends the names of files with options and indexes.
const METADATA: &str = ".metadata.json";

/// Documents that become one block of the archive, in bytes.
const BLOCK: usize = 1 << 20;

/// Options and indexes are never larger, in bytes.
const MAX_METADATA: u64 = 16 << 20;

/// A directory, read as an archive without compression; the same directory gives the same bytes.
pub struct Directory {
    writer: Writer<Vec<u8>>,
    /// What was made of the directory already; read up to `at`.
    ready: Vec<u8>,
    at: usize,
    files: VecDeque<(usize, Option<PathBuf>)>,
    open: Option<Open>,
}

/// A file that is being read.
struct Open {
    index: usize,
    path: PathBuf,
    input: Box<dyn Read + Send>,
    offset: u64,
}

impl Directory {
    /// Looks at `directory`: that of a whole dump, or of one database in it.
    ///
    /// # Errors
    /// If it is no dump, or a file that belongs to another one is missing.
    pub fn open(directory: &Path) -> io::Result<Directory> {
        let mut found = Found::default();
        let databases: Vec<_> = sorted(directory)?.into_iter().filter(|path| path.is_dir()).collect();
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if databases.is_empty() {
            found.look(directory, &name(directory))?;
        } else {
            // Alongside the databases there is at most the oplog, which belongs to none.
            found.look(directory, "")?;
            databases.iter().try_for_each(|database| found.look(database, &name(database)))?;
        }
        if found.parts.is_empty() {
            return Err(bad(directory, "there is no dump in this directory: no file ends in .bson or .metadata.json"));
        }
        Directory::start(found)
    }

    fn start(found: Found) -> io::Result<Directory> {
        let Found { parts, server_version, tool_version } = found;
        let mut entries = Vec::new();
        let mut files = VecDeque::new();
        for (_, part) in parts {
            files.push_back((entries.len(), part.file()?));
            entries.push(part.entry);
        }
        let prelude = Prelude { server_version, tool_version, concurrent_collections: 1, entries };
        let mut writer = Writer::start(Vec::new(), &prelude)?;
        let ready = std::mem::take(writer.out());
        Ok(Directory { writer, ready, at: 0, files, open: None })
    }

    /// Looks at one file of documents; its options and indexes are in the file alongside it, if it
    /// has any. The directory it is in has the name of its database.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn open_file(file: &Path) -> io::Result<Directory> {
        let directory = file.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let directory = directory.unwrap_or(Path::new("/")).canonicalize()?;
        let text = |name: Option<&std::ffi::OsStr>| name.and_then(|name| name.to_str()).map(str::to_owned);
        let name = text(file.file_name()).ok_or_else(|| bad(file, "its name is not UTF-8"))?;
        let db = text(directory.file_name()).unwrap_or_else(|| "dump".to_owned());
        let packed = if name.ends_with(".gz") { ".gz" } else { "" };
        let escaped = name.strip_suffix(packed).and_then(|plain| plain.strip_suffix(DOCUMENTS));
        let escaped = escaped.ok_or_else(|| bad(file, "its name does not end in .bson"))?;
        let mut found = Found::default();
        let metadata = directory.join(format!("{escaped}{METADATA}{packed}"));
        if metadata.exists() {
            found.announce(&directory, &db, escaped, &metadata)?;
        }
        found.add_documents(&directory, &db, escaped, directory.join(&name))?;
        Directory::start(found)
    }

    /// Makes the next part of the archive; nothing, at its end.
    fn advance(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            let Some((index, path)) = self.files.pop_front() else { return Ok(()) };
            match path {
                Some(path) => self.open = Some(Open::new(index, path)?),
                None => drop(self.writer.close(index)?),
            }
        }
        if let Some(open) = &mut self.open {
            let documents = open.documents()?;
            let index = open.index;
            if documents.is_empty() {
                self.open = None;
                self.writer.close(index)?;
            } else {
                let documents = documents.iter().map(|document| Ok(document.as_slice()));
                self.writer.documents(index, documents)?;
            }
        }
        Ok(())
    }
}

impl Read for Directory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.advance()?;
            self.ready = std::mem::take(self.writer.out());
            self.at = 0;
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Open {
    fn new(index: usize, path: PathBuf) -> io::Result<Open> {
        let input = unpacked(&path)?;
        Ok(Open { index, path, input, offset: 0 })
    }

    /// The next documents, about a block of them; none at the end of the file.
    fn documents(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let (mut documents, mut bytes) = (Vec::new(), 0);
        while bytes < BLOCK {
            let Some(document) = self.document()? else { break };
            bytes += document.len();
            documents.push(document);
        }
        Ok(documents)
    }

    fn document(&mut self) -> io::Result<Option<Vec<u8>>> {
        let offset = self.offset;
        let wrong = |path: &Path, what: &str| bad(path, &format!("{what} at byte {offset}"));
        let mut length = [0; 4];
        match self.fill(&mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(wrong(&self.path, "it ends too early")),
        }
        let size = u32::from_le_bytes(length) as usize;
        if !(MIN_DOCUMENT..=MAX_DOCUMENT).contains(&size) {
            return Err(wrong(&self.path, &format!("a document claims to be {size} bytes long")));
        }
        let mut document = vec![0; size];
        document[..4].copy_from_slice(&length);
        if self.fill(&mut document[4..])? != size - 4 {
            return Err(wrong(&self.path, "it ends too early inside the document"));
        }
        if document[size - 1] != 0 {
            return Err(wrong(&self.path, "a document does not end where it should,"));
        }
        Ok(Some(document))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = format::fill(&mut self.input, buffer).map_err(|error| bad(&self.path, &error.to_string()))?;
        self.offset += filled as u64;
        Ok(filled)
    }
}

/// What a directory holds, by database and name.
#[derive(Default)]
struct Found {
    parts: BTreeMap<(String, String), Part>,
    server_version: String,
    tool_version: String,
}

struct Part {
    entry: Entry,
    documents: Option<PathBuf>,
    buckets: Option<PathBuf>,
    directory: PathBuf,
}

impl Part {
    /// Where its documents are; a view has none.
    fn file(&self) -> io::Result<Option<PathBuf>> {
        let file = if self.entry.in_buckets { &self.buckets } else { &self.documents };
        match self.entry.kind {
            Kind::View => Ok(None),
            _ if file.is_none() => {
                let what = format!("the documents of {} are missing: no file {DOCUMENTS}", self.entry.namespace());
                Err(bad(&self.directory, &what))
            }
            _ => Ok(file.clone()),
        }
    }
}

impl Found {
    /// Looks at the files of one database.
    fn look(&mut self, directory: &Path, db: &str) -> io::Result<()> {
        let mut without_metadata = Vec::new();
        let mut buckets = Vec::new();
        for path in sorted(directory)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !path.is_file() {
                continue;
            }
            let plain = name.strip_suffix(".gz").unwrap_or(name);
            if plain == "prelude.json" {
                self.read_prelude(&path)?;
            } else if let Some(escaped) = plain.strip_suffix(METADATA) {
                self.announce(directory, db, escaped, &path)?;
            } else if let Some(escaped) = plain.strip_suffix(DOCUMENTS) {
                match escaped.strip_prefix(BUCKETS) {
                    Some(series) => buckets.push((series.to_owned(), path)),
                    None => without_metadata.push((escaped.to_owned(), path)),
                }
            }
        }
        for (escaped, path) in without_metadata {
            self.add_documents(directory, db, &escaped, path)?;
        }
        for (series, path) in buckets {
            let Some(part) = self.series_of(db, &series) else {
                return Err(bad(&path, "it belongs to a time series, whose .metadata.json is missing"));
            };
            part.entry.in_buckets = true;
            part.buckets = Some(path);
        }
        Ok(())
    }

    /// The time series whose buckets are in a file of this name. A long name is cut there, and says
    /// no more than how it begins.
    fn series_of(&mut self, db: &str, escaped: &str) -> Option<&mut Part> {
        let cut = escaped.len() > LONGEST_CUT && escaped.contains("%24");
        let begin = escaped.rsplit_once("%24").map_or(escaped, |(begin, _)| begin);
        let fits = |(database, name): &&(String, String)| {
            let whole = self::escaped(name);
            database == db && (whole == escaped || (cut && whole.len() > begin.len() && whole.starts_with(begin)))
        };
        let mut found = self.parts.keys().filter(fits).filter(|key| self.parts[*key].entry.kind == Kind::Timeseries);
        let key = found.next()?.clone();
        if found.next().is_some() {
            return None;
        }
        self.parts.get_mut(&key)
    }

    fn read_prelude(&mut self, path: &Path) -> io::Result<()> {
        let prelude: Value = serde_json::from_str(&text(path)?).map_err(|error| bad(path, &error.to_string()))?;
        let word = |key: &str| prelude[key].as_str().unwrap_or_default().to_owned();
        (self.server_version, self.tool_version) = (word("ServerVersion"), word("ToolVersion"));
        Ok(())
    }

    /// A collection, by its options and indexes.
    fn announce(&mut self, directory: &Path, db: &str, escaped: &str, path: &Path) -> io::Result<()> {
        let metadata = text(path)?;
        let parsed: Value = serde_json::from_str(&metadata).map_err(|error| bad(path, &error.to_string()))?;
        // The name of a file may be too short for that of its collection.
        let named = parsed["collectionName"].as_str().map(str::to_owned);
        let collection = named.or_else(|| unescaped(escaped)).unwrap_or_else(|| escaped.to_owned());
        let word = parsed["type"].as_str().unwrap_or_default();
        let kind = Kind::from_word(word).ok_or_else(|| bad(path, &format!("unknown type {word:?}")))?;
        let entry = Entry { db: db.to_owned(), collection: collection.clone(), metadata, kind, in_buckets: false };
        let part = Part { entry, documents: None, buckets: None, directory: directory.join(escaped) };
        match self.parts.insert((db.to_owned(), collection), part) {
            Some(_) => Err(bad(path, "the same collection is there twice")),
            None => Ok(()),
        }
    }

    fn add_documents(&mut self, directory: &Path, db: &str, escaped: &str, path: PathBuf) -> io::Result<()> {
        let same_file = |part: &Part| part.directory == directory.join(escaped);
        // The name of a file may be cut, within a letter even; its metadata has it whole.
        let (key, name) = match self.parts.iter().find(|(_, part)| same_file(part)) {
            Some((key, _)) => (key.clone(), key.1.clone()),
            None => {
                let name = unescaped(escaped);
                let name = name.ok_or_else(|| bad(&path, "its name is not escaped as mongodump does"))?;
                ((db.to_owned(), name.clone()), name)
            }
        };
        let part = self.parts.entry(key).or_insert_with(|| Part {
            entry: Entry {
                db: db.to_owned(),
                collection: name,
                metadata: String::new(),
                kind: Kind::Collection,
                in_buckets: false,
            },
            documents: None,
            buckets: None,
            directory: directory.join(escaped),
        });
        match part.documents.replace(path) {
            Some(other) => Err(bad(&other, "the same collection is there twice")),
            None => Ok(()),
        }
    }
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = listed.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A file's content. What its name says is packed must be: an empty file is not.
fn unpacked(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let (kind, input) = codec::unpack(File::open(path)?).map_err(|error| bad(path, &error.to_string()))?;
    let says_packed = path.extension().is_some_and(|end| end == "gz");
    if says_packed != (kind == Compressed::Gzip) {
        return Err(bad(path, "it is not compressed as its name says"));
    }
    Ok(input)
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = unpacked(path)?.take(MAX_METADATA).read_to_string(&mut text);
    read.map_err(|error| bad(path, &error.to_string()))?;
    Ok(text)
}

fn bad(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{}: {what}", path.display()))
}

/// The name of a file that mongodump cuts is longer than this without its hash, in bytes.
const LONGEST_CUT: usize = 190;

/// As mongodump escapes a name for a file.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b' ' => text.push('+'),
            b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A name as mongodump escapes it for a file: `%2F` is `/`, `+` is a space.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let code = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(code, 16).ok()?);
                rest = &tail[2..];
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_mongodump_escapes_them() {
        for (escaped, name) in [
            ("with+space%2Fslash.dot", "with space/slash.dot"),
            ("%D0%B8", "и"),
            ("%24admin.system.users", "$admin.system.users"),
        ] {
            assert_eq!(unescaped(escaped).as_deref(), Some(name));
        }
        for name in ["with space/slash.dot", "и", "$admin.system.users", "a-b_c~d.é+"] {
            assert_eq!(unescaped(&escaped(name)).as_deref(), Some(name));
        }
        for bad in ["%", "%4", "%zz", "%FF"] {
            assert_eq!(unescaped(bad), None, "{bad}");
        }
    }
}
