//! What a database holds, before anything of it is read: its collections with
//! options and indexes, and what the server says about itself. Read leniently:
//! servers differ in what they leave out.

use crate::accounts::Accounts;
use crate::command::{LIMIT, ask, ask_within, list};
use crate::name::{JOURNAL_SUFFIX, is_of_a_restore};
use bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use cm_archive::{Entry, Kind, hex, metadata};
use cm_core::{Exit, Failure, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::{Client, Database};
use std::collections::HashSet;
use std::time::Duration;

/// Questions that are asked at a time: over a slow line each waits for its answer.
const AT_A_TIME: usize = 8;

/// How long statistics may take that a backup can do without.
const STATISTICS_LIMIT: Duration = Duration::from_secs(1);

/// The databases that every server has for itself.
const OWN_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// A database, looked at.
#[derive(Debug)]
pub struct Survey {
    /// The database.
    pub database: String,
    /// The server's version.
    pub version: String,
    /// `standalone`, `replica set` or `sharded`.
    pub topology: String,
    /// About how much there is to read, in bytes of BSON, where that is known.
    pub data_bytes: Option<u64>,
    /// Its collections and views, by name.
    pub collections: Vec<Found>,
    /// Its users and roles, where they were looked for.
    pub accounts: Accounts,
}

/// One collection or view.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the archive says of it.
    pub entry: Entry,
    /// The server's own id of it; another collection of the same name has another.
    pub uuid: Option<String>,
    /// What is read of it; everything, if empty.
    pub query: Document,
}

impl Found {
    /// Whether it is capped; those cannot be read as of a moment.
    pub fn is_capped(&self) -> bool {
        metadata::parse(&self.entry.metadata).is_ok_and(|d| d.options.get_bool("capped").unwrap_or_default())
    }

    /// Whether its buckets have to be asked for as raw data: from 8.3 on a time series has none of
    /// a name of their own.
    pub fn needs_raw_data(&self) -> bool {
        self.entry.kind == Kind::Timeseries && !self.entry.in_buckets
    }

    /// Whether it has documents of its own.
    pub fn has_documents(&self) -> bool {
        self.entry.kind != Kind::View
    }
}

/// The databases of a server but its own; those the user may see.
///
/// # Errors
/// As [`ask`].
pub async fn databases(client: &Client) -> Result<Vec<String>> {
    let answer = ask(&client.database("admin"), doc! {"listDatabases": 1, "nameOnly": true}).await?;
    let list = answer.get_array("databases").cloned().unwrap_or_default();
    let names = list.iter().filter_map(|one| one.as_document()?.get_str("name").ok());
    Ok(names.filter(|name| !OWN_DATABASES.contains(name)).map(str::to_owned).collect())
}

/// Looks at `database`.
///
/// # Errors
/// [`Exit::Backup`] with what the server said.
pub async fn survey(client: &Client, database: &str) -> Result<Survey> {
    let db = client.database(database);
    let build = ask(&client.database("admin"), doc! {"buildInfo": 1}).await?;
    let hello = ask(&client.database("admin"), doc! {"hello": 1}).await.unwrap_or_default();
    Ok(Survey {
        database: database.to_owned(),
        version: build.get_str("version").unwrap_or("unknown").to_owned(),
        topology: topology(&hello).to_owned(),
        data_bytes: None,
        collections: collections(&db).await?,
        accounts: Accounts::default(),
    })
}

/// The length of all documents, in bytes of BSON; `None` where the server does not say, or has to
/// read all of them to know.
pub async fn data_bytes(database: &Database) -> Option<u64> {
    let stats = ask_within(database, doc! {"dbStats": 1}, STATISTICS_LIMIT).await.ok()?;
    stats.get("dataSize").and_then(number)
}

fn topology(hello: &Document) -> &'static str {
    match (hello.get_str("msg"), hello.get_str("setName")) {
        (Ok("isdbgrid"), _) => "sharded",
        (_, Ok(_)) => "replica set",
        _ => "standalone",
    }
}

/// Numbers come as any of BSON's three.
fn number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}

/// How many documents the server counts in a collection; `None` where it cannot say.
pub async fn count(database: &Database, found: &Found) -> Option<u64> {
    if found.entry.kind != Kind::Collection {
        return None;
    }
    let mut count = doc! {"count": &found.entry.collection};
    if !found.query.is_empty() {
        count.insert("query", found.query.clone());
    }
    let answer = ask(database, count).await.ok()?;
    answer.get("n").and_then(number)
}

/// How many documents there are when each is counted; `None` where the server cannot say.
pub async fn count_exactly(database: &Database, found: &Found) -> Option<u64> {
    let collection = database.collection::<RawDocumentBuf>(&found.entry.collection);
    let counting = async { collection.count_documents(found.query.clone()).await };
    tokio::time::timeout(LIMIT, counting).await.ok()?.ok()
}

/// A collection or view as a listing has it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it was made with.
    pub options: Document,
    /// The server's own id of it.
    pub uuid: Option<String>,
}

/// Everything in a database but the server's own collections.
///
/// # Errors
/// [`Exit::Backup`] with what the server said.
pub async fn listed(database: &Database) -> Result<Vec<Listed>> {
    listed_where(database, doc! {}).await
}

/// The one collection or view of this name, if there is one. Others are not looked at: some servers write down what they
/// list, and a name that is being dropped meanwhile comes back.
///
/// # Errors
/// [`Exit::Backup`] with what the server said.
pub async fn listed_as(database: &Database, name: &str) -> Result<Option<Listed>> {
    Ok(listed_where(database, doc! {"name": name}).await?.pop())
}

