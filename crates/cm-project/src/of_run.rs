//! The project as a run knows it: what `cm.toml` says here, and what the hosts' own Compose said to
//! cm-detect, which counts where the two differ.

use crate::{EffectiveHost, EffectiveService, Project};
use cm_core::facts::DetectFacts;
use cm_core::{Document, Exit, Failure, Result};
use std::collections::BTreeMap;

/// What the document of a run knows of the commit that is deployed, by host.
fn known(doc: &Document) -> BTreeMap<String, EffectiveHost> {
    let hosts = doc.part::<DetectFacts>().effective.unwrap_or_default().into_iter();
    let counts = |fact: &EffectiveHost| Some(fact.commit.as_str()) == doc.commit() && !fact.project.is_empty();
    hosts.filter(|(_, fact)| counts(fact)).collect()
}

impl Project {
    /// The project of a run: what its document knows of the hosts' own Compose counts.
    ///
    /// # Errors
    /// [`Exit::BadInput`] for the document of another project.
    pub fn of_run(mut self, doc: &Document) -> Result<Self> {
        self.check_project(doc)?;
        self.effective = known(doc);
        Ok(self)
    }

    /// Refuses the document of another project: its plan is not for the hosts of this `cm.toml`. Where that
    /// does not name the project, nothing says that another name is another one.
    ///
    /// # Errors
    /// [`Exit::BadInput`].
    pub fn check_project(&self, doc: &Document) -> Result<()> {
        match (doc.project(), self.config.project.as_deref()) {
            (Some(other), Some(own)) if other != own => {
                let message =
                    format!("the document is of project {other:?}, and cm.toml is of {own:?}; nothing was done");
                Err(Failure::new(Exit::BadInput, "input.name", message)
                    .hint(format!("work in the directory of {other:?}, or start again: cm-detect </dev/null")))
            }
            _ => Ok(()),
        }
    }

    /// What the Compose of `host` says, if it was asked in this run.
    pub fn effective(&self, host: &str) -> Option<&EffectiveHost> {
        self.effective.get(host)
    }

    /// What the Compose of its host says of `service`, if it was asked in this run.
    pub fn effective_service(&self, service: &str) -> Option<&EffectiveService> {
        self.effective(&self.host_of(service)?.name)?.services.get(service)
    }

    /// How many containers `service` has: by its host's Compose, else as the compose file here says.
    pub fn replicas(&self, service: &str) -> u64 {
        let here = || self.compose.service(service).map_or(1, |service| u64::from(service.replicas));
        self.effective_service(service).map_or_else(here, |service| service.replicas)
    }

    /// Whether nothing says that `service` stays: another one waits for its good end, or it has no restart
    /// policy, health check, probe or port.
    pub fn may_end(&self, service: &str) -> bool {
        let waited_for = self.effective_service(service).is_some_and(|service| service.job);
        let here = self.compose.service(service).is_some_and(|service| service.looks_like_a_job());
        waited_for || here && self.rules(service).probe.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use serde_json::json;
    use std::path::PathBuf;

    #[test]
    fn what_a_host_said_counts_for_the_commit_it_was_asked_about() {
        let config = Config::parse("cm.toml", "[hosts.web]\naddress = \"a@b\"\n").expect("valid");
        let mut project = Project::of(PathBuf::from("/x"), PathBuf::from("/x"), String::new(), config);
        assert_eq!((project.replicas("worker"), project.may_end("migrate")), (1, false));
        let mut doc = Document::start("cm-detect", "ada", false);
        doc.set_target("shop", None, Some("c1"));
        let services = json!({"worker": {"replicas": 0, "later": 1}, "migrate": {"replicas": 1, "job": true}});
        doc.set_facts(json!({"effective": {"web": {"project": "shop-y", "commit": "c1", "services": services}}}));
        project.effective = known(&doc);
        assert_eq!((project.replicas("worker"), project.may_end("migrate")), (0, true));
        assert_eq!(project.effective("web").map(|host| host.project.as_str()), Some("shop-y"));
        doc.set_target("shop", None, Some("c2"));
        assert!(known(&doc).is_empty(), "another commit");
    }
}
