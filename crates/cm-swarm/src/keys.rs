//! Every key that a service of a Compose project can have, and what a Swarm makes of it. What is not in the table is
//! refused: a key that is dropped in silence is a service that runs otherwise than its file says.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// A stack takes it as it is.
    Kept,
    /// It means nothing for a service that runs.
    Silent,
    /// The same stands in another place of a stack.
    Placed,
    /// It is left out, or means something else; what.
    Mapped(&'static str),
    /// A Swarm cannot do it; what to do.
    Refused(&'static str),
}

use Fate::{Kept, Mapped, Placed, Refused, Silent};

const KEYS: [(&str, Fate); 70] = [
    ("cap_add", Kept),
    ("cap_drop", Kept),
    ("command", Kept),
    ("configs", Kept),
    ("credential_spec", Kept),
    ("deploy", Kept),
    ("dns", Kept),
    ("dns_search", Kept),
    ("entrypoint", Kept),
    ("environment", Kept),
    ("extra_hosts", Kept),
    ("healthcheck", Kept),
    ("hostname", Kept),
    ("image", Kept),
    ("init", Kept),
    ("labels", Kept),
    ("logging", Kept),
    ("networks", Kept),
    ("ports", Kept),
    ("read_only", Kept),
    ("secrets", Kept),
    ("stdin_open", Kept),
    ("stop_grace_period", Kept),
    ("stop_signal", Kept),
    ("sysctls", Kept),
    ("tmpfs", Kept),
    ("tty", Kept),
    ("ulimits", Kept),
    ("user", Kept),
    ("volumes", Kept),
    ("working_dir", Kept),
    ("attach", Silent),
    ("build", Silent),
    ("develop", Silent),
    ("env_file", Silent),
    ("profiles", Silent),
    ("pull_policy", Silent),
    ("expose", Silent),
    ("depends_on", Silent),
    ("scale", Placed),
    ("container_name", Mapped("tasks have names that Swarm gives; others find the service by its own name")),
    ("links", Mapped("a service is found by its name on the networks that both are on")),
    ("restart", Placed),
    ("mem_limit", Placed),
    ("mem_reservation", Placed),
    ("cpus", Placed),
    ("pids_limit", Placed),
    ("shm_size", Placed),
    ("platform", Mapped("images are built for it; a Swarm chooses nodes by the image's own platform")),
    ("network_mode", Refused("a task is on overlay networks: remove the key, or run the container with Compose")),
    ("privileged", Refused("no service of a Swarm is privileged; `cap_add` gives single capabilities")),
    ("devices", Refused("a Swarm hands out no devices of a node")),
    ("security_opt", Refused("a Swarm does not take it; set it for the whole engine in daemon.json")),
    ("ipc", Refused("a task shares no namespace with another one")),
    ("pid", Refused("a task shares no namespace with another one")),
    ("uts", Refused("a task shares no namespace with another one")),
    ("userns_mode", Refused("a task shares no namespace with the node")),
    ("cgroup", Refused("a task's cgroup is Swarm's own")),
    ("cgroup_parent", Refused("a task's cgroup is Swarm's own")),
    ("mac_address", Refused("Swarm gives addresses")),
    ("domainname", Refused("a Swarm does not take it; give the full name as `hostname`")),
    ("external_links", Refused("put both on one external network")),
    ("volumes_from", Refused("name the volumes in both services")),
    ("memswap_limit", Refused("a Swarm limits memory alone: `deploy.resources.limits.memory`")),
    ("cpu_shares", Refused("a Swarm limits processors by `deploy.resources.limits.cpus`")),
    ("cpu_quota", Refused("a Swarm limits processors by `deploy.resources.limits.cpus`")),
    ("cpuset", Refused("a Swarm limits processors by `deploy.resources.limits.cpus`")),
    ("group_add", Refused("a stack does not take it; give the group in `user` as UID:GID")),
    ("provider", Refused("a Swarm runs containers alone")),
    ("extends", Refused("Compose resolves it; this Compose did not")),
];

/// What becomes of `key`.
pub(crate) fn fate(key: &str) -> Fate {
    let known = KEYS.iter().find(|(name, _)| *name == key).map(|(_, fate)| *fate);
    match known {
        Some(fate) => fate,
        None if key.starts_with("x-") => Silent,
        None => Refused("a stack of a Swarm does not take it: remove it, or run this service with Compose"),
    }
}
