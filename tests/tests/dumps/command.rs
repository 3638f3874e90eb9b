//! What a command writes, in a container and on the host.

use crate::lab::{Lab, done, refused, refused_in_words};
use serde_json::json;
use std::path::Path;

const TOML: &str = "[[backup]]\nkind = \"command\"\nname = \"index\"\nservice = \"app\"\ncommand = [\"cat\", \"/data/in dex; $x\"]\n\
    verify = [\"grep\", \"-q\", \"^whole$\"]\nrestore = [\"dd\", \"of=/data/in dex; $x\", \"status=none\"]\n\
    [[backup]]\nkind = \"command\"\nname = \"notes\"\ncommand = [\"tar\", \"-cf\", \"-\", \"notes\"]\nkeep_daily = 3\n";
const SERVICES: &str = "  app: {image: app}\n";

impl Lab {
    fn index(&self, text: &str) {
        self.databases.exec("app", &["sh", "-c", "cat > '/data/in dex; $x'"], text);
    }
}

#[test]
fn what_a_command_writes_is_kept_verified_and_restored() {
    let lab = Lab::new("cmd", TOML, SERVICES, "");
    lab.databases.start("app", &[], &["files"], &["true"]);
    refused_in_words(&lab.backup(&["--service", "index"]), "No such file");
    lab.index("");
    refused_in_words(&lab.backup(&["--service", "index"]), "it is empty");
    lab.index("half\n");
    refused_in_words(&lab.backup(&["--service", "index"]), "verify the backup failed");
    assert_eq!(lab.files(), [""; 0]);
    lab.index("whole\n");
    let notes = lab.databases.home.path().join("work/notes");
    std::fs::create_dir(&notes).expect("made");
    std::fs::write(notes.join("a"), "b").expect("written");
    let facts = lab.make(&[]);
    let (index, notes) = (&facts["backups"][0], &facts["backups"][1]);
    let path = |of: &serde_json::Value| of["file"].as_str().expect("a path").to_owned();
    assert!(path(index).contains("/shop-app-index-2") && path(notes).contains("/shop-notes-2"), "{facts}");
    assert!(index["not_verified"].to_string().contains("a command of the project"), "{index}");
    assert!(notes["not_verified"].to_string().contains("no command of `verify`"), "{notes}");
    assert_eq!(lab.manifest(index)["tables"], json!(null));

    lab.index("changed\n");
    let file = path(index);
    refused(&lab.backup(&["restore", &file]), 2, "restore.unconfirmed", "--drop --confirm=index");
    lab.refuses_damage(&file, "index", &|| {
        assert_eq!(lab.databases.exec("app", &["cat", "/data/in dex; $x"], ""), "changed");
    });
    done(&lab.backup(&["restore", &file, "--drop", "--confirm=index"]));
    assert_eq!(lab.databases.exec("app", &["cat", "/data/in dex; $x"], ""), "whole");
    refused(&lab.backup(&["restore", &path(notes), "--drop", "--confirm=notes"]), 2, "restore.no-way", "`restore`");
    refused(&lab.backup(&["verify", &path(notes), "--restore-check"]), 2, "usage.restore-check", "set `verify`");
    let tried = lab.backup(&["verify", &file, "--restore-check"]);
    assert!(done(&tried).stderr.contains("the command of `verify` reads all of it"), "{}", tried.stderr);
    lab.databases.configure(&TOML.replace("^whole$", "^another$"), SERVICES);
    refused(&lab.backup(&["verify", &file, "--restore-check"]), 21, "backup.restore-check", "failed");
    lab.databases.configure(TOML, SERVICES);

    // What cannot be tried is said, and keeps nobody from the rest. The newest of a day stays, with the one that was
    // just made.
    let again = lab.make(&["--service", "notes", "--restore-check"]);
    assert!(again["not_verified"].to_string().contains("no place for one but its own"), "{again}");
    assert!(again["warnings"].to_string().contains("not verified"), "{again}");
    assert!(lab.manifest(&again)["not_verified"].to_string().contains("no place for one but its own"));
    assert!(!Path::new(&path(notes)).exists() && Path::new(&path(&again)).exists(), "{:?}", lab.files());
    assert_eq!(again["removed"].as_array().map(Vec::len), Some(1), "{again}");
}
