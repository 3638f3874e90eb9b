//! Replaces the containers of services, where it is asked for with the new one first.
//!
//! Compose can only take a container away and then put another one there. So, for a
//! service that can run twice (see [`Order`]), new containers run beside it for a while:
//!
//! 1. a *trial* that nobody can find, which has to pass the health gate: a bad release
//!    never gets a request, and the old container serves as if nothing had happened. Where
//!    cm.toml has a canary for the service, it is also compared with the old container;
//! 2. a *bridge* under all the service's names. A name that leads to two addresses leads
//!    to the one that answers, and so no request waits for what is not listening yet;
//! 3. `up` replaces the container itself while the bridge serves. The new one has the
//!    same name, labels and configuration as Compose would give it: nothing of cm is left;
//! 4. when that is well, the bridge is stopped within the service's grace period: it
//!    answers what it has taken on, and new requests go past it.
//!
//! Both bear a label, by which the next run finds those of a run that was killed. A
//! bridge goes only when its service runs by itself again.

mod canary;
mod collision;
mod drain;
mod job_log;
mod job_run;
mod jobs;
mod order;
mod reload;
mod words;

pub use canary::{Canaries, Question};
pub use collision::in_the_way;
pub use job_run::{JobReport, Once};
pub use jobs::{Release, jobs_of};
pub use order::Order;

use cm_core::{Exit, Log, Result};
use cm_engine::{BESIDE_LABEL, Beside, Compose, Config, Container, UpOptions};
use cm_gate::{Gate, Past, Settings, State, Verdict, Wanted};
use cm_host::Host;
use cm_lease::Guard;
use cm_project::Project;
use collision::Collision;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
pub use words::restore_line;
use words::{list, not_well};

/// The mark of a container that has to pass the gate unseen.
const TRIAL: &str = "trial";
/// The mark of one that serves while the service's own container is replaced.
const BRIDGE: &str = "bridge";

/// What replaces containers on one host.
pub struct Rollout<'a> {
    /// The project, for its rules and its health gate.
    pub project: &'a Project,
    /// The host.
    pub host: &'a Host,
    /// Compose in the host's checkout, which is at the commit to run.
    pub compose: &'a Compose<'a>,
    /// What Compose says there.
    pub config: &'a Config,
    /// The lock, asked before each change.
    pub guard: &'a Guard,
    /// Messages for people.
    pub log: &'a Log,
}

/// Which services it is about.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Those whose containers are started or replaced.
    pub start: Vec<String>,
    /// Those whose containers go.
    pub remove: Vec<String>,
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether new containers have to pass the gate unseen first. A rollback goes back to
    /// what is known to be good, and quickly.
    pub trial: bool,
    /// Replace containers that are the same, all at once, and remove those of services
    /// that the compose file no longer has.
    pub full: bool,
}

/// How a service was replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replaced {
    /// In which order.
    pub order: Order,
    /// How long it took, from the first to the last of its containers.
    pub took: Duration,
    /// How long nothing of it ran, as far as Docker says: from the end of the old container to the start of the new one.
    pub gap: Option<Duration>,
}

