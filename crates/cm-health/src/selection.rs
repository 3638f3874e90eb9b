//! What is watched: what flags name; else what the document says was changed; else
//! everything. A deployment that changed nothing still ends with the word "healthy",
//! and that word is only said about what was looked at.

use crate::args::Args;
use cm_core::{Exit, Failure, Log, Result, Run};
use cm_engine::Compose;
use cm_gate::{Change, Past, Wanted, changes};
use cm_host::Host;
use cm_project::Project;
use std::collections::BTreeMap;

/// What is watched, host by host.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub hosts: Vec<HostWatch>,
}

/// What is watched on one host.
#[derive(Clone, Debug)]
pub struct HostWatch {
    /// Its name in `cm.toml`.
    pub host: String,
    /// The compose project's name there, if a build of this run says it.
    pub compose_project: Option<String>,
    /// The services.
    pub wanted: Vec<Wanted>,
}

impl HostWatch {
    /// The services' names.
    pub fn services(&self) -> Vec<&str> {
        self.wanted.iter().map(|wanted| wanted.service.as_str()).collect()
    }

    /// The compose project's name on the host, as far as this run knows it: what was built says it, or
    /// what Compose there has said.
    fn known_compose_project(&self, project: &Project) -> Option<String> {
        let effective = || project.effective(&self.host).map(|known| known.project.clone());
        self.compose_project.clone().or_else(effective)
    }

    /// The compose project's name on the host: what is known, else what Compose says there.
    ///
    /// # Errors
    /// Those of asking. Without a checkout nothing was deployed there: that is said, and not that containers
    /// are missing.
    pub async fn compose_project_on(&self, project: &Project, host: &Host, log: &Log) -> Result<String> {
        if let Some(name) = self.known_compose_project(project) {
            return Ok(name);
        }
        log.debug(format!("asking Compose on {} for the project's name", host.name()));
        let checkout = project.host(&self.host)?.checkout()?;
        Ok(Compose::of(project, host, &checkout).config().await?.project)
    }

    /// What the name will most likely turn out to be.
    ///
    /// # Errors
    /// [`Exit::Config`] for a checkout that wants a variable.
    pub fn likely_compose_project(&self, project: &Project) -> Result<String> {
        match self.known_compose_project(project) {
            Some(name) => Ok(name),
            None => Ok(project.likely_name(&project.host(&self.host)?.checkout()?)),
        }
    }
}

impl Selection {
    /// Chooses.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name that is unknown; [`Exit::Config`] if there is nothing to watch.
    pub fn choose(project: &Project, args: &Args, run: &Run) -> Result<Selection> {
        let changes = changes(&run.doc)?;
        let pairs = match named(project, args)? {
            Some(pairs) => pairs,
            None => of_document(project, args, &changes, run),
        };
        let mut selection = Selection::of(project, &changes, pairs)?;
        selection.flags_first(args);
        selection.not_empty()
    }

    /// Chooses where there is no document.
    ///
    /// # Errors
    /// As [`Selection::choose`].
    pub fn of_flags(project: &Project, args: &Args) -> Result<Selection> {
        let pairs = named(project, args)?.unwrap_or_else(|| all(project));
        Selection::of(project, &[], pairs)?.not_empty()
    }

    fn not_empty(self) -> Result<Selection> {
        if self.count() == 0 {
            return Err(Failure::new(Exit::Config, "health.nothing", "there is no service to watch").hint(
                "cm.toml has no [hosts] to run one, or the compose file has none without a profile; \
                 name one with --service",
            ));
        }
        Ok(self)
    }

    /// Flags beat what `cm.toml` says of single services.
    fn flags_first(&mut self, args: &Args) {
        for wanted in self.hosts.iter_mut().flat_map(|watch| &mut watch.wanted) {
            wanted.own.timeout = wanted.own.timeout.filter(|_| args.timeout.is_none());
            wanted.own.window = wanted.own.window.filter(|_| args.window.is_none());
        }
    }

