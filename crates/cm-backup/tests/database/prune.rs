//! Retention: what is old goes, and what a release may need never does.

use crate::support::{Lab, Server, data::fill};
use serde_json::json;
use std::fs::File;

/// A backup as `list` sees one, with nothing in it.
fn plant(lab: &Lab, day: u32) -> String {
    let name = format!("shop-shop-202605{day:02}T000000.000Z.archive.gz");
    std::fs::create_dir_all(lab.backups()).expect("a directory");
    std::fs::write(lab.backups().join(&name), "123456789").expect("written");
    let manifest = json!({
        "schema": "cm.backup/1", "file": name, "format": "", "compression": "gzip", "bytes": 9, "sha256": "",
        "database": "shop", "server": {"version": "", "topology": ""}, "consistency": "none", "documents": 0,
        "data_bytes": 0, "started_at": format!("2026-05-{day:02}T00:00:00Z"), "ended_at": "", "verified_at": "",
        "deploy": {"run": null, "project": "shop", "commit": null, "actor": null}, "tool": "", "namespaces": [],
    });
    std::fs::write(lab.backups().join(format!("{name}.manifest.json")), manifest.to_string()).expect("written");
    name
}

fn archives(lab: &Lab) -> Vec<String> {
    lab.names().into_iter().filter(|name| name.ends_with(".archive.gz")).collect()
}

/// A project on this machine, whose ledger says this.
fn project(lab: &Lab, ledger: &str) {
    let toml = format!(
        "project = \"shop\"\n[hosts.here]\naddress = \"local\"\ncheckout = \"~/shop\"\n[backup]\ndirectory = \"{}\"\nkeep = 2\n",
        lab.backups().display()
    );
    std::fs::write(lab.home.path().join("cm.toml"), toml).expect("written");
    std::fs::write(lab.home.path().join("compose.yml"), "services: {mongodb: {image: mongo}}").expect("written");
    let state = lab.home.path().join(".local/state/cm/shop");
    std::fs::create_dir_all(&state).expect("a directory");
    std::fs::write(state.join("ledger.jsonl"), ledger).expect("written");
}

#[test]
fn the_oldest_of_a_directory_go_and_one_that_is_read_stays() {
    let lab = Lab::new();
    let names: Vec<_> = (1..=5).map(|day| plant(&lab, day)).collect();
    std::fs::write(lab.backups().join("mine.archive.gz"), "no manifest").expect("written");
    let directory = lab.backups();
    let directory = directory.to_str().expect("UTF-8");
    assert_eq!(lab.run(&["prune", directory]).code, 2, "nothing says what to keep");
    assert_eq!(lab.run(&["prune", directory, "--keep", "2", "--dry-run"]).code, 0);
    assert_eq!(archives(&lab).len(), 6);

    let read = File::open(lab.backups().join(&names[0])).expect("there");
    rustix::fs::flock(&read, rustix::fs::FlockOperation::LockShared).expect("locked");
    let ended = lab.run(&["prune", directory, "--keep", "2"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(archives(&lab), ["mine.archive.gz", &names[0], &names[3], &names[4]]);
    drop(read);
    assert_eq!(lab.run(&["prune", directory, "--keep-days", "100000"]).code, 0);
    assert_eq!(archives(&lab).len(), 4);
    assert_eq!(lab.run(&["prune", directory, "--keep", "2"]).code, 0);
    assert_eq!(archives(&lab), ["mine.archive.gz", &names[3], &names[4]]);
    assert!(!lab.names().contains(&format!("{}.manifest.json", names[0])));
}

#[test]
fn what_a_release_may_be_taken_back_with_stays() {
    let lab = Lab::new();
    let names: Vec<_> = (1..=5).map(|day| plant(&lab, day)).collect();
    let record = |id: &str, backup: &str| {
        let path = format!("here:{}/{backup}", lab.backups().display());
        let services = json!({"web": {"commit": "c", "image_id": "sha256:1", "tag": "", "image": ""}});
        json!({"schema": "cm.release/1", "id": id, "verdict": "verified", "services": services, "backup": path})
            .to_string()
    };
    let ledger = format!("{}\n{}\n", record("1", &names[0]), record("2", &names[1]));
    project(&lab, &format!("{ledger}{{\"id\": \"3\", \"back"));
    let ended = lab.run(&["prune"]);
    assert_eq!(ended.code, 21, "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot be read"), "{}", ended.stderr);
    assert_eq!(archives(&lab).len(), 5);

    project(&lab, &ledger);
    let ended = lab.run(&["prune"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(archives(&lab), [&*names[0], &names[1], &names[3], &names[4]], "{}", ended.stderr);
}

#[tokio::test]
async fn a_backup_removes_old_ones_after_it_was_verified() {
    let server = Server::start();
    fill(&server.client().await, "orders", 10).await;
    let lab = Lab::new();
    for _ in 0..3 {
        let ended = lab.back_up(&server.uri(), &["--keep", "2"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(archives(&lab).len(), 2);
    let ended = lab.back_up(&server.uri(), &["--keep", "1"]);
    assert_eq!(ended.document()["facts"]["backup"]["removed"].as_array().map(Vec::len), Some(2), "{}", ended.stderr);
    server.client().await.database("shop").drop().await.expect("dropped");
    assert_eq!(lab.back_up(&server.uri(), &["--keep", "1"]).code, 21);
    assert_eq!(archives(&lab).len(), 1, "a backup that failed removes nothing");
}
