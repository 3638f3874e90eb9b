//! What a rollback writes into the ledger of a host: before containers are replaced, that
//! they are about to be; afterwards, how it ended; and marks on what it left, so that it is
//! no target again.

use crate::runs::Runs;
use crate::target::HostTarget;
use cm_core::{Document, Failure};
use cm_ledger::{JobState, Ledger, Record, ServiceState, Verdict};
use std::collections::BTreeMap;

/// The words about one host.
pub struct Words<'a> {
    /// Its ledger, as it was before.
    pub ledger: &'a Ledger,
    /// What it is rolled back to.
    pub target: &'a HostTarget,
    /// The run.
    pub doc: &'a Document,
    /// The jobs whose effect on the data is undone.
    pub undone: &'a BTreeMap<String, JobState>,
}

impl Words<'_> {
    /// The release of this very run, if it was a deployment that failed.
    fn own(&self) -> Option<&Record> {
        self.ledger.record(self.doc.run_id())
    }

    /// What each service runs when all has gone well.
    fn restored(&self) -> BTreeMap<String, ServiceState> {
        let commit = &self.target.choice.commit;
        let removed = || ServiceState { commit: commit.clone(), removed: true, ..ServiceState::default() };
        let services = self.target.choice.services.iter();
        services.map(|(name, state)| (name.clone(), state.clone().unwrap_or_else(removed))).collect()
    }

    fn base(&self) -> Record {
        let mut record = Record::of(self.doc);
        record.commit.clone_from(&self.target.choice.commit);
        record.services = self.restored();
        record.cause = self.doc.error().map(|error| error.message);
        match self.own() {
            // A rollback that was interrupted has put the target in the place of what was tried.
            Some(own) if !own.attempted.is_empty() => record.attempted.clone_from(&own.attempted),
            Some(own) => record.attempted.clone_from(&own.services),
            None => record.attempted = self.now(),
        }
        record.jobs.clone_from(self.undone);
        record.took_back = self.left().iter().map(|release| release.id.clone()).collect();
        record
    }

    /// What the services run by the ledger.
    fn now(&self) -> BTreeMap<String, ServiceState> {
        let newest = |name: &String| self.ledger.records().iter().rev().find_map(|record| record.services.get(name));
        let names = self.target.choice.services.keys();
        names.filter_map(|name| Some((name.clone(), newest(name)?.clone()))).collect()
    }

    /// What is judged by being left. Going on to a later release is no word against what ran.
    fn leaving(&self) -> BTreeMap<String, ServiceState> {
        let mut now = self.now();
        let records = self.ledger.records();
        let first = |name: &str, state: &ServiceState| records.iter().position(|record| is_of(record, name, state));
        now.retain(|name, state| first(name, state) > self.target.choice.oldest);
        now
    }

    /// The other releases that say of a service what it runs now: they are rolled back.
    fn left(&self) -> Vec<&Record> {
        if self.own().is_some() {
            return Vec::new();
        }
        let now = self.leaving();
        let left = |record: &&Record| now.iter().any(|(name, state)| is_of(record, name, state));
        self.ledger.records().iter().filter(left).collect()
    }

    /// That the services are about to be replaced.
    pub fn pending(&self) -> Record {
        self.base()
    }

    /// How it ended, and marks on what it left.
    pub fn outcome(&self, failure: Option<&Failure>, runs: &Runs) -> Vec<Record> {
        let mut words = self.marks();
        let mut record = Record { verdict: Verdict::RolledBack, ..self.base() };
        if let Some(failure) = failure {
            record.verdict = Verdict::Failed;
            record.cause = Some(format!("the rollback failed: {}", failure.message));
            let tried = std::mem::take(&mut record.attempted);
            // A service that was not reached runs what was tried.
            let reached = |name: &String, state: &ServiceState| runs.image(name).is_none_or(|id| id != state.image_id);
            record.services.extend(tried.iter().filter(|(name, state)| !reached(name, state)).map(own));
            record.attempted = tried;
        }
        words.push(record);
        words
    }

    fn marks(&self) -> Vec<Record> {
        let cause = format!("rolled back by run {}", self.doc.run_id());
        let now = self.leaving();
        let mark = |release: &Record| {
            let mut marked = release.clone();
            let names = now.iter().filter(|(name, state)| is_of(release, name, state)).map(|(name, _)| name);
            marked.take_back(names, &cause);
            marked
        };
        self.left().into_iter().map(mark).collect()
    }

    /// The run's own release failed and still runs; any other runs as before.
    pub fn nothing_switched(&self, failure: &Failure) -> Option<Record> {
        let own = self.own()?;
        let cause = Some(format!("the rollback failed: {}", failure.message));
        Some(Record { verdict: Verdict::Failed, cause, at: cm_core::time::now(), lock: None, ..own.clone() })
    }
}

