//! The last part of a restore, when collections change their names: whatever fails or dies there,
//! the database is as it was, or as it was restored, after the next run at the latest.
//!
//! `CM_RESTORE_KILLS` is how often the program is killed at a moment of the swap (default 3),
//! `CM_RESTORE_DEAD_SERVERS` how often the server is (default 1), `CM_SEED` repeats a draw.

use crate::support::data::{raw, shape};
use crate::support::{Ended, Lab, Server};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use cm_archive::{Entry, Kind, Prelude, Writer};
use mongodb::Client;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// One entry of an archive that a test makes: name, kind, options, documents.
type Part<'a> = (&'a str, Kind, Document, Vec<RawDocumentBuf>);

fn archive(lab: &Lab, name: &str, parts: &[Part<'_>]) -> PathBuf {
    let entry = |(name, kind, options, _): &Part<'_>| Entry {
        db: "shop".to_owned(),
        collection: (*name).to_owned(),
        metadata: format!(
            r#"{{"options":{},"indexes":[]}}"#,
            bson::Bson::from(options.clone()).into_canonical_extjson()
        ),
        kind: *kind,
        in_buckets: false,
    };
    let prelude = Prelude {
        server_version: "7.0.0".to_owned(),
        tool_version: "100.9.4".to_owned(),
        concurrent_collections: 1,
        entries: parts.iter().map(entry).collect(),
    };
    let mut writer = Writer::start(Vec::new(), &prelude).expect("started");
    for (index, (.., documents)) in parts.iter().enumerate() {
        writer.documents(index, documents.iter().map(|one| Ok(one.as_bytes()))).expect("written");
        writer.close(index).expect("closed");
    }
    let file = lab.home.path().join(name);
    std::fs::write(&file, writer.finish().expect("whole").0).expect("written");
    file
}

fn documents(word: &str, count: i32) -> Vec<RawDocumentBuf> {
    (0..count).map(|n| rawdoc! {"_id": n, "what": word}).collect()
}

/// Everything in `shop`: kinds, options, indexes, and all documents, those of `system.js` included.
async fn state(client: &Client) -> (BTreeMap<String, Document>, BTreeMap<String, Vec<Vec<u8>>>) {
    let shape = shape(client, "shop").await;
    let mut all = BTreeMap::new();
    for name in shape.keys().map(String::as_str).chain(["system.js"]) {
        all.insert(name.to_owned(), raw(client, name).await);
    }
    (shape, all)
}

