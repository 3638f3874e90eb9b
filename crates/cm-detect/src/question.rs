//! Everything that decides about a deployment, and the plain questions to it.

use crate::bases::{Base, Bases};
use crate::compare::Comparison;
use crate::effective::Effective;
use cm_git::Change;
use cm_project::compose::Compose;
use cm_project::inputs::Inputs;
use cm_project::{Project, compose};
use std::collections::BTreeSet;

/// Everything that decides.
pub struct Question<'a> {
    /// The project, with the compose file of the commit to deploy.
    pub project: &'a Project,
    /// The inputs at the commit to deploy.
    pub inputs: &'a Inputs,
    /// What runs.
    pub bases: &'a Bases,
    /// What the hosts' own Compose says.
    pub effective: &'a Effective,
    /// The bases compared with the commit to deploy.
    pub comparisons: &'a [Comparison],
    /// The services that were asked for; `None` for all.
    pub selected: Option<&'a BTreeSet<String>>,
    /// The hosts that were asked for; `None` for all.
    pub hosts: Option<&'a BTreeSet<String>>,
    /// Whether everything is to be built and replaced.
    pub full: bool,
}

impl Question<'_> {
    /// The compose file of the commit to deploy.
    pub fn compose(&self) -> &Compose {
        &self.project.compose
    }

    /// The name of the host that runs a service; `local` where there are no hosts.
    pub fn host_of(&self, service: &str) -> String {
        self.project.host_of(service).map_or_else(|| "local".to_owned(), |host| host.name.clone())
    }

    /// Whether the service and its host were asked for.
    pub fn is_selected(&self, service: &str, host: &str) -> bool {
        self.selected.is_none_or(|names| names.contains(service)) && self.hosts.is_none_or(|names| names.contains(host))
    }

    /// Whether the service is one that Compose does not start. Where its host was not asked, one that was deployed
    /// is taken to be started: a variable there may name its profile.
    pub fn is_inactive(&self, service: &compose::Service) -> bool {
        let host = self.host_of(&service.name);
        if let Some(starts) = self.effective.starts(&host, &service.name) {
            return !starts;
        }
        let deployed = !matches!(self.bases.of(&host, &service.name), Some(Base::Never { .. }) | None);
        !(service.starts_with(self.project.profiles()) || deployed && matches!(self.bases, Bases::Hosts(_)))
    }

    /// Whether the path belongs to the servers.
    pub fn is_protected(&self, change: &Change) -> bool {
        let protected = self.project.protected();
        protected.iter().any(|file| cm_project::tree::is_within(&change.path, file))
    }
}
