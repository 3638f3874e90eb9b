//! SQLite files, in a container and on the host.

use crate::lab::{Lab, done, refused, refused_in_words};
use serde_json::json;
use std::time::Duration;

const TOML: &str = "[[backup]]\nkind = \"sqlite\"\nservice = \"app\"\npath = \"/data/it's.db\"\n[[backup]]\nkind = \"sqlite\"\npath = \"notes.db\"\n";
const SERVICES: &str = "  app: {image: app}\n";
const PATH: &str = "/data/it's.db";

const DATA: &str = r#"PRAGMA journal_mode = WAL;
CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, b BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO users SELECT i, 'u' || i || char(10), x'00ff' FROM n;
CREATE TABLE "we ""ird' (" (x); INSERT INTO "we ""ird' (" VALUES (1), (2); CREATE TABLE none(a);
CREATE VIEW v AS SELECT * FROM users; CREATE INDEX i ON users(name);
CREATE VIRTUAL TABLE words USING fts5(word); INSERT INTO words VALUES ('a'), ('b');
"#;

fn lab(test: &str) -> Lab {
    let lab = Lab::new(test, TOML, SERVICES, "");
    lab.databases.start("app", &[], &["files"], &["true"]);
    lab
}

impl Lab {
    fn sqlite(&self, text: &str) -> String {
        self.databases.exec("app", &["sqlite3", PATH], text)
    }

    fn users(&self) -> String {
        self.sqlite("SELECT count(*), sum(id), group_concat(name) FROM users; SELECT name FROM sqlite_master WHERE name NOT LIKE 'words%' ORDER BY 1;")
    }
}

#[test]
fn sqlite_files_are_backed_up_verified_and_restored() {
    let lab = lab("lite");
    lab.sqlite(DATA);
    let notes = lab.databases.home.path().join("work/notes.db").display().to_string();
    let on_the_host = |text: &str| {
        let made = std::process::Command::new("sqlite3").args([&notes, text]).output().expect("sqlite3");
        assert!(made.status.success(), "{made:?}");
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    };
    refused(&lab.backup(&[]), 21, "backup.empty", "notes.db");
    on_the_host("CREATE TABLE notes(a); INSERT INTO notes VALUES (1), (2), (3);");
    let facts = lab.make(&["--restore-check"]);
    let (app, host) = (&facts["backups"][0], &facts["backups"][1]);
    let manifest = lab.manifest(app);
    let counted = |name: &str, rows: u64| json!({"name": name, "rows": rows, "counted": [rows, rows]});
    let tables = manifest["tables"].as_array().expect("tables").clone();
    for table in [counted("none", 0), counted("users", 20_000), counted("we \"ird' (", 2)] {
        assert!(tables.contains(&table), "{table}: {tables:?}");
    }
    let file = app["file"].as_str().expect("a path");
    assert!(file.contains("/shop-app-it_s.db-2") && file.ends_with(".sqlite.gz"), "{file}");
    assert_eq!(
        (&host["database"], &host["documents"], &host["service"]),
        (&json!("notes.db"), &json!(3), &json!(null))
    );
    done(&lab.backup(&["verify", file, "--strict", "--restore-check"]));

    // What is written meanwhile is in the next one; the data of before comes back at once.
    let before = lab.users();
    lab.sqlite("DELETE FROM users WHERE id > 3; DROP TABLE none; CREATE TABLE later(a);");
    let changed = lab.users();
    refused(&lab.backup(&["restore", file, "--drop"]), 2, "restore.unconfirmed", "--confirm=it's.db");
    done(&lab.backup(&["restore", file, "--drop", "--confirm=it's.db", "--dry-run"]));
    lab.refuses_damage(file, "it's.db", &|| assert_eq!(lab.users(), changed));
    done(&lab.backup(&["restore", file, "--drop", "--confirm=it's.db"]));
    assert_eq!(lab.users(), before);
    assert_eq!(lab.sqlite("SELECT count(*) FROM words('b'); PRAGMA integrity_check;"), "1\nok");

    on_the_host("DELETE FROM notes");
    let file = host["file"].as_str().expect("a path");
    done(&lab.backup(&["restore", file, "--drop", "--confirm=notes.db"]));
    assert_eq!(on_the_host("SELECT count(*) FROM notes"), "3");
    std::fs::remove_file(&notes).expect("there");
    done(&lab.backup(&["restore", file]));
    assert_eq!(on_the_host("SELECT count(*) FROM notes"), "3");
}

#[test]
fn a_copy_of_sqlite_that_is_not_whole_is_no_backup() {
    let lab = lab("lite-bad");
    lab.databases.configure(&TOML[..TOML.rfind("[[").expect("two")], SERVICES);
    lab.sqlite(DATA);
    lab.make(&[]);
    for (script, words) in [
        (r#"case $* in *.backup*) exit 0 ;; esac; real "$@""#, ""),
        (r#"case $* in *.backup*) echo sick >&2; exit 1 ;; esac; real "$@""#, "sick"),
        (
            r#"real "$@"; for it do case $it in ".backup "*) f=${it#.backup \'}; f=${f%\'}; truncate -s -4096 "$f" ;; esac; done"#,
            "",
        ),
        (
            r#"real "$@"; for it do case $it in ".backup "*) f=${it#.backup \'}; f=${f%\'}; printf x | dd of="$f" bs=1 seek=9000 conv=notrunc 2> /dev/null; dd if=/dev/urandom of="$f" bs=4096 seek=3 count=9 conv=notrunc 2> /dev/null ;; esac; done"#,
            "",
        ),
    ] {
        lab.program("app", "sqlite3", "/usr/bin/sqlite3", script);
        refused_in_words(&lab.backup(&[]), words);
        assert_eq!(lab.files().len(), 1, "{script}: {:?}", lab.files());
    }
    lab.program("app", "sqlite3", "/usr/bin/sqlite3", "real \"$@\"");
    lab.survives_kills(Duration::from_millis(1000));
    assert_eq!(lab.temporary("app"), "0");
    // A restore that is killed leaves the old data or the new.
    let file = lab.directory().join(lab.files().first().expect("a backup")).display().to_string();
    let whole = lab.users();
    for round in 0..crate::lab::times("CM_DUMP_KILLS", 4) {
        lab.sqlite("DELETE FROM users WHERE id > 3;");
        let old = lab.users();
        let mut restoring = lab.start(&["restore", &file, "--drop", "--confirm=it's.db"]);
        let kill = r#"sleep "$1"; for p in /proc/[0-9]*; do if tr '\0' ' ' < "$p/cmdline" | grep -q '^sh -c # Restores\|^/usr/bin/sqlite3\|^/bin/sh /usr/local/bin/sqlite3'; then kill -9 "${p#/proc/}"; fi; done; sleep 0.3"#;
        lab.databases.exec(
            "app",
            &["bash", "-c", kill, "bash", &format!("{:.2}", 0.6 + 0.05 * round as f64 % 0.8)],
            "",
        );
        restoring.wait().expect("ours");
        let now = lab.users();
        assert!(now == old || now == whole, "{now} is neither");
        done(&lab.backup(&["restore", &file, "--drop", "--confirm=it's.db"]));
        assert_eq!(lab.users(), whole);
    }
}
