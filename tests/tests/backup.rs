//! Backups of a database that runs in a container on a real server and is reached as cm-backup
//! reaches it: through SSH. Restore, verification, retention, cm-backup on the server itself, and the
//! container's own mongodump.

use cm_testkit::{Answer, Sandbox, bin_dir};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const COMPOSE: &str = "docker-compose.production.yml";

fn backup(sandbox: &Sandbox, arguments: &[&str]) -> Answer {
    sandbox.laptop("cm-backup", arguments)
}

fn done(answer: &Answer) -> &Answer {
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    answer
}

/// The `backup` of a document's facts.
fn facts(answer: &Answer) -> Value {
    let document: Value = serde_json::from_str(&answer.stdout).expect("a document");
    document["facts"]["backup"].clone()
}

/// The code of the error in a document.
fn code(answer: &Answer) -> String {
    let document: Value = serde_json::from_str(&answer.stdout).expect("a document");
    document["error"]["code"].as_str().expect("a code").to_owned()
}

/// The archives in the directory for backups.
fn archives(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.server("platform", &["ls", "-1", "backups"]);
    listed.lines().filter(|name| name.ends_with(".archive.gz")).map(str::to_owned).collect()
}

/// Runs a command in the sandbox's server as root.
fn docker(arguments: &[&str]) {
    let status = Command::new("docker").args(arguments).status().expect("docker");
    assert!(status.success(), "docker {arguments:?}");
}

/// A `mongodump` in the database's container that writes the file `/tmp/canned` to stdout, if it is called as
/// mongodump wants it and nothing secret is among its arguments.
fn put_mongodump(sandbox: &Sandbox, canned: &str) {
    let script = r#"#!/bin/sh
config=$(cat "$2")
case "$1 $*" in *mongodb:*) echo 'the URI is among the arguments' >&2; exit 1 ;; esac
case "$config" in 'uri: "mongodb://'*) ;; *) echo "no URI in the configuration" >&2; exit 1 ;; esac
[ "$*" = '--config /dev/stdin --archive --db curateme --gzip' ] || { echo "called with $*" >&2; exit 1; }
exec cat /tmp/canned"#;
    let put = r#"cp -f "$1" canned && chmod 644 canned
docker cp canned curateme-mongodb:/tmp/canned
printf '%s\n' "$2" > /tmp/mongodump && chmod 755 /tmp/mongodump
docker cp /tmp/mongodump curateme-mongodb:/usr/local/bin/mongodump"#;
    sandbox.server("platform", &["sh", "-ec", put, "sh", canned, script]);
}

