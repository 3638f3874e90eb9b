//! What replaces containers on one host, what it is asked for, and what it answers.

use crate::brought::Brought;
use crate::order::Order;
use cm_core::Log;
use cm_engine::{Compose, Config, UpOptions};
use cm_host::Host;
use cm_lease::Guard;
use cm_project::Project;
use std::time::Duration;

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
    /// What [`Rollout::bring`] came to; where nobody asked for it, it is done first.
    pub brought: Option<Brought>,
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether new containers have to pass the gate unseen first. A rollback returns to
    /// what is known to be good, and quickly.
    pub trial: bool,
    /// Replace containers that are the same, all at once, and remove those of services
    /// that the compose file no longer has.
    pub full: bool,
}

impl Options {
    /// The same for `docker compose up`.
    pub(crate) fn up(self) -> UpOptions {
        UpOptions { force_recreate: self.full, remove_orphans: self.full, wait: false }
    }
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
