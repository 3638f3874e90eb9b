//! The nodes of a Swarm, and whether enough of its managers can be reached to change anything.

use crate::value::text;
use serde_json::Value;

/// The state of a node that a new leader has not heard of yet.
pub(crate) const UNKNOWN: &str = "unknown";

/// A node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Node {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `ready`, `down`, `unknown` or `disconnected`.
    pub state: String,
    /// `active`, `pause` or `drain`.
    pub availability: String,
    /// `reachable` or `unreachable` of a manager; empty of a worker.
    pub manager: String,
    /// Whether it is the one that leads.
    pub leads: bool,
    /// The version of its engine.
    pub engine: String,
    /// `linux/amd64`, in the words of images.
    pub platform: String,
}

impl Node {
    /// Reads an element of `docker node inspect`.
    pub fn read(value: &Value) -> Node {
        let architecture = match text(value, "/Description/Platform/Architecture") {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "armv7l" => "arm",
            other => other,
        };
        Node {
            id: text(value, "/ID").to_owned(),
            name: text(value, "/Description/Hostname").to_owned(),
            state: text(value, "/Status/State").to_owned(),
            availability: text(value, "/Spec/Availability").to_owned(),
            manager: text(value, "/ManagerStatus/Reachability").to_owned(),
            leads: value.pointer("/ManagerStatus/Leader").and_then(Value::as_bool).unwrap_or(false),
            engine: text(value, "/Description/Engine/EngineVersion").to_owned(),
            platform: format!("{}/{architecture}", text(value, "/Description/Platform/OS")),
        }
    }

    /// Whether nothing is to run there: it is down, or drained. Right after an election of the leader a node is `unknown`.
    pub fn is_gone(&self) -> bool {
        self.state == "down" || self.availability == "drain"
    }

    /// Whether it does not answer while Swarm still counts it as there: within half a minute it is ready again, or down,
    /// and what ran there runs elsewhere.
    fn is_in_doubt(&self) -> bool {
        !self.is_gone() && (self.state != "ready" || self.manager == "unreachable")
    }

    /// Whether it takes new tasks, or will within half a minute: right after an election every node is `unknown` until it
    /// has called the new leader, and only then is it `ready` again, or `down`.
    pub fn takes_tasks(&self) -> bool {
        matches!(self.state.as_str(), "ready" | UNKNOWN) && self.availability == "active"
    }
}

/// The names of the nodes of which it is not known whether they are there.
pub(crate) fn in_doubt(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().filter(|node| node.is_in_doubt()).map(|node| node.name.as_str()).collect()
}

/// How many managers there are, and how many can be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quorum {
    /// All of them.
    pub managers: usize,
    /// Those that answer.
    pub reachable: usize,
}

impl Quorum {
    /// Of these nodes.
    pub fn of(nodes: &[Node]) -> Quorum {
        let managers = nodes.iter().filter(|node| !node.manager.is_empty());
        Quorum {
            managers: managers.clone().count(),
            reachable: managers.filter(|node| node.manager == "reachable").count(),
        }
    }

    /// How many more managers may be lost before nothing can be changed any more.
    pub fn spare(self) -> usize {
        (self.reachable).saturating_sub(self.managers / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_swarm_survives_the_loss_of_less_than_half_of_its_managers() {
        let node = |manager: &str| Node { manager: manager.to_owned(), ..Node::default() };
        for (managers, spare) in [
            (vec!["reachable"], 0),
            (vec!["reachable", "reachable"], 0),
            (vec!["reachable", "reachable", "reachable", ""], 1),
            (vec!["reachable", "reachable", "unreachable"], 0),
            (vec!["reachable", "unreachable", "unreachable"], 0),
        ] {
            let nodes: Vec<_> = managers.iter().map(|manager| node(manager)).collect();
            assert_eq!(Quorum::of(&nodes).spare(), spare, "{managers:?}");
        }
    }

    #[test]
    fn a_node_is_read_as_docker_shows_it() {
        let node = Node::read(&json!({
            "ID": "n1", "Spec": {"Availability": "drain"}, "Status": {"State": "ready"},
            "Description": {"Hostname": "one", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "26.1.5"}},
            "ManagerStatus": {"Leader": true, "Reachability": "reachable"},
        }));
        assert_eq!((node.name.as_str(), node.platform.as_str(), node.leads), ("one", "linux/amd64", true));
        assert!(!node.takes_tasks());
    }

    #[test]
    fn a_node_that_does_not_answer_is_in_doubt_until_swarm_has_decided() {
        let node = |name: &str, state: &str, manager: &str| Node {
            name: name.to_owned(),
            state: state.to_owned(),
            manager: manager.to_owned(),
            availability: "active".to_owned(),
            ..Node::default()
        };
        let nodes = [
            node("good", "ready", "reachable"),
            node("worker", "ready", ""),
            node("killed", "ready", "unreachable"),
            node("elected", "unknown", "reachable"),
            node("leaving", "disconnected", ""),
            node("lost", "down", "unreachable"),
            Node { availability: "drain".to_owned(), ..node("drained", "unknown", "unreachable") },
        ];
        assert_eq!(in_doubt(&nodes), ["killed", "elected", "leaving"]);
    }

    #[test]
    fn a_node_that_a_new_leader_has_not_heard_of_yet_takes_tasks_and_is_not_gone() {
        let node = |state: &str, availability: &str| Node {
            state: state.to_owned(),
            availability: availability.to_owned(),
            ..Node::default()
        };
        for (state, availability, takes, gone) in [
            ("ready", "active", true, false),
            ("unknown", "active", true, false),
            ("unknown", "drain", false, true),
            ("unknown", "pause", false, false),
            ("down", "active", false, true),
            ("disconnected", "active", false, false),
        ] {
            let node = node(state, availability);
            assert_eq!((node.takes_tasks(), node.is_gone()), (takes, gone), "{state} {availability}");
        }
    }
}
