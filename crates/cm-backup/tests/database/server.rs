//! Backups of a real server: what comes out is what went in, and whatever goes wrong
//! leaves nothing under a backup's name.

use crate::support::data::{every_type, fill, raw};
use crate::support::fake::{Fake, cursor};
use crate::support::{Ended, Lab, Relay, Server};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use cm_archive::verify::read_documents;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

/// Every document of a collection in a backup, sorted.
fn backed_up(file: &Path, collection: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<(usize, Vec<u8>)> = Vec::new();
    let file = File::open(file).expect("a backup");
    let contents = read_documents(file, |index, bytes| found.push((index, bytes.to_vec()))).expect("intact");
    let names: Vec<_> = contents.prelude.entries.iter().map(|entry| entry.collection.as_str()).collect();
    let at = names.iter().position(|name| *name == collection).unwrap_or_else(|| panic!("{collection} in {names:?}"));
    let mut documents: Vec<_> = found.into_iter().filter(|(index, _)| *index == at).map(|(_, bytes)| bytes).collect();
    documents.sort();
    documents
}

fn metadata(file: &Path, collection: &str) -> Value {
    let contents = read_documents(File::open(file).expect("a backup"), |_, _| {}).expect("intact");
    let entry = contents.prelude.entries.iter().find(|entry| entry.collection == collection).expect("announced");
    serde_json::from_str(&entry.metadata).expect("JSON")
}