    fn of(project: &Project, changes: &[Change], pairs: Vec<(String, String)>) -> Result<Selection> {
        let mut selection = Selection::default();
        for (host, service) in pairs {
            let change = changes.iter().find(|change| change.host == host && change.service == service);
            let image = change.map(image_of).transpose()?.flatten();
            let wanted = Wanted::of(project, &service).image(image).past(past_of(change));
            match selection.hosts.iter_mut().find(|watch| watch.host == host) {
                Some(watch) => watch.wanted.push(wanted),
                None => selection.hosts.push(HostWatch {
                    compose_project: changes.iter().find(|change| change.host == host).and_then(|c| c.project.clone()),
                    host,
                    wanted: vec![wanted],
                }),
            }
        }
        Ok(selection)
    }

    /// How many services are watched; one that runs on two hosts counts twice.
    pub fn count(&self) -> usize {
        self.hosts.iter().map(|watch| watch.wanted.len()).sum()
    }

    /// For the document: host to services.
    pub fn facts(&self) -> BTreeMap<String, Vec<String>> {
        let names = |watch: &HostWatch| watch.services().into_iter().map(str::to_owned).collect();
        self.hosts.iter().map(|watch| (watch.host.clone(), names(watch))).collect()
    }
}

/// What flags name: host and service, each once.
fn named(project: &Project, args: &Args) -> Result<Option<Vec<(String, String)>>> {
    if args.service.is_empty() && args.group.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<String> = Vec::new();
    for service in &args.service {
        names.push(project.service(service)?.name.clone());
    }
    for group in &args.group {
        names.extend(project.group(group)?.into_iter().map(str::to_owned));
    }
    let mut pairs = Vec::new();
    for name in names {
        let pair = project.host_of(&name).map(|host| (host.name.clone(), name));
        pairs.extend(pair.filter(|pair| !pairs.contains(pair)));
    }
    Ok(Some(pairs))
}

/// What the document says was changed and is still there; everything where nothing was.
fn of_document(project: &Project, args: &Args, changes: &[Change], run: &Run) -> Vec<(String, String)> {
    let stay = changes.iter().filter(|change| change.stays());
    let changed: Vec<_> = stay.map(|change| (change.host.clone(), change.service.clone())).collect();
    if args.all || changed.is_empty() {
        if !args.all && !run.started_here {
            run.log.info("no service was changed; looking at all of them");
        }
        return all(project);
    }
    changed
}

/// The image that a changed service has to run. Where the document does not say it any more, the
/// service cannot be judged: it may as well run the old one.
fn image_of(change: &Change) -> Result<Option<String>> {
    let known = change.image_id.as_ref().filter(|id| !change.is_built() || !id.is_empty());
    if change.done && known.is_none() {
        let message = format!("the document does not say which image {} has to run on {}", change.service, change.host);
        return Err(Failure::new(Exit::HealthUnknown, "health.no-image", message)
            .hint("pipe in the whole output of cm-build; without a document: cm-health --all </dev/null"));
    }
    Ok(known.cloned())
}

/// A changed service may have new containers, and one that was reloaded has old ones.
fn past_of(change: Option<&Change>) -> Past {
    match change {
        None => Past::Unchanged,
        Some(change) if change.keeps_containers() => Past::Nothing,
        Some(_) => Past::Containers,
    }
}

