//! PostgreSQL.

use crate::lab::{Lab, done, refused, refused_in_words};
use serde_json::json;
use std::time::Duration;

const SECRET: &str = "pl4nted'pass\"word";
const TOML: &str = "[[backup]]\nkind = \"postgres\"\nservice = \"db\"\n";
const SERVICES: &str = "  db: {image: postgres}\n";

/// Names with everything in them, tables of every sort, and what COPY looks like as data.
const DATA: &str = r#"
CREATE TABLE users(id serial PRIMARY KEY, name text);
INSERT INTO users(name) SELECT 'u' || i || E'\n\\.\nCOPY x FROM stdin;' FROM generate_series(1, 20000) i;
CREATE SCHEMA "We ird"; CREATE TABLE "We ird"."a ""b"" (c)"(x int REFERENCES users); INSERT INTO "We ird"."a ""b"" (c)" VALUES (1), (2);
CREATE TABLE nothing(); CREATE TABLE none(z int); CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a;
CREATE VIEW v AS SELECT * FROM users; CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM users;
CREATE TABLE part(a int) PARTITION BY RANGE (a); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
INSERT INTO part VALUES (1); SELECT lo_from_bytea(0, 'large');
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'COPY a FROM stdin;' $$;
CREATE ROLE reader; ALTER DATABASE shop SET search_path TO "$user", public, "We ird"; GRANT CONNECT ON DATABASE shop TO reader;
ALTER DATABASE shop SET work_mem = '5MB'; COMMENT ON DATABASE shop IS 'the shop';
"#;

fn lab(test: &str, toml: &str, options: &[&str]) -> Lab {
    let lab = Lab::new(test, toml, SERVICES, SECRET);
    let password = format!("POSTGRES_PASSWORD={SECRET}");
    let fixed = ["--env", "POSTGRES_USER=ada", "--env", "POSTGRES_DB=shop", "--env", &password];
    let options = [&fixed, options].concat();
    lab.databases.start("db", &options, &["postgres"], &["pg_isready", "-U", "ada", "-d", "shop"]);
    lab
}

impl Lab {
    fn sql(&self, database: &str, text: &str) -> String {
        let password = format!("PGPASSWORD={SECRET}");
        let words = ["env", &password, "psql", "-XAtqU", "ada", "-v", "ON_ERROR_STOP=1", "-d", database];
        self.databases.exec("db", &words, text)
    }

    fn rows(&self) -> String {
        self.sql("shop", "SELECT count(*), md5(string_agg(users::text, ',' ORDER BY id)) FROM users;")
    }

    fn scratch(&self) -> String {
        self.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'cm%';")
    }

    fn pg_program(&self, name: &str, script: &str) {
        self.program("db", name, &format!("/usr/lib/postgresql/*/bin/{name}"), script);
    }
}

#[test]
fn a_postgres_database_is_backed_up_verified_and_restored() {
    let lab = lab("pg", TOML, &[]);
    let empty = lab.backup(&[]);
    assert!(done(&empty).stdout.contains("is new and has no data yet"), "{}", empty.stdout);
    lab.sql("shop", DATA);
    let facts = lab.make(&["--restore-check"]);
    assert_eq!(
        (&facts["kind"], &facts["database"], &facts["service"]),
        (&json!("postgres"), &json!("shop"), &json!("db"))
    );
    let manifest = lab.manifest(&facts);
    let table = |name: &str, rows: u64| json!({"name": name, "rows": rows, "counted": [rows, rows]});
    let wanted = json!([
        table("We ird.a \"b\" (c)", 2),
        table("large objects", 1),
        table("public.none", 0),
        table("public.nothing", 0),
        table("public.part1", 1),
        table("public.unlogged", 1),
        table("public.users", 20_000),
    ]);
    assert_eq!(manifest["tables"], wanted);
    assert_eq!((&manifest["consistency"], &manifest["format"]), (&json!("snapshot"), &json!("pg_dump-custom")));
    assert!(manifest["not_verified"].to_string().contains("roles and their passwords are not in it"));
    let file = facts["file"].as_str().expect("a path");
    assert!(file.contains("/shop-db-shop-2") && file.ends_with(".dump"), "{file}");

    let listed = lab.backup(&["list"]);
    assert!(done(&listed).stdout.contains("7 tables, 20005 rows "), "{}", listed.stdout);
    let verified = lab.backup(&["verify", file, "--strict", "--json"]);
    assert!(done(&verified).stdout.contains("\"tables\""), "{}", verified.stdout);
    done(&lab.backup(&["verify", file, "--restore-check"]));
    assert_eq!(lab.scratch(), "", "nothing is left of a restore that was a check");

    restore(&lab, file);
    let unchanged = || assert_eq!(lab.scratch(), "");
    lab.refuses_damage(file, "shop", &unchanged);

    lab.make(&[]);
    done(&lab.backup(&["prune", "--keep", "1", "--dry-run"]));
    assert_eq!(lab.files().len(), 2);
    done(&lab.backup(&["prune", "--keep", "1"]));
    assert_eq!(lab.files().len(), 1);
}