fn own((name, state): (&String, &ServiceState)) -> (String, ServiceState) {
    (name.clone(), state.clone())
}

/// Whether `record` put `service` to `state`.
fn is_of(record: &Record, service: &str, state: &ServiceState) -> bool {
    record.services.get(service).is_some_and(|other| other.is_same(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::Choice;
    use std::collections::BTreeSet;

    fn release(id: &str, commit: &str) -> Record {
        let mut record = Record::new(id, "ada", "main", commit);
        record.verdict = Verdict::Verified;
        let state = ServiceState { commit: commit.to_owned(), ..ServiceState::default() };
        record.services.insert("web".to_owned(), state);
        record
    }

    fn target(services: BTreeMap<String, Option<ServiceState>>, to: usize) -> HostTarget {
        HostTarget {
            host: "h".to_owned(),
            checkout: "~/x".to_owned(),
            choice: Choice { services, oldest: Some(to), ..Choice::default() },
            gone: BTreeSet::new(),
            head: String::new(),
            endangered: Vec::new(),
            backups: Vec::new(),
        }
    }

    /// The releases that are marked when a person goes from the newest to the one at `to`.
    fn marked(records: &[Record], to: usize) -> Vec<String> {
        let lines: Vec<_> = records.iter().map(|record| serde_json::to_string(record).expect("json")).collect();
        let services = [("web".to_owned(), Some(records[to].services["web"].clone()))].into();
        let target = target(services, to);
        let doc = Document::start("cm-rollback", "ada", false);
        let words = Words {
            ledger: &Ledger::parse(lines.join("\n").as_bytes()),
            target: &target,
            doc: &doc,
            undone: &BTreeMap::new(),
        };
        let marked = words.outcome(None, &Runs::default());
        marked.iter().filter(|record| !record.taken_back.is_empty()).map(|record| record.id.clone()).collect()
    }

    #[test]
    fn a_release_that_was_under_way_has_ended_where_nothing_was_switched_back() {
        let doc = Document::start("cm-rollback", "ada", false);
        let mut own = release(doc.run_id(), "bbbb");
        (own.verdict, own.lock) = (Verdict::Started, Some("nonce".to_owned()));
        let ledger = Ledger::parse(serde_json::to_string(&own).expect("json").as_bytes());
        let (target, undone) = (target(BTreeMap::new(), 0), BTreeMap::new());
        let words = Words { ledger: &ledger, target: &target, doc: &doc, undone: &undone };
        let ended = words.nothing_switched(&Failure::bug("no room")).expect("its own release");
        assert_eq!((ended.verdict, ended.lock.as_deref()), (Verdict::Failed, None));
    }

    #[test]
    fn what_is_left_for_an_older_release_is_marked_and_for_a_later_one_is_not() {
        let back = [release("1", "aaaa"), release("2", "bbbb")];
        assert_eq!(marked(&back, 0), ["2"]);
        let forward = [release("1", "aaaa"), release("2", "bbbb"), release("3", "aaaa")];
        assert!(marked(&forward, 1).is_empty());
    }
}
