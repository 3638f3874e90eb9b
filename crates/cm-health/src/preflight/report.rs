//! One server, looked at: its own facts, what Compose says to the file that comes, what moving
//! the checkout would meet, and what runs there now.

use super::checkout;
use super::coming::{Coming, ComposeFile};
use super::expected::Expected;
use super::facts::Facts;
use super::finding::Finding;
use super::findings::{judge, size};
use super::running::Running;
use super::server::{Early, Said, env_file};
use super::tunnels::Tunnels;
use super::{backups, engine, here, keys, names, needs};
use cm_core::facts::{PreflightHost, Unhealthy, Weight};
use cm_core::{Exit, Failure, Log, Result};
use cm_engine::effective::Model;
use cm_engine::{Compose, Config};
use cm_host::{Connect, Host, Output, no_shell};
use cm_ledger::Ledger;
use cm_project::{HostSpec, Project};

/// Whether somebody else may hold the deploy lock.
#[derive(Clone, Copy, Debug)]
pub enum Lock {
    /// This run is inside one.
    Ours,
    /// It has to be looked at.
    Look {
        /// Whether this run will take none.
        dry: bool,
    },
}

/// What was found on one host.
pub struct Report {
    /// Its name.
    pub host: String,
    /// What its own look said.
    pub facts: Facts,
    /// What is not healthy now.
    pub unwell: Vec<Unhealthy>,
    /// How far its clock is ahead, in seconds, if that is certain.
    pub ahead: Option<f64>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Whether its own look came to an end.
    pub looked: bool,
}

/// A host that was asked everything that does not depend on what the remote has.
struct Asked {
    /// What it said.
    report: Report,
    /// Why it could not be asked all of it.
    failure: Option<Failure>,
}

/// Looks at one host. That it cannot be reached is a finding, too.
///
/// What needs the commit on the remote waits for `pushed`.
pub async fn look(
    project: &Project,
    spec: &HostSpec,
    coming: &Coming,
    (early, lock): (&Early, Lock),
    pushed: impl Future<Output = ()>,
    log: &Log,
) -> Report {
    let host = match project.connect_to(spec, log).await {
        Ok(host) => host,
        Err(failure) => return Asked::unreached(spec, failure).judge(project, spec, coming, &[]),
    };
    let moving = async {
        pushed.await;
        moving(project, spec, &host, coming).await
    };
    let (asked, moving) = tokio::join!(Asked::ask(project, spec, &host, coming, (early, lock)), moving);
    asked.judge(project, spec, coming, &moving)
}

async fn moving(project: &Project, spec: &HostSpec, host: &Host, coming: &Coming) -> Vec<Finding> {
    match spec.checkout() {
        Ok(path) => checkout::moving(project, host, &path, coming).await,
        Err(_) => Vec::new(),
    }
}

impl Asked {
    fn unreached(spec: &HostSpec, failure: Failure) -> Asked {
        Asked { report: Report::new(&spec.name), failure: Some(failure) }
    }

    async fn ask(project: &Project, spec: &HostSpec, host: &Host, coming: &Coming, how: (&Early, Lock)) -> Asked {
        let mut report = Report::new(&spec.name);
        let failure = report.fill(project, spec, host, coming, how).await.err();
        Asked { report, failure }
    }

    /// What all of it means.
    fn judge(self, project: &Project, spec: &HostSpec, coming: &Coming, moving: &[Finding]) -> Report {
        let Asked { mut report, failure } = self;
        if report.looked {
            let judged = report.judged(project, spec, coming, moving);
            report.findings.splice(0..0, judged);
        }
        report.findings.extend(failure.map(|failure| Finding::of(&needs::HOST, failure.exit, &failure)));
        report.findings = Finding::each_once(std::mem::take(&mut report.findings));
        for finding in &mut report.findings {
            finding.host = Some(spec.name.clone());
        }
        report
    }
}

