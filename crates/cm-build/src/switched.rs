//! From a host with new images to one that runs them.

use crate::building::not_stopped;
use crate::built::{Built, Parts};
use crate::room;
use crate::stopped::{Replacing, Stopped, facts};
use cm_core::facts::{BuiltHost, Reached};
use cm_core::{Action, Exit, Failure, Log, Result, Stop, interruption};
use cm_engine::Definition;
use cm_host::Fenced;
use cm_lease::Guard;
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use cm_rollout::{Change, Options, Rollout};
use futures_util::future::join_all;
use std::time::Instant;

/// A host that runs the release; nobody has looked at its health.
pub struct Switched<'a> {
    built: Built<'a>,
    replacing: Replacing,
}

impl Switched<'_> {
    /// For the document.
    pub fn facts(&self) -> BuiltHost {
        facts(&self.built, &self.replacing, Reached::Done)
    }

    /// How many services it changed.
    pub fn service_count(&self) -> usize {
        self.built.observed.site.plan.services.len()
    }

    /// The host's name.
    pub fn host_name(&self) -> &str {
        self.built.observed.site.host.name()
    }

    /// What the host is like now, for people.
    pub fn state(&self) -> String {
        self.built.state(Reached::Done)
    }
}

impl<'a> Built<'a> {
    /// Replaces the containers.
    ///
    /// # Errors
    /// With [`Exit::Build`], [`Exit::Unhealthy`], [`Exit::VerifyFailed`], [`Exit::LockLost`] or
    /// [`Exit::Unreachable`], and how far it got.
    pub async fn switch(mut self, guard: &Guard, log: &Log) -> std::result::Result<Switched<'a>, Box<Stopped<'a>>> {
        let began = Instant::now();
        let mut replacing = Replacing::default();
        let mut reached = if self.parts.images { Reached::Built } else { Reached::Moved };
        let result = self.switch_steps(&mut replacing, &mut reached, guard, log).await;
        self.parts.seconds += began.elapsed().as_secs_f64();
        match result {
            Ok(()) => Ok(Switched { built: self, replacing }),
            Err(failure) => Err(Box::new(Stopped { built: self, replacing, reached, failure })),
        }
    }

    async fn switch_steps(
        &mut self,
        done: &mut Replacing,
        reached: &mut Reached,
        guard: &Guard,
        log: &Log,
    ) -> Result<()> {
        not_stopped()?;
        let change = self.bring(guard, log).await?;
        not_stopped()?;
        self.record_pending(guard).await?;
        not_stopped()?;
        *reached = Reached::Switching;
        self.replace(&change, done, guard, log).await?;
        self.restart_and_reload(guard, log).await?;
        self.look_again(done).await?;
        match guard.is_own() {
            // The lock ends with this program, the run does not: whoever judges it comes next.
            true => self.append_pending(None, guard).await,
            false => Ok(()),
        }
    }

    /// Names the new images and writes down that they are about to run.
    async fn record_pending(&mut self, guard: &Guard) -> Result<()> {
        let (site, built) = (&self.observed.site, self.parts.images);
        let (this, host) = (&*self, &guard.fenced(site.host)?);
        let states = site.plan.services.iter().map(|service| async move {
            let state = match this.parts.config.services.get(&service.name) {
                Some(definition) if service.action != Action::Remove => {
                    this.state_of(host, definition, service.action == Action::Build).await?
                }
                _ => ServiceState { commit: this.commit(), removed: true, ..ServiceState::default() },
            };
            Ok((service.name.clone(), state))
        });
        let left = async { if built { room::free(site.host).await } else { Ok(None) } };
        let (states, left) = tokio::join!(join_all(states), left);
        let (states, left) = (states.into_iter().collect::<Result<_>>()?, left?);
        self.parts.states = states;
        self.parts.build_bytes = self.parts.free.zip(left).map(|(before, after)| before.saturating_sub(after));
        // Now the names of all images are known.
        let record = Record { services: self.parts.states.clone(), ..self.observed.site.release.record() };
        record.check_room(self.observed.site.host.name())?;
        // From here on the images are this release's: nobody shall take them for a build of his.
        let site = &self.observed.site;
        let forget = async { if built { site.compose().forget_build(host, &site.state_dir()).await } else { Ok(()) } };
        let (written, forgotten) = tokio::join!(self.append_pending(guard.nonce(), guard), forget);
        written.and(forgotten)
    }

