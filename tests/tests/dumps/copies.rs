//! Copies elsewhere, of any kind of backup: here of a file of the host.

use crate::lab::{Lab, done, refused};
use cm_testkit::Answer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A project with a file to back up, whose copies go to the directory `elsewhere`.
fn lab(test: &str, copy: &str) -> Lab {
    let lab = Lab::new(test, "", "  app: {image: app}\n", "");
    std::fs::create_dir(elsewhere(&lab)).expect("made");
    configure(&lab, copy);
    sqlite(&lab, "CREATE TABLE notes(a); INSERT INTO notes VALUES (1), (2), (3);");
    lab
}

fn elsewhere(lab: &Lab) -> PathBuf {
    lab.databases.home.path().join("elsewhere")
}

fn configure(lab: &Lab, copy: &str) {
    let copy = copy.replace("ELSEWHERE", &elsewhere(lab).display().to_string());
    let toml = format!("[[backup]]\nkind = \"sqlite\"\npath = \"notes.db\"\n[backup.copy]\n{copy}");
    lab.databases.configure(&toml, "  app: {image: app}\n");
}

fn sqlite(lab: &Lab, text: &str) {
    let file = lab.databases.home.path().join("work/notes.db");
    assert!(Command::new("sqlite3").arg(file).arg(text).status().is_ok_and(|status| status.success()));
}

fn listed(lab: &Lab) -> Vec<Value> {
    serde_json::from_str(&done(&lab.backup(&["list", "--json"])).stdout).expect("JSON")
}

fn sha256(path: &Path) -> String {
    let summed = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    String::from_utf8_lossy(&summed.stdout).split_whitespace().next().expect("a sum").to_owned()
}

#[test]
fn a_copy_is_encrypted_read_back_and_removed_with_its_backup() {
    let lab = lab("copy", "command = [\"true\", \"{name}\"]\n");
    let identity = lab.databases.home.path().join("identity");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output().expect("age: scripts/setup.sh --tests");
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&identity).expect("an identity");
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a recipient").to_owned();
    configure(
        &lab,
        &format!(
            "command = [[\"age\", \"-r\", \"{recipient}\"], [\"tee\", \"ELSEWHERE/{{name}}.age\"]]\n\
             read = [\"cat\", \"ELSEWHERE/{{name}}.age\"]\nremove = [\"rm\", \"ELSEWHERE/{{name}}.age\"]\n"
        ),
    );
    let dry = lab.backup(&["--dry-run"]);
    assert!(done(&dry).stderr.contains("with a copy elsewhere by age | tee"), "{}", dry.stderr);
    let facts = lab.make(&[]);
    let file = PathBuf::from(facts["file"].as_str().expect("a path"));
    let copy =
        elsewhere(&lab).join(format!("{}.age", file.file_name().and_then(|name| name.to_str()).expect("a name")));
    let state = json!({"state": "done", "sha256": sha256(&copy), "read_back": true});
    assert_eq!((&facts["copy"], &lab.manifest(&facts)["copy"]), (&state, &state));
    assert_ne!(sha256(&copy), facts["sha256"], "it is encrypted");
    let list = lab.backup(&["list"]);
    assert!(done(&list).stdout.contains("copied elsewhere and read back"), "{}", list.stdout);

    // The server cannot read it; who has the identity can, and restores it.
    let back = lab.databases.home.path().join("back.sqlite.gz");
    let decrypted = Command::new("age").args(["-d", "-i"]).arg(&identity).arg("-o").arg(&back).arg(&copy).status();
    assert!(decrypted.is_ok_and(|status| status.success()) && sha256(&back) == facts["sha256"]);
    let manifest = facts["manifest"].as_str().expect("a path");
    sqlite(&lab, "DELETE FROM notes");
    let back = back.display().to_string();
    done(&lab.backup(&["restore", &back, "--manifest", manifest, "--drop", "--confirm=notes.db"]));

    lab.make(&[]);
    done(&lab.backup(&["prune", "--keep", "1"]));
    assert!(!file.exists() && !copy.exists() && elsewhere(&lab).read_dir().expect("there").count() == 1);
    assert_eq!(lab.files().iter().filter(|name| !name.ends_with(".copy")).count(), 1, "{:?}", lab.files());
}

