//! Named volumes.

use crate::lab::{Lab, done, refused, refused_in_words, times};
use cm_testkit::databases::image;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;

const TOML: &str = "[[backup]]\nkind = \"volume\"\nvolume = \"uploads\"\nstop = true\n";
const SERVICES: &str = "  app: {image: app, volumes: ['uploads:/data']}\nvolumes: {uploads: {}}\n";

const DATA: &str = r#"cd /data && mkdir -p 'a b/c' .hidden && echo hi > 'a b/c/x' && head -c 300000 /dev/urandom > large && ln -s large link
ln large hard && chown 33:33 large && chmod 750 . && touch .hidden/y ./-n ..z && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")' 2> /dev/null || true"#;

fn lab(test: &str) -> Lab {
    let lab = Lab::new(test, TOML, SERVICES, "");
    let container = lab.databases.container("app");
    let project = container.strip_suffix("-app-1").expect("a name");
    let label = format!("com.docker.compose.project={project}");
    let volume = format!("{project}_uploads");
    let labels = ["--label", &label, "--label", "com.docker.compose.volume=uploads"];
    let made =
        Command::new("docker").args(["volume", "create"]).args(labels).arg(&volume).stdout(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()));
    lab.databases.start("app", &["--init", "--volume", &format!("{volume}:/data")], &["files"], &["true"]);
    lab
}

impl Lab {
    fn sh(&self, script: &str) -> String {
        self.databases.exec("app", &["sh", "-ec", script], "")
    }

    /// All that is in the volume, with owners, modes, and sums.
    fn volume_files(&self) -> String {
        self.sh("cd /data && find . ! -type s -printf '%p %u %m %y %l %n\\n' | sort && find . -type f -exec sha256sum {} + | sort")
    }

    /// Containers and volumes that runs have made, one a line.
    fn helpers(&self) -> String {
        let container = self.databases.container("app");
        let label = format!("label=cm.helper={}", container.strip_suffix("-app-1").expect("a name"));
        let ask = r#"docker ps --all --filter "$1" --format '{{.Names}} {{.Status}}'; docker volume ls --quiet --filter "$1""#;
        let said = Command::new("sh").args(["-c", ask, "sh", &label]).output().expect("sh").stdout;
        String::from_utf8_lossy(&said).into_owned()
    }

    fn runs(&self) -> bool {
        let format = "{{.State.Running}}";
        let asked =
            Command::new("docker").args(["inspect", "--format", format, &self.databases.container("app")]).output();
        asked.is_ok_and(|said| said.stdout.starts_with(b"true"))
    }
}

#[test]
fn a_volume_is_packed_verified_and_restored() {
    let lab = lab("vol");
    assert!(done(&lab.backup(&[])).stdout.contains("is new and has no data yet"));
    lab.sh(DATA);
    let facts = lab.make(&["--restore-check"]);
    assert!(lab.runs(), "who was stopped runs again");
    let (count, manifest) = (lab.sh("cd /data && find . ! -type s | wc -l"), lab.manifest(&facts));
    let count: u64 = count.parse().expect("a number");
    assert_eq!(manifest["tables"], json!([{"name": "files", "rows": count, "counted": [count, count]}]));
    assert_eq!((&manifest["format"], &manifest["consistency"]), (&json!("tar"), &json!("snapshot")));
    let file = facts["file"].as_str().expect("a path").to_owned();
    assert!(file.contains("/shop-uploads-2") && file.ends_with(".tar.gz"), "{file}");
    let listed = lab.backup(&["list"]);
    assert!(done(&listed).stdout.contains(&format!("{count} files ")), "{}", listed.stdout);

    let before = lab.volume_files();
    lab.sh("cd /data && rm -rf 'a b' large && echo new > later && chmod 700 .");
    let changed = lab.volume_files();
    refused(&lab.backup(&["restore", &file, "--drop"]), 2, "restore.unconfirmed", "--confirm=uploads");
    lab.refuses_damage(&file, "uploads", &|| assert_eq!(lab.volume_files(), changed));
    done(&lab.backup(&["restore", &file, "--drop", "--confirm=uploads"]));
    assert_eq!(lab.volume_files(), before);

    // Nobody is stopped who is not to be; what is in one then is said.
    lab.databases.configure(&TOML.replace("stop = true\n", ""), SERVICES);
    let facts = lab.make(&[]);
    assert!(facts["not_verified"].to_string().contains("nobody was stopped"), "{facts}");
    lab.databases.configure(TOML, SERVICES);
    nobody_is_stopped_amid_anothers_deployment(&lab, &file);
}

