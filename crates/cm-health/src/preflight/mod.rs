//! The look at the servers before a deployment: whatever would make it fail partway
//! should stop it here, and what is unwell now is written down, so that a deployment
//! is not blamed for it. Three round trips per host, all hosts at once; changes nothing,
//! so a dry run does it too.

mod facts;
mod findings;
mod here;
mod keys;

use crate::neighbours::{Unwell, unwell};
use cm_core::{Action, Done, Exit, Failure, Log, Result, Run};
use cm_engine::{Compose, Container};
use cm_host::{Host, Output, Target};
use cm_project::{Check, HostSpec, Probe, Project};
use facts::Facts;
use findings::{Expected, Finding, Weight, judge, size};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

const LOOK: &str = concat!(cm_project::env_keys_sh!(), include_str!("look.sh"));

const MOUNTS: &str = include_str!("mounts.sh");

const LIMIT: Duration = Duration::from_secs(30);

/// The compose file that is tried out on the hosts.
#[derive(Clone, Debug)]
enum ComposeFile {
    /// The one of the commit that is deployed: the server's variables must do for it.
    Coming(Vec<u8>),
    /// The one that is checked out there now.
    Present,
}

/// What the commit to come is like.
#[derive(Clone, Debug)]
struct Coming {
    compose: ComposeFile,
    /// The protected files that it has.
    protected: Vec<String>,
}

impl Coming {
    async fn read(project: &Project, commit: Option<&str>) -> Coming {
        let mut arguments =
            vec!["ls-tree", "-z", "--name-only", "--full-tree", "--end-of-options", commit.unwrap_or("HEAD")];
        let protected = project.protected();
        arguments.extend(protected.iter().map(String::as_str));
        let listed = if protected.is_empty() { None } else { git(project, &arguments).await };
        let listed = listed.unwrap_or_default();
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Coming {
            compose: ComposeFile::coming(project, commit).await,
            protected: names.map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        }
    }
}

/// What git says of the repository here, if it can.
async fn git(project: &Project, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut git = tokio::process::Command::new("git");
    git.arg("-C").arg(&project.repository).args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, git.output()).await.ok()?.ok()?;
    output.status.success().then_some(output.stdout)
}

impl ComposeFile {
    /// Compose reads one file from stdin; where there are several, those of the
    /// present checkout must do.
    async fn coming(project: &Project, commit: Option<&str>) -> ComposeFile {
        let files = project.compose_files();
        let (Some(commit), [file]) = (commit, files.as_slice()) else { return ComposeFile::Present };
        let shown = git(project, &["show", "--end-of-options", &format!("{commit}:{file}")]).await;
        shown.map_or(ComposeFile::Present, ComposeFile::Coming)
    }

    async fn try_out(&self, project: &Project, host: &Host, checkout: &str) -> Result<Output> {
        let config = &project.config.compose;
        let (files, stdin) = match self {
            ComposeFile::Coming(text) => (&["-".to_owned()][..], text.clone()),
            ComposeFile::Present => (&config.files[..], Vec::new()),
        };
        let compose = Compose::of(project, host, checkout).from_files(files);
        compose.command(&["config", "--format", "json"]).stdin(stdin).limit(LIMIT).output().await
    }

    /// A file that is there now and wrong may be what the deployment mends.
    fn not_accepted(&self, said: &str) -> Finding {
        let code = "compose-file";
        match self {
            ComposeFile::Coming(_) => {
                let message = format!("Compose there does not accept the compose file that is deployed: {said}");
                Finding::fail(Exit::Config, code, message)
                    .hint("it was tried with that server's env file; `docker compose config` there says more")
            }
            ComposeFile::Present => {
                Finding::warn(code, format!("Compose does not accept the compose file that is there now: {said}"))
            }
        }
    }
}

/// Whether somebody else may hold the deploy lock.
#[derive(Clone, Copy, Debug)]
enum Lock {
    /// This run is inside one.
    Ours,
    /// It has to be looked at.
    Look {
        /// Whether this run will take none.
        dry: bool,
    },
}

