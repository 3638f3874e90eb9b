//! What Docker Compose runs on one host: the containers with its labels.

use crate::effective::Runs;
use crate::interface::{Inside, Obstacle, Others, Sight};
use crate::{Container, inspected, memory, start_limits};
use cm_core::Result;
use cm_host::Host;
use cm_project::Project;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::Value;
use std::sync::LazyLock;

/// Every container of a project, running or not, in one round trip; [`memory::INSPECT`] comes after it.
const PROJECT: &str = r#"# Looks at the project's containers.
set -u
ids=$(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$1" --filter "label=com.docker.compose.oneoff=False") || exit"#;

/// Docker Compose.
pub(crate) struct ComposeSight;

impl Sight for ComposeSight {
    fn obstacles<'a>(
        &'a self,
        project: &'a Project,
        _: &'a Host,
        config: &'a Value,
    ) -> BoxFuture<'a, Result<Vec<Obstacle>>> {
        // Compose has read the file itself.
        ready(Ok(start_limits::obstacles(project, config))).boxed()
    }

    fn beyond<'a>(&'a self, _: &'a Project, _: &'a Host) -> BoxFuture<'a, Result<Vec<Obstacle>>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn containers<'a>(&'a self, host: &'a Host, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>> {
        static SCRIPT: LazyLock<String> = LazyLock::new(|| format!("{PROJECT}{}", memory::INSPECT));
        async move { inspected(host, host.script(&SCRIPT, [project]).output().await?) }.boxed()
    }

    fn runs<'a>(
        &'a self,
        _: &'a Host,
        _: &'a str,
        listed: Option<Vec<Runs>>,
    ) -> BoxFuture<'a, Result<Option<Vec<Runs>>>> {
        ready(Ok(listed)).boxed()
    }

    fn inside<'a>(&'a self, host: &'a Host, container: &'a Container) -> BoxFuture<'a, Result<Inside>> {
        let addresses = container.addresses.clone();
        ready(Ok(Inside { host: host.clone(), id: container.id.clone(), addresses })).boxed()
    }

    fn others<'a>(&'a self, _: &'a Host) -> BoxFuture<'a, Result<Others>> {
        ready(Ok(Others::default())).boxed()
    }

    fn wants(&self) -> &'static [&'static str] {
        // It has no secrets and configs that others make.
        &["network", "volume", "container", "image", "file", "path", "secret", "config", "variable"]
    }

    fn to_start(&self, service: &str) -> String {
        format!("docker compose up -d {service}")
    }

    fn logs(&self) -> &'static [&'static str] {
        &["docker", "logs"]
    }

    fn cure(&self, _: &str) -> Option<&'static str> {
        None
    }
}
