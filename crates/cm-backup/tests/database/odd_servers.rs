//! Answers that no real server gives on demand, and data without end.

use crate::support::fake::{Fake, cursor};
use crate::support::{Ended, Lab};
use bson::{RawDocumentBuf, rawdoc};
use cm_archive::Kind;
use cm_archive::verify::read_documents;
use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A listing of one collection.
fn listing(kinds: &[(&str, &str)]) -> RawDocumentBuf {
    let item = |(name, kind): &(&str, &str)| rawdoc! {"name": *name, "type": *kind, "options": {}, "info": {}};
    cursor(0, "firstBatch", &kinds.iter().map(item).collect::<Vec<_>>())
}

fn documents(count: i32) -> Vec<RawDocumentBuf> {
    (0..count).map(|n| rawdoc! {"_id": n, "text": "x"}).collect()
}

/// One collection `orders` that sends `sent` documents and counts `counted`.
fn server(sent: i32, counted: &'static [i32], exact: i32) -> Fake {
    let asked = AtomicU64::new(0);
    Fake::start(move |name, _| match name {
        "listCollections" => Some(listing(&[("orders", "collection")])),
        "find" => Some(cursor(0, "firstBatch", &documents(sent))),
        "count" => {
            let at = asked.fetch_add(1, Ordering::Relaxed) as usize;
            Some(rawdoc! {"n": counted[at.min(counted.len() - 1)], "ok": 1})
        }
        "aggregate" => Some(cursor(0, "firstBatch", &[rawdoc! {"n": exact}])),
        _ => None,
    })
}

#[test]
fn a_cursor_that_ends_early_without_an_error_is_noticed() {
    let lab = Lab::new();
    let ended = lab.back_up(&server(10, &[1000], 1000).uri(), &[]);
    ended.expect_failure(21, "backup.short", &lab);
    assert!(
        ended.stderr.contains("10 documents of shop.orders were read, and the server counts 1000"),
        "{}",
        ended.stderr
    );
}

#[test]
fn writers_at_work_are_news_and_no_failure() {
    // Asked while it is read and after it.
    let lab = Lab::new();
    let ended = lab.back_up(&server(95, &[90, 100], 100).uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["stages"][0]["status"], "ok");
    assert!(ended.stderr.contains("counted 90 documents, and 100 after; 95 were read"), "{}", ended.stderr);

    // Counts from the server's records may be wrong after a crash; then each document is counted.
    let lab = Lab::new();
    let ended = lab.back_up(&server(95, &[100], 95).uri(), &[]);
    assert_eq!(ended.document()["stages"][0]["status"], "ok", "{}", ended.stderr);

    let lab = Lab::new();
    let ended = lab.back_up(&server(95, &[100], 100).uri(), &[]);
    assert_eq!(ended.document()["stages"][0]["status"], "warned", "{}", ended.stderr);
    assert_eq!(ended.code, 0);
}

#[test]
fn a_document_that_no_archive_can_hold_is_an_error() {
    let fake = Fake::start(|name, _| match name {
        "listCollections" => Some(listing(&[("orders", "collection")])),
        "find" => Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 1, "text": "x".repeat(16 << 20)}])),
        "count" => Some(rawdoc! {"n": 1, "ok": 1}),
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &[]);
    ended.expect_failure(21, "backup.document", &lab);
    assert!(ended.stderr.contains("larger than 16 MiB"), "{}", ended.stderr);
}

#[test]
fn a_killed_cursor_is_an_error() {
    let fake = Fake::start(|name, _| match name {
        "listCollections" => Some(listing(&[("orders", "collection")])),
        "find" => Some(cursor(7, "firstBatch", &documents(3))),
        "getMore" => {
            Some(rawdoc! {"ok": 0, "code": 43, "codeName": "CursorNotFound", "errmsg": "cursor id 7 not found"})
        }
        "count" => Some(rawdoc! {"n": 3, "ok": 1}),
        _ => None,
    });
    let lab = Lab::new();
    lab.back_up(&fake.uri(), &[]).expect_failure(21, "backup.changed", &lab);
}

