//! What a registry has of a project's images, where its engine takes them from one.

use cm_core::{Log, Result};
use cm_host::{Fenced, Host, Unlocked};
use cm_project::Project;
use std::collections::BTreeSet;

/// Under which names images of these `repositories` were pushed.
///
/// # Errors
/// [`cm_core::Exit::Config`] that names a variable that is not set.
pub fn pushed_as(project: &Project, repositories: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let registry = project.registry()?;
    let pushed = repositories.iter().filter(|_| !registry.is_empty());
    Ok(pushed.map(|name| cm_swarm::repository_in(name, &registry)).collect())
}

/// Brings images to a host that does not have them, where they were pushed to a registry from another one: names of the
/// compose file with their ids. Only copies come, and nothing is said of those that do not.
///
/// # Errors
/// [`cm_core::Exit::Config`] that names a variable that is not set; [`cm_core::Exit::Unreachable`].
pub async fn bring_back(project: &Project, host: &Host, images: &[(String, String)]) -> Result<()> {
    let registry = project.registry()?;
    if registry.is_empty() || images.is_empty() {
        return Ok(());
    }
    let fenced = Fenced::unlocked(host, Unlocked::Copies);
    cm_swarm::bring_back(&fenced, &registry, &project.name(), images).await
}

/// Removes from the registry what was pushed there of these `repositories`, but the images with an id in `keep`. How
/// many are gone. A registry that does not let go of them is told, and is no failure.
///
/// # Errors
/// [`cm_core::Exit::Build`], [`cm_core::Exit::LockLost`], [`cm_core::Exit::Unreachable`].
pub async fn forget_pushed(
    project: &Project,
    host: &Fenced,
    repositories: &BTreeSet<String>,
    keep: &BTreeSet<String>,
    log: &Log,
) -> Result<usize> {
    let registry = project.registry()?;
    if registry.is_empty() || repositories.is_empty() {
        return Ok(0);
    }
    let forgotten = cm_swarm::forget_pushed(host, &registry, &project.name(), repositories, keep).await?;
    if let Some(why) = forgotten.stayed {
        log.warn(format!("the registry {registry} keeps old images: {why}"));
    }
    Ok(forgotten.gone.len())
}
