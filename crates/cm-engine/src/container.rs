//! A container as `docker inspect` describes it.

use crate::Port;
use crate::memory::{self, Clocks};
use serde_json::Value;
use std::time::Duration;

/// The label of a container that runs alongside those of a service while it is replaced; its value says what for.
pub const ALONGSIDE_LABEL: &str = "cm.beside";

/// What Docker's own health check says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// The container has no health check.
    None,
    /// Its start period lasts, or the first check is not done.
    Starting,
    /// The last check passed.
    Healthy,
    /// The check failed as often as it may.
    Unhealthy,
}

/// A file or directory of the host inside a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
}

/// One container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// The full id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// What commands of Docker take for it: its name, or of a Swarm its task's ID.
    pub handle: String,
    /// The service of the compose file.
    pub service: String,
    /// The id of the image it was made from, `sha256:…`.
    pub image_id: String,
    /// The image's name it was made by.
    pub image: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// When it was last started, RFC 3339 in UTC, as Docker writes it.
    pub started_at: String,
    /// How often the engine restarted it by itself.
    pub restart_count: u64,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// What its health check says.
    pub health: Health,
    /// What the last check printed.
    pub health_output: String,
    /// The check's failures in a row.
    pub failing_streak: u64,
    /// How long the check may fail before that counts.
    pub start_period: Duration,
    /// Compose's hash of its configuration.
    pub config_hash: String,
    /// The commit its image was built from (label `org.opencontainers.image.revision`); empty if nobody said.
    pub revision: String,
    /// Bind mounts.
    pub binds: Vec<Mount>,
    /// The named volumes and the directories of the host that it may write.
    pub writes: Vec<String>,
    /// The ports of the host that it has when it runs.
    pub ports: Vec<Port>,
    /// The directory it was made from, absolute; empty if Compose did not make it.
    pub working_dir: String,
    /// How long its process has run without an end, where the host's clocks can tell.
    pub ran: Option<Duration>,
    /// For how long its health checks have passed up to now, as far back as Docker remembers.
    pub checks_passed: Option<Duration>,
    /// Its addresses on the engine's networks.
    pub addresses: Vec<String>,
    /// Whether the engine starts it again when it ends (`restart:` of the compose file).
    pub restarts: bool,
    /// Whether it does so only where it ended with another code than 0 (`restart: on-failure`).
    pub retries: bool,
    /// The mark of a container that runs alongside those of its service, `trial` or `bridge`; empty for all others.
    pub alongside: String,
}

