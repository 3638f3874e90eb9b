//! Everything that was found out, before a word of `cm.toml` is written.

use super::database::{self, Backup, Dumped};
use super::endpoint::{self, Health};
use super::environment::{Environment, shown};
use super::files::Found;
use super::groups;
use super::migrations;
use cm_core::Result;
use cm_git::Repository;
use cm_project::HostSpec;
use cm_project::compose::Service;
use cm_project::tree::{self, Dir, Kind, Tree};
use std::collections::BTreeSet;

/// What `cm.toml` is written from.
#[derive(Debug)]
pub struct Survey {
    /// The project's name.
    pub project: String,
    /// The branch that is deployed.
    pub branch: String,
    /// The Git remote, if it is not `origin`.
    pub remote: Option<String>,
    /// The compose files, relative to `cm.toml`.
    pub compose_files: Vec<String>,
    /// All services.
    pub services: Vec<String>,
    /// Profiles that services belong to.
    pub profiles: BTreeSet<String>,
    /// Those of them that the repository switches on.
    pub active: Vec<String>,
    /// Files that Compose would take by itself and a deployment does not.
    pub left_out: Vec<String>,
    /// What is known about the servers' environment.
    pub environment: Environment,
    /// The server, if a flag named it: name, address, checkout.
    pub host: Option<(String, String, Option<String>)>,
    /// Groups by directory.
    pub groups: Vec<(String, Vec<String>)>,
    /// Files that only the servers have.
    pub protect: Vec<String>,
    /// Mounted files of the repository that people like to edit on servers.
    pub perhaps_protect: Vec<String>,
    /// Proxies whose configuration is mounted: they can read it again while they run.
    pub reloads: Vec<Reload>,
    /// Services that nothing checks: name, and where they might be asked.
    pub unchecked: Vec<(String, Option<endpoint::Endpoint>)>,
    /// Services that a deployment expects to end, because nothing says that they stay.
    pub jobs: Vec<String>,
    /// Services that others wait for to end: each is run once in a release.
    pub awaited: Vec<String>,
    /// Published services that can be asked from outside, what users reach first.
    pub outside: Vec<Outside>,
    /// Where nothing can be asked from outside: services that only their servers reach, and where each says that it is healthy.
    pub inside: Vec<(String, endpoint::Endpoint)>,
    /// Where a check of a release might ask, if nothing is known.
    pub perhaps: Option<Perhaps>,
    /// Where the repository has migrations, as globs.
    pub migrations: Vec<String>,
    /// Published ports of services without a known endpoint.
    pub ports: Vec<(String, String)>,
    /// The MongoDB service.
    pub backup: Option<Backup>,
    /// Databases that their own programs dump.
    pub dumped: Vec<Dumped>,
    /// Databases that cm does not back up.
    pub other_databases: Vec<String>,
}

/// A published service that can be asked from outside.
#[derive(Debug)]
pub struct Outside {
    /// The service.
    pub service: String,
    /// The port that is published.
    pub port: u16,
    /// Where it answers.
    pub endpoint: endpoint::Endpoint,
    /// Whether it looks like what users reach, and not a database or another service alongside the application.
    pub is_users: bool,
}

/// A guess at where a service could be asked.
#[derive(Debug)]
pub struct Perhaps {
    /// The service.
    pub service: String,
    /// The port: what is published, or that of its container.
    pub port: u16,
    /// The path.
    pub path: String,
    /// Whether the port is published to the outside.
    pub is_published: bool,
}

/// A service that reads its configuration again without a restart.
#[derive(Debug)]
pub struct Reload {
    /// The service.
    pub service: String,
    /// Says whether the configuration is valid.
    pub validate: Vec<String>,
    /// Makes it read the configuration.
    pub reload: Vec<String>,
}

impl Survey {
    /// Whether the backup of the MongoDB database can be written as it is: where its URI is, is known.
    pub fn backup_is_on(&self) -> bool {
        self.backup.as_ref().is_some_and(|backup| backup.uri_env.is_some()) && self.environment.file.is_some()
    }

