//! What stands alongside a backup and shows that it is complete: a file can be intact in
//! every byte and still hold only a part, and nothing inside an archive tells.
//! The manifest is written last, after the file was read back.

use crate::format::{Entry, Totals};
use crate::metadata;
use cm_core::facts::CopyState;
use serde::{Deserialize, Serialize};

/// The schema this version writes; a reader accepts any `cm.backup/1.x`.
pub const SCHEMA: &str = "cm.backup/1";

/// What is appended to a backup's name.
pub const SUFFIX: &str = ".manifest.json";

/// The kind of a backup whose manifest names none.
const MONGODB: &str = "mongodb";

/// The format in the file of a MongoDB backup.
pub const FORMAT: &str = "mongodump-archive/0.1";

/// One backup.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is a backup of: `mongodb`, `postgres`, …
    #[serde(default = "mongodb")]
    pub kind: String,
    /// The service of the compose file that was read, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The backup's file name, without a directory.
    pub file: String,
    /// [`FORMAT`], or that of the program that made it.
    pub format: String,
    /// `gzip`, `zstd` or `none`.
    pub compression: String,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The database in it.
    pub database: String,
    /// Where it came from.
    pub server: Server,
    /// Whether all of it is from one moment; see [`Consistency`].
    pub consistency: Consistency,
    /// What of the database is in it; all, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// The database's users and roles; nothing, where they were not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users_and_roles: Option<UsersAndRoles>,
    /// Documents, rows, keys or entries in all.
    pub documents: u64,
    /// Their length, in bytes: of BSON, or of the dump before it was compressed here.
    pub data_bytes: u64,
    /// When the first document was read, RFC 3339.
    pub started_at: String,
    /// When the file was complete, RFC 3339.
    pub ended_at: String,
    /// When the file had been read back whole, RFC 3339.
    pub verified_at: String,
    /// The deploy it belongs to.
    pub deploy: Deploy,
    /// The program that made it.
    pub tool: String,
    /// Every collection and view of a MongoDB database.
    pub namespaces: Vec<Namespace>,
    /// Every table of another database; of a Redis server its databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
    /// What became of its copy elsewhere, where the run waited for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyState>,
    /// What this backup does not hold, or nothing verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_verified: Vec<String>,
}

/// One table of a database that is not MongoDB.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Table {
    /// Its name, with that of its schema.
    pub name: String,
    /// The rows in the backup.
    pub rows: u64,
    /// How many rows the server counted in the moment of the backup; two different numbers where it
    /// could only count before and after.
    #[serde(default)]
    pub counted: Option<(u64, u64)>,
}

fn mongodb() -> String {
    MONGODB.to_owned()
}

/// The server that was read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// `standalone`, `replica set` or `sharded`.
    pub topology: String,
}

/// What a backup says about writes that happened while it was made.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Each document is whole; collections were read one after the other, so that
    /// writes in between may be in one and not in another.
    None,
    /// All documents are from one moment: the server was asked for a point in time. Capped
    /// collections are not, which no server offers.
    Snapshot,
    /// The same, by one transaction around all that was read.
    Transaction,
}

impl Consistency {
    /// The word in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::None => "none",
            Consistency::Snapshot => "snapshot",
            Consistency::Transaction => "transaction",
        }
    }
}

/// The users and roles that a database has of its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UsersAndRoles {
    /// Users in the backup.
    pub users: u64,
    /// Roles in the backup.
    pub roles: u64,
    /// Why there may be others, which are not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A part of a database.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Selection {
    /// Only these collections; all if none is named.
    pub collections: Vec<String>,
    /// Not these.
    pub excluded: Vec<String>,
    /// Only documents that this query finds, in Extended JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<serde_json::Value>,
}

/// The deploy a backup was made for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deploy {
    /// The run's id.
    pub run: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The commit that was about to be deployed.
    pub commit: Option<String>,
    /// Who deployed.
    pub actor: Option<String>,
}

/// One collection or view.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Namespace {
    /// Its database.
    pub db: String,
    /// Its name.
    pub collection: String,
    /// `collection`, `view` or `timeseries`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Documents.
    pub documents: u64,
    /// Their length, in bytes of BSON.
    pub bytes: u64,
    /// CRC-64/XZ of the documents in order, 16 hexadecimal digits.
    pub crc: String,
    /// The names of its indexes.
    pub indexes: Vec<String>,
    /// How many documents the server counted while they were read and, where that is another
    /// number than were read, just after.
    #[serde(default)]
    pub counted: Option<(u64, u64)>,
}

impl Namespace {
    /// The record of an entry and what was read of it.
    pub fn new(entry: &Entry, totals: Totals, counted: Option<(u64, u64)>) -> Self {
        Namespace {
            db: entry.db.clone(),
            collection: entry.collection.clone(),
            kind: entry.kind.as_str().to_owned(),
            documents: totals.documents,
            bytes: totals.bytes,
            crc: format!("{:016x}", totals.crc),
            indexes: metadata::index_names(&entry.metadata),
            counted,
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let minor = manifest.schema.strip_prefix(SCHEMA);
        if minor.is_some_and(|minor| minor.is_empty() || minor.starts_with('.')) {
            Ok(manifest)
        } else {
            Err(format!("its schema is {:?}, this program reads {SCHEMA:?}", manifest.schema))
        }
    }

    /// Whether it is of a MongoDB database, which cm-backup reads by itself.
    pub fn is_mongodb(&self) -> bool {
        self.kind == MONGODB
    }

    /// What the backup holds, for people: `3 tables, 42 rows`.
    pub fn holds(&self) -> String {
        let parts = if self.is_mongodb() { self.namespaces.len() } else { self.tables.len() } as u64;
        let said = cm_core::facts::contents(&self.kind, parts, self.documents);
        said.unwrap_or_else(|| crate::text::bytes(self.data_bytes))
    }

    /// The manifest as it is written: indented, with a newline.
    pub fn to_text(&self) -> String {
        // Text and numbers always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// The manifest's name for a backup's name.
pub fn name_for(file: &str) -> String {
    format!("{file}{SUFFIX}")
}