impl Report {
    /// Nothing yet.
    pub fn new(host: &str) -> Report {
        Report {
            host: host.to_owned(),
            facts: Facts::default(),
            unwell: Vec::new(),
            ahead: None,
            findings: Vec::new(),
            looked: false,
        }
    }

    async fn fill(
        &mut self,
        project: &Project,
        spec: &HostSpec,
        host: &Host,
        coming: &Coming,
        (early, lock): (&Early, Lock),
    ) -> Result<()> {
        let checkout = spec.checkout()?;
        let lock = async {
            match lock {
                Lock::Ours => None,
                Lock::Look { dry } => here::lock_on(project, host, dry).await,
            }
        };
        let project_name = project.name();
        let (looked, config, lock, tunnels, backups, known, names, ledger) = tokio::join!(
            early.look(project, spec, host),
            coming.compose.try_out(project, host, &checkout),
            lock,
            Tunnels::to(project, &spec.name).judge(host),
            backups::missing(project, host, &checkout),
            Running::of_known(project, host, &checkout),
            names::list(host),
            Ledger::read_recent(host, &project_name),
        );
        let looked = looked?;
        self.facts = Facts::parse(&looked.output.text());
        if self.facts.get("clock").is_none() {
            return Err(no_shell(host.name(), &format!("{}\n{}", looked.output.text(), looked.output.stderr)));
        }
        self.ahead = ahead(&self.facts, &looked);
        self.looked = true;
        self.findings.extend(lock);
        self.findings.extend(tunnels);
        self.findings.extend(backups?);
        self.findings.extend(host.allows_few_sessions().await.then(few_sessions));
        self.containers(project, host, &checkout, coming, (config, known, names)).await?;
        // Containers that run from another directory say more than who wrote the ledger.
        if !self.findings.iter().any(|finding| finding.about == &needs::ELSEWHERE) {
            self.findings.extend(whose(project, host, &self.facts, &ledger?).await?);
        }
        Ok(())
    }

    /// What its own look means for a deployment.
    fn judged(&self, project: &Project, spec: &HostSpec, coming: &Coming, moving: &[Finding]) -> Vec<Finding> {
        let (checkout, branch, origin) =
            (spec.checkout().unwrap_or_default(), project.branch(), cm_git::origin(project));
        let (protected, env_file) = (project.protected(), env_file(project));
        let expected = Expected {
            checkout: &checkout,
            branch: &branch,
            remote: project.remote(),
            env_file: env_file.as_deref(),
            protected: &protected,
            brought: &coming.protected,
            origin: origin.as_deref(),
            moving,
            ahead: self.ahead,
        };
        let required = keys::required(project, &spec.name, &self.facts, coming);
        judge(&self.facts, &expected).into_iter().chain(required).collect()
    }

    /// What runs there, where anything can.
    async fn containers(
        &mut self,
        project: &Project,
        host: &Host,
        checkout: &str,
        coming: &Coming,
        (config, known, names): (Result<Output>, Option<Result<Running>>, Result<String>),
    ) -> Result<()> {
        if self.facts.get("docker").is_none() {
            return Ok(());
        }
        if self.facts.get("head").is_some() {
            let config = config?;
            let told = engine::look(project, host, &config).await;
            let silent = told.iter().any(|finding| finding.about == &needs::SWARM && finding.weight == Weight::Fail);
            self.findings.extend(told);
            if silent {
                return Ok(());
            }
            let taken = project.effective(host.name()).is_some_and(|of| Some(&of.commit) == coming.commit.as_ref());
            let understood = self.compose(&coming.compose, &config, taken);
            self.external(project, (host, checkout), &config).await?;
            if let Some(config) = &understood {
                self.findings.extend(names::taken(config, &names?));
            }
            let running = match known {
                Some(known) => known?,
                None => {
                    let name = match understood {
                        Some(config) => config.project,
                        None => cm_engine::project_name(project, host, checkout).await?,
                    };
                    Running::look(project, host, checkout, &name).await?
                }
            };
            self.now((checkout, &project.compose_directory()), running);
        }
        let Some(path) = self.facts.get("no-checkout") else { return Ok(()) };
        let name = cm_engine::project_name(project, host, checkout).await?;
        let containers = cm_engine::containers(host, &name).await?;
        if let Some((name, elsewhere)) = cm_engine::elsewhere(path, &project.compose_directory(), &containers) {
            let message = format!("there is no checkout at {path}, and {name} runs from {elsewhere}");
            self.findings.push(
                Finding::fail(Exit::Config, &needs::ELSEWHERE, message)
                    .hint(format!("say so in cm.toml: checkout = \"{elsewhere}\"; or remove those containers")),
            );
        }
        Ok(())
    }

