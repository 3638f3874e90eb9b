//! What goes on while a database is read, and where from: collections that are made again, and the
//! URIs that applications have.

use crate::support::data::fill;
use crate::support::fake::{Fake, cursor};
use crate::support::{Ended, Lab, Relay, Server};
use bson::{RawDocumentBuf, doc, rawdoc};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Collections with the time of their making as their identity.
fn listing(all: &[(&str, u8)]) -> RawDocumentBuf {
    let item = |(name, made): &(&str, u8)| {
        let uuid = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![*made; 16] };
        rawdoc! {"name": *name, "type": "collection", "options": {}, "info": {"uuid": uuid}}
    };
    cursor(0, "firstBatch", &all.iter().map(item).collect::<Vec<_>>())
}

/// A server that says for each listing in turn what there is.
fn changing(listings: &'static [&'static [(&'static str, u8)]]) -> Fake {
    let asked = AtomicU32::new(0);
    Fake::start(move |name, _| match name {
        "listCollections" => {
            let turn = asked.fetch_add(1, Ordering::Relaxed) as usize;
            Some(listing(listings[turn.min(listings.len() - 1)]))
        }
        "find" => Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 1}])),
        "count" => Some(rawdoc! {"n": 1, "ok": 1}),
        _ => None,
    })
}

#[test]
fn a_database_whose_collections_are_made_again_is_read_again() {
    let lab = Lab::new();
    let fake = changing(&[&[("a", 1), ("out", 1)], &[("a", 1), ("out", 2)], &[("a", 1), ("out", 3)]]);
    let ended = lab.back_up(&fake.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("reading again, 2 of 3"), "{}", ended.stderr);
    assert_eq!(ended.document()["facts"]["backup"]["namespaces"], 2);
}

