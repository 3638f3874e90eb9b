//! Containers that run alongside those of a service while it is replaced. A label marks
//! them, so that those of a run that was killed are found by whoever comes next.

use crate::container::ALONGSIDE_LABEL;
use crate::{Container, inspected};
use cm_core::{Exit, Result};
use cm_host::{Fenced, Host};
use std::time::Duration;

/// A container has its own grace period; beyond that the engine is stuck.
const STOP_LIMIT: Duration = Duration::from_secs(15 * 60);

const LIST: &str = r#"# Looks for containers alongside those of services.
set -eu
ids=$(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$1" --filter "label=$2")
[ -z "$ids" ] || exec docker inspect --type container $ids"#;

/// SIGTERM first: the requests under way are answered. Its own volumes go with it.
const REMOVE: &str = r#"# Removes containers alongside those of services.
docker stop -- "$@" >/dev/null 2>&1
for id do
    docker rm -f -v -- "$id" 2>&1 || { left=$(docker ps -aq --no-trunc --filter "id=$id") && [ -z "$left" ]; } || failed=1
done
exit ${failed:-0}"#;

/// Every container of the project that runs alongside those of its service, oldest runs' included.
///
/// # Errors
/// As [`crate::containers`].
pub async fn alongside(host: &Host, project: &str) -> Result<Vec<Container>> {
    inspected(host, host.script(LIST, [project, ALONGSIDE_LABEL]).output().await?)
}

/// Stops these containers, each within its grace period, and removes them. One that
/// is gone already is no error.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn remove_alongside(host: &Fenced, ids: &[String], exit: Exit) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let command = host.script(REMOVE, ids.to_vec()).limit(STOP_LIMIT);
    command.to_its_end().text(exit, "build.beside").await.map(drop)
}
