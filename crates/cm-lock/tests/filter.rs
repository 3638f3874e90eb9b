//! `cm-lock` in a pipe: `acquire`, `release`, and the plain filter that asks whether the
//! lock still holds.

mod world;

use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Output};
use world::{World, code, feed, stderr, until};

fn document(status: &str) -> Vec<u8> {
    let document = json!({
        "schema": "cm.deployment/1",
        "run": {"id": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "actor": "ada@laptop", "started_at": "2026-05-04T09:30:00Z", "dry_run": false},
        "project": "shop", "branch": "develop", "commit": "0123456789012345678901234567890123456789",
        "status": status,
        "services": [], "stages": [], "facts": {}, "undo": [], "error": null, "x-unknown": [1.50],
    });
    document.to_string().into_bytes()
}

fn out(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A process that lives until it is dropped.
struct Owner(std::process::Child);

impl Owner {
    fn new() -> Self {
        Owner(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn acquired_checked_and_released_by_one_pipe() {
    let world = World::new();
    let owner = Owner::new();
    let acquired = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("ok"));
    assert!(acquired.status.success(), "{}", stderr(&acquired));
    let doc = out(&acquired);
    assert_eq!(doc["facts"]["lock"]["hosts"], json!(["db", "web"]));
    assert_eq!((&doc["stages"][0]["tool"], &doc["stages"][0]["status"]), (&json!("cm-lock"), &json!("ok")));
    assert_eq!(doc["x-unknown"], json!([1.50]));
    let refused = world.lock("bob@desk", &["run", "--", "true"]).output().expect("start");
    assert_eq!(refused.status.code(), Some(10));
    assert!(stderr(&refused).contains("held by ada@laptop"), "{}", stderr(&refused));
    let checked = feed(world.lock::<&str>("ada@laptop", &[]), &acquired.stdout);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let released = feed(world.lock("ada@laptop", &["release"]), &checked.stdout);
    assert!(released.status.success(), "{}", stderr(&released));
    world.assert_free("ada@laptop");
    let again = feed(world.lock("ada@laptop", &["release"]), &released.stdout);
    assert!(again.status.success(), "{}", stderr(&again));
    let checked = feed(world.lock::<&str>("ada@laptop", &[]), &released.stdout);
    assert_eq!(checked.status.code(), Some(11), "{}", stderr(&checked));
    assert_eq!(out(&checked)["error"]["exit"], 11);
}

#[test]
fn release_ends_no_process_of_a_file_that_only_the_document_names() {
    let world = World::new();
    let (owner, mut bystander) = (Owner::new(), Owner::new());
    let acquired = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("ok"));
    assert!(acquired.status.success(), "{}", stderr(&acquired));
    // A record like the holder's own, of a process that has nothing to do with it.
    let holder = |lock: &std::path::Path| {
        let mut path = lock.as_os_str().to_owned();
        path.push(format!(".holder-{}", rustix::process::geteuid().as_raw()));
        std::path::PathBuf::from(path)
    };
    let bytes = fs::read(holder(&world.lock_file("ada@laptop"))).expect("the holder's record");
    let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
    let stat = fs::read_to_string(format!("/proc/{}/stat", bystander.pid())).expect("stat");
    let start = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("a start time");
    record["process"]["pid"] = bystander.0.id().into();
    record["process"]["start"] = start.parse::<u64>().expect("a number").into();
    fs::write(holder(&world.path("planted.lock")), record.to_string()).expect("write");
    let mut forged = out(&acquired);
    forged["facts"]["lock"]["file"] = json!(world.path("planted.lock"));
    for run in ["01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2aff"] {
        forged["run"]["id"] = run.into();
        let released = feed(world.lock("ada@laptop", &["release"]), forged.to_string().as_bytes());
        assert!(released.status.success(), "{}", stderr(&released));
        assert!(bystander.0.try_wait().expect("wait").is_none(), "a process that the document chose was ended");
    }
    world.assert_free("ada@laptop");
}

#[test]
fn a_lock_file_that_was_named_is_released_without_naming_it_again() {
    let world = World::new();
    let owner = Owner::new();
    let file = world.path("named.lock").display().to_string();
    let arguments = ["acquire", "--local", "--file", &file, "--owner-pid", &owner.pid()];
    let acquired = feed(world.lock("ada@laptop", &arguments), &document("ok"));
    assert!(acquired.status.success(), "{}", stderr(&acquired));
    let released = feed(world.lock("ada@laptop", &["release"]), &acquired.stdout);
    assert_eq!(out(&released)["stages"][1]["status"], "ok", "{}", stderr(&released));
    assert_eq!(world.status("ada@laptop", &["--local", "--file", &file])["local"]["state"], "free");
}

#[test]
fn the_owners_end_frees_the_lock() {
    let world = World::new();
    let owner = Owner::new();
    let acquired = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("ok"));
    assert!(acquired.status.success(), "{}", stderr(&acquired));
    drop(owner);
    until("the holder has given it back", || world.status("ada@laptop", &[])["local"]["state"] == "free");
    world.assert_free("ada@laptop");
    let checked = feed(world.lock::<&str>("ada@laptop", &[]), &acquired.stdout);
    assert_eq!((checked.status.code(), out(&checked)["error"]["code"].as_str()), (Some(11), Some("lock.lost")));
}

#[test]
fn a_failed_run_is_not_acted_on_but_its_lock_is_released() {
    let world = World::new();
    let owner = Owner::new();
    let refused = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("failed"));
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert_eq!(out(&refused)["status"], "failed");
    let checked = feed(world.lock::<&str>("ada@laptop", &[]), &document("failed"));
    for refused in [&refused, &checked] {
        assert_eq!(refused.status.code(), Some(3), "{}", stderr(refused));
        let (stage, error) = (&out(refused)["stages"][0], &out(refused)["error"]);
        assert_eq!((&stage["status"], error), (&json!("skipped"), &Value::Null), "the first failure stays the failure");
    }
    world.assert_free("ada@laptop");
    let acquired = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("ok"));
    let mut failed = out(&acquired);
    failed["status"] = json!("failed");
    let released = feed(world.lock("ada@laptop", &["release"]), failed.to_string().as_bytes());
    assert!(released.status.success(), "{}", stderr(&released));
    assert_eq!(out(&released)["status"], "failed");
    world.assert_free("ada@laptop");
}

