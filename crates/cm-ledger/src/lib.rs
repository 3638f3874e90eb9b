//! What each host runs and has run. One file per project in the deploy user's
//! state directory on the host, append-only, one JSON record per line. A run
//! appends a record when it has switched services (`pending`) and another one
//! with the same id when its outcome is known; the later record counts, in the place
//! of the first: what runs follows from the order in which releases began to switch.
//!
//! The base of a diff, the target of a rollback and the images that may be pruned
//! all come from here: what runs is what was recorded, not what a branch says.

mod job;
mod keeper;
mod record;
mod room;
mod whose;

pub use cm_core::facts::JobOutcome;
pub use cm_core::facts::ServiceState;
pub use cm_host::state_dir;
pub use job::JobState;
pub use record::{Record, RecordedBackup, SCHEMA, Verdict};
pub use whose::{directory_below, not_shared};

use cm_core::{Exit, Failure, Result, parse_strict};
use cm_host::{Fenced, Host};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Of a ledger longer than this only the end is read, in bytes, and of what comes before it the last
/// lines of each service and of each job, this many, and as many of those that did well.
const END: usize = 2 << 20;
const LINES_OF_SERVICE: usize = 24;

/// The end that is enough for who asks what runs and what ran last, in bytes.
const RECENT_END: usize = 64 << 10;

/// A line longer than this is not a record, in bytes; as in `read.sh`.
const MAX_LINE: usize = 512 << 10;

/// So far ahead of this machine's clock the time of a release may lie: clocks differ, and nobody has
/// deployed tomorrow.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The ledger of one host, as far as it matters. Records of one run are merged: the last counts.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: Vec<Record>,
    /// Where the record of each run is.
    places: HashMap<String, usize>,
    /// Lines that could not be read: cut by a crash, or written by a later version.
    pub unreadable: usize,
    /// Records that say that they were made tomorrow or later. They are not believed: they would be
    /// newer than everything that comes.
    pub from_the_future: usize,
    /// Whether there are older releases of which not everything was read.
    pub is_partial: bool,
    /// How many of the last releases are all there, where older ones are not.
    whole: usize,
}

/// What a service runs, as far as the ledger knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Running {
    /// The full commit id it was built from.
    pub commit: String,
    /// The image's id, `sha256:…`; empty for a service whose image cm did not look at.
    pub image_id: String,
    /// Whether the release that put it there was found good.
    pub good: bool,
    /// The run that put it there.
    pub release: String,
}

fn path(project: &str) -> String {
    format!("{}/ledger.jsonl", state_dir(project))
}

impl Ledger {
    /// Reads the ledger of `project` on `host` in one round trip. No file is an empty ledger.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Config`] if the file is there and cannot be read.
    pub async fn read(host: &Host, project: &str) -> Result<Ledger> {
        Ledger::read_end(host, project, END).await
    }

