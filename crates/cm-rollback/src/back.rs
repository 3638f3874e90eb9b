//! One host is rolled back: env file, checkout, image names, data, containers, gate, ledger.

use crate::record::Words;
use crate::runs::Runs;
use crate::target::HostTarget;
use crate::{Args, database, down, env, proof, rebuild, runs};
use cm_checkout::Checkout;
use cm_core::facts::RolledBackHost;
use cm_core::{Exit, Failure, Result, Run};
use cm_engine::{Compose, Container};
use cm_host::{Fenced, Host};
use cm_lease::Guard;
use cm_ledger::{JobState, Ledger, Record, ServiceState, state_dir};
use cm_project::Project;
use cm_rollout::{Canaries, Change, Options, Rollout, in_the_way};
use std::collections::{BTreeMap, BTreeSet};

/// How it ended on a host.
pub struct Outcome {
    /// Why it did not get there, if it did not: else it runs what it ran, and the gate saw it healthy.
    pub failure: Option<Failure>,
    /// What runs there now; only of a rollback that failed.
    pub runs: Runs,
}

impl Outcome {
    /// For the document.
    pub fn facts(&self, target: &HostTarget) -> RolledBackHost {
        let outcome = self.failure.as_ref().map_or_else(|| "healthy".to_owned(), |failure| failure.message.clone());
        RolledBackHost { outcome: Some(outcome), runs: self.runs.facts(), ..target.facts() }
    }
}

/// The rollback of one host.
pub struct Back<'a> {
    /// The project.
    pub project: &'a Project,
    /// The command line.
    pub args: &'a Args,
    /// The host.
    pub host: &'a Host,
    /// Its ledger, as it was before.
    pub ledger: &'a Ledger,
    /// The deploy lock.
    pub guard: &'a Guard,
    /// The run this belongs to.
    pub run: &'a Run,
    /// Whether containers are being replaced: from then on the ledger says what runs.
    pub switched: bool,
    /// The jobs whose effect on the data is undone.
    pub undone: BTreeMap<String, JobState>,
}

