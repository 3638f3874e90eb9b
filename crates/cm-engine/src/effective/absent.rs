//! External networks and volumes, and the files of configs and secrets: what `up` would fail for
//! after everything was built.

use super::Model;
use cm_core::{Exit, Result};
use cm_host::Host;
use std::collections::BTreeSet;

/// Prints those of the lines on stdin (`KIND NAME`) that are not there.
const ABSENT: &str = r#"# Looks for what the project uses and does not make.
networks=$(docker network ls --format '{{.Name}}') || exit 1
volumes=$(docker volume ls -q) || exit 1
while read -r kind name; do
    case $kind in
    network) printf '%s\n' "$networks" | grep -qxF -e "$name" ;;
    volume) printf '%s\n' "$volumes" | grep -qxF -e "$name" ;;
    *) [ -e "$name" ] ;;
    esac || printf '%s %s\n' "$kind" "$name"
done"#;

/// Those of `wanted`, as `network NAME`, `volume NAME` or `file PATH`, that `host` does not have.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn absent(host: &Host, wanted: &BTreeSet<String>) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let lines: String = wanted.iter().map(|line| format!("{line}\n")).collect();
    let said = host.script(ABSENT, [""; 0]).stdin(lines).text(Exit::HealthUnknown, "engine.unreachable").await?;
    Ok(said.lines().map(str::to_owned).collect())
}

impl Model {
    /// The networks and volumes that the project uses and others make, as [`absent`] takes them.
    pub fn wanted(&self) -> BTreeSet<String> {
        let networks = self.external("networks").into_iter().map(|name| format!("network {name}"));
        networks.chain(self.external("volumes").into_iter().map(|name| format!("volume {name}"))).collect()
    }
}
