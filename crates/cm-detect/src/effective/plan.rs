//! How the word of a host's Compose changes what the model of this machine would decide.

use super::Effective;
use crate::compare::Configuration;
use cm_engine::effective::{ASIDE_FROM_CONFIGURATION, Difference};
use cm_git::Oid;
use cm_project::inputs::rule;
use std::collections::BTreeSet;

/// More settings than this are counted in a reason, not named.
pub const SETTINGS: usize = 8;

/// A service's configuration, as both see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adjusted {
    /// What counts.
    pub configuration: Configuration,
    /// The settings that differ, by name; empty where only the model could tell.
    pub settings: Vec<String>,
    /// Where the two disagree, in words.
    pub disagreement: Option<&'static str>,
}

impl Effective {
    /// Whether Compose starts `service` on `host`; `None` if it was not asked.
    pub fn starts(&self, host: &str, service: &str) -> Option<bool> {
        Some(self.hosts.get(host)?.starts(service))
    }

    /// Whether what `host` runs of the service is exactly what its configuration says, env files included.
    pub fn is_same(&self, host: &str, service: &str, base: Oid) -> bool {
        let Some(known) = self.hosts.get(host) else { return false };
        let differs = known.differences(base, service).map(|differences| !differences.is_empty());
        differs == Some(false) && known.answer.is_unchanged(service) != Some(false)
    }

    /// Whether a changed file has an effect only through the service's configuration, and that is the same.
    pub fn overrules(&self, host: &str, service: &str, base: Oid, rule: &str) -> bool {
        [rule::ENV_FILE, rule::LABEL_FILE].contains(&rule) && self.is_same(host, service, base)
    }

    /// Compose's word on how the service's configuration changed since `base`, against the `model`'s.
    pub fn configuration(&self, host: &str, service: &str, base: Oid, model: Configuration) -> Adjusted {
        let differences = self.hosts.get(host).and_then(|known| known.differences(base, service));
        let Some(differences) = differences else {
            return Adjusted { configuration: model, settings: Vec::new(), disagreement: None };
        };
        let is_build = differences.iter().any(|difference| matches!(difference, Difference::Build(_)));
        let compose = match differences.is_empty() {
            true => Configuration::Same,
            false if is_build => Configuration::Build,
            false => Configuration::Container,
        };
        let (configuration, disagreement) = match (model, compose) {
            (Configuration::New, _) => (Configuration::New, None),
            (model, compose) if model == compose => (compose, None),
            (Configuration::Same, _) => (compose, Some("the compose file alone does not show it")),
            (_, Configuration::Same) => {
                (Configuration::Same, Some("it is written otherwise in the compose file, and means the same"))
            }
            // Both see a difference: the stricter counts.
            (Configuration::Build, _) => (Configuration::Build, Some("to Compose only its container differs")),
            _ => (compose, None),
        };
        let mut settings: Vec<String> = differences.iter().map(|difference| difference.key().to_owned()).collect();
        settings.dedup();
        Adjusted { configuration, settings, disagreement }
    }

    /// What the service runs otherwise than its configuration says, although no commit changed that.
    pub fn drift(&self, host: &str, service: &str, base: Oid) -> BTreeSet<String> {
        let Some(known) = self.hosts.get(host) else { return BTreeSet::new() };
        let changed = known.differences(base, service).is_none_or(|differences| !differences.is_empty());
        let drift = known.answer.drift(service);
        // Where the commit changes the configuration as well, the container cannot be as it says.
        drift.into_iter().filter(|what| !changed || ASIDE_FROM_CONFIGURATION.contains(&&**what)).collect()
    }

    /// Whether the container differs from what is to run, and nobody knows what the commit before said.
    pub fn differs_from_unknown(&self, host: &str, service: &str, base: Oid) -> bool {
        let Some(known) = self.hosts.get(host) else { return false };
        known.starts(service)
            && known.differences(base, service).is_none()
            && known.answer.is_unchanged(service) == Some(false)
    }
}