#[test]
fn one_that_is_always_made_again_can_be_left_out() {
    static ALWAYS: &[&[(&str, u8)]] = &[
        &[("a", 1), ("out", 1)],
        &[("a", 1), ("out", 2)],
        &[("a", 1), ("out", 3)],
        &[("a", 1), ("out", 4)],
        &[("a", 1), ("out", 5)],
        &[("a", 1), ("out", 6)],
        &[("a", 1), ("out", 7)],
    ];
    let lab = Lab::new();
    let ended = lab.back_up(&changing(ALWAYS).uri(), &[]);
    ended.expect_failure(21, "backup.changed", &lab);
    let hint = ended.document()["error"]["hint"].to_string();
    assert!(hint.contains("--exclude-collection=out"), "{hint}");
    let ended = lab.back_up(&changing(ALWAYS).uri(), &["--exclude-collection=out"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn one_that_is_gone_when_all_was_read_is_told() {
    let lab = Lab::new();
    let ended = lab.back_up(&changing(&[&[("a", 1), ("tmp.x", 9)], &[("a", 1)]]).uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("shop.tmp.x was dropped while it was read"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_uri_of_an_application_is_taken_as_it_is() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    let options = "socketTimeoutMS=30000&compressors=zstd,snappy&zlibCompressionLevel=6&useNewUrlParser=true&useUnifiedTopology=true\
                   &uuidRepresentation=standard&maxPoolSize=0&timeoutMS=1000&j=true&family=4&keepAlive=true\
                   &tlsAllowInvalidHostnames=false&retryWrites=true&w=majority&appName=shop&autoReconnect=true";
    let ended = lab.back_up(&format!("{}&{options}", server.uri()), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told =
        "ignored: useNewUrlParser, useUnifiedTopology, family, keepAlive, tlsAllowInvalidHostnames, autoReconnect";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

/// The member of a replica set whose name nobody here can look up.
#[test]
fn a_replica_set_with_names_of_its_own_is_reached_where_the_uri_leads() {
    let fake = Fake::start(|name, _| match name {
        "hello" | "isMaster" | "ismaster" => Some(rawdoc! {
            "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": 0, "maxWireVersion": 21,
            "setName": "rs0", "hosts": ["mongo-0.nowhere.invalid:27017"], "me": "mongo-0.nowhere.invalid:27017",
            "primary": "mongo-0.nowhere.invalid:27017",
            "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "ok": 1,
        }),
        "listCollections" => Some(listing(&[("a", 1)])),
        "find" => Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 1}])),
        "count" => Some(rawdoc! {"n": 1, "ok": 1}),
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&format!("mongodb://127.0.0.1:{}/", fake.port), &["--consistency", "none"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let refused = lab.back_up(&format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", fake.port), &[]);
    assert_eq!(refused.document()["error"]["code"], "backup.database-unreachable", "{}", refused.stderr);
    assert!(refused.stderr.contains("directConnection=true"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_backup_that_is_told_to_end_leaves_nothing() {
    let server = Server::start();
    fill(&server.client().await, "orders", 65_000).await;
    let lab = Lab::new();
    let relay = Relay::start(server.port, 8_000_000);
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    assert!(lab.names().iter().any(|name| name.ends_with(".partial")), "{:?}", lab.names());
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("ours");
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    assert_eq!(lab.names(), Vec::<String>::new());
}

/// A backup of another database, of which there was a huge one.
fn plant(directory: &Path, prefix: &str, database: &str, started_at: &str) -> String {
    let stamp = started_at.replace(['-', ':'], "");
    let name = format!("{prefix}-{}.000Z.archive.gz", stamp.trim_end_matches('Z'));
    std::fs::create_dir_all(directory).expect("a directory");
    std::fs::write(directory.join(&name), "123456789").expect("written");
    let manifest = json!({
        "schema": "cm.backup/1", "file": name, "format": "", "compression": "gzip", "bytes": 9, "sha256": "",
        "database": database, "server": {"version": "", "topology": ""}, "consistency": "none", "documents": 0,
        "data_bytes": 1_000_000_000_000_000_u64, "started_at": started_at, "ended_at": "", "verified_at": "",
        "deploy": {"run": null, "project": null, "commit": null, "actor": null}, "tool": "", "namespaces": [],
    });
    std::fs::write(directory.join(format!("{name}.manifest.json")), manifest.to_string()).expect("written");
    name
}

#[tokio::test]
async fn the_last_backup_of_another_database_says_nothing_of_this_one() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    plant(&lab.backups(), "shop-2", "shop-2", "2026-05-01T00:00:00Z");
    let ended = lab.back_up(&server.uri(), &["--strict"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[tokio::test]
async fn the_backup_that_was_just_made_stays_whatever_the_others_say_of_their_age() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    let future = plant(&lab.backups(), "shop", "shop", "2099-05-01T00:00:00Z");
    let ended = lab.back_up(&server.uri(), &["--keep", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let file = ended.document()["facts"]["backup"]["file"].as_str().expect("a file").to_owned();
    assert!(Path::new(&file).exists(), "{:?}", lab.names());
    assert!(lab.names().contains(&future));
}

#[tokio::test]
async fn a_new_directory_needs_no_slash() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    let output = lab.home.path().join("new/dir");
    let arguments = ["--uri-env", "TEST_URI", "--database", "shop", "--output", output.to_str().expect("UTF-8")];
    let ended = Ended::of(lab.command(&server.uri(), &arguments).output().expect("runs"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let document: Value = ended.document();
    assert!(
        document["facts"]["backup"]["file"].as_str().is_some_and(|file| file.contains("/new/dir/shop-")),
        "{document}"
    );
}

#[tokio::test]
async fn a_check_of_a_restore_takes_long_names_and_leaves_nothing() {
    let server = Server::start();
    let client = server.client().await;
    let long = "x".repeat(248);
    let insert = doc! {"insert": &long, "documents": [{"_id": 1}]};
    client.database("shop").run_command(insert).await.expect("inserted");
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &["--restore-check"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// With the role `restore` one may drop collections, and no databases.
#[test]
fn a_check_that_may_not_drop_its_database_drops_what_is_in_it() {
    let scratch = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = std::sync::Arc::clone(&scratch);
    let fake = Fake::start(move |name, command| {
        let mut scratch = seen.lock().expect("scratch");
        let in_scratch = command.get_str("$db").is_ok_and(|db| db.starts_with("cm_check"));
        let about = command.get_str(name).unwrap_or_default().to_owned();
        match name {
            "listCollections" if in_scratch => {
                let all: Vec<_> = scratch.iter().map(|name| (name.as_str(), 1)).collect();
                Some(listing(&all))
            }
            "listCollections" => Some(listing(&[("orders", 1)])),
            "create" => {
                scratch.push(about);
                Some(rawdoc! {"ok": 1})
            }
            "drop" => {
                scratch.retain(|name| *name != about);
                Some(rawdoc! {"ok": 1})
            }
            "dropDatabase" => {
                Some(rawdoc! {"ok": 0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized"})
            }
            "find" => Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 1}])),
            "count" => Some(rawdoc! {"n": 1, "ok": 1}),
            "insert" | "createIndexes" => Some(rawdoc! {"ok": 1, "n": 1}),
            _ => None,
        }
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &["--restore-check"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(*scratch.lock().expect("scratch"), Vec::<String>::new());
}