#[test]
fn a_refused_acquire_fails_the_document_with_the_holders_name() {
    let world = World::new();
    let _holding = world.hold("bob@desk", &[]);
    let owner = Owner::new();
    let refused = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), &document("ok"));
    assert_eq!(refused.status.code(), Some(10), "{}", stderr(&refused));
    let error = &out(&refused)["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("lock.held"), &json!(true)));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("bob@desk")), "{error}");
}

#[test]
fn who_waits_for_somebody_that_has_ended_waits_no_more() {
    let world = World::new();
    let _holding = world.hold("bob@desk", &[]);
    let owner = Owner::new();
    let mut command = world.lock("ada@laptop", &["acquire", "--wait", "300s", "--owner-pid", &owner.pid()]);
    let input = world.path("input");
    fs::write(&input, document("ok")).expect("write");
    let said = world.path("said");
    command.stdin(fs::File::open(&input).expect("open")).stdout(std::process::Stdio::piped());
    let child = command.stderr(fs::File::create(&said).expect("create")).spawn().expect("start");
    until("it waits", || fs::read_to_string(&said).is_ok_and(|said| said.contains("waiting")));
    drop(owner);
    let ended = child.wait_with_output().expect("its end");
    assert_eq!(code(ended.status), 143, "{}", fs::read_to_string(&said).expect("read"));
    let error = &out(&ended)["error"];
    assert_eq!((&error["code"], &error["exit"]), (&json!("lock.owner-gone"), &json!(143)), "{error}");
}

#[test]
fn an_owner_that_is_none_is_a_usage_error() {
    let world = World::new();
    for pid in ["0", "999999999", "4294967295"] {
        let output = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", pid]), &document("ok"));
        assert_eq!(output.status.code(), Some(2), "{pid}: {}", stderr(&output));
    }
    for pid in ["", "me", "-1", "1e3", "4294967296"] {
        let output = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", pid]), &document("ok"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{pid}: {}", stderr(&output));
    }
    world.assert_free("ada@laptop");
}

#[test]
fn inside_cm_lock_run_the_filter_agrees_and_outside_it_does_not() {
    let world = World::new();
    fs::write(world.path("work/doc"), document("ok")).expect("write");
    let script = format!("{} < doc", world::PROGRAM);
    let output = world.lock("ada@laptop", &["run", "--", "sh", "-c", &script]).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(out(&output)["stages"][0]["status"], "ok");
    let output = feed(world.lock::<&str>("ada@laptop", &[]), &document("ok"));
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    // The host's record is broken while the run goes on: the next check stops it.
    let script = format!("rm {} && {} < doc", world.host_record().display(), world::PROGRAM);
    let output = world.lock("ada@laptop", &["run", "--", "sh", "-c", &script]).output().expect("start");
    assert_eq!(code(output.status), 11, "{}", stderr(&output));
}

#[test]
fn no_document_no_effect() {
    let world = World::new();
    let owner = Owner::new();
    for input in [&b""[..], b"{", b"{}{}", br#"{"schema":"cm.deployment/2"}"#] {
        let output = feed(world.lock("ada@laptop", &["acquire", "--owner-pid", &owner.pid()]), input);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0), "{}", stderr(&output));
    }
    world.assert_free("ada@laptop");
    assert!(!world.lock_file("ada@laptop").exists());
}
