//! One release as a host remembers it.

use crate::JobState;
use cm_core::facts::{BackupFacts, ServiceState};
use cm_core::{Document, HostName};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema of a record.
pub const SCHEMA: &str = "cm.release/1";

/// What became of a release. A word this version does not know is not good.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The host is about to be changed; no service was switched yet.
    Started,
    /// Services were switched, the outcome is not known: it runs, or its run was killed.
    Pending,
    /// Healthy and verified.
    Verified,
    /// Healthy; verification was skipped on purpose. No target of a rollback.
    Healthy,
    /// Not healthy, or verification failed, and it was left in place.
    Failed,
    /// It failed and the services were rolled back to what `services` says.
    RolledBack,
    /// Its run was interrupted and its owner is known to be gone. `services` holds what Docker runs of it.
    Abandoned,
    /// Written by a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Verdict {
    /// Whether what the record's `services` say can be rolled back to.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Verified | Verdict::RolledBack)
    }

    /// Whether the release did what was asked of it, verified or not.
    pub fn did_well(self) -> bool {
        self.is_good() || self == Verdict::Healthy
    }

    /// Whether the outcome is not known yet.
    pub fn is_open(self) -> bool {
        matches!(self, Verdict::Started | Verdict::Pending)
    }

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Started => "started",
            Verdict::Pending => "pending",
            Verdict::Verified => "verified",
            Verdict::Healthy => "healthy",
            Verdict::Failed => "failed",
            Verdict::RolledBack => "rolled_back",
            Verdict::Abandoned => "abandoned",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One release on one host. `services` holds those it touched.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Record {
    /// `cm.release/1`.
    pub schema: String,
    /// The run's id: one release, one id, on every host.
    pub id: String,
    /// When this record was written, RFC 3339 in UTC.
    pub at: String,
    /// Who deployed.
    pub actor: String,
    /// The branch it came from.
    pub branch: String,
    /// The full commit id.
    pub commit: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What the services it touched run now.
    pub services: BTreeMap<String, ServiceState>,
    /// After a rollback or a run that was interrupted: what had been tried and does not run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attempted: BTreeMap<String, ServiceState>,
    /// The backup taken before it, as `HOST:PATH`; `HOST` is a name of `cm.toml`.
    pub backup: Option<String>,
    /// Each backup taken before it, `backup` among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<RecordedBackup>,
    /// Why it failed.
    pub cause: Option<String>,
    /// Services that were rolled back from it later, and why: for them it is no target any more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_back: BTreeMap<String, String>,
    /// The changed files that `migrations` of cm.toml matches: what they did to the data is not
    /// undone by older code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub irreversible: Vec<String>,
    /// Why each service was in the plan, as `PATH (RULE)`; the first few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, Vec<String>>,
    /// How much room its build took on Docker's disk, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_bytes: Option<u64>,
    /// Of a rollback that a person asked for: the releases that were left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub took_back: Vec<String>,
    /// While the outcome is not known: the nonce of the deploy lock it is made under. Whoever does
    /// not hold that lock any more does not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The jobs and release commands that were run for it, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<String, JobState>,
    /// The project's directory on the host, absolute and without symbolic links: one ledger is of one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// When its commit was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<String>,
}

/// A backup taken before a release.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct RecordedBackup {
    /// Where it is, as `HOST:PATH`; `HOST` is a name of `cm.toml`.
    pub place: String,
    /// What it is a backup of: `mongodb`, `postgres`, …
    pub kind: String,
    /// The database, or where it has no name, its service: what a restore wants to be confirmed.
    pub name: String,
    /// SHA-256 of its copy elsewhere, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_sha256: Option<String>,
}

impl RecordedBackup {
    /// The host that it is on; `None` for what is no `HOST:PATH`. A path may be one below the home directory.
    pub fn host(&self) -> Option<&str> {
        let (host, path) = self.place.split_once(':')?;
        let is_path = !path.is_empty() && !path.starts_with('-') && !path.contains(char::is_control);
        (HostName::new(host).is_some() && is_path).then_some(host)
    }

    fn of(facts: &BackupFacts) -> RecordedBackup {
        let host = facts.host.iter().flatten().next().map(String::as_str).unwrap_or_default();
        let file = facts.file.as_deref().unwrap_or_default();
        let name = facts.database.clone().filter(|name| !name.is_empty()).or_else(|| facts.service.clone());
        RecordedBackup {
            place: format!("{host}:{file}"),
            kind: facts.kind.clone().unwrap_or_default(),
            name: name.unwrap_or_default(),
            copy_sha256: facts.copy.as_ref().filter(|copy| copy.is_done()).and_then(|copy| copy.sha256.clone()),
        }
    }
}

