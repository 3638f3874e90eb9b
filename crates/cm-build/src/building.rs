//! From a host as it was found to one that is built, or back: the checkout is moved, old images get names to stay
//! by, new ones are built. No container is touched.

use crate::build_log::BuildLog;
use crate::built::{Built, Parts};
use crate::estimate;
use crate::observed::Observed;
use crate::preview::there;
use crate::room;
use crate::stopped::Stopped;
use cm_checkout::is_unmoved;
use cm_core::facts::Reached;
use cm_core::{Action, Exit, Failure, Journal, Log, Result, Stop, interruption, plural};
use cm_engine::invocation::build_arguments;
use cm_engine::{BuildOptions, Compose, Config};
use cm_host::{Begun, Fenced};
use cm_lease::Guard;
use cm_ledger::{Ledger, Record, Verdict};
use cm_rollout::{Rollout, keep_old_images};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

impl<'a> Observed<'a> {
    /// Brings the checkout to the commit and builds the images. The lock is verified in the same request as
    /// each change.
    ///
    /// # Errors
    /// With [`Exit::Build`], [`Exit::LockLost`] or [`Exit::Unreachable`], and how far it got.
    pub async fn build(mut self, guard: &Guard, log: &Log) -> std::result::Result<Built<'a>, Box<Stopped<'a>>> {
        let began = Instant::now();
        let (mut parts, mut reached) = (Parts::default(), Reached::Nothing);
        let result = self.build_steps(&mut parts, &mut reached, guard, log).await;
        parts.seconds = began.elapsed().as_secs_f64();
        match result {
            Ok(()) => Ok(Built { observed: self, parts }),
            Err(failure) => Err(Box::new(Stopped::new(Built { observed: self, parts }, reached, failure))),
        }
    }

    async fn build_steps(&mut self, parts: &mut Parts, reached: &mut Reached, guard: &Guard, log: &Log) -> Result<()> {
        let (host, release) = (self.site.host, self.site.release);
        not_stopped()?;
        if !self.site.plan.with(Action::Build).is_empty() {
            parts.free = room::make(self.site.project, host, &self.ledger, self.free, guard, log).await?;
        }
        self.record_started(guard).await?;
        not_stopped()?;
        let fenced = guard.fenced(host)?;
        self.make_checkout(&fenced, log).await?;
        log.info(format!("on {}: moving {} to {}", host.name(), self.site.plan.checkout, release.short()));
        *reached = Reached::Moving;
        let (checkout, snapshots) = (self.site.checkout(host), self.site.snapshots());
        let moved = checkout.move_to(&fenced, release.commit(), &snapshots, release.id()).await;
        if moved.as_ref().is_err_and(is_unmoved) {
            *reached = Reached::Nothing;
        }
        parts.protected = moved?;
        *reached = Reached::Moved;
        let compose = self.site.compose();
        let plan = &self.site.plan;
        let replaced = plan.to_start().into_iter().chain(plan.with(Action::Remove)).collect();
        let fenced = guard.fenced(host)?;
        let (config, kept, there) = tokio::join!(
            compose.all_of(None),
            keep_old_images(&fenced, &self.before, &replaced, release.id()),
            there(self.site.project, plan, host)
        );
        let config = config?;
        cm_engine::accepts(self.site.project, host, &config, log).await?;
        parts.config = Config::read(&config);
        if self.head.is_empty() {
            // Nobody could say for sure before there was a compose file.
            self.compose_project.clone_from(&parts.config.project);
        }
        let awaited = parts.config.jobs();
        let names = self.site.plan.names().into_iter().map(str::to_owned);
        parts.job_services = names.filter(|name| self.site.project.is_job_of(name, &awaited)).collect();
        self.site.plan.jobs.clone_from(&parts.job_services);
        kept?;
        not_stopped()?;
        self.pull_images(parts, &there, guard, log).await?;
        self.build_images(parts, &compose, guard, log).await?;
        if parts.images {
            *reached = Reached::Built;
        }
        not_stopped()
    }

    /// Before the first change: whoever comes next knows that somebody was here.
    async fn record_started(&self, guard: &Guard) -> Result<()> {
        let mut record = Record { lock: guard.nonce(), ..self.site.release.record() };
        record.verdict = Verdict::Started;
        record.directory.clone_from(&self.directory);
        Ledger::append(&guard.fenced(self.site.host)?, &self.site.release.project, &record).await
    }