/// That the run has failed, that its backup is there, and that nothing says that there is a copy.
fn refused_copy(lab: &Lab, answer: &Answer, why: &str) {
    refused(answer, 21, "backup.copy-failed", why);
    let document = answer.document();
    let facts = &document["facts"]["backup"];
    assert_eq!((&facts["verified"], &facts["copy"]["state"]), (&json!(true), &json!("failed")), "{facts}");
    done(&lab.backup(&["verify", facts["file"].as_str().expect("a path"), "--strict"]));
    let last = listed(lab).pop().expect("a backup");
    assert_eq!((&last["copy"]["state"], &last["manifest"]["copy"]["state"]), (&json!("failed"), &json!("failed")));
}

#[test]
fn a_copy_that_failed_never_looks_like_one() {
    let lab = lab("copy-bad", "command = [\"true\", \"{name}\"]\n");
    sqlite(&lab, "CREATE TABLE large(a); INSERT INTO large VALUES (hex(randomblob(2000000)));");
    for (copy, why) in [
        ("command = [\"true\", \"{name}\"]\n", "it was not kept"),
        ("command = [\"no-such-program\", \"{name}\"]\n", "no-such-program"),
        ("command = [\"tee\", \"ELSEWHERE/no/{name}\"]\n", "No such file"),
        ("command = [[\"head\", \"-c\", \"9\"], [\"tee\", \"ELSEWHERE/{name}\"]]\n", "it was not kept"),
        ("command = [[\"false\"], [\"tee\", \"ELSEWHERE/{name}\"]]\n", "it was not kept"),
        (
            "command = [\"tee\", \"ELSEWHERE/{name}\"]\nread = [\"cat\", \"ELSEWHERE/no/{name}\"]\n",
            "cannot be read back",
        ),
        (
            "command = [\"tee\", \"ELSEWHERE/{name}\"]\nread = [\"head\", \"-c\", \"9\", \"ELSEWHERE/{name}\"]\n",
            "is not what was sent",
        ),
    ] {
        configure(&lab, copy);
        refused_copy(&lab, &lab.backup(&[]), why);
    }
    configure(&lab, "command = [\"tee\", \"ELSEWHERE/no/{name}\"]\non_failure = \"warn\"\n");
    let warned = lab.make(&[]);
    assert!(
        warned["warnings"].to_string().contains("its copy failed") && warned["copy"]["state"] == "failed",
        "{warned}"
    );
    let list = lab.backup(&["list"]);
    assert_eq!(done(&list).stdout.matches("NO COPY elsewhere").count(), 8, "{}", list.stdout);
}

#[test]
fn a_deployment_need_not_wait_for_a_copy() {
    let slow = "command = [[\"sh\", \"-c\", \"sleep 3; cat\"], [\"tee\", \"ELSEWHERE/{name}\"]]\nread = [\"cat\", \"ELSEWHERE/{name}\"]\nwait = false\n";
    let lab = lab("copy-later", slow);
    let facts = lab.make(&[]);
    assert_eq!(facts["copy"]["state"], "running", "{facts}");
    assert_eq!(listed(&lab)[0]["copy"]["state"], "running");
    let mut seen = false;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(100));
        let shown = lab.backup(&["list"]).stdout;
        seen |= shown.contains("being copied elsewhere, ") && shown.contains(" %");
        if listed(&lab)[0]["copy"]["state"] != "running" {
            break;
        }
    }
    assert!(seen, "how far it is was never said");
    let copy = listed(&lab)[0]["copy"].clone();
    assert_eq!((&copy["state"], &copy["sha256"], &copy["read_back"]), (&json!("done"), &facts["sha256"], &json!(true)));

    // Who is killed copies nothing, and nobody says otherwise.
    let facts = lab.make(&[]);
    let name = facts["file"].as_str().and_then(|path| path.rsplit('/').next()).expect("a name").to_owned();
    std::thread::sleep(Duration::from_millis(300));
    let kill = r#"for file in $(grep -lsF -e "$1" -e "sleep 3; cat" /proc/[0-9]*/cmdline); do p=${file#/proc/}; p=${p%/cmdline}; [ "$p" = $$ ] || kill -9 "$p"; done 2> /dev/null"#;
    let _some_have_ended = Command::new("bash").args(["-c", kill, "bash", &name]).status();
    std::thread::sleep(Duration::from_millis(3300));
    let listed = listed(&lab);
    let of_killed = listed.iter().find(|one| one["file"] == facts["file"]).expect("listed");
    assert_eq!(of_killed["copy"]["state"], "interrupted", "{listed:?}");
}

