//! From what changed to what is to be done: for every service one action, and the
//! reasons for it.

use crate::bases::{Base, Bases};
use crate::changes::Change;
use crate::compare::{Comparison, Configuration};
use crate::effective::{Adjusted, Effective, SETTINGS};
use crate::repository::display;
use cm_core::{Action, Reason, Service};
use cm_project::compose::Compose;
use cm_project::inputs::{Effect, Inputs, rule};
use cm_project::{OnChange, OnDrift, Project, compose};
use git2::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// More reasons than this tell nobody anything; the rest is counted.
const MAX_REASONS: usize = 50;

/// Reasons that are no path rule.
pub mod reason {
    /// Nothing was ever recorded on the host.
    pub const FIRST_DEPLOY: &str = "first-deploy";
    /// The service was not there, or never deployed.
    pub const NEW_SERVICE: &str = "new-service";
    /// What it runs is no commit of this clone.
    pub const UNKNOWN_BASE: &str = "unknown-base";
    /// The compose file of what it runs cannot be read.
    pub const UNREADABLE_BASE: &str = "unreadable-base";
    /// The release that put it there was not found good.
    pub const UNVERIFIED: &str = "unverified";
    /// Its `build` in the compose file changed.
    pub const COMPOSE_BUILD: &str = "compose-build";
    /// The rest of it in the compose file changed.
    pub const COMPOSE_CONFIGURATION: &str = "compose-configuration";
    /// A service that its image is built on is rebuilt; the name follows after a colon.
    pub const BASE_IMAGE: &str = "base-image";
    /// It runs the image that another service builds; the name follows after a colon.
    pub const SHARED_IMAGE: &str = "shared-image";
    /// Its image cannot be built: the Dockerfile or its target has a mistake.
    pub const BROKEN_BUILD: &str = "broken-build";
    /// It lives in the network or process space of a service that is replaced.
    pub const SHARED_NAMESPACE: &str = "shared-namespace";
    /// It has the volumes of a service that is replaced (`volumes_from`).
    pub const SHARED_VOLUMES: &str = "shared-volumes";
    /// It restarts with a service it depends on (`depends_on` with `restart: true`).
    pub const RESTARTS_WITH: &str = "restarts-with";
    /// `--full`.
    pub const FULL: &str = "full";
    /// It was asked for by name or group.
    pub const SELECTED: &str = "selected";
    /// It changed, but others were asked for.
    pub const NOT_SELECTED: &str = "not-selected";
    /// It does not run as its configuration says; the setting follows after a colon.
    pub const DRIFT: &str = "drift";
    /// It belongs to profiles that are not switched on.
    pub const PROFILE: &str = "profile-not-active";
    /// It is gone from the compose file, or runs elsewhere now.
    pub const REMOVED: &str = "removed";
}

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

/// A service's action on its way to being decided.
struct Outcome {
    action: Action,
    reasons: Vec<Reason>,
    drift: BTreeSet<String>,
    disagreement: Option<&'static str>,
}

impl Outcome {
    fn nothing() -> Self {
        Outcome { action: Action::None, reasons: Vec::new(), drift: BTreeSet::new(), disagreement: None }
    }

    /// One reason for each setting that is named.
    fn settings(&mut self, action: Action, path: &str, rule: &str, adjusted: &Adjusted) {
        if adjusted.settings.is_empty() {
            return self.because(action, path, rule);
        }
        for setting in adjusted.settings.iter().take(SETTINGS) {
            self.because(action, path, format!("{rule}:{setting}"));
        }
    }

    fn because(&mut self, action: Action, path: impl Into<String>, rule: impl Into<String>) {
        self.action = self.action.max(action);
        self.reasons.push(Reason { path: path.into(), rule: rule.into() });
    }

    /// The action and its reasons, not too many of them.
    fn finish(mut self) -> (Action, Vec<Reason>) {
        if self.reasons.len() > MAX_REASONS {
            let more = self.reasons.len() - MAX_REASONS;
            self.reasons.truncate(MAX_REASONS);
            self.reasons.push(Reason { path: String::new(), rule: format!("and {more} more paths") });
        }
        (self.action, self.reasons)
    }
}

impl Plan {
    fn note(&mut self, host: &str, service: &str, outcome: &Outcome) {
        if !outcome.drift.is_empty() {
            self.drift.insert((host.to_owned(), service.to_owned()), outcome.drift.clone());
        }
        let words = outcome.disagreement.map(|words| format!("{service} on {host}: {words}"));
        self.disagreements.extend(words);
    }
}

