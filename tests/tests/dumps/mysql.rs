//! MySQL, by MariaDB.

use crate::lab::{Lab, done, refused, refused_in_words, times};
use serde_json::json;
use std::time::Duration;

const SECRET: &str = "pl4nted pass\"word";
const TOML: &str = "[[backup]]\nkind = \"mysql\"\nservice = \"db\"\n";
const SERVICES: &str = "  db: {image: mariadb}\n";

/// Names with everything in them, every sort of object, and what statements look like as data.
const DATA: &str = r#"
CREATE TABLE users(id int PRIMARY KEY AUTO_INCREMENT, name varchar(200), b blob);
INSERT INTO users(name, b) SELECT concat('u', seq, '\n\'),(\\"'), x'00ff27' FROM seq_1_to_20000;
CREATE TABLE `we ``ird; (`(x int, FOREIGN KEY (x) REFERENCES users(id)); INSERT INTO `we ``ird; (` VALUES (1), (2);
CREATE TABLE of_myisam(a int) ENGINE=MyISAM; INSERT INTO of_myisam VALUES (1);
CREATE TABLE nothing(a int); CREATE TABLE log(a int); CREATE SEQUENCE s;
CREATE VIEW v AS SELECT id, name FROM users;
DELIMITER ;;
CREATE TRIGGER t AFTER INSERT ON users FOR EACH ROW BEGIN
INSERT INTO `log` VALUES (1),(2);
END;;
CREATE PROCEDURE p() BEGIN
INSERT INTO `log` VALUES (1),(2);
END;;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN
INSERT INTO `log` VALUES (1),(2); END;;
DELIMITER ;
CREATE EVENT `sl.e``*/[ep $` ON SCHEDULE EVERY 1 DAY DISABLE ON SLAVE DO INSERT INTO log VALUES (3);
CREATE EVENT `sl` ON SCHEDULE EVERY 1 DAY DO INSERT INTO log VALUES (4);
CREATE EVENT off ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE DISABLE DO INSERT INTO log VALUES (5);
"#;

const OBJECTS: &str = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'shop'
  UNION ALL SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = 'shop'
  UNION ALL SELECT routine_name, routine_type FROM information_schema.routines WHERE routine_schema = 'shop'
  UNION ALL SELECT event_name, status FROM information_schema.events WHERE event_schema = 'shop' ORDER BY 1;";

fn lab(test: &str, toml: &str) -> Lab {
    let lab = Lab::new(test, toml, SERVICES, SECRET);
    let password = format!("MARIADB_ROOT_PASSWORD={SECRET}");
    let options = ["--env", &password, "--env", "MARIADB_DATABASE=shop", "--env", "MARIADB_USER=ada"];
    let options = [&options[..], &["--env", "MARIADB_PASSWORD=adas"]].concat();
    lab.databases.start("db", &options, &["mysql"], &["mariadb", "-uada", "-padas", "shop", "-e", "SELECT 1"]);
    lab
}

impl Lab {
    fn query(&self, database: &str, text: &str) -> String {
        let password = format!("MYSQL_PWD={SECRET}");
        self.databases.exec("db", &["env", &password, "mariadb", "-uroot", "-NB", "--binary-mode", database], text)
    }

    fn shop(&self) -> (String, String) {
        let rows = "SELECT count(*), md5(group_concat(name, hex(b) ORDER BY id)) FROM users; SELECT count(*) FROM `we ``ird; (`;";
        (
            self.query("shop", &format!("SET SESSION group_concat_max_len = 9999999; {rows}")),
            self.query("shop", OBJECTS),
        )
    }

    fn left(&self) -> String {
        self.query("mysql", "SHOW DATABASES LIKE 'cm%';")
    }

    fn mariadb_dump(&self, script: &str) {
        self.program("db", "mariadb-dump", "/usr/bin/mariadb-dump", script);
    }
}

#[test]
fn a_mysql_database_is_backed_up_verified_and_restored() {
    let lab = lab("my", TOML);
    let empty = lab.backup(&[]);
    assert!(done(&empty).stdout.contains("is new and has no data yet"), "{}", empty.stdout);
    lab.query("shop", DATA);
    let facts = lab.make(&["--restore-check"]);
    let manifest = lab.manifest(&facts);
    let table = |name: &str, rows: u64| json!({"name": name, "rows": rows, "counted": [rows, rows]});
    let wanted = json!([
        table("(events)", 4),
        table("(routines)", 1),
        table("(triggers)", 1),
        table("(views)", 1),
        table("log", 0),
        table("nothing", 0),
        {"name": "of_myisam", "rows": 1, "counted": null},
        table("users", 20_000),
        table("we `ird; (", 2),
    ]);
    assert_eq!(manifest["tables"], wanted);
    assert_eq!((&manifest["consistency"], &manifest["format"]), (&json!("transaction"), &json!("mysqldump")));
    assert!(manifest["not_verified"].to_string().contains("not of InnoDB"), "{manifest}");
    let file = facts["file"].as_str().expect("a path");
    assert!(file.contains("/shop-db-shop-2") && file.ends_with(".sql.gz"), "{file}");
    let verified = lab.backup(&["verify", file, "--strict", "--json"]);
    assert!(done(&verified).stdout.contains("\"tables\""), "{}", verified.stdout);
    done(&lab.backup(&["verify", file, "--restore-check"]));
    assert_eq!(lab.left(), "", "nothing is left of a restore that was a check");
    restore(&lab, file);
    let unchanged = || assert_eq!(lab.left(), "");
    lab.refuses_damage(file, "shop", &unchanged);
}

