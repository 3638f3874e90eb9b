//! What `cm-backup` says: the backup, or why there is none.

use crate::lenient::nullable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The backup.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct BackupFacts {
    /// Whether there is a backup that was read back whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The host it is on, null for this machine.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub host: Option<Option<String>>,
    /// The path of its manifest, which verifies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The length of the file, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What it is a backup of: `mongodb`, `postgres`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The service that was read, where it is known and not MongoDB's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// How many collections and views, or tables, are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<u64>,
    /// How many documents, or rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Whether all of it is from one moment: `none`, `snapshot` or `transaction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// Whether only a part of the database was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// What people should look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
    /// What the backup does not hold, or nothing verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_verified: Option<Vec<String>>,
    /// What became of its copy elsewhere, where one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyState>,
    /// Each of several backups. The rest is then about all of them: `verified` if every one is, sums,
    /// and the file of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups: Option<Vec<BackupFacts>>,
    /// The files of older backups that were removed afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Vec<String>>,
}

impl BackupFacts {
    /// Each backup of which there is a file.
    pub fn each(&self) -> Vec<&BackupFacts> {
        let all: Vec<_> = match &self.backups {
            Some(several) => several.iter().collect(),
            None => vec![self],
        };
        all.into_iter().filter(|one| one.file.is_some()).collect()
    }
}

/// A copy of a backup that is kept elsewhere.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct CopyState {
    /// `done`, `failed`, `running`, or `interrupted`: only the first is a copy.
    pub state: String,
    /// SHA-256 of what was kept, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether it was read back, and is that.
    pub read_back: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many bytes of the backup have been read for it so far, while it is being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl CopyState {
    /// There is a copy.
    pub const DONE: &str = "done";
    /// There is none.
    pub const FAILED: &str = "failed";
    /// There may be one later.
    pub const RUNNING: &str = "running";

    /// What lines such as `state done` say.
    pub fn parse(text: &str) -> CopyState {
        let mut copy = CopyState { state: CopyState::FAILED.to_owned(), ..CopyState::default() };
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "state" => copy.state = value.to_owned(),
                "sha256" => copy.sha256 = Some(value.to_owned()),
                "at" => copy.bytes = value.parse().ok(),
                "read_back" => copy.read_back = value == "yes",
                "why" => copy.why = Some(value.trim().trim_end_matches(':').to_owned()),
                _ => {}
            }
        }
        copy
    }

    /// Whether there is a copy.
    pub fn is_done(&self) -> bool {
        self.state == CopyState::DONE
    }

    /// [`CopyState::note`] for a backup of so many bytes: while it is being made, how far it is.
    pub fn note_of(&self, all: u64) -> String {
        let share =
            |bytes: u64| format!("{}, {} %", self.note(), (u128::from(bytes.min(all)) * 100 / u128::from(all.max(1))));
        match self.bytes {
            Some(bytes) if self.state == CopyState::RUNNING => share(bytes),
            _ => self.note(),
        }
    }

    /// For people, after the backup.
    pub fn note(&self) -> String {
        match (self.state.as_str(), self.read_back) {
            (CopyState::DONE, true) => "copied elsewhere and read back".to_owned(),
            (CopyState::DONE, false) => "copied elsewhere, not read back".to_owned(),
            (CopyState::RUNNING, _) => "being copied elsewhere".to_owned(),
            (CopyState::FAILED, _) => format!("NO COPY elsewhere: {}", self.why.as_deref().unwrap_or("it failed")),
            (other, _) => format!("NO COPY elsewhere: {other}"),
        }
    }
}

/// What is in a backup of that kind with so many parts and items, for people: `3 tables, 42 rows`;
/// `None` where nothing can count it.
pub fn contents(kind: &str, parts: u64, items: u64) -> Option<String> {
    let (part, item) = match kind {
        "mongodb" | "" => ("collection", "document"),
        "redis" => ("", "key"),
        "volume" => ("", "file"),
        "command" => return None,
        _ => ("table", "row"),
    };
    let count = |count: u64, word: &str| (!word.is_empty()).then(|| crate::plural(count, word));
    let said: Vec<_> = [count(parts, part), count(items, item)].into_iter().flatten().collect();
    Some(said.join(", "))
}

impl super::Part for BackupFacts {
    const TOOL: &'static str = "backup";
}
