//! The users and roles of a database: in the backup where they may be read, and back only when
//! they are asked for, alongside those that are there.

use crate::support::data::{fill, raw};
use crate::support::fake::{Fake, cursor};
use crate::support::{Ended, Lab, Server};
use bson::{Bson, Document, RawDocumentBuf, doc, rawdoc};
use cm_archive::verify::read_documents;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn manifest(lab: &Lab) -> Value {
    let path = format!("{}.manifest.json", lab.backup().display());
    serde_json::from_slice(&std::fs::read(path).expect("there")).expect("JSON")
}

/// The documents of one entry of a backup.
fn entry(file: &Path, collection: &str) -> Vec<Document> {
    let mut found = Vec::new();
    let file = File::open(file).expect("a backup");
    let contents = read_documents(file, |index, bytes| found.push((index, bytes.to_vec()))).expect("intact");
    let at = contents.prelude.entries.iter().position(|entry| entry.collection == collection);
    let ours = found.into_iter().filter(|(index, _)| Some(*index) == at);
    ours.map(|(_, bytes)| Document::from_reader(&bytes[..]).expect("a document")).collect()
}

async fn make_users(client: &mongodb::Client) {
    let clerk = doc! {
        "createRole": "clerk", "roles": [],
        "privileges": [{"resource": {"db": "shop", "collection": "orders"}, "actions": ["find"]}],
    };
    client.database("shop").run_command(clerk).await.expect("a role");
    for (name, roles) in [("ada", vec!["clerk", "readWrite"]), ("bob", vec!["read"])] {
        let user = doc! {"createUser": name, "pwd": format!("planted-{name}"), "roles": roles};
        client.database("shop").run_command(user).await.expect("a user");
    }
    let root = doc! {"createUser": "root", "pwd": "planted-root", "roles": [{"role": "root", "db": "admin"}]};
    client.database("admin").run_command(root).await.expect("a user");
}

#[tokio::test]
async fn users_and_roles_are_in_the_backup_where_they_may_be_read() {
    let mut server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 20).await;
    make_users(&client).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    assert_eq!(manifest(&lab)["users_and_roles"], json!({"users": 2, "roles": 1}));
    let users = entry(&lab.backup(), "$admin.system.users");
    let names: Vec<_> = users.iter().map(|user| user.get_str("_id").expect("an id")).collect();
    assert_eq!(names, ["shop.ada", "shop.bob"], "those of the database, and no others");
    let scram = users[0].get_document("credentials").and_then(|all| all.get_document("SCRAM-SHA-256"));
    assert!(scram.expect("credentials").get_str("storedKey").is_ok_and(|key| !key.is_empty()));
    let roles = entry(&lab.backup(), "$admin.system.roles");
    assert_eq!(roles[0].get_array("privileges").expect("privileges").len(), 1);
    assert!(
        !roles[0].contains_key("inheritedPrivileges") && !users[0].contains_key("mechanisms"),
        "as they are stored"
    );
    let path = lab.backup().display().to_string();
    assert_eq!(lab.run(&["verify", &path, "--strict"]).code, 0);

    // Without the flag they are left alone; with it, those that are there stay as they are.
    let ended = lab.restore(&server.uri(), &lab.backup(), &["--db", "other"]);
    assert!(ended.code == 0 && ended.stderr.contains("come back with --users-and-roles only"), "{}", ended.stderr);
    let extra = ["--drop", "--confirm=shop", "--users-and-roles", "--json"];
    let ended = lab.restore(&server.uri(), &lab.backup(), &extra);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("users that exist stay as they are: shop.ada, shop.bob"), "{}", ended.stderr);
    assert_eq!((&ended.document()["users"], &ended.document()["roles"]), (&json!([]), &json!([])));

    // This server takes none from a backup: then nothing is changed at all.
    let other = Server::start();
    let ended = lab.restore(&other.uri(), &lab.backup(), &["--users-and-roles"]);
    ended.refuses(21, "restore.users", "this server takes none from a backup");
    let there = other.client().await;
    assert_eq!(there.database("shop").list_collection_names().await.expect("listed"), Vec::<String>::new());
    let left = there.database("admin").list_collection_names().await.expect("listed");
    assert!(!left.iter().any(|name| name.starts_with("cm_restore")), "{left:?}");
    let ended = lab.restore(&other.uri(), &lab.backup(), &["--users-and-roles", "--db", "shop2"]);
    ended.refuses(2, "restore.users-renamed", "--users-and-roles");

    // Who may only read the data gets a backup without them, and is told.
    server.restart_with_auth();
    let uri = format!("mongodb://bob:planted-bob@127.0.0.1:{}/?authSource=shop&directConnection=true", server.port);
    let lab = Lab::new();
    let ended = lab.back_up(&uri, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let why = manifest(&lab)["users_and_roles"]["missing"].as_str().expect("a reason").to_owned();
    assert!(why.contains("may not read them") && ended.stderr.contains(&why), "{why}");
    assert!(!ended.stderr.contains("planted-"));
    assert_eq!(ended.document()["facts"]["backup"]["namespaces"], 1);
    let ended = lab.restore(&other.uri(), &lab.backup(), &["--users-and-roles"]);
    ended.refuses(2, "restore.no-users", "no users and no roles");
    assert_eq!(raw(&there, "orders").await.len(), 0);
}