/// The data comes back as it was, with all that the database has besides tables; or nothing changes.
fn restore(lab: &Lab, file: &str) {
    let before = lab.shop();
    lab.query("shop", "DELETE FROM `we ``ird; (`; DELETE FROM users WHERE id > 5; CREATE TABLE later(a int); DROP PROCEDURE p; DROP VIEW v; CREATE VIEW w AS SELECT 1;");
    let changed = lab.shop();
    refused(&lab.backup(&["restore", file]), 2, "restore.unconfirmed", "--drop --confirm=shop");
    done(&lab.backup(&["restore", file, "--drop", "--confirm=shop", "--dry-run"]));
    // What cannot be loaded, and what cannot take its place, changes nothing.
    let client = |script: &str| lab.program("db", "mariadb", "/usr/bin/mariadb", script);
    client("case $* in *--database=cm_scratch*) echo no room >&2; exit 1 ;; esac\nreal \"$@\"");
    refused_in_words(&lab.backup(&["restore", file, "--drop", "--confirm=shop"]), "what was there is as it was");
    client(
        "case $* in *--database=shop*) [ -e /tmp/failed ] || { touch /tmp/failed; echo sick >&2; exit 1; } ;; esac\nreal \"$@\"",
    );
    refused_in_words(&lab.backup(&["restore", file, "--drop", "--confirm=shop"]), "sick");
    client("real \"$@\"");
    assert_eq!(
        (lab.shop(), lab.left()),
        (changed, String::new()),
        "nothing is changed by what is refused, dry or failed"
    );

    let restored = lab.backup(&["restore", file, "--drop", "--confirm=shop", "--json"]);
    assert!(done(&restored).stdout.contains("\"documents\":20010"), "{}", restored.stdout);
    assert_eq!((lab.shop(), lab.left()), (before.clone(), String::new()));
    lab.query("mysql", "DROP DATABASE shop;");
    done(&lab.backup(&["restore", file]));
    assert_eq!(lab.shop(), before);
}

#[test]
fn what_the_user_of_a_dump_may_not_read_is_named() {
    let toml = format!("{TOML}user = \"reader\"\npassword_env = \"READERS\"\ndatabase = \"shop\"\n");
    let lab = lab("my-rights", &toml);
    std::fs::write(lab.databases.home.path().join("work/.env"), "READERS=of-reader\n").expect("written");
    lab.query("shop", "CREATE TABLE t(i int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT i FROM t; CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW SET @a = 1; CREATE USER reader IDENTIFIED BY 'of-reader'; GRANT INSERT ON shop.* TO reader;");
    for (right, words) in [
        ("SELECT", "SELECT command denied"),
        ("TRIGGER", "TRIGGER privilege"),
        ("SHOW VIEW", "SHOW VIEW command denied"),
        ("EVENT", "Access denied"),
    ] {
        let lacking = lab.backup(&[]);
        refused_in_words(&lacking, words);
        let hint = "SHOW VIEW, TRIGGER, EVENT and LOCK TABLES on the database";
        assert!(lacking.stderr.contains(hint), "{}", lacking.stderr);
        assert!(lab.files().is_empty(), "{words}: {:?}", lab.files());
        lab.query("shop", &format!("GRANT {right} ON shop.* TO reader;"));
    }
    let lacks = lab.manifest(&lab.make(&[])).to_string();
    assert!(lacks.contains("the user that dumps lacks the right LOCK TABLES"), "{lacks}");
    lab.query("shop", "GRANT LOCK TABLES ON shop.* TO reader;");
    let all = lab.manifest(&lab.make(&[])).to_string();
    assert!(!all.contains("lacks the right"), "{all}");
}

