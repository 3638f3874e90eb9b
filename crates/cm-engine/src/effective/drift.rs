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

/// What is said of a container that somebody stopped or paused, or that ended.
const NOT_RUNNING: &str = "not running";

/// What no change of the configuration explains: how many containers there are, of which image, and whether they run.
pub const ASIDE_FROM_CONFIGURATION: [&str; 4] = ["image", NO_CONTAINER, NOT_RUNNING, REPLICAS];

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
        if container.is_stopped() {
            found.insert(NOT_RUNNING.to_owned());
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
    /// have been told to be the project's, that of the compose file and that of `cm.toml`; `services` are those that
    /// the ledger has, and of `starts` are those that are to run, the first time as well.
    pub fn other_checkout(
        &self,
        own: &[&str],
        services: &BTreeSet<String>,
        starts: &dyn Fn(&str) -> bool,
    ) -> Option<(&str, &str)> {
        let project = self.head.as_ref().ok()?.config().project;
        let here = self.own_places(own);
        let mut others = self.containers.iter().flatten().filter(|one| {
            !one.working_dir.is_empty() && !here.contains(&one.working_dir) && self.places.contains(&one.working_dir)
        });
        let ours =
            || services.iter().any(|service| self.own(&project, service).any(|one| here.contains(&one.working_dir)));
        let found = others.find(|one| match one.project == project {
            true => services.contains(&one.service) || starts(&one.service),
            false => services.contains(&one.service) && !ours() && self.is_of_a_release(&one.image_id),
        })?;
        Some((&found.working_dir, &found.project))
    }

    /// Directories in this checkout, by their paths on the host.
    fn own_places(&self, own: &[&str]) -> BTreeSet<String> {
        own.iter().map(|prefix| format!("{}/{prefix}", self.path).trim_end_matches('/').to_owned()).collect()
    }

    /// The names of the project in versions that run, where that is another one now and has containers; and those of
    /// containers of `services` that were made in directories `own` of this checkout, where there is none by today's
    /// name: somebody changed the variables there.
    pub fn former_names(&self, own: &[&str], services: &BTreeSet<String>) -> BTreeSet<&str> {
        let Ok(head) = &self.head else { return BTreeSet::new() };
        let all = || self.containers.iter().flatten();
        let names = self.bases.iter().flatten().map(Model::name).filter(|name| *name != head.name());
        let has = |name: &&str| all().any(|one| one.project == *name);
        let here = self.own_places(own);
        let from_here = all()
            .filter(|one| here.contains(&one.working_dir) && services.contains(&one.service))
            .map(|one| one.project.as_str());
        let is_new = !has(&head.name());
        names.filter(has).chain(from_here.filter(|_| is_new)).collect()
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
            there: Default::default(),
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
        let stopped = |status: &str, code: i64, restart: &str| {
            let mut answer = answer("h0", "i", "A=1", &[]);
            for one in answer.containers.iter_mut().flatten() {
                (one.status, one.exit_code, one.restart) = (status.to_owned(), code, restart.to_owned());
            }
            drift(&answer)
        };
        for (status, code, restart) in [
            ("exited", 0, "always"),
            ("exited", 0, "unless-stopped"),
            ("exited", 137, "no"),
            ("created", 0, "no"),
            ("paused", 0, "always"),
        ] {
            assert_eq!(stopped(status, code, restart), ["not running"], "{status} {code} {restart}");
        }
        assert_eq!(stopped("exited", 0, "no"), [""; 0], "it has done its work");
        assert_eq!(stopped("restarting", 1, "always"), [""; 0], "unhealthy, and as its configuration says");
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
    fn the_name_that_the_project_had_is_seen_whoever_changed_it() {
        let services = BTreeSet::from(["web".to_owned()]);
        let mut answer = answer("h0", "i", "A=1", &[]);
        assert_eq!(answer.former_names(&[""], &services), [""; 0].into());
        answer.containers.iter_mut().flatten().for_each(|one| one.project = "before".to_owned());
        assert_eq!(answer.former_names(&[""], &services), ["before"].into());
        assert_eq!(answer.former_names(&["below"], &services), [""; 0].into(), "made elsewhere");
        assert_eq!(answer.former_names(&[""], &BTreeSet::new()), [""; 0].into(), "not deployed by this ledger");
    }

    #[test]
    fn another_checkout_that_is_still_there_is_seen() {
        fn other<'a>(answer: &'a Answer, own: &[&str]) -> Option<(&'a str, &'a str)> {
            answer.other_checkout(own, &BTreeSet::from(["web".to_owned()]), &|_| false)
        }
        let mut answer = answer("h0", "i", "A=1", &[]);
        assert_eq!(other(&answer, &[""]), None);
        answer.path = "/srv/staging".to_owned();
        assert_eq!(other(&answer, &[""]), Some(("/srv/app", "shop")));
        let first = |name: &str| answer.other_checkout(&[""], &BTreeSet::new(), &|service| service == name);
        assert_eq!(first("web"), Some(("/srv/app", "shop")), "before its first deployment");
        assert_eq!(first("other"), None, "another service");
        answer.containers.iter_mut().flatten().for_each(|one| one.project = "prod".to_owned());
        assert_eq!(other(&answer, &[""]), Some(("/srv/app", "prod")), "a release of this ledger");
        answer.images.remove("web:cm-1");
        assert_eq!(other(&answer, &[""]), None, "somebody else's");
        answer.places.clear();
        assert_eq!(other(&answer, &[""]), None, "it was moved");
        answer.path = "/srv".to_owned();
        answer.containers.iter_mut().flatten().for_each(|one| one.project = "shop".to_owned());
        answer.places.insert("/srv/app".to_owned());
        assert_eq!(other(&answer, &["", "app"]), None, "the directory of the compose file");
        assert!(other(&answer, &[""]).is_some());
    }
}