impl Record {
    /// A record of a release whose outcome is not known yet.
    pub fn new(id: &str, actor: &str, branch: &str, commit: &str) -> Self {
        Record {
            schema: SCHEMA.to_owned(),
            id: id.to_owned(),
            at: cm_core::time::now(),
            actor: actor.to_owned(),
            branch: branch.to_owned(),
            commit: commit.to_owned(),
            verdict: Verdict::Pending,
            ..Record::default()
        }
    }

    /// A record of the release that a document describes, with the backup it made.
    pub fn of(doc: &Document) -> Self {
        let branch = doc.branch().unwrap_or_default();
        let mut record = Record::new(doc.run_id(), doc.actor(), branch, doc.commit().unwrap_or_default());
        let backup: BackupFacts = doc.part();
        record.backups = backup.each().into_iter().map(RecordedBackup::of).collect();
        record.backup = record.backups.first().map(|backup| backup.place.clone());
        record
    }

    /// Each backup taken before it; an older record has one at most, of which it says only the place.
    pub fn each_backup(&self) -> Vec<RecordedBackup> {
        let one = || self.backup.iter().map(|place| RecordedBackup { place: place.clone(), ..Default::default() });
        if self.backups.is_empty() { one().collect() } else { self.backups.clone() }
    }

    /// The commit that the release tried: the record of one that was rolled back or interrupted has the
    /// one that runs since in the place of its own. A rollback that a person asked for tried its target.
    pub fn tried(&self) -> &str {
        let mut attempted =
            self.attempted.values().map(|state| state.commit.as_str()).filter(|commit| !commit.is_empty());
        attempted.next().filter(|_| !self.is_asked_for()).unwrap_or(&self.commit)
    }

    /// Whether it is a rollback that a person asked for, and no deployment.
    pub fn is_asked_for(&self) -> bool {
        !self.took_back.is_empty() || (self.verdict == Verdict::RolledBack && self.cause.is_none())
    }

    /// Facts about a release outlive a later word about it that does not repeat them.
    pub(crate) fn inherit(&mut self, before: Record) {
        if self.backup.is_none() {
            (self.backup, self.backups) = (before.backup, before.backups);
        }
        if self.commit == before.commit {
            self.committed_at = self.committed_at.take().or(before.committed_at);
        }
        self.build_bytes = self.build_bytes.or(before.build_bytes);
        if self.directory.is_empty() {
            self.directory = before.directory;
        }
        for (name, job) in before.jobs {
            self.jobs.entry(name).or_insert(job);
        }
        if self.irreversible.is_empty() {
            self.irreversible = before.irreversible;
        }
        if self.reasons.is_empty() && self.commit == before.commit {
            self.reasons = before.reasons;
        }
    }

    /// When its run began: the first 48 bits of the id, a UUID of version 7, are milliseconds since 1970.
    pub fn began(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.began_ms()?).ok()
    }

    fn began_ms(&self) -> Option<i64> {
        let digits: String = self.id.chars().filter(|c| *c != '-').collect();
        let is_v7 = digits.len() == 32 && digits.as_bytes()[12] == b'7';
        i64::from_str_radix(digits.get(..12).filter(|_| is_v7)?, 16).ok()
    }

    /// When its run began, or where its id does not tell, when it was written.
    pub fn time(&self) -> Option<Timestamp> {
        self.began().or_else(|| self.at.parse().ok())
    }

    /// What releases of several hosts are ordered by.
    pub fn order(&self) -> (Option<Timestamp>, &str) {
        (self.time(), &self.id)
    }

    /// Whether its id can be one: never a path, an option, or text for a terminal.
    pub(crate) fn is_named(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=64).contains(&self.id.len()) && !self.id.starts_with('-') && self.id.bytes().all(allowed)
    }

    /// Whether it says of itself that it was made after `latest`.
    pub(crate) fn is_after(&self, latest: Timestamp) -> bool {
        let at = self.at.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
        [at, self.began_ms()].into_iter().flatten().any(|time| time > latest.as_millisecond())
    }

    /// Whether it says that somebody is at work: whoever it is may be gone.
    pub fn is_open(&self) -> bool {
        matches!(self.verdict, Verdict::Started | Verdict::Pending) && self.lock.is_some()
    }

    /// Whether `service` was rolled back from this release.
    pub fn is_taken_back(&self, service: &str) -> bool {
        self.taken_back.contains_key(service)
    }

    /// Notes that `services` were rolled back from this release. One that nothing is left of is failed.
    pub fn take_back<'a>(&mut self, services: impl IntoIterator<Item = &'a String>, cause: &str) {
        let touched = services.into_iter().filter(|name| self.services.contains_key(*name));
        let marks: Vec<_> = touched.map(|name| (name.clone(), cause.to_owned())).collect();
        self.taken_back.extend(marks);
        if self.services.keys().all(|name| self.is_taken_back(name)) {
            self.verdict = Verdict::Failed;
            self.cause.get_or_insert_with(|| cause.to_owned());
        }
    }
}