#[test]
fn a_database_on_a_server_is_backed_up_restored_and_pruned_over_ssh() {
    let sandbox = Sandbox::up("backup");
    let up = ["docker", "compose", "-f", COMPOSE, "--env-file", ".env.production", "up", "-d", "--wait", "mongodb"];
    let up: Vec<&str> = ["env", "-C", "platform"].into_iter().chain(up).collect();
    sandbox.server("platform", &up);

    // Data comes into the unpublished database as a restore through the tunnel.
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/cm-archive/tests/data/platform.archive.gz");
    let golden = golden.to_str().expect("UTF-8");
    done(&backup(
        &sandbox,
        &["restore", golden, "--collection", "users", "--collection", "capped", "--db", "curateme"],
    ));

    // A deployment that deploys nothing needs none; a service that is deployed by its name does, and so does who asks for one.
    let piped = |detect: &str, backup: &str| {
        let line = format!("set -o pipefail; cm-detect --base HEAD {detect} </dev/null | cm-backup {backup}");
        sandbox.laptop("bash", &["-c", &line])
    };
    let nothing = piped("", "");
    assert!(done(&nothing).stderr.contains("no backup: nothing is to be deployed"), "{}", nothing.stderr);
    assert_eq!((facts(&nothing)["verified"].as_bool(), archives(&sandbox).len()), (Some(false), 0));
    for (detect, backup) in [("--service docs --dry-run", ""), ("--dry-run", "--service mongodb")] {
        let would = piped(detect, backup);
        assert!(done(&would).stderr.contains("would back up"), "{detect}: {}", would.stderr);
    }

    let first = facts(done(&backup(&sandbox, &[])));
    let documents = first["documents"].as_u64().expect("a number");
    assert!(documents > 50, "{first}");
    let second = facts(done(&backup(&sandbox, &[])));
    let file = second["file"].as_str().expect("a path").to_owned();
    let there = format!("platform:{file}");
    assert_eq!(archives(&sandbox).len(), 2);
    let listed = done(&backup(&sandbox, &["list"])).stdout.clone();
    assert_eq!(listed.matches(&format!("{documents} documents ")).count(), 2, "{listed}");
    assert_eq!(listed.matches(" verified ").count(), 2, "{listed}");

    let verified = backup(&sandbox, &["verify", &there, "--restore-check", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&done(&verified).stdout).expect("JSON")["proved"], "complete");
    assert!(verified.stderr.contains("document by document"), "{}", verified.stderr);

    a_directory_of_mongodump(&sandbox);

    // Severe, so that it wants to be confirmed; and then it is all there again.
    let refused = backup(&sandbox, &["restore", &there, "--drop"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let restored = backup(&sandbox, &["restore", &there, "--drop", "--confirm=curateme", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&done(&restored).stdout).expect("JSON")["documents"], documents);
    assert_eq!(facts(done(&backup(&sandbox, &[])))["documents"], documents);

    done(&backup(&sandbox, &["prune", "--keep", "2", "--dry-run"]));
    assert_eq!(archives(&sandbox).len(), 3, "a dry run removes nothing");
    done(&backup(&sandbox, &["prune", "--keep", "2"]));
    let kept = archives(&sandbox);
    let oldest = first["file"].as_str().expect("a path").rsplit('/').next().expect("a name").to_owned();
    assert!(kept.len() == 2 && !kept.contains(&oldest), "{kept:?}");

    on_the_server(&sandbox, documents);
    by_mongodump(&sandbox, &file, documents);
}

/// What mongodump wrote into a directory of the server, without an archive, is as good.
fn a_directory_of_mongodump(sandbox: &Sandbox) {
    let golden =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/cm-archive/tests/data/platform.dir/platform");
    let server = sandbox.container("platform");
    docker(&["cp", "-q", &golden.display().to_string(), &format!("{server}:/usr/local/share/platform")]);
    docker(&["exec", &server, "chmod", "-R", "a+rX", "/usr/local/share/platform"]);
    let directory = "platform:/usr/local/share/platform/";
    let verified = backup(sandbox, &["verify", directory]);
    assert!(done(&verified).stderr.contains("completeness not verified"), "{}", verified.stderr);
    let line = format!("TMPDIR=/nowhere CM_LOG=json cm-backup verify {directory}");
    let nowhere = sandbox.laptop("bash", &["-c", &line]);
    assert_eq!(nowhere.code, 21, "{}", nowhere.stderr);
    assert!(nowhere.stderr.contains("\"code\":\"backup.copy\""), "{}", nowhere.stderr);
    let restored =
        backup(sandbox, &["restore", directory, "--collection", "users", "--db", "from_directory", "--json"]);
    let document: Value = serde_json::from_str(&done(&restored).stdout).expect("JSON");
    assert_eq!(document["namespaces"][0], serde_json::json!({"from": "platform.users", "to": "from_directory.users"}));
    docker(&["exec", &server, "truncate", "-s", "-1", "/usr/local/share/platform/users.bson"]);
    let damaged = backup(sandbox, &["verify", directory]);
    assert!(damaged.code == 21 && damaged.stderr.contains("users.bson: it ends too early"), "{}", damaged.stderr);
}

/// Where cm-backup is installed on the server, it works there.
fn on_the_server(sandbox: &Sandbox, documents: u64) {
    let missing = backup(sandbox, &["--run-on", "server"]);
    assert_eq!((missing.code, code(&missing).as_str()), (21, "backup.there"), "{}", missing.stderr);
    assert!(missing.stderr.contains("there is no cm-backup"), "{}", missing.stderr);

    let program = bin_dir().join("cm-backup").display().to_string();
    docker(&["cp", "-q", &program, &format!("{}:/usr/local/bin/cm-backup", sandbox.container("platform"))]);
    let there = backup(sandbox, &[]);
    assert!(done(&there).stderr.contains("no data leaves that server"), "{}", there.stderr);
    let (there, here) = (facts(&there), facts(done(&backup(sandbox, &["--run-on", "here"]))));
    for key in ["documents", "namespaces", "host", "database", "consistency", "verified"] {
        assert_eq!(there[key], here[key], "{key}");
    }
    assert_eq!(there["documents"], documents);
    let file = there["file"].as_str().expect("a path");
    done(&backup(sandbox, &["verify", &format!("platform:{file}"), "--strict"]));

    // What fails there fails here in the same words.
    let before = archives(sandbox);
    let failed = backup(sandbox, &["--database", "nope"]);
    assert_eq!(failed.code, 21, "{}", failed.stderr);
    assert_eq!(code(&failed), "backup.empty");
    assert!(failed.stderr.contains("the server has: curateme"), "{}", failed.stderr);
    assert_eq!(archives(sandbox), before);
}

/// The container's own mongodump, with the same verification after it.
fn by_mongodump(sandbox: &Sandbox, good: &str, documents: u64) {
    let run = || backup(sandbox, &["--method", "mongodump"]);
    let before = archives(sandbox);
    let failed_with = |what: &str, with: &str| {
        let failed = run();
        assert_eq!((failed.code, code(&failed).as_str()), (21, with), "{what}: {}", failed.stderr);
        assert!(failed.stderr.contains(what), "{what}: {}", failed.stderr);
        assert_eq!(archives(sandbox), before, "{what}");
    };
    failed_with("is there a mongodump in the container?", "backup.mongodump");

    // As when its connection breaks: whole for every tool, and half of it is missing.
    let part = sandbox.home.path().join("part.archive.gz").display().to_string();
    let query = ["--query", r#"{"n": {"$lt": 3}}"#, "--collection", "capped", "--output", &part, "--run-on", "here"];
    assert!(facts(done(&backup(sandbox, &query)))["documents"].as_u64() < Some(documents));
    let server = sandbox.container("platform");
    docker(&["cp", "-q", &part, &format!("{server}:/usr/local/share/part")]);
    docker(&["exec", &server, "chmod", "0644", "/usr/local/share/part"]);
    put_mongodump(sandbox, "/usr/local/share/part");
    failed_with("what mongodump wrote", "backup.not-proved");

    let cut = r#"head -c 300 "$1" > /tmp/cut"#;
    sandbox.server("platform", &["sh", "-c", cut, "sh", good]);
    put_mongodump(sandbox, "/tmp/cut");
    failed_with("is not intact", "backup.not-proved");

    put_mongodump(sandbox, good);
    let dumped = facts(done(&run()));
    assert_eq!((&dumped["documents"], &dumped["verified"]), (&documents.into(), &true.into()));
    assert_eq!(archives(sandbox).len(), before.len() + 1);
}