/// What was found on one host.
struct Report {
    host: String,
    facts: Facts,
    unwell: Vec<Unwell>,
    ahead: Option<f64>,
    findings: Vec<Finding>,
}

/// Looks at every host that the document plans something on; at all if it plans nothing.
///
/// # Errors
/// The gravest finding: [`Exit::Unreachable`], [`Exit::HealthUnknown`] or [`Exit::Config`].
pub async fn run(project: &Project, run: &mut Run) -> Result<Done> {
    let mut looking = Vec::new();
    let coming = Coming::read(project, run.doc.commit()).await;
    let lock = match (here::has_lock(run), run.dry_run()) {
        (true, _) => Lock::Ours,
        (false, dry) => Lock::Look { dry },
    };
    for spec in hosts(project, run)? {
        let (project, spec, log, coming) = (project.clone(), spec.clone(), run.log.clone(), coming.clone());
        looking.push(tokio::spawn(async move { look(&project, &spec, &coming, lock, &log).await }));
    }
    let mut reports = Vec::new();
    for task in looking {
        let report = task.await.map_err(|error| Failure::bug("a look at a host ended early").cause(error))?;
        reports.push(report);
    }
    let mut own = here::findings(project, run).await;
    let facts: Vec<_> = reports.iter().map(|report| (report.host.as_str(), &report.facts)).collect();
    own.extend(keys::missing(project, &facts, facts.len() == project.hosts().len()));
    let previous = run.doc.facts("health").cloned().unwrap_or_else(|| json!({}));
    let mut all = previous;
    all["preflight"] = to_json(&reports, &own);
    run.doc.set_facts(all);
    conclude(&reports, own, &run.log)
}

/// What was not well when a preflight of this run looked; `None` if none did.
pub fn unwell_before(doc: &cm_core::Document) -> Option<Vec<Unwell>> {
    let hosts = doc.facts("health")?.get("preflight")?.get("hosts")?.as_object()?;
    let lists =
        hosts.values().filter_map(|host| serde_json::from_value::<Vec<Unwell>>(host.get("unwell")?.clone()).ok());
    Some(lists.flatten().collect())
}

/// What on this host is reached through a tunnel.
struct Tunnels {
    /// The database of the backup; where cm-backup is installed there, it needs none.
    backup: bool,
    /// A page that is a probe, a check from inside, or a canary of a container.
    services: bool,
}

impl Tunnels {
    fn to(project: &Project, host: &str) -> Tunnels {
        let services = project.services_on(host);
        let here = |service: &str| services.contains(&service);
        let backup = project.backup().is_some_and(|backup| match &backup.host {
            Some(named) => named.get_ref() == host,
            None => here(backup.service.get_ref()),
        });
        let asked = |service: &&str| {
            let rules = project.rules(service);
            let page = |probe| matches!(probe, Some(Probe::Address(url)) if url.starts_with("http"));
            page(rules.probe) || rules.canary.is_some()
        };
        let inside = |check: &Check| check.in_network && check.service.as_ref().is_some_and(|one| here(one.get_ref()));
        let services = services.iter().any(asked) || project.verify().checks.iter().any(inside);
        Tunnels { backup, services }
    }

    /// Whether sshd there opens what is needed.
    async fn judge(self, host: &Host) -> Option<Finding> {
        if !(self.backup || self.services) || host.opens_tunnels().await {
            return None;
        }
        let finding = if self.services {
            let message = "sshd opens no tunnel, which a probe, a check or a canary needs";
            Finding::fail(Exit::Config, "tunnels", message)
        } else {
            Finding::warn("tunnels", "sshd opens no tunnel, which the backup needs if cm-backup is not installed there")
        };
        Some(finding.hint(host.no_tunnels(Exit::Config).hint.unwrap_or_default()))
    }
}

