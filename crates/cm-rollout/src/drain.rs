//! An old container is asked to take no more work before it is stopped, while another one serves.

use crate::rollout::Rollout;
use cm_core::{Exit, Result, Stop};
use cm_engine::Container;
use std::time::Duration;

impl Rollout<'_> {
    /// Runs the `drain` commands of cm.toml in `containers`, and waits as long as the longest of them says.
    /// A command that fails keeps no container from being stopped; it is told of.
    ///
    /// # Errors
    /// [`Exit::LockLost`], [`Exit::Unreachable`].
    pub(crate) async fn drain<'c>(&self, containers: impl IntoIterator<Item = &'c Container>) -> Result<()> {
        let mut wait = Duration::ZERO;
        for container in containers {
            let Some(drain) = self.project.rules(&container.service).drain else { continue };
            let (host, name) = (self.host.name(), &container.name);
            self.log.info(format!("on {host}: draining {name} for {:.1} s", drain.wait.as_secs_f64()));
            if !drain.command.is_empty() {
                let fenced = self.guard.fenced(self.host)?;
                match cm_engine::exec(&fenced, &container.id, &drain.command, Exit::Build, "rollout.drain").await {
                    Err(failure) if failure.exit == Exit::Build => {
                        self.log
                            .warn(format!("on {host}: {name} was not drained, and is stopped all the same: {failure}"));
                    }
                    other => drop(other?),
                }
            }
            wait = wait.max(drain.wait);
        }
        // Both containers serve: whoever wants to stop waits for nothing.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _stop = Stop::wait() => {}
        }
        Ok(())
    }
}
