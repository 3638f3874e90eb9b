//! What makes room for other containers: those that leave, and those that have to stop before
//! another one can have what they hold.

use cm_core::{Exit, Result};
use cm_host::Fenced;
use std::time::Duration;

/// A container has its own grace period; beyond that the engine is stuck.
const STOP_LIMIT: Duration = Duration::from_secs(15 * 60);

/// SIGTERM first. What is gone already, by whoever's hand, is no error. Unnamed volumes stay.
const REMOVE: &str = r#"# Removes containers.
stopped=$(docker stop -- "$@" 2>&1 >/dev/null)
for id do
    said=$(docker rm -- "$id" 2>&1) || { left=$(docker ps -aq --no-trunc --filter "id=$id") && [ -z "$left" ]; } ||
        { printf '%s\n' "$stopped" "$said" >&2; failed=1; }
done
exit ${failed:-0}"#;

/// Compose knows a container by its labels: under another name it is still the one to replace.
/// `ID_NAME` is also what Compose calls one of two that want the same name.
const MAKE_WAY: &str = r#"# Stops a container for another one.
docker stop -- "$1" >/dev/null || { left=$(docker ps -aq --no-trunc --filter "id=$1") && [ -z "$left" ] && exit 0; exit 1; }
[ -z "$2" ] || exec docker rename "$1" "$2""#;

/// Stops these containers, each within its grace period, and removes them. One that is gone
/// already is no error.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn remove_containers(host: &Fenced, ids: &[String], exit: Exit) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let code = if exit == Exit::RollbackFailed { "rollback.remove" } else { "build.remove" };
    host.script(REMOVE, ids.to_vec()).limit(STOP_LIMIT).to_its_end().text(exit, code).await.map(drop)
}

/// Stops the container with this `id`, so that its ports are free, and takes its `name` away
/// where that is wanted, too. Compose still replaces it.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn make_way(host: &Fenced, id: &str, name: Option<&str>, exit: Exit) -> Result<()> {
    let other = name.map(|name| format!("{}_{name}", id.get(..12).unwrap_or(id))).unwrap_or_default();
    let command = host.script(MAKE_WAY, [id, &other]).limit(STOP_LIMIT);
    command.to_its_end().text(exit, "build.make-way").await.map(drop)
}