/// Who stops containers holds the deploy lock, and asks for it again right before: one that was asleep meanwhile stops
/// nobody, and starts nobody.
fn nobody_is_stopped_amid_anothers_deployment(lab: &Lab, file: &str) {
    let lock = lab.databases.home.path().join(".local/state/cm/shop/lock.json");
    let ids = || {
        let format = "{{.Id}} {{.State.StartedAt}}";
        let words = ["inspect", "--format", format, &lab.databases.container("app")];
        Command::new("docker").args(words).output().expect("docker").stdout
    };
    let (began, backups) = (ids(), lab.files());
    let restore = ["restore", file, "--drop", "--confirm=uploads"];
    // The first change of either puts right what a dead run may have left, the others dump, load and change.
    for (call, changes) in [(&[][..], 1..3), (&restore[..], 1..4)] {
        for change in changes {
            let mut command = lab.databases.home.command("cm-backup", call, "work");
            command.env("CM_STOP_BEFORE", format!("change:{change}")).stdin(Stdio::null());
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cm-backup");
            let stat = format!("/proc/{}/stat", child.id());
            let is_stopped = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
            cm_testkit::until("it is suspended", Duration::from_secs(60), is_stopped);
            let taken = std::fs::read_to_string(&lock).expect("a lock");
            let nonce = taken.split_once("\"nonce\":\"").and_then(|(_, rest)| rest.get(..36)).expect("a nonce");
            let others = taken.replace(nonce, "00000000-0000-7000-8000-000000000000").replace("\"pid\":", "\"pid\":1");
            std::fs::write(&lock, &others).expect("taken over");
            let id = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(id, rustix::process::Signal::CONT).expect("awake");
            let ended = child.wait_with_output().expect("ours");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(11), "change {change} of {call:?}: {said}");
            assert_eq!((ids(), lab.files()), (began.clone(), backups.clone()), "change {change} of {call:?}: {said}");
            assert_eq!(std::fs::read_to_string(&lock).expect("the other's"), others, "change {change} of {call:?}");
            std::fs::remove_file(&lock).expect("ours");
        }
    }
    let another = r#"{"schema":"cm.lock/1","owner":"bob@desk","nonce":"00000000-0000-7000-8000-000000000000","since":"2026-01-01T00:00:00Z","lease_seconds":3600,"process":{"machine":"desk","boot_id":"another","pid_namespace":1,"pid":1,"start":1}}"#;
    std::fs::write(&lock, format!("{another}\n")).expect("another's");
    let held = lab.backup(&[]);
    assert!(held.code == 10 && held.stderr.contains("bob@desk"), "{}: {}", held.code, held.stderr);
    assert_eq!((ids(), lab.files()), (began, backups));
    std::fs::remove_file(&lock).expect("ours");
    done(&lab.backup(&restore));
}