    /// Looks at everything; `host` is what a `--host` flag said.
    ///
    /// # Errors
    /// [`cm_core::Exit::Usage`] for a flag that is no address.
    pub fn of(found: &Found, host: Option<&str>) -> Result<Survey> {
        let git = Repository::open(&found.repository).ok();
        let index = git.as_ref().and_then(|git| git.index().ok());
        let tracked = |path: &str| match &index {
            Some(index) => index(path),
            None => Dir(found.repository.clone()).kind(path).is_some() && !path.contains(".env"),
        };
        let project = project_name(found);
        let host = host.map(|flag| host_of(flag, &project)).transpose()?;
        let compose = &found.compose;
        let ignored = |path: &str| git.as_ref().is_some_and(|git| git.ignores(path));
        let environment = Environment::of(found, &tracked, &ignored);
        // A developer's own `.env` says nothing about servers.
        let alongside = tree::parent(found.files.first().map_or("", String::as_str)).to_owned();
        let env_file = tree::join(&tree::join(&found.prefix, &alongside), ".env");
        let active = if tracked(&env_file) { compose.profiles.clone() } else { Vec::new() };
        // What no profile starts is neither asked nor waited for.
        let started = compose.services.iter().filter(|service| service.starts_with(&active));
        let health: Vec<(&Service, Health)> = started.map(|service| (service, Health::of(found, service))).collect();
        let (protect, perhaps_protect) = protected(found, &environment, &tracked);
        let awaited = compose.awaited();
        Ok(Survey {
            branch: git.as_ref().and_then(Repository::default_branch).unwrap_or_else(|| "main".to_owned()),
            remote: git.as_ref().and_then(remote),
            compose_files: found.files.clone(),
            services: compose.names().into_iter().map(str::to_owned).collect(),
            profiles: compose.services.iter().flat_map(|service| service.profiles.clone()).collect(),
            groups: groups::groups(compose, &found.prefix),
            reloads: compose.services.iter().filter_map(reload).collect(),
            unchecked: unchecked(&health, &awaited),
            jobs: jobs(&health, &awaited),
            awaited: health
                .iter()
                .map(|(service, _)| service.name.clone())
                .filter(|name| awaited.contains(name))
                .collect(),
            inside: if outside(&health).is_empty() { inside(&health) } else { Vec::new() },
            outside: outside(&health),
            perhaps: perhaps(&health),
            migrations: migrations::of(&found.repository),
            left_out: found.left_out.clone(),
            active,
            ports: ports(&health),
            backup: database::mongo(compose, &environment),
            dumped: database::dumped(compose),
            other_databases: database::others(compose),
            project,
            environment,
            host,
            protect,
            perhaps_protect,
        })
    }
}

fn project_name(found: &Found) -> String {
    let directory = || found.directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = found.compose.name.clone().filter(|name| !name.contains('$')).or_else(directory).unwrap_or_default();
    let name: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    if name.is_empty() { "project".to_owned() } else { name }
}

fn host_of(flag: &str, project: &str) -> Result<(String, String, Option<String>)> {
    let host = HostSpec::from_flag(flag, project)?;
    let has_checkout = host.checkout()? != format!("~/{project}");
    let checkout = has_checkout.then(|| host.checkout()).transpose()?;
    let name = if flag.contains('=') { host.name.clone() } else { "server".to_owned() };
    Ok((name, host.address()?, checkout))
}

/// The remote to deploy from, where none is called as everybody expects.
fn remote(git: &Repository) -> Option<String> {
    let names = git.remotes();
    match names.iter().any(|name| name == "origin") {
        true => None,
        false => names.into_iter().next(),
    }
}

/// Files that only servers have, and mounted ones of the repository that look like settings.
fn protected(found: &Found, environment: &Environment, tracked: &dyn Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
    let mut own: Vec<String> = environment.own.clone();
    own.extend(environment.file.clone());
    let mut perhaps = BTreeSet::new();
    let tree = Dir(found.repository.clone());
    for mount in found.compose.services.iter().flat_map(|service| &service.mounts) {
        let Some(path) = mount.source.inside().filter(|path| !path.is_empty() && !path.contains('$')) else { continue };
        match tree.kind(path) {
            Some(Kind::File) if tracked(path) => drop(perhaps.insert(shown(&found.prefix, path))),
            Some(Kind::File) => own.push(shown(&found.prefix, path)),
            _ => {}
        }
    }
    own.sort();
    own.dedup();
    (own, perhaps.into_iter().collect())
}

/// Caddy and nginx with a mounted configuration.
fn reload(service: &Service) -> Option<Reload> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mounted = |end: &str| service.mounts.iter().find(|mount| mount.target.contains(end));
    let image = database::image_name(service)?;
    let (validate, reload) = match image {
        name if name.starts_with("caddy") => {
            let file = &mounted("Caddyfile")?.target;
            let arguments = format!("--adapter caddyfile --config {file}");
            (words(&format!("caddy validate {arguments}")), words(&format!("caddy reload {arguments}")))
        }
        name if name.starts_with("nginx") => {
            mounted("/etc/nginx")?;
            (words("nginx -t"), words("nginx -s reload"))
        }
        _ => return None,
    };
    Some(Reload { service: service.name.clone(), validate, reload })
}