/// Every service that should run: those without a profile, or with one that is on,
/// and with at least one container.
fn all(project: &Project) -> Vec<(String, String)> {
    let starts = |host: &str, name: &str| match project.effective(host) {
        Some(effective) => effective.services.contains_key(name),
        None => project.compose.service(name).is_some_and(|service| service.starts_with(project.profiles())),
    };
    let runs = |host: &str, name: &str| starts(host, name) && project.replicas(name) > 0 && !project.is_job(name);
    let mut pairs = Vec::new();
    for host in project.hosts() {
        let names = project.services_on(&host.name).into_iter().filter(|name| runs(&host.name, name));
        pairs.extend(names.map(|name| (host.name.clone(), name.to_owned())));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cm_core::{Document, Format, Level, Log};
    use serde_json::{Value, json};

    const COMPOSE: &str = "name: shop
services:
  web: {image: web, restart: always, healthcheck: {test: [CMD, \"true\"]}}
  api: {image: api, restart: always, deploy: {replicas: 3}}
  migrate: {image: api}
  debug: {image: busybox, profiles: [tools]}
  off: {image: busybox, restart: always, scale: 0}
  worker: {image: worker, restart: always}
";

    const CONFIG: &str = "[hosts.one]
address = \"u@one\"
[hosts.two]
address = \"u@two\"
services = [\"worker\"]
[groups]
back = [\"api\", \"worker\"]
[services.api]
probe = \"http://127.0.0.1:80/\"
";

    fn project() -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("compose.yml"), COMPOSE).expect("write");
        std::fs::write(directory.path().join("cm.toml"), CONFIG).expect("write");
        let project =
            Project::open(directory.path(), None, cm_git::tracked).unwrap_or_else(|failure| panic!("{failure}"));
        (directory, project)
    }

    fn run(services: Value, build: Value) -> Run {
        let mut doc = Document::start("cm-build", "ada", false);
        doc.set_services(&serde_json::from_value::<Vec<_>>(services).expect("services")).expect("not too many");
        doc.set_facts(build);
        Run::new(doc, Log::new("test", Format::Text, Level::Fail), false)
    }

    fn choose(flags: &[&str], run: &Run) -> Result<Vec<(String, Vec<String>)>> {
        let (_directory, project) = project();
        let args = Args::parse_from([&["cm-health"], flags].concat());
        let selection = Selection::choose(&project, &args, run)?;
        let names = |watch: &HostWatch| watch.services().into_iter().map(str::to_owned).collect();
        Ok(selection.hosts.iter().map(|watch| (watch.host.clone(), names(watch))).collect())
    }

    fn pair(host: &str, services: &[&str]) -> (String, Vec<String>) {
        (host.to_owned(), services.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_changed_services_are_watched_and_removed_ones_are_not() {
        let run = run(
            json!([
                {"name": "web", "host": "one", "action": "build"},
                {"name": "api", "host": "one", "action": "none"},
                {"name": "old", "host": "one", "action": "remove"},
                {"name": "worker", "host": "two", "action": "restart"},
            ]),
            json!({}),
        );
        assert_eq!(choose(&[], &run).expect("some"), [pair("one", &["web"]), pair("two", &["worker"])]);
        assert_eq!(choose(&["--service", "api"], &run).expect("some"), [pair("one", &["api"])]);
        let group = choose(&["--group", "back", "--service", "api"], &run).expect("some");
        assert_eq!(group, [pair("one", &["api"]), pair("two", &["worker"])]);
    }

    #[test]
    fn where_nothing_was_changed_everything_that_should_run_is_watched() {
        let all = [pair("one", &["web", "api", "migrate"]), pair("two", &["worker"])];
        let nothing = run(json!([{"name": "web", "host": "one", "action": "none"}]), json!({}));
        assert_eq!(choose(&[], &nothing).expect("some"), all);
        let something = run(json!([{"name": "web", "host": "one", "action": "build"}]), json!({}));
        assert_eq!(choose(&["--all"], &something).expect("some"), all);
    }

    #[test]
    fn what_was_built_must_be_what_runs() {
        let services = json!([{"name": "web", "host": "one", "action": "build"}]);
        let build = json!({"hosts": {"one": {"project": "shop-2", "services": {"web": {"image_id": "sha256:aa"}}}}});
        let (_directory, project) = project();
        let run = run(services, build);
        let selection = Selection::choose(&project, &Args::parse_from(["cm-health"]), &run).expect("some");
        let watch = &selection.hosts[0];
        assert_eq!(watch.compose_project.as_deref(), Some("shop-2"));
        assert_eq!(watch.wanted[0].image_id.as_deref(), Some("sha256:aa"));
    }

    #[test]
    fn the_compose_file_says_what_kind_of_service_it_is() {
        let (_directory, project) = project();
        let kind = |name: &str| {
            let wanted = Wanted::of(&project, name);
            (wanted.replicas, wanted.one_shot, wanted.probe.is_some())
        };
        assert_eq!(kind("web"), (1, false, false));
        assert_eq!(kind("api"), (3, false, true));
        assert_eq!(kind("migrate"), (1, true, false));
    }

    #[test]
    fn unknown_names_are_refused() {
        let failure = choose(&["--service", "wep"], &run(json!([]), json!({}))).expect_err("unknown");
        assert_eq!(failure.exit, Exit::Usage);
    }

    /// A deployment of a built, a reloaded and a restarted service, as cm-build passes it on.
    fn deployment() -> Value {
        let service = |name: &str, host: &str, action: &str| json!({"name": name, "host": host, "action": action});
        let built = |action: &str, id: &str| json!({"action": action, "image_id": id, "removed": false});
        json!({
            "schema": cm_core::SCHEMA, "run": {"id": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "actor": "ada", "dry_run": false},
            "project": "shop", "commit": "0123456789012345678901234567890123456789", "status": "ok",
            "services": [service("web", "one", "build"), service("api", "one", "reload"), service("worker", "two", "build")],
            "stages": [],
            "facts": {"build": {"hosts": {
                "one": {"project": "shop", "services": {"web": built("build", "sha256:aa"), "api": built("reload", "sha256:bb")}},
                "two": {"project": "shop", "services": {"worker": built("build", "sha256:cc")}},
            }}},
            "undo": [
                {"kind": "release", "host": "one", "services": {"web": {"action": "build"}, "api": {"action": "reload"}}},
                {"kind": "release", "host": "two", "services": {"worker": {"action": "build"}}},
            ],
            "error": null,
        })
    }

    /// Every path to a value in `value`.
    fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            _ => Vec::new(),
        };
        for (key, value) in below {
            let path = format!("{at}/{key}");
            paths(value, &path, all);
            all.push(path);
        }
    }

    fn without(path: &str) -> Value {
        let mut value = deployment();
        let (parent, key) = path.rsplit_once('/').expect("a path");
        match value.pointer_mut(parent).expect("its parent") {
            Value::Object(map) => drop(map.shift_remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
            _ => unreachable!("{path}"),
        }
        value
    }

    /// What is watched with which image and past; `None` where the document is refused.
    fn judged(value: &Value) -> Option<Vec<(String, Wanted)>> {
        let doc = Document::parse("cm-health", value.to_string().as_bytes()).ok()?;
        let run = Run::new(doc, Log::new("test", Format::Text, Level::Fail), false);
        let (_directory, project) = project();
        let selection = Selection::choose(&project, &Args::parse_from(["cm-health"]), &run).ok()?;
        let of = |watch: HostWatch| watch.wanted.into_iter().map(move |wanted| (watch.host.clone(), wanted));
        Some(selection.hosts.into_iter().flat_map(of).collect())
    }

    #[test]
    fn losing_a_field_never_turns_a_no_into_a_yes() {
        let whole = judged(&deployment()).expect("a good document");
        assert_eq!(whole.len(), 3);
        let mut all = Vec::new();
        paths(&deployment(), "", &mut all);
        assert!(all.len() > 40, "{all:?}");
        for path in all {
            let Some(found) = judged(&without(&path)) else { continue };
            for (host, wanted) in &whole {
                let same = |other: &&(String, Wanted)| other.0 == *host && other.1.service == wanted.service;
                let (_, found) =
                    found.iter().find(same).unwrap_or_else(|| panic!("{path}: {} is not watched", wanted.service));
                assert!(found.image_id == wanted.image_id, "{path}: any image of {} will do", wanted.service);
                assert!(found.past == wanted.past || found.past == Past::Nothing, "{path}: {:?}", found.past);
            }
        }
    }

    #[test]
    fn what_the_plan_leaves_out_and_was_changed_is_watched() {
        for path in ["/services/0", "/facts", "/facts/build", "/undo"] {
            let found = judged(&without(path));
            let watched = found.map(|all| all.iter().any(|(_, wanted)| wanted.service == "web"));
            assert_ne!(watched, Some(false), "{path}");
        }
        let mut value = deployment();
        value["services"] = json!([]);
        value["facts"]["build"]["hosts"]["one"]["services"]["api"]["removed"] = json!(true);
        let found = judged(&value).expect("watched");
        let names: Vec<_> = found.iter().map(|(_, wanted)| wanted.service.as_str()).collect();
        assert_eq!(names, ["web", "worker"], "what was removed is not there");
    }
}