fn hosts<'a>(project: &'a Project, run: &Run) -> Result<Vec<&'a HostSpec>> {
    let mut names: Vec<String> = Vec::new();
    for service in run.doc.services().into_iter().filter(|service| service.action != Action::None) {
        if !names.contains(&service.host) {
            names.push(service.host);
        }
    }
    match names.is_empty() {
        true => Ok(project.hosts().iter().collect()),
        false => names.iter().map(|name| project.host(name)).collect(),
    }
}

async fn look(project: &Project, spec: &HostSpec, coming: &Coming, lock: Lock, log: &Log) -> Report {
    let mut report = Report {
        host: spec.name.clone(),
        facts: Facts::default(),
        unwell: Vec::new(),
        ahead: None,
        findings: Vec::new(),
    };
    if let Err(failure) = report.fill(project, spec, coming, lock, log).await {
        let mut finding = Finding::fail(failure.exit, "host", failure.to_string());
        finding.hint = failure.hint;
        report.findings.push(finding);
    }
    for finding in &mut report.findings {
        finding.host = Some(spec.name.clone());
    }
    report
}

impl Report {
    async fn fill(&mut self, project: &Project, spec: &HostSpec, coming: &Coming, lock: Lock, log: &Log) -> Result<()> {
        let host = Host::connect(&Target::of(project, spec)?, log).await?;
        let checkout = spec.checkout()?;
        let (protected, variables) = (project.protected(), project.variable_files());
        let env_file = project.config.compose.env_file.as_deref();
        let env_file = env_file.map(|file| variables.first().map_or(file, String::as_str));
        let asked = (Instant::now(), Timestamp::now());
        let origin = project.origin();
        let arguments = [
            host.path(&checkout),
            origin.as_deref().unwrap_or_default().to_owned(),
            env_file.unwrap_or_default().to_owned(),
        ];
        let script = host.script(LOOK, arguments.into_iter().chain(protected.iter().cloned())).limit(LIMIT);
        let lock = async {
            match lock {
                Lock::Ours => None,
                Lock::Look { dry } => here::lock_on(project, &host, dry).await,
            }
        };
        let tunnels = Tunnels::to(project, &spec.name).judge(&host);
        let (looked, config, lock, tunnels) =
            tokio::join!(script.output(), coming.compose.try_out(project, &host, &checkout), lock, tunnels);
        self.facts = Facts::parse(&looked?.text());
        self.ahead = ahead(&self.facts, asked);
        let branch = project.branch();
        let expected = Expected {
            checkout: &checkout,
            branch: &branch,
            env_file,
            protected: &protected,
            brought: &coming.protected,
            origin: origin.as_deref(),
            ahead: self.ahead,
        };
        self.findings = judge(&self.facts, &expected);
        self.findings.extend(lock);
        self.findings.extend(tunnels);
        if self.facts.get("docker").is_some() && self.facts.get("head").is_some() {
            let name = self.compose(&coming.compose, &config?);
            self.now(project, &host, &checkout, name).await?;
        }
        if let (Some(_), Some(path)) = (self.facts.get("docker"), self.facts.get("no-checkout")) {
            let name = cm_engine::project_name(project, &host, &checkout).await?;
            let containers = cm_engine::containers(&host, &name).await?;
            if let Some((name, elsewhere)) = cm_engine::elsewhere(path, &project.prefix, &containers) {
                let message = format!("there is no checkout at {path}, and {name} runs from {elsewhere}");
                self.findings.push(
                    Finding::fail(Exit::Config, "elsewhere", message)
                        .hint(format!("say so in cm.toml: checkout = \"{elsewhere}\"; or remove those containers")),
                );
            }
        }
        Ok(())
    }

    /// Whether the compose file is understood there; gives the project's name.
    fn compose(&mut self, file: &ComposeFile, config: &Output) -> Option<String> {
        if !config.success() {
            let said = config.stderr.trim().lines().last().unwrap_or("no reason given").to_owned();
            self.findings.push(file.not_accepted(&said));
            return None;
        }
        for variable in unset_variables(&config.stderr) {
            self.findings.push(Finding::warn(
                "unset-variable",
                format!("the compose file wants the variable {variable}, which is not set there"),
            ));
        }
        let value: Value = serde_json::from_slice(&config.stdout).unwrap_or_default();
        Some(cm_engine::Config::read(&value).project).filter(|name| !name.is_empty())
    }

