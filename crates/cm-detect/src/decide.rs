//! From what changed to what is to be done: the action of every service, with the
//! reasons for it.

use crate::bases::{Base, Bases};
use crate::compare::{Comparison, Configuration};
use crate::effective::SETTINGS;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::question::Question;
use crate::reason;
use cm_core::{Action, Service};
use cm_git::{Oid, display};
use cm_project::inputs::{Effect, rule};
use cm_project::{OnChange, OnDrift, compose};
use std::collections::BTreeSet;

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
        // What was built, and is not any more, is only run.
        outcome.action = outcome.action.min(fresh);
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
        self.compare_shared_images(index, comparison, outcome);
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
        for name in &inputs.built_on {
            if let Some(path) = self.image_changed(name, comparison, &mut BTreeSet::new()) {
                outcome.because(Action::Build, path, format!("{}:{name}", reason::BASE_IMAGE));
            }
        }
    }

    /// An image that it runs and others build. Where it builds the same one for reasons of its own, those are told.
    fn compare_shared_images(&self, index: usize, comparison: &Comparison, outcome: &mut Outcome) {
        if outcome.action == Action::Build {
            return;
        }
        for name in &self.inputs.services[index].runs {
            if let Some(path) = self.image_changed(name, comparison, &mut BTreeSet::new()) {
                outcome.because(Action::Recreate, path, format!("{}:{name}", reason::SHARED_IMAGE));
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
        if self.selected.is_none() && self.is_inactive(service) {
            outcome = Outcome::nothing();
            outcome.because(Action::None, "", reason::PROFILE);
        } else if self.selected.is_some() || self.full {
            let rule = if self.full { reason::FULL } else { reason::SELECTED };
            outcome.because(start_action(service), "", rule);
        }
        let inputs = self.inputs.service(&service.name);
        if outcome.action == Action::Build && inputs.is_some_and(|inputs| inputs.broken.is_some()) {
            plan.broken.push(service.name.clone());
            outcome.because(Action::None, "", reason::BROKEN_BUILD);
            outcome.action = Action::None;
        }
        outcome
    }
}

/// What brings a service to where it should be from anywhere.
pub fn start_action(service: &compose::Service) -> Action {
    if service.build.is_some() { Action::Build } else { Action::Recreate }
}
