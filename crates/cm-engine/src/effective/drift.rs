//! What runs, held against what its configuration says now: Compose's hash on the container, the
//! image that the tag names, and the container's own environment.

use super::difference::REPLICAS;
use super::{Answer, Model, Runs};
use crate::Definition;
use std::collections::BTreeSet;

/// What is said of a container that is not as its configuration says, where no setting can be named.
const CONFIGURATION: &str = "configuration";

/// What is said of a service that has no container.
const NO_CONTAINER: &str = "no container";

impl Answer {
    /// The containers of the project's service, those aside left out.
    fn own<'a>(&'a self, project: &'a str, service: &'a str) -> impl Iterator<Item = &'a Runs> {
        let all = self.containers.iter().flatten();
        all.filter(move |one| one.project == project && one.service == service && one.alongside.is_empty())
    }

    /// What `service` runs otherwise than the version that is to run says, as names of settings. Empty
    /// also where nobody can tell, and of a job: it ran once for its release, and what is left of it is history.
    pub fn drift(&self, service: &str) -> BTreeSet<String> {
        let (Ok(head), true) = (&self.head, self.containers.is_some()) else { return BTreeSet::new() };
        let config = head.config();
        let Some(definition) = config.services.get(service) else { return BTreeSet::new() };
        if config.jobs().contains(service) {
            return BTreeSet::new();
        }
        let own: Vec<&Runs> = self.own(&config.project, service).collect();
        if own.is_empty() {
            return (definition.replicas > 0).then(|| NO_CONTAINER.to_owned()).into_iter().collect();
        }
        let other_number = (own.len() as u64 != definition.replicas).then(|| REPLICAS.to_owned());
        own.iter()
            .flat_map(|container| self.drift_of(head, service, definition, container))
            .chain(other_number)
            .collect()
    }

    fn drift_of(&self, head: &Model, service: &str, definition: &Definition, container: &Runs) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let fixed = definition.image.contains('@');
        if !fixed && self.image_id(&definition.image).is_some_and(|id| id != container.image_id) {
            found.insert("image".to_owned());
        }
        let hashes = self.hashes.iter().filter_map(|hashes| hashes.get(service)).collect::<BTreeSet<_>>();
        if hashes.contains(&container.config_hash) {
            return found;
        }
        let environment = head.service(service).and_then(|service| service.get("environment"));
        let variables = container.other_variables(environment);
        let comparable = self.made(container) && !hashes.is_empty();
        // An old Compose hashes those dependencies that were started along, whichever they were.
        let ambiguous = hashes.len() > 1 && definition.depends_on.len() > 1;
        if variables.is_empty() && comparable && !ambiguous {
            found.insert(CONFIGURATION.to_owned());
        }
        found.extend(variables.into_iter().map(|name| format!("environment.{name}")));
        found
    }

    /// Whether Compose there says hashes of configurations. Without them only images and environments compare.
    pub fn has_hashes(&self) -> bool {
        let started = self.head.as_ref().is_ok_and(|head| head.services().next().is_some());
        !started || self.hashes.iter().any(|hashes| !hashes.is_empty())
    }

    /// Whether what runs is by Compose's own hash what the version that is to run says; `None` where
    /// the hashes do not compare.
    pub fn is_unchanged(&self, service: &str) -> Option<bool> {
        let project = self.head.as_ref().ok()?.config().project;
        let mut unchanged = None;
        for container in self.own(&project, service) {
            let same = self.hashes.iter().any(|hashes| hashes.get(service) == Some(&container.config_hash));
            if !same && !self.made(container) {
                return None;
            }
            unchanged = Some(unchanged.unwrap_or(true) && same);
        }
        unchanged
    }

    /// Whether this version of Compose made the container. A package's own number is not in the label.
    fn made(&self, container: &Runs) -> bool {
        let numbers =
            |version: &str| version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default().to_owned();
        numbers(&container.version) == numbers(&self.version)
    }

    /// Why this checkout's containers cannot be told from those of another one that is still there:
    /// the other's directory and its compose project. `own` are directories in this checkout that Compose may
    /// have been told to be the project's, that of the compose file and that of `cm.toml`.
    pub fn other_checkout(&self, own: &[&str], services: &BTreeSet<String>) -> Option<(&str, &str)> {
        let project = self.head.as_ref().ok()?.config().project;
        let below = |prefix: &&str| format!("{}/{prefix}", self.path).trim_end_matches('/').to_owned();
        let here: BTreeSet<String> = own.iter().map(below).collect();
        let others = self.containers.iter().flatten().filter(|one| services.contains(&one.service));
        let mut others = others.filter(|one| {
            !one.working_dir.is_empty() && !here.contains(&one.working_dir) && self.places.contains(&one.working_dir)
        });
        let ours =
            || services.iter().any(|service| self.own(&project, service).any(|one| here.contains(&one.working_dir)));
        let found = others.find(|one| one.project == project || (!ours() && self.is_of_a_release(&one.image_id)))?;
        Some((&found.working_dir, &found.project))
    }

    /// The names of the project in versions that run, where that is another one now and has containers.
    pub fn former_names(&self) -> BTreeSet<&str> {
        let Ok(head) = &self.head else { return BTreeSet::new() };
        let names = self.bases.iter().flatten().map(Model::name).filter(|name| *name != head.name());
        let has = |name: &&str| self.containers.iter().flatten().any(|one| one.project == *name);
        names.filter(has).collect()
    }

    /// Whether a deployment has kept the image by a tag.
    fn is_of_a_release(&self, image: &str) -> bool {
        let is_kept = |name: &str| name.rsplit(':').next().is_some_and(|tag| tag.starts_with("cm-"));
        self.images.iter().any(|(name, id)| id == image && is_kept(name))
    }

    /// The profiles that the host's own environment switches on.
    pub fn profiles(&self) -> BTreeSet<String> {
        let known = self.head.as_ref().ok().map(Model::variables).unwrap_or_default();
        let text = known.get("COMPOSE_PROFILES").cloned().flatten().unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Files of configs and secrets that are not there, relative to the checkout where they are in it.
    pub fn missing_files(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let files = self.missing.iter().filter(|(kind, _)| *kind == "file");
        files.map(|(_, path)| (path.as_str(), path.strip_prefix(&self.path).and_then(|rest| rest.strip_prefix('/'))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer(hash: &str, image: &str, env: &str, depends: &[&str]) -> Answer {
        let depends: serde_json::Map<String, Value> =
            depends.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let head = json!({"name": "shop", "services": {"web": {"image": "web", "environment": {"A": "1"}, "depends_on": depends}}});
        let container = json!({
            "id": "1", "name": "/web", "image_id": image, "image": "web", "status": "running", "project": "shop",
            "service": "web", "working_dir": "/srv/app", "config_hash": hash, "version": "2.26.1", "env": [env],
        });
        Answer {
            path: "/srv/app".to_owned(),
            version: "2.26.1-4".to_owned(),
            head: Ok(Model::new(head)),
            bases: Vec::new(),
            warnings: Vec::new(),
            containers: Some(vec![serde_json::from_value(container).expect("a container")]),
            missing: Vec::new(),
            hashes: [[("web".to_owned(), "h0".to_owned())].into(), [("web".to_owned(), "h1".to_owned())].into()],
            images: [("web:latest".to_owned(), "i".to_owned()), ("web:cm-1".to_owned(), "i".to_owned())].into(),
            places: ["/srv/app".to_owned(), "/srv/other".to_owned()].into(),
        }
    }

    fn drift(answer: &Answer) -> Vec<String> {
        answer.drift("web").into_iter().collect()
    }

    #[test]
    fn drift_is_named_by_what_drifted() {
        assert_eq!(drift(&answer("h0", "i", "A=1", &[])), [""; 0]);
        assert_eq!(drift(&answer("h1", "i", "A=1", &["db"])), [""; 0], "started without its dependency");
        assert_eq!(drift(&answer("x", "i", "A=2", &[])), ["environment.A"]);
        assert_eq!(drift(&answer("x", "i", "A=1", &[])), ["configuration"]);
        assert_eq!(drift(&answer("x", "i", "A=1", &["db", "mq"])), [""; 0], "started with one of its dependencies");
        assert_eq!(drift(&answer("h0", "old", "A=1", &[])), ["image"]);
        let mut twice = answer("h0", "i", "A=1", &[]);
        let again = twice.containers.clone().unwrap_or_default();
        twice.containers.iter_mut().for_each(|all| all.extend(again.clone()));
        assert_eq!(drift(&twice), ["replicas"]);
        let mut other = answer("x", "i", "A=1", &[]);
        other.version = "2.40.3".to_owned();
        assert_eq!((drift(&other), other.is_unchanged("web")), (Vec::new(), None), "two versions' hashes say nothing");
        other.containers = Some(Vec::new());
        assert_eq!(drift(&other), ["no container"]);
        other.containers = None;
        assert_eq!(drift(&other), [""; 0], "nobody could look");
        assert!(other.has_hashes());
        other.hashes = Default::default();
        assert!(!other.has_hashes());
    }

    #[test]
    fn another_checkout_that_is_still_there_is_seen() {
        let services = BTreeSet::from(["web".to_owned()]);
        let mut answer = answer("h0", "i", "A=1", &[]);
        assert_eq!(answer.other_checkout(&[""], &services), None);
        answer.path = "/srv/staging".to_owned();
        assert_eq!(answer.other_checkout(&[""], &services), Some(("/srv/app", "shop")));
        answer.containers.iter_mut().flatten().for_each(|one| one.project = "prod".to_owned());
        assert_eq!(answer.other_checkout(&[""], &services), Some(("/srv/app", "prod")), "a release of this ledger");
        answer.images.remove("web:cm-1");
        assert_eq!(answer.other_checkout(&[""], &services), None, "somebody else's");
        answer.places.clear();
        assert_eq!(answer.other_checkout(&[""], &services), None, "it was moved");
        answer.path = "/srv".to_owned();
        answer.containers.iter_mut().flatten().for_each(|one| one.project = "shop".to_owned());
        answer.places.insert("/srv/app".to_owned());
        assert_eq!(answer.other_checkout(&["", "app"], &services), None, "the directory of the compose file");
        assert!(answer.other_checkout(&[""], &services).is_some());
    }
}
