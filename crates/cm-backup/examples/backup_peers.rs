//! The peers of scripts/bench/backup.sh: fills a database with mixed documents, and reads
//! one the plain way, to nowhere or through a single gzip -6.

use bson::{RawBsonRef, RawDocumentBuf, rawdoc};
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt;
use mongodb::{Client, Database};
use std::error::Error;
use std::io::Write;

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
        ["gzip"] => read(&database, GzEncoder::new(std::io::sink(), Compression::new(6))).await,
        _ => Err("backup_peers fill MB | read | gzip".into()),
    }
}

/// Orders, users and events, small and large, half of them text.
fn document(n: i32) -> RawDocumentBuf {
    let noise = n.wrapping_mul(1_103_515_245).wrapping_add(12_345);
    match n % 3 {
        0 => rawdoc! {"_id": n, "customer": noise, "total": f64::from(noise) / 100.0, "lines": [
            {"sku": format!("{noise:08x}"), "count": n % 7}, {"sku": format!("{:08x}", noise ^ n), "count": 1},
        ], "paid": n % 2 == 0},
        1 => {
            rawdoc! {"_id": n, "name": format!("user {noise}"), "mail": format!("{noise:x}@example.org"), "tags": ["a", "b"]}
        }
        _ => {
            rawdoc! {"_id": n, "text": "the quick brown fox jumps over the lazy dog ".repeat(n as usize % 16), "mark": format!("{noise:032x}")}
        }
    }
}

async fn fill(database: &Database, bytes: usize) -> Result<(), Box<dyn Error>> {
    let names = ["orders", "users", "events", "audit"];
    let (mut n, mut written) = (0, 0);
    while written < bytes {
        let mut batch = Vec::new();
        let mut length = 0;
        while length < BATCH {
            let next = document(n);
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
