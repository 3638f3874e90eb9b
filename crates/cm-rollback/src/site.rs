//! What both phases of a rollback need of a host.

use crate::Args;
use cm_core::{Result, Run};
use cm_engine::Container;
use cm_host::{Fenced, Host};
use cm_lease::Guard;
use cm_ledger::Ledger;
use cm_project::Project;

/// A host and the run that rolls it back.
pub struct Site<'a> {
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
}

impl Site<'_> {
    /// The handle that changes the host: each of its commands asks there whether the lock holds.
    pub fn fenced(&self) -> Result<Fenced> {
        self.guard.fenced(self.host)
    }

    /// The project's containers.
    pub async fn containers(&self, compose_project: &str) -> Result<Vec<Container>> {
        cm_engine::containers(self.host, compose_project).await
    }
}