#[test]
fn a_user_who_may_not_read_hears_what_is_missing() {
    let fake = Fake::start(|name, _| match name {
        "listCollections" => {
            Some(rawdoc! {"ok": 0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized on shop"})
        }
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &[]);
    ended.expect_failure(21, "backup.not-allowed", &lab);
    assert!(ended.stderr.contains("\"backup\" on \"admin\", or \"read\" on \"shop\""), "{}", ended.stderr);
}

#[test]
fn the_servers_own_collections_are_left_out_and_its_functions_are_not() {
    let fake = Fake::start(|name, _| match name {
        "listCollections" => Some(listing(&[
            ("system.views", "collection"),
            ("system.js", "collection"),
            ("a", ""),
            ("system.profile", ""),
        ])),
        "find" => Some(cursor(0, "firstBatch", &documents(2))),
        "count" => Some(rawdoc! {"n": 2.0, "ok": 1}),
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let contents = read_documents(File::open(lab.backup()).expect("there"), |_, _| {}).expect("intact");
    let names: Vec<_> = contents.prelude.entries.iter().map(|entry| entry.collection.as_str()).collect();
    assert_eq!(names, ["a", "system.js"]);
}

/// The plain bytes of a backup.
fn unpacked(lab: &Lab) -> Vec<u8> {
    let file = BufReader::new(File::open(lab.backup()).expect("there"));
    let mut bytes = Vec::new();
    flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_time_series_is_read_as_buckets_where_the_server_has_them() {
    let fake = Fake::start(|name, command| match name {
        "listCollections" => Some(listing(&[("ts", "timeseries"), ("system.buckets.ts", "collection")])),
        "find" => {
            assert_eq!(command.get_str("find").expect("a name"), "system.buckets.ts");
            Some(cursor(0, "firstBatch", &documents(4)))
        }
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let contents = read_documents(File::open(lab.backup()).expect("there"), |_, _| {}).expect("intact");
    assert_eq!((contents.prelude.entries.len(), contents.documents()), (1, 4));
    assert_eq!(contents.prelude.entries[0].kind, Kind::Timeseries);
    assert!(contains(&unpacked(&lab), "system.buckets.ts"));
}

#[test]
fn a_time_series_is_read_as_raw_data_where_the_server_has_no_buckets() {
    let fake = Fake::start(|name, command| match name {
        "listCollections" => Some(listing(&[("ts", "timeseries")])),
        "find" => {
            assert_eq!(command.get_str("find").expect("a name"), "ts");
            assert!(command.get_bool("rawData").expect("asked for"));
            Some(cursor(0, "firstBatch", &documents(4)))
        }
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!contains(&unpacked(&lab), "system.buckets"));
}

/// The most memory a process ever had, in bytes; the kernel keeps it until it is waited for.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[test]
fn memory_does_not_grow_with_the_data() {
    const BATCHES: u64 = 24;
    let text =
        |n: i32| format!("{n:08} some text that repeats, and a number {}", n.wrapping_mul(1_103_515_245)).repeat(4);
    let batch: Vec<_> = (0..60_000).map(|n| rawdoc! {"_id": n, "text": text(n)}).collect();
    let count = i64::try_from(batch.len() as u64 * BATCHES).expect("small");
    let size: usize = batch.iter().map(|document| document.as_bytes().len()).sum();
    assert!((12 << 20..16 << 20).contains(&size), "a batch of {size} bytes");
    // The cursors are told apart by their ids, 1 and 2.
    let first = [1, 2].map(|id| cursor(id, "firstBatch", &batch));
    let more = [1, 2].map(|id| cursor(id, "nextBatch", &batch));
    let last = cursor(0, "nextBatch", &batch);
    let sent = [const { AtomicU64::new(1) }; 2];
    let fake = Fake::start(move |name, command| match name {
        "listCollections" => Some(listing(&[("a", "collection"), ("b", "collection")])),
        "find" => Some(first[usize::from(command.get_str("find").expect("a name") == "b")].clone()),
        "getMore" => {
            let which = usize::from(command.get_i64("getMore").expect("an id") == 2);
            let at = sent[which].fetch_add(1, Ordering::Relaxed) + 1;
            assert!(at <= BATCHES, "asked for more than there is");
            Some(if at == BATCHES { last.clone() } else { more[which].clone() })
        }
        "count" => Some(rawdoc! {"n": count, "ok": 1}),
        _ => None,
    });
    let lab = Lab::new();
    let running = lab.back_up_command(&fake.uri(), &[]).spawn().expect("runs");
    let pid = running.id();
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = peak_memory(pid) {
            peak = now.max(peak);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        peak
    });
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    let peak = watching.join().expect("watched");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["facts"]["backup"]["documents"], 2 * count);
    assert!(peak < 150 << 20, "{} MiB of memory for {} MB of data", peak >> 20, 2 * size as u64 * BATCHES / 1_000_000);
}

/// A member of a replica set of two; it counts how often documents are asked of it.
fn member(primary: bool, ports: &Arc<OnceLock<[u16; 2]>>, asked: &Arc<AtomicU64>) -> Fake {
    let (ports, asked) = (Arc::clone(ports), Arc::clone(asked));
    Fake::start(move |name, command| match name {
        "hello" | "isMaster" | "ismaster" => {
            let addresses = ports.wait().map(|port| format!("127.0.0.1:{port}"));
            let [first, second] = &addresses;
            Some(rawdoc! {
                "ok": 1, "helloOk": true, "isWritablePrimary": primary, "ismaster": primary, "secondary": !primary,
                "setName": "rs", "setVersion": 1, "hosts": [first.as_str(), second.as_str()],
                "primary": first.as_str(), "me": addresses[usize::from(!primary)].as_str(),
                "minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16 << 20,
                "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            })
        }
        "listCollections" => Some(listing(&[("orders", "collection")])),
        "find" => {
            asked.fetch_add(1, Ordering::Relaxed);
            if !command.contains_key("readConcern") {
                return Some(cursor(0, "firstBatch", &documents(5)));
            }
            let mut batch = bson::RawArrayBuf::new();
            documents(5).into_iter().for_each(|document| batch.push(document));
            let time = bson::Timestamp { time: 7, increment: 1 };
            Some(
                rawdoc! {"ok": 1, "cursor": {"id": 0_i64, "ns": "shop.orders", "atClusterTime": time, "firstBatch": batch}},
            )
        }
        "count" => Some(rawdoc! {"n": 5, "ok": 1}),
        _ => None,
    })
}

#[test]
fn documents_come_from_the_member_that_is_preferred() {
    for (preference, of_primary) in [("primary", true), ("secondary", false), ("secondaryPreferred", false)] {
        let ports = Arc::new(OnceLock::new());
        let asked = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let members = [member(true, &ports, &asked[0]), member(false, &ports, &asked[1])];
        let [first, second] = members.map(|member| member.port);
        ports.set([first, second]).expect("once");
        let uri = format!("mongodb://127.0.0.1:{first},127.0.0.1:{second}/?replicaSet=rs");
        let lab = Lab::new();
        for consistency in ["none", "snapshot"] {
            let ended = lab.back_up(&uri, &["--read-preference", preference, "--consistency", consistency]);
            assert_eq!(ended.code, 0, "{preference}, {consistency}: {}", ended.stderr);
            let counts = [0, 1].map(|member: usize| asked[member].swap(0, Ordering::Relaxed));
            assert_eq!((counts[0] > 0, counts[1] > 0), (of_primary, !of_primary), "{preference}, {consistency}");
        }
    }
}

/// A name service that fails may answer later: nothing is wrong with the URI.
#[test]
fn servers_that_cannot_be_looked_up_are_worth_another_try() {
    let lab = Lab::new();
    let ended = lab.back_up("mongodb+srv://ada:planted-s3cret@nobody.invalid/shop", &[]);
    ended.expect_failure(21, "backup.database-unreachable", &lab);
    assert_eq!(ended.document()["error"]["retryable"], true);
    assert!(ended.stderr.contains("is the name service reachable"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("planted"), "{}", ended.stderr);
}
