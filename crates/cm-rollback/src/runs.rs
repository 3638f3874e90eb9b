//! After a rollback that failed: what runs where, by Docker's own word.

use crate::target::HostTarget;
use cm_core::facts::RunsNow;
use cm_core::{Log, Result};
use cm_engine::Container;
use cm_host::Host;
use cm_project::Project;
use std::collections::BTreeMap;

/// The containers of the services that should have been rolled back.
#[derive(Default)]
pub struct Runs(BTreeMap<String, Container>);

impl Runs {
    /// The image that a service's container was made from; `None` if there is no container.
    pub fn image(&self, service: &str) -> Option<&str> {
        self.0.get(service).map(|container| container.image_id.as_str())
    }

    /// For the document; nothing if nothing is known.
    pub fn facts(&self) -> Option<BTreeMap<String, RunsNow>> {
        let one = |found: &Container| RunsNow { image_id: found.image_id.clone(), status: found.status.clone() };
        let all: BTreeMap<_, _> = self.0.iter().map(|(name, found)| (name.clone(), one(found))).collect();
        Some(all).filter(|all| !all.is_empty())
    }
}

/// Looks, and says what it saw. A host that does not answer is said, too.
pub async fn look(project: &Project, host: &Host, target: &HostTarget, log: &Log) -> Runs {
    match containers(project, host, target).await {
        Ok(containers) => {
            let mut runs = Runs::default();
            for (name, state) in &target.choice.services {
                let found = containers.iter().find(|container| container.service == *name);
                log.warn(format!(
                    "on {}: {name} {}",
                    host.name(),
                    describe(found, state.as_ref().map(|s| s.image_id.as_str()))
                ));
                runs.0.extend(found.map(|found| (name.clone(), found.clone())));
            }
            runs
        }
        Err(failure) => {
            log.warn(format!("what runs on {} is not known: {failure}", host.name()));
            Runs::default()
        }
    }
}

fn describe(found: Option<&Container>, wanted: Option<&str>) -> String {
    let Some(found) = found else { return "has no container".to_owned() };
    let image =
        if Some(found.image_id.as_str()) == wanted { "the release that was rolled back to" } else { "another image" };
    format!("is {} and made from {image} ({})", found.status, found.image_id.get(..19).unwrap_or(&found.image_id))
}

async fn containers(project: &Project, host: &Host, target: &HostTarget) -> Result<Vec<Container>> {
    let name = cm_engine::project_name(project, host, &target.checkout).await?;
    cm_engine::containers(host, &name).await
}
