//! Redis.

use crate::lab::{Lab, done, refused, refused_in_words};
use serde_json::json;
use std::time::Duration;

const SECRET: &str = "pl4nted pass\"word";
const TOML: &str = "[[backup]]\nkind = \"redis\"\nservice = \"cache\"\npassword_env = \"CACHE_PASSWORD\"\n";
const SERVICES: &str = "  cache: {image: redis}\n";

const DATA: &str = r#"for i in $(seq 1 5000); do echo "SET k$i v$i"; done
echo "SELECT 3"; echo "HSET h a 1 b 2"; echo "RPUSH l x y z"; echo "XADD s 1-1 a b"; echo "ZADD z 1 a 2 b"; echo "SET gone soon EX 1000"
"#;

fn lab(test: &str) -> Lab {
    let lab = Lab::new(test, TOML, SERVICES, SECRET);
    std::fs::write(lab.databases.home.path().join("work/.env"), format!("CACHE_PASSWORD='{SECRET}'\n"))
        .expect("written");
    lab.databases.start("cache", &[], &["redis", "--requirepass", SECRET], &["redis-cli", "PING"]);
    lab
}

impl Lab {
    fn redis(&self, words: &[&str]) -> String {
        let password = format!("REDISCLI_AUTH={SECRET}");
        self.databases.exec("cache", &[&["env", &password, "redis-cli"], words].concat(), "")
    }

    fn fill(&self) {
        let password = format!("REDISCLI_AUTH={SECRET}");
        let line = format!("({DATA}) | redis-cli > /dev/null");
        self.databases.exec("cache", &["env", &password, "sh", "-c", &line], "");
    }

    fn keys(&self) -> String {
        let all = [&["DBSIZE"][..], &["-n", "3", "DBSIZE"], &["GET", "k77"], &["-n", "3", "LRANGE", "l", "0", "-1"]];
        all.map(|words| self.redis(words)).join("|")
    }
}

#[test]
fn redis_is_backed_up_verified_and_restored() {
    let lab = lab("red");
    let empty = lab.backup(&[]);
    assert!(done(&empty).stdout.contains("is new and has no data yet"), "{}", empty.stdout);
    lab.fill();
    let facts = lab.make(&["--restore-check"]);
    let manifest = lab.manifest(&facts);
    let wanted = json!([{"name": "keys that do not expire", "rows": 5004, "counted": [5004, 5004]}]);
    assert_eq!((&manifest["tables"], &manifest["format"]), (&wanted, &json!("rdb")));
    let listed = lab.backup(&["list"]);
    assert!(done(&listed).stdout.contains("5004 keys "), "{}", listed.stdout);
    let file = facts["file"].as_str().expect("a path");
    assert!(file.contains("/shop-cache-2") && file.ends_with(".rdb.gz"), "{file}");
    done(&lab.backup(&["verify", file, "--strict", "--restore-check"]));

    let before = lab.keys();
    lab.redis(&["SET", "k77", "other"]);
    lab.redis(&["SET", "later", "x"]);
    let changed = lab.keys();
    refused(&lab.backup(&["restore", file, "--drop"]), 2, "restore.unconfirmed", "--confirm=cache");
    lab.refuses_damage(file, "cache", &|| assert_eq!(lab.keys(), changed));
    done(&lab.backup(&["restore", file, "--drop", "--confirm=cache"]));
    assert_eq!(lab.keys(), before);
    assert!(lab.redis(&["INFO", "replication"]).contains("role:master"));
    assert!(lab.redis(&["-n", "3", "TTL", "gone"]).parse::<i64>().is_ok_and(|left| left > 500));
    lab.redis(&["SET", "k77", "written"]);
}

#[test]
fn a_dump_of_redis_that_is_not_whole_is_no_backup() {
    let lab = lab("red-bad");
    lab.fill();
    lab.make(&[]);
    let of_file = r#"real "$@"; rc=$?; case $* in *--rdb*) for f do :; done;"#;
    for (script, words) in [
        ("case $* in *--rdb*) echo sick >&2; exit 1 ;; esac; real \"$@\"".to_owned(), "sick"),
        (format!("{of_file} truncate -s -9 \"$f\" ;; esac; exit $rc"), ""),
        (format!("{of_file} : > \"$f\" ;; esac; exit $rc"), ""),
        (format!("{of_file} printf x | dd of=\"$f\" bs=1 seek=300 conv=notrunc 2> /dev/null ;; esac; exit $rc"), ""),
    ] {
        lab.program("cache", "redis-cli", "/usr/bin/redis-cli", &script);
        refused_in_words(&lab.backup(&[]), words);
        assert_eq!(lab.files().len(), 1, "{script}: {:?}", lab.files());
    }
    lab.program("cache", "redis-cli", "/usr/bin/redis-cli", "real \"$@\"");
    lab.survives_kills(Duration::from_millis(1000));
    assert_eq!(lab.temporary("cache"), "0");
    // A restore that fails before the server follows anybody changes nothing.
    let file = lab.directory().join(lab.files().first().expect("a backup")).display().to_string();
    let before = lab.keys();
    lab.program("cache", "redis-server", "/usr/bin/redis-server", "echo no room >&2; exit 1");
    refused_in_words(&lab.backup(&["restore", &file, "--drop", "--confirm=cache"]), "");
    assert_eq!(lab.keys(), before);
    assert!(lab.redis(&["INFO", "replication"]).contains("role:master"));
}
