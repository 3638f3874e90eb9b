//! Reads a database into an archive. Documents are never decoded: the server's
//! batches go as they are to one writing thread, through a queue that holds a
//! single batch, so that memory does not grow with the data.
//!
//! A collection is closed in the archive only after its cursor ended well; any
//! error leaves the archive unfinished, which every reader notices.

use crate::changes::{CHANGED, check_count, check_unchanged, survived};
use crate::moment::{self, Moment, Wanted};
use crate::pace::Pace;
use crate::survey::{self, Found, Survey};
use crate::writing::{Message, WriteError, write};
use cm_archive::codec::Compressed;
use cm_archive::manifest::{Consistency, Selection};
use cm_archive::progress::{Goal, Progress};
use cm_archive::{HashedWriter, Prelude, Totals};
use cm_core::{Exit, Failure, Log, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::{Client, Database};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Collections read at a time: one more than the server answers at once, or it waits.
pub const READERS: usize = 2;

/// With so many collections most are small, and reading one is waiting for its answers …
const MANY: usize = 100;

/// … for so many at a time.
const MANY_READERS: usize = 6;

/// Batches in memory at a time, those included that are on their way. One more brings no speed,
/// and a batch may have 16 MiB.
const BATCHES: usize = READERS;

/// How long the server may take for one batch of at most 16 MiB.
const BATCH_LIMIT: Duration = Duration::from_secs(120);

/// What is read of a database, and how.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Options {
    /// What of it; everything, if nothing is said.
    pub selection: Option<Selection>,
    /// How the file is compressed.
    pub compression: Compressed,
    /// Whether all of it has to be of one moment.
    pub consistency: Wanted,
    /// The most that is read in a second, in bytes of BSON.
    pub rate_limit: Option<u64>,
}

/// What was read.
#[derive(Debug)]
pub struct Dumped<W> {
    /// Where it was written.
    pub out: W,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// What the archive announces.
    pub prelude: Prelude,
    /// What was read of each entry.
    pub totals: Vec<Totals>,
    /// What the server counted in each entry while it was read and, where that is another number
    /// than was read, after it.
    pub counted: Vec<Option<(u64, u64)>>,
    /// Whether all of it is of one moment.
    pub consistency: Consistency,
    /// What people should know about the counts.
    pub warnings: Vec<String>,
}

impl<W> Dumped<W> {
    /// The output, and everything else.
    pub fn split(self) -> (W, Dumped<()>) {
        let Dumped { out, bytes, sha256, prelude, totals, counted, consistency, warnings } = self;
        (out, Dumped { out: (), bytes, sha256, prelude, totals, counted, consistency, warnings })
    }
}

/// One dump, ready to begin.
#[derive(Debug)]
pub struct Dump<'a> {
    /// The server.
    pub client: &'a Client,
    /// What there is to read.
    pub survey: &'a Survey,
    /// How.
    pub options: &'a Options,
    /// Whether all of it has to be of one moment; a second try may want less than the options.
    pub consistency: Wanted,
    /// Messages for people.
    pub log: &'a Log,
}