    /// Whether the compose file is understood there, and what it says then. Where it was `taken` with the other files
    /// of its commit, the checkout of today lacks one of those.
    fn compose(&mut self, file: &ComposeFile, config: &Output, taken: bool) -> Option<Config> {
        if !config.success() && taken {
            return None;
        }
        if !config.success() {
            let said = config.stderr.trim().lines().last().unwrap_or("no reason given").to_owned();
            self.findings.push(file.not_accepted(&said));
            return None;
        }
        for variable in unset_variables(&config.stderr) {
            self.findings.push(Finding::warn(
                &needs::UNSET_VARIABLE,
                format!("the compose file wants the variable {variable}, which is not set there"),
            ));
        }
        let value = cm_host::parse_json(&config.stdout).unwrap_or_default();
        Some(Config::read(&value)).filter(|config| !config.project.is_empty())
    }

    /// What the project uses and does not make: `up` would fail for it, after everything was built.
    async fn external(&mut self, project: &Project, (host, checkout): (&Host, &str), config: &Output) -> Result<()> {
        let wanted = match project.effective(host.name()) {
            Some(known) => known.missing.iter().cloned().collect(),
            None => {
                let own = |service: &str| project.host_of(service).is_none_or(|of| of.name == host.name());
                cm_host::parse_json(&config.stdout).map(|json| Model::new(json).wanted(&own)).unwrap_or_default()
            }
        };
        for missing in Compose::of(project, host, checkout).absent(&wanted).await? {
            let (kind, name) = missing.split_once(' ').unwrap_or(("", &missing));
            let hint = match kind {
                "file" => "put it there; it belongs to a config or a secret of the compose file".to_owned(),
                "path" => "make it there: a bind mount, a volume or a device of the compose file needs it, and Docker does not \
                    make it"
                    .to_owned(),
                "container" => "start it first: a service joins it, and it is of no service of this project".to_owned(),
                "image" => format!("bring it there (`docker load`, `docker pull {name}`): `pull_policy: never` says so"),
                "variable" => format!(
                    "a config or a secret of the compose file takes its value from {name}: set it in the `.env` there that Compose \
                     reads"
                ),
                "secret" | "config" => format!(
                    "Compose knows no external {kind}s, which are of Docker Swarm: give it a `file:` or an `environment:`"
                ),
                _ => format!("make it there: docker {kind} create {name}; or leave out `external: true`"),
            };
            let is_not = if kind == "variable" { "is not set" } else { "is not there" };
            let message = format!("the {kind} {name} {is_not}, and the compose file wants it");
            self.findings.push(Finding::fail(Exit::Config, &needs::EXTERNAL, message).hint(hint));
        }
        Ok(())
    }

