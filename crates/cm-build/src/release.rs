//! What is deployed.

use crate::HostPlan;
use cm_core::{CommitId, Document, Exit, Failure, Result};
use cm_engine::Container;
use cm_ledger::{Ledger, Record, ServiceState};
use cm_project::Project;

/// Few names of images are longer, in bytes.
const LONG_NAME: usize = 128;

/// What is deployed, as every host records it.
#[derive(Clone, Debug)]
pub struct Release {
    /// The project's name.
    pub project: String,
    /// Whether this run was interrupted after its first change and resumes.
    pub resumed: bool,
    record: Record,
}

impl Release {
    /// The release that a document describes.
    pub fn of(doc: &Document) -> Result<Release> {
        let wanted = |value: Option<&str>, name: &str| {
            value
                .map(str::to_owned)
                .ok_or_else(|| Failure::new(Exit::BadInput, "input.shape", format!("the document names no {name}")))
        };
        let commit = wanted(doc.commit(), "commit")?;
        if !CommitId::new(&commit).is_some_and(|id| id.is_full()) {
            return Err(Failure::new(Exit::BadInput, "input.name", format!("{commit:?} is not a full commit ID")));
        }
        let resumed = doc.undo().iter().any(|entry| entry.release().is_some());
        Ok(Release { record: Record::of(doc), project: wanted(doc.project(), "project")?, resumed })
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The full commit id.
    pub fn commit(&self) -> &str {
        &self.record.commit
    }

    /// The branch it comes from; empty if nobody said.
    pub fn branch(&self) -> &str {
        &self.record.branch
    }

    /// The commit, as people write it.
    pub fn short(&self) -> &str {
        self.commit().get(..12).unwrap_or(self.commit())
    }

    /// A record of it, of this moment, for a host's ledger.
    pub fn record(&self) -> Record {
        Record { at: cm_core::time::now(), ..self.record.clone() }
    }

    /// What a host's record of it is to hold, before anything is built: of an image whose name nobody knows yet, a long one.
    pub fn planned(&self, project: &Project, plan: &HostPlan, (ledger, before): (&Ledger, &[Container])) -> Record {
        let state = |name: &String| {
            let local = project.compose.service(name).and_then(|local| local.image.clone());
            let runs =
                before.iter().find(|container| container.service == *name).map(|container| container.image.clone());
            let ran = ledger.records().iter().rev().find_map(|record| record.services.get(name));
            let known = [local, runs, ran.map(|state| state.image.clone())].into_iter().flatten();
            let image = known.max_by_key(String::len).unwrap_or_else(|| "x".repeat(LONG_NAME));
            ServiceState { image, ..ServiceState::default() }
        };
        let services = plan.services.iter().map(|service| (service.name.clone(), state(&service.name)));
        Record { services: services.collect(), ..self.record() }
    }

    /// The immutable name of an image of this release.
    pub fn tag(&self, image: &str) -> String {
        format!("{}:cm-{}", cm_rollout::repository(image), self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Action, Service};
    use serde_json::json;

    #[test]
    fn a_plan_of_more_services_than_a_ledger_tells_of_is_refused_before_anything_is_built() {
        let mut value = Document::start("cm-build", "ada", false).as_value();
        (value["project"], value["commit"]) = ("shop".into(), "c".repeat(40).into());
        let release = Release::of(&Document::parse("cm-build", value.to_string().as_bytes()).expect("valid"));
        let release = release.expect("a release");
        let config = cm_project::Config::parse("cm.toml", "project = \"shop\"\n").expect("valid");
        let project = Project::of("/x".into(), "/x".into(), String::new(), config);
        let service = |n: usize| Service {
            name: format!("s{n}"),
            host: "one".to_owned(),
            action: Action::Build,
            base: None,
            reasons: Vec::new(),
        };
        let plan = |count: usize| HostPlan {
            host: "one".to_owned(),
            checkout: "~/shop".to_owned(),
            services: (0..count).map(service).collect(),
            jobs: Default::default(),
        };
        let mut old = Record::new("1", "ada", "main", "b");
        old.services.insert("s0".to_owned(), ServiceState { image: "shop/s0".to_owned(), ..ServiceState::default() });
        let mut ledger = Ledger::default();
        ledger.apply(old);
        let runs = Container::read(
            &json!({"Config": {"Image": "registry.example.org/shop/s1", "Labels": {"com.docker.compose.service": "s1"}}}),
        );
        let planned = |count: usize| release.planned(&project, &plan(count), (&ledger, std::slice::from_ref(&runs)));
        let few = planned(3);
        let images: Vec<&str> = few.services.values().map(|state| state.image.as_str()).collect();
        let unknown = "x".repeat(LONG_NAME);
        assert_eq!(images, ["shop/s0", "registry.example.org/shop/s1", unknown.as_str()]);
        assert!(few.check_room("one").is_ok());
        assert_eq!(planned(1_000).check_room("one").expect_err("too many").code, "ledger.no-room");
    }
}
