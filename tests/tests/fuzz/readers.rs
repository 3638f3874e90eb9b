//! Everything that reads what somebody else wrote, in one function: the first byte says which reader gets the rest. The fuzzer
//! calls it, and so does a test of `make test`, with the same corpus.

use cm_project::dotenv::{self, Format};
use cm_project::tree::{Kind, Tree};
use std::io;

/// What a reader is called, and the reader: it must neither panic nor hang, whatever it is given.
type Reader = (&'static str, fn(&[u8]));

/// The readers. New ones come at the end: the corpus names them by their place.
pub const READERS: [Reader; 19] = [
    ("document", document),
    ("json of a server", |bytes| drop(cm_host::parse_json(bytes))),
    ("ledger", |bytes| drop(cm_ledger::Ledger::parse(bytes))),
    ("lock record", |bytes| drop(cm_lease::Record::parse(bytes, "lock.json"))),
    ("cm.toml", |bytes| drop(cm_project::config::Config::parse("cm.toml", &text(bytes)))),
    ("compose file", |bytes| compose(bytes, b"", b"")),
    ("compose file and env file", |bytes| {
        let (one, other) = halves(bytes);
        compose(one, other, b"");
    }),
    ("Dockerfile", |bytes| drop(cm_project::dockerfile::Dockerfile::parse("Dockerfile", &text(bytes)))),
    (".dockerignore", ignore),
    ("env file", |bytes| drop([Format::Quoted, Format::Raw].map(|format| dotenv::parse(&text(bytes), format)))),
    ("YAML", |bytes| drop(cm_project::yaml::parse(&"x.yml".into(), &text(bytes)))),
    ("reference", |bytes| {
        drop(cm_project::template::expand(&text(bytes), &|name| (name.len() > 1).then(|| name.to_owned())))
    }),
    ("wanted names", |bytes| drop(cm_project::template::wanted(&text(bytes), &|name| name.len() > 1))),
    ("manifest of a backup", |bytes| drop(cm_archive::manifest::Manifest::parse(bytes))),
    ("archive", |bytes| drop(cm_archive::verify::read_back(bytes))),
    ("metadata of a collection", |bytes| drop(cm_archive::metadata::parse(&text(bytes)))),
    ("head of a dump", |bytes| drop(cm_dump::read_head(&mut &*bytes))),
    ("what Compose says", |bytes| {
        if let Ok(value) = cm_host::parse_json(bytes) {
            let _config = cm_engine::Config::read(&value);
            let _container = cm_engine::Container::read(&value);
        }
    }),
    ("text for a terminal", |bytes| {
        let clean = cm_core::clean(&text(bytes));
        assert!(!clean.contains(['\u{1b}', '\u{7}', '\u{202e}']), "an escape is left");
    }),
];

/// Gives the bytes after the first one to the reader that it names.
pub fn read(data: &[u8]) {
    if let Some((first, rest)) = data.split_first() {
        READERS[usize::from(*first) % READERS.len()].1(rest);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes before and after the first zero.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..at], bytes.get(at + 1..).unwrap_or_default())
}

/// A document that is read is written so that it is read again, and says the same.
fn document(bytes: &[u8]) {
    let Ok(document) = cm_core::Document::parse("cm-health", bytes) else { return };
    let _read = (document.planned(), document.stages(), document.undo(), document.error(), document.status());
    let written = document.to_text(false);
    let again =
        cm_core::Document::parse("cm-health", written.as_bytes()).expect("what was read is written for a reader");
    assert_eq!(written, again.to_text(false), "a field came out in another way than it went in");
}

fn ignore(bytes: &[u8]) {
    let (patterns, path) = halves(bytes);
    let patterns = cm_project::pattern::Patterns::parse(&text(patterns));
    let _matches = (patterns.matches(b"a/b/c.txt"), patterns.matches(path));
}

/// A repository of three files.
struct Files<'a>([(&'static str, &'a [u8]); 3]);

impl Tree for Files<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        self.0.iter().any(|(name, _)| *name == path).then_some(Kind::File)
    }

    fn content(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.iter().find(|(name, _)| *name == path).map(|(_, bytes)| bytes.to_vec()))
    }
}

fn compose(file: &[u8], env: &[u8], other: &[u8]) {
    let files = Files([("compose.yml", file), (".env", env), ("other.yml", other)]);
    let _read = cm_project::compose::load(&files, &["compose.yml".to_owned()], &[".env".to_owned()]);
}
