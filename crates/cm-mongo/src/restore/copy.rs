//! What no server renames is copied: a time series, and the server's own `system.js`. A copy is
//! whole before anybody relies on it: as many documents arrive as were read, or it fails.

use super::load::{BATCH_BYTES, BATCH_DOCUMENTS, Batch, Goal, Tally, insert};
use super::options::index_to_build;
use super::step::Form;
use super::target::Target;
use crate::{command, connection, survey};
use bson::{Document, RawBsonRef, doc};
use cm_core::{Exit, Failure, Result};
use futures_util::TryStreamExt;
use std::sync::{Mutex, PoisonError};

/// Copies all of `from`, which is there, to `to`, which is made again.
///
/// # Errors
/// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
pub async fn copy(target: Target<'_>, db: &str, form: &Form, from: &str, to: &str) -> Result<()> {
    match form {
        Form::Series => copy_series(target, db, from, to).await,
        _ => {
            remove_all(target, db, to).await?;
            documents(target, db, &Place::of(from), &Place::of(to)).await
        }
    }
}

/// Removes all of what is copied, and where it can be, its name.
///
/// # Errors
/// As [`copy`].
pub async fn remove_all(target: Target<'_>, db: &str, name: &str) -> Result<()> {
    if !name.starts_with("system.") {
        return target.drop_collection(db, name).await;
    }
    let command = doc! {"delete": name, "deletes": [{"q": {}, "limit": 0}], "writeConcern": {"w": "majority"}};
    let answer = target.change(db, command).await?;
    match answer.get_array("writeErrors").is_ok_and(|errors| !errors.is_empty()) {
        true => Err(Failure::new(Exit::Backup, "backup.database", format!("{db}.{name} cannot be emptied"))),
        false => Ok(()),
    }
}

/// By its buckets where the server takes those, which a restore knows by then of what it filled;
/// else by its measurements.
async fn copy_series(target: Target<'_>, db: &str, from: &str, to: &str) -> Result<()> {
    make_series(target, db, from, to).await?;
    let database = target.client.database(db);
    let place = async |name: &str| match survey::has_buckets(&database, name).await {
        Ok(true) => Ok(Place { collection: format!("system.buckets.{name}"), raw: false }),
        Ok(false) => Ok(Place { collection: name.to_owned(), raw: true }),
        Err(failure) => Err(failure),
    };
    let (source, goal) = (place(from).await?, place(to).await?);
    match documents(target, db, &source, &goal).await {
        Err(failure) if !failure.retryable && failure.exit == Exit::Backup => {
            target.log.debug(format!("{db}.{from} is copied by its measurements: {failure}"));
            make_series(target, db, from, to).await?;
            documents(target, db, &Place::of(from), &Place::of(to)).await
        }
        done => done,
    }
}

/// An empty time series `to` that is as `from` is.
async fn make_series(target: Target<'_>, db: &str, from: &str, to: &str) -> Result<()> {
    let is = target.look_up(db, from).await?.ok_or_else(|| {
        Failure::new(Exit::Backup, "backup.changed", format!("{db}.{from} is not there any more")).retryable()
    })?;
    target.drop_collection(db, to).await?;
    target.create(db, to, &is.options).await?;
    let database = target.client.database(db);
    let indexes = command::list(&database, doc! {"listIndexes": from, "cursor": {}}, "listIndexes").await?;
    let indexes = indexes.iter().filter_map(|raw| Document::try_from(raw).ok());
    let indexes: Vec<_> = indexes.filter_map(|index| index_to_build(&index, &is.options)).collect();
    if indexes.is_empty() {
        return Ok(());
    }
    target.change(db, doc! {"createIndexes": to, "indexes": indexes}).await.map(drop)
}

/// Where documents are.
struct Place {
    collection: String,
    /// Whether a time series is asked for its buckets by its own name.
    raw: bool,
}

impl Place {
    fn of(name: &str) -> Place {
        Place { collection: name.to_owned(), raw: false }
    }
}

async fn documents(target: Target<'_>, db: &str, from: &Place, to: &Place) -> Result<()> {
    let database = target.client.database(db);
    let mut extra = doc! {"bypassDocumentValidation": true};
    let mut find = doc! {"find": &from.collection};
    if from.raw {
        find.insert("rawData", true);
    }
    if to.raw {
        extra.insert("rawData", true);
    }
    let goal = Goal { db: db.to_owned(), collection: to.collection.clone(), extra, in_order: true };
    let failed =
        |error: &mongodb::error::Error| connection::failure(error, format!("cannot copy {db}.{}", from.collection));
    let tally = Mutex::new(Tally::default());
    let (mut batch, mut read) = (Batch::new(0), 0_u64);
    let mut cursor = command::reading(&database, find).batch().await.map_err(|error| failed(&error))?;
    while let Some(answer) = cursor.try_next().await.map_err(|error| failed(&error))? {
        for document in answer.doc_slices().map_err(|error| failed(&error))? {
            let Ok(RawBsonRef::Document(document)) = document else {
                return Err(Failure::new(
                    Exit::Backup,
                    "backup.answer",
                    format!("{db}.{} is unreadable", from.collection),
                ));
            };
            let full = batch.documents >= BATCH_DOCUMENTS || batch.bytes() + document.as_bytes().len() > BATCH_BYTES;
            if batch.documents > 0 && full {
                target.check_lock().await?;
                insert(&database, &goal, &batch, &tally).await?;
                batch = Batch::new(0);
            }
            batch.push(document.as_bytes());
            read += 1;
        }
    }
    if batch.documents > 0 {
        target.check_lock().await?;
        insert(&database, &goal, &batch, &tally).await?;
    }
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    if tally.failed == 0 && tally.inserted == read {
        return Ok(());
    }
    let message = format!("{} of {read} documents of {db}.{} could not be copied", tally.failed, from.collection);
    let failure = Failure::new(Exit::Backup, "restore.documents", message);
    Err(tally.reasons.into_iter().fold(failure, Failure::cause))
}
