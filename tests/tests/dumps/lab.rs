//! What every kind's tests need: backups by the program under test, their files, and damage to them.

use cm_testkit::{Answer, Databases};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A number from the environment: for a longer version of a test.
pub fn times(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

#[track_caller]
pub fn done(answer: &Answer) -> &Answer {
    assert_eq!(answer.code, 0, "{}\n{}", answer.stdout, answer.stderr);
    answer
}

/// That it failed with this exit code and this code of an error, and said these words.
#[track_caller]
pub fn refused(answer: &Answer, exit: i32, code: &str, words: &str) {
    let all = format!("{}\n{}", answer.stdout, answer.stderr);
    assert_eq!(answer.code, exit, "{all}");
    assert!(all.contains(&format!("\"code\":\"{code}\"")) && all.contains(words), "{code}, {words}: {all}");
}

/// How many ways there are to damage a file.
const DAMAGES: u64 = 9;

/// The file `whole`, damaged in the way `way` at a place that is drawn.
fn damaged(whole: &[u8], way: u64, draw: u64) -> Vec<u8> {
    let at = (draw >> 8) as usize % whole.len();
    let mut bytes = whole.to_vec();
    match way {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << (draw & 7),
        2 => bytes.extend_from_slice(b"x"),
        3 => drop(bytes.remove(at)),
        4 => bytes.clear(),
        // Twice in one file, as after two runs of `>>`.
        5 => bytes.extend_from_slice(whole),
        // A block that the disk has lost.
        6 => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
        // Two parts that have changed places.
        7 => bytes.rotate_left(at),
        // Another one's file under its name.
        _ => bytes = b"another backup\n".repeat(1 + at % 99),
    }
    bytes
}

/// A project with its databases, and its backups in `~/backups`.
pub struct Lab {
    pub databases: Databases,
    pub secret: &'static str,
}

impl Lab {
    pub fn new(test: &str, toml: &str, services: &str, secret: &'static str) -> Lab {
        let mut databases = Databases::new(test, toml, services);
        databases.home.set("CM_LOG", "json");
        Lab { databases, secret }
    }

    pub fn directory(&self) -> PathBuf {
        self.databases.home.path().join("backups")
    }

    /// Runs cm-backup; the secret is in nothing that it says.
    pub fn backup(&self, arguments: &[&str]) -> Answer {
        let answer = self.databases.run("cm-backup", arguments);
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(self.secret.is_empty() || !said.contains(self.secret), "{said}");
        answer
    }

    /// Makes a backup, which has to work; its facts.
    #[track_caller]
    pub fn make(&self, arguments: &[&str]) -> Value {
        let answer = self.backup(arguments);
        let document = done(&answer).document();
        let facts = document["facts"]["backup"].clone();
        assert_eq!(facts["verified"], true, "{facts}");
        for one in facts["backups"].as_array().unwrap_or(&vec![facts.clone()]) {
            let file = PathBuf::from(one["file"].as_str().expect("a path"));
            assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
            let manifest = fs::read_to_string(one["manifest"].as_str().expect("a path")).expect("a manifest");
            assert!(self.secret.is_empty() || !manifest.contains(self.secret), "{manifest}");
        }
        facts
    }

    pub fn manifest(&self, facts: &Value) -> Value {
        let text = fs::read(facts["manifest"].as_str().expect("a path")).expect("a manifest");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// The files of the directory, manifests left out.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
        let mut names: Vec<_> = names.filter(|name| !name.ends_with(".manifest.json")).collect();
        names.sort();
        names
    }

    /// Damages the file, `CM_DUMP_DAMAGES` times, in every way; each is refused by `verify`, and some by `restore`, which
    /// says with `unchanged` that the data is as it was. `CM_SEED` repeats a draw.
    pub fn refuses_damage(&self, file: &str, confirmed: &str, unchanged: &dyn Fn()) {
        let seed = times("CM_SEED", u64::from(std::process::id()));
        let (whole, copy) = (fs::read(file).expect("a backup"), format!("{file}.damaged"));
        fs::copy(format!("{file}.manifest.json"), format!("{copy}.manifest.json")).expect("a manifest");
        let mut draw = seed.wrapping_mul(2_654_435_761) | 1;
        for round in 0..times("CM_DUMP_DAMAGES", 300) {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bytes = damaged(&whole, round % DAMAGES, draw >> 20);
            if bytes == whole {
                continue;
            }
            fs::write(&copy, &bytes).expect("written");
            let verified = self.backup(&["verify", &copy]);
            let all = format!("{}\n{}", verified.stdout, verified.stderr);
            assert!(verified.code == 21 && all.contains("is not"), "round {round} of seed {seed}: {all}");
            if round < DAMAGES {
                let confirmed = format!("--confirm={confirmed}");
                refused_in_words(&self.backup(&["restore", &copy, "--drop", &confirmed]), "is not");
                unchanged();
            }
        }
        fs::remove_file(&copy).expect("ours");
        fs::remove_file(format!("{copy}.manifest.json")).expect("ours");
    }

    /// Kills backups at moments through their whole time; nothing has a backup's name then but those
    /// that are whole, and the next run removes what was left.
    pub fn survives_kills(&self, longest: Duration) {
        let count = times("CM_DUMP_KILLS", 4);
        let before = self.files();
        for round in 0..count {
            let mut child = self.start(&[]);
            std::thread::sleep(longest.mul_f64((round as f64 + 0.5) / count as f64));
            let _ended_already = child.kill();
            child.wait().expect("ours");
            for name in self.files().iter().filter(|name| !before.contains(name)) {
                if !name.ends_with(".partial") {
                    done(&self.backup(&["verify", "--strict", &self.directory().join(name).display().to_string()]));
                }
            }
        }
        // What a killed run's own shell still writes ends with its input.
        std::thread::sleep(Duration::from_millis(500));
        self.make(&[]);
        let left: Vec<_> = self.files().into_iter().filter(|name| name.ends_with(".partial")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Puts a script in front of a program of a service; what it has, `path`, it calls `real`.
    pub fn program(&self, service: &str, name: &str, path: &str, script: &str) {
        let put = r#"cat > "/usr/local/bin/$1"; chmod 755 "/usr/local/bin/$1""#;
        let head = format!("#!/bin/sh\nreal() {{ {path} \"$@\"; }}\n");
        self.databases.exec(service, &["sh", "-ec", put, "sh", name], &format!("{head}{script}\n"));
    }

    /// How many temporary files jobs have left in a service's container.
    pub fn temporary(&self, service: &str) -> String {
        self.databases.exec(service, &["sh", "-c", "sleep 1; ls /tmp | grep -c '^tmp\\.' || true"], "")
    }

    /// Starts cm-backup; nobody listens.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.databases.home.command("cm-backup", arguments, "work");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cm-backup")
    }
}

/// That it failed as a backup does, and said these words.
#[track_caller]
pub fn refused_in_words(answer: &Answer, words: &str) {
    let all = format!("{}\n{}", answer.stdout, answer.stderr);
    assert!(answer.code == 21 && all.contains(words), "{}: {all}", answer.code);
}
