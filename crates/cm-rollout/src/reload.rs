//! Containers that stay, and read their files again.

use crate::rollout::Rollout;
use cm_core::{Exit, Result};
use cm_engine::Container;
use cm_engine::invocation::restart_arguments;

impl Rollout<'_> {
    /// Reloads a service if its container sees the new files; restarts it otherwise: a single mounted file that
    /// git replaced has a new inode, which the container does not follow, and a reload there would read the
    /// old content and succeed.
    ///
    /// # Errors
    /// [`Exit::Build`] with what it said; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn reload(&self, service: &str, before: &[Container]) -> Result<()> {
        let rules = self.project.rules(service);
        let container = before.iter().find(|container| container.service == service && container.is_running());
        let Some(container) = container.filter(|_| !rules.reload.is_empty()) else {
            return self.restart(service).await;
        };
        let host = self.guard.fenced(self.host)?;
        if cm_engine::stale_mount(self.host, container).await?.is_some() {
            self.log.info(format!("on {}: {service} does not see the new file through its mount", self.host.name()));
            return self.restart(service).await;
        }
        self.log.info(format!("on {}: reloading {service}", self.host.name()));
        if !rules.validate.is_empty() {
            cm_engine::exec(&host, &container.id, &rules.validate, Exit::Build, "build.validate").await?;
        }
        cm_engine::exec(&host, &container.id, &rules.reload, Exit::Build, "build.reload").await.map(drop)
    }

    /// Restarts a service.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn restart(&self, service: &str) -> Result<()> {
        let host = self.guard.fenced(self.host)?;
        self.log.info(format!("on {}: restarting {service}", self.host.name()));
        self.log.debug(self.compose.shown(&[], &restart_arguments(service)));
        self.compose.restart(&host, service).await
    }
}
