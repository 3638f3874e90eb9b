//! What a document says was done to services: by its plan, by what cm-build reports, and by
//! the undo entries that were written before each change.
//!
//! The three say the same as long as nobody has edited the document. Where they differ, the
//! union counts: what one of them leaves out was changed all the same, and has to be watched.

use cm_core::facts::BuildFacts;
use cm_core::{Action, Document, Exit, Failure, MAX_ENTRIES, Result, Undo};
use std::collections::HashMap;

/// What was done to a service on a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The host, by its name in `cm.toml`.
    pub host: String,
    /// The service.
    pub service: String,
    /// What was done, by each of those that say it.
    pub actions: Vec<Action>,
    /// The compose project's name on the host, if cm-build says it.
    pub project: Option<String>,
    /// The id of the image that it has to run, as cm-build says it: empty for any.
    pub image_id: Option<String>,
    /// Whether it was removed, or is a job that was run and has no container any more.
    pub gone: bool,
    /// Whether cm-build, or what takes its work back, says that something was done.
    pub done: bool,
}

impl Change {
    /// Whether it should run: what everybody who speaks of it calls removed does not.
    pub fn stays(&self) -> bool {
        !self.gone && (self.actions.is_empty() || self.actions.iter().any(|action| *action != Action::Remove))
    }

    /// Whether its containers may be older than the change.
    pub fn keeps_containers(&self) -> bool {
        self.actions.is_empty() || self.actions.contains(&Action::Reload)
    }

    /// Whether an image was made for it.
    pub fn is_built(&self) -> bool {
        self.actions.contains(&Action::Build)
    }
}

/// Everything that was changed, the plan's order first.
///
/// # Errors
/// [`Exit::BadInput`] where what cm-build wrote cannot be read, or is more than a plan may have.
pub fn changes(doc: &Document) -> Result<Vec<Change>> {
    let mut all = Changes::default();
    // A dry run reports what it would do in the same words.
    let carried_out = !doc.dry_run();
    for service in doc.planned() {
        all.of(&service.host, &service.name)?.actions.push(service.action);
    }
    let build: BuildFacts = doc.whole_part()?;
    for (host, built) in build.hosts.into_iter().flatten() {
        for (service, built_service) in built.services.into_iter().flatten() {
            let change = all.of(&host, &service)?;
            change.actions.extend(built_service.action);
            change.project = built.project.clone();
            change.gone = built_service.removed == Some(true) || built_service.job == Some(true);
            change.image_id = built_service.image_id;
            change.done = carried_out;
        }
    }
    for undo in doc.undo() {
        let Undo::Release(release) = undo else { continue };
        for (service, undone) in &release.services {
            let change = all.of(&release.host, service)?;
            change.actions.extend(undone.action);
            change.done = carried_out;
        }
    }
    let mut changes = all.list;
    changes.retain(|change| change.actions.iter().any(|action| *action != Action::None) || change.actions.is_empty());
    Ok(changes)
}

/// Changes in their order, found by host and service.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    places: HashMap<(String, String), usize>,
}

impl Changes {
    fn of(&mut self, host: &str, service: &str) -> Result<&mut Change> {
        let next = self.list.len();
        let index = *self.places.entry((host.to_owned(), service.to_owned())).or_insert(next);
        if index == MAX_ENTRIES {
            let message = format!("the document tells of more than {MAX_ENTRIES} changed services");
            return Err(Failure::new(Exit::BadInput, "input.too-many", message).hint("pipe in the output of cm-build"));
        }
        if index == next {
            self.list.push(Change {
                host: host.to_owned(),
                service: service.to_owned(),
                actions: Vec::new(),
                project: None,
                image_id: None,
                gone: false,
                done: false,
            });
        }
        Ok(&mut self.list[index])
    }
}