impl Dump<'_> {
    /// Reads what the survey found into `out`, compressed.
    ///
    /// # Errors
    /// [`Exit::Backup`]; what is in `out` must then not be kept.
    pub async fn run<W: Write + Send + 'static>(&self, out: W) -> Result<Dumped<W>> {
        let prelude = prelude(self.survey);
        let progress = Arc::new(Progress::default());
        let (sender, receiver) = mpsc::channel(1);
        let writing = {
            let (prelude, progress, kind) = (prelude.clone(), Arc::clone(&progress), self.options.compression);
            tokio::task::spawn_blocking(move || write(receiver, &prelude, kind, HashedWriter::new(out), &progress))
        };
        let database = self.client.database(&self.survey.database);
        let reading = self.read_all(&database, sender);
        let (bytes, collections) = (self.survey.data_bytes, prelude.entries.len() as u64);
        let goal = Goal { what: "backup", bytes, collections };
        let read = tokio::select! {
            read = reading => read,
            never = progress.report(self.log, goal) => never,
        };
        let written = writing.await.map_err(|error| Failure::bug("the writing thread ended").cause(error))?;
        // A reader whose queue closed failed because of the writer, not the other way round.
        let (out, totals) = match (&read, written) {
            (Err(failure), Err(WriteError::Abandoned)) => return Err(failure.clone()),
            (_, Err(error)) => return Err(error.into_failure()),
            (Err(failure), Ok(_)) => return Err(failure.clone()),
            (Ok(_), Ok(written)) => written,
        };
        let (consistency, first) = read?;
        let gone = check_unchanged(&database, &self.survey.collections, self.log).await?;
        let mut counted = vec![None; totals.len()];
        let mut warnings: Vec<_> = gone
            .iter()
            .map(|at| {
                let name = self.survey.collections[*at].entry.namespace();
                let documents = cm_core::plural(totals[*at].documents, "document");
                format!(
                    "{name} was dropped while it was read: the {documents} that had been read by then are in the backup"
                )
            })
            .collect();
        for (at, (found, first)) in self.survey.collections.iter().zip(first).enumerate() {
            let Some(first) = first.filter(|_| !gone.contains(&at)) else { continue };
            let (counts, warning) = check_count(&database, found, totals[at], first, self.log).await?;
            counted[at] = Some(counts);
            warnings.extend(warning);
        }
        let (out, bytes, sha256) = out.finish();
        Ok(Dumped { out, bytes, sha256, prelude, totals, counted, consistency, warnings })
    }

    /// Reads every collection, [`READERS`] at a time or, in a transaction, one by one; what
    /// the server counted in each.
    async fn read_all(
        &self,
        database: &Database,
        sender: mpsc::Sender<Message>,
    ) -> Result<(Consistency, Vec<Option<u64>>)> {
        let moment = moment::choose(database, self.survey, self.consistency, self.log).await?;
        let pace = Pace::new(self.options.rate_limit);
        let memory = Arc::new(Semaphore::new(BATCHES));
        let readers = match self.survey.collections.len() {
            _ if moment.is_one_by_one() => 1,
            MANY.. => MANY_READERS,
            _ => READERS,
        };
        let tasks = self.survey.collections.iter().enumerate();
        let tasks = tasks.map(|(index, found)| read_one(database, index, found, &moment, (&pace, &memory), &sender));
        let mut counted: Vec<(usize, _)> = stream::iter(tasks).buffer_unordered(readers).try_collect().await?;
        counted.sort_by_key(|(index, _)| *index);
        for (_, documents) in &self.survey.accounts.parts {
            send(&sender, Message::Documents(counted.len(), documents.clone())).await?;
            send(&sender, Message::Close(counted.len())).await?;
            counted.push((counted.len(), None));
        }
        send(&sender, Message::Finish).await?;
        let consistency = moment.end().await;
        Ok((consistency, counted.into_iter().map(|(_, counted)| counted).collect()))
    }
}

fn prelude(survey: &Survey) -> Prelude {
    let collections = survey.collections.iter().map(|found| &found.entry);
    let accounts = survey.accounts.parts.iter().map(|(entry, _)| entry);
    Prelude {
        server_version: survey.version.clone(),
        tool_version: format!("cm-backup {}", env!("CARGO_PKG_VERSION")),
        concurrent_collections: i32::try_from(READERS).unwrap_or(1),
        entries: collections.chain(accounts).cloned().collect(),
    }
}

async fn read_one(
    database: &Database,
    index: usize,
    found: &Found,
    moment: &Moment,
    (pace, memory): (&Pace, &Arc<Semaphore>),
    sender: &mpsc::Sender<Message>,
) -> Result<(usize, Option<u64>)> {
    let reading = async {
        if !found.has_documents() {
            return Ok(());
        }
        match read_documents(database, index, found, moment, (pace, memory), sender).await {
            Err(failure) if failure.code == CHANGED => survived(database, found, failure).await,
            done => done,
        }
    };
    // Some servers count one by one, which takes long: meanwhile it can be read.
    let counting = async { Ok(survey::count(database, found).await) };
    let (counted, ()) = tokio::try_join!(counting, reading)?;
    send(sender, Message::Close(index)).await?;
    Ok((index, counted))
}

async fn read_documents(
    database: &Database,
    index: usize,
    found: &Found,
    moment: &Moment,
    (pace, memory): (&Pace, &Arc<Semaphore>),
    sender: &mpsc::Sender<Message>,
) -> Result<()> {
    let message = || format!("reading {} from the database failed", found.entry.namespace());
    let in_time = |_| {
        Failure::new(Exit::Backup, "backup.timeout", message())
            .cause(format!("no documents within {} s", BATCH_LIMIT.as_secs()))
            .hint("look at the database's load and log, then try again")
            .retryable()
    };
    let opening = tokio::time::timeout(BATCH_LIMIT, moment.open(database, found)).await.map_err(in_time)?;
    let mut batches = opening.map_err(|error| moment::failure(&error, message()))?;
    loop {
        let permit = Arc::clone(memory).acquire_owned().await;
        let permit = permit.map_err(|error| Failure::bug("the batches are not counted any more").cause(error))?;
        let next = tokio::time::timeout(BATCH_LIMIT, batches.next()).await.map_err(in_time)?;
        let Some(batch) = next else { break };
        let batch = batch.map_err(|error| moment::failure(&error, message()))?;
        pace.wait(batch.doc_slices().map_or(0, |documents| documents.as_bytes().len() as u64)).await;
        send(sender, Message::Batch(index, batch, permit)).await?;
    }
    Ok(())
}

async fn send(sender: &mpsc::Sender<Message>, message: Message) -> Result<()> {
    sender.send(message).await.map_err(|_| Failure::bug("the writing thread ended before its input"))
}