/// The data comes back as it was, with all that the database has besides tables; or nothing changes.
fn restore(lab: &Lab, file: &str) {
    let before = lab.rows();
    let settings = "SELECT setconfig::text FROM pg_db_role_setting; SELECT one::text, shobj_description(oid, 'pg_database') FROM pg_database, unnest(datacl) one WHERE datname = 'shop' ORDER BY 1;";
    let had = lab.sql("shop", settings);
    lab.sql("shop", "DELETE FROM users WHERE id > 5 AND id NOT IN (SELECT x FROM \"We ird\".\"a \"\"b\"\" (c)\"); CREATE TABLE later(a int);");
    let changed = lab.rows();
    refused(&lab.backup(&["restore", file]), 2, "restore.unconfirmed", "--drop --confirm=shop");
    refused(&lab.backup(&["restore", file, "--drop"]), 2, "restore.unconfirmed", "--confirm=shop");
    refused(&lab.backup(&["restore", file, "--drop", "--collection", "x"]), 2, "usage.kind", "--collection");
    done(&lab.backup(&["restore", file, "--drop", "--confirm=shop", "--dry-run"]));
    assert_eq!(lab.rows(), changed, "nothing is changed by what is refused or dry");

    let restored = lab.backup(&["restore", file, "--drop", "--confirm=shop", "--json"]);
    assert!(done(&restored).stdout.contains("\"documents\":20005"), "{}", restored.stdout);
    assert_eq!((lab.rows(), lab.sql("shop", settings)), (before.clone(), had));
    assert_eq!(lab.sql("shop", "SELECT to_regclass('later') IS NULL, (SELECT count(*) FROM v);"), "t|20000");
    assert_eq!(lab.scratch(), "");

    // A database that is gone needs no word: nothing can be lost.
    lab.sql("postgres", "DROP DATABASE shop;");
    done(&lab.backup(&["restore", file]));
    assert_eq!(lab.rows(), before);
}

#[test]
fn a_dump_that_is_not_whole_is_no_backup() {
    let lab = lab("pg-bad", TOML, &[]);
    lab.sql("shop", DATA);
    let first = lab.make(&[]);
    for (script, words) in [
        ("real \"$@\" | head -c 60000; exit 0", "end of file"),
        ("real \"$@\" | head -c 60000; echo sick >&2; exit 1", "sick"),
        ("exit 0", "it ends before it begins"),
        ("echo sick >&2; exit 1", "sick"),
        ("real \"$@\" -T users", "public.users is missing"),
        ("printf 'something else that is longer than a mark'", "does not begin as such a dump does"),
    ] {
        lab.pg_program("pg_dump", script);
        let failed = lab.backup(&[]);
        refused_in_words(&failed, words);
        assert_eq!(lab.files().len(), 1, "{words}: {:?}", lab.files());
    }
    lab.pg_program("pg_dump", "real \"$@\"");
    // What cannot be restored is found by trying: an extension that is not there any more.
    lab.pg_program("pg_restore", "case $* in *exit-on-error*) echo no room >&2; exit 1 ;; esac\nreal \"$@\"");
    refused(&lab.backup(&["--restore-check"]), 21, "backup.restore-check", "no room");
    let rows = lab.rows();
    let file = first["file"].as_str().expect("a path");
    refused_in_words(&lab.backup(&["restore", file, "--drop", "--confirm=shop"]), "what was there is as it was");
    assert_eq!((lab.rows(), lab.scratch()), (rows, String::new()));
    lab.pg_program("pg_restore", "real \"$@\"");
    lab.survives_kills(Duration::from_millis(1500));
    assert_eq!(lab.temporary("db"), "0");
}

/// A dump and its counts are of one moment, whatever is written meanwhile.
#[test]
fn writers_change_nothing_in_a_backup() {
    let toml = "[[backup]]\nkind = \"postgres\"\nservice = \"db\"\nuser = \"bob\"\npassword_env = \"BOBS\"\ndatabase = \"shop\"\n";
    let lab = lab("pg-busy", toml, &["--env", "AUTH_LOCAL=scram-sha-256"]);
    lab.sql("shop", "CREATE TABLE a(n int); INSERT INTO a SELECT generate_series(1, 50000); CREATE TABLE b(n int); CREATE ROLE bob LOGIN SUPERUSER PASSWORD 'pl4nted of bob';");
    let wrong = lab.backup(&[]);
    refused(&wrong, 6, "backup.env-file", ".env");
    std::fs::write(lab.databases.home.path().join("work/.env"), "BOBS=wrong\n").expect("written");
    refused(&lab.backup(&[]), 21, "backup.database-unreachable", "password authentication failed");
    std::fs::write(lab.databases.home.path().join("work/.env"), "BOBS='pl4nted of bob'\n").expect("written");
    let mover = r#"while [ ! -e /tmp/enough ]; do echo "WITH gone AS (DELETE FROM a WHERE n IN (SELECT n FROM a LIMIT 500) RETURNING n) INSERT INTO b SELECT n FROM gone;"; done | PGPASSWORD="$POSTGRES_PASSWORD" psql -XqU ada shop"#;
    let container = lab.databases.container("db");
    let mut writer =
        std::process::Command::new("docker").args(["exec", &container, "sh", "-c", mover]).spawn().expect("docker");
    for _ in 0..3 {
        let facts = lab.make(&[]);
        assert_eq!(facts["documents"], 50_000, "{facts}");
    }
    lab.databases.exec("db", &["touch", "/tmp/enough"], "");
    writer.wait().expect("ours");
    assert!(lab.sql("shop", "SELECT count(*) > 0 FROM b;") == "t", "the writer wrote");
}
