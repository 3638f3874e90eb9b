//! One host, from what it runs to what it shall run. [`Switch::look`] only reads;
//! [`Switch::undo`] says how to come back; [`Switch::carry_out`] changes.

use crate::build_log::BuildLog;
use crate::release::{Release, repository};
use crate::{HostPlan, Selection, join_all, migrations, preview, room};
use cm_checkout::{Checkout, Found, Protected, State, is_unmoved};
use cm_core::{Action, Exit, Failure, Journal, Log, Result, Stop, interruption};
use cm_engine::{BuildOptions, Compose, Config, Container};
use cm_host::{Begun, Fenced, Host};
use cm_lease::Guard;
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use cm_project::Project;
use cm_rollout::{Canaries, Options, Replaced, Rollout};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// The change of one host.
pub struct Switch<'a> {
    host: &'a Host,
    project: &'a Project,
    plan: HostPlan,
    release: &'a Release,
    full: bool,
    /// Where the checkout is; empty if nothing was ever checked out.
    head: String,
    /// What the checkout is made from, if there is none.
    origin: Option<String>,
    discard: bool,
    before: Vec<Container>,
    compose_project: String,
    irreversible: Vec<String>,
    ledger: Ledger,
    /// What was free before the build, and what it took, in bytes.
    free: Option<u64>,
    build_bytes: Option<u64>,
    protected: Vec<Protected>,
    states: BTreeMap<String, ServiceState>,
    containers: BTreeMap<String, Vec<String>>,
    replaced: BTreeMap<String, Replaced>,
    canaries: Canaries,
    seconds: f64,
    reached: Reached,
}

/// How far a host got.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reached {
    /// Nothing was changed.
    Nothing,
    /// The checkout is being moved.
    Moving,
    /// The checkout is moved.
    Moved,
    /// The images are built.
    Built,
    /// Containers are being replaced.
    Switching,
    /// All is done.
    Done,
}

impl Reached {
    /// The word in the document.
    fn word(self) -> &'static str {
        match self {
            Reached::Nothing => "nothing",
            Reached::Moving => "moving",
            Reached::Moved => "moved",
            Reached::Built => "built",
            Reached::Switching => "switching",
            Reached::Done => "done",
        }
    }
}

