//! Restores: everything comes back as it was, and whatever goes wrong changes nothing.

use crate::support::data::{fill, furnish, raw, raw_of, shape};
use crate::support::{Ended, Lab, Relay, Server};
use bson::{Document, doc};
use cm_archive::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cm-archive/tests/data").join(name)
}

async fn names(client: &mongodb::Client, database: &str) -> Vec<String> {
    let mut names = client.database(database).list_collection_names().await.expect("listed");
    names.retain(|name| !name.starts_with("system."));
    names.sort();
    names
}

#[tokio::test]
async fn everything_comes_back_in_another_database() {
    for server in [Server::start(), Server::standalone()] {
        let client = server.client().await;
        furnish(&client).await;
        let lab = Lab::new();
        assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
        let ended = lab.restore(&server.uri(), &lab.backup(), &["--db", "shop2", "--json"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        for name in names(&client, "shop").await {
            assert!(raw_of(&client, "shop2", &name).await == raw(&client, &name).await, "{name} differs");
        }
        assert_eq!(shape(&client, "shop2").await, shape(&client, "shop").await);
        assert_eq!(ended.document()["documents"], 3011);
        assert_eq!(ended.document()["proved"], "complete");
        let order: Vec<_> = raw_order(&client, "shop2", "ring").await;
        assert_eq!(order, (0..9).collect::<Vec<_>>(), "a capped collection keeps its order");
    }
}

async fn raw_order(client: &mongodb::Client, database: &str, collection: &str) -> Vec<i32> {
    let mut cursor = client.database(database).collection::<Document>(collection).find(doc! {}).await.expect("found");
    let mut ids = Vec::new();
    while cursor.advance().await.expect("more") {
        ids.push(cursor.current().get_i32("_id").expect("a number"));
    }
    ids
}

#[tokio::test]
async fn a_database_that_is_used_is_replaced_only_when_its_name_is_confirmed() {
    let server = Server::start();
    let client = server.client().await;
    furnish(&client).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let (orders_before, shape_before) = (raw(&client, "orders").await, shape(&client, "shop").await);

    let shop = client.database("shop");
    shop.collection::<Document>("orders").delete_many(doc! {"_id": {"$gt": 5}}).await.expect("deleted");
    shop.collection::<Document>("orders").insert_one(doc! {"_id": "new"}).await.expect("inserted");
    shop.run_command(doc! {"drop": "few"}).await.expect("dropped");
    shop.collection::<Document>("later").insert_one(doc! {"_id": 1}).await.expect("inserted");
    let changed = raw(&client, "orders").await;

    for extra in [&["--drop"][..], &["--drop", "--confirm", "shap"], &["--drop", "--confirm=shop", "--dry-run"]] {
        let ended = lab.restore(&server.uri(), &lab.backup(), extra);
        let dry = extra.contains(&"--dry-run");
        assert_eq!(ended.code, if dry { 0 } else { 2 }, "{extra:?}: {}", ended.stderr);
        if !dry {
            ended.refuses(2, "restore.unconfirmed", "pass --confirm=shop to proceed");
        }
        assert!(raw(&client, "orders").await == changed, "{extra:?} changed something");
    }
    let ended = lab.restore(&server.uri(), &lab.backup(), &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("left as they are: shop.later"), "{}", ended.stderr);
    assert!(raw(&client, "orders").await == orders_before);
    assert_eq!(raw(&client, "later").await.len(), 1);
    shop.run_command(doc! {"drop": "later"}).await.expect("dropped");
    assert_eq!(shape(&client, "shop").await, shape_before);
}

#[tokio::test]
async fn documents_that_are_there_already_are_counted_and_fail() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 100).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let orders = client.database("shop").collection::<Document>("orders");
    orders.delete_many(doc! {"_id": {"$lt": 30}}).await.expect("deleted");
    let ended = lab.restore(&server.uri(), &lab.backup(), &["--confirm=shop"]);
    ended.refuses(21, "restore.documents", "70 of 100 documents could not be inserted");
    assert!(ended.stderr.contains("uplicate"), "{}", ended.stderr);
    assert_eq!(raw(&client, "orders").await.len(), 100, "what was missing was added");
}

