//! What one host answered, and what people should know of it before anything is planned.

use super::files::Asking;
use super::shared;
use crate::notes::Notes;
use cm_core::Result;
use cm_engine::effective::{Answer, Difference, Model, Need, differences};
use cm_git::Oid;
use cm_project::{EffectiveHost, Project};
use std::collections::{BTreeMap, BTreeSet};

/// One host's answer.
#[derive(Debug)]
pub struct Known {
    /// All of it.
    pub answer: Answer,
    /// What later programs need of it.
    pub fact: EffectiveHost,
    versions: BTreeMap<Oid, usize>,
}

impl Known {
    /// The answer to `asking`, about the commit `head`. `missing` is what the host lacks and the commit does not bring.
    pub fn new(answer: Answer, asking: &Asking, head: &str, missing: &BTreeSet<Need>) -> Self {
        let files = asking.question.versions.first();
        let fact = answer.head.as_ref().ok().zip(files).map(|(model, files)| answer.fact(model, head, missing, files));
        let fact = fact.unwrap_or_default();
        Known { answer, fact, versions: asking.versions.clone() }
    }

    /// The model of the version that is to run.
    pub fn head(&self) -> Option<&Model> {
        self.answer.head.as_ref().ok()
    }

    /// Whether Compose starts the service by itself.
    pub fn starts(&self, service: &str) -> bool {
        self.fact.services.contains_key(service)
    }

    /// What differs in `service` between what `base` says and what is to run; `None` where nobody asked
    /// about that commit, or one of the two does not start the service.
    pub fn differences(&self, base: Oid, service: &str) -> Option<BTreeSet<Difference>> {
        match self.versions.get(&base)? {
            0 => self.starts(service).then(BTreeSet::new),
            number => {
                let base = self.answer.bases.get(number - 1)?.as_ref()?;
                differences(base, self.head()?, service, &self.answer.version)
            }
        }
    }

    /// Says what is odd, and refuses what would go wrong without a word.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if another checkout there has the same project.
    pub fn check(&self, host: &str, project: &Project, running: &BTreeSet<String>, notes: &Notes) -> Result<()> {
        let answer = &self.answer;
        let own = [&*project.compose_directory(), &*project.prefix];
        let is_own = |service: &str| project.host_of(service).is_none_or(|of| of.name == host) && self.starts(service);
        if let Some((other, theirs)) = answer.other_checkout(&own, running, &is_own) {
            return Err(shared(host, project, &answer.path, other, theirs, &self.fact.project));
        }
        if answer.containers.is_none() {
            notes.warn(format!(
                "{host}: Docker there does not answer: what drifted since the last deployment is not known"
            ));
        }
        if !answer.has_hashes() {
            notes.warn(format!(
                "{host}: Docker Compose {} there has no `config --hash` (2.0.0 and later do): of what drifted since the last \
                 deployment only images and environments are seen",
                answer.version
            ));
        }
        for former in answer.former_names(&own, running) {
            notes.warn(format!(
                "{host}: the compose project was {former} and is {} now: every service is made again, with new and empty volumes, and the \
                 containers of {former} stay and keep their ports; `docker compose -p {former} down` there removes them. If nobody meant \
                 that, look at `name:` and at COMPOSE_PROJECT_NAME in its .env",
                self.fact.project
            ));
        }
        for line in &answer.warnings {
            if let Some((_, variable)) = line.split_once("The \\\"").filter(|_| line.contains("variable is not set")) {
                let name = variable.split('\\').next().unwrap_or_default();
                notes.warn(format!("{host}: the variable {name} is not set there: Compose takes it as empty"));
            }
        }
        self.check_profiles(host, project, notes);
        for service in self.idle(host, project) {
            notes.warn(format!(
                "{host}: {service} runs there, and no profile that is switched on starts it: it is left as it is. \
                 COMPOSE_PROFILES in its .env or [compose] profiles in cm.toml switch a profile on, --service {service} \
                 deploys it once, `docker compose stop {service}` there ends it"
            ));
        }
        Ok(())
    }

    /// Services of this host that run although Compose does not start them.
    pub fn idle(&self, host: &str, project: &Project) -> BTreeSet<String> {
        let Some(head) = self.head() else { return BTreeSet::new() };
        let is_own = |service: &str| project.host_of(service).is_some_and(|of| of.name == host);
        let of_file = |service: &str| project.compose.service(service).is_some() && is_own(service);
        let running = self.answer.containers.iter().flatten();
        let running =
            running.filter(|one| one.project == head.name() && one.status == "running" && one.alongside.is_empty());
        let idle = running.map(|one| &one.service).filter(|service| !self.starts(service) && of_file(service));
        idle.cloned().collect()
    }

    /// Compose ignores its variable where profiles are named, as cm does with those of cm.toml.
    fn check_profiles(&self, host: &str, project: &Project, notes: &Notes) {
        let (there, own) = (self.answer.profiles(), &project.config.compose.profiles);
        let others: Vec<_> = there.iter().filter(|name| !own.contains(name)).cloned().collect();
        if !own.is_empty() && !others.is_empty() {
            notes.warn(format!(
                "{host}: COMPOSE_PROFILES there also switches on {}, and cm.toml says otherwise ([compose] profiles = {own:?}): \
                 their services are not deployed",
                others.join(", ")
            ));
        }
    }
}