    /// What is unhealthy now. It stops nothing: the deployment may be the cure.
    fn now(&mut self, here: (&str, &str), running: Running) {
        self.unwell = running.unhealthy;
        for (container, path) in running.stale {
            let message =
                format!("container {container} does not see {path} as it is on the host now: the file was replaced");
            self.findings.push(Finding::warn(&needs::STALE_MOUNT, message).hint(format!("docker restart {container}")));
        }
        if let Some(stray) = running.stray {
            let words = cm_engine::stray_words(&stray, here);
            self.findings.push(match stray.is_there {
                // Nothing is deployed then.
                true => {
                    Finding::fail(Exit::Config, &needs::ELSEWHERE, words).hint(cm_engine::shared_project_hint(&stray))
                }
                false => Finding::warn(&needs::ELSEWHERE, words),
            });
        }
        for unwell in &self.unwell {
            let message =
                format!("unhealthy before the deployment: {}: {} ({})", unwell.service, unwell.state, unwell.container);
            self.findings.push(Finding::warn(&needs::UNWELL, message));
        }
    }

    /// What is there, in one line.
    pub fn line(&self) -> String {
        let get = |name: &str| self.facts.get(name).unwrap_or("?");
        let head: String = get("head").chars().take(12).collect();
        let disk = self.facts.room("docker-disk-kib").map_or("?".to_owned(), |room| size(room.free));
        let versions = format!("Docker {}, Compose {}", get("docker"), get("compose"));
        let checkout = match self.facts.get("head") {
            Some(_) => format!("checkout at {head} ({})", get("branch")),
            None if self.facts.get("unborn").is_some() => "a checkout without files".to_owned(),
            None => "no checkout".to_owned(),
        };
        format!("{}: {versions}, {disk} of disk free, {checkout}", self.host)
    }

    /// The same as a row of a table.
    pub fn row(&self) -> [String; 6] {
        let get = |name: &str| self.facts.get(name).unwrap_or("-").to_owned();
        let disk = self.facts.room("docker-disk-kib").map_or("?".to_owned(), |room| size(room.free));
        [self.host.clone(), get("docker"), get("compose"), disk, get("head"), get("branch")]
    }

    /// For the document.
    pub fn facts(&self) -> PreflightHost {
        let text = |name: &str| self.facts.get(name).map(str::to_owned);
        PreflightHost {
            docker: text("docker"),
            compose: text("compose"),
            docker_disk_kib: self.facts.room("docker-disk-kib"),
            checkout_disk_kib: self.facts.room("checkout-disk-kib"),
            memory_available_kib: self.facts.get("memory-kib").and_then(|kib| kib.parse().ok()),
            head: text("head"),
            branch: text("branch"),
            clock_ahead_s: self.ahead.map(|ahead| (ahead * 1000.0).round() / 1000.0),
            unwell: self.unwell.clone(),
        }
    }
}

/// How far the server's clock is ahead, if it can be more than the question took.
fn ahead(facts: &Facts, said: &Said) -> Option<f64> {
    let took = said.took.as_secs_f64();
    let here = said.asked_at.as_millisecond() as f64 / 1000.0 + took / 2.0;
    let ahead = facts.clock()? - here;
    Some(if ahead.abs() <= took / 2.0 { 0.0 } else { ahead })
}

/// A ledger that another checkout of the same name writes.
async fn whose(project: &Project, host: &Host, facts: &Facts, ledger: &Ledger) -> Result<Option<Finding>> {
    let Some(place) = facts.get("place").or(facts.get("no-checkout")) else { return Ok(None) };
    let directory = cm_ledger::directory_below(place, &project.compose_directory());
    match cm_ledger::not_shared(host, &project.name(), ledger, &[directory]).await {
        Err(mut failure) if failure.exit == Exit::Config => {
            failure.message = failure.message.replacen(&format!("on {}: ", host.name()), "", 1);
            Ok(Some(Finding::of(&needs::LEDGER, failure.exit, &failure)))
        }
        checked => checked.map(|()| None),
    }
}

fn few_sessions() -> Finding {
    let message = "sshd allows fewer sessions a connection than cm uses at a time, so that it opens more connections";
    Finding::warn(&needs::SESSIONS, message)
        .hint("it works, and takes longer; as root there: MaxSessions 10 in /etc/ssh/sshd_config, and reload sshd")
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
}
