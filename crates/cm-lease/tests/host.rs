//! The lock of a host, tried on this machine (`address = "local"`): the script that
//! does the work is the same as over SSH, and so is its one command per visit.

use cm_core::{Exit, Format, Level, Log};
use cm_host::{Host, Target};
use cm_lease::remote::{self, Renewal, Sight, There};
use cm_lease::{Attempt, Process, Record};
use std::fs;
use std::path::Path;
use std::time::Duration;

async fn host() -> Host {
    let target = Target::at("web", "local");
    Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local")
}

/// A record of a holder that this machine can find out nothing about.
fn stranger(owner: &str, lease: u64) -> Record {
    let mut record = Record::new(owner, Duration::from_secs(lease)).expect("/proc");
    record.process.boot_id = "another".to_owned();
    record
}

fn own(owner: &str) -> Record {
    Record::new(owner, Duration::from_secs(60)).expect("/proc")
}

async fn take(dir: &Path, record: &Record) -> Attempt<()> {
    remote::take(&host().await, &dir.to_string_lossy(), record).await.expect("answered")
}

fn holder(attempt: Attempt<()>) -> String {
    match attempt {
        Attempt::Held(holder) => holder.name().to_owned(),
        Attempt::Taken(()) => "nobody".to_owned(),
    }
}

async fn there(dir: &Path) -> Box<There> {
    match remote::look(&host().await, &dir.to_string_lossy()).await.expect("answered") {
        Sight::There(there) => there,
        other => panic!("{other:?}"),
    }
}

/// Lets the lease run for `seconds` without waiting for them.
fn age(dir: &Path, seconds: u64) {
    let then = std::time::SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options()
        .write(true)
        .open(dir.join("lock.json"))
        .and_then(|file| file.set_modified(then))
        .expect("touch");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).expect("list").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn it_is_taken_told_and_given_back() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("deep/in/state");
    let (host, path) = (host().await, dir.to_string_lossy().into_owned());
    assert!(matches!(remote::look(&host, &path).await, Ok(Sight::Free)));
    let ada = stranger("ada@laptop", 60);
    assert_eq!(holder(take(&dir, &ada).await), "nobody");
    assert_eq!(holder(take(&dir, &own("bob@desk")).await), "ada@laptop");
    assert!(matches!(remote::renew(&host, &path, &ada.nonce, "build\n$(id)").await, Ok(Renewal::Renewed)));
    assert_eq!(there(&dir).await.step.as_deref(), Some("build$(id)"));
    assert!(!remote::release(&host, &path, &own("bob@desk").nonce).await.expect("answered"), "not bob's");
    assert!(remote::release(&host, &path, &ada.nonce).await.expect("answered"));
    assert_eq!(names(&dir), Vec::<String>::new());
    assert!(!remote::release(&host, &path, &ada.nonce).await.expect("answered"), "a second time");
}

#[tokio::test]
async fn asking_again_for_what_is_ours_is_no_refusal() {
    let dir = tempfile::tempdir().expect("tempdir");
    let ada = own("ada@laptop");
    assert_eq!(holder(take(dir.path(), &ada).await), "nobody");
    assert_eq!(holder(take(dir.path(), &ada).await), "nobody");
}

#[tokio::test]
async fn a_strangers_lock_is_taken_only_when_its_lease_has_lapsed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (host, path) = (host().await, dir.path().to_string_lossy().into_owned());
    let ada = stranger("ada@laptop", 60);
    take(dir.path(), &ada).await;
    age(dir.path(), 58);
    assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "ada@laptop");
    age(dir.path(), 62);
    let bob = own("bob@desk");
    assert_eq!(holder(take(dir.path(), &bob).await), "nobody");
    match remote::renew(&host, &path, &ada.nonce, "build").await.expect("answered") {
        Renewal::Lost(Sight::There(there)) => assert_eq!(there.record.expect("whole").owner, "bob@desk"),
        other => panic!("{other:?}"),
    }
    assert!(!remote::release(&host, &path, &ada.nonce).await.expect("answered"));
    assert_eq!(there(dir.path()).await.record.expect("whole").nonce, bob.nonce);
}

#[tokio::test]
async fn a_holder_proved_alive_keeps_it_past_its_lease_and_one_that_is_gone_has_no_more_than_that() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
    let mut ada = own("ada@laptop");
    ada.process = Process::of(child.id()).expect("/proc").expect("runs");
    take(dir.path(), &ada).await;
    age(dir.path(), 3600);
    assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "ada@laptop", "lapsed, but it lives");
    age(dir.path(), 0);
    child.kill().and_then(|()| child.wait()).expect("end");
    assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "ada@laptop", "gone, but what it began may go on");
    age(dir.path(), 61);
    assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "nobody", "gone and lapsed");
}

