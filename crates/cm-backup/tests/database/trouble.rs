//! A database that refuses, and a backup that changes or holds nothing: what is said, and that nothing is lost.

use crate::support::fake::{Fake, cursor};
use crate::support::{Ended, Lab};
use bson::{Document, RawDocumentBuf, rawdoc};
use cm_archive::{Entry, Kind, Prelude, Writer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn collections(names: &[&str]) -> RawDocumentBuf {
    let item = |name: &&str| rawdoc! {"name": *name, "type": "collection", "options": {}, "info": {}};
    cursor(0, "firstBatch", &names.iter().map(item).collect::<Vec<_>>())
}

fn documents(numbers: std::ops::Range<i32>) -> RawDocumentBuf {
    cursor(0, "firstBatch", &numbers.map(|n| rawdoc! {"_id": n}).collect::<Vec<_>>())
}

/// An archive of the database `shop`.
pub fn archive(lab: &Lab, entries: &[(&str, &str)], numbers: std::ops::Range<i32>) -> PathBuf {
    let entry = |(name, metadata): &(&str, &str)| Entry {
        db: "shop".to_owned(),
        collection: (*name).to_owned(),
        metadata: (*metadata).to_owned(),
        kind: Kind::Collection,
        in_buckets: false,
    };
    let prelude = Prelude {
        server_version: "7.0.0".to_owned(),
        tool_version: "100.9.4".to_owned(),
        concurrent_collections: 1,
        entries: entries.iter().map(entry).collect(),
    };
    let mut writer = Writer::start(Vec::new(), &prelude).expect("started");
    for index in 0..entries.len() {
        let all: Vec<_> = numbers.clone().map(|n| rawdoc! {"_id": n}).collect();
        writer.documents(index, all.iter().map(|one| Ok(one.as_bytes()))).expect("written");
        writer.close(index).expect("closed");
    }
    let file = lab.home.path().join("made.archive");
    std::fs::write(&file, writer.finish().expect("whole").0).expect("written");
    file
}

const ORDERS: (&str, &str) = ("orders", r#"{"indexes":[]}"#);

/// A server that takes a restore into an empty database, but for what `script` says.
fn taking(script: impl Fn(&str, &Document) -> Option<RawDocumentBuf> + Send + Sync + 'static) -> Fake {
    Fake::start(move |name, command| {
        script(name, command).or_else(|| match name {
            "listCollections" => Some(collections(&[])),
            "create" | "insert" | "update" | "createIndexes" | "renameCollection" | "drop" => {
                Some(rawdoc! {"ok": 1, "n": 1})
            }
            _ => None,
        })
    })
}

#[test]
fn an_answer_that_no_database_gives_is_named() {
    let listings =
        [(rawdoc! {"type": "collection"}, "without a name"), (rawdoc! {"name": "orders", "type": "riddle"}, "riddle")];
    for (item, words) in listings {
        let fake = Fake::start(move |name, _| {
            (name == "listCollections").then(|| cursor(0, "firstBatch", std::slice::from_ref(&item)))
        });
        let lab = Lab::new();
        let ended = lab.back_up(&fake.uri(), &[]);
        ended.expect_failure(21, "backup.answer", &lab);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_refuses_a_restore_is_quoted_and_gives_no_collection_its_name() {
    let refusals = [
        (
            "create",
            rawdoc! {"ok": 0, "code": 72, "codeName": "InvalidOptions", "errmsg": "no such engine"},
            "backup.refused-option",
            "no such engine",
        ),
        (
            "insert",
            rawdoc! {"ok": 1, "n": 3, "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
            "restore.write-concern",
            "waiting for replication",
        ),
    ];
    for (refused, answer, code, words) in refusals {
        let lab = Lab::new();
        let renamed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&renamed);
        let fake = taking(move |name, command| {
            seen.fetch_or(command.get_str("to").is_ok_and(|to| to == "shop.orders"), Ordering::Relaxed);
            (name == refused).then(|| answer.clone())
        });
        lab.restore(&fake.uri(), &archive(&lab, &[ORDERS], 0..3), &[]).refuses(21, code, words);
        assert!(!renamed.load(Ordering::Relaxed), "{refused}");
    }
}

#[test]
fn a_backup_that_changes_while_it_is_restored_is_refused() {
    // Something else than was planned with; the same with other documents.
    for (name, numbers) in [("other", 0..3), ("orders", 0..4)] {
        let lab = Lab::new();
        let file = archive(&lab, &[ORDERS], 0..3);
        let other = Lab::new();
        let another = archive(&other, &[(name, ORDERS.1)], numbers);
        let (place, renamed) = (file.clone(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&renamed);
        let fake = taking(move |name, command| {
            seen.fetch_or(command.get_str("to").is_ok_and(|to| to == "shop.orders"), Ordering::Relaxed);
            // By now the file was read to plan with it; what verifies and what restores it open it again.
            if name == "create" {
                std::fs::copy(&another, &place).expect("changed");
            }
            None
        });
        let ended = lab.restore(&fake.uri(), &file, &[]);
        if name == "other" {
            ended.refuses(21, "restore.file-changed", "made.archive");
            assert!(!renamed.load(Ordering::Relaxed));
        } else {
            // What is verified is what comes back.
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        }
    }
}

#[test]
fn a_backup_that_cannot_be_planned_with_is_refused_before_a_server_is_asked() {
    let cases = [
        (("orders", "{"), "restore.metadata", "shop.orders"),
        (("system.profile", ORDERS.1), "restore.empty", "the server makes it itself"),
    ];
    for (entry, code, words) in cases {
        let lab = Lab::new();
        lab.restore("mongodb://127.0.0.1:1/", &archive(&lab, &[entry], 0..3), &[]).refuses(21, code, words);
    }
}

#[test]
fn a_rehearsal_that_gives_something_else_is_not_verified() {
    let fake = taking(|name, command| {
        let scratch = command.get_str("$db").is_ok_and(|db| db.starts_with("cm_check"));
        match name {
            "listCollections" => Some(collections(&["orders"])),
            // One document is missing of what was restored.
            "find" => Some(documents(if scratch { 0..2 } else { 0..3 })),
            "count" => Some(rawdoc! {"n": if scratch { 2 } else { 3 }, "ok": 1}),
            "dropDatabase" => Some(rawdoc! {"ok": 1}),
            _ => None,
        }
    });
    let lab = Lab::new();
    let ended = lab.back_up(&fake.uri(), &["--restore-check"]);
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert_eq!(ended.document()["error"]["code"], "backup.restore-check", "{}", ended.stderr);
    assert!(ended.stderr.contains("shop.orders came back in another form"), "{}", ended.stderr);
}

/// The server may have been at an insert of the restore that died, which makes its collection again.
#[test]
fn what_a_dead_restore_left_is_removed_again_before_anything_gets_its_name() {
    const LEFT: &str = "cm_restore.1_00000000_1_1_1.0";
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let fake = taking(move |name, command| {
        let about = command.get_str(name).unwrap_or_default();
        match name {
            "listCollections" => return Some(collections(&[LEFT])),
            "find" => return Some(documents(0..0)),
            "drop" if about == LEFT => seen.lock().expect("seen").push("drop"),
            "insert" if !about.ends_with(".journal") => seen.lock().expect("seen").push("insert"),
            "renameCollection" if command.get_str("to").is_ok_and(|to| to == "shop.orders") => {
                seen.lock().expect("seen").push("rename")
            }
            _ => {}
        }
        None
    });
    let lab = Lab::new();
    let ended = lab.restore(&fake.uri(), &archive(&lab, &[ORDERS], 0..3), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("removed shop.{LEFT}, left by a crashed restore")));
    assert_eq!(*asked.lock().expect("asked"), ["drop", "insert", "drop", "rename"]);
}

/// What a server with these collections, each with a word for what it holds, does with a command.
fn renaming(names: &mut BTreeMap<String, String>, name: &str, command: &Document) -> Option<RawDocumentBuf> {
    let text = |field: &str| command.get_str(field).unwrap_or_default().trim_start_matches("shop.").to_owned();
    match name {
        "listCollections" => return Some(collections(&names.keys().map(String::as_str).collect::<Vec<_>>())),
        "find" => {
            let what = names.get(&text("find")).map_or("", String::as_str);
            return Some(cursor(0, "firstBatch", &[rawdoc! {"_id": 0, "what": what}]));
        }
        "create" => drop(names.insert(text("create"), "restored".to_owned())),
        "drop" => drop(names.remove(&text("drop"))),
        "renameCollection" => {
            let to = text("to");
            if names.contains_key(&to) && !command.get_bool("dropTarget").unwrap_or_default() {
                return Some(rawdoc! {"ok": 0, "code": 48, "codeName": "NamespaceExists", "errmsg": "target exists"});
            }
            let Some(what) = names.remove(&text(name)) else {
                return Some(rawdoc! {"ok": 0, "code": 26, "codeName": "NamespaceNotFound", "errmsg": "no source"});
            };
            names.insert(to, what);
        }
        _ => {}
    }
    None
}

/// Somebody writes to `orders` all the time, so that it is there again whenever it was renamed. `refuses` is an answer to
/// the renaming that brings what was restored.
fn busy(names: &Arc<Mutex<BTreeMap<String, String>>>, refuses: bool) -> Fake {
    let names = Arc::clone(names);
    taking(move |name, command| {
        let mut names = names.lock().expect("names");
        let text = |field: &str| command.get_str(field).unwrap_or_default().trim_start_matches("shop.").to_owned();
        let (from, to) = (text("renameCollection"), text("to"));
        if refuses && names.get(&from).is_some_and(|what| what == "restored") && to == "orders" {
            return Some(rawdoc! {"ok": 0, "code": 1, "errmsg": "the disk is on fire"});
        }
        let was_there = names.contains_key(&from);
        let answer = renaming(&mut names, name, command);
        let written = names.values().filter(|what| *what == "written meanwhile").count();
        if was_there && from == "orders" && answer.is_none() && written < 3 {
            names.insert(from, "written meanwhile".to_owned());
        }
        answer
    })
}

#[test]
fn who_writes_while_collections_change_their_names_is_in_nobodys_way() {
    for refuses in [false, true] {
        let lab = Lab::new();
        let before = BTreeMap::from([("orders".to_owned(), "old".to_owned())]);
        let names = Arc::new(Mutex::new(before));
        let fake = busy(&names, refuses);
        let file = archive(&lab, &[ORDERS], 0..3);
        let ended = lab.restore(&fake.uri(), &file, &["--drop", "--confirm=shop"]);
        let names = names.lock().expect("names");
        if !refuses {
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert_eq!(*names, BTreeMap::from([("orders".to_owned(), "restored".to_owned())]));
            continue;
        }
        assert_eq!(ended.code, 21, "{}", ended.stderr);
        assert_eq!(names["orders"], "old", "{names:?}");
        let kept: Vec<_> = names.iter().filter(|(name, _)| *name != "orders").collect();
        assert!(
            kept.len() == 3 && kept.iter().all(|(name, what)| name.ends_with(".old") && *what == "written meanwhile")
        );
        for (name, _) in kept {
            assert!(ended.stderr.contains(&format!("what was written to shop.orders meanwhile is in shop.{name}")));
        }
        assert!(!ended.stderr.contains("could not be renamed back"), "{}", ended.stderr);
    }
}

/// The journal of a restore that was killed amid its swap: `orders` was moved away, and nothing has its name.
fn journal(filled: &str, old: &str, filter: &Document) -> RawDocumentBuf {
    let collection = rawdoc! {"form": "collection"};
    let step = rawdoc! {
        "_id": 0, "db": "shop", "name": "orders", "was": collection.clone(), "comes": collection,
        "filled": filled, "old": old, "copied": false,
    };
    let head = rawdoc! {"_id": "journal", "home": "shop", "databases": ["shop"], "steps": 1_i64, "phase": "swapping"};
    cursor(0, "firstBatch", &[if filter.get_str("_id").is_ok() { head } else { step }])
}

/// Its server was at the renaming that replaces whatever has the name, and is done with it only when the
/// next run has given that back.
#[test]
fn a_renaming_of_the_dead_replaces_nothing_that_got_its_name_back() {
    const FILLED: &str = "cm_restore.1_00000000_1_1_1.0";
    let old = format!("{FILLED}.old");
    let there = [(old.as_str(), "old"), (FILLED, "restored"), ("cm_restore.1_00000000_1_1_1.journal", "")];
    let there = there.map(|(name, what)| (name.to_owned(), what.to_owned()));
    let names = Arc::new(Mutex::new(BTreeMap::from(there)));
    let (seen, of_old) = (Arc::clone(&names), old.clone());
    let fake = taking(move |name, command| {
        let about = command.get_str(name).unwrap_or_default();
        if name == "find" && about.ends_with(".journal") {
            return Some(journal(FILLED, &of_old, command.get_document("filter").expect("a filter")));
        }
        let answer = renaming(&mut seen.lock().expect("names"), name, command);
        let mut names = seen.lock().expect("names");
        if about == format!("shop.{of_old}")
            && let Some(late) = names.remove(FILLED)
        {
            names.insert("orders".to_owned(), late);
        }
        answer
    });
    let lab = Lab::new();
    let file = archive(&lab, &[("other", r#"{"indexes":[]}"#)], 0..3);
    let ended = lab.restore(&fake.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("it was undone"), "{}", ended.stderr);
    let left = [("orders", "old"), ("other", "restored")].map(|(name, what)| (name.to_owned(), what.to_owned()));
    assert_eq!(*names.lock().expect("names"), BTreeMap::from(left), "{}", ended.stderr);
}

/// A server whose renamings are not one step was killed amid one: it has the collection under both names.
#[test]
fn of_two_that_are_the_same_the_one_with_the_name_stays() {
    const FILLED: &str = "cm_restore.1_00000000_1_1_1.0";
    let old = format!("{FILLED}.old");
    let there = [(&*old, "old"), ("orders", "old"), (FILLED, "restored"), ("cm_restore.1_00000000_1_1_1.journal", "")];
    let there = there.map(|(name, what)| (name.to_owned(), what.to_owned()));
    let names = Arc::new(Mutex::new(BTreeMap::from(there)));
    let seen = Arc::clone(&names);
    let fake = taking(move |name, command| {
        if name == "find" && command.get_str("find").is_ok_and(|name| name.ends_with(".journal")) {
            return Some(journal(FILLED, &old, command.get_document("filter").expect("a filter")));
        }
        renaming(&mut seen.lock().expect("names"), name, command)
    });
    let lab = Lab::new();
    let file = archive(&lab, &[("other", r#"{"indexes":[]}"#)], 0..3);
    let ended = lab.restore(&fake.uri(), &file, &["--drop", "--confirm=shop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let left = [("orders", "old"), ("other", "restored")].map(|(name, what)| (name.to_owned(), what.to_owned()));
    assert_eq!(*names.lock().expect("names"), BTreeMap::from(left), "{}", ended.stderr);
}

/// Ctrl-C while the collections change their names, on a server that then takes no name back.
#[test]
fn a_name_that_cannot_be_given_back_is_told_also_after_a_ctrl_c() {
    let lab = Lab::new();
    let file = archive(&lab, &[ORDERS], 0..3);
    let marker = lab.home.path().join("asked");
    let asked = marker.clone();
    let names = Mutex::new(vec!["orders".to_owned()]);
    let fake = taking(move |name, command| match name {
        "listCollections" => {
            let names = names.lock().expect("names");
            Some(collections(&names.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        "find" => Some(documents(0..1)),
        "create" => {
            names.lock().expect("names").push(command.get_str("create").expect("a name").to_owned());
            None
        }
        "renameCollection" => {
            let to = command.get_str("to").expect("a name").trim_start_matches("shop.");
            if to == "orders" && !asked.exists() {
                std::fs::write(&asked, "").expect("written");
                std::thread::sleep(std::time::Duration::from_secs(3600));
            }
            // Aside it went; back it does not come.
            if to == "orders" {
                return Some(rawdoc! {"ok": 0, "code": 1, "errmsg": "the disk is on fire"});
            }
            let from = command.get_str("renameCollection").expect("a name").trim_start_matches("shop.");
            names.lock().expect("names").iter_mut().filter(|name| *name == from).for_each(|name| *name = to.to_owned());
            None
        }
        _ => None,
    });
    let running = lab.restore_command(&fake.uri(), &file, &["--drop", "--confirm=shop"]).spawn().expect("runs");
    wait_for(&marker);
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("ours");
    let ended = Ended::of(running.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(ended.stderr.contains(".old could not be renamed back to orders"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the next `cm-backup restore` into this database undoes it"), "{}", ended.stderr);
}

fn wait_for(file: &Path) {
    for _ in 0..3000 {
        if file.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} never came", file.display());
}