fn unchecked(health: &[(&Service, Health)], awaited: &BTreeSet<String>) -> Vec<(String, Option<endpoint::Endpoint>)> {
    let stay = health.iter().filter(|(service, _)| !awaited.contains(&service.name));
    let own = stay.filter(|(service, health)| {
        service.build.is_some() && !health.checked && (health.endpoint.is_some() || !is_job(service, health))
    });
    own.map(|(service, health)| (service.name.clone(), health.endpoint.clone())).collect()
}

fn is_job(service: &Service, health: &Health) -> bool {
    service.looks_like_a_job() && !health.checked
}

fn jobs(health: &[(&Service, Health)], awaited: &BTreeSet<String>) -> Vec<String> {
    let jobs = health.iter().filter(|(service, health)| is_job(service, health) && !awaited.contains(&service.name));
    jobs.map(|(service, _)| service.name.clone()).collect()
}

/// What the outside can ask, what users reach first: a proxy, then what is built here.
fn outside(health: &[(&Service, Health)]) -> Vec<Outside> {
    let known = health.iter().filter_map(|(service, health)| {
        let endpoint = health.endpoint.clone().filter(|endpoint| endpoint.known)?;
        let port = endpoint::published(service, endpoint.port)?;
        let rank = rank(service, port);
        Some((rank, Outside { service: service.name.clone(), port, endpoint, is_users: rank < SIDE }))
    });
    let mut known: Vec<(usize, Outside)> = known.collect();
    known.sort_by_key(|(rank, _)| *rank);
    known.into_iter().map(|(_, outside)| outside).collect()
}

/// What says inside its container that it is healthy and is not reached from outside, what users reach first.
fn inside(health: &[(&Service, Health)]) -> Vec<(String, endpoint::Endpoint)> {
    let mut known: Vec<_> = health
        .iter()
        .filter_map(|(service, health)| {
            let endpoint = health.endpoint.clone().filter(|endpoint| endpoint.known)?;
            let rank = rank(service, endpoint.port);
            let is_inside = rank < SIDE && endpoint::published(service, endpoint.port).is_none();
            is_inside.then(|| (rank, service.name.clone(), endpoint))
        })
        .collect();
    known.sort_by_key(|(rank, ..)| *rank);
    known.into_iter().map(|(_, name, endpoint)| (name, endpoint)).collect()
}

/// The best guess at what users reach: what is published, else a port of a service that is built here.
fn perhaps(health: &[(&Service, Health)]) -> Option<Perhaps> {
    let of = |(service, health): &(&Service, Health)| {
        let text = service.ports.first().map(|port| port.split('/').next().unwrap_or(port));
        let inside: u16 = match &health.endpoint {
            Some(endpoint) => endpoint.port,
            None => text?.rsplit(':').next()?.parse().ok()?,
        };
        let published = endpoint::published(service, inside);
        let rank = rank(service, published.unwrap_or(inside));
        let path = health.endpoint.as_ref().map_or("/", |endpoint| &endpoint.path).to_owned();
        let port = published.unwrap_or(inside);
        let guess = Perhaps { service: service.name.clone(), port, path, is_published: published.is_some() };
        (rank < SIDE).then_some(((published.is_none(), rank), guess))
    };
    health.iter().filter_map(of).min_by_key(|(rank, _)| *rank).map(|(_, guess)| guess)
}

/// From here on, a service is no place that users reach.
const SIDE: usize = 4;

/// Images that pass on what users ask.
const PROXIES: [&str; 8] = ["caddy", "nginx", "traefik", "haproxy", "envoy", "httpd", "apache", "openresty"];

/// How far a service is from its users.
fn rank(service: &Service, port: u16) -> usize {
    let image = database::image_name(service).unwrap_or_default();
    let is_proxy = PROXIES.iter().any(|proxy| image.starts_with(proxy) || service.name.starts_with(proxy));
    match (is_proxy, service.build.is_some(), matches!(port, 80 | 443)) {
        (true, _, _) => 0,
        (false, _, true) => 1,
        (false, true, false) => 2,
        // An image that somebody else made, on a port of its own: a database, a dashboard, a queue.
        (false, false, false) => SIDE,
    }
}

/// Published ports of which nothing is known but their numbers.
fn ports(health: &[(&Service, Health)]) -> Vec<(String, String)> {
    let unknown = health.iter().filter(|(_, health)| !health.endpoint.as_ref().is_some_and(|one| one.known));
    let ports = unknown.flat_map(|(service, _)| service.ports.iter().map(|port| (service.name.clone(), port.clone())));
    ports.filter(|(_, port)| port.contains(':') && !port.starts_with("127.0.0.1")).collect()
}