    /// A server's first deployment brings the checkout, around what lies in its directory.
    async fn make_checkout(&self, fenced: &Fenced, log: &Log) -> Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let (host, release) = (self.site.host.name(), self.site.release);
        log.info(format!("on {host}: making the checkout {} from {origin}", self.site.plan.checkout));
        let checkout = self.site.checkout(fenced).telling(log);
        tokio::select! {
            made = checkout.make(fenced, origin, release.branch(), release.commit()) => made?,
            exit = Stop::wait() => return Err(interruption(exit)),
        }
        let branch = Some(release.branch()).filter(|branch| !branch.is_empty());
        let state = checkout.prepare(branch, release.commit()).await?;
        if self.site.discard { Ok(()) } else { checkout.nothing_lost(&state) }
    }

    /// Before the build: a registry that refuses an image is better known at once.
    async fn pull_images(&self, parts: &Parts, there: &BTreeSet<String>, guard: &Guard, log: &Log) -> Result<()> {
        let (project, host, compose) = (self.site.project, self.site.host, self.site.compose());
        let rollout = Rollout { project, host, compose: &compose, config: &parts.config, guard, log };
        let services = self.site.plan.to_run();
        tokio::select! {
            pulled = rollout.pull(&services, there) => pulled,
            exit = Stop::wait() => Err(interruption(exit)),
        }
    }

    async fn build_images(&self, parts: &mut Parts, compose: &Compose<'_>, guard: &Guard, log: &Log) -> Result<()> {
        let (host, release) = (self.site.host.name(), self.site.release);
        let builds = |name: &String| parts.config.services.get(name).is_some_and(|definition| definition.builds);
        let mut services: Vec<_> = self.site.plan.with(Action::Build).into_iter().filter(builds).collect();
        let built = self.built_before(&services, &parts.config).await?;
        if !built.is_empty() {
            log.info(format!("on {host}: built by this run before, not again: {}", built.join(", ")));
            services.retain(|name| !built.contains(name));
        }
        if services.is_empty() {
            return Ok(());
        }
        log.info(format!("on {host}: building {}", services.join(", ")));
        let state = self.site.state_dir();
        log.debug(compose.shown(&["-"], &build_arguments(&services, self.site.full)));
        let options = BuildOptions { revision: release.commit(), state: &state, no_cache: self.site.full };
        let last = |name: &String| Some((name.clone(), self.ledger.last_build(name)?));
        let last: BTreeMap<_, _> = services.iter().filter_map(last).collect();
        let before: Vec<_> = Journal::before(&release.project, release.id()).take_while(|_| log.is_live()).collect();
        estimate::whole(&before, &services, &last).into_iter().for_each(|more| log.expect(more));
        let steps = estimate::steps(&before, host, &services);
        let mut said = BuildLog::new(Journal::of(release.id()).dir(), host, &services).with_last(last, &steps);
        let fenced = guard.fenced(self.site.host)?;
        let names = if services.len() > 2 { plural(services.len() as u64, "service") } else { services.join(", ") };
        let task = log.task(&format!("{host}: {names}")).at(host, None);
        let building = compose.build(&fenced, &parts.config, &services, &options, |line| {
            log.debug(line);
            said.line(line);
            task.of(said.service());
            task.note(&said.now());
            task.part(said.part());
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
            Begun::Before => log.info(format!("on {host}: resumed the build of a run that ended")),
            Begun::AndEnded => log.info(format!("on {host}: took the build of a run that ended")),
        }
        parts.images = true;
        parts.build_times = said.times();
        Ok(())
    }

    /// Services whose image this very run has built and written down, before it was interrupted and resumed.
    async fn built_before(&self, services: &[String], config: &Config) -> Result<Vec<String>> {
        let (mut built, release) = (Vec::new(), self.site.release);
        if !release.resumed {
            return Ok(built);
        }
        let ledger = Ledger::read(self.site.host, &release.project).await?;
        let Some(recorded) = ledger.record(release.id()) else { return Ok(built) };
        for (name, definition) in services.iter().filter_map(|name| Some((name, config.services.get(name)?))) {
            let recorded = recorded.services.get(name).map(|state| &state.image_id).filter(|id| !id.is_empty());
            let now = cm_engine::image_id(self.site.host, &definition.image).await?;
            if recorded.is_some() && recorded == now.as_ref() {
                built.push(name.clone());
            }
        }
        Ok(built)
    }
}

impl<'a> Built<'a> {
    /// Leaves the host as it was: the checkout where it was, and the names of images with those that run.
    /// Nothing was switched, so that nothing has to be rolled back.
    pub async fn leave(self, failure: Failure, guard: &Guard, log: &Log) -> Box<Stopped<'a>> {
        let left = self.put_back(guard).await;
        let reached = match &left {
            Ok(()) => Reached::Nothing,
            Err(also) => {
                log.warn(format!(
                    "on {}: the checkout or a name of an image stays new: {also}",
                    self.observed.site.host.name()
                ));
                if self.parts.images { Reached::Built } else { Reached::Moved }
            }
        };
        Box::new(Stopped::new(self, reached, failure))
    }

    async fn put_back(&self, guard: &Guard) -> Result<()> {
        let (observed, site) = (&self.observed, &self.observed.site);
        let fenced = guard.fenced(site.host)?;
        // The next build of this commit must give the images their names again.
        self.observed.site.compose().forget_build(&fenced, &site.state_dir()).await?;
        let built = site.plan.with(Action::Build);
        for container in observed.before.iter().filter(|container| built.contains(&container.service)) {
            if !container.image_id.is_empty() && !container.image.starts_with("sha256:") {
                cm_engine::tag(&fenced, &container.image_id, &container.image, Exit::Build).await?;
            }
        }
        if !observed.head.is_empty() {
            let snapshot = format!("{}-back", site.release.id());
            site.checkout(site.host).move_to(&fenced, &observed.head, &site.snapshots(), &snapshot).await?;
        }
        Ok(())
    }
}

/// Whether somebody pressed Ctrl-C.
pub fn not_stopped() -> Result<()> {
    Stop::requested().map_or(Ok(()), |exit| Err(interruption(exit)))
}