/// To the millisecond: whoever waits for a stale lock waits for one lease, not for two seconds more.
#[tokio::test]
async fn a_lease_is_over_when_it_is_over() {
    let dir = tempfile::tempdir().expect("tempdir");
    let began = std::time::Instant::now();
    take(dir.path(), &stranger("ada@laptop", 1)).await;
    while holder(take(dir.path(), &own("bob@desk")).await) != "nobody" {
        std::thread::sleep(Duration::from_millis(10));
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(1), "taken early, after {waited:?}");
    assert!(waited < Duration::from_millis(1900), "only after {waited:?}");
}

/// What the holder's own clock says is for people.
#[tokio::test]
async fn a_holders_clock_that_is_years_off_changes_nothing() {
    for since in ["1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut ada = stranger("ada@laptop", 60);
        ada.since = since.to_owned();
        take(dir.path(), &ada).await;
        assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "ada@laptop", "{since}");
        age(dir.path(), 62);
        assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "nobody", "{since}");
    }
}

#[tokio::test]
async fn a_clock_set_back_lengthens_a_lease_by_one_at_most() {
    let dir = tempfile::tempdir().expect("tempdir");
    take(dir.path(), &stranger("ada@laptop", 60)).await;
    let file = fs::File::options().write(true).open(dir.path().join("lock.json")).expect("open");
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(86_400)).expect("touch");
    assert_eq!(holder(take(dir.path(), &own("bob@desk")).await), "ada@laptop");
    let modified = file.metadata().and_then(|meta| meta.modified()).expect("mtime");
    assert!(modified <= std::time::SystemTime::now(), "the lease began again");
}

#[tokio::test]
async fn what_cannot_be_understood_is_never_free() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (host, path) = (host().await, dir.path().to_string_lossy().into_owned());
    let lock = dir.path().join("lock.json");
    for content in ["", "{", "4711\n", "{\"schema\":\"cm.lock/2\"}", "{\"schema\":\"cm.lock/1\"}"] {
        fs::write(&lock, content).expect("write");
        age(dir.path(), 999_999);
        let failure = remote::take(&host, &path, &own("bob@desk")).await.expect_err(content);
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "lock.unreadable"), "{content:?}");
        assert!(failure.message.contains("lock.json") && failure.hint.is_some(), "{failure}");
        assert_eq!(fs::read_to_string(&lock).expect("read"), content);
    }
    let seen = there(dir.path()).await;
    fs::write(&lock, "{\"changed\":").expect("write");
    assert!(!remote::discard(&host, &path, &seen).await.expect("answered"), "it has changed since");
    let seen = there(dir.path()).await;
    assert!(remote::discard(&host, &path, &seen).await.expect("answered"));
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_a_link_or_a_fifo_in_its_place_is_refused_at_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (host, path) = (host().await, dir.path().to_string_lossy().into_owned());
    let lock = dir.path().join("lock.json");
    fs::create_dir(&lock).expect("mkdir");
    let odd = async || remote::take(&host, &path, &own("bob@desk")).await.expect_err("odd").code;
    assert_eq!(odd().await, "lock.unusable");
    assert_eq!(names(&lock), Vec::<String>::new(), "nothing was linked into it");
    fs::remove_dir(&lock).expect("rmdir");
    std::os::unix::fs::symlink("/nowhere", &lock).expect("symlink");
    assert_eq!(odd().await, "lock.unusable");
    fs::remove_file(&lock).expect("rm");
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().expect("mkfifo").success());
    assert_eq!(odd().await, "lock.unusable");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error_with_the_systems_words() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::write(dir.path().join("file"), "").expect("write");
    let path = dir.path().join("file/state").to_string_lossy().into_owned();
    let failure = remote::take(&host().await, &path, &own("bob@desk")).await.expect_err("no directory");
    assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "lock.host"));
    assert!(failure.causes.concat().contains("Not a directory"), "{failure}");
}

#[tokio::test]
async fn of_many_that_want_it_at_once_exactly_one_gets_it() {
    for round in 0..10 {
        let dir = tempfile::tempdir().expect("tempdir");
        if round % 2 == 1 {
            // A lapsed lease: now they race to take it from its holder.
            take(dir.path(), &stranger("stale", 1)).await;
            age(dir.path(), 10);
        }
        let racers: Vec<_> = (0..12)
            .map(|racer| {
                let path = dir.path().to_path_buf();
                tokio::spawn(async move { take(&path, &stranger(&format!("racer {racer}"), 60)).await })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            let attempt = racer.await.expect("no panic");
            winners += usize::from(matches!(attempt, Attempt::Taken(())));
        }
        assert_eq!(winners, 1, "round {round}");
        assert_eq!(names(dir.path()), ["lock.json"]);
    }
}
