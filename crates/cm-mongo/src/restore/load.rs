//! Brings the documents of a backup to the server. One thread reads and checks the
//! file; the documents go on as they are, in batches, to a few tasks that insert them.
//! What waits between the two is bounded in bytes.

use crate::connection;
use bson::{Document, RawDocumentBuf, rawdoc};
use cm_archive::progress::Progress;
use cm_archive::verify::{self, Contents};
use cm_archive::{self as archive, Item, ReadError, Stored};
use cm_core::{Exit, Failure, Result};
use mongodb::{Client, Database};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Tasks that insert, as many as mongorestore has collections in work.
pub const WORKERS: usize = 4;

/// A batch is sent when it has this many bytes …
pub const BATCH_BYTES: usize = 4 << 20;

/// … or documents; servers take 100,000.
pub const BATCH_DOCUMENTS: u32 = 10_000;

/// No more than this waits in batches that are not full, in bytes.
const WAITING_BYTES: usize = 16 << 20;

/// How long the server may take for one batch.
const INSERT_LIMIT: Duration = Duration::from_secs(120);

/// How many reasons for documents that could not be inserted are shown.
const SHOWN_REASONS: usize = 5;

/// Where the documents of one entry go.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The database.
    pub db: String,
    /// The collection.
    pub collection: String,
    /// Fields of the `insert` command alongside the usual ones.
    pub extra: Document,
    /// Whether the order of the documents matters.
    pub in_order: bool,
}

/// What became of a backup's documents.
#[derive(Debug)]
pub struct Loaded {
    /// What the file held as it was read now.
    pub contents: Contents,
    /// Documents that the server took.
    pub inserted: u64,
    /// Documents that it refused.
    pub failed: u64,
    /// The first reasons why.
    pub reasons: Vec<String>,
}

/// What became of documents that were inserted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Documents that the server took.
    pub inserted: u64,
    /// Documents that it refused.
    pub failed: u64,
    /// The first reasons why.
    pub reasons: Vec<String>,
}

/// Inserts the documents of `file`; `goals` has one for each of its entries that is wanted.
///
/// # Errors
/// [`Exit::Backup`] if the file is damaged or the server fails. Documents that the server
/// refuses one by one are no error here: they are counted.
pub async fn load(
    client: &Client,
    file: &dyn Stored,
    goals: Vec<Option<Goal>>,
    progress: &Arc<Progress>,
) -> Result<Loaded> {
    let tally = Mutex::new(Tally::default());
    let goals = Arc::new(goals);
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (sender, receiver) = mpsc::channel(1);
        senders.push(sender);
        workers.push(work(client, receiver, &goals, &tally));
    }
    let feeding = {
        let (goals, progress) = (Arc::clone(&goals), Arc::clone(progress));
        archive::read(file, move |mut input| {
            let mut feeder = Feeder { senders, batches: Vec::new(), waiting: 0, turn: 0, goals: &goals };
            let read = verify::read_items(&mut input, |item| feeder.take(item, &progress));
            if matches!(read, Err(ReadError::Damaged { .. })) {
                let _rest = io::copy(&mut input, &mut io::sink());
            }
            read.and_then(|contents| feeder.flush_all().map(|()| contents))
        })
    };
    let (read, worked) = tokio::join!(feeding, futures_util::future::join_all(workers));
    // A reader whose queue closed failed because of a worker, not the other way round.
    worked.into_iter().collect::<Result<Vec<()>>>()?;
    let contents = read?.map_err(|error| verify::not_intact(file).cause(error))?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Loaded { contents, inserted: tally.inserted, failed: tally.failed, reasons: tally.reasons })
}

/// The reading side: collects documents into batches.
struct Feeder<'a> {
    senders: Vec<mpsc::Sender<Batch>>,
    batches: Vec<Batch>,
    waiting: usize,
    turn: usize,
    goals: &'a [Option<Goal>],
}

impl Feeder<'_> {
    fn take(&mut self, item: Item<'_>, progress: &Progress) -> Result<(), ReadError> {
        match item {
            Item::Document { index, bytes } if self.goals.get(index).is_some_and(Option::is_some) => {
                self.add(index, bytes)?;
                progress.add(1, bytes.len() as u64);
                Ok(())
            }
            Item::Document { .. } => Ok(()),
            Item::Closed { index, .. } => {
                progress.close();
                self.flush(index)
            }
        }
    }

    fn add(&mut self, index: usize, document: &[u8]) -> Result<(), ReadError> {
        let at = self.batches.iter().position(|batch| batch.index == index);
        let at = at.unwrap_or_else(|| {
            self.batches.push(Batch::new(index));
            self.batches.len() - 1
        });
        let batch = &mut self.batches[at];
        if batch.documents > 0 && batch.array.len() + document.len() > BATCH_BYTES {
            self.flush(index)?;
            return self.add(index, document);
        }
        batch.push(document);
        self.waiting += document.len();
        if batch.documents >= BATCH_DOCUMENTS {
            self.flush(index)?;
        }
        if self.waiting > WAITING_BYTES { self.flush_all() } else { Ok(()) }
    }

    fn flush(&mut self, index: usize) -> Result<(), ReadError> {
        let Some(at) = self.batches.iter().position(|batch| batch.index == index) else { return Ok(()) };
        let batch = self.batches.swap_remove(at);
        self.waiting = self.waiting.saturating_sub(batch.array.len());
        if self.batches.is_empty() {
            self.waiting = 0;
        }
        self.turn += 1;
        let in_order = self.goals[index].as_ref().is_some_and(|goal| goal.in_order);
        let turn = self.turn % self.senders.len();
        // One that has nothing to do, rather than the next in turn.
        let free = self.senders.iter().position(|sender| sender.capacity() > 0);
        let worker = if in_order { 0 } else { free.unwrap_or(turn) };
        let sent = self.senders[worker].blocking_send(batch);
        sent.map_err(|_| ReadError::Io(io::Error::other("the inserting tasks ended")))
    }

    fn flush_all(&mut self) -> Result<(), ReadError> {
        while let Some(index) = self.batches.first().map(|batch| batch.index) {
            self.flush(index)?;
        }
        Ok(())
    }
}

