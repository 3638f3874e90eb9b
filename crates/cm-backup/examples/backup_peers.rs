//! The peers of scripts/bench/backup.sh: fills a database with mixed documents, reads one the
//! plain way, and restores an archive as mongorestore does: batches of 1000 documents, one
//! task for each collection. As the program under test does, it fills collections alongside those
//! that are used and renames them at the end.

use bson::{RawBsonRef, RawDocumentBuf, rawdoc};
use cm_archive::verify::read_documents;
use futures_util::StreamExt;
use mongodb::options::WriteConcern;
use mongodb::{Client, Database};
use std::error::Error;
use std::io::{BufWriter, Write};
use tokio::sync::mpsc;

/// Bytes of BSON in one insert.
const BATCH: usize = 8 << 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = Client::with_uri_str(std::env::var("BENCH_URI")?).await?;
    let database = client.database("bench");
    match words.as_slice() {
        ["fill", megabytes] => fill(&database, megabytes.parse::<usize>()? * 1_000_000).await,
        ["read"] => read(&database, std::io::sink()).await,
        ["cat"] => read(&database, BufWriter::with_capacity(1 << 20, std::io::stdout())).await,
        ["restore", file] => {
            let database = client.database("peer");
            restore(&database, file).await?;
            for place in 0..4 {
                let (from, to) = (format!("peer.aside{place}"), format!("peer.restored{place}"));
                client.database("admin").run_command(bson::doc! {"renameCollection": from, "to": to}).await?;
            }
            Ok(())
        }
        _ => Err("backup_peers fill MB | read | cat | restore FILE".into()),
    }
}

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Words, of which some are frequent and most are rare, as in any text.
    fn words(&mut self, count: u64) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let place = self.next() % 100;
            let mut word = Random(place * place * place / 100 * 7919);
            for _ in 0..2 + word.next() % 4 {
                text.push(char::from(b"bcdfghlmnprstvz"[word.next() as usize % 15]));
                text.push(char::from(b"aeiou"[word.next() as usize % 5]));
            }
            text.push(' ');
        }
        text
    }
}

/// Orders, users and events as applications have them: numbers, ids, names and text.
fn document(n: i32, random: &mut Random) -> RawDocumentBuf {
    let noise = random.next() as i32;
    match n % 3 {
        0 => rawdoc! {"_id": n, "customer": noise, "total": f64::from(noise) / 100.0, "lines": [
            {"sku": format!("{:08x}", random.next()), "count": n % 7, "price": (random.next() % 10_000) as i32},
            {"sku": format!("{:08x}", random.next()), "count": 1, "price": (random.next() % 10_000) as i32},
        ], "paid": n % 2 == 0, "status": (["new", "sent", "closed"][random.next() as usize % 3])},
        1 => rawdoc! {
            "_id": n, "name": random.words(2), "mail": format!("{noise:x}@example.org"), "tags": ["a", "b"],
            "token": format!("{:016x}{:016x}", random.next() << 31 | random.next(), random.next() << 31 | random.next()),
        },
        _ => {
            let length = random.next() % 120;
            rawdoc! {"_id": n, "text": random.words(length), "trace": format!("{:016x}", random.next() << 31 | random.next())}
        }
    }
}

async fn fill(database: &Database, bytes: usize) -> Result<(), Box<dyn Error>> {
    let names = ["orders", "users", "events", "audit"];
    let (mut n, mut written, mut random) = (0, 0, Random(1));
    while written < bytes {
        let mut batch = Vec::new();
        let mut length = 0;
        while length < BATCH {
            let next = document(n, &mut random);
            length += next.as_bytes().len();
            n += 1;
            batch.push(next);
        }
        written += length;
        let name = names[(written / BATCH) % names.len()];
        database.collection::<RawDocumentBuf>(name).insert_many(batch).ordered(false).await?;
    }
    Ok(())
}

async fn read(database: &Database, mut out: impl Write) -> Result<(), Box<dyn Error>> {
    for name in database.list_collection_names().await? {
        let mut batches = database.collection::<RawDocumentBuf>(&name).find(bson::doc! {}).batch().await?;
        while let Some(batch) = batches.next().await {
            for document in batch?.doc_slices()? {
                if let RawBsonRef::Document(document) = document? {
                    out.write_all(document.as_bytes())?;
                }
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// One task for each collection, each with its own batches, as mongorestore has them.
async fn restore(database: &Database, file: &str) -> Result<(), Box<dyn Error>> {
    let file = std::fs::File::open(file)?;
    let mut tasks = Vec::new();
    let mut senders: Vec<mpsc::Sender<Vec<RawDocumentBuf>>> = Vec::new();
    for place in 0..4 {
        let (sender, mut batches) = mpsc::channel::<Vec<RawDocumentBuf>>(1);
        senders.push(sender);
        let collection = database.collection::<RawDocumentBuf>(&format!("aside{place}"));
        tasks.push(tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                let inserting = collection.insert_many(batch).ordered(false);
                inserting.write_concern(WriteConcern::majority()).await.map(drop)?;
            }
            Ok::<_, mongodb::error::Error>(())
        }));
    }
    let reading = tokio::task::spawn_blocking(move || {
        let mut waiting: Vec<Vec<RawDocumentBuf>> = vec![Vec::new(); senders.len()];
        read_documents(file, |index, bytes| {
            let batch = &mut waiting[index];
            batch.extend(RawDocumentBuf::from_bytes(bytes.to_vec()));
            if batch.len() == 1000 {
                let _ended = senders[index].blocking_send(std::mem::take(batch));
            }
        })
        .map_err(|error| error.to_string())?;
        for (batch, sender) in waiting.into_iter().zip(&senders).filter(|(batch, _)| !batch.is_empty()) {
            let _ended = sender.blocking_send(batch);
        }
        Ok::<_, String>(())
    });
    for task in tasks {
        task.await??;
    }
    Ok(reading.await??)
}
