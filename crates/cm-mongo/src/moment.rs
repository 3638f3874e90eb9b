//! What a dump says about writes that happen while it is made. A replica set can be read
//! as of one moment: by asking for a point in time, or, where a server does not offer
//! that, in one transaction. A standalone server has neither.

use crate::survey::{Found, Survey};
use crate::{command, connection};
use bson::{Document, RawDocumentBuf, Timestamp, doc};
use cm_archive::manifest::Consistency;
use cm_core::{Exit, Failure, Log, Result};
use futures_util::stream::{BoxStream, StreamExt};
use mongodb::error::Error;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::{RawBatch, SessionRawBatchCursor};
use mongodb::{ClientSession, Database};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

/// The code of a failure because the server cannot show one moment, or not for so long.
pub const NO_MOMENT: &str = "backup.no-moment";

/// Whether all of a backup has to be of one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Wanted {
    /// Where the server can; the manifest says whether it is.
    #[default]
    Auto,
    /// In any case: a server that cannot is an error.
    Snapshot,
    /// Not at all: collections are read one after the other.
    None,
}

/// How documents are read.
#[derive(Debug)]
pub enum Moment {
    /// As they are when they are reached.
    Now,
    /// As they were at this time of the server.
    At(Timestamp),
    /// Within one transaction, which one reader at a time can use.
    Within(Box<Mutex<ClientSession>>),
}

/// Batches of one collection's documents.
pub type Batches<'a> = BoxStream<'a, mongodb::error::Result<RawBatch>>;

/// Finds out what the server can do.
///
/// # Errors
/// [`Exit::Backup`] if a moment is wanted in any case, and there is none.
pub async fn choose(database: &Database, survey: &Survey, wanted: Wanted, log: &Log) -> Result<Moment> {
    let first = survey.collections.iter().find(|found| readable_at_a_moment(found));
    let (true, Some(first)) = (wanted != Wanted::None && survey.topology != "standalone", first) else {
        return none(wanted, "a standalone server shows no single moment");
    };
    if let Some(time) = point_in_time(database, first).await {
        log.debug(format!("reading as of {}.{}", time.time, time.increment));
        return Ok(Moment::At(time));
    }
    match transaction(database, first).await {
        Ok(session) => Ok(Moment::Within(Box::new(Mutex::new(session)))),
        Err(error) => {
            log.warn(format!("the server shows no single moment: {}", connection::cause(&error)));
            none(wanted, "the server offers neither points in time nor transactions")
        }
    }
}

fn none(wanted: Wanted, why: &str) -> Result<Moment> {
    if wanted != Wanted::Snapshot {
        return Ok(Moment::Now);
    }
    Err(Failure::new(Exit::Backup, NO_MOMENT, "the backup cannot be of one moment")
        .cause(why)
        .hint("without --consistency snapshot it is made as far as the server can"))
}

fn readable_at_a_moment(found: &Found) -> bool {
    found.has_documents() && !found.is_capped() && !found.entry.collection.starts_with("system.")
}

/// The time of a first look at the data. A server that does not know what it was asked for
/// gives no time.
async fn point_in_time(database: &Database, first: &Found) -> Option<Timestamp> {
    let find = doc! {
        "find": first.entry.data_collection(), "limit": 1, "singleBatch": true, "projection": {"_id": 1},
        "readConcern": {"level": "snapshot"},
    };
    let answer = command::ask(database, find).await.ok()?;
    answer.get_document("cursor").ok()?.get_timestamp("atClusterTime").ok()
}

async fn transaction(database: &Database, first: &Found) -> mongodb::error::Result<ClientSession> {
    let mut session = database.client().start_session().await?;
    session.start_transaction().read_concern(ReadConcern::snapshot()).await?;
    // The first read fixes the moment.
    let collection = database.collection::<Document>(&first.entry.data_collection());
    collection.find_one(doc! {}).projection(doc! {"_id": 1}).session(&mut session).await?;
    Ok(session)
}

impl Moment {
    /// Whether one collection is read after the other.
    pub fn is_one_by_one(&self) -> bool {
        matches!(self, Moment::Within(_))
    }

    /// Lets the server forget what it kept.
    pub async fn end(self) -> Consistency {
        match self {
            Moment::Now => Consistency::None,
            Moment::At(_) => Consistency::Snapshot,
            Moment::Within(session) => {
                let _ends_by_itself = session.into_inner().abort_transaction().await;
                Consistency::Transaction
            }
        }
    }

    /// Starts to read a collection.
    ///
    /// # Errors
    /// The driver's.
    pub async fn open<'a>(&'a self, database: &Database, found: &Found) -> mongodb::error::Result<Batches<'a>> {
        match self {
            Moment::At(time) if readable_at_a_moment(found) => {
                let concern = doc! {"level": "snapshot", "atClusterTime": *time};
                let find = find(found, Some(concern));
                Ok(command::reading(database, find).batch().await?.boxed())
            }
            Moment::Within(session) if readable_at_a_moment(found) => {
                within(session.lock().await, database, found).await
            }
            _ if found.needs_raw_data() => Ok(command::reading(database, find(found, None)).batch().await?.boxed()),
            _ => {
                let collection = database.collection::<RawDocumentBuf>(&found.entry.data_collection());
                Ok(collection.find(found.query.clone()).batch().await?.boxed())
            }
        }
    }
}

async fn within<'a>(
    mut session: MutexGuard<'a, ClientSession>,
    database: &Database,
    found: &Found,
) -> mongodb::error::Result<Batches<'a>> {
    let cursor = match found.needs_raw_data() {
        true => database.run_cursor_command(find(found, None)).session(&mut *session).batch().await?,
        false => {
            let collection = database.collection::<RawDocumentBuf>(&found.entry.data_collection());
            collection.find(found.query.clone()).session(&mut *session).batch().await?
        }
    };
    let state: (SessionRawBatchCursor, MutexGuard<'a, ClientSession>) = (cursor, session);
    let batches = futures_util::stream::unfold(state, |(mut cursor, mut session)| async move {
        let batch = cursor.stream(&mut session).next().await?;
        Some((batch, (cursor, session)))
    });
    Ok(batches.boxed())
}

/// The command that reads a collection. From 8.3 on a time series has no buckets of its own
/// name; they are asked for as raw data.
fn find(found: &Found, concern: Option<Document>) -> Document {
    let mut find = doc! {"find": found.entry.data_collection(), "filter": found.query.clone()};
    if let Some(concern) = concern {
        find.insert("readConcern", concern);
    }
    if found.needs_raw_data() {
        find.insert("rawData", true);
    }
    find
}

/// A driver's error while documents were read: that the moment has passed is told apart.
pub fn failure(error: &Error, message: impl Into<String>) -> Failure {
    let failure = connection::failure(error, message);
    // SnapshotTooOld, SnapshotUnavailable, NoSuchTransaction, OperationNotSupportedInTransaction,
    // TransactionExceededLifetimeLimitSeconds
    match connection::code(error) {
        Some(239 | 246 | 251 | 263 | 290) => Failure { code: NO_MOMENT.to_owned(), ..failure }
            .hint("--consistency none reads the collections one after the other"),
        _ => failure,
    }
}
