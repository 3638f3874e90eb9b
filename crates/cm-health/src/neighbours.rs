//! Services of the project that were not watched. That one of them is not well does
//! not veto a deployment that did not touch it, but people should hear of it.

use cm_core::Log;
use cm_engine::{Container, Health};
use cm_gate::Post;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A container that is not well.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unwell {
    /// Its service.
    pub service: String,
    /// The host.
    pub host: String,
    /// Its name.
    pub container: String,
    /// What is wrong: `unhealthy`, `restarting`, `exited with 1`, …
    pub state: String,
}

/// An unwell service that was not watched.
#[derive(Clone, Debug, Serialize)]
pub struct Neighbour {
    /// Who and what.
    #[serde(flatten)]
    pub unwell: Unwell,
    /// Whether it was not well before the deployment; `None` if nobody looked then.
    pub before: Option<bool>,
}

/// The containers that are not well. One that ended with 0 and is not restarted was
/// a job, and one that was never started may be meant so.
pub fn unwell(host: &str, containers: &[Container]) -> Vec<Unwell> {
    let state = |container: &Container| match container.status.as_str() {
        "running" if container.health == Health::Unhealthy => Some("unhealthy".to_owned()),
        "running" | "created" => None,
        _ if container.has_finished() => None,
        "exited" => Some(format!("exited with {}", container.exit_code)),
        other => Some(other.to_owned()),
    };
    let one = |container: &Container| {
        state(container).map(|state| Unwell {
            service: container.service.clone(),
            host: host.to_owned(),
            container: container.name.clone(),
            state,
        })
    };
    containers.iter().filter_map(one).collect()
}

/// Those among the containers of each host that the gate did not watch. What a host
/// that did not answer has is not known, and nothing is said of it.
pub fn find(posts: &[Post], containers: &[(String, Vec<Container>)], before: Option<Vec<Unwell>>) -> Vec<Neighbour> {
    let mut found = Vec::new();
    for (post, (host, containers)) in posts.iter().zip(containers) {
        let watched: BTreeSet<_> = post.wanted.iter().map(|wanted| wanted.service.as_str()).collect();
        let unwatched = unwell(host, containers).into_iter();
        found.extend(unwatched.filter(|unwell| !watched.contains(unwell.service.as_str())));
    }
    let was = |unwell: &Unwell| before.as_ref().map(|before| before.iter().any(|other| other.is_same(unwell)));
    found.into_iter().map(|unwell| Neighbour { before: was(&unwell), unwell }).collect()
}

/// One line for each.
pub fn warn(neighbours: &[Neighbour], log: &Log) {
    for Neighbour { unwell, before } in neighbours {
        let since = match before {
            Some(true) => " (as before the deployment)",
            Some(false) => " (it was well before the deployment)",
            None => "",
        };
        log.warn(format!(
            "not part of this: {} on {}: {}{since}; container {}",
            unwell.service, unwell.host, unwell.state, unwell.container
        ));
    }
}

impl Unwell {
    fn is_same(&self, other: &Unwell) -> bool {
        self.service == other.service && self.host == other.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(status: &str, exit: i64, restarts: &str, health: &str) -> Container {
        Container::read(&json!({
            "Name": "/shop-web-1",
            "Config": {"Labels": {"com.docker.compose.service": "web"}},
            "State": {"Status": status, "ExitCode": exit, "Health": {"Status": health}},
            "HostConfig": {"RestartPolicy": {"Name": restarts}},
        }))
    }

    #[test]
    fn jobs_that_are_done_are_well() {
        for (status, exit, restarts, health, state) in [
            ("running", 0, "always", "healthy", None),
            ("running", 0, "always", "", None),
            ("exited", 0, "no", "", None),
            ("exited", 0, "on-failure", "", None),
            ("exited", 1, "on-failure", "", Some("exited with 1")),
            ("created", 0, "no", "", None),
            ("running", 0, "always", "unhealthy", Some("unhealthy")),
            ("exited", 0, "always", "", Some("exited with 0")),
            ("exited", 3, "no", "", Some("exited with 3")),
            ("restarting", 1, "always", "", Some("restarting")),
            ("paused", 0, "always", "", Some("paused")),
        ] {
            let found = unwell("one", &[container(status, exit, restarts, health)]);
            assert_eq!(found.first().map(|unwell| unwell.state.as_str()), state, "{status} {exit} {restarts} {health}");
        }
    }
}