#[tokio::test]
async fn a_file_that_does_not_verify_changes_nothing() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 500).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let backup = lab.backup();
    let bytes = std::fs::read(&backup).expect("there");
    client
        .database("shop")
        .collection::<Document>("orders")
        .delete_many(doc! {"_id": {"$gt": 5}})
        .await
        .expect("deleted");
    let mut flipped = bytes.clone();
    let middle = flipped.len() - 40;
    flipped[middle] ^= 1;
    for damaged in [&bytes[..bytes.len() - 9], &flipped, b"no archive"] {
        std::fs::write(&backup, damaged).expect("written");
        let ended = lab.restore(&server.uri(), &backup, &["--drop", "--confirm=shop"]);
        assert_eq!(ended.code, 21, "{}", ended.stderr);
        assert_eq!((raw(&client, "orders").await.len(), names(&client, "shop").await.len()), (6, 1));
    }
    // Intact, but nothing says what should be in it.
    std::fs::write(&backup, &bytes).expect("written");
    let manifest = format!("{}.manifest.json", backup.display());
    std::fs::rename(&manifest, lab.home.path().join("elsewhere.json")).expect("moved");
    let strict = lab.restore(&server.uri(), &backup, &["--db", "other", "--strict"]);
    strict.refuses(21, "backup.no-manifest", "--manifest FILE");
    let ended = lab.restore(&server.uri(), &backup, &["--db", "other"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("completeness not verified"), "{}", ended.stderr);
    // Another backup's manifest, which wants more.
    let mut wrong: Value =
        serde_json::from_slice(&std::fs::read(lab.home.path().join("elsewhere.json")).expect("there")).expect("JSON");
    wrong["documents"] = 501.into();
    std::fs::write(lab.home.path().join("wrong.json"), wrong.to_string()).expect("written");
    let ended = lab.restore(&server.uri(), &backup, &["--db", "third", "--manifest", "wrong.json"]);
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert_eq!(names(&client, "third").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_leaves_what_was_there() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 65_000).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let before = raw(&client, "orders").await.len();
    let relay = Relay::amid_a_restore(server.port);
    let file = lab.backup();
    let arguments = ["restore", file.to_str().expect("UTF-8"), "--uri-env", "TEST_URI", "--drop", "--confirm=shop"];
    let running = lab.command(&relay.uri(), &arguments).spawn().expect("runs");
    let filled = wait_for_a_filled_collection(&client).await;
    relay.cut();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert_eq!(raw(&client, "orders").await.len(), before);
    assert_eq!(names(&client, "shop").await, [filled.clone(), "orders".to_owned()]);

    // That one has ended, which the next one sees.
    let ended = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("removed shop.{filled}")), "{}", ended.stderr);
    assert_eq!(names(&client, "shop").await, ["orders"]);
}

#[tokio::test]
async fn an_interrupted_restore_takes_back_what_it_did_and_a_killed_one_is_cleaned_up_by_the_next() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 65_000).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let (file, before) = (lab.backup(), raw(&client, "orders").await.len());
    let arguments = ["restore", file.to_str().expect("UTF-8"), "--uri-env", "TEST_URI", "--drop", "--confirm=shop"];
    let start = || {
        let relay = Relay::amid_a_restore(server.port);
        (lab.command(&relay.uri(), &arguments).spawn().expect("runs"), relay)
    };

    let (running, relay) = start();
    wait_for_a_filled_collection(&client).await;
    // Another one leaves what belongs to one that runs alone.
    let refused = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop"]);
    refused.refuses(2, "restore.unfinished", "belongs to another restore");
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("ours");
    relay.go_on();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert_eq!((raw(&client, "orders").await.len(), names(&client, "shop").await.len()), (before, 1));

    let (mut running, _relay) = start();
    let filled = wait_for_a_filled_collection(&client).await;
    running.kill().expect("ours");
    running.wait().expect("ours");
    assert!(names(&client, "shop").await.contains(&filled));
    let ended = lab.restore(&server.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!((raw(&client, "orders").await.len(), names(&client, "shop").await.len()), (before, 1));
}

/// The databases of rehearsals.
async fn scratch_databases(client: &mongodb::Client) -> Vec<String> {
    let mut names = client.list_database_names().await.expect("listed");
    names.retain(|name| name.starts_with("cm_check"));
    names
}