    /// The same, with fewer of the releases before the last: for what runs, and the last releases.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub async fn read_recent(host: &Host, project: &str) -> Result<Ledger> {
        Ledger::read_end(host, project, RECENT_END).await
    }

    /// The same, with at least the last `count` releases, if there are so many.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub async fn read_last(host: &Host, project: &str, count: usize) -> Result<Ledger> {
        let recent = Ledger::read_recent(host, project).await?;
        if recent.is_partial && recent.whole < count { Ledger::read(host, project).await } else { Ok(recent) }
    }

    async fn read_end(host: &Host, project: &str, end: usize) -> Result<Ledger> {
        let arguments = [host.path(&path(project)), end.to_string(), LINES_OF_SERVICE.to_string()];
        let output = keeper::read(host, project, arguments).await?;
        match output.status.code() {
            Some(0) => Ok(Ledger::parse(&output.stdout)),
            Some(44) => Ok(Ledger::default()),
            Some(45) => Ok(Ledger::parse_end(&output.stdout, end)),
            _ => Err(Failure::new(
                Exit::Config,
                "host.read",
                format!("on {}: cannot read {}", host.name(), path(project)),
            )
            .cause(output.stderr.trim_end())),
        }
    }

    /// Appends a record and syncs it.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], [`Exit::LockLost`]; [`Exit::Build`] if it cannot be written, or is too large for a ledger
    /// (whoever asked [`Record::check_room`] before knows that it is not).
    pub async fn append(host: &Fenced, project: &str, record: &Record) -> Result<()> {
        keeper::add(host, project, &path(project), &record.line()?).await
    }

    /// The ledger in `bytes`. A line that cannot be read is counted, not trusted.
    pub fn parse(bytes: &[u8]) -> Ledger {
        Ledger::default().and_lines(bytes)
    }

    /// A ledger of which `bytes` are some lines and, behind them, the end that is so long.
    fn parse_end(bytes: &[u8], end: usize) -> Ledger {
        let whole = Ledger::parse(bytes.get(bytes.len().saturating_sub(end)..).unwrap_or(bytes)).records.len();
        Ledger { is_partial: true, whole, ..Ledger::default() }.and_lines(bytes)
    }

    fn and_lines(mut self, bytes: &[u8]) -> Ledger {
        let latest = Timestamp::now().checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let mut late = BTreeSet::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let value = Some(line).filter(|line| line.len() <= MAX_LINE).and_then(|line| parse_strict(line).ok());
            match value.and_then(|value| serde_json::from_value::<Record>(value).ok()) {
                Some(record) if !record.is_named() => self.unreadable += 1,
                Some(record) if record.is_after(latest) => self.from_the_future += 1,
                Some(record) => {
                    if self.is_partial && !record.verdict.is_open() && !self.places.contains_key(&record.id) {
                        late.insert(record.id.clone());
                    }
                    self.apply(record);
                }
                None => self.unreadable += 1,
            }
        }
        self.sort_in(&late);
        self
    }

    /// What begins with a later word about a release is as old as its id says: its beginning was not read.
    fn sort_in(&mut self, late: &BTreeSet<String>) {
        let (mut old, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.records).into_iter().partition(|record| late.contains(&record.id));
        // The time of a later word is not that of the release: where the id does not tell either, it is the oldest.
        let age = |record: &Record| (record.began(), record.id.clone());
        old.sort_by_key(|record| std::cmp::Reverse(age(record)));
        for record in others {
            while old.last().is_some_and(|old| old.began() < record.time()) {
                self.records.extend(old.pop());
            }
            self.records.push(record);
        }
        self.records.extend(old.into_iter().rev());
        let places = self.records.iter().enumerate();
        self.places = places.map(|(place, record)| (record.id.clone(), place)).collect();
    }

    /// What the ledger says with one more line.
    pub fn apply(&mut self, record: Record) {
        match self.places.get(&record.id).and_then(|at| self.records.get_mut(*at)) {
            Some(earlier) => {
                let before = std::mem::replace(earlier, record);
                earlier.inherit(before);
            }
            None => {
                self.places.insert(record.id.clone(), self.records.len());
                self.records.push(record);
            }
        }
    }

    /// The same ledger with one record more: what it would be.
    #[must_use]
    pub fn with(&self, record: Record) -> Ledger {
        let mut ledger = self.clone();
        ledger.apply(record);
        ledger
    }

    /// How long the containers of `service` took to be replaced the last time, if somebody noted it.
    pub fn last_update(&self, service: &str) -> Option<Duration> {
        let mut states = self.records.iter().rev().filter_map(|record| record.services.get(service));
        states.find_map(|state| state.update_ms).map(Duration::from_millis)
    }

    /// How long the image of `service` was built the last time, if somebody noted it.
    pub fn last_build(&self, service: &str) -> Option<Duration> {
        let mut states = self.records.iter().rev().filter_map(|record| record.services.get(service));
        states.find_map(|state| state.build_ms).map(Duration::from_millis)
    }

    /// How much room a build takes on Docker's disk, in bytes: the most that one of the last ten
    /// took. `None` if nobody noted it.
    pub fn build_bytes(&self) -> Option<u64> {
        self.records.iter().rev().filter_map(|record| record.build_bytes).take(10).max()
    }

    /// Every release, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The release with this run id.
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.places.get(id).and_then(|at| self.records.get(*at))
    }

    /// What `service` runs; `None` if no release put it there, or one removed it.
    pub fn running(&self, service: &str) -> Option<Running> {
        let record = self.records.iter().rev().find(|record| record.services.contains_key(service))?;
        let state = record.services.get(service)?;
        if state.removed {
            return None;
        }
        Some(Running {
            commit: state.commit.clone(),
            image_id: state.image_id.clone(),
            good: record.verdict.did_well() && !record.is_taken_back(service),
            release: record.id.clone(),
        })
    }

    /// The services that run, by name.
    pub fn services(&self) -> BTreeSet<String> {
        let names: BTreeSet<_> = self.records.iter().flat_map(|record| record.services.keys().cloned()).collect();
        names.into_iter().filter(|name| self.running(name).is_some()).collect()
    }

    /// The commit of the newest release that did well.
    pub fn good_commit(&self) -> Option<&str> {
        let good = self.records.iter().rev().find(|record| record.verdict.did_well());
        good.map(|record| record.commit.as_str())
    }

    /// The newest good state of `service` that another run than `except` left,
    /// for a rollback: the last *verified* release, never merely the one before. Where
    /// none was ever verified, one that was healthy is better than nothing.
    pub fn last_good(&self, service: &str, except: &str) -> Option<(&Record, &ServiceState)> {
        let newest = |wanted: fn(Verdict) -> bool| {
            self.records
                .iter()
                .rev()
                .filter(|record| record.id != except && wanted(record.verdict) && !record.is_taken_back(service))
                .find_map(|record| Some((record, record.services.get(service).filter(|state| !state.removed)?)))
        };
        newest(Verdict::is_good).or_else(|| newest(|verdict| verdict == Verdict::Healthy))
    }

    /// The images that must stay: what runs, and the last `keep` good states of each service.
    pub fn images_to_keep(&self, keep: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for service in self.services() {
            let states = self.records.iter().rev().filter_map(|record| Some((record, record.services.get(&service)?)));
            let mut good: Vec<&str> = Vec::new();
            for (index, (record, state)) in states.enumerate() {
                let counts = record.verdict.did_well() && !record.is_taken_back(&service) && good.len() < keep;
                if index == 0 || counts {
                    ids.insert(state.image_id.clone());
                }
                if counts && !good.contains(&state.image_id.as_str()) {
                    good.push(&state.image_id);
                }
            }
        }
        ids.remove("");
        ids
    }

    /// The backups that must stay, as `HOST:PATH`: those of the last releases of each service,
    /// back to and with the `keep`th good one. Whoever takes a release back may need the
    /// data as it was before it.
    pub fn backups_to_keep(&self, keep: usize) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let names: BTreeSet<_> = self.records.iter().flat_map(|record| record.services.keys()).collect();
        for service in names {
            let mut good = 0;
            for record in self.records.iter().rev().filter(|record| record.services.contains_key(service)) {
                if good == keep {
                    break;
                }
                needed.extend(record.each_backup().into_iter().map(|backup| backup.place));
                good += usize::from(record.verdict.did_well());
            }
        }
        // A release that touched no service yet, or was just begun.
        let last = self.records.last().map(Record::each_backup).unwrap_or_default();
        needed.extend(last.into_iter().map(|backup| backup.place));
        needed
    }

    /// The name of every image that a service ever ran, and every tag of cm's: what pruning may
    /// consider at all is a tag of cm's under one of these names.
    pub fn images(&self) -> BTreeSet<String> {
        let states = self.records.iter().flat_map(|record| record.services.values().chain(record.attempted.values()));
        let names = states.flat_map(|state| [state.image.clone(), state.tag.clone()]);
        names.filter(|name| !name.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn record(id: &str, verdict: Verdict, services: &[(&str, &str)]) -> Record {
        let mut record = Record::new(id, "ada", "develop", services.first().map_or("", |(_, commit)| commit));
        record.verdict = verdict;
        for (service, commit) in services {
            let state = ServiceState {
                commit: (*commit).to_owned(),
                image_id: format!("sha256:{commit}"),
                tag: format!("{service}:cm-{commit}"),
                ..ServiceState::default()
            };
            record.services.insert((*service).to_owned(), state);
        }
        record
    }

    fn ledger(records: &[Record]) -> Ledger {
        let lines: Vec<_> = records.iter().map(|record| serde_json::to_string(record).expect("json")).collect();
        Ledger::parse(lines.join("\n\n").as_bytes())
    }

    #[test]
    fn what_was_measured_once_is_remembered() {
        let mut measured = record("1", Verdict::Pending, &[("web", "a")]);
        measured.build_bytes = Some(700);
        let mut timed = record("1", Verdict::Verified, &[("web", "a")]);
        timed.services.get_mut("web").expect("web").update_ms = Some(1500);
        timed.services.get_mut("web").expect("web").build_ms = Some(9000);
        let ledger = ledger(&[measured, timed, record("2", Verdict::Failed, &[("web", "b")])]);
        assert_eq!(ledger.build_bytes(), Some(700));
        assert_eq!(ledger.last_update("web"), Some(Duration::from_millis(1500)));
        assert_eq!((ledger.last_build("web"), ledger.last_build("api")), (Some(Duration::from_secs(9)), None));
        assert_eq!((ledger.last_update("api"), Ledger::default().build_bytes()), (None, None));
    }

    #[test]
    fn a_release_of_tomorrow_is_not_believed() {
        let tomorrow = Timestamp::now().checked_add(AHEAD * 2).expect("a time").to_string();
        let lying = Record { at: tomorrow, ..record("2", Verdict::Verified, &[("web", "evil")]) };
        let by_id = record("f0000000-0000-7000-8000-000000000000", Verdict::Verified, &[("web", "evil")]);
        let ledger = ledger(&[record("1", Verdict::Verified, &[("web", "a")]), lying, by_id]);
        assert_eq!((ledger.from_the_future, ledger.records().len()), (2, 1));
        assert_eq!(ledger.running("web").expect("runs").commit, "a");
    }

    #[test]
    fn many_small_lines_are_read_in_a_moment() {
        let lines: String = (0..200_000).map(|n| format!("{{\"id\":\"{n}\"}}\n")).collect();
        let began = std::time::Instant::now();
        assert_eq!(Ledger::parse(lines.as_bytes()).records().len(), 200_000);
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let long = format!("{{\"id\":\"1\",\"x\":[{}1]}}", "1,".repeat(MAX_LINE));
        assert_eq!(Ledger::parse(long.as_bytes()).unreadable, 1);
    }

    async fn local() -> Host {
        let target = cm_host::Target::at("local", "local");
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        Host::connect(&target, &log).await.expect("local")
    }

    fn line(id: &str, verdict: Verdict, service: &str) -> String {
        format!("\n{}\n", serde_json::to_string(&record(id, verdict, &[(service, id)])).expect("json"))
    }

    async fn end_of(host: &Host, file: &Path, end: usize) -> Ledger {
        let arguments = [file.display().to_string(), end.to_string(), LINES_OF_SERVICE.to_string()];
        let output = keeper::read(host, "shop", arguments).await.expect("read");
        assert_eq!(output.status.code(), Some(45), "{}", output.stderr);
        assert!(output.stderr.is_empty(), "{}", output.stderr);
        assert!(output.stdout.len() < end + (64 << 10), "{}", output.stdout.len());
        let ledger = Ledger::parse_end(&output.stdout, end);
        let of_the_end = |record: &&Record| record.id.starts_with(['r', 's', 't']);
        assert!(ledger.whole > end / 1_000 && ledger.whole <= ledger.records().iter().filter(of_the_end).count());
        ledger
    }

    #[tokio::test]
    async fn of_a_long_ledger_the_end_is_read_and_what_each_service_ran_before() {
        let (host, dir) = (local().await, tempfile::tempdir().expect("dir"));
        let file = dir.path().join("ledger.jsonl");
        let mut text = line("a0", Verdict::Verified, "docs");
        text.push_str(&line("a1", Verdict::Verified, "shop"));
        (0..40).for_each(|n| text.push_str(&line(&format!("b{n:05}"), Verdict::Failed, "shop")));
        (0..20_000).for_each(|n| text.push_str(&line(&format!("r{n:05}"), Verdict::Verified, "web")));
        std::fs::write(&file, &text).expect("write");
        let check = |ledger: &Ledger, last: &str| {
            assert_eq!(ledger.running("docs").expect("runs").commit, "a0");
            assert_eq!(ledger.running("web").expect("runs").commit, last);
            assert_eq!(ledger.last_good("shop", "").expect("what did well stays").0.id, "a1");
            let ids: Vec<_> = ledger.records().iter().map(|record| record.id.as_str()).collect();
            assert!(ids.is_sorted(), "each once, in the order in which they began");
            assert_eq!(ledger.unreadable, 0);
        };
        for end in [RECENT_END, END, RECENT_END] {
            let ledger = end_of(&host, &file, end).await;
            check(&ledger, "r19999");
            assert!(ledger.records().len() > end / 1_000, "{}", ledger.records().len());
        }
        let index = dir.path().join("ledger.jsonl.index");
        let made = std::fs::read(&index).expect("an index was made");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&index).expect("index").permissions());
        assert_eq!(mode & 0o777, 0o600);

        let append = |more: &str| {
            let mut text = std::fs::read_to_string(&file).expect("read");
            text.push_str(more);
            std::fs::write(&file, text).expect("write");
        };
        append(&line("s1", Verdict::Verified, "web"));
        check(&end_of(&host, &file, RECENT_END).await, "s1");
        assert_eq!(std::fs::read(&index).expect("index"), made, "the end is short: it is still good");
        append(&(0..200).map(|n| line(&format!("t{n:05}"), Verdict::Verified, "web")).collect::<String>());
        check(&end_of(&host, &file, RECENT_END).await, "t00199");
        assert_ne!(std::fs::read(&index).expect("index"), made);

        for broken in [&b"cm-ledger-index/1 4000000 0\n0 {\"id\":\"z\"}\n"[..], b"", b"x\n", &made[..made.len() / 2]] {
            std::fs::write(&index, broken).expect("write");
            check(&end_of(&host, &file, RECENT_END).await, "t00199");
        }
        append("{\"id\":\"cut");
        std::fs::remove_file(&index).expect("remove");
        assert_eq!(end_of(&host, &file, RECENT_END).await.running("web").expect("runs").commit, "t00199");
        assert!(!index.exists(), "while a line is being written");
        let names = std::fs::read_dir(dir.path()).expect("dir").count();
        assert_eq!(names, 1, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_release_of_many_services_is_read_whole_by_every_way() {
        let (host, dir) = (local().await, tempfile::tempdir().expect("dir"));
        let file = dir.path().join("ledger.jsonl");
        let names: Vec<String> = (0..500).map(|n| format!("service-{n:04}")).collect();
        let large = |id: &str| {
            let services: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), id)).collect();
            let mut record = record(id, Verdict::Verified, &services);
            record.services.values_mut().for_each(|state| state.config_hash = "a".repeat(300));
            format!("\n{}\n", record.line().expect("it fits"))
        };
        let (first, second) = (large("l1"), large("l2"));
        assert!(first.len() > 3 * RECENT_END, "{}", first.len());
        let mut text = line("a0", Verdict::Verified, "docs");
        text.push_str(&first);
        // With little and with much after it, so that the end begins after the line, within it, and before it.
        for more in [0, 100, 20_000] {
            let small: String = (0..more).map(|n| line(&format!("r{n:05}"), Verdict::Verified, "web")).collect();
            let whole = format!("{text}{small}{second}");
            for (cut, whole) in [(false, whole.clone()), (true, format!("{whole}{{\"id\":\"cut"))] {
                std::fs::write(&file, &whole).expect("write");
                for end in [RECENT_END, 2 * RECENT_END, END] {
                    let arguments = [file.display().to_string(), end.to_string(), LINES_OF_SERVICE.to_string()];
                    let output = keeper::read(&host, "shop", arguments).await.expect("read");
                    let ledger = match output.status.code() {
                        Some(0) => Ledger::parse(&output.stdout),
                        Some(45) => Ledger::parse_end(&output.stdout, end),
                        other => panic!("{other:?}: {}", output.stderr),
                    };
                    let how = format!("{more} lines after it, {end} bytes, cut: {cut}");
                    assert_eq!(ledger.running("service-0499").expect("runs").commit, "l2", "{how}");
                    assert_eq!(ledger.last_good("service-0000", "l2").expect("one before").0.id, "l1", "{how}");
                    assert_eq!(ledger.running("docs").expect("runs").commit, "a0", "{how}");
                    assert_eq!(ledger.unreadable, usize::from(cut), "{how}");
                }
            }
        }
    }

    #[tokio::test]
    async fn releases_that_come_to_more_than_an_answer_may_have_are_read_with_fewer_of_each_service() {
        let (host, dir) = (local().await, tempfile::tempdir().expect("dir"));
        let file = dir.path().join("ledger.jsonl");
        let names: Vec<String> = (0..400).map(|n| format!("service-{n:04}")).collect();
        let services: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "IDENTITY")).collect();
        let mut large = record("IDENTITY", Verdict::Verified, &services);
        large.services.values_mut().for_each(|state| state.config_hash = "a".repeat(1_000));
        let large = large.line().expect("it fits");
        assert!(large.len() > 440_000, "{}", large.len());
        let failed = large.replace("\"verdict\":\"verified\"", "\"verdict\":\"failed\"");
        // Each second one failed, so that the last that did well are others than the last.
        let lines = (0..60).map(|n| if n % 2 == 0 { &failed } else { &large }.replace("IDENTITY", &format!("l{n:03}")));
        let text = line("a0", Verdict::Verified, "docs") + &lines.map(|line| format!("\n{line}\n")).collect::<String>();
        std::fs::write(&file, text + &failed.replace("IDENTITY", "l060")).expect("write");
        for end in [RECENT_END, END, RECENT_END] {
            let arguments = [file.display().to_string(), end.to_string(), LINES_OF_SERVICE.to_string()];
            let output = keeper::read(&host, "shop", arguments).await.expect("no more than an answer may have");
            assert_eq!(output.status.code(), Some(45), "{}", output.stderr);
            let ledger = Ledger::parse_end(&output.stdout, end);
            assert_eq!(ledger.running("service-0399").expect("runs").commit, "l060");
            assert_eq!(ledger.last_good("service-0000", "").expect("one before").0.id, "l059");
            assert_eq!(ledger.running("docs").expect("the only one of a service stays").commit, "a0");
            assert!(ledger.records().len() > 10 && ledger.unreadable == 0, "{}", ledger.records().len());
        }
    }

    #[test]
    fn a_later_word_about_a_release_whose_beginning_was_not_read_does_not_make_it_the_newest() {
        let id = |n: u8| format!("01980e5c-000{n}-7c3e-8a52-000000000000");
        let line = |n: u8, verdict| line(&id(n), verdict, "web");
        let lines = [
            line(2, Verdict::Started),
            line(5, Verdict::Verified),
            line(4, Verdict::Pending),
            line(1, Verdict::Failed),
            line(3, Verdict::Verified),
            self::line("other", Verdict::Verified, "web"),
        ];
        let ids = |ledger: &Ledger| ledger.records().iter().map(|record| record.id.clone()).collect::<Vec<_>>();
        let whole = Ledger::parse(lines.concat().as_bytes());
        assert_eq!(ids(&whole), [id(2), id(5), id(4), id(1), id(3), "other".to_owned()]);
        let partial = Ledger { is_partial: true, ..Ledger::default() }.and_lines(lines.concat().as_bytes());
        assert_eq!(ids(&partial), ["other".to_owned(), id(1), id(2), id(3), id(4), id(5)]);
        assert_eq!(partial.record(&id(3)).map(|record| record.verdict), Some(Verdict::Verified));
    }

    #[test]
    fn a_place_is_of_a_host_and_has_a_path() {
        let host =
            |place: &str| RecordedBackup { place: place.to_owned(), ..Default::default() }.host().map(str::to_owned);
        for place in ["db:/backups/1.gz", "db:~/backups/1.gz", "db:backups/1.gz"] {
            assert_eq!(host(place).as_deref(), Some("db"), "{place}");
        }
        for place in ["", "db", "db:", ":/1.gz", "db:-x", "--uri-env=X:/x", "db:/\u{1b}[2J"] {
            assert_eq!(host(place), None, "{place}");
        }
    }

    #[test]
    fn the_later_record_of_a_run_counts() {
        let ledger =
            ledger(&[record("1", Verdict::Pending, &[("web", "a")]), record("1", Verdict::Verified, &[("web", "a")])]);
        assert_eq!(ledger.records().len(), 1);
        assert!(ledger.running("web").expect("runs").good);
    }

    #[test]
    fn a_rollback_goes_past_every_bad_release() {
        let ledger = ledger(&[
            record("1", Verdict::Verified, &[("web", "a")]),
            record("2", Verdict::Failed, &[("web", "b")]),
            record("3", Verdict::Failed, &[("web", "c")]),
            record("4", Verdict::Pending, &[("web", "d")]),
        ]);
        assert_eq!(ledger.last_good("web", "4").expect("target").1.commit, "a");
        assert!(!ledger.running("web").expect("runs").good);
    }

    #[test]
    fn a_healthy_release_is_a_target_only_where_none_was_verified() {
        let unverified =
            [record("1", Verdict::Healthy, &[("web", "a")]), record("2", Verdict::Failed, &[("web", "b")])];
        assert_eq!(ledger(&unverified).last_good("web", "3").expect("target").1.commit, "a");
        let verified =
            [record("1", Verdict::Verified, &[("web", "a")]), record("2", Verdict::Healthy, &[("web", "b")])];
        assert_eq!(ledger(&verified).last_good("web", "3").expect("target").1.commit, "a");
    }

    #[test]
    fn failed_releases_do_not_push_good_images_out() {
        let mut records = vec![record("1", Verdict::Verified, &[("web", "a")])];
        records.extend((2..9).map(|n| record(&n.to_string(), Verdict::Failed, &[("web", &format!("bad{n}"))])));
        let keep = ledger(&records).images_to_keep(1);
        assert_eq!(keep.into_iter().collect::<Vec<_>>(), ["sha256:a", "sha256:bad8"]);
    }

    #[test]
    fn backups_of_releases_that_can_be_taken_back_stay() {
        let with_backup = |id: &str, verdict, service| {
            let mut record = record(id, verdict, &[(service, id)]);
            record.backup = Some(format!("platform:/b/{id}"));
            record
        };
        let ledger = ledger(&[
            with_backup("1", Verdict::Verified, "docs"),
            with_backup("2", Verdict::Verified, "web"),
            with_backup("3", Verdict::Verified, "web"),
            with_backup("4", Verdict::Failed, "web"),
            with_backup("5", Verdict::Pending, "web"),
        ]);
        let keep = |count| ledger.backups_to_keep(count).into_iter().collect::<Vec<_>>();
        assert_eq!(keep(1), ["platform:/b/1", "platform:/b/3", "platform:/b/4", "platform:/b/5"]);
        assert_eq!(keep(2).len(), 5);
    }

    #[test]
    fn a_cut_line_is_counted_and_never_trusted() {
        let good = serde_json::to_string(&record("1", Verdict::Verified, &[("web", "a")])).expect("json");
        let ledger = Ledger::parse(format!("{good}\n{}", &good[..40]).as_bytes());
        assert_eq!((ledger.records().len(), ledger.unreadable), (1, 1));
    }

    #[test]
    fn a_later_word_about_an_old_release_does_not_make_it_the_newest() {
        let mut marked = record("1", Verdict::Verified, &[("web", "a"), ("api", "a")]);
        marked.taken_back.insert("web".to_owned(), "rolled back by run 3".to_owned());
        let ledger = ledger(&[
            record("1", Verdict::Verified, &[("web", "a"), ("api", "a")]),
            record("2", Verdict::Verified, &[("api", "b")]),
            marked,
        ]);
        assert_eq!(ledger.running("api").expect("runs").commit, "b");
        assert_eq!(ledger.last_good("web", ""), None);
        assert_eq!(ledger.last_good("api", "2").expect("target").1.commit, "a");
        assert!(!ledger.running("web").expect("runs").good);
    }

    #[test]
    fn a_removed_service_runs_no_more() {
        let mut removal = record("2", Verdict::Verified, &[("web", "b")]);
        removal.services.get_mut("web").expect("web").removed = true;
        let ledger = ledger(&[record("1", Verdict::Verified, &[("web", "a")]), removal]);
        assert_eq!(ledger.running("web"), None);
        assert!(ledger.services().is_empty());
    }

    #[test]
    fn unknown_fields_and_verdicts_do_not_break_old_readers() {
        let mut value = serde_json::to_value(record("1", Verdict::Verified, &[("web", "a")])).expect("json");
        value["verdict"] = "splendid".into();
        value["later"] = 1.into();
        let ledger = Ledger::parse(value.to_string().as_bytes());
        assert!(!ledger.running("web").expect("runs").good);
    }
}
