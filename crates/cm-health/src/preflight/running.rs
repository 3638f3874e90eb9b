//! What runs on a host before a deployment, and what is odd about it.

use super::LIMIT;
use crate::others::unhealthy;
use cm_core::Result;
use cm_core::facts::Unhealthy;
use cm_engine::{Container, Stray};
use cm_host::Host;
use cm_project::Project;

const MOUNTS: &str = include_str!("mounts.sh");

/// What runs there.
pub struct Running {
    /// What is not healthy.
    pub unhealthy: Vec<Unhealthy>,
    /// Containers and the mounted files that they do not see as they are.
    pub stale: Vec<(String, String)>,
    /// A container that was made from another directory, and that.
    pub stray: Option<Stray>,
}

impl Running {
    /// Looks, where this run has asked already what Compose calls the project there.
    pub async fn of_known(project: &Project, host: &Host, checkout: &str) -> Option<Result<Running>> {
        let name = &project.effective(host.name())?.project;
        Some(Running::look(project, host, checkout, name).await)
    }

    /// Looks at the containers of the compose project `name`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`], or [`cm_core::Exit::HealthUnknown`] if the engine does not answer.
    pub async fn look(project: &Project, host: &Host, checkout: &str, name: &str) -> Result<Running> {
        let containers = cm_engine::containers(host, name).await?;
        let directory = project.compose_directory();
        let here = (checkout, &*directory);
        let (stale, stray) =
            tokio::join!(stale_mounts(host, &containers), cm_engine::stray(host, here, &[], &containers));
        Ok(Running { unhealthy: unhealthy(host.name(), &containers), stale: stale?, stray: stray? })
    }
}

/// Mounted files that a container does not see as they are.
async fn stale_mounts(host: &Host, containers: &[Container]) -> Result<Vec<(String, String)>> {
    let running = containers.iter().filter(|container| container.is_running());
    let mounts = running.flat_map(|container| container.binds.iter().map(move |mount| (container, mount)));
    let arguments: Vec<&str> = mounts
        .flat_map(|(container, mount)| [&container.id, &container.name, &mount.source, &mount.destination])
        .map(String::as_str)
        .collect();
    if arguments.is_empty() {
        return Ok(Vec::new());
    }
    let output = host.script(MOUNTS, arguments).limit(LIMIT).output().await?.text();
    Ok(output
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(one, path)| (one.to_owned(), path.to_owned()))
        .collect())
}