#[tokio::test]
async fn a_backup_is_rehearsed_again_whenever_it_is_verified() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 65_000).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let backup = lab.backup();
    let check_at = |uri: &str, file: &Path| {
        let arguments = ["verify", file.to_str().expect("UTF-8"), "--restore-check", "--uri-env", "TEST_URI"];
        lab.command(uri, &arguments)
    };
    let check = |file: &Path| check_at(&server.uri(), file);
    for file in [backup.clone(), golden("all-databases.archive.gz"), golden("platform.dir")] {
        let ended = Ended::of(check(&file).output().expect("runs"));
        assert_eq!(ended.code, 0, "{}: {}", file.display(), ended.stderr);
        assert!(ended.stderr.contains("document by document"), "{}", ended.stderr);
        assert_eq!(scratch_databases(&client).await, Vec::<String>::new());
    }
    let ended = lab.run(&["verify", "-", "--restore-check", "--uri-env", "TEST_URI"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);

    // One that is killed leaves its database, which the next one removes; Ctrl-C leaves nothing.
    for (signal, left) in [(rustix::process::Signal::INT, 0), (rustix::process::Signal::KILL, 1)] {
        let relay = Relay::amid_a_restore(server.port);
        let mut running = check_at(&relay.uri(), &backup).spawn().expect("runs");
        relay.wait_until_reached();
        let pid = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process(pid, signal).expect("ours");
        relay.go_on();
        running.wait().expect("ended");
        assert_eq!(scratch_databases(&client).await.len(), left, "{signal:?}");
    }
    let ended = Ended::of(check(&backup).output().expect("runs"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("left by a crashed check"), "{}", ended.stderr);
    assert_eq!(scratch_databases(&client).await, Vec::<String>::new());
}

/// Waits until a restore has put documents somewhere.
async fn wait_for_a_filled_collection(client: &mongodb::Client) -> String {
    for _ in 0..12_000 {
        let found = names(client, "shop").await.into_iter().find(|name| name.starts_with("cm_restore."));
        if let Some(name) = found
            && client
                .database("shop")
                .run_command(doc! {"count": &name})
                .await
                .expect("counted")
                .get_i32("n")
                .is_ok_and(|n| n > 0)
        {
            return name;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the restore never began");
}

#[tokio::test]
async fn one_collection_goes_where_the_patterns_say() {
    let server = Server::start();
    let client = server.client().await;
    furnish(&client).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let extra = ["--collection", "orders", "--ns-from", "shop.*", "--ns-to", "old.was_*"];
    let ended = lab.restore(&server.uri(), &lab.backup(), &extra);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(names(&client, "old").await, ["was_orders"]);
    assert!(raw_of(&client, "old", "was_orders").await == raw(&client, "orders").await);
    let ended = lab.restore(&server.uri(), &lab.backup(), &["--collection", "nope"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[tokio::test]
async fn what_mongodump_wrote_is_restored_to_the_documents_that_went_in() {
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(golden("manifest.json")).expect("there")).expect("JSON");
    for name in ["platform.archive", "platform.archive.gz", "all-databases.archive.gz", "platform.dir"] {
        let server = Server::start();
        let client = server.client().await;
        let lab = Lab::new();
        let ended = lab.restore(&server.uri(), &golden(name), &[]);
        assert_eq!(ended.code, 0, "{name}: {}", ended.stderr);
        let wanted = manifest.as_object().expect("an object").iter();
        let wanted = wanted.filter(|(namespace, _)| name.starts_with("all") || namespace.starts_with("platform."));
        for (namespace, want) in wanted {
            let (database, collection) = namespace.split_once('.').expect("a namespace");
            let documents = raw_of(&client, database, collection).await;
            assert_eq!(documents.len() as u64, want["documents"], "{name}: {namespace}");
            let sum = hex(&Sha256::digest(documents.concat()));
            assert_eq!(sum, want["sha256_of_sorted_documents"].as_str().expect("text"), "{name}: {namespace}");
            let shape = shape(&client, database).await;
            let have = shape[collection].get_array("indexes").expect("indexes").iter();
            let mut have: Vec<_> = have
                .map(|index| index.as_document().expect("one").get_str("name").expect("a name").to_owned())
                .collect();
            have.sort();
            assert_eq!(want["indexes"], serde_json::json!(have), "{name}: {namespace}");
        }
    }
}

#[tokio::test]
async fn a_restore_is_rehearsed_and_leaves_nothing() {
    let server = Server::start();
    let client = server.client().await;
    furnish(&client).await;
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &["--restore-check"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("to compare"), "{}", ended.stderr);
    let mut left = client.list_database_names().await.expect("listed");
    left.retain(|name| name.starts_with("cm_check"));
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn an_archive_of_another_database_is_restored_only_where_somebody_named_it() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 10).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let uri = format!("mongodb://127.0.0.1:{}/other?directConnection=true", server.port);
    client.database("shop").drop().await.expect("dropped");
    lab.restore(&uri, &lab.backup(), &[]).refuses(2, "restore.other-database", "--confirm=shop");
    assert_eq!(names(&client, "shop").await, Vec::<String>::new());
    for (extra, database) in [(&["--confirm=shop"][..], "shop"), (&["--db", "other"], "other")] {
        let ended = lab.restore(&uri, &lab.backup(), extra);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(names(&client, database).await, ["orders"]);
    }
}

#[tokio::test]
async fn indexes_of_long_ago_are_converted_or_left_out() {
    let server = Server::start();
    let client = server.client().await;
    let lab = Lab::new();
    let directory = lab.home.path().join("shop");
    std::fs::create_dir(&directory).expect("a directory");
    let metadata = r#"{"options":{"create":"orders","capped":false},"indexes":[
        {"v":0,"key":{"_id":1},"name":"_id_","ns":"shop.orders"},
        {"v":0,"key":{"a":"","b":true,"c":0},"name":"old","ns":"shop.orders","dropDups":true}]}"#;
    std::fs::write(directory.join("orders.metadata.json"), metadata).expect("written");
    std::fs::write(directory.join("orders.bson"), bson::serialize_to_vec(&doc! {"_id": 1}).expect("BSON"))
        .expect("written");
    // The directory, and the one file with what is alongside it.
    for file in [directory.clone(), directory.join("orders.bson")] {
        for (extra, indexes) in [(&["--convert-legacy-indexes"][..], 2), (&["--skip-indexes"], 1)] {
            let arguments: Vec<_> = ["--drop", "--confirm=shop"].iter().chain(extra).copied().collect();
            let ended = lab.restore(&server.uri(), &file, &arguments);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            let shape = shape(&client, "shop").await;
            assert_eq!(shape["orders"].get_array("indexes").expect("indexes").len(), indexes, "{extra:?}: {shape:?}");
        }
    }
}

/// What a server's `tar` may write instead of a dump, by a shell in an empty directory; `$1` is the laptop's home. Each with what is
/// said of it.
const HOSTILE: [(&str, &str); 7] = [
    (
        r#"ln -s "$1/secret" users.metadata.json; : >users.bson; tar -cf - ."#,
        "users.metadata.json is not a regular file",
    ),
    (
        r#"echo x >a; ln a users.metadata.json; tar -cPf - --transform="s,^a$,$1/secret,RS" a users.metadata.json"#,
        "users.metadata.json",
    ),
    (r#"echo x >a; ln a users.bson; tar -cf - a users.bson"#, "is not a regular file"),
    (r#"echo x >users.bson; tar -cPf - --transform="s,^users.bson$,$1/victim," users.bson"#, ""),
    (r#"echo x >users.bson; tar -cPf - --transform="s,^users.bson$,../../../../../..$1/victim," users.bson"#, ""),
    (r#"ln -s "$1" d; tar -cf x.tar d; rm d; mkdir d; echo x >d/victim; tar -rf x.tar d/victim; cat x.tar"#, ""),
    (r#"mkfifo users.bson; tar -cf - users.bson"#, "users.bson is not a regular file"),
];

/// A server decides what it sends: a file of the laptop becomes nobody's backup, none is written outside of the copy, nothing is waited
/// for, and the copy is removed.
#[test]
fn what_a_host_sends_for_a_directory_is_regular_files_or_refused() {
    for (script, said) in HOSTILE {
        let mut lab = Lab::new();
        let home = lab.home.path().to_owned();
        std::fs::write(home.join("secret"), "planted").expect("written");
        for directory in ["evil", "dump/shop", "tmp"] {
            std::fs::create_dir_all(home.join(directory)).expect("a directory");
        }
        let config = "project = \"shop\"\n[hosts.far]\naddress = \"local\"\n";
        std::fs::write(home.join("cm.toml"), config).expect("written");
        std::fs::write(home.join("compose.yml"), "services: {mongodb: {image: mongo}}").expect("written");
        let made = std::process::Command::new("sh")
            .args(["-ec", script, "sh", &home.display().to_string()])
            .current_dir(home.join("evil"))
            .output()
            .expect("sh");
        assert!(made.status.success() && !made.stdout.is_empty(), "{script}: {made:?}");
        std::fs::write(home.join("evil.tar"), made.stdout).expect("written");
        let real = ["/bin/tar", "/usr/bin/tar"].into_iter().find(|path| Path::new(path).exists()).expect("tar");
        let tar = home.join("evil.tar").display().to_string();
        lab.replace_program("tar", &format!("case \"$*\" in *\" -T -\"*) exec cat {tar} ;; esac\nexec {real} \"$@\""));
        let file = format!("far:{}", home.join("dump/shop").display());
        let mut command = lab.command("mongodb://127.0.0.1:1/", &["restore", &file, "--uri-env", "TEST_URI"]);
        let ended = Ended::of(command.env("CM_LOG", "json").env("TMPDIR", home.join("tmp")).output().expect("runs"));
        assert!(ended.code == 21 && ended.stderr.contains(said), "{script}: {} {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("planted"), "{script}: {}", ended.stderr);
        assert!(!home.join("victim").exists(), "{script}: {}", ended.stderr);
        assert_eq!(std::fs::read_to_string(home.join("secret")).expect("there"), "planted", "{script}");
        let left = std::fs::read_dir(home.join("tmp")).expect("there").count();
        assert_eq!(left, 0, "{script}");
    }
}