    /// What is not well now. It stops nothing: the deployment may be the cure.
    async fn now(&mut self, project: &Project, host: &Host, checkout: &str, name: Option<String>) -> Result<()> {
        let name = name.or_else(|| project.compose.name.clone()).unwrap_or_else(|| project.name());
        let containers = cm_engine::containers(host, &name).await?;
        self.unwell = unwell(host.name(), &containers);
        self.stale_mounts(host, &containers).await?;
        if let Some(stray) = cm_engine::stray(host, (checkout, &project.prefix), &[], &containers).await? {
            self.findings.push(Finding::warn("elsewhere", cm_engine::stray_words(&stray, checkout)));
        }
        for unwell in &self.unwell {
            let message =
                format!("not well before the deployment: {}: {} ({})", unwell.service, unwell.state, unwell.container);
            self.findings.push(Finding::warn("unwell", message));
        }
        Ok(())
    }

    /// Mounted files that a container does not see as they are.
    async fn stale_mounts(&mut self, host: &Host, containers: &[Container]) -> Result<()> {
        let running = containers.iter().filter(|container| container.is_running());
        let mounts = running.flat_map(|container| container.binds.iter().map(move |mount| (container, mount)));
        let arguments: Vec<&str> = mounts
            .flat_map(|(container, mount)| [&container.id, &container.name, &mount.source, &mount.destination])
            .map(String::as_str)
            .collect();
        if arguments.is_empty() {
            return Ok(());
        }
        let output = host.script(MOUNTS, arguments).limit(LIMIT).output().await?;
        for (container, path) in output.text().lines().filter_map(|line| line.split_once(' ')) {
            let message =
                format!("container {container} does not see {path} as it is on the host now: the file was replaced");
            self.findings.push(Finding::warn("stale-mount", message).hint(format!("docker restart {container}")));
        }
        Ok(())
    }

    /// What is there, in one line.
    fn line(&self) -> String {
        let get = |name: &str| self.facts.get(name).unwrap_or("?");
        let head: String = get("head").chars().take(12).collect();
        let disk = self.facts.room("docker-disk-kib").map_or("?".to_owned(), |room| size(room.free));
        let versions = format!("Docker {}, Compose {}", get("docker"), get("compose"));
        let checkout = match self.facts.get("head") {
            Some(_) => format!("checkout at {head} ({})", get("branch")),
            None => "no checkout".to_owned(),
        };
        format!("{}: {versions}, {disk} of disk free, {checkout}", self.host)
    }

    fn to_json(&self) -> Value {
        let room = |name: &str| self.facts.room(name).map(|room| json!({"free": room.free, "total": room.total}));
        json!({
            "docker": self.facts.get("docker"),
            "compose": self.facts.get("compose"),
            "docker_disk_kib": room("docker-disk-kib"),
            "checkout_disk_kib": room("checkout-disk-kib"),
            "memory_available_kib": self.facts.get("memory-kib").and_then(|kib| kib.parse::<u64>().ok()),
            "head": self.facts.get("head"),
            "branch": self.facts.get("branch"),
            "clock_ahead_s": self.ahead.map(|ahead| (ahead * 1000.0).round() / 1000.0),
            "unwell": self.unwell,
        })
    }
}

/// How far the server's clock is ahead, if it can be more than the question took.
fn ahead(facts: &Facts, (asked, at): (Instant, Timestamp)) -> Option<f64> {
    let took = asked.elapsed().as_secs_f64();
    let here = at.as_millisecond() as f64 / 1000.0 + took / 2.0;
    let ahead = facts.clock()? - here;
    Some(if ahead.abs() <= took / 2.0 { 0.0 } else { ahead })
}