    fn commit(&self) -> String {
        self.observed.site.release.commit().to_owned()
    }

    async fn append_pending(&self, lock: Option<String>, guard: &Guard) -> Result<()> {
        let Parts { states, build_bytes, .. } = &self.parts;
        let mut record = self.observed.site.release.record();
        record.verdict = Verdict::Pending;
        record.services.clone_from(states);
        record.irreversible.clone_from(&self.observed.irreversible);
        (record.build_bytes, record.lock) = (*build_bytes, lock);
        Ledger::append(&guard.fenced(self.observed.site.host)?, &self.observed.site.release.project, &record).await
    }

    async fn state_of(&self, fenced: &Fenced, definition: &Definition, builds: bool) -> Result<ServiceState> {
        let image = &definition.image;
        let mut state = ServiceState { commit: self.commit(), image: image.clone(), ..ServiceState::default() };
        if definition.builds && builds {
            state.tag = self.observed.site.release.tag(image);
            state.image_id = cm_engine::tag_found(fenced, image, &state.tag, Exit::Build).await?;
        } else {
            state.image_id = cm_engine::image_id(self.observed.site.host, image).await?.unwrap_or_default();
        }
        Ok(state)
    }

    /// What is to be replaced, with all that this needs where it is needed: what fails here has touched no container.
    async fn bring(&self, guard: &Guard, log: &Log) -> Result<Change> {
        let site = &self.observed.site;
        let compose = site.compose();
        let (project, host, config) = (site.project, site.host, &self.parts.config);
        let rollout = Rollout { project, host, compose: &compose, config, guard, log };
        let change = Change { start: site.plan.to_start(), remove: site.plan.with(Action::Remove), brought: None };
        let brought = tokio::select! {
            brought = rollout.bring(&change) => brought?,
            // Nothing waits for it: an image more in a registry is in nobody's way.
            exit = Stop::wait() => return Err(interruption(exit)),
        };
        Ok(Change { brought, ..change })
    }

    async fn replace(&self, change: &Change, done: &mut Replacing, guard: &Guard, log: &Log) -> Result<()> {
        let site = &self.observed.site;
        let compose = site.compose();
        let (project, host, config) = (site.project, site.host, &self.parts.config);
        let rollout = Rollout { project, host, compose: &compose, config, guard, log };
        let options = Options { trial: true, full: site.full };
        let replaced = rollout.replace(change, &self.observed.before, options, &mut done.canaries).await;
        if replaced.as_ref().is_err_and(|failure| failure.exit == Exit::Unhealthy) {
            log.warn("Some services may not be fully healthy yet");
        }
        done.replaced = replaced?;
        Ok(())
    }

    async fn restart_and_reload(&self, guard: &Guard, log: &Log) -> Result<()> {
        let site = &self.observed.site;
        let (compose, config) = (site.compose(), &self.parts.config);
        let rollout = Rollout { project: site.project, host: site.host, compose: &compose, config, guard, log };
        for (action, reload) in [(Action::Restart, false), (Action::Reload, true)] {
            for service in site.plan.with(action).iter().filter(|name| !site.plan.jobs.contains(*name)) {
                not_stopped()?;
                match reload {
                    true => rollout.reload(service, &self.observed.before).await?,
                    false => rollout.restart(service).await?,
                }
            }
        }
        Ok(())
    }

    /// What runs now, by Docker's own word: the gate compares with it.
    async fn look_again(&mut self, done: &mut Replacing) -> Result<()> {
        let site = &self.observed.site;
        let now = cm_engine::containers(site.host, &self.observed.compose_project).await?;
        for service in site.plan.to_start() {
            let containers: Vec<_> = now.iter().filter(|container| container.service == service).collect();
            done.containers.insert(service.clone(), containers.iter().map(|container| container.id.clone()).collect());
            let Some(state) = self.parts.states.get_mut(&service) else { continue };
            if let Some(container) = containers.first() {
                state.config_hash.clone_from(&container.config_hash);
                if state.image_id.is_empty() {
                    state.image_id.clone_from(&container.image_id);
                }
            } else if self.parts.config.services.get(&service).is_some_and(|definition| definition.replicas > 0) {
                let message =
                    format!("on {}: service {service} has no container after `docker compose up`", site.host.name());
                return Err(Failure::new(Exit::Build, "build.no-container", message));
            }
        }
        Ok(())
    }
}
