//! The flags that narrow a backup, its compression, and whether it is of one moment.

use crate::support::data::{every_type, fill, furnish, raw, raw_of};
use crate::support::{Ended, Lab, Relay, Server};
use bson::{Document, RawDocumentBuf, doc};
use cm_archive::verify::{read_back, read_documents};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The only archive of the directory, with any compression.
fn archive(lab: &Lab) -> std::path::PathBuf {
    let names = lab.names();
    let mut archives = names.iter().filter(|name| !name.ends_with(".manifest.json"));
    lab.backups().join(archives.next().expect("a backup"))
}

fn manifest(lab: &Lab) -> Value {
    let path = format!("{}.manifest.json", archive(lab).display());
    serde_json::from_slice(&std::fs::read(path).expect("a manifest")).expect("JSON")
}

#[tokio::test]
async fn every_compression_comes_back() {
    let server = Server::start();
    let client = server.client().await;
    furnish(&client).await;
    for (kind, suffix) in [("none", ".archive"), ("gzip", ".archive.gz"), ("zstd", ".archive.zst")] {
        let lab = Lab::new();
        let ended = lab.back_up(&server.uri(), &["--compression", kind]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(archive(&lab).display().to_string().ends_with(suffix), "{:?}", lab.names());
        assert_eq!(manifest(&lab)["compression"], kind);
        let target = format!("from_{kind}");
        let ended = lab.restore(&server.uri(), &archive(&lab), &["--db", &target]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(raw_of(&client, &target, "orders").await == raw(&client, "orders").await);
        // A bit of any compression.
        let mut bytes = std::fs::read(archive(&lab)).expect("there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(archive(&lab), bytes).expect("written");
        assert_eq!(lab.run(&["verify", archive(&lab).to_str().expect("UTF-8")]).code, 21, "{kind}");
    }
}

#[tokio::test]
async fn a_part_of_a_database_is_named_in_its_manifest() {
    let server = Server::start();
    furnish(&server.client().await).await;
    let cases: [(&[&str], u64, usize); 3] = [
        (&["--collection", "orders", "--collection", "ring"], 3009, 2),
        (&["--exclude-collection", "orders"], 11, 6),
        (&["--collection", "orders", "--query", r#"{"_id": {"$lt": 7}}"#], 7, 1),
    ];
    for (extra, documents, namespaces) in cases {
        let lab = Lab::new();
        let ended = lab.back_up(&server.uri(), extra);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let (manifest, facts) = (manifest(&lab), &ended.document()["facts"]["backup"]);
        assert_eq!((&manifest["documents"], &facts["documents"]), (&documents.into(), &documents.into()), "{extra:?}");
        assert_eq!(facts["namespaces"], namespaces, "{extra:?}");
        assert!(manifest["selection"].is_object() && facts["partial"] == true, "{manifest}");
    }
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &["--collection", "ordres"]);
    ended.expect_failure(21, "backup.no-collection", &lab);
    for bad in [&["--query", "{}"][..], &["--collection", "orders", "--query", "["], &["--rate-limit", "fast"]] {
        assert_eq!(lab.back_up(&server.uri(), bad).code, 2, "{bad:?}");
    }
    assert_eq!(lab.back_up(&server.uri(), &["--read-preference", "secondaryPreferred"]).code, 0);
}

#[tokio::test]
async fn no_more_is_read_than_the_rate_allows() {
    let server = Server::start();
    fill(&server.client().await, "orders", 2000).await;
    let (lab, clock) = (Lab::new(), std::time::Instant::now());
    assert_eq!(lab.back_up(&server.uri(), &["--rate-limit", "500k"]).code, 0);
    let floor = std::time::Duration::from_millis(1900);
    assert!(clock.elapsed() > floor, "a megabyte at half a megabyte a second took {:?}", clock.elapsed());
}

/// Moves amounts from one collection to the other, each time in one transaction.
async fn transfer(client: mongodb::Client, stop: Arc<AtomicBool>) -> u64 {
    let shop = client.database("shop");
    let (from, to) = (shop.collection::<Document>("a_accounts"), shop.collection::<Document>("z_accounts"));
    let mut session = client.start_session().await.expect("a session");
    let mut moved = 0;
    while !stop.load(Ordering::Relaxed) {
        session.start_transaction().await.expect("begun");
        let id = doc! {"_id": moved % 200};
        from.update_one(id.clone(), doc! {"$inc": {"amount": -1}}).session(&mut session).await.expect("taken");
        to.update_one(id, doc! {"$inc": {"amount": 1}}).session(&mut session).await.expect("given");
        session.commit_transaction().await.expect("done");
        moved += 1;
    }
    u64::try_from(moved).expect("counted")
}

fn sum(file: &std::path::Path) -> i64 {
    let mut sum = 0;
    let add = |_: usize, bytes: &[u8]| {
        let document = Document::from_reader(bytes).expect("a document");
        sum += document
            .get("amount")
            .map_or(0, |amount| amount.as_i64().or(amount.as_i32().map(i64::from)).expect("a number"));
    };
    read_documents(File::open(file).expect("there"), add).expect("intact");
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_moved_while_a_replica_set_is_read_add_up() {
    let server = Server::start();
    let client = server.client().await;
    for name in ["a_accounts", "z_accounts"] {
        let documents: Vec<_> = (0..200).map(|n| doc! {"_id": n, "amount": 1000}).collect();
        client.database("shop").collection::<Document>(name).insert_many(documents).await.expect("inserted");
    }
    fill(&client, "m_between", 20_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let relay = Relay::start(server.port, 2_000_000);
    let lab = Lab::new();
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    // In the middle, after the first collection and before the last.
    relay.wait_until_reached();
    let moving = tokio::spawn(transfer(client.clone(), Arc::clone(&stop)));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    relay.go_on();
    let ended =
        tokio::task::spawn_blocking(|| Ended::of(running.wait_with_output().expect("ended"))).await.expect("ran");
    stop.store(true, Ordering::Relaxed);
    assert!(moving.await.expect("moved") > 10, "nothing was moved");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(["transaction", "snapshot"].contains(&manifest(&lab)["consistency"].as_str().expect("a word")));
    assert_eq!(sum(&archive(&lab)), 400_000);
}

#[tokio::test]
async fn a_standalone_server_has_no_moment_and_the_manifest_says_so() {
    let server = Server::standalone();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    lab.back_up(&server.uri(), &["--consistency", "snapshot"]).expect_failure(21, "backup.no-moment", &lab);
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    assert_eq!(manifest(&lab)["consistency"], "none");
}

/// Any value, a few levels deep.
fn value() -> impl Strategy<Value = bson::Bson> {
    use bson::Bson;
    let leaf = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        any::<f64>().prop_map(Bson::Double),
        any::<bool>().prop_map(Bson::Boolean),
        any::<i64>().prop_map(|n| Bson::DateTime(bson::DateTime::from_millis(n))),
        ".{0,12}".prop_map(Bson::String),
        any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(bson::oid::ObjectId::from_bytes(id))),
        any::<[u8; 16]>().prop_map(|bytes| Bson::Decimal128(bson::Decimal128::from_bytes(bytes))),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| { Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes }) }),
        any::<(u32, u32)>().prop_map(|(time, increment)| Bson::Timestamp(bson::Timestamp { time, increment })),
        "[a-z ]{0,9}".prop_map(Bson::JavaScriptCode),
        "[a-z ]{0,9}".prop_map(Bson::Symbol),
        Just(Bson::Null),
        Just(Bson::Undefined),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(bson::Bson::Array),
            prop::collection::vec(("[a-z.]{0,5}", inner), 0..4)
                .prop_map(|pairs| bson::Bson::Document(pairs.into_iter().collect())),
        ]
    })
}