impl Container {
    /// Reads one element of `docker inspect`'s list.
    pub fn read(value: &Value) -> Container {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let labels = value.pointer("/Config/Labels");
        let label = |name: &str| {
            labels.and_then(|labels| labels.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Container {
            id: text("/Id"),
            name: text("/Name").trim_start_matches('/').to_owned(),
            handle: text("/Name").trim_start_matches('/').to_owned(),
            service: label("com.docker.compose.service"),
            image_id: text("/Image"),
            image: text("/Config/Image"),
            status: text("/State/Status"),
            started_at: text("/State/StartedAt"),
            restart_count: number("/RestartCount").unsigned_abs(),
            exit_code: number("/State/ExitCode"),
            oom_killed: value.pointer("/State/OOMKilled").and_then(Value::as_bool).unwrap_or(false),
            health: health(value),
            health_output: last_check(value),
            failing_streak: number("/State/Health/FailingStreak").unsigned_abs(),
            start_period: Duration::from_nanos(number("/Config/Healthcheck/StartPeriod").unsigned_abs()),
            config_hash: label("com.docker.compose.config-hash"),
            revision: label("org.opencontainers.image.revision"),
            binds: binds(value),
            writes: writes(value),
            ports: crate::port::of_container(value),
            working_dir: label("com.docker.compose.project.working_dir"),
            ran: None,
            checks_passed: None,
            addresses: addresses(value),
            alongside: label(ALONGSIDE_LABEL),
            restarts: !matches!(text("/HostConfig/RestartPolicy/Name").as_str(), "" | "no"),
            retries: text("/HostConfig/RestartPolicy/Name") == "on-failure",
        }
    }

    /// The same, with what the host's clocks make of the dates in `value`.
    #[must_use]
    pub(crate) fn with_memory(mut self, value: &Value, clocks: &Clocks) -> Container {
        self.ran = memory::ran(value, clocks);
        self.checks_passed = memory::checks_passed(value, clocks, self.ran);
        self
    }

    /// Whether it has ended with 0, and the engine leaves it so: what a job does.
    pub fn has_finished(&self) -> bool {
        self.status == "exited" && self.exit_code == 0 && !self.oom_killed && (!self.restarts || self.retries)
    }

    /// Whether its main process runs.
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }
}

fn health(value: &Value) -> Health {
    match value.pointer("/State/Health/Status").and_then(Value::as_str) {
        Some("healthy") => Health::Healthy,
        Some("unhealthy") => Health::Unhealthy,
        Some("starting") => Health::Starting,
        _ => Health::None,
    }
}

fn last_check(value: &Value) -> String {
    let log = value.pointer("/State/Health/Log").and_then(Value::as_array);
    let output = log.and_then(|log| log.last()).and_then(|entry| entry.get("Output")).and_then(Value::as_str);
    let environment = value.pointer("/Config/Env").and_then(Value::as_array).into_iter().flatten();
    let variables = environment.filter_map(|pair| pair.as_str()?.split_once('='));
    // A check prints what it was called with.
    cm_core::hide(output.unwrap_or_default().trim(), variables.filter(|(name, _)| *name != "PATH"))
}

fn binds(value: &Value) -> Vec<Mount> {
    let mounts = value.get("Mounts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |mount: &Value, key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    mounts
        .iter()
        .filter(|mount| mount.get("Type").and_then(Value::as_str) == Some("bind"))
        .map(|mount| Mount { source: text(mount, "Source"), destination: text(mount, "Destination") })
        .collect()
}

fn writes(value: &Value) -> Vec<String> {
    let mounts = value.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let written = mounts.filter(|mount| mount.get("RW").and_then(Value::as_bool) == Some(true));
    let name = |mount: &Value| mount.get("Name").or_else(|| mount.get("Source"))?.as_str().map(str::to_owned);
    written.filter_map(name).collect()
}

fn addresses(value: &Value) -> Vec<String> {
    let networks = value.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let address = |network: &Value| network.get("IPAddress").and_then(Value::as_str).map(str::to_owned);
    networks.map(|all| all.values().filter_map(address).filter(|ip| !ip.is_empty()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_decides_is_read_and_missing_parts_are_not_invented() {
        let container = Container::read(&json!({
            "Id": "c1", "Name": "/web", "Image": "sha256:aa", "RestartCount": 2,
            "Config": {"Image": "web", "Labels": {"com.docker.compose.service": "web"}},
            "State": {"Status": "running", "StartedAt": "t", "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": [{"Output": "a"}, {"Output": "refused\n"}]}},
            "Mounts": [{"Type": "bind", "Source": "/h", "Destination": "/c"}, {"Type": "volume", "Name": "data", "Source": "/x", "RW": true}],
            "HostConfig": {"RestartPolicy": {"Name": "always"}}
        }));
        assert_eq!((container.name.as_str(), container.service.as_str()), ("web", "web"));
        assert_eq!(
            (container.health, container.health_output.as_str(), container.failing_streak),
            (Health::Unhealthy, "refused", 3)
        );
        assert_eq!((container.restart_count, container.restarts, container.binds.len()), (2, true, 1));
        assert_eq!(container.writes, ["data"]);
        let empty = Container::read(&json!({}));
        assert!(!empty.is_running());
        assert_eq!(empty.health, Health::None);
    }
}