fn user(name: &str) -> RawDocumentBuf {
    rawdoc! {
        "_id": format!("shop.{name}"), "user": name, "db": "shop", "roles": [{"role": "read", "db": "shop"}],
        "credentials": {"SCRAM-SHA-256": {"iterationCount": 15000, "storedKey": format!("planted-{name}")}},
    }
}

/// A server as mongod is: it stores users where a backup may read them, and takes those of a restore
/// from a collection on the way.
#[tokio::test]
async fn only_users_that_are_not_there_are_added() {
    let server = Fake::start(|name, command| match name {
        "listCollections" => Some(cursor(0, "firstBatch", &[rawdoc! {"name": "orders", "type": "collection"}])),
        "find" => Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 1}])),
        "count" => Some(rawdoc! {"n": 1, "ok": 1}),
        "find in admin" => Some(match command.get_str("find").expect("a name") {
            "system.users" => cursor(0, "firstBatch", &[user("ada"), user("bob")]),
            "system.version" => cursor(0, "firstBatch", &[rawdoc! {"_id": "authSchema", "currentVersion": 5}]),
            _ => cursor(0, "firstBatch", &[]),
        }),
        _ => None,
    });
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let backup = lab.backup();
    assert_eq!(entry(&backup, "$admin.system.users").len(), 2);
    assert_eq!(entry(&backup, "$admin.system.version"), [doc! {"_id": "authSchema", "currentVersion": 5}]);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, merged) = (Arc::clone(&seen), Arc::new(Mutex::new(false)));
    let other = Fake::start(move |name, command| {
        asked.lock().expect("asked").push(command.clone());
        match name {
            "listCollections" => Some(cursor(0, "firstBatch", &[])),
            "usersInfo" => {
                let all =
                    if *merged.lock().expect("merged") { vec![user("ada"), user("bob")] } else { vec![user("ada")] };
                let mut answer = rawdoc! {"ok": 1};
                let mut users = bson::RawArrayBuf::new();
                all.into_iter().for_each(|user| users.push(user));
                answer.append(bson::raw::cstr!("users"), users);
                Some(answer)
            }
            "_mergeAuthzCollections" => {
                *merged.lock().expect("merged") = true;
                Some(rawdoc! {"ok": 1})
            }
            "insert" | "update" | "create" | "createIndexes" | "renameCollection" | "drop" => {
                Some(rawdoc! {"ok": 1, "n": 1})
            }
            _ => None,
        }
    });
    let ended = lab.restore(&other.uri(), &backup, &["--users-and-roles", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["users"], json!(["shop.bob"]));
    assert!(!ended.stderr.contains("planted-"), "{}", ended.stderr);
    let log = seen;
    let seen = log.lock().expect("seen").clone();
    let first = |name: &str| seen.iter().position(|command| command.keys().next().is_some_and(|key| key == name));
    let merge = first("_mergeAuthzCollections").expect("merged");
    let wanted = [
        ("tempUsersCollection", Bson::from("admin.cm_restore_users")),
        ("db", Bson::from("shop")),
        ("drop", Bson::from(false)),
    ];
    for (field, value) in wanted {
        assert_eq!(seen[merge].get(field), Some(&value), "{field}");
    }
    assert!(!seen[merge].contains_key("tempRolesCollection"), "{}", seen[merge]);
    let named = seen.iter().position(|command| command.get_str("to").is_ok_and(|to| to == "shop.orders"));
    assert!(named.is_some() && Some(merge) < named, "nothing has its name before the users are there");
    let on_the_way = |command: &&Document| command.values().any(|value| value.as_str() == Some("cm_restore_users"));
    let moved: Vec<_> = seen.iter().filter(on_the_way).collect();
    let words: Vec<_> = moved.iter().map(|command| command.keys().next().expect("a name").as_str()).collect();
    assert_eq!(words, ["drop", "insert", "drop"]);
    let inserted = moved[1].get_array("documents").expect("documents");
    assert_eq!(inserted.len(), 1);
    let bob = inserted[0].as_document().expect("bob");
    assert!(bson::serialize_to_vec(bob).expect("BSON") == user("bob").as_bytes(), "as it was: {bob}");

    // Nobody is missing now; what a run that died on the way may have left goes all the same.
    log.lock().expect("seen").clear();
    let again = lab.restore(&other.uri(), &backup, &["--users-and-roles", "--json"]);
    assert_eq!((again.code, &again.document()["users"]), (0, &json!([])), "{}", again.stderr);
    let seen = log.lock().expect("seen").clone();
    let words: Vec<_> =
        seen.iter().filter(on_the_way).map(|command| command.keys().next().expect("a name").as_str()).collect();
    assert_eq!(words, ["drop"]);
}