impl Question<'_> {
    /// Decides.
    pub fn answer(&self) -> Plan {
        let mut outcomes: Vec<Outcome> =
            self.compose().services.iter().enumerate().map(|(i, _)| self.outcome(i)).collect();
        self.spread(&mut outcomes);
        let mut plan = Plan::default();
        for (service, outcome) in self.compose().services.iter().zip(outcomes) {
            let host = self.host_of(&service.name);
            plan.note(&host, &service.name, &outcome);
            let outcome = self.choose(service, outcome, &mut plan);
            let base = self.bases.of(&host, &service.name).and_then(|base| base.commit());
            let (action, reasons) = outcome.finish();
            plan.services.push(Service { name: service.name.clone(), host, action, base, reasons });
        }
        self.add_removed(&mut plan);
        self.sort_paths(&mut plan);
        plan
    }

    fn compose(&self) -> &Compose {
        &self.project.compose
    }

    /// The name of the host that runs a service; `local` where there are no hosts.
    fn host_of(&self, service: &str) -> String {
        self.project.host_of(service).map_or_else(|| "local".to_owned(), |host| host.name.clone())
    }

    fn is_selected(&self, service: &str, host: &str) -> bool {
        self.selected.is_none_or(|names| names.contains(service)) && self.hosts.is_none_or(|names| names.contains(host))
    }

    /// What the service number `index` needs by itself.
    fn outcome(&self, index: usize) -> Outcome {
        let service = &self.compose().services[index];
        let mut outcome = Outcome::nothing();
        let fresh = start_action(service);
        match self.bases.of(&self.host_of(&service.name), &service.name) {
            // A host that was not asked: nothing of it was asked for.
            None => {}
            Some(Base::Never { first: true }) => outcome.because(fresh, "", reason::FIRST_DEPLOY),
            Some(Base::Never { first: false }) => outcome.because(fresh, "", reason::NEW_SERVICE),
            Some(Base::Unknown(_)) => outcome.because(fresh, "", reason::UNKNOWN_BASE),
            Some(Base::Commit { id, good }) => {
                self.compare(index, service, id, &mut outcome);
                if !good {
                    outcome.because(fresh, "", reason::UNVERIFIED);
                }
            }
        }
        outcome
    }

    /// What differs between the service's base and the commit to deploy.
    fn compare(&self, index: usize, service: &compose::Service, base: Oid, outcome: &mut Outcome) {
        let Some(comparison) = self.comparisons.iter().find(|comparison| comparison.base == base) else { return };
        let file = self.project.compose_files().into_iter().next().unwrap_or_default();
        let fresh = start_action(service);
        let host = self.host_of(&service.name);
        let model = comparison.configuration(service, &self.project.compose_name());
        let adjusted = self.effective.configuration(&host, &service.name, base, model);
        outcome.disagreement = adjusted.disagreement;
        match adjusted.configuration {
            Configuration::Same => {}
            Configuration::Build => outcome.settings(fresh, &file, reason::COMPOSE_BUILD, &adjusted),
            Configuration::Container => {
                outcome.settings(Action::Recreate, &file, reason::COMPOSE_CONFIGURATION, &adjusted);
            }
            Configuration::New => outcome.because(fresh, &file, reason::NEW_SERVICE),
            Configuration::Unreadable => outcome.because(fresh, &file, reason::UNREADABLE_BASE),
        }
        if comparison.environment_differs(service) {
            let variables = self.project.variable_files().into_iter().next().unwrap_or_default();
            outcome.because(Action::Recreate, variables, rule::ENV_FILE);
        }
        // With one revision for all, what Compose did not start was not deployed.
        if matches!(self.bases, Bases::Revision(_)) && comparison.was_idle(&service.name) {
            outcome.because(fresh, file, reason::NEW_SERVICE);
        }
        self.compare_base_images(index, comparison, outcome);
        for (change, effect) in comparison.effects(index).filter(|(change, _)| !self.is_protected(change)) {
            if !self.effective.overrules(&host, &service.name, base, effect.rule) {
                outcome.because(self.action(service, effect), display(&change.path), effect.rule);
            }
        }
        if self.effective.differs_from_unknown(&host, &service.name, base) {
            outcome.because(Action::Recreate, "", reason::COMPOSE_CONFIGURATION);
        }
        self.add_drift(&host, service, base, outcome);
    }

    /// What the service runs otherwise than its configuration says, where nothing replaces it anyway.
    fn add_drift(&self, host: &str, service: &compose::Service, base: Oid, outcome: &mut Outcome) {
        if outcome.action >= Action::Recreate {
            return;
        }
        outcome.drift = self.effective.drift(host, &service.name, base);
        let action = match self.project.config.deploy.drift {
            OnDrift::Apply => Action::Recreate,
            OnDrift::Warn => Action::None,
        };
        for setting in outcome.drift.clone().iter().take(SETTINGS) {
            outcome.because(action, "", format!("{}:{setting}", reason::DRIFT));
        }
    }

    /// Other images below its own, or the same ones with other inputs since its own
    /// base: the service that builds them may run, and have been deployed, elsewhere.
    fn compare_base_images(&self, index: usize, comparison: &Comparison, outcome: &mut Outcome) {
        let inputs = &self.inputs.services[index];
        if let Some(other) = comparison.other_base_image(inputs) {
            outcome.because(Action::Build, "", format!("{}:{other}", reason::BASE_IMAGE));
        }
        for name in &inputs.runs {
            if let Some(path) = self.image_changed(name, comparison, &mut BTreeSet::new()) {
                outcome.because(Action::Recreate, path, format!("{}:{name}", reason::SHARED_IMAGE));
            }
        }
        for name in &inputs.built_on {
            if let Some(path) = self.image_changed(name, comparison, &mut BTreeSet::new()) {
                outcome.because(Action::Build, path, format!("{}:{name}", reason::BASE_IMAGE));
            }
        }
    }

    /// A path by which the image of the service `name` changed since the base, its own base images included.
    fn image_changed(&self, name: &str, comparison: &Comparison, seen: &mut BTreeSet<String>) -> Option<String> {
        let index = self.inputs.services.iter().position(|inputs| inputs.name == name)?;
        if !seen.insert(name.to_owned()) {
            return None;
        }
        let service = &self.compose().services[index];
        match comparison.configuration(service, &self.project.compose_name()) {
            Configuration::Same | Configuration::Container => {}
            _ => return Some(self.project.compose_files().into_iter().next().unwrap_or_default()),
        }
        let own = comparison.effects(index).filter(|(change, _)| !self.is_protected(change));
        let own = own.filter(|(_, effect)| effect.action == Action::Build).map(|(change, _)| change).next();
        let own = own.map(|change| display(&change.path));
        let other = || comparison.other_base_image(&self.inputs.services[index]).map(|_| String::new());
        let mut below =
            || self.inputs.services[index].built_on.iter().find_map(|name| self.image_changed(name, comparison, seen));
        own.or_else(other).or_else(&mut below)
    }

    /// What an effect comes to for this service.
    fn action(&self, service: &compose::Service, effect: Effect) -> Action {
        if effect.action != Action::Restart {
            return effect.action;
        }
        match self.project.on_change(&service.name) {
            // Git replaces a file that it updates, and a container that has it mounted
            // alone keeps the old one until it is restarted: a reload reads old text.
            OnChange::Reload if matches!(effect.rule, rule::MOUNTED_FILE | rule::ATTRIBUTES) => Action::Restart,
            OnChange::Reload => Action::Reload,
            OnChange::Restart => Action::Restart,
            OnChange::Recreate => Action::Recreate,
        }
    }

    /// A replaced container takes along what lives in its network or process space, has its
    /// volumes or restarts with it, as Compose itself does where it is let to. An image takes along nothing here: what is built on it was compared since its own base.
    fn spread(&self, outcomes: &mut [Outcome]) {
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
            if outcomes[other].action == Action::Build && runs.contains(name) && same_host(other) {
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

    /// What was found out, against what was asked for.
    fn choose(&self, service: &compose::Service, mut outcome: Outcome, plan: &mut Plan) -> Outcome {
        if !self.is_selected(&service.name, &self.host_of(&service.name)) {
            if outcome.action != Action::None {
                plan.left_out.push(service.name.clone());
                outcome.because(Action::None, "", reason::NOT_SELECTED);
                outcome.action = Action::None;
            }
            return outcome;
        }
        if self.selected.is_some() || self.full {
            let rule = if self.full { reason::FULL } else { reason::SELECTED };
            outcome.because(start_action(service), "", rule);
        } else if self.is_inactive(service) {
            outcome = Outcome::nothing();
            outcome.because(Action::None, "", reason::PROFILE);
        }
        let inputs = self.inputs.service(&service.name);
        if outcome.action == Action::Build && inputs.is_some_and(|inputs| inputs.broken.is_some()) {
            plan.broken.push(service.name.clone());
            outcome.because(Action::None, "", reason::BROKEN_BUILD);
            outcome.action = Action::None;
        }
        outcome
    }

    /// Whether the service is one that Compose does not start, and that does not run.
    fn is_inactive(&self, service: &compose::Service) -> bool {
        let runs =
            !matches!(self.bases.of(&self.host_of(&service.name), &service.name), Some(Base::Never { .. }) | None);
        let starts = self
            .effective
            .starts(&self.host_of(&service.name), &service.name)
            .unwrap_or_else(|| service.starts_with(self.project.profiles()));
        !(starts || runs && matches!(self.bases, Bases::Hosts(_)))
    }

    /// The services that run and should not: gone from the compose file, or moved.
    fn add_removed(&self, plan: &mut Plan) {
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

    fn is_protected(&self, change: &Change) -> bool {
        let protected = self.project.protected();
        protected.iter().any(|file| cm_project::tree::is_within(&change.path, file))
    }

    /// The paths that touch no service, each once, and what of them is whose.
    fn sort_paths(&self, plan: &mut Plan) {
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

/// What brings a service to where it should be from anywhere.
pub fn start_action(service: &compose::Service) -> Action {
    if service.build.is_some() { Action::Build } else { Action::Recreate }
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