#[test]
fn a_copy_that_failed_leaves_nothing_there_and_one_that_cannot_be_removed_is_not_forgotten() {
    let bad = "command = [\"tee\", \"ELSEWHERE/{name}\"]\nremove = [\"rm\", \"ELSEWHERE/{name}\"]\n";
    let lab = lab("copy-rm", &format!("{bad}read = [\"head\", \"-c\", \"9\", \"ELSEWHERE/{{name}}\"]\n"));
    let there = || elsewhere(&lab).read_dir().expect("there").count();
    refused_copy(&lab, &lab.backup(&[]), "is not what was sent");
    assert_eq!(there(), 0);
    configure(&lab, &bad.replace("\"rm\", \"", "\"rm\", \"ELSEWHERE/no/"));
    let whole = lab.make(&[]);
    assert_eq!(whole["copy"]["state"], "done", "{whole}");
    lab.make(&[]);
    let kept = lab.backup(&["prune", "--keep", "1"]);
    assert!(done(&kept).stderr.contains("stays until the next time"), "{}", kept.stderr);
    assert_eq!((listed(&lab).len(), there()), (1, 2));
    configure(&lab, bad);
    done(&lab.backup(&["prune", "--keep", "1"]));
    assert_eq!((listed(&lab).len(), there()), (1, 1));
    let left = std::fs::read_dir(lab.directory()).expect("there").count();
    assert_eq!(left, 3, "the backup, its manifest, and what became of its copy");
}

#[test]
fn no_more_is_sent_than_the_rate_allows_and_people_see_how_far_it_is() {
    let lab = lab("copy-rate", "command = [\"tee\", \"ELSEWHERE/{name}\"]\nrate_limit = \"100k\"\n");
    sqlite(&lab, "CREATE TABLE large(a); INSERT INTO large VALUES (randomblob(700000));");
    let clock = std::time::Instant::now();
    let answer = lab.backup(&[]);
    let facts = done(&answer).document()["facts"]["backup"].clone();
    assert_eq!(facts["copy"]["state"], "done", "{facts}");
    assert!(clock.elapsed() > Duration::from_secs(6), "{:?}", clock.elapsed());
    assert!(answer.stderr.contains("copy · ") && answer.stderr.contains(" kB of 7"), "{}", answer.stderr);
    let name = facts["file"].as_str().and_then(|path| path.rsplit('/').next()).expect("a name");
    assert_eq!(sha256(&elsewhere(&lab).join(name)), facts["sha256"].as_str().expect("a sum"));
    configure(&lab, "command = [\"tee\", \"ELSEWHERE/{name}\"]\n");
    let clock = std::time::Instant::now();
    lab.make(&["--rate-limit", "200k"]);
    assert!(clock.elapsed() > Duration::from_secs(6), "both the dump and the copy: {:?}", clock.elapsed());
    configure(&lab, "command = [\"tee\", \"ELSEWHERE/{name}\"]\nrate_limit = \"fast\"\n");
    assert_eq!(lab.backup(&[]).code, 6);
}
