//! What is in the working tree and would not be deployed, with the services that miss it.

use crate::notes::Notes;
use cm_core::facts::Dirty;
use cm_core::{Failure, Result, plural};
use cm_git::{Repository, display};
use cm_project::inputs::Inputs;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The longest that the working tree is looked at.
const LIMIT: Duration = Duration::from_secs(60);

/// So many uncommitted files are named.
const MAX_NAMED: usize = 20;

/// A look for uncommitted files that is under way.
pub struct Scan(JoinHandle<Result<Vec<Vec<u8>>>>);

impl Scan {
    /// Begins to look, in a thread of its own.
    pub fn start(repository: &Repository) -> Self {
        let directory = repository.directory();
        Scan(tokio::task::spawn_blocking(move || match directory {
            Some(directory) => Repository::open(&directory)?.uncommitted(true),
            None => Ok(Vec::new()),
        }))
    }

    /// Says what is uncommitted, and which services it would have changed; the same for the document.
    pub async fn report(self, inputs: &Inputs, notes: &Notes) -> Dirty {
        let found = match tokio::time::timeout(LIMIT, self.0).await {
            Err(_) => Err(format!("that takes longer than {} s", LIMIT.as_secs())),
            Ok(ended) => ended
                .unwrap_or_else(|error| Err(Failure::bug("looking ended early").cause(error)))
                .map_err(|failure| failure.causes.first().cloned().unwrap_or(failure.message)),
        };
        match found {
            Ok(files) if files.is_empty() => clean(),
            Ok(files) => uncommitted(&files, inputs, notes),
            Err(why) => {
                notes.warn(format!("could not look for uncommitted changes ({why}); what is deployed is the commit"));
                Dirty { count: None, ..Dirty::default() }
            }
        }
    }
}

/// Nothing is uncommitted.
pub fn clean() -> Dirty {
    Dirty { count: Some(0), ..Dirty::default() }
}

fn uncommitted(files: &[Vec<u8>], inputs: &Inputs, notes: &Notes) -> Dirty {
    let mut services = BTreeSet::new();
    for file in files {
        let effects = inputs.classify(file, false);
        let touched = inputs.services.iter().zip(effects).filter(|(_, effect)| effect.is_some());
        services.extend(touched.map(|(service, _)| service.name.clone()));
    }
    let named: Vec<String> = files.iter().take(MAX_NAMED).map(|file| display(file)).collect();
    notes.warn(text(&named, files.len(), &services));
    Dirty { count: Some(files.len() as u64), files: named, services: services.into_iter().collect() }
}

fn text(named: &[String], count: usize, services: &BTreeSet<String>) -> String {
    let more = if count > named.len() { format!(" and {} more", count - named.len()) } else { String::new() };
    let would = match services.is_empty() {
        true => "no service depends on them".to_owned(),
        false => format!("they would have changed {}", services.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    let files = plural(count as u64, "file");
    format!("uncommitted changes are not deployed ({files}: {}{more}); {would}", named.join(", "))
}