impl Back<'_> {
    /// Takes the host back and records how it ended.
    pub async fn carry_out(&mut self, target: &mut HostTarget) -> Outcome {
        let failure = self.steps(target).await.err();
        if let Some(failure) = &failure
            && !self.switched
        {
            self.leave_as_it_was(target, failure).await;
        }
        let runs = match &failure {
            Some(_) => runs::look(self.project, self.host, target, &self.run.log).await,
            None => Runs::default(),
        };
        // Who holds the lock now writes the ledger now.
        let recorded = match &failure {
            Some(lost) if lost.exit == Exit::LockLost => Ok(()),
            _ => self.append(self.words(target).outcome(failure.as_ref(), &runs, self.switched)).await,
        };
        Outcome { failure: failure.or(recorded.err()), runs }
    }

    fn words<'b>(&'b self, target: &'b HostTarget) -> Words<'b> {
        Words { ledger: self.ledger, target, doc: &self.run.doc, undone: &self.undone }
    }

    async fn append(&self, records: Vec<Record>) -> Result<()> {
        for record in &records {
            Ledger::append(&self.fenced()?, &self.project.name(), record).await?;
        }
        Ok(())
    }

    /// The handle that changes the host: each of its commands asks there whether the lock holds.
    fn fenced(&self) -> Result<Fenced> {
        self.guard.fenced(self.host)
    }

    fn checkout(&self, target: &HostTarget) -> Checkout<'_> {
        Checkout::new(self.host, &target.checkout, self.project.remote(), &self.project.protected())
    }

    fn snapshots(&self) -> String {
        format!("{}/snapshots", state_dir(&self.project.name()))
    }

    fn snapshot(&self) -> String {
        format!("{}-back", self.run.doc.run_id())
    }

    async fn steps(&mut self, target: &mut HostTarget) -> Result<()> {
        self.undone = match target.backups.as_slice() {
            // The data comes back as a whole.
            [_, ..] => down::undone(&down::left(self.ledger, target)),
            [] => down::run(self.project, self.host, target, self.ledger, self.guard, self.run).await?,
        };
        self.move_checkout(target).await?;
        for state in target.choice.services.values().flatten().filter(|state| !state.image_id.is_empty()) {
            cm_engine::tag(&self.fenced()?, &state.image_id, &state.image, Exit::RollbackFailed).await?;
        }
        let compose = Compose::of(self.project, self.host, &target.checkout);
        let config = compose.config().await?;
        let compose_project = config.project.clone();
        let now = self.containers(&compose_project).await?;
        for name in in_the_way(&config, &changed(target, &config.jobs()).0, &now) {
            let host = self.host.name();
            self.run.log.warn(format!("on {host}: {name} came later and is in the way of what comes back: it goes"));
            target.choice.services.insert(name, None);
        }
        // Written first: whatever ends this program, nobody takes what was left for what runs.
        self.append(vec![Record { lock: self.guard.nonce(), ..self.words(target).pending() }]).await?;
        self.switched = true;
        self.restore_data(&compose, &compose_project, target).await?;
        let (services, new) = changed(target, &config.jobs());
        let (project, host, guard, log) = (self.project, self.host, self.guard, &self.run.log);
        let rollout = Rollout { project, host, compose: &compose, config: &config, guard, log };
        let now = self.containers(&compose_project).await?;
        let change = Change { start: services.clone(), remove: new };
        rollout.replace(&change, &now, Options::default(), &mut Canaries::new()).await?;
        self.follow_mounts(&compose, &compose_project, &services).await?;
        proof::gate(self.project, self.host, &compose_project, &wanted(target, &config.jobs()), self.run).await
    }

    /// The files of the release, around the host's own.
    async fn move_checkout(&self, target: &mut HostTarget) -> Result<()> {
        let (snapshots, snapshot) = (self.snapshots(), self.snapshot());
        let checkout = self.checkout(target);
        self.keep_changes(&checkout, target).await?;
        if !target.gone.is_empty() {
            rebuild::rebuild(self.project, &self.fenced()?, &checkout, target, &snapshots, self.run).await?;
        }
        checkout.move_to(&self.fenced()?, &target.choice.commit, &snapshots, &snapshot).await?;
        if let (true, Some(release)) = (self.args.with_env, &target.choice.release) {
            env::restore(self.project, &self.fenced()?, &target.checkout, release, &self.run.log).await?;
        }
        Ok(())
    }

    /// Nothing was switched: the checkout should not say otherwise.
    async fn leave_as_it_was(&self, target: &HostTarget, failure: &Failure) {
        if matches!(failure.exit, Exit::LockLost | Exit::Unreachable) || target.head.is_empty() {
            return;
        }
        let moved = async {
            let fenced = self.fenced()?;
            self.checkout(target).move_to(&fenced, &target.head, &self.snapshots(), &self.snapshot()).await
        };
        if let Err(also) = moved.await {
            self.run.log.warn(format!("the checkout was left partway: {also}"));
        }
    }

    /// Going back is not stopped by a file that somebody changed by hand, and does not lose it.
    async fn keep_changes(&self, checkout: &Checkout<'_>, target: &HostTarget) -> Result<()> {
        if target.endangered.is_empty() {
            return Ok(());
        }
        let (snapshots, snapshot) = (self.snapshots(), self.snapshot());
        checkout.keep(&self.fenced()?, &target.endangered, &snapshots, &snapshot).await?;
        let (first, more) = (&target.endangered[0], target.endangered.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.run.log.warn(format!(
            "on {}: {first}{more} in {} was no commit's; a copy is in {snapshots}/{snapshot}",
            self.host.name(),
            target.checkout
        ));
        Ok(())
    }

    /// The data as it was before the first irreversible release; nobody writes meanwhile.
    async fn restore_data(&self, compose: &Compose<'_>, compose_project: &str, target: &HostTarget) -> Result<()> {
        if target.backups.is_empty() {
            return Ok(());
        }
        let fenced = self.fenced()?;
        let (back, new) = changed(target, &BTreeSet::new());
        // What came with the release is in no compose file any more.
        let now = self.containers(compose_project).await?;
        let new = now.iter().filter(|container| new.contains(&container.service));
        let ids: Vec<String> = new.map(|container| container.id.clone()).collect();
        cm_engine::remove_containers(&fenced, &ids, Exit::RollbackFailed).await?;
        let stop: Vec<&str> = ["stop"].into_iter().chain(back.iter().map(String::as_str)).collect();
        compose.change(&fenced, &stop).to_its_end().text(Exit::RollbackFailed, "rollback.stop").await?;
        for backup in &target.backups {
            self.guard.check(self.host).await?;
            database::restore(self.project, backup, self.guard, &self.run.log).await?;
        }
        Ok(())
    }

    /// A container that `up` left alone may hold a mounted file of the failed release.
    async fn follow_mounts(&self, compose: &Compose<'_>, compose_project: &str, services: &[String]) -> Result<()> {
        let now = self.containers(compose_project).await?;
        for container in now.iter().filter(|found| services.contains(&found.service) && found.is_running()) {
            if let Some(file) = cm_engine::stale_mount(self.host, container).await? {
                let service = &container.service;
                self.run.log.info(format!("on {}: restarting {service}, which sees another {file}", self.host.name()));
                compose.restart(&self.fenced()?, service).await?;
            }
        }
        Ok(())
    }

    async fn containers(&self, compose_project: &str) -> Result<Vec<Container>> {
        cm_engine::containers(self.host, compose_project).await
    }
}

/// The services whose containers come back, and those that came with the release and go. A rollback runs no job.
fn changed(target: &HostTarget, jobs: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let services = target.choice.services.iter().filter(|(name, _)| !jobs.contains(*name));
    let (back, new): (Vec<_>, Vec<_>) = services.partition(|(_, state)| state.is_some());
    let names = |services: Vec<(&String, _)>| services.into_iter().map(|(name, _)| name.clone()).collect();
    (names(back), names(new))
}

fn wanted<'a>(target: &'a HostTarget, jobs: &BTreeSet<String>) -> Vec<(&'a str, &'a ServiceState)> {
    let services = target.choice.services.iter().filter(|(name, _)| !jobs.contains(*name));
    services.filter_map(|(name, state)| Some((name.as_str(), state.as_ref()?))).collect()
}
