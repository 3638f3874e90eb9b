//! What a deployment would do to one host, exactly, and what it rests on: looked up on the
//! host, changing nothing. The same goes into the document, so that it can be applied later,
//! and to people.

use crate::basis::basis;
use crate::observed::{not_elsewhere, not_of_another};
use crate::release::Release;
use crate::{HostPlan, Selection, jobs, prune, room};
use cm_checkout::{Checkout, Found};
use cm_core::facts::{Basis, BuiltHost, BuiltService, ServiceCanary};
use cm_core::time::milliseconds;
use cm_core::{Action, Log, Reason, Result, Service, redact, size, table};
use cm_engine::invocation::build_arguments;
use cm_engine::{Compose, Config, Container};
use cm_host::Host;
use cm_ledger::Ledger;
use cm_project::Project;
use cm_rollout::{Change, Foresight, Options, Order, Question, jobs_of};
use std::collections::BTreeSet;
use std::time::Duration;

/// The document names no more files than this.
const FILES: usize = 500;
/// People are shown fewer.
const SHOWN: usize = 10;
/// And of each service so many reasons.
const REASONS: usize = 3;

/// What would be done to one host.
pub struct Preview<'a> {
    plan: &'a HostPlan,
    /// What Compose will say there; `None` where that is not known before something is there.
    config: Option<Config>,
    before: Vec<Container>,
    ledger: Ledger,
    /// The names of the images that the host has, where that matters.
    there: BTreeSet<String>,
    /// Empty where nothing was ever checked out.
    head: String,
    /// What the checkout is made from, if there is none.
    origin: Option<String>,
    commit: &'a str,
    /// The paths that move; `None` if it cannot be known here.
    files: Option<Vec<String>>,
    kept: Vec<String>,
    services: Vec<Planned>,
    steps: Vec<String>,
    images: Vec<String>,
    /// What a build took at most lately, and what is free, in bytes.
    room: (Option<u64>, Option<u64>),
    /// What the plan rests on.
    pub basis: Basis,
}

/// One service of it.
struct Planned {
    service: Service,
    image: String,
    /// In which order its containers are replaced; empty where none is.
    update: String,
    /// What its new container is asked alongside the old one, and how often.
    canary: Option<(Question, u32)>,
    /// How long that took last.
    last: Option<Duration>,
}

/// Looks.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::Build`] or what the engine said.
pub async fn look<'a>(
    project: &Project,
    selection: &Selection,
    host: &Host,
    plan: &'a HostPlan,
    commit: &'a str,
    log: &Log,
) -> Result<Preview<'a>> {
    let checkout = Checkout::new(host, &plan.checkout, project.remote(), &project.protected());
    let name = cm_engine::project_name(project, host, &plan.checkout).await?;
    let ledger_name = project.name();
    let (head, containers, ledger, there) = tokio::join!(
        checkout.head(),
        cm_engine::containers(host, &name),
        Ledger::read(host, &ledger_name),
        there(project, plan, host)
    );
    let (head, containers, ledger) = (head?, containers?, ledger?);
    let (mut origin, mut changed) = (None, None);
    let directory = project.compose_directory();
    match &head {
        Some(head) => {
            not_of_another(host, (&*plan.checkout, &*directory), &[], &containers, log).await?;
            changed = cm_git::changed(&project.repository, head, commit);
            if changed.is_none() {
                changed = checkout.changed(head, commit).await?;
            }
        }
        None => {
            if let Found::Nothing(path) = checkout.look(Some(&project.branch()), commit).await? {
                not_elsewhere(host, &path, &directory, &containers)?;
                origin = Some(cm_git::origin(project)?);
            }
        }
    }
    let head = head.unwrap_or_default();
    let (kept, files) = without_protected(project, changed);
    // Where there is nothing, nothing is replaced.
    let config = match &origin {
        None => config_if_known(project, host, plan, commit, log).await,
        Some(_) => None,
    };
    let services =
        plan.services.iter().map(|service| planned(project, selection, service, config.as_ref(), &containers, &ledger));
    Ok(Preview {
        head: head.clone(),
        origin,
        commit,
        files,
        kept,
        services: services.collect::<Result<_>>()?,
        steps: plan.describe(project, selection),
        room: (ledger.build_bytes(), room::free(host).await?),
        images: prune::after(project, host, &ledger, plan, &containers).await?,
        basis: basis(plan, &head, &containers, &ledger),
        plan,
        config,
        before: containers,
        ledger,
        there,
    })
}

/// The names of the images that `host` has, if the plan may start one that nobody builds.
pub async fn there(project: &Project, plan: &HostPlan, host: &Host) -> BTreeSet<String> {
    if plan.may_pull(project) { cm_engine::image_names(host).await } else { BTreeSet::new() }
}