/// Collections of every kind, each of which the backup has as another one.
async fn every_kind(client: &Client) {
    let shop = client.database("shop");
    let series = doc! {"timeField": "at", "metaField": "where"};
    let commands = [
        doc! {"insert": "plain", "documents": [{"_id": 1, "what": "old"}]},
        doc! {"createIndexes": "plain", "indexes": [{"key": {"what": 1}, "name": "by_what", "unique": true}]},
        doc! {"insert": "becomes_view", "documents": [{"_id": 1, "what": "old"}, {"_id": 2, "what": "older"}]},
        doc! {"create": "ring", "capped": true, "size": 4096},
        doc! {"insert": "ring", "documents": [{"_id": 3}, {"_id": 1}, {"_id": 2}]},
        doc! {"create": "view", "viewOn": "plain", "pipeline": [{"$match": {"what": "old"}}]},
        doc! {"create": "view_too", "viewOn": "plain", "pipeline": []},
        doc! {"create": "series", "timeseries": series},
        doc! {"insert": "series", "documents": (0..50_i64).map(|n| {
            doc! {"at": bson::DateTime::from_millis(1_700_000_000_000 + n), "where": n % 3, "n": n}
        }).collect::<Vec<_>>()},
        doc! {"insert": "system.js", "documents": [{"_id": "f", "value": "old"}, {"_id": "g", "value": "old"}]},
    ];
    for command in commands {
        shop.run_command(command.clone()).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

fn other_kinds(refused: bool) -> Vec<Part<'static>> {
    let view = |pipeline: Document| doc! {"viewOn": "plain", "pipeline": [pipeline]};
    let mut parts = vec![
        ("becomes_view", Kind::View, view(doc! {"$match": {"what": "new"}}), vec![]),
        ("plain", Kind::Collection, doc! {}, documents("new", 3)),
        ("ring", Kind::Collection, doc! {"capped": true, "size": 8192}, documents("new", 2)),
        ("series", Kind::Collection, doc! {}, documents("new", 2)),
        ("system.js", Kind::Collection, doc! {}, vec![rawdoc! {"_id": "f", "value": "new"}]),
        ("view", Kind::Collection, doc! {}, documents("new", 4)),
        ("view_too", Kind::View, view(doc! {"$match": {"_id": 1}}), vec![]),
    ];
    if refused {
        parts.push(("zz", Kind::View, doc! {"viewOn": "plain", "pipeline": [{"$thereIsNoSuchStage": 1}]}, vec![]));
    }
    parts
}

#[tokio::test]
async fn a_restore_that_fails_at_its_last_view_gives_every_kind_its_name_back() {
    let server = Server::start();
    let client = server.client().await;
    every_kind(&client).await;
    let before = state(&client).await;
    let lab = Lab::new();
    let file = archive(&lab, "bad.archive", &other_kinds(true));
    let ended = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert!(ended.stderr.contains("shop.zz could not get its name"), "{}", ended.stderr);
    assert!(ended.stderr.contains("given its name back: nothing was changed"), "{}", ended.stderr);
    let after = state(&client).await;
    assert_eq!(after.0, before.0);
    assert!(after.1 == before.1, "documents differ");
}

#[tokio::test]
async fn any_kind_replaces_any_other_and_the_dry_run_says_so() {
    let server = Server::start();
    let client = server.client().await;
    every_kind(&client).await;
    let lab = Lab::new();
    let file = archive(&lab, "good.archive", &other_kinds(false));
    let before = state(&client).await;
    let dry = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    for line in [
        "shop.becomes_view: is a view, and replaces the collection that is there",
        "shop.series: is a collection, and replaces the time series that is there",
        "shop.view: is a collection, and replaces the view that is there",
        "shop.view_too: replaces the one that is there",
    ] {
        assert!(dry.stderr.contains(line), "{line}: {}", dry.stderr);
    }
    assert!(state(&client).await == before, "a dry run changed something");

    let ended = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let (shape, all) = state(&client).await;
    let kind = |name: &str| shape[name].get_str("type").expect("a type").to_owned();
    for (name, kind_of_it, count) in [
        ("becomes_view", "view", 3),
        ("plain", "collection", 3),
        ("ring", "collection", 2),
        ("series", "collection", 2),
        ("view", "collection", 4),
        ("view_too", "view", 1),
    ] {
        assert_eq!((kind(name).as_str(), all[name].len()), (kind_of_it, count), "{name}");
    }
    assert_eq!(all["system.js"], [rawdoc! {"_id": "f", "value": "new"}.as_bytes().to_vec()]);
    assert_eq!(shape.len(), 6, "{:?}", shape.keys());
}

/// How many collections change their names in the tests of crashes.
const MANY: usize = 12;

fn name(n: usize) -> String {
    format!("c{n:02}")
}

/// The word in each of the collections: all of them have the same one, or something is lost.
async fn words(client: &Client) -> Vec<String> {
    let mut words = Vec::new();
    for n in 0..MANY {
        let collection = client.database("shop").collection::<Document>(&name(n));
        let count = collection.count_documents(doc! {}).await.expect("counted");
        let one = collection.find_one(doc! {}).await.expect("found");
        let word = one.map_or("nothing".to_owned(), |one| one.get_str("what").expect("a word").to_owned());
        words.push(format!("{count} {word}"));
    }
    words.dedup();
    words
}

async fn set_all(client: &Client) {
    for n in 0..MANY {
        let collection = client.database("shop").collection::<Document>(&name(n));
        collection.drop().await.expect("dropped");
        collection.insert_many((0..20).map(|n| doc! {"_id": n, "what": "old"})).await.expect("inserted");
    }
}

/// Waits until a restore has written its journal: collections are about to change their names. On
/// a busy machine that may be over before it is seen.
async fn wait_for_the_swap(client: &Client, running: &mut Child) {
    while running.try_wait().expect("ours").is_none() {
        let names = client.database("shop").list_collection_names().await.expect("listed");
        if names.iter().any(|name| name.ends_with(".journal")) {
            return;
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Two archives: one that replaces all, and one of something else that comes after a crash.
fn archives(lab: &Lab) -> (PathBuf, PathBuf) {
    let names: Vec<_> = (0..MANY).map(name).collect();
    let parts: Vec<_> =
        names.iter().map(|name| (name.as_str(), Kind::Collection, doc! {}, documents("new", 30))).collect();
    let all = archive(lab, "all.archive", &parts);
    (all, archive(lab, "other.archive", &[("other", Kind::Collection, doc! {}, documents("other", 1))]))
}

/// The next run, which restores something else, and finds all old or all new.
async fn check_recovery(server: &Server, lab: &Lab, other: &Path, round: &str) -> String {
    let client = server.client().await;
    let ended = lab.restore(&server.uri(), other, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{round}: {}", ended.stderr);
    let words = words(&client).await;
    let became = match (ended.stderr.contains("it was undone"), ended.stderr.contains("had brought everything back")) {
        (true, false) => "undone",
        (false, true) => "finished",
        (false, false) => "nothing",
        (true, true) => panic!("{round}: both? {}", ended.stderr),
    };
    match became {
        "undone" => assert_eq!(words, ["20 old"], "{round}: {}", ended.stderr),
        "finished" => assert_eq!(words, ["30 new"], "{round}: {}", ended.stderr),
        _ => assert!(words == ["20 old"] || words == ["30 new"], "{round}: {words:?}"),
    }
    let names = client.database("shop").list_collection_names().await.expect("listed");
    assert!(names.iter().all(|name| !name.starts_with("cm_restore.")), "{round}: {names:?}: {}", ended.stderr);
    became.to_owned()
}

/// A small generator, so that a draw can be repeated.
fn draws() -> impl FnMut(u64) -> u64 {
    let mut state = number("CM_SEED", u64::from(std::process::id())).wrapping_mul(2_654_435_761) | 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below.max(1)
    }
}

#[tokio::test]
async fn a_restore_that_is_killed_amid_its_swap_is_undone_or_finished_by_the_next_run() {
    let server = Server::start();
    let client = server.client().await;
    let lab = Lab::new();
    let (all, other) = archives(&lab);
    let mut draw = draws();
    let mut ends = BTreeMap::<String, u64>::new();
    for round in 0..number("CM_RESTORE_KILLS", 3) {
        set_all(&client).await;
        let mut running =
            lab.restore_command(&server.uri(), &all, &["--drop", "--confirm=shop"]).spawn().expect("runs");
        wait_for_the_swap(&client, &mut running).await;
        let after = draw(120);
        tokio::time::sleep(Duration::from_millis(after)).await;
        let _ended_already = running.kill();
        running.wait().expect("ours");
        if client
            .database("shop")
            .list_collection_names()
            .await
            .expect("listed")
            .iter()
            .any(|name| name.ends_with(".journal"))
        {
            // A backup of what is partway would look like one of what was.
            lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.restore-unfinished", &lab);
        }
        let became = check_recovery(&server, &lab, &other, &format!("round {round}, killed after {after} ms")).await;
        *ends.entry(became).or_default() += 1;
    }
    assert!(ends.contains_key("undone") || ends.values().sum::<u64>() < 20, "never amid the swap: {ends:?}");
}

#[tokio::test]
async fn a_server_that_dies_amid_a_swap_is_put_right_by_the_next_run() {
    let mut server = Server::start();
    let lab = Lab::new();
    let (all, other) = archives(&lab);
    let mut draw = draws();
    for round in 0..number("CM_RESTORE_DEAD_SERVERS", 1) {
        let client = server.client().await;
        set_all(&client).await;
        let mut running =
            lab.restore_command(&server.uri(), &all, &["--drop", "--confirm=shop"]).spawn().expect("runs");
        wait_for_the_swap(&client, &mut running).await;
        let after = draw(100);
        tokio::time::sleep(Duration::from_millis(after)).await;
        server.kill();
        let ended = Ended::of(running.wait_with_output().expect("ended"));
        server.restart();
        let became = check_recovery(&server, &lab, &other, &format!("round {round}, dead after {after} ms")).await;
        // The tests' server forgets what it has acknowledged last, which mongod does not when it is asked for `j`.
        let said_so = ended.code == 0 || ended.stderr.contains("partway");
        assert!(said_so || became == "nothing", "{became}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn an_index_compares_as_it_did_in_a_collection_that_compares_otherwise() {
    let server = Server::start();
    let client = server.client().await;
    let shop = client.database("shop");
    let commands = [
        doc! {"create": "names", "collation": {"locale": "en", "strength": 1}},
        doc! {"createIndexes": "names", "indexes": [
            {"key": {"name": 1}, "name": "exact", "unique": true, "collation": {"locale": "simple"}},
        ]},
        // The same for the collection, not for the index.
        doc! {"insert": "names", "documents": [{"_id": 1, "name": "a"}, {"_id": 2, "name": "A"}]},
    ];
    for command in commands {
        shop.run_command(command.clone()).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &["--restore-check"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = lab.restore(&server.uri(), &lab.backup(), &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(raw(&client, "names").await.len(), 2);
    let third =
        shop.run_command(doc! {"insert": "names", "documents": [{"_id": 3, "name": "á"}]}).await.expect("inserted");
    assert!(third.get_array("writeErrors").is_err(), "{third}");
}
