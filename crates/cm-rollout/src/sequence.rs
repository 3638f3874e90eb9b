//! In which order the containers of a host change, worked out once: carried out by `replace`, and shown
//! before by a dry run.

use crate::collision::{self, Collision};
use crate::order::Order;
use crate::rollout::{Change, Options};
use cm_core::Result;
use cm_engine::{Config, Container};
use cm_project::{Job, Project};
use std::collections::{BTreeMap, BTreeSet};

/// What is in the way, and which services are started before and after the trials of the rolling ones.
pub(crate) struct Sequence<'a> {
    /// What leaves before what takes its place comes.
    pub collisions: Vec<Collision<'a>>,
    /// Services that are replaced with the new container first.
    pub rolling: Vec<String>,
    /// What did not run yet: it may be what the new containers need.
    pub first: Vec<String>,
    /// What is replaced stop-first.
    pub second: Vec<String>,
}

/// What collides, and the services that nothing keeps from running twice.
pub(crate) fn collisions<'a>(
    config: &Config,
    change: &Change,
    before: &'a [Container],
) -> (Vec<Collision<'a>>, Vec<String>) {
    let collisions = collision::collisions(config, &change.start, &change.remove, before);
    let parties = collision::parties(&collisions);
    let free = change.start.iter().filter(|name| !parties.contains(*name)).cloned().collect();
    (collisions, free)
}

impl<'a> Sequence<'a> {
    /// The sequence when the services `rolling` are replaced with the new container first.
    pub fn new(collisions: Vec<Collision<'a>>, rolling: Vec<String>, change: &Change, before: &[Container]) -> Self {
        let parties = collision::parties(&collisions);
        let later = |name: &String| runs(before, name) || parties.contains(name);
        let rest = change.start.iter().filter(|name| !rolling.contains(name)).cloned();
        let (running, idle): (Vec<_>, Vec<_>) = rest.partition(later);
        match rolling.is_empty() {
            true => Sequence { collisions, rolling, first: Vec::new(), second: change.start.clone() },
            false => Sequence { collisions, rolling, first: idle, second: running },
        }
    }
}

/// Those of `services` that run and can be replaced without a gap.
pub(crate) fn candidates(
    project: &Project,
    config: &Config,
    services: &[String],
    before: &[Container],
    options: Options,
) -> Result<BTreeMap<String, Order>> {
    let mut candidates = BTreeMap::new();
    for name in services.iter().filter(|_| !options.full) {
        let Some(definition) = config.services.get(name) else { continue };
        let order = Order::of(project, name, definition)?;
        if order.is_rolling() && runs(before, name) && definition.replicas > 0 {
            candidates.insert(name.clone(), order);
        }
    }
    Ok(candidates)
}

/// Whether a service has a running container.
pub(crate) fn runs(before: &[Container], service: &str) -> bool {
    before.iter().any(|container| container.service == service && container.is_running())
}

/// What `jobs` need, is `starting` and does not run: services without a health check, then those with one, which
/// are waited for.
pub(crate) fn needed(config: &Config, jobs: &[Job], starting: &[String], before: &[Container]) -> [Vec<String>; 2] {
    let services: Vec<String> = jobs.iter().map(|job| job.service.clone()).collect();
    let ours: BTreeSet<String> = services.iter().cloned().collect();
    let needed = config.dependencies(&services).into_iter();
    let idle = needed.filter(|name| starting.contains(name) && !ours.contains(name) && !runs(before, name));
    let tells = |name: &String| config.services.get(name).is_some_and(|definition| definition.has_healthcheck);
    let (checked, others): (Vec<String>, Vec<String>) = idle.partition(tells);
    [others, checked]
}
