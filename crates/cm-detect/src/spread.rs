//! What a service that is replaced or restarted takes along.

use crate::outcome::Outcome;
use crate::question::Question;
use crate::reason;
use cm_core::Action;
use cm_project::compose;

impl Question<'_> {
    /// A replaced container takes along what lives in its network or process space, has its
    /// volumes or restarts with it, as Compose itself does where it is let to. An image takes along nothing here: what is built on it was compared since its own base.
    pub fn spread(&self, outcomes: &mut [Outcome]) {
        loop {
            let mut changed = false;
            for index in 0..outcomes.len() {
                for (cause, action, rule) in self.pulled_along(index, outcomes) {
                    let path = outcomes[cause].reasons.first().map_or(String::new(), |reason| reason.path.clone());
                    let known = outcomes[index].reasons.iter().any(|reason| reason.rule == rule);
                    if !known {
                        outcomes[index].because(action, path, rule);
                        changed = true;
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The services that pull the service `index` along, with what that does to it and the rule.
    fn pulled_along(&self, index: usize, outcomes: &[Outcome]) -> Vec<(usize, Action, String)> {
        let services = &self.compose().services;
        let acted = |other: &usize| {
            outcomes[*other].action >= Action::Restart
                && !self.is_inactive(&services[*other])
                && !self.is_broken(*other, outcomes)
        };
        let others = (0..outcomes.len()).filter(|other| *other != index).filter(acted);
        let runs = &self.inputs.services[index].runs;
        let same_host = |other: usize| self.host_of(&services[other].name) == self.host_of(&services[index].name);
        let pulls = |other: usize| {
            let name = &services[other].name;
            // Whoever runs the image of a service that is built here gets the new one.
            let gets_it = outcomes[index].action < Action::Build && runs.contains(name) && same_host(other);
            if outcomes[other].action == Action::Build && gets_it {
                return Some((other, Action::Recreate, format!("{}:{name}", reason::SHARED_IMAGE)));
            }
            let replaced = outcomes[other].action >= Action::Recreate;
            let (action, rule) = pull(&services[index], &services[other].name, replaced)?;
            Some((other, action, format!("{rule}:{}", services[other].name)))
        };
        others.filter_map(pulls).collect()
    }

    /// Whether a service would be built and cannot be.
    fn is_broken(&self, index: usize, outcomes: &[Outcome]) -> bool {
        outcomes[index].action == Action::Build && self.inputs.services[index].broken.is_some()
    }
}

/// What it does to `service` that the service `other` is restarted or `replaced`, and by which rule.
fn pull(service: &compose::Service, other: &str, replaced: bool) -> Option<(Action, &'static str)> {
    let wanted = format!("service:{other}");
    let shares = ["network_mode", "pid", "ipc", "uts"].iter().any(|key| service.configuration[*key] == wanted.as_str());
    if replaced && shares {
        return Some((Action::Recreate, reason::SHARED_NAMESPACE));
    }
    let volumes = service.configuration["volumes_from"].as_array();
    let mut sources = volumes.into_iter().flatten().filter_map(|source| source.as_str());
    if replaced && sources.any(|source| source.split(':').next() == Some(other)) {
        return Some((Action::Recreate, reason::SHARED_VOLUMES));
    }
    service.restarts_with.iter().any(|name| name == other).then_some((Action::Restart, reason::RESTARTS_WITH))
}
