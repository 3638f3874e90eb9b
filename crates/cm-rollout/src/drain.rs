//! An old container is asked to take no more work before it is stopped, while another one serves.

use crate::rollout::Rollout;
use cm_core::{Exit, Result, Stop};
use cm_engine::{Container, Health};
use cm_project::{Drain, DrainedWhen};
use std::time::{Duration, Instant};

/// How often an old container's health is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A container that is being drained.
struct Draining<'c> {
    container: &'c Container,
    drain: Drain,
}

impl Rollout<'_> {
    /// Does with `containers` what `drain` in cm.toml says: runs its command, and waits as long as it says, or until
    /// their health checks say no. What fails there keeps no container from being stopped; it is told of.
    ///
    /// # Errors
    /// [`Exit::LockLost`], [`Exit::Unreachable`].
    pub(crate) async fn drain<'c>(&self, containers: impl IntoIterator<Item = &'c Container>) -> Result<()> {
        let drained = |container: &'c Container| {
            let drain = self.project.rules(&container.service).drain?;
            Some(Draining { container, drain })
        };
        let draining: Vec<Draining<'_>> = containers.into_iter().filter_map(drained).collect();
        for Draining { container, drain } in &draining {
            let (host, seconds) = (self.host.name(), drain.wait.as_secs_f64());
            let words = match drain.until {
                None => format!("for {seconds:.1} s"),
                Some(DrainedWhen::Unhealthy) => format!("until its health check says no, for at most {seconds:.1} s"),
            };
            self.log.info(format!("on {host}: draining {} {words}", container.name));
            self.refuse_work(container, &drain.command).await?;
        }
        // Both containers serve: whoever wants to stop waits for nothing.
        tokio::select! {
            waited = self.wait(draining) => waited,
            _stop = Stop::wait() => Ok(()),
        }
    }

    async fn refuse_work(&self, container: &Container, command: &[String]) -> Result<()> {
        if command.is_empty() {
            return Ok(());
        }
        let fenced = self.guard.fenced(self.host)?;
        match cm_engine::exec(&fenced, &container.id, command, Exit::Build, "rollout.drain").await {
            Err(failure) if failure.exit == Exit::Build => {
                let (host, name) = (self.host.name(), &container.name);
                self.log.warn(format!("on {host}: {name} was not drained, and is stopped all the same: {failure}"));
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Waits for all of them.
    async fn wait(&self, mut draining: Vec<Draining<'_>>) -> Result<()> {
        let began = Instant::now();
        loop {
            let watched: Vec<String> = draining
                .iter()
                .filter(|one| one.drain.until == Some(DrainedWhen::Unhealthy))
                .map(|one| one.container.id.clone())
                .collect();
            if !watched.is_empty() {
                let now = cm_engine::containers_with_ids(self.host, &watched).await?;
                draining.retain(|one| one.drain.until.is_none() || !is_drained(&one.container.id, &now));
            }
            let (over, left): (Vec<_>, Vec<_>) =
                draining.into_iter().partition(|one| began.elapsed() >= one.drain.wait);
            over.iter().filter(|one| one.drain.until.is_some()).for_each(|one| self.still_healthy(one));
            if left.is_empty() {
                return Ok(());
            }
            draining = left;
            tokio::time::sleep(LOOK).await;
        }
    }

    fn still_healthy(&self, one: &Draining<'_>) {
        let (host, name, seconds) = (self.host.name(), &one.container.name, one.drain.wait.as_secs_f64());
        let why = match one.container.health {
            Health::None => "it has no health check",
            _ => "its health check never said no",
        };
        self.log.warn(format!("on {host}: {name} is stopped after {seconds:.1} s of draining: {why}"));
    }
}

/// Whether a container takes no more work, by what is seen `now`. One that has ended takes none.
fn is_drained(id: &str, now: &[Container]) -> bool {
    let container = now.iter().find(|container| container.id == id);
    container.is_none_or(|container| !container.is_running() || container.health == Health::Unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_is_drained_when_its_check_says_no_or_it_is_gone() {
        let container = |status: &str, health: &str| {
            vec![Container::read(&json!({"Id": "a", "State": {"Status": status, "Health": {"Status": health}}}))]
        };
        assert!(!is_drained("a", &container("running", "healthy")));
        assert!(!is_drained("a", &container("running", "starting")));
        assert!(is_drained("a", &container("running", "unhealthy")));
        assert!(is_drained("a", &container("exited", "healthy")));
        assert!(is_drained("a", &[]));
    }
}
