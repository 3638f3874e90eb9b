//! What is to be done: for every service one action, and the reasons for it.

use crate::outcome::Outcome;
use cm_core::Service;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Every service.
    pub services: Vec<Service>,
    /// Services that changed but were not asked for.
    pub left_out: Vec<String>,
    /// Services that cannot be deployed because their images cannot be built.
    pub broken: Vec<String>,
    /// Services that are gone.
    pub removed: Vec<String>,
    /// Changed paths that no service depends on.
    pub unmapped: Vec<String>,
    /// Changed paths that belong to the servers.
    pub protected: Vec<String>,
    /// How many paths differ, over all bases.
    pub changed_files: usize,
    /// The Python files among them that are there now.
    pub python: BTreeSet<Vec<u8>>,
    /// What runs otherwise than its configuration says, by host and service.
    pub drift: BTreeMap<(String, String), BTreeSet<String>>,
    /// Where a host's Compose and the model of this machine disagree, in words.
    pub disagreements: Vec<String>,
}

impl Plan {
    /// Keeps what was found out about a service besides its action.
    pub fn note(&mut self, host: &str, service: &str, outcome: &Outcome) {
        if !outcome.drift.is_empty() {
            self.drift.insert((host.to_owned(), service.to_owned()), outcome.drift.clone());
        }
        let words = outcome.disagreement.map(|words| format!("{service} on {host}: {words}"));
        self.disagreements.extend(words);
    }
}
