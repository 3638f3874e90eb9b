//! A host whose files and images are those of the target: now its data and its containers follow.

use crate::site::Site;
use crate::target::HostTarget;
use crate::{database, verification};
use cm_core::{Exit, Result};
use cm_engine::{Compose, Config};
use cm_ledger::ServiceState;
use cm_rollout::{Canaries, Change, Options, Rollout};
use std::collections::BTreeSet;

/// A host that is ready to be switched. Whatever happens from here on, the ledger says what runs.
pub struct Ready<'a> {
    /// The host.
    pub site: &'a Site<'a>,
    /// Compose in the checkout.
    pub compose: Compose<'a>,
    /// What Compose says of the target's files.
    pub config: Config,
}

impl Ready<'_> {
    /// Brings back the data and the containers, and waits until the services are healthy.
    ///
    /// # Errors
    /// [`Exit::RollbackFailed`], [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn switch(&self, target: &HostTarget) -> Result<()> {
        self.restore_data(target).await?;
        let Site { project, host, guard, run, .. } = *self.site;
        let (services, new) = self.changed(target);
        let rollout = Rollout { project, host, compose: &self.compose, config: &self.config, guard, log: &run.log };
        let now = self.site.containers(&self.config.project).await?;
        let change = Change { start: services.clone(), remove: new, brought: None };
        rollout.replace(&change, &now, Options::default(), &mut Canaries::new()).await?;
        self.follow_mounts(&services).await?;
        verification::gate(project, host, &self.config.project, &self.wanted(target), run).await
    }

    /// The services whose containers come back, and those that came with the release and go. A rollback runs no job.
    pub fn changed(&self, target: &HostTarget) -> (Vec<String>, Vec<String>) {
        changed(target, &self.config.jobs())
    }

    fn wanted<'t>(&self, target: &'t HostTarget) -> Vec<(&'t str, &'t ServiceState)> {
        let jobs = self.config.jobs();
        let services = target.choice.services.iter().filter(|(name, _)| !jobs.contains(*name));
        services.filter_map(|(name, state)| Some((name.as_str(), state.as_ref()?))).collect()
    }

    /// The data as it was before the first irreversible release; nobody writes meanwhile.
    async fn restore_data(&self, target: &HostTarget) -> Result<()> {
        if target.backups.is_empty() {
            return Ok(());
        }
        let Site { project, host, guard, run, .. } = *self.site;
        let fenced = self.site.fenced()?;
        let (back, new) = changed(target, &BTreeSet::new());
        // What came with the release is in no compose file any more.
        let now = self.site.containers(&self.config.project).await?;
        let new = now.iter().filter(|container| new.contains(&container.service));
        let ids: Vec<String> = new.map(|container| container.id.clone()).collect();
        cm_engine::remove_containers(&fenced, &ids, Exit::RollbackFailed).await?;
        let stop: Vec<&str> = ["stop"].into_iter().chain(back.iter().map(String::as_str)).collect();
        self.compose.change(&fenced, &stop).to_its_end().text(Exit::RollbackFailed, "rollback.stop").await?;
        for backup in &target.backups {
            guard.check(host).await?;
            database::restore(project, backup, guard, &run.log).await?;
        }
        Ok(())
    }

    /// A container that `up` left alone may hold a mounted file of the failed release.
    async fn follow_mounts(&self, services: &[String]) -> Result<()> {
        let Site { host, run, .. } = *self.site;
        let now = self.site.containers(&self.config.project).await?;
        for container in now.iter().filter(|found| services.contains(&found.service) && found.is_running()) {
            if let Some(file) = cm_engine::stale_mount(host, container).await? {
                let service = &container.service;
                run.log.info(format!("on {}: restarting {service}, which sees another {file}", host.name()));
                self.compose.restart(&self.site.fenced()?, service).await?;
            }
        }
        Ok(())
    }
}

fn changed(target: &HostTarget, jobs: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let services = target.choice.services.iter().filter(|(name, _)| !jobs.contains(*name));
    let (back, new): (Vec<_>, Vec<_>) = services.partition(|(_, state)| state.is_some());
    let names = |services: Vec<(&String, _)>| services.into_iter().map(|(name, _)| name.clone()).collect();
    (names(back), names(new))
}