#[test]
fn who_was_stopped_runs_again_whatever_is_killed() {
    let lab = lab("vol-kill");
    lab.sh(DATA);
    let facts = lab.make(&[]);
    let file = facts["file"].as_str().expect("a path").to_owned();
    let whole = lab.volume_files();
    let kill = r#"sleep "$1"; for p in /proc/[0-9]*; do c=$(tr '\0' ' ' < "$p/cmdline" 2> /dev/null) || continue; case $c in "sh -c # $2"*"$3"*|*" sh -c # $2"*"$3"*|"$2"*"$3"*) kill -9 "${p#/proc/}" ;; esac; done 2> /dev/null; sleep 0.5"#;
    let project = lab.databases.container("app").strip_suffix("-app-1").expect("a name").to_owned();
    let killed = |title: &str, seconds: f64, arguments: &[&str]| {
        let mut running = lab.start(arguments);
        let _some_have_ended =
            Command::new("bash").args(["-c", kill, "bash", &format!("{seconds:.2}"), title, &project]).status();
        running.wait().expect("ours");
        for _ in 0..150 {
            if lab.runs() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not run again after {title} was killed at {seconds}");
    };
    for round in 0..times("CM_DUMP_KILLS", 4) {
        let later = 0.3 * (round % 5) as f64;
        killed("Packs the volume", 0.8 + later, &[]);
        lab.sh("cd /data && rm -f 'a b/c/x' large && echo new > later");
        let old = lab.volume_files();
        killed("docker run", 0.5 + later, &[]);
        killed("Changes the files", 2.6 + later, &["restore", &file, "--drop", "--confirm=uploads"]);
        // What is between is made no backup of; the next restore undoes or finishes it first.
        if lab.sh("ls -d /data/.cm_old_* 2> /dev/null || true").is_empty() {
            let now = lab.volume_files();
            let now = now.lines().filter(|line| !line.contains(".cm_scratch_")).collect::<Vec<_>>().join("\n");
            assert!(now == whole || now == old, "{now}\nis neither\n{old}\nnor\n{whole}");
        } else {
            refused_in_words(&lab.backup(&[]), "was interrupted");
        }
        done(&lab.backup(&["restore", &file, "--drop", "--confirm=uploads"]));
        assert_eq!(lab.volume_files(), whole);
    }
    done(&lab.backup(&[]));
    let left = lab.files().into_iter().filter(|name| name.ends_with(".partial")).collect::<Vec<_>>();
    assert!(left.is_empty() && lab.helpers().is_empty(), "{left:?} {}", lab.helpers());
    leaves_no_helper(&lab, &project);
}

/// What a run that has died made is removed, in whatever state it is; what is somebody's stays.
fn leaves_no_helper(lab: &Lab, project: &str) {
    let me = std::process::id();
    let birth = "sed 's/.*) //' /proc/$1/stat | cut -d ' ' -f 20";
    let birth = Command::new("sh").args(["-c", birth, "sh", &me.to_string()]).output().expect("sh").stdout;
    let user = rustix::process::getuid().as_raw();
    let (alive, dead) =
        (format!("cm.by={user}.{me}.{}", String::from_utf8_lossy(&birth).trim()), format!("cm.by={user}.1.7"));
    let helper = format!("cm.helper={project}");
    let mounted = format!("{project}_uploads:/cm-volume");
    let make = |what: &[&str], by: &str, rest: &[&str]| {
        let labels = ["--label", &helper, "--label", by];
        let made = Command::new("docker").args(what).args(labels).args(rest).stdout(Stdio::null()).status();
        assert!(made.is_ok_and(|status| status.success()), "{what:?}");
    };
    let container = |by: &str| {
        make(&["create"], by, &["--volume", &mounted, image(), "files"]);
        make(&["run", "--detach"], by, &["--volume", &mounted, image(), "files"]);
    };
    container(&dead);
    make(&["volume", "create"], &dead, &[&format!("{project}-dead")]);
    container(&alive);
    make(&["volume", "create"], &alive, &[&format!("{project}-alive")]);
    let answer = lab.backup(&[]);
    assert_eq!(done(&answer).stderr.matches("of a run that had died").count(), 3, "{}", answer.stderr);
    assert_eq!(lab.helpers().lines().count(), 3, "{}", lab.helpers());
    let remove = r#"docker ps --all --quiet --filter "label=$1" | xargs -r docker rm --force
docker volume ls --quiet --filter "label=$1" | xargs -r docker volume rm"#;
    let removed = Command::new("sh").args(["-c", remove, "sh", &helper]).stdout(Stdio::null()).status();
    assert!(removed.is_ok_and(|status| status.success()));
}

/// As when the power goes: whoever would have started it again is killed, too, and the next run does it.
#[test]
fn who_was_stopped_is_started_by_the_next_run_where_nobody_else_is_left() {
    let lab = lab("vol-dead");
    // The deploy lock of who has died is free when its lease is over.
    lab.databases.configure(&format!("[lock]\nlease = \"5s\"\n{TOML}"), SERVICES);
    let when_free = |arguments: &[&str]| loop {
        match lab.backup(arguments) {
            answer if answer.code == 10 => std::thread::sleep(Duration::from_millis(200)),
            answer => break answer,
        }
    };
    lab.sh(DATA);
    let facts = lab.make(&[]);
    let file = facts["file"].as_str().expect("a path").to_owned();
    let container = lab.databases.container("app");
    let project = container.strip_suffix("-app-1").expect("a name");
    let all_at_once = r#"for signal in STOP KILL; do
  for file in $(grep -lsF -e "$1" -e "$2" /proc/[0-9]*/cmdline); do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    [ "$pid" = $$ ] || kill -s "$signal" "$pid"
  done
done 2> /dev/null"#;
    let list = lab.databases.home.path().join(".local/state/cm/shop/stopped/uploads");
    // On a busy machine the backup may have ended before it is killed.
    let down = || {
        for _ in 0..10 {
            let mut running = lab.start(&[]);
            for _ in 0..600 {
                if !lab.runs() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let home = lab.databases.home.path().display().to_string();
            let words = ["-c", all_at_once, "bash", project, &home];
            let _some_have_ended = Command::new("bash").args(words).status();
            let _ended_already = running.kill();
            running.wait().expect("ours");
            std::thread::sleep(Duration::from_secs(1));
            if !lab.runs() {
                assert!(list.exists(), "nobody has written it down");
                return;
            }
        }
        panic!("never killed while it was stopped");
    };
    down();
    let again = when_free(&[]);
    assert!(done(&again).stderr.contains(&format!("had stopped it: {container}")), "{}", again.stderr);
    assert!(lab.runs() && !list.exists());
    down();
    let dry = lab.backup(&["restore", &file, "--drop", "--confirm=uploads", "--dry-run"]);
    done(&dry);
    assert!(!lab.runs(), "a dry run changes nothing");
    done(&when_free(&["restore", &file, "--drop", "--confirm=uploads"]));
    assert!(lab.runs() && !list.exists());
}
