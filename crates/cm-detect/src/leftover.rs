//! What no service of the compose file accounts for: services that are gone from it, and
//! changed paths that are no input of any.

use crate::bases::Bases;
use crate::compare::Comparison;
use crate::plan::Plan;
use crate::question::Question;
use crate::reason;
use cm_core::{Action, Reason, Service};
use cm_git::{Change, display};
use cm_project::compose::Compose;
use std::collections::BTreeSet;

impl Question<'_> {
    /// The services that run and should not: gone from the compose file, or moved.
    pub fn add_removed(&self, plan: &mut Plan) {
        for (host, name, base) in self.gone() {
            let action = if self.is_selected(&name, &host) { Action::Remove } else { Action::None };
            let mut reasons = vec![Reason { path: String::new(), rule: reason::REMOVED.to_owned() }];
            if action == Action::None {
                reasons.push(Reason { path: String::new(), rule: reason::NOT_SELECTED.to_owned() });
                plan.left_out.push(name.clone());
            } else {
                plan.removed.push(name.clone());
            }
            plan.services.push(Service { name, host, action, base: Some(base), reasons });
        }
    }

    fn gone(&self) -> Vec<(String, String, String)> {
        let is_here = |host: &str, name: &str| self.compose().service(name).is_some() && self.host_of(name) == host;
        let mut gone = Vec::new();
        match self.bases {
            Bases::Hosts(hosts) => {
                for (host, services) in hosts {
                    for (name, base) in services.iter().filter(|(name, _)| !is_here(host, name)) {
                        gone.push((host.clone(), name.clone(), base.commit().unwrap_or_default()));
                    }
                }
            }
            Bases::Revision(base) => {
                for comparison in self.comparisons {
                    let before = comparison.compose().map_or_else(Vec::new, Compose::names);
                    for name in before.into_iter().filter(|name| self.compose().service(name).is_none()) {
                        gone.push((self.host_of(name), name.to_owned(), base.commit().unwrap_or_default()));
                    }
                }
            }
        }
        gone
    }

    /// The paths that touch no service, each once, and what of them is whose.
    pub fn sort_paths(&self, plan: &mut Plan) {
        let mut all: BTreeSet<&Change> = BTreeSet::new();
        let mut used: BTreeSet<&Change> = BTreeSet::new();
        for comparison in self.comparisons {
            all.extend(&comparison.changes);
            let services = 0..self.inputs.services.len();
            used.extend(services.flat_map(|index| comparison.effects(index)).map(|(change, _)| change));
        }
        let own: BTreeSet<String> = self.own_files();
        plan.changed_files = all.iter().map(|change| &change.path).collect::<BTreeSet<_>>().len();
        let python = all.iter().filter(|change| !change.deleted && is_python(&change.path));
        plan.python = python.map(|change| change.path.clone()).collect();
        for change in all {
            let path = display(&change.path);
            if self.is_protected(change) {
                plan.protected.push(path);
            } else if !used.contains(change) && !own.contains(&path) {
                plan.unmapped.push(path);
            }
        }
    }

    /// The project's own files, whose meaning is compared and not looked up.
    fn own_files(&self) -> BTreeSet<String> {
        let before = self.comparisons.iter().filter_map(Comparison::compose);
        let mut files: BTreeSet<String> =
            before.chain([self.compose()]).flat_map(|compose| compose.files.clone()).collect();
        files.extend(self.project.variable_files());
        files.insert(cm_project::tree::join(&self.project.prefix, cm_project::config::FILE_NAME));
        files
    }
}

/// Whether a path is that of a Python file.
pub fn is_python(path: &[u8]) -> bool {
    path.ends_with(b".py")
}