#[test]
fn a_dump_of_mysql_that_is_not_whole_is_no_backup() {
    let lab = lab("my-bad", TOML);
    lab.query("shop", DATA);
    lab.make(&[]);
    for (script, words) in [
        ("real \"$@\" | head -c 60000; exit 0", "it ends before"),
        ("real \"$@\" | head -c 60000; echo sick >&2; exit 1", "sick"),
        ("exit 0", "it ends before"),
        ("echo sick >&2; exit 1", "sick"),
        ("real \"$@\" --ignore-table=shop.users", "users is missing"),
        ("real \"$@\" --where=1=0", "users has 0 rows, 20000 were counted"),
        ("real \"$@\" --skip-triggers", "(triggers)"),
    ] {
        lab.mariadb_dump(script);
        refused_in_words(&lab.backup(&[]), words);
        assert_eq!(lab.files().len(), 1, "{words}: {:?}", lab.files());
    }
    lab.mariadb_dump("real \"$@\"");
    lab.survives_kills(Duration::from_millis(1500));
    assert_eq!(lab.temporary("db"), "0");
    swaps_survive_kills(&lab);
}

/// Whenever what changes the tables is killed, the next restore finds all of the old data or all of
/// the new, and until then no backup is made of what is between.
fn swaps_survive_kills(lab: &Lab) {
    let file = lab.directory().join(lab.files().first().expect("a backup")).display().to_string();
    let whole = lab.shop();
    let kill = r#"sleep "$1"; for p in /proc/[0-9]*; do if tr '\0' ' ' < "$p/cmdline" | grep -q '^sh -c # Gives the restored'; then kill -9 "${p#/proc/}"; fi; done; sleep 1"#;
    for round in 0..times("CM_DUMP_KILLS", 4) {
        lab.query("shop", "DROP VIEW v; DROP TRIGGER t; CREATE TABLE later(a int); DELETE FROM `we ``ird; (`;");
        let old = lab.shop();
        let mut restoring = lab.start(&["restore", &file, "--drop", "--confirm=shop"]);
        let seconds = format!("{:.2}", 1.6 + 0.3 * round as f64 % 1.5);
        lab.databases.exec("db", &["bash", "-c", kill, "bash", &seconds], "");
        restoring.wait().expect("ours");
        let between = lab.shop();
        if between != whole && between != old {
            refused(&lab.backup(&[]), 21, "backup.restore-unfinished", "cm-backup restore");
        }
        // One that is refused undoes or finishes what was between.
        lab.program("db", "sed", "/bin/sed", "case $* in *'Dumping events'*) exit 1 ;; esac\nreal \"$@\"");
        refused_in_words(&lab.backup(&["restore", &file, "--drop", "--confirm=shop"]), "what was there is as it was");
        lab.program("db", "sed", "/bin/sed", "real \"$@\"");
        let now = lab.shop();
        assert!(now == old || now == whole, "{seconds}: {now:?} is neither {old:?} nor {whole:?}");
        done(&lab.backup(&["restore", &file, "--drop", "--confirm=shop"]));
        assert_eq!((lab.shop(), lab.left()), (whole.clone(), String::new()), "{seconds}");
    }
}

/// A dump and its counts are of one moment, whatever is written meanwhile; and who may read one
/// database only makes a backup, too.
#[test]
fn writers_change_nothing_in_a_backup_of_mysql() {
    let toml = "[[backup]]\nkind = \"mysql\"\nservice = \"db\"\nuser = \"ada\"\n";
    let lab = lab("my-busy", toml);
    lab.query(
        "shop",
        "CREATE TABLE a(n int PRIMARY KEY); INSERT INTO a SELECT seq FROM seq_1_to_50000; CREATE TABLE b(n int);",
    );
    let mover = r#"while [ ! -e /tmp/enough ]; do echo "BEGIN; INSERT INTO b SELECT n FROM a LIMIT 100; DELETE FROM a LIMIT 100; COMMIT;"; done | MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb -uroot shop"#;
    let container = lab.databases.container("db");
    let mut writer =
        std::process::Command::new("docker").args(["exec", &container, "sh", "-c", mover]).spawn().expect("docker");
    for _ in 0..3 {
        let facts = lab.make(&[]);
        assert_eq!(facts["documents"], 50_000, "{facts}");
    }
    lab.databases.exec("db", &["touch", "/tmp/enough"], "");
    writer.wait().expect("ours");
    assert!(lab.query("shop", "SELECT count(*) > 0 FROM b;") == "1", "the writer wrote");
    // Somebody who holds the tables for long does not hold up the backup, which says what it could not do.
    let holder = r#"echo "BEGIN; INSERT INTO b VALUES (1); SELECT SLEEP(20);" | MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb -uroot shop"#;
    let mut holding =
        std::process::Command::new("docker").args(["exec", &container, "sh", "-c", holder]).spawn().expect("docker");
    std::thread::sleep(Duration::from_millis(500));
    let facts = lab.make(&[]);
    assert!(facts["not_verified"].to_string().contains("rows were not counted"), "{facts}");
    assert_eq!(
        lab.manifest(&facts)["tables"][0],
        json!({"name": "a", "rows": lab.manifest(&facts)["tables"][0]["rows"], "counted": null})
    );
    let _ended = holding.kill();
    holding.wait().expect("ours");
}