#[tokio::test]
async fn what_comes_out_is_what_went_in() {
    let server = Server::start();
    let client = server.client().await;
    let shop = client.database("shop");
    fill(&client, "orders", 3000).await;
    shop.collection::<Document>("with space/é").insert_one(every_type()).await.expect("inserted");
    shop.run_command(doc! {"create": "empty"}).await.expect("created");
    shop.run_command(doc! {"create": "few", "viewOn": "orders", "pipeline": [{"$match": {"_id": 1}}]})
        .await
        .expect("created");
    shop.run_command(doc! {"create": "ring", "capped": true, "size": 4096}).await.expect("created");
    let index = doc! {"key": {"text": 1, "_id": -1}, "name": "by_text", "unique": true};
    shop.run_command(doc! {"createIndexes": "orders", "indexes": [index]}).await.expect("indexed");
    client.database("other").collection("x").insert_one(doc! {}).await.expect("inserted");

    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let backup = lab.backup();
    for collection in ["orders", "with space/é", "empty"] {
        assert!(backed_up(&backup, collection) == raw(&client, collection).await, "{collection} differs");
    }
    assert_eq!(backed_up(&backup, "orders").len(), 3000);
    let orders = metadata(&backup, "orders");
    let names: Vec<_> =
        orders["indexes"].as_array().expect("indexes").iter().map(|index| index["name"].clone()).collect();
    assert_eq!(names, ["_id_", "by_text"]);
    assert_eq!(orders["indexes"][1]["key"].to_string(), r#"{"text":{"$numberInt":"1"},"_id":{"$numberInt":"-1"}}"#);
    assert_eq!(metadata(&backup, "few")["options"]["viewOn"], "orders");
    assert_eq!(metadata(&backup, "few")["type"], "view");
    assert_eq!(metadata(&backup, "ring")["options"]["capped"], true);

    let facts = &ended.document()["facts"]["backup"];
    assert_eq!(facts["verified"], true);
    assert_eq!(facts["file"], backup.to_str().expect("UTF-8"));
    assert_eq!((facts["namespaces"].as_u64(), facts["documents"].as_u64()), (Some(5), Some(3001)));
    for name in lab.names() {
        let mode = std::fs::metadata(lab.backups().join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_leaves_no_backup() {
    let server = Server::start();
    fill(&server.client().await, "orders", 20_000).await;
    let relay = Relay::start(server.port, 3_000_000);
    let lab = Lab::new();
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    let partial = lab.names();
    assert!(partial.len() == 1 && partial[0].ends_with(".partial"), "in the middle there is {partial:?}");
    relay.cut();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    ended.expect_failure(21, "backup.connection-lost", &lab);
    assert!(ended.stderr.contains("shop.orders"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_leaves_no_backup() {
    let mut server = Server::start();
    fill(&server.client().await, "orders", 20_000).await;
    let relay = Relay::start(server.port, 3_000_000);
    let lab = Lab::new();
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    server.kill();
    relay.go_on();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert_eq!(lab.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_collection_dropped_in_the_middle_is_noticed() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "a_first", 20_000).await;
    fill(&client, "b_second", 10).await;
    fill(&client, "z_last", 10).await;
    let relay = Relay::start(server.port, 3_000_000);
    let lab = Lab::new();
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    client.database("shop").collection::<Document>("z_last").drop().await.expect("dropped");
    relay.go_on();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("shop.z_last was dropped while it was read"), "{}", ended.stderr);
    assert_eq!(ended.document()["stages"][0]["status"], "warned");
}

#[tokio::test]
async fn what_dead_runs_leave_is_removed_by_the_next_one_and_what_runs_is_not() {
    let server = Server::start();
    fill(&server.client().await, "orders", 20_000).await;
    let relay = Relay::start(server.port, 3_000_000);
    let lab = Lab::new();
    let mut running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    // While it runs, another backup leaves its partial file alone.
    let other = lab.back_up(&server.uri(), &[]);
    assert_eq!(other.code, 0, "{}", other.stderr);
    assert_eq!(lab.names().iter().filter(|name| name.ends_with(".partial")).count(), 1, "{:?}", lab.names());
    running.kill().expect("ours");
    running.wait().expect("ours");
    relay.cut();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let finished = lab.names().into_iter().filter(|name| !name.ends_with(".partial")).count();
    assert_eq!(finished, 2, "the killed run left a name: {:?}", lab.names());

    // As after a power cut, when not even the receiving side could clean up.
    std::fs::write(lab.backups().join("shop-20260101T000000Z.archive.gz.partial"), "half").expect("written");
    std::fs::write(lab.backups().join("other-20260101T000000Z.archive.gz.partial"), "not ours").expect("written");
    let next = lab.back_up(&server.uri(), &[]);
    assert_eq!(next.code, 0, "{}", next.stderr);
    assert!(next.stderr.contains("removed"), "{}", next.stderr);
    let partial: Vec<_> = lab.names().into_iter().filter(|name| name.ends_with(".partial")).collect();
    assert_eq!(partial, ["other-20260101T000000Z.archive.gz.partial"]);
}

#[tokio::test]
async fn a_database_that_is_not_there_or_empty_is_an_error() {
    let server = Server::start();
    let client = server.client().await;
    let lab = Lab::new();
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.empty", &lab);

    client.database("shap").collection("x").insert_one(doc! {}).await.expect("inserted");
    let ended = lab.back_up(&server.uri(), &[]);
    ended.expect_failure(21, "backup.empty", &lab);
    assert!(ended.stderr.contains("the server has: shap"), "{}", ended.stderr);

    client.database("shop").run_command(doc! {"create": "empty"}).await.expect("created");
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.empty", &lab);

    let ended = lab.back_up(&server.uri(), &["--allow-empty"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["facts"]["backup"]["documents"], 0);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let mut server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 10).await;
    let user = doc! {"createUser": "ada", "pwd": "planted-s3cret", "roles": [{"role": "root", "db": "admin"}]};
    client.database("admin").run_command(user).await.expect("a user");
    server.restart_with_auth();
    let uri = |password: &str| {
        format!("mongodb://ada:{password}@127.0.0.1:{}/?authSource=admin&directConnection=true", server.port)
    };

    let lab = Lab::new();
    let ended = lab.back_up(&uri("planted-wr0ng"), &["--verbose"]);
    ended.expect_failure(21, "backup.auth", &lab);
    assert_no_secret(&lab, &ended);

    let ended = lab.back_up(&server.uri(), &["--verbose"]);
    ended.expect_failure(21, "backup.not-allowed", &lab);

    let ended = lab.back_up(&uri("planted-s3cret"), &["--verbose"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_no_secret(&lab, &ended);
}

/// That nothing of a planted password is in what was printed or written.
fn assert_no_secret(lab: &Lab, ended: &Ended) {
    let mut places = vec![("stderr".to_owned(), ended.stderr.clone())];
    places.push(("stdout".to_owned(), String::from_utf8_lossy(&ended.stdout).into_owned()));
    let mut directories = vec![lab.home.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => directories.push(path),
                false => {
                    let bytes = std::fs::read(&path).expect("a file");
                    places.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
    }
    for (place, text) in places {
        assert!(!text.contains("planted-"), "a password is in {place}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failed_backup() {
    let mut server = Server::start();
    let uri = server.uri();
    server.kill();
    let lab = Lab::new();
    let ended = lab.back_up(&uri, &[]);
    ended.expect_failure(21, "backup.database-unreachable", &lab);
    assert!(ended.stderr.contains("Connection refused"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--no-backup"), "{}", ended.stderr);
}

#[tokio::test]
async fn what_the_disk_gives_back_must_be_what_was_written() {
    let server = Server::start();
    fill(&server.client().await, "orders", 100).await;
    let mut lab = Lab::new();
    lab.replace_program("sha256sum", "cat > /dev/null; echo 0000 -");
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.not-proved", &lab);

    let mut lab = Lab::new();
    lab.replace_program("sha256sum", "cat > /dev/null; echo 'Input/output error' >&2; exit 1");
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.read-back", &lab);

    let mut lab = Lab::new();
    // Writes its input as it is, and reads a file back with one byte changed.
    let cat = "if [ -f /dev/stdin ]; then exec sed '1s/^../\\x1f\\x8a/'; else exec /bin/cat \"$@\"; fi";
    lab.replace_program("cat", cat);
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.not-proved", &lab);
}

#[tokio::test]
async fn a_full_disk_leaves_no_backup() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 2000).await;
    let mut lab = Lab::new();
    lab.replace_program("df", "echo Avail; echo 1000");
    lab.back_up(&server.uri(), &[]).expect_failure(21, "backup.no-space", &lab);

    let mut lab = Lab::new();
    lab.replace_program("cat", "/usr/bin/head -c 5000; echo 'cat: write error: No space left on device' >&2; exit 1");
    let ended = lab.back_up(&server.uri(), &[]);
    ended.expect_failure(21, "backup.store", &lab);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_sudden_shrink_is_a_warning_and_with_strict_an_error() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "orders", 1000).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let orders = client.database("shop").collection::<Document>("orders");
    orders.delete_many(doc! {"_id": {"$gte": 100}}).await.expect("deleted");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ended = lab.back_up(&server.uri(), &["--strict"]);
    assert_eq!((ended.code, &ended.document()["error"]["code"]), (21, &Value::from("backup.strict")));
    assert_eq!(lab.names().len(), 2, "{:?}", lab.names());
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["stages"][0]["status"], "warned");
    assert!(ended.stderr.contains("the last one"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_file_that_is_there_is_never_replaced() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    let file = lab.home.path().join("mine.archive.gz");
    std::fs::write(&file, "precious").expect("written");
    let arguments = ["--uri-env", "TEST_URI", "--database", "shop", "--output", file.to_str().expect("UTF-8")];
    let ended = Ended::of(lab.command(&server.uri(), &arguments).output().expect("runs"));
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert_eq!(std::fs::read(&file).expect("there"), b"precious");
}

#[tokio::test]
async fn a_backup_is_proved_again_and_listed() {
    let server = Server::start();
    fill(&server.client().await, "orders", 500).await;
    let lab = Lab::new();
    assert_eq!(lab.back_up(&server.uri(), &[]).code, 0);
    let backup = lab.backup();
    let path = backup.to_str().expect("UTF-8");

    let ended = lab.run(&["verify", path, "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.document()["proved"], "complete");

    let directory = lab.backups();
    std::fs::write(directory.join("shop-20200101T000000Z.archive.gz.partial"), "x").expect("written");
    let ended = lab.run(&["list", directory.to_str().expect("UTF-8")]);
    let listed = String::from_utf8(ended.stdout).expect("UTF-8");
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].starts_with("FILE ") && lines.len() == 3, "{listed}");
    assert!(lines[1].contains("  verified  ") && lines[1].contains("500 documents"), "the newest first: {listed}");
    assert!(lines[2].contains("  left over, not a backup  "), "{listed}");

    // Any damage: without a manifest the file's own checks, with it every bit.
    let bytes = std::fs::read(&backup).expect("there");
    let manifest =
        directory.join(format!("{}.manifest.json", backup.file_name().expect("name").to_str().expect("UTF-8")));
    std::fs::write(&backup, &bytes[..bytes.len() - 9]).expect("written");
    assert_eq!(lab.run(&["verify", path]).code, 21);
    std::fs::write(&backup, &bytes).expect("written");
    std::fs::rename(&manifest, directory.join("elsewhere.json")).expect("moved");
    let ended = lab.run(&["verify", path]);
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("structure intact, completeness not verified"), "{}", ended.stderr);
    assert_eq!(lab.run(&["verify", path, "--strict"]).code, 21);
}

#[tokio::test]
async fn an_archive_goes_to_stdout_and_nothing_else_does() {
    let server = Server::start();
    fill(&server.client().await, "orders", 500).await;
    let lab = Lab::new();
    let arguments = ["--uri-env", "TEST_URI", "--database", "shop", "--output", "-"];
    let ended = Ended::of(lab.command(&server.uri(), &arguments).output().expect("runs"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let contents = cm_archive::verify::read_back(&ended.stdout[..]).expect("intact");
    assert_eq!(contents.documents(), 500);

    let mut verify = lab.command("", &["verify", "-"]);
    let mut verify = verify.stdin(Stdio::piped()).spawn().expect("runs");
    verify.stdin.take().expect("piped").write_all(&ended.stdout).expect("written");
    assert_eq!(Ended::of(verify.wait_with_output().expect("ended")).code, 0);

    let full = File::options().write(true).open("/dev/full").expect("a full disk");
    let mut command = lab.command(&server.uri(), &arguments);
    let ended = Ended::of(command.env("CM_LOG", "json").stdout(full).output().expect("runs"));
    ended.refuses(21, "backup.write", "No space left");
}

#[tokio::test]
async fn a_dry_run_connects_to_nothing_and_writes_nothing() {
    let lab = Lab::new();
    let ended = lab.back_up("mongodb://127.0.0.1:1/", &["--dry-run"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("shop"), "{}", ended.stderr);
    assert_eq!(lab.names(), Vec::<String>::new());
    assert_eq!(ended.document()["run"]["dry_run"], true);
}

#[tokio::test]
async fn in_a_pipe_it_adds_itself_and_keeps_the_rest() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    let document = |status: &str| {
        serde_json::json!({
            "schema": "cm.deployment/1", "x-unknown": [1],
            "run": {"id": "01900000-0000-7000-8000-000000000001", "actor": "ada", "started_at": "", "dry_run": false},
            "project": "curateme", "branch": "develop", "commit": "0123456789abcdef0123456789abcdef01234567",
            "status": status, "services": [], "stages": [], "facts": {"detect": {"a": 1}}, "undo": [], "error": null,
        })
    };
    let pipe = |status: &str| {
        let mut child = lab.back_up_command(&server.uri(), &[]).stdin(Stdio::piped()).spawn().expect("runs");
        child.stdin.take().expect("piped").write_all(document(status).to_string().as_bytes()).expect("written");
        Ended::of(child.wait_with_output().expect("ended"))
    };
    let refused = pipe("failed");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert_eq!(lab.names(), Vec::<String>::new());

    let ended = pipe("ok");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let out = ended.document();
    assert_eq!((&out["x-unknown"], &out["facts"]["detect"]), (&serde_json::json!([1]), &serde_json::json!({"a": 1})));
    let name = lab.backup().file_name().expect("name").to_str().expect("UTF-8").to_owned();
    assert!(name.starts_with("curateme-shop-") && name.ends_with("Z-0123456789ab.archive.gz"), "{name}");
    let manifest = std::fs::read(lab.backups().join(format!("{name}.manifest.json"))).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["deploy"]["actor"], "ada");
    assert_eq!(manifest["namespaces"][0]["counted"], serde_json::json!([10, 10]));
}

#[tokio::test]
async fn a_time_series_comes_back_as_its_buckets_or_not_at_all() {
    let server = Server::start();
    let client = server.client().await;
    let shop = client.database("shop");
    let series =
        doc! {"create": "weather", "timeseries": {"timeField": "at", "metaField": "where", "granularity": "minutes"}};
    shop.run_command(series).await.expect("created");
    let measured = (0..500_i64).map(|n| {
        doc! {"at": bson::DateTime::from_millis(1_700_000_000_000 + n * 60_000), "where": n % 3, "celsius": n as f64 / 7.0}
    });
    shop.collection::<Document>("weather").insert_many(measured).await.expect("inserted");
    let wanted = raw(&client, "weather").await;
    assert_eq!(wanted.len(), 500);
    let lab = Lab::new();
    let ended = lab.back_up(&server.uri(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let backup = lab.backup();
    assert_eq!(metadata(&backup, "weather")["options"]["timeseries"]["granularity"], "minutes");
    let buckets = backed_up(&backup, "weather");
    assert!(!buckets.is_empty());

    // This server keeps measurements and takes no buckets: then nothing is changed, not even with --drop.
    for extra in [&["--db", "back"][..], &["--drop", "--confirm=shop"]] {
        let ended = lab.restore(&server.uri(), &backup, extra);
        ended.refuses(21, "restore.documents", "nothing was changed");
        assert!(raw(&client, "weather").await == wanted, "measurements differ");
        assert_eq!(client.database("back").list_collection_names().await.expect("listed"), Vec::<String>::new());
    }

    // One that takes them, before 8.3 in a collection of their own and from then on as raw data.
    for has_buckets in [true, false] {
        let series = Arc::new(Mutex::new(Series::new()));
        let other = bucket_server(has_buckets, Arc::clone(&series));
        let ended = lab.restore(&other.uri(), &backup, &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let mut series = series.lock().expect("series").clone();
        let mut documents = series.remove("weather").expect("the series");
        documents.sort();
        assert!(documents == buckets && series.is_empty(), "the buckets differ, or something is left");
    }
}

/// Time series by name, with the raw documents of their buckets.
type Series = BTreeMap<String, Vec<Vec<u8>>>;

/// A server that keeps time series by their buckets.
fn bucket_server(has_buckets: bool, series: Arc<Mutex<Series>>) -> Fake {
    Fake::start(move |name, command| {
        let mut series = series.lock().expect("series");
        let about = command.get_str(name).unwrap_or_default();
        // Its buckets have a name of their own, or are asked for as raw data.
        let of_buckets = match has_buckets {
            true => about.strip_prefix("system.buckets."),
            false => Some(about).filter(|_| command.get_bool("rawData").unwrap_or_default()),
        };
        match name {
            "listCollections" => {
                let wanted = command.get_document("filter").ok().and_then(|filter| filter.get_str("name").ok());
                let buckets =
                    series.keys().filter(|_| has_buckets).map(|name| (format!("system.buckets.{name}"), "collection"));
                let all = series.keys().map(|name| (name.clone(), "timeseries")).chain(buckets);
                let item = |(name, kind): (String, &str)| {
                    rawdoc! {"name": name, "type": kind, "options": {"timeseries": {"timeField": "at"}}}
                };
                let all: Vec<_> =
                    all.filter(|(name, _)| wanted.is_none_or(|wanted| name == wanted)).map(item).collect();
                Some(cursor(0, "firstBatch", &all))
            }
            "create" => {
                series.insert(about.to_owned(), Vec::new());
                Some(rawdoc! {"ok": 1})
            }
            "drop" => {
                series.remove(about);
                Some(rawdoc! {"ok": 1})
            }
            "insert" if !about.ends_with(".journal") => {
                let all = command.get_array("documents").expect("documents").iter();
                let all = all.map(|one| bson::serialize_to_vec(one.as_document().expect("one")).expect("BSON"));
                series.get_mut(of_buckets.expect("buckets")).expect("made").extend(all);
                Some(rawdoc! {"ok": 1, "n": 1})
            }
            "find" => {
                let all = of_buckets.and_then(|name| series.get(name)).cloned().unwrap_or_default();
                let all: Vec<_> = all.into_iter().map(|one| RawDocumentBuf::from_bytes(one).expect("BSON")).collect();
                Some(cursor(0, "firstBatch", &all))
            }
            "createIndexes" | "insert" | "update" => Some(rawdoc! {"ok": 1}),
            _ => None,
        }
    })
}

/// A file system of its own that something else fills while the backup is written: the real ENOSPC.
#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_leaves_no_backup() {
    let server = Server::start();
    fill(&server.client().await, "orders", 40_000).await;
    let lab = Lab::new();
    std::fs::create_dir(lab.backups()).expect("a directory");
    let script = r#"mount -t tmpfs -o size=120m tmpfs "$1" || exit 99
( until ls "$1" | grep -q partial; do sleep 0.02; done; head -c 200000000 /dev/zero > "$1/filler" ) 2> /dev/null &
shift
"$@" && exit 98
code=$?
wait
ls "$BACKUPS" >&2
exit "$code""#;
    let directory = format!("{}/", lab.backups().display());
    let program = env!("CARGO_BIN_EXE_cm-backup");
    let backup =
        [program, "--uri-env", "TEST_URI", "--database", "shop", "--output", &directory, "--rate-limit", "10M"];
    let uri = server.uri();
    let of_ours = lab.command(&uri, &[]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", &directory]).args(backup);
    command.args(["--compression", "none"]).env_clear().env("BACKUPS", &directory);
    command.envs(of_ours.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    let ended = Ended::of(command.output().expect("unshare"));
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().last(), Some("filler"), "{}", ended.stderr);
    assert_eq!(ended.document()["error"]["code"], "backup.store");
}

#[tokio::test]
async fn a_collection_renamed_in_the_middle_is_read_under_its_new_name() {
    let server = Server::start();
    let client = server.client().await;
    fill(&client, "a_first", 10_000).await;
    fill(&client, "z_last", 10).await;
    let relay = Relay::start(server.port, 2_000_000);
    let lab = Lab::new();
    let running = lab.back_up_command(&relay.uri(), &[]).spawn().expect("runs");
    relay.wait_until_reached();
    let rename = doc! {"renameCollection": "shop.z_last", "to": "shop.z_other"};
    client.database("admin").run_command(rename).await.expect("renamed");
    relay.go_on();
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("z_last") && ended.stderr.contains("reading again"), "{}", ended.stderr);
    assert_eq!(backed_up(&lab.backup(), "z_other").len(), 10);
}