/// `restore` alone may fill and drop, and renames nothing: what would be replaced is as it was, and the role that is missing
/// is named. With `readWrite` on the database it is enough, and without `restore`, too.
#[tokio::test]
async fn a_user_with_the_role_restore_alone_hears_which_role_is_missing() {
    let mut server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 50).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    client
        .database("shop")
        .run_command(doc! {"insert": "orders", "documents": [{"_id": "later"}]})
        .await
        .expect("written");
    for (name, roles) in [
        ("root", vec![doc! {"role": "root", "db": "admin"}]),
        ("alone", vec![doc! {"role": "restore", "db": "admin"}]),
        ("renames", vec![doc! {"role": "restore", "db": "admin"}, doc! {"role": "dbAdmin", "db": "shop"}]),
        ("both", vec![doc! {"role": "restore", "db": "admin"}, doc! {"role": "readWrite", "db": "shop"}]),
        ("writes", vec![doc! {"role": "readWrite", "db": "shop"}]),
    ] {
        make_user(&client, name, roles).await;
    }
    server.restart_with_auth();
    let uri = |name: &str| uri_of(name, server.port);
    let root = mongodb::Client::with_uri_str(uri("root")).await.expect("a client");
    let count = async || {
        root.database("shop").collection::<Document>("orders").count_documents(doc! {}).await.expect("a count")
    };
    let names = async || root.database("shop").list_collection_names().await.expect("names");
    let extra = ["--drop", "--confirm=shop"];
    for user in ["alone", "renames"] {
        let refused = lab.restore(&uri(user), &lab.backup(), &extra);
        refused.refuses(21, "backup.not-allowed", "give the URI's user \\\"readWrite\\\"");
        assert!(
            !refused.stderr.contains("all documents are there"),
            "heard before anything is filled: {}",
            refused.stderr
        );
        assert_eq!(
            (count().await, names().await),
            (51, vec!["orders".to_owned()]),
            "nothing is changed, nothing is left"
        );
    }
    for user in ["both", "writes"] {
        root.database("shop")
            .run_command(doc! {"insert": "orders", "documents": [{"_id": user}]})
            .await
            .expect("written");
        let restored = lab.restore(&uri(user), &lab.backup(), &extra);
        assert_eq!(restored.code, 0, "{}", restored.stderr);
        assert_eq!((count().await, names().await), (50, vec!["orders".to_owned()]));
    }
}