/// What Compose makes of the project as it comes, or a warning that nobody knows.
async fn config_if_known(project: &Project, host: &Host, plan: &HostPlan, commit: &str, log: &Log) -> Option<Config> {
    let config = config_to_come(project, host, plan, commit).await;
    if let Err(why) = &config {
        log.warn(format!("on {}: cannot say how containers are replaced: {why}", host.name()));
    }
    config.ok()
}

/// Says of each host what is run there, in its order and word for word: which host runs a job depends on all.
///
/// # Errors
/// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
pub fn foresee(project: &Project, selection: &Selection, hosts: &[Host], previews: &mut [Preview<'_>]) -> Result<()> {
    let none = Config::default();
    let known = previews.iter().map(|one| (one.plan, one.config.as_ref().unwrap_or(&none))).collect::<Vec<_>>();
    let owners = jobs::owners(project, &known);
    for ((host, preview), own) in hosts.iter().zip(previews).zip(owners) {
        let Some(config) = &preview.config else { continue };
        let compose = Compose::of(project, host, &preview.plan.checkout);
        let foresight = Foresight { project, compose: &compose, config, before: &preview.before };
        preview.steps = preview.steps_of(selection, &foresight, &own)?;
    }
    Ok(())
}

/// The files that the host keeps its own of, and those that it gets, if anybody knows which change.
fn without_protected(project: &Project, changed: Option<Vec<String>>) -> (Vec<String>, Option<Vec<String>>) {
    let Some(files) = changed else { return (Vec::new(), None) };
    let protected = project.protected();
    let (kept, files) = files.into_iter().partition(|file| protected.contains(file));
    (kept, Some(files))
}

/// What Compose there makes of the commit's file, which is not there yet.
async fn config_to_come(project: &Project, host: &Host, plan: &HostPlan, commit: &str) -> Result<Config> {
    let compose = Compose::of(project, host, &plan.checkout);
    let [file] = project.compose_files().try_into().unwrap_or_else(|_| [String::new()]);
    match cm_git::file(&project.repository, commit, &file) {
        Some(text) => compose.from_files(&["-".to_owned()]).config_of(text).await,
        // Several files, or a commit that is not here: what is checked out now is the best there is.
        None => compose.config().await,
    }
}

fn planned(
    project: &Project,
    selection: &Selection,
    service: &Service,
    config: Option<&Config>,
    containers: &[Container],
    ledger: &Ledger,
) -> Result<Planned> {
    let definition = config.and_then(|config| config.services.get(&service.name));
    let starts = matches!(service.action, Action::Build | Action::Recreate);
    let runs = containers.iter().any(|container| container.service == service.name && container.is_running());
    let order = definition.filter(|_| starts).map(|definition| Order::of(project, &service.name, definition));
    let order = order.transpose()?;
    let update = order.as_ref().filter(|_| runs).map_or(String::new(), Order::words);
    let canary = match &order {
        Some(order) => Question::of(project, &service.name, order, runs, selection.full)?,
        None => None,
    };
    let canary = canary.map(|question| (question, project.canary().requests));
    let local = || project.compose.service(&service.name).and_then(|local| local.image.clone());
    let image = definition.map(|definition| definition.image.clone()).or_else(local).unwrap_or_default();
    Ok(Planned { service: service.clone(), image, update, canary, last: ledger.last_update(&service.name) })
}

impl Preview<'_> {
    /// As [`crate::observed::Observed::can_be_recorded`].
    pub fn can_be_recorded(&self, project: &Project, release: &Release) -> Result<()> {
        release.planned(project, self.plan, (&self.ledger, &self.before)).check_room(&self.plan.host)
    }

    fn steps_of(
        &self,
        selection: &Selection,
        foresight: &Foresight<'_>,
        own: &BTreeSet<String>,
    ) -> Result<Vec<String>> {
        let (plan, project, config) = (self.plan, foresight.project, foresight.config);
        let mut plan = plan.clone();
        let awaited = config.jobs();
        plan.jobs =
            plan.names().into_iter().filter(|name| project.is_job_of(name, &awaited)).map(str::to_owned).collect();
        let mut steps = vec![plan.move_step(project)];
        steps.extend(foresight.pulls(&plan.to_run(), &self.there));
        let mut builds = plan.with(Action::Build);
        builds.retain(|name| config.services.get(name).is_some_and(|definition| definition.builds));
        if !builds.is_empty() {
            steps.push(foresight.compose.shown(&["-"], &build_arguments(&builds, selection.full)));
        }
        let planned = jobs::planned(&plan);
        let release = cm_rollout::Release { planned: &planned, changed: self.files.as_deref(), own };
        let jobs = jobs_of(project, config, release);
        steps.extend(foresight.jobs(&jobs, self.commit, &plan.to_start(), &self.ledger));
        let change = Change { start: plan.to_start(), remove: plan.with(Action::Remove), brought: None };
        steps.extend(foresight.containers(&change, Options { trial: true, full: selection.full })?);
        let restarted = plan.with(Action::Restart).into_iter().filter(|name| !plan.jobs.contains(name));
        steps.extend(restarted.map(|name| foresight.restart(&name)));
        steps.extend(plan.reload_steps(project));
        Ok(steps)
    }

    /// For the document.
    pub fn facts(&self) -> BuiltHost {
        let services = self.services.iter().map(|planned| (planned.service.name.clone(), planned.facts()));
        BuiltHost {
            checkout: Some(self.plan.checkout.clone()),
            from: Some(Some(self.head.clone()).filter(|head| !head.is_empty())),
            to: Some(self.commit.to_owned()),
            files: Some(self.files.as_ref().map(|files| files.iter().take(FILES).cloned().collect())),
            files_count: Some(self.files.as_ref().map(|files| files.len() as u64)),
            services: Some(services.collect()),
            steps: Some(self.steps.clone()),
            images_removed: Some(self.images.clone()),
            build_bytes: Some(self.room.0),
            free_bytes: Some(self.room.1),
            basis: Some(self.basis.clone()),
            ..BuiltHost::default()
        }
    }

    /// For people.
    pub fn tell(&self, log: &Log) {
        let host = &self.plan.host;
        log.info(format!("on {host}: {} {}", self.plan.checkout, self.move_words()));
        let heads: Vec<[String; 3]> = self.services.iter().map(Planned::head).collect();
        let heads = table(&heads);
        let lines = heads.lines().zip(&self.services).flat_map(|(head, service)| {
            [head.to_owned()].into_iter().chain(service.why().into_iter().map(|line| format!("    {line}")))
        });
        log.info(format!("on {host}:\n{}", lines.collect::<Vec<_>>().join("\n")));
        for step in &self.steps {
            log.info(format!("would do on {host}: {step}"));
        }
        if let (Some(wanted), Some(free)) = self.room {
            log.info(format!("on {host}: a build took {} at most lately; {} are free", size(wanted), size(free)));
        }
        let images = if self.images.is_empty() { "none".to_owned() } else { self.images.join("\n") };
        log.info(format!("on {host}: old images that then go: {images}"));
    }

    fn move_words(&self) -> String {
        let (head, to) = (short(&self.head), short(self.commit));
        let kept = match self.kept.as_slice() {
            [] => String::new(),
            files => format!("\n(the host keeps its own {})", files.join(", ")),
        };
        if let Some(origin) = &self.origin {
            return format!("is made from {origin}, at {to}");
        }
        match &self.files {
            _ if self.head.is_empty() => format!("has nothing checked out yet, and comes to {to}"),
            _ if self.head == self.commit => format!("stays at {to}"),
            None => format!("from {head} to {to}; which files move is not known here"),
            Some(files) => {
                let shown: String = files.iter().take(SHOWN).map(|file| format!("\n{file}")).collect();
                let more = files.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
                format!("from {head} to {to}, changed files: {}{shown}{more}{kept}", files.len())
            }
        }
    }
}