impl Rollout<'_> {
    /// Starts or replaces the containers of `change` from the images that are there now, and removes
    /// those that leave: what holds what another one takes goes first, the others when all the rest is
    /// there. `before` is what ran; what canaries came to is added to `canaries`, also where it fails.
    ///
    /// # Errors
    /// [`Exit::Unhealthy`] if a new container is not healthy, [`Exit::VerifyFailed`] if its canary
    /// fails, and then the old ones serve on; [`Exit::Config`], [`Exit::Build`] with Compose's words; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn replace(
        &self,
        change: &Change,
        before: &[Container],
        options: Options,
        canaries: &mut Canaries,
    ) -> Result<BTreeMap<String, Replaced>> {
        let services = &change.start;
        let collisions = collision::collisions(self.config, services, &change.remove, before);
        let parties = collision::parties(&collisions);
        let free: Vec<String> = services.iter().filter(|name| !parties.contains(*name)).cloned().collect();
        let rolling = if options.full { BTreeMap::new() } else { self.rolling(&free, before).await? };
        let names: Vec<String> = rolling.keys().cloned().collect();
        let runs = |name: &String| before.iter().any(|container| container.service == *name && container.is_running());
        let questions = match options.trial {
            true => self.questions(services, &names, runs, options.full)?,
            false => BTreeMap::new(),
        };
        let later = |name: &String| runs(name) || parties.contains(name);
        let (running, idle): (Vec<_>, Vec<_>) =
            services.iter().filter(|name| !names.contains(name)).cloned().partition(later);
        if !names.is_empty() {
            // Nothing else meets them: they go at the end.
            self.clear_trials().await?;
        }
        self.finish_renames(services, before).await?;
        let mut replaced = BTreeMap::new();
        // What did not run yet may be what the new containers need.
        let (first, second) = if names.is_empty() { (Vec::new(), services.clone()) } else { (idle, running) };
        replaced.extend(self.up(&first, options).await?);
        if options.trial {
            self.trial(&names, &questions, before, canaries).await?;
        }
        self.make_way(&collisions, change).await?;
        replaced.extend(self.up(&second, options).await?);
        replaced.extend(self.roll(&names, before, options).await?);
        self.clear(Exit::Build).await?;
        self.remove_services(&change.remove, before).await?;
        Ok(replaced)
    }

    /// Lets go of what other services take.
    async fn make_way(&self, collisions: &[Collision<'_>], change: &Change) -> Result<()> {
        let mut gone = BTreeSet::new();
        for Collision { holder, taker, name, what } in collisions {
            if !gone.insert((&holder.id, *name)) {
                continue;
            }
            let host = self.guard.fenced(self.host)?;
            self.log.info(format!("on {}: {} leaves first: {taker} takes {what}", self.host.name(), holder.name));
            if change.remove.contains(&holder.service) {
                cm_engine::remove_containers(&host, std::slice::from_ref(&holder.id), Exit::Build).await?;
            } else {
                let name = name.then_some(holder.name.as_str());
                cm_engine::make_way(&host, &holder.id, name, Exit::Build).await?;
            }
        }
        Ok(())
    }

    /// Removes the containers of services that leave.
    async fn remove_services(&self, services: &[String], before: &[Container]) -> Result<()> {
        for container in before.iter().filter(|container| services.contains(&container.service)) {
            let host = self.guard.fenced(self.host)?;
            self.log.info(format!("on {}: removing {}", self.host.name(), container.name));
            cm_engine::remove_containers(&host, std::slice::from_ref(&container.id), Exit::Build).await?;
        }
        Ok(())
    }

    /// Removes what runs beside services, of this run or of one that was killed. The
    /// bridge of a service that has no running container of its own stays, and is told of.
    ///
    /// # Errors
    /// `exit` with what Docker said; [`Exit::Unreachable`].
    pub async fn clear(&self, exit: Exit) -> Result<()> {
        let strays = cm_engine::beside(self.host, &self.config.project).await?;
        if strays.is_empty() {
            return Ok(());
        }
        let now = cm_engine::containers(self.host, &self.config.project).await?;
        let runs = |service: &str| now.iter().any(|container| container.service == service && container.is_running());
        let (gone, needed): (Vec<_>, Vec<_>) =
            strays.into_iter().partition(|stray| stray.beside != BRIDGE || runs(&stray.service));
        for stray in needed {
            let (host, name) = (self.host.name(), &stray.name);
            self.log.warn(format!("on {host}: {name} stays: nothing else runs {}; deploy it again", stray.service));
        }
        self.remove(&gone, exit).await
    }

    async fn remove(&self, containers: &[Container], exit: Exit) -> Result<()> {
        if containers.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = containers.iter().map(|container| container.id.clone()).collect();
        cm_engine::remove_beside(&self.guard.fenced(self.host)?, &ids, exit).await
    }

    /// A trial of a killed run served nobody.
    async fn clear_trials(&self) -> Result<()> {
        let strays = cm_engine::beside(self.host, &self.config.project).await?;
        let trials: Vec<_> = strays.into_iter().filter(|stray| stray.beside != BRIDGE).collect();
        self.remove(&trials, Exit::Build).await
    }

    /// Compose takes a container that was left under its name on the way for a whole one.
    async fn finish_renames(&self, services: &[String], before: &[Container]) -> Result<()> {
        for container in before.iter().filter(|container| services.contains(&container.service)) {
            let definition = self.config.services.get(&container.service);
            let Some(name) = definition.and_then(|definition| definition.unfinished_name(&container.name)) else {
                continue;
            };
            // Where the old one is still there, Compose removes one of the two.
            if before.iter().all(|other| other.name != name) {
                let host = self.guard.fenced(self.host)?;
                cm_engine::rename(&host, &container.id, name, Exit::Build).await?;
                self.log.info(format!("on {}: {} is {name} again", self.host.name(), container.name));
            }
        }
        Ok(())
    }

    /// Those of `services` that run, have to be replaced and can be without a gap.
    async fn rolling(&self, services: &[String], before: &[Container]) -> Result<BTreeMap<String, Order>> {
        let mut candidates = BTreeMap::new();
        for name in services {
            let Some(definition) = self.config.services.get(name) else { continue };
            let order = Order::of(self.project, name, definition)?;
            let mut own = before.iter().filter(|container| container.service == *name);
            if order.is_rolling() && own.any(Container::is_running) && definition.replicas > 0 {
                candidates.insert(name.clone(), order);
            }
        }
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let hashes = self.compose.config_hashes().await?;
        let mut rolling = BTreeMap::new();
        for (name, order) in candidates {
            let image = cm_engine::image_id(self.host, &self.config.services[&name].image).await?;
            let same = |container: &Container| {
                container.is_running()
                    && Some(&container.image_id) == image.as_ref()
                    && hashes.get(&name) == Some(&container.config_hash)
            };
            if !before.iter().filter(|container| container.service == name).all(same) {
                rolling.insert(name, order);
            }
        }
        Ok(rolling)
    }

    async fn up(&self, services: &[String], options: Options) -> Result<BTreeMap<String, Replaced>> {
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let up = UpOptions { force_recreate: options.full, remove_orphans: options.full, wait: false };
        let host = self.guard.fenced(self.host)?;
        self.log.info(format!("on {}: starting {}", self.host.name(), services.join(", ")));
        self.log.debug(self.compose.up_command(services, up).display());
        let began = Instant::now();
        self.compose.up(&host, services, up, |line| self.log.debug(line)).await?;
        let took = began.elapsed();
        let gaps = self.gaps(services, took).await;
        let order = |name: &String| match self.config.services.get(name) {
            Some(_) if options.full => Ok(Order::StopFirst("everything is replaced".to_owned())),
            Some(definition) => Order::of(self.project, name, definition),
            None => Ok(Order::StopFirst(String::new())),
        };
        let replaced =
            |name: &String| Ok((name.clone(), Replaced { order: order(name)?, took, gap: gaps.get(name).copied() }));
        services.iter().map(replaced).collect()
    }

    /// How long each of `services` was away, within the last `took`; says it of those that somebody outside waits for.
    /// That it cannot be known fails nothing.
    async fn gaps(&self, services: &[String], took: Duration) -> BTreeMap<String, Duration> {
        let (host, project) = (self.host.name(), &self.config.project);
        let mut gaps = cm_engine::gaps(self.host, project, took).await.unwrap_or_default();
        let single = |name: &String| self.config.services.get(name).is_some_and(|one| one.replicas == 1);
        gaps.retain(|name, _| services.contains(name) && single(name));
        for (name, gap) in &gaps {
            let Some(port) = self.config.services.get(name).and_then(|definition| definition.published.first()) else {
                continue;
            };
            self.log.info(format!(
                "on {host}: {name} was away for {} ms, and for its own start after that: it publishes port {port}, which only one \
                 container can have. A proxy on the compose network makes that zero (cm-guide(7))",
                gap.as_millis()
            ));
        }
        gaps
    }

    /// New containers that nobody talks to have to be well before anything is replaced, and no
    /// worse than the old ones where `questions` has something to ask.
    async fn trial(
        &self,
        services: &[String],
        questions: &BTreeMap<String, String>,
        before: &[Container],
        canaries: &mut Canaries,
    ) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        self.log.info(format!("on {}: trying the new {}", self.host.name(), list(services)));
        let ids = self.start_beside(services, TRIAL).await;
        let settings = Settings::of(self.project.health());
        let well = match ids {
            Ok(ids) => match self.well(services, &ids, settings, |_| 1).await {
                Ok(()) => self.compare(questions, before, &ids, canaries).await,
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        let cleared = self.clear_trials().await;
        well.and(cleared)
    }

    async fn roll(
        &self,
        services: &[String],
        before: &[Container],
        options: Options,
    ) -> Result<BTreeMap<String, Replaced>> {
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let began = Instant::now();
        self.log.info(format!("on {}: replacing {} start-first", self.host.name(), list(services)));
        let bridged = match self.start_beside(services, BRIDGE).await {
            Ok(ids) => self.well(services, &ids, self.at_first_sight(services), |_| 1).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = bridged {
            // The old ones still run, so the bridges go.
            self.clear(Exit::Build).await?;
            return Err(failure);
        }
        let of = |container: &&Container| services.contains(&container.service) && container.is_running();
        self.drain(before.iter().filter(of)).await?;
        self.up(services, Options { full: false, ..options }).await?;
        let now = cm_engine::containers(self.host, &self.config.project).await?;
        let new = now.iter().filter(|container| services.contains(&container.service));
        let ids: Vec<String> = new.map(|container| container.id.clone()).collect();
        let replicas = |name: &str| self.config.services.get(name).map_or(1, |definition| definition.replicas);
        let well = self.well(services, &ids, self.at_first_sight(services), replicas).await;
        well.map_err(|failure| {
            failure.hint("a container of the new release is serving alongside it; `cm-rollback` rolls back")
        })?;
        let bridges = cm_engine::beside(self.host, &self.config.project).await?;
        self.drain(bridges.iter().filter(|bridge| bridge.beside == BRIDGE).filter(of)).await?;
        self.clear(Exit::Build).await?;
        let took = began.elapsed();
        let order = |name: &String| match self.config.services.get(name) {
            Some(definition) => Order::of(self.project, name, definition),
            None => Ok(Order::Rolling(None)),
        };
        services.iter().map(|name| Ok((name.clone(), Replaced { order: order(name)?, took, gap: None }))).collect()
    }

    /// For containers like those that passed the whole gate a moment ago. Where nothing
    /// tells that one is ready, only time does.
    fn at_first_sight(&self, services: &[String]) -> Settings {
        let tells = |name: &String| {
            let known = self.config.services.get(name).is_some_and(|definition| definition.has_healthcheck);
            known || self.project.rules(name).probe.is_some()
        };
        let settings = Settings::of(self.project.health());
        match services.iter().all(tells) {
            true => Settings { readings: 1, window: Duration::ZERO, ..settings },
            false => settings,
        }
    }

    /// Starts one container beside each service; gives their ids.
    async fn start_beside(&self, services: &[String], kind: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for service in services {
            let Some(definition) = self.config.services.get(service) else { continue };
            let host = self.guard.fenced(self.host)?;
            let name = format!("{}-{service}-{kind}-{:x}", self.config.project, now_ms() & 0xffff_ffff);
            let label = format!("{BESIDE_LABEL}={kind}");
            let beside = Beside { name: &name, label: &label, aliases: kind == BRIDGE };
            ids.push(self.compose.run_beside(&host, service, definition, &beside).await?);
        }
        Ok(ids)
    }

    async fn well(
        &self,
        services: &[String],
        ids: &[String],
        settings: Settings,
        replicas: impl Fn(&str) -> u64,
    ) -> Result<()> {
        let wanted = |name: &String| Wanted {
            replicas: u32::try_from(replicas(name)).unwrap_or(u32::MAX),
            one_shot: false,
            ..Wanted::of(self.project, name).past(Past::Containers)
        };
        let wanted: Vec<Wanted> = services.iter().map(wanted).collect();
        let gate = Gate::new(settings);
        let verdicts = gate.watch_these(self.host, &self.config.project, ids, &wanted, self.log).await?;
        let worst = |state| verdicts.iter().find(move |verdict: &&Verdict| verdict.state == state);
        match worst(State::Unhealthy).or_else(|| worst(State::Unknown)) {
            None => Ok(()),
            Some(verdict) => Err(not_well(verdict)),
        }
    }
}

/// Tells the containers beside one service apart, whoever started them.
fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()
}