/// Documents of one entry, as the elements of a BSON array without its head and end.
pub struct Batch {
    index: usize,
    array: Vec<u8>,
    /// How many.
    pub documents: u32,
}

impl Batch {
    /// An empty one, of the entry `index`.
    pub fn new(index: usize) -> Self {
        Batch { index, array: Vec::new(), documents: 0 }
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.array.len()
    }

    /// Adds a document.
    pub fn push(&mut self, document: &[u8]) {
        const EMBEDDED_DOCUMENT: u8 = 3;
        self.array.push(EMBEDDED_DOCUMENT);
        self.array.extend_from_slice(self.documents.to_string().as_bytes());
        self.array.push(0);
        self.array.extend_from_slice(document);
        self.documents += 1;
    }

    /// The whole `insert` command.
    fn command(&self, goal: &Goal) -> Result<RawDocumentBuf> {
        const ARRAY: u8 = 4;
        let mut head =
            rawdoc! {"insert": goal.collection.as_str(), "ordered": false, "writeConcern": {"w": "majority"}};
        for (key, value) in &goal.extra {
            let (Ok(key), Ok(value)) = (key.as_str().try_into(), bson::RawBson::try_from(value.clone())) else {
                continue;
            };
            let key: &bson::raw::CStr = key;
            head.append(key, value);
        }
        let head = head.into_bytes();
        let array_length = self.array.len() + 5;
        let mut bytes = Vec::with_capacity(head.len() + array_length + 12);
        bytes.extend_from_slice(&head[..head.len() - 1]);
        bytes.push(ARRAY);
        bytes.extend_from_slice(b"documents\0");
        bytes.extend_from_slice(&length(array_length)?);
        bytes.extend_from_slice(&self.array);
        bytes.extend_from_slice(&[0, 0]);
        let whole = length(bytes.len())?;
        bytes[..4].copy_from_slice(&whole);
        RawDocumentBuf::from_bytes(bytes).map_err(|error| Failure::bug("a batch is not BSON").cause(error))
    }
}

fn length(length: usize) -> Result<[u8; 4]> {
    let length = i32::try_from(length).map_err(|_| Failure::bug("a batch is too long"))?;
    Ok(length.to_le_bytes())
}

/// One inserting task.
async fn work(
    client: &Client,
    mut queue: mpsc::Receiver<Batch>,
    goals: &[Option<Goal>],
    tally: &Mutex<Tally>,
) -> Result<()> {
    while let Some(batch) = queue.recv().await {
        let Some(goal) = &goals[batch.index] else { continue };
        insert(&client.database(&goal.db), goal, &batch, tally).await?;
    }
    Ok(())
}

/// Inserts a batch, and counts what became of its documents.
///
/// # Errors
/// [`Exit::Backup`] if the server fails; documents that it refuses are counted.
pub async fn insert(database: &Database, goal: &Goal, batch: &Batch, tally: &Mutex<Tally>) -> Result<()> {
    let message = || format!("writing to {}.{} failed", goal.db, goal.collection);
    let command = batch.command(goal)?;
    let answer = tokio::time::timeout(INSERT_LIMIT, async { database.run_raw_command(command).await }).await;
    let answer = answer.map_err(|_| {
        Failure::new(Exit::Backup, "backup.timeout", message())
            .cause(format!("no answer within {} s", INSERT_LIMIT.as_secs()))
            .retryable()
    })?;
    let answer = answer.map_err(|error| connection::failure(&error, message()))?;
    if let Ok(concern) = answer.get_document("writeConcernError") {
        let failure = Failure::new(Exit::Backup, "restore.write-concern", message());
        return Err(failure.cause(concern.get_str("errmsg").unwrap_or("not on the majority of the replica set")));
    }
    let refused = answer.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = refused.len() as u64;
    tally.failed += failed;
    tally.inserted += u64::from(batch.documents).saturating_sub(failed);
    for error in refused.iter().filter_map(bson::Bson::as_document) {
        if tally.reasons.len() < SHOWN_REASONS {
            let text = error.get_str("errmsg").unwrap_or("the server does not say why");
            tally.reasons.push(format!("{}.{}: {}", goal.db, goal.collection, connection::short(text)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn a_batch_becomes_an_insert_command_with_its_documents_as_they_were() {
        let goal = Goal {
            db: "shop".to_owned(),
            collection: "orders".to_owned(),
            extra: doc! {"bypassDocumentValidation": true},
            in_order: false,
        };
        let mut batch = Batch::new(0);
        let documents: Vec<_> = (0..12).map(|n| rawdoc! {"_id": n, "x": [n, "é"]}).collect();
        documents.iter().for_each(|document| batch.push(document.as_bytes()));
        let command = batch.command(&goal).expect("a command");
        assert_eq!(command.get_str("insert").expect("name"), "orders");
        assert!(command.get_bool("bypassDocumentValidation").expect("extra"));
        let array = command.get_array("documents").expect("documents");
        let back: Vec<_> =
            array.into_iter().map(|one| one.expect("valid").as_document().expect("one").to_owned()).collect();
        assert_eq!(back, documents);
    }
}