#[tokio::test]
async fn random_documents_come_back_byte_for_byte() {
    let server = Server::start();
    let client = server.client().await;
    let collection = client.database("shop").collection::<RawDocumentBuf>("random");
    let (mut runner, strategy) = (TestRunner::deterministic(), prop::collection::vec(("[a-z$]{1,6}", value()), 0..6));
    let mut documents = vec![RawDocumentBuf::try_from(&every_type()).expect("BSON")];
    for n in 0..10_000_i32 {
        let pairs = strategy.new_tree(&mut runner).expect("a document").current();
        let mut document = doc! {"_id": n};
        // What servers keep for themselves is no field of a document.
        document.extend(pairs.into_iter().filter(|(key, _)| !key.starts_with('$') && key != "_id"));
        documents.push(RawDocumentBuf::try_from(&document).expect("BSON"));
    }
    for part in documents.chunks(1000) {
        collection.insert_many(part).await.expect("inserted");
    }
    let mut went_in: Vec<_> = documents.iter().map(|document| document.as_bytes().to_vec()).collect();
    went_in.sort();
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = lab.restore(&server.uri(), &archive(&lab), &["--db", "back"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(raw_of(&client, "back", "random").await == went_in, "a document came back changed");
}

#[tokio::test]
async fn the_largest_document_and_the_longest_names_come_back() {
    let server = Server::start();
    let client = server.client().await;
    let shop = client.database("shop");
    let mut large = doc! {"_id": 1, "text": ""};
    let room = (16 << 20) - bson::serialize_to_vec(&large).expect("BSON").len();
    large.insert("text", "x".repeat(room));
    shop.collection::<Document>("large").insert_one(&large).await.expect("inserted");
    let long = "n".repeat(200);
    for name in [long.as_str(), "x../up", "a/b", "имя é"] {
        shop.collection::<Document>(name).insert_one(doc! {"_id": name}).await.expect(name);
    }
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = lab.restore(&server.uri(), &archive(&lab), &["--db", "back"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for name in ["large", long.as_str(), "x../up", "a/b", "имя é"] {
        assert!(raw_of(&client, "back", name).await == raw(&client, name).await, "{name}");
    }
}

#[tokio::test]
async fn five_hundred_damaged_archives_are_refused() {
    let server = Server::start();
    fill(&server.client().await, "orders", 400).await;
    fill(&server.client().await, "other", 50).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &["--compression", "none"]).code, 0);
    let good = std::fs::read(archive(&lab)).expect("there");
    let wanted = cm_archive::manifest::Manifest::parse(manifest(&lab).to_string().as_bytes()).expect("a manifest");
    let passes = |bytes: &[u8]| read_back(bytes).is_ok_and(|contents| contents.differences(&wanted).is_empty());
    assert!(passes(&good));
    let mut random = 7_usize;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..500 {
        let (at, length) = (next(good.len() - 1), 1 + next(5000));
        let end = (at + length).min(good.len());
        let bad = match round % 4 {
            0 => [&good[..at], &[good[at] ^ (1 << next(8))], &good[at + 1..]].concat(),
            1 => good[..at].to_vec(),
            2 => [&good[..at], &good[end..]].concat(),
            _ => [&good[..end], &good[at..]].concat(),
        };
        assert!(!passes(&bad), "round {round} passed");
    }
}
