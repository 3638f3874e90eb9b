//! `--method mongodump`: the container's own mongodump writes the archive, for those who
//! prefer it, and the same verification comes after it. It runs inside the database's container, so
//! that it fits the server; the URI reaches it on stdin and is in no list of processes.
//! mongodump exits well with half a database more often than one would like, and its file
//! looks whole then: what counts is what the server said of each collection before and after.

use crate::source::Inside;
use crate::store::Store;
use cm_archive::codec::Compressed;
use cm_archive::manifest::Consistency;
use cm_archive::progress::Progress;
use cm_archive::{Contents, Kind, ReadError, verify};
use cm_core::{Exit, Failure, Result};
use cm_mongo::dump::{Dumped, Options};
use cm_mongo::moment::Wanted;
use cm_mongo::survey::{self, Survey};
use mongodb::Client;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A dump ends with its connection; this only bounds what nothing else does.
const LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// Who reads the database and writes the archive.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Method {
    /// This program itself.
    #[default]
    Native,
    /// The mongodump in the database's container.
    Mongodump,
}

/// What mongodump cannot be told to do.
///
/// # Errors
/// [`Exit::Usage`] with the flag.
pub fn check(options: &Options) -> Result<()> {
    let no = |what: &str| {
        Err(Failure::new(Exit::Usage, "usage.method", format!("--method mongodump has no {what}"))
            .hint("leave it out, or leave out --method mongodump"))
    };
    let collections = options.selection.as_ref().map_or(0, |selection| selection.collections.len());
    match options {
        Options { compression: Compressed::Zstd, .. } => no("zstd"),
        Options { rate_limit: Some(_), .. } => no("--rate-limit"),
        Options { consistency: Wanted::Snapshot, .. } => no("consistency of one database"),
        _ if collections > 1 => no("more than one --collection"),
        _ => Ok(()),
    }
}

/// The arguments of the command on the host.
fn command(inside: &Inside, database: &str, options: &Options) -> Vec<String> {
    let words = ["docker", "exec", "-i", &inside.container, "mongodump", "--config", "/dev/stdin", "--archive", "--db"];
    let mut words: Vec<String> = words.into_iter().chain([database]).map(str::to_owned).collect();
    if options.compression == Compressed::Gzip {
        words.push("--gzip".to_owned());
    }
    if let Some(selection) = &options.selection {
        words.extend(selection.collections.iter().map(|name| format!("--collection={name}")));
        words.extend(selection.excluded.iter().map(|name| format!("--excludeCollection={name}")));
        words.extend(selection.query.iter().map(|query| format!("--query={query}")));
    }
    words
}

/// Has mongodump write what the survey found into the backup `name`.
///
/// # Errors
/// [`Exit::Backup`] with what mongodump said, or for an archive that is not intact or
/// holds less than the server counts.
pub async fn dump(
    client: &Client,
    inside: &Inside,
    survey: &Survey,
    options: &Options,
    (store, name): (&Store, &str),
) -> Result<Dumped<()>> {
    let database = client.database(&survey.database);
    let mut before = Vec::new();
    for found in &survey.collections {
        before.push(survey::count(&database, found).await);
    }
    let argv = command(inside, &survey.database, options);
    let command = inside.host.command(argv).stdin(inside.configuration()).limit(LIMIT);
    let (mut sink, receiving) = store.receive_stream(name);
    let copied = command.copy_to(&mut sink, Exit::Backup, "backup.mongodump").await;
    let bytes = match copied {
        Ok(bytes) => bytes,
        Err(failure) => {
            drop(sink);
            let failure = store.abandon(receiving, failure).await;
            let hint = "is there a mongodump in the container? without --method, none is needed";
            return Err(if failure.code == "backup.mongodump" { failure.hint(hint) } else { failure });
        }
    };
    let _end = sink.shutdown().await;
    drop(sink);
    store.received(receiving, bytes).await?;
    let dumped = judge(&database, survey, &before, bytes, store, name).await;
    if dumped.is_err() {
        store.discard(name).await;
    }
    dumped
}

async fn judge(
    database: &mongodb::Database,
    survey: &Survey,
    before: &[Option<u64>],
    bytes: u64,
    store: &Store,
    name: &str,
) -> Result<Dumped<()>> {
    let contents = store.read_back(name, reading(Default::default())).await?;
    let bad = |what: String| {
        Failure::new(Exit::Backup, "backup.not-proved", format!("what mongodump wrote to {name} is not all"))
            .cause(what)
            .retryable()
    };
    if contents.bytes != bytes {
        return Err(bad(format!("{bytes} bytes came from mongodump, {} are in the file", contents.bytes)));
    }
    let mut counted = vec![None; contents.prelude.entries.len()];
    let mut warnings = Vec::new();
    for (found, before) in survey.collections.iter().zip(before) {
        let at = contents.prelude.entries.iter().position(|entry| entry.namespace() == found.entry.namespace());
        let Some(at) = at else { return Err(bad(format!("{} is not in it", found.entry.namespace()))) };
        if found.entry.kind != Kind::Collection {
            continue;
        }
        let after = survey::count(database, found).await;
        counted[at] = before.zip(after);
        let Some((before, after)) = counted[at] else { continue };
        let have = contents.totals[at].documents;
        if (before.min(after)..=before.max(after)).contains(&have) {
            continue;
        }
        let what = format!(
            "{} has {have} documents in it, and the server counted {before} before and {after} after",
            found.entry.namespace()
        );
        // Writers may be at work, as for our own dump; half of the documents is another matter.
        if have < before.min(after).div_ceil(2) {
            return Err(bad(what));
        }
        warnings.push(what);
    }
    let Contents { sha256, prelude, totals, .. } = contents;
    let consistency = Consistency::None;
    Ok(Dumped { out: (), bytes, sha256, prelude, totals, counted, consistency, warnings })
}

/// How an archive is read back, with `progress` for how far that is.
pub fn reading(
    progress: Arc<Progress>,
) -> impl FnOnce(&mut (dyn Read + Send)) -> Result<Contents, ReadError> + Send + 'static {
    move |input| verify::read_back_watched(input, &progress)
}