async fn make_user(client: &mongodb::Client, name: &str, roles: Vec<Document>) {
    let user = doc! {"createUser": name, "pwd": format!("planted-{name}"), "roles": roles};
    client.database("admin").run_command(user).await.expect("a user");
}

/// The URI of one that [`make_user`] made.
fn uri_of(name: &str, port: u16) -> String {
    format!("mongodb://{name}:planted-{name}@127.0.0.1:{port}/?authSource=admin&directConnection=true")
}

/// Whatever role is missing, the one that is enough is named, and neither the database nor the directory is
/// other than before.
#[tokio::test]
async fn every_program_names_the_role_that_is_missing_and_leaves_nothing_partway() {
    let mut server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 50).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let admin = |role: &str| doc! {"role": role, "db": "admin"};
    let shop = |role: &str| doc! {"role": role, "db": "shop"};
    for (name, roles) in [
        ("root", vec![admin("root")]),
        ("backup", vec![admin("backup")]),
        ("restore", vec![admin("restore")]),
        ("both", vec![admin("backup"), admin("restore")]),
        ("anywhere", vec![admin("readWriteAnyDatabase")]),
        ("writes", vec![shop("readWrite")]),
        ("reads", vec![shop("read")]),
        ("elsewhere", vec![doc! {"role": "readWrite", "db": "other"}]),
        ("nobody", vec![]),
    ] {
        make_user(&client, name, roles).await;
    }
    server.restart_with_auth();
    let uri = |name: &str| uri_of(name, server.port);
    let root = mongodb::Client::with_uri_str(uri("root")).await.expect("a client");
    let (all, read, check) = ("", "\"backup\" on \"admin\", or \"read\" on \"shop\"", "--restore-check restores into");
    let (write, rename) = ("\"readWrite\" on the database", "give the URI's user \"readWrite\" on \"shop\", too");
    for (user, backup, checked, restore, tried) in [
        ("root", all, all, all, all),
        ("anywhere", all, all, all, all),
        ("both", all, all, rename, all),
        ("backup", all, check, write, check),
        ("restore", read, read, rename, check),
        ("writes", all, check, all, check),
        ("reads", all, check, write, check),
        ("elsewhere", read, read, write, check),
        ("nobody", read, read, write, check),
    ] {
        let file = lab.backup().display().to_string();
        let verify = ["verify", &file, "--restore-check", "--uri-env", "TEST_URI", "--log", "json"];
        let made = Lab::new();
        for (hint, ended) in [
            (backup, made.back_up(&uri(user), &["--log", "json"])),
            (checked, made.back_up(&uri(user), &["--restore-check", "--log", "json"])),
            (restore, lab.restore(&uri(user), &lab.backup(), &["--drop", "--confirm=shop"])),
            (tried, Ended::of(lab.command(&uri(user), &verify).output().expect("the program runs"))),
        ] {
            match hint {
                "" => assert_eq!(ended.code, 0, "{user}: {}", ended.stderr),
                hint => ended.refuses(21, "backup.not-allowed", &hint.replace('"', "\\\"")),
            }
            assert!(!ended.stderr.contains("lsid") && !ended.stderr.contains("planted-"), "{user}: {}", ended.stderr);
        }
        let whole = [backup, checked].iter().filter(|hint| hint.is_empty()).count();
        assert_eq!(made.names().len(), 2 * whole, "{user}: a backup and its manifest, or nothing: {:?}", made.names());
        let databases = root.list_database_names().await.expect("databases");
        assert!(!databases.iter().any(|name| name.starts_with("cm_")), "{user}: {databases:?}");
        let collections = root.database("shop").list_collection_names().await.expect("collections");
        assert_eq!((collections, raw(&root, "orders").await.len()), (vec!["orders".to_owned()], 50), "{user}");
    }
}
