//! What is watched: what flags name; else what the document says was changed; else
//! everything. A deployment that changed nothing still ends with the word "healthy",
//! and that word is only said about what was looked at.

use crate::Args;
use cm_core::{Action, Document, Exit, Failure, Result, Run};
use cm_gate::Wanted;
use cm_project::Project;
use serde_json::{Value, json};

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
}

impl Selection {
    /// Chooses.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name that is unknown; [`Exit::Config`] if there is nothing to watch.
    pub fn choose(project: &Project, args: &Args, run: &Run) -> Result<Selection> {
        let mut selection = match named(project, args)? {
            Some(pairs) => Selection::of(project, &run.doc, pairs),
            None => Selection::of_document(project, args, run),
        };
        selection.flags_first(args);
        selection.not_empty()
    }

    /// Chooses where there is no document.
    ///
    /// # Errors
    /// As [`Selection::choose`].
    pub fn of_flags(project: &Project, args: &Args) -> Result<Selection> {
        let pairs = named(project, args)?.unwrap_or_else(|| all(project));
        Selection::of(project, &Document::start("cm-health", "", false), pairs).not_empty()
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

    fn of_document(project: &Project, args: &Args, run: &Run) -> Selection {
        let mut changed = changed(&run.doc);
        changed.retain(|(_, service)| project.replicas(service) > 0);
        if !args.all && !changed.is_empty() {
            return Selection::of(project, &run.doc, changed);
        }
        if !args.all && !run.started_here {
            run.log.info("no service was changed; looking at all of them");
        }
        Selection::of(project, &run.doc, all(project))
    }

    fn of(project: &Project, doc: &Document, pairs: Vec<(String, String)>) -> Selection {
        let mut selection = Selection::default();
        for (host, service) in pairs {
            let built = built(doc, &host);
            let image = built.pointer(&format!("/services/{}/image_id", service.replace('~', "~0").replace('/', "~1")));
            let wanted = Wanted::of(project, &service).image(image.and_then(Value::as_str).map(str::to_owned));
            match selection.hosts.iter_mut().find(|watch| watch.host == host) {
                Some(watch) => watch.wanted.push(wanted),
                None => selection.hosts.push(HostWatch {
                    host,
                    compose_project: built.get("project").and_then(Value::as_str).map(str::to_owned),
                    wanted: vec![wanted],
                }),
            }
        }
        selection
    }

    /// How many services are watched; one that runs on two hosts counts twice.
    pub fn count(&self) -> usize {
        self.hosts.iter().map(|watch| watch.wanted.len()).sum()
    }

    /// For the document: host to services.
    pub fn to_json(&self) -> Value {
        self.hosts.iter().map(|watch| (watch.host.clone(), json!(watch.services()))).collect()
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

/// What the document says was changed and is still there. A job that was run has no container that runs.
fn changed(doc: &Document) -> Vec<(String, String)> {
    let planned = doc.planned().into_iter().filter(|service| service.action != Action::Remove);
    let is = |host: &str, service: &str, what: &str| built(doc, host)["services"][service][what] == true;
    planned
        .filter(|service| !is(&service.host, &service.name, "removed") && !is(&service.host, &service.name, "job"))
        .map(|service| (service.host, service.name))
        .collect()
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

/// What `cm-build` says about a host; null if it says nothing.
fn built(doc: &Document, host: &str) -> Value {
    let facts = doc.facts("build").and_then(|facts| facts.get("hosts")).and_then(|hosts| hosts.get(host));
    facts.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cm_core::{Format, Level, Log};

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
        let project = Project::open(directory.path(), None).unwrap_or_else(|failure| panic!("{failure}"));
        (directory, project)
    }

    fn run(services: Value, build: Value) -> Run {
        let mut doc = Document::start("cm-build", "ada", false);
        doc.set_services(&serde_json::from_value::<Vec<_>>(services).expect("services"));
        doc.set_facts(build);
        Run { doc, log: Log::new("test", Format::Text, Level::Fail), started_here: false }
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
}