impl Planned {
    fn facts(&self) -> BuiltService {
        let canary = self.canary.as_ref().map(|(question, requests)| match question {
            Question::Asked(url) => ServiceCanary::Asked { url: redact(url).into_owned(), requests: *requests },
            Question::NotAsked(why) => ServiceCanary::NotAsked { not_asked: why.clone() },
        });
        BuiltService {
            action: Some(self.service.action),
            reasons: Some(self.service.reasons.clone()),
            image: Some(self.image.clone()),
            update: Some(Some(self.update.clone()).filter(|update| !update.is_empty())),
            canary: Some(canary),
            last_update_ms: Some(self.last.map(milliseconds)),
            ..BuiltService::default()
        }
    }

    fn head(&self) -> [String; 3] {
        [self.service.name.clone(), self.service.action.as_str().to_owned(), self.image.clone()]
    }

    /// Why, and how its containers are replaced.
    fn why(&self) -> Vec<String> {
        let word = |reason: &Reason| match reason.path.as_str() {
            "" => reason.rule.clone(),
            path => format!("{path} ({})", reason.rule),
        };
        let more = self.service.reasons.len().saturating_sub(REASONS);
        let mut lines: Vec<String> = self.service.reasons.iter().take(REASONS).map(word).collect();
        lines.extend((more > 0).then(|| format!("and {more} more")));
        if !self.update.is_empty() {
            let last = self.last.map(|last| format!("; last took {:.1} s", last.as_secs_f64())).unwrap_or_default();
            lines.push(format!("{}{last}", self.update));
        }
        lines.extend(self.canary.as_ref().map(|(question, requests)| match question {
            Question::Asked(url) => format!("first container is a canary: {}, {requests} requests", redact(url)),
            Question::NotAsked(why) => format!("no canary: {why}"),
        }));
        lines
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
