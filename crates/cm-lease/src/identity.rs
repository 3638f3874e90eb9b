//! Who wants the lock, and for what: told to whoever is refused meanwhile.

use crate::{FILE_VARIABLE, NONCE_VARIABLE};
use cm_core::{Log, Run};
use std::path::{Path, PathBuf};

/// Who wants the lock.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who deploys, as `cm_core::actor` says it.
    pub actor: String,
    /// The run, if there is one.
    pub run: Option<String>,
    /// The commit that is deployed, if one is.
    pub commit: Option<String>,
    /// What it is at, such as `build`; empty for one that only asks.
    pub step: String,
    /// Whether nothing will be changed.
    pub dry_run: bool,
    /// Where the loss of the lock is told.
    pub log: Log,
    /// The nonce and the file of the lock that an earlier program of the run took.
    acquired: Option<(String, Option<PathBuf>)>,
}

impl Identity {
    /// A program that belongs to no run.
    pub fn new(step: &str, dry_run: bool, log: &Log) -> Identity {
        Identity {
            actor: cm_core::actor(),
            run: None,
            commit: None,
            step: step.to_owned(),
            dry_run,
            log: log.clone(),
            acquired: None,
        }
    }

    /// The lock that is held for it already: said by the environment (`cm-lock run`), else by the
    /// document (`cm-lock acquire`).
    pub(crate) fn outer(&self, lock_file: &Path) -> Option<(String, PathBuf)> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        if let Some(nonce) = variable(NONCE_VARIABLE) {
            let file = variable(FILE_VARIABLE).map_or_else(|| lock_file.to_owned(), PathBuf::from);
            return Some((nonce, file));
        }
        let (nonce, file) = self.acquired.clone()?;
        Some((nonce, file.unwrap_or_else(|| lock_file.to_owned())))
    }
}

impl From<&Run> for Identity {
    fn from(run: &Run) -> Identity {
        // cm-lock only asks: whatever step the run is at stays what it is.
        let step = run.doc.tool().trim_start_matches("cm-");
        let facts = run.doc.facts("lock");
        let text = |key: &str| facts.and_then(|facts| facts.get(key)?.as_str().map(str::to_owned));
        Identity {
            actor: run.doc.actor().to_owned(),
            run: Some(run.doc.run_id().to_owned()),
            commit: run.doc.commit().map(str::to_owned),
            step: if step == "lock" { String::new() } else { step.to_owned() },
            dry_run: run.dry_run(),
            log: run.log.clone(),
            acquired: text("nonce").map(|nonce| (nonce, text("file").map(PathBuf::from))),
        }
    }
}

impl From<&mut Run> for Identity {
    fn from(run: &mut Run) -> Identity {
        Identity::from(&*run)
    }
}
