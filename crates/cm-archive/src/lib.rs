//! The archive of a database, without a database: mongodump's format as a stream, its
//! directories read as that archive, compression, the manifest, and verification. What is
//! read here is never trusted, and never held in memory but for a document and a record for
//! each collection. Where the bytes come from is somebody else's: see [`Stored`].

pub mod codec;
mod directory;
mod format;
mod hashed;
pub mod manifest;
pub mod metadata;
pub mod progress;
mod reader;
mod stored;
pub mod text;
pub mod verify;
mod writer;

pub use directory::Directory;
pub use format::{Entry, Kind, MAGIC, MAX_DOCUMENT, Prelude, Totals, VERSION};
pub use hashed::{HashedReader, HashedWriter, hex};
pub use reader::{Item, ReadError, Reader};
pub use stored::{Opened, Stored, Transfer, drained, peek, read};
pub use verify::{Contents, Verified};
pub use writer::Writer;