impl<'a> Switch<'a> {
    /// Looks at the host: the checkout, what the move would destroy, what runs.
    ///
    /// # Errors
    /// [`Exit::Build`] if files changed by hand are in the way; what [`Checkout::prepare`] says.
    pub async fn look(
        project: &'a Project,
        selection: &Selection,
        host: &'a Host,
        plan: HostPlan,
        release: &'a Release,
        log: &Log,
    ) -> Result<Switch<'a>> {
        let checkout = Checkout::new(host, &plan.checkout, project.remote(), &project.protected());
        let branch = Some(release.branch()).filter(|branch| !branch.is_empty());
        let compose_project = cm_engine::project_name(project, host, &plan.checkout).await?;
        // None waits for another: over a long line each costs its time.
        let (found, ledger, before, free) = tokio::join!(
            checkout.look(branch, release.commit()),
            Ledger::read(host, &release.project),
            cm_engine::containers(host, &compose_project),
            free(host, &plan),
        );
        let (found, ledger, before, free) = (found?, ledger?, before?, free?);
        let (state, origin) = match found {
            Found::Checkout(state) => {
                let here = (&*plan.checkout, &*project.prefix);
                if let Some(stray) = cm_engine::stray(host, here, &state.places, &before).await? {
                    log.warn(format!("on {}: {}", host.name(), cm_engine::stray_words(&stray, &plan.checkout)));
                }
                (state, None)
            }
            Found::Nothing(path) => {
                not_elsewhere(host, &path, &project.prefix, &before)?;
                (State::default(), Some(project.origin()?))
            }
        };
        for file in &state.upstream {
            log.warn(format!(
                "on {}: the repository's {file} differs from the commit before; the host keeps its own",
                host.name()
            ));
        }
        if !state.modes.is_empty() {
            let files = state.modes.join(", ");
            log.warn(format!("on {}: the mode of {files} was changed by hand and becomes the commit's", host.name()));
        }
        if !selection.discard_local_changes {
            checkout.nothing_lost(&state)?;
        }
        let irreversible = migrations::between(project, &checkout, &ledger, &state.head, release.commit()).await?;
        if let Some(first) = irreversible.first() {
            log.warn(format!("this release changes data for good ({first}): no rollback goes across it unconfirmed"));
        }
        log.debug(format!(
            "on {}: at {}, {} containers, {} paths to change",
            host.name(),
            state.head,
            before.len(),
            state.changes
        ));
        Ok(Switch {
            host,
            project,
            plan,
            release,
            full: selection.full,
            head: state.head,
            origin,
            discard: selection.discard_local_changes,
            before,
            compose_project,
            irreversible,
            ledger,
            free,
            build_bytes: None,
            protected: Vec::new(),
            states: BTreeMap::new(),
            containers: BTreeMap::new(),
            replaced: BTreeMap::new(),
            canaries: Canaries::new(),
            seconds: 0.0,
            reached: Reached::Nothing,
        })
    }

    /// The host's name.
    pub fn host_name(&self) -> &str {
        self.host.name()
    }

    /// What a plan for this host rests on, as it is now.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or a ledger that cannot be read.
    pub async fn basis(&self) -> Result<Value> {
        let ledger = Ledger::read(self.host, &self.release.project).await?;
        Ok(preview::basis(&self.plan, &self.head, &self.before, &ledger))
    }

    /// Whether the remote branch is no longer at the commit, in words.
    ///
    /// # Errors
    /// As [`Checkout::remote_tip`].
    pub async fn branch_moved(&self) -> Result<Option<String>> {
        let (branch, commit) = (self.release.branch(), self.release.commit());
        if branch.is_empty() {
            return Ok(None);
        }
        let tip = self.checkout(self.host).remote_tip(branch, &self.project.origin()).await?;
        let words = || format!("{branch} was at {} and is at {}", self.release.short(), tip.get(..12).unwrap_or(&tip));
        Ok((tip != commit).then(words))
    }

    /// How many services it changes.
    pub fn service_count(&self) -> usize {
        self.plan.services.len()
    }

    fn checkout<'b>(&self, host: &'b Host) -> Checkout<'b> {
        let checkout = Checkout::new(host, &self.plan.checkout, self.project.remote(), &self.project.protected());
        checkout.keeping_build(!self.plan.with(Action::Build).is_empty())
    }

    fn state_dir(&self) -> String {
        cm_ledger::state_dir(&self.release.project)
    }

    fn compose(&self) -> Compose<'a> {
        Compose::of(self.project, self.host, &self.plan.checkout)
    }

    /// What takes this host back, complete in itself: where the checkout was and
    /// which image each service ran.
    pub fn undo(&self) -> Value {
        let services: Map<String, Value> = self
            .plan
            .services
            .iter()
            .map(|service| (service.name.clone(), self.undo_of(&service.name, service.action)))
            .collect();
        json!({
            "kind": "release",
            "host": self.host.name(),
            "checkout": self.plan.checkout,
            "compose_project": self.compose_project,
            "from": self.head,
            "to": self.release.commit(),
            "services": services,
        })
    }

    fn undo_of(&self, service: &str, action: Action) -> Value {
        let container = self.before.iter().find(|container| container.service == service);
        json!({
            "action": action.word(),
            "image": container.map(|container| &container.image),
            "image_id": container.map(|container| &container.image_id),
        })
    }

    /// Changes the host. The lock is checked before each step that changes something.
    ///
    /// # Errors
    /// [`Exit::Build`], [`Exit::LockLost`], [`Exit::Unreachable`]; what was done so
    /// far is in [`Switch::facts`].
    pub async fn carry_out(&mut self, guard: &Guard, log: &Log) -> Result<()> {
        let began = Instant::now();
        let result = self.steps(guard, log).await;
        self.seconds = began.elapsed().as_secs_f64();
        result
    }

    async fn steps(&mut self, guard: &Guard, log: &Log) -> Result<()> {
        not_stopped()?;
        if !self.plan.with(Action::Build).is_empty() {
            room::make(self.project, self.host, &self.ledger, self.free, guard, log).await?;
        }
        self.record_started(guard).await?;
        not_stopped()?;
        let fenced = guard.fenced(self.host)?;
        self.make_checkout(&fenced, log).await?;
        log.info(format!("on {}: moving {} to {}", self.host.name(), self.plan.checkout, self.release.short()));
        let snapshots = format!("{}/snapshots", self.state_dir());
        self.reached = Reached::Moving;
        let moved =
            self.checkout(self.host).move_to(&fenced, self.release.commit(), &snapshots, self.release.id()).await;
        if moved.as_ref().is_err_and(is_unmoved) {
            self.reached = Reached::Nothing;
        }
        self.protected = moved?;
        self.reached = Reached::Moved;
        let compose = self.compose();
        let (config, free) = tokio::join!(compose.config(), free(self.host, &self.plan));
        let config = config?;
        if self.head.is_empty() {
            // Nobody could say for sure before there was a compose file.
            self.compose_project.clone_from(&config.project);
        }
        self.free = free?;
        not_stopped()?;
        self.keep_old_images(&config, guard).await?;
        self.build(&compose, &config, guard, log).await?;
        not_stopped()?;
        self.record_pending(&config, guard).await?;
        not_stopped()?;
        self.reached = Reached::Switching;
        self.start(&compose, &config, guard, log).await?;
        self.restart_and_reload(&compose, guard, log).await?;
        self.remove(guard, log).await?;
        self.look_again(&config).await?;
        self.reached = Reached::Done;
        match guard.is_own() {
            // The lock ends with this program, the run does not: whoever judges it comes next.
            true => self.append_pending(None, guard).await,
            false => Ok(()),
        }
    }

    /// A server's first deployment brings the checkout, around what lies in its directory.
    async fn make_checkout(&self, fenced: &Fenced, log: &Log) -> Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let (branch, commit) = (self.release.branch(), self.release.commit());
        log.info(format!("on {}: making the checkout {} from {origin}", self.host.name(), self.plan.checkout));
        let checkout = self.checkout(fenced);
        tokio::select! {
            made = checkout.make(fenced, origin, branch, commit) => made?,
            exit = Stop::wait() => return Err(interruption(exit)),
        }
        let state = checkout.prepare(Some(branch).filter(|branch| !branch.is_empty()), commit).await?;
        if self.discard { Ok(()) } else { checkout.nothing_lost(&state) }
    }

    /// What the host is like now, for people.
    pub fn state(&self) -> String {
        let (short, checkout, services) = (self.release.short(), &self.plan.checkout, self.plan.names().join(", "));
        let state = match self.reached {
            Reached::Nothing => "nothing was changed".to_owned(),
            Reached::Moving => format!("{checkout} may be partway to {short}; no container was touched"),
            Reached::Moved => {
                format!("{checkout} was moved to {short}; no container was touched")
            }
            Reached::Built => {
                format!("{checkout} is at {short} and its images are built; no container was touched")
            }
            Reached::Switching => {
                format!("containers were being replaced: each of {services} runs {short} or what it ran")
            }
            Reached::Done => format!("{services} run {short}; whether they are well was not looked at"),
        };
        format!("on {}: {state}", self.host.name())
    }

    /// An image that only a container's id holds is lost to a cleaning cron job once
    /// the container is replaced; a name keeps it for the way back.
    async fn keep_old_images(&self, config: &Config, guard: &Guard) -> Result<()> {
        let host = &guard.fenced(self.host)?;
        let builds = self.plan.with(Action::Build);
        let replaced = |container: &&Container| {
            let definition = config.services.get(&container.service);
            builds.contains(&container.service)
                && definition.is_some_and(|definition| definition.builds)
                && !container.image_id.is_empty()
        };
        let keep = self.before.iter().filter(replaced).map(|container| async move {
            let name = format!("{}:cm-before-{}", repository(&container.image), self.release.id());
            // Once: a run that goes on after it was cut off may see its own container here.
            cm_engine::tag_once(host, &container.image_id, &name, Exit::Build).await
        });
        join_all(keep).await.into_iter().collect()
    }

    async fn build(&mut self, compose: &Compose<'_>, config: &Config, guard: &Guard, log: &Log) -> Result<()> {
        let builds = |name: &String| config.services.get(name).is_some_and(|definition| definition.builds);
        let mut services: Vec<_> = self.plan.with(Action::Build).into_iter().filter(builds).collect();
        let built = self.built_before(&services, config).await?;
        if !built.is_empty() {
            log.info(format!("on {}: built by this run before, not again: {}", self.host.name(), built.join(", ")));
            services.retain(|name| !built.contains(name));
        }
        if services.is_empty() {
            return Ok(());
        }
        log.info(format!("on {}: building {}", self.host.name(), services.join(", ")));
        let state = self.state_dir();
        let options = BuildOptions { revision: self.release.commit(), state: &state, no_cache: self.full };
        let mut said = BuildLog::new(Journal::of(self.release.id()).dir(), self.host.name(), &services);
        let fenced = guard.fenced(self.host)?;
        let building = compose.build(&fenced, config, &services, &options, |line| {
            log.debug(line);
            said.line(line);
        });
        let built = tokio::select! {
            built = building => built,
            exit = Stop::wait() => {
                // What comes next is a rollback, or nothing: nobody would go on with it.
                compose.forget_build(&fenced, &state).await?;
                return Err(interruption(exit));
            }
        };
        match built.map_err(|failure| if failure.exit == Exit::Build { said.explain(failure) } else { failure })? {
            Begun::Now => {}
            Begun::Before => log.info(format!("on {}: went on with the build of a run that ended", self.host.name())),
            Begun::AndEnded => log.info(format!("on {}: took the build of a run that ended", self.host.name())),
        }
        self.reached = Reached::Built;
        Ok(())
    }

    /// Services whose image this very run has built and written down, before it was cut off and went on.
    async fn built_before(&self, services: &[String], config: &Config) -> Result<Vec<String>> {
        let mut built = Vec::new();
        if !self.release.resumed {
            return Ok(built);
        }
        let ledger = Ledger::read(self.host, &self.release.project).await?;
        let Some(recorded) = ledger.record(self.release.id()) else { return Ok(built) };
        for (name, definition) in services.iter().filter_map(|name| Some((name, config.services.get(name)?))) {
            let recorded = recorded.services.get(name).map(|state| &state.image_id).filter(|id| !id.is_empty());
            let now = cm_engine::image_id(self.host, &definition.image).await?;
            if recorded.is_some() && recorded == now.as_ref() {
                built.push(name.clone());
            }
        }
        Ok(built)
    }

    /// Before the first change: whoever comes next knows that somebody was here.
    async fn record_started(&self, guard: &Guard) -> Result<()> {
        let mut record = Record { lock: guard.nonce(), ..self.release.record() };
        record.verdict = Verdict::Started;
        Ledger::append(&guard.fenced(self.host)?, &self.release.project, &record).await
    }

    /// Names the new images and writes down that they are about to run.
    async fn record_pending(&mut self, config: &Config, guard: &Guard) -> Result<()> {
        let (this, host) = (&*self, &guard.fenced(self.host)?);
        let states = self.plan.services.iter().map(|service| async move {
            let state = match config.services.get(&service.name) {
                Some(definition) if service.action != Action::Remove => {
                    this.state_of(host, &definition.image, definition.builds && service.action == Action::Build).await?
                }
                _ => {
                    ServiceState { commit: this.release.commit().to_owned(), removed: true, ..ServiceState::default() }
                }
            };
            Ok((service.name.clone(), state))
        });
        let built = self.reached == Reached::Built;
        let left = async { if built { room::free(self.host).await } else { Ok(None) } };
        let (states, left) = tokio::join!(join_all(states), left);
        self.states = states.into_iter().collect::<Result<_>>()?;
        self.build_bytes = self.free.zip(left?).map(|(before, after)| before.saturating_sub(after));
        // From here on the images are this release's: nobody shall take them for a build of his.
        let forget = async { if built { self.compose().forget_build(host, &self.state_dir()).await } else { Ok(()) } };
        let (written, forgotten) = tokio::join!(self.append_pending(guard.nonce(), guard), forget);
        written.and(forgotten)
    }

    async fn append_pending(&self, lock: Option<String>, guard: &Guard) -> Result<()> {
        let (services, irreversible) = (self.states.clone(), self.irreversible.clone());
        let build_bytes = self.build_bytes;
        let verdict = Verdict::Pending;
        let record = Record { verdict, services, irreversible, build_bytes, lock, ..self.release.record() };
        Ledger::append(&guard.fenced(self.host)?, &self.release.project, &record).await
    }

    async fn state_of(&self, fenced: &Fenced, image: &str, built: bool) -> Result<ServiceState> {
        let mut state = ServiceState {
            commit: self.release.commit().to_owned(),
            image: image.to_owned(),
            ..ServiceState::default()
        };
        if built {
            state.tag = self.release.tag(image);
            state.image_id = cm_engine::tag_found(fenced, image, &state.tag, Exit::Build).await?;
        } else {
            state.image_id = cm_engine::image_id(self.host, image).await?.unwrap_or_default();
        }
        Ok(state)
    }

    async fn start(&mut self, compose: &Compose<'_>, config: &Config, guard: &Guard, log: &Log) -> Result<()> {
        let (project, host) = (self.project, self.host);
        let rollout = Rollout { project, host, compose, config, guard, log };
        let services = self.plan.to_start();
        if services.is_empty() {
            return rollout.clear(Exit::Build).await;
        }
        let options = Options { trial: true, full: self.full };
        let replaced = rollout.replace(&services, &self.before, options, &mut self.canaries).await;
        if replaced.as_ref().is_err_and(|failure| failure.exit == Exit::Unhealthy) {
            log.warn("Some services may not be fully healthy yet");
        }
        self.replaced = replaced?;
        Ok(())
    }

    async fn restart_and_reload(&self, compose: &Compose<'_>, guard: &Guard, log: &Log) -> Result<()> {
        for service in self.plan.with(Action::Restart) {
            not_stopped()?;
            log.info(format!("on {}: restarting {service}", self.host.name()));
            compose.restart(&guard.fenced(self.host)?, &service).await?;
        }
        for service in self.plan.with(Action::Reload) {
            not_stopped()?;
            self.reload(compose, &guard.fenced(self.host)?, &service, log).await?;
        }
        Ok(())
    }

    /// Reloads a service if its container sees the new files; restarts it otherwise:
    /// a single mounted file that git replaced has a new inode, which the container
    /// does not follow, and a reload there would read the old content and succeed.
    async fn reload(&self, compose: &Compose<'_>, fenced: &Fenced, service: &str, log: &Log) -> Result<()> {
        let rules = self.project.rules(service);
        let container = self.before.iter().find(|container| container.service == service && container.is_running());
        let Some(container) = container.filter(|_| !rules.reload.is_empty()) else {
            log.info(format!("on {}: restarting {service}", self.host.name()));
            return compose.restart(fenced, service).await;
        };
        if cm_engine::stale_mount(self.host, container).await?.is_none() {
            log.info(format!("on {}: reloading {service}", self.host.name()));
            if !rules.validate.is_empty() {
                cm_engine::exec(fenced, &container.id, &rules.validate, Exit::Build, "build.validate").await?;
            }
            return cm_engine::exec(fenced, &container.id, &rules.reload, Exit::Build, "build.reload").await.map(drop);
        }
        log.info(format!(
            "on {}: {service} does not see the new file through its mount; restarting it",
            self.host.name()
        ));
        compose.restart(fenced, service).await
    }

    async fn remove(&self, guard: &Guard, log: &Log) -> Result<()> {
        let gone = self.plan.with(Action::Remove);
        for container in self.before.iter().filter(|container| gone.contains(&container.service)) {
            not_stopped()?;
            let fenced = guard.fenced(self.host)?;
            log.info(format!("on {}: removing {}", self.host.name(), container.name));
            fenced.command(["docker", "stop", &container.id]).text(Exit::Build, "build.remove").await?;
            fenced.command(["docker", "rm", &container.id]).text(Exit::Build, "build.remove").await?;
        }
        Ok(())
    }

    /// What runs now, by Docker's own word: the gate compares with it.
    async fn look_again(&mut self, config: &Config) -> Result<()> {
        let now = cm_engine::containers(self.host, &self.compose_project).await?;
        for service in self.plan.to_start() {
            let containers: Vec<_> = now.iter().filter(|container| container.service == service).collect();
            self.containers.insert(service.clone(), containers.iter().map(|container| container.id.clone()).collect());
            let Some(state) = self.states.get_mut(&service) else { continue };
            if let Some(container) = containers.first() {
                state.config_hash.clone_from(&container.config_hash);
                if state.image_id.is_empty() {
                    state.image_id.clone_from(&container.image_id);
                }
            } else if config.services.get(&service).is_some_and(|definition| definition.replicas > 0) {
                let message =
                    format!("on {}: service {service} has no container after `docker compose up`", self.host.name());
                return Err(Failure::new(Exit::Build, "build.no-container", message));
            }
        }
        Ok(())
    }

    /// What was done, for the document.
    pub fn facts(&self) -> Value {
        let services: Map<String, Value> = self
            .plan
            .services
            .iter()
            .map(|service| (service.name.clone(), self.facts_of(&service.name, service.action)))
            .collect();
        json!({
            "project": self.compose_project,
            "checkout": self.plan.checkout,
            "from": Some(&self.head).filter(|head| !head.is_empty()),
            "to": self.release.commit(),
            "protected": self.protected.iter().map(Protected::to_json).collect::<Vec<_>>(),
            "services": services,
            "irreversible": self.irreversible,
            "reached": self.reached.word(),
            "duration_ms": (self.seconds * 1000.0).round(),
        })
    }

    fn facts_of(&self, service: &str, action: Action) -> Value {
        let state = self.states.get(service).cloned().unwrap_or_default();
        let before = self.before.iter().find(|container| container.service == service);
        json!({
            "action": action.word(),
            "image": state.image,
            "image_id": state.image_id,
            "tag": state.tag,
            "config_hash": state.config_hash,
            "removed": state.removed,
            "previous_image_id": before.map(|container| &container.image_id),
            "container_ids": self.containers.get(service),
            "update": self.replaced.get(service).map(|replaced| replaced.order.words()),
            "update_ms": self.replaced.get(service).map(|replaced| replaced.took.as_millis() as u64),
            "canary": self.canaries.get(service),
        })
    }
}

/// Where there is no checkout, the project's containers must not be those of another one:
/// made again from a new directory, they would lose sight of the data beside the old one.
pub fn not_elsewhere(host: &Host, path: &str, prefix: &str, containers: &[Container]) -> Result<()> {
    let Some((name, elsewhere)) = cm_engine::elsewhere(path, prefix, containers) else { return Ok(()) };
    let message = format!("on {}: there is no checkout at {path}, and {name} runs from {elsewhere}", host.name());
    Err(Failure::new(Exit::Config, "checkout.elsewhere", message).hint(format!(
        "nothing was changed; say so in cm.toml: checkout = \"{elsewhere}\"; or remove those containers"
    )))
}

/// How much room a build has, in bytes.
async fn free(host: &Host, plan: &HostPlan) -> Result<Option<u64>> {
    if plan.with(Action::Build).is_empty() { Ok(None) } else { room::free(host).await }
}

fn not_stopped() -> Result<()> {
    Stop::requested().map_or(Ok(()), |exit| Err(interruption(exit)))
}