async fn listed_where(database: &Database, filter: Document) -> Result<Vec<Listed>> {
    let command = doc! {"listCollections": 1, "filter": filter, "cursor": {}};
    let listed = list(database, command, "listCollections").await?;
    let kind =
        |item: &RawDocument| Kind::from_word(item.get_str("type").unwrap_or_default()).unwrap_or(Kind::Collection);
    let options = |item: &RawDocument| item.get_document("options").ok().and_then(|raw| Document::try_from(raw).ok());
    let one = |item: &RawDocumentBuf| {
        let name = item.get_str("name").ok()?.to_owned();
        let uuid = item.get_document("info").ok().and_then(uuid);
        Some(Listed { name, kind: kind(item), options: options(item).unwrap_or_default(), uuid })
    };
    Ok(listed.iter().filter_map(one).filter(|one| !is_internal(&one.name)).collect())
}

/// As [`listed`], and whether any of it has a document.
///
/// # Errors
/// As [`listed`].
pub async fn look(database: &Database) -> Result<(Vec<Listed>, bool)> {
    let all = listed(database).await?;
    for one in all.iter().filter(|one| one.kind != Kind::View) {
        if has_document(database, &one.name, one.kind, &doc! {}).await {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}

/// Whether the documents of the time series `name` stand in a collection of buckets; from 8.3 on
/// they do not.
///
/// # Errors
/// [`Exit::Backup`] with what the server said.
pub async fn has_buckets(database: &Database, name: &str) -> Result<bool> {
    let filter = doc! {"name": format!("system.buckets.{name}")};
    let command = doc! {"listCollections": 1, "filter": filter, "nameOnly": true, "cursor": {}};
    Ok(!list(database, command, "listCollections").await?.is_empty())
}

/// Whether a collection has a document that `query` finds; one that cannot be read may have.
pub async fn has_document(database: &Database, name: &str, kind: Kind, query: &Document) -> bool {
    if kind == Kind::Timeseries {
        return true;
    }
    let find = doc! {"find": name, "filter": query.clone(), "limit": 1, "projection": {"_id": 1}, "singleBatch": true};
    let Ok(answer) = ask(database, find).await else { return true };
    let first = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    first.map_or(true, |first| !first.is_empty())
}

/// The collections and views of a database, with options and indexes, by name.
///
/// # Errors
/// [`Exit::Backup`] with what the server said.
pub async fn collections(database: &Database) -> Result<Vec<Found>> {
    let listed = list(database, doc! {"listCollections": 1, "cursor": {}}, "listCollections").await?;
    let names: HashSet<_> = listed.iter().filter_map(|item| item.get_str("name").ok().map(str::to_owned)).collect();
    if let Some(journal) = names.iter().find(|name| is_of_a_restore(name) && name.ends_with(JOURNAL_SUFFIX)) {
        let message = format!("a restore of {:?} runs, or was interrupted partway ({journal})", database.name());
        return Err(Failure::new(Exit::Backup, "backup.restore-unfinished", message).hint(
            "wait for it; one that crashed is undone or finished by the next `cm-backup restore`, before anything else",
        ));
    }
    let mut found: Vec<Found> = Vec::new();
    let ours = listed.iter().filter(|item| !item.get_str("name").is_ok_and(is_of_a_restore));
    let looking = ours.map(|item| look_at(database, item, &names));
    let mut looked = stream::iter(looking).buffer_unordered(AT_A_TIME);
    while let Some(collection) = looked.try_next().await? {
        found.extend(collection);
    }
    found.sort_by(|a, b| a.entry.collection.cmp(&b.entry.collection));
    Ok(found)
}

/// Whether a collection is the server's own, made again by itself on a restore.
pub fn is_internal(name: &str) -> bool {
    name.starts_with("system.") && name != "system.js"
}

async fn look_at(database: &Database, item: &RawDocument, names: &HashSet<String>) -> Result<Option<Found>> {
    let name = item.get_str("name").map_err(|error| {
        Failure::new(Exit::Backup, "backup.answer", "the database lists a collection without a name").cause(error)
    })?;
    if is_internal(name) {
        return Ok(None);
    }
    let word = item.get_str("type").unwrap_or_default();
    let kind = Kind::from_word(word).ok_or_else(|| {
        Failure::new(Exit::Backup, "backup.answer", format!("{name:?} is a {word:?}, which no archive can hold"))
    })?;
    let indexes = match kind {
        Kind::View => Vec::new(),
        _ => list(database, doc! {"listIndexes": name, "cursor": {}}, &format!("listIndexes of {name:?}")).await?,
    };
    let uuid = item.get_document("info").ok().and_then(uuid);
    let options = item.get_document("options").ok();
    let metadata = metadata::describe(name, kind, uuid.as_deref(), options, &indexes).map_err(|error| {
        Failure::new(Exit::Backup, "backup.answer", format!("the options of {name:?} cannot be read")).source(error)
    })?;
    let in_buckets = kind == Kind::Timeseries && names.contains(&format!("system.buckets.{name}"));
    let entry = Entry { db: database.name().to_owned(), collection: name.to_owned(), metadata, kind, in_buckets };
    Ok(Some(Found { entry, uuid, query: doc! {} }))
}

fn uuid(info: &RawDocument) -> Option<String> {
    match info.get("uuid") {
        Ok(Some(RawBsonRef::Binary(binary))) => Some(hex(binary.bytes)),
        _ => None,
    }
}