/// The names in Compose's warnings: `The "NAME" variable is not set.`
fn unset_variables(said: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in said.lines().filter(|line| line.contains("variable is not set")) {
        let name = line.replace('\\', "");
        let name =
            name.split_once("The \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name.to_owned());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

fn to_json(reports: &[Report], own: &[Finding]) -> Value {
    let hosts: Map<String, Value> = reports.iter().map(|report| (report.host.clone(), report.to_json())).collect();
    let findings: Vec<&Finding> = own.iter().chain(reports.iter().flat_map(|report| &report.findings)).collect();
    json!({"hosts": hosts, "findings": findings})
}

fn conclude(reports: &[Report], own: Vec<Finding>, log: &Log) -> Result<Done> {
    for report in reports.iter().filter(|report| report.facts.get("docker").is_some()) {
        log.info(report.line());
    }
    let findings: Vec<&Finding> = own.iter().chain(reports.iter().flat_map(|report| &report.findings)).collect();
    for finding in findings.iter().filter(|finding| finding.weight == Weight::Warn) {
        let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!("\nhint: {hint}"));
        log.warn(format!("{}{hint}", finding.line()));
    }
    let failures: Vec<_> = findings.iter().filter(|finding| finding.weight == Weight::Fail).collect();
    // The first of the gravest.
    let Some(gravest) = failures.iter().rev().max_by_key(|finding| gravity(finding.exit)) else {
        let names = reports.iter().map(|report| report.host.as_str()).collect::<Vec<_>>().join(", ");
        let summary = format!("ready: {names}");
        log.success(format!("servers {summary}"));
        return Ok(if findings.is_empty() { Done::ok(summary) } else { Done::warned(summary) });
    };
    let mut failure = Failure::new(gravest.exit, format!("preflight.{}", gravest.code), gravest.line());
    failure.hint.clone_from(&gravest.hint);
    failure.retryable = matches!(gravest.exit, Exit::Unreachable | Exit::LockHeld);
    let mut hints = vec![&gravest.hint];
    for other in failures.iter().filter(|other| other.line() != gravest.line()) {
        // What is to be done is said once, also where several servers lack the same.
        let hint = other.hint.as_ref().filter(|_| !hints.contains(&&other.hint));
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        failure = failure.cause(format!("also: {}{hint}", other.line()));
        hints.push(&other.hint);
    }
    Err(failure)
}

/// A host that cannot be reached outweighs what cannot be checked, that what is wrong,
/// and that somebody who will be done soon.
fn gravity(exit: Exit) -> u8 {
    match exit {
        Exit::Unreachable => 3,
        Exit::HealthUnknown => 2,
        Exit::LockHeld => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_unset_variables_are_found_in_what_compose_says() {
        let said = "time=\"2026-05-04T09:30:00Z\" level=warning msg=\"The \\\"REDIS_URL\\\" variable is not set. Defaulting to a blank string.\"\n\
            WARN[0000] The \"API_KEY\" variable is not set. Defaulting to a blank string.\n\
            WARN[0000] The \"API_KEY\" variable is not set. Defaulting to a blank string.\n";
        assert_eq!(unset_variables(said), ["REDIS_URL", "API_KEY"]);
    }

    #[test]
    fn the_gravest_finding_decides_and_the_others_are_named() {
        let mut report = Report {
            host: "one".to_owned(),
            facts: Facts::default(),
            unwell: Vec::new(),
            ahead: None,
            findings: vec![
                Finding::fail(Exit::Config, "env-file", "no env file"),
                Finding::fail(Exit::Unreachable, "host", "cannot be reached"),
                Finding::warn("disk", "nearly full"),
            ],
        };
        let log = Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let failure = conclude(std::slice::from_ref(&report), Vec::new(), &log).expect_err("grave");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Unreachable, "preflight.host"));
        assert_eq!(failure.causes, ["also: no env file"]);
        report.findings.drain(..2);
        assert!(conclude(&[report], Vec::new(), &log).is_ok(), "a warning stops nothing");
    }
}
