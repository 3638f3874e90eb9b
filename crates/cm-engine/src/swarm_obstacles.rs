//! What stands in the way of running a project on a Swarm: keys of its compose file, the Swarm's managers and nodes,
//! its engine's settings, and a stack of the same name that is somebody else's.

use crate::interface::{Matter, Obstacle};
use crate::obstacle::{of_file, stop, warn};
use crate::start_limits;
use cm_core::{Exit, Result};
use cm_host::Host;
use cm_project::Project;
use cm_swarm::{Content, Quorum, Source, Stack};
use serde_json::Value;
use std::time::Duration;

/// The manager answers within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// What of the engine's settings a Swarm cannot stand.
const LOOK: [&str; 4] = ["docker", "info", "--format", "{{json .}}"];

/// What to do about a key.
const KEYS: &str = "man cm-guide, \"On a Docker Swarm\", has what a Swarm takes of a compose file";

/// How large the files `$1…` are, in bytes, a line each; `-` for one that is not there.
const SIZES: &str = r#"# Looks how large the files of configs and secrets are.
for file; do (wc -c <"$file") 2>/dev/null || echo -; done"#;

/// Two of them would write to one volume, and a network of Docker's own has the name that the stack's wants.
const COMPOSE: &str = r#"# Looks what Compose runs of a project.
# $1 the project. Prints `container` for each that runs, and `network` with the name of each. The number is what no
# image has: a task has the labels of the image that Compose built.
docker ps -q --filter "label=com.docker.compose.project=$1" --filter label=com.docker.compose.container-number | sed 's/.*/container/'
docker network ls --filter "label=com.docker.compose.project=$1" --format 'network {{.Name}}'"#;

pub(crate) async fn look(project: &Project, host: &Host, config: &Value) -> Result<Vec<Obstacle>> {
    let stack = Stack::of(config);
    let settings = host.command(LOOK).limit(LIMIT);
    let compose = host.script(COMPOSE, [stack.name.clone()]).limit(LIMIT);
    let (sight, info, contents, compose) = tokio::join!(
        cm_swarm::Sight::of(host, &stack.name),
        settings.text(Exit::HealthUnknown, "engine.unreachable"),
        unfit_contents(host, &stack.contents),
        compose.text(Exit::HealthUnknown, "engine.unreachable")
    );
    let (sight, info, compose) = (sight?, info?, compose?);
    let mut found: Vec<Obstacle> = stack.refused.iter().map(|note| of_file(project, note, true, KEYS)).collect();
    found.extend(start_limits::obstacles(project, config));
    found.extend(contents?);
    found.extend(stack.notes.iter().map(|note| of_file(project, note, false, "")));
    let foreign = sight.foreign(&project.name());
    if !foreign.is_empty() {
        let message = format!(
            "the Swarm has a stack {:?} that cm did not make for {:?}: {}",
            stack.name,
            project.name(),
            foreign.join(", ")
        );
        let hint = format!(
            "give this project another name (`name:` in the compose file), or remove the stack if nothing needs it: docker stack rm {}",
            stack.name
        );
        found.push(stop(Matter::Engine, message, &hint));
    }
    found.extend(still_compose(&stack.name, &compose));
    found.extend(managers(&sight.nodes));
    found.extend(nodes(&sight.nodes));
    found.extend(unfit(&serde_json::from_str(&info).unwrap_or_default()));
    Ok(found)
}

/// The configs and secrets that no Swarm takes, as their files are on the host now.
async fn unfit_contents(host: &Host, contents: &[Content]) -> Result<Vec<Obstacle>> {
    let file = |content: &Content| if let Source::File(path) = &content.source { Some(path.clone()) } else { None };
    let files: Vec<String> = contents.iter().filter_map(file).collect();
    let said = match files.is_empty() {
        true => String::new(),
        false => host.script(SIZES, files).limit(LIMIT).text(Exit::HealthUnknown, "engine.unreachable").await?,
    };
    Ok(unfit_sizes(contents, &said))
}

/// `said` has the sizes of the files among `contents`, in their order.
fn unfit_sizes(contents: &[Content], said: &str) -> Vec<Obstacle> {
    let mut sizes = said.lines();
    let mut size = |content: &Content| match &content.source {
        Source::File(_) => sizes.next().and_then(|size| size.trim().parse().ok()),
        Source::Inline(text) => Some(text.len()),
        Source::Variable(_) | Source::External(_) => None,
    };
    let unfit = contents.iter().filter_map(|content| content.unfit(size(content)?));
    unfit.map(|unfit| stop(Matter::File, unfit.why, unfit.hint)).collect()
}

/// What Compose has of the project that is to be a stack, in the words of [`COMPOSE`].
fn still_compose(name: &str, said: &str) -> Option<Obstacle> {
    let containers = said.lines().filter(|line| *line == "container").count();
    let networks: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("network ")).collect();
    let what = match (containers, networks.join(", ")) {
        (0, networks) if networks.is_empty() => return None,
        (0, networks) => format!("has its network {networks}, whose name the stack wants"),
        (1, _) => "runs 1 container of it".to_owned(),
        (count, _) => format!("runs {count} containers of it"),
    };
    let hint = format!(
        "to move it over: `docker compose -p {name} down` there (without -v, volumes stay), then deploy with --full; \
         man cm-guide, \"Moving\", has the steps before"
    );
    Some(stop(Matter::Engine, format!("{name} is a project of Docker Compose on this server, which {what}"), &hint))
}

fn managers(nodes: &[cm_swarm::Node]) -> Option<Obstacle> {
    let quorum = Quorum::of(nodes);
    let (managers, reachable) = (quorum.managers, quorum.reachable);
    let gone: Vec<&str> =
        nodes.iter().filter(|node| node.manager == "unreachable").map(|node| node.name.as_str()).collect();
    match quorum.spare() {
        0 if managers < 3 => Some(warn(
            Matter::Nodes,
            format!(
                "the Swarm has {managers} manager{}: with the loss of one, nothing can be changed any more",
                if managers == 1 { "" } else { "s" }
            ),
            "three managers survive the loss of one: docker node promote",
        )),
        0 => Some(warn(
            Matter::Nodes,
            format!(
                "{reachable} of {managers} managers answer; without one more, nothing can be changed ({} is away)",
                gone.join(", ")
            ),
            "bring it back, or remove it (docker node demote, docker node rm) and promote another node",
        )),
        _ => None,
    }
}

fn nodes(nodes: &[cm_swarm::Node]) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if !nodes.iter().any(cm_swarm::Node::takes_tasks) {
        found.push(stop(
            Matter::Nodes,
            "no node takes tasks".to_owned(),
            "docker node ls says why; docker node update --availability active NODE",
        ));
    }
    for node in nodes.iter().filter(|node| !node.takes_tasks() || node.state != "ready") {
        let how = if node.state == "ready" {
            format!("takes no new tasks ({})", node.availability)
        } else {
            format!("is {}", node.state)
        };
        found.push(warn(
            Matter::Nodes,
            format!("node {} {how}", node.name),
            "docker node ls; what runs there has to fit on the others",
        ));
    }
    let mut engines: Vec<&str> = nodes.iter().map(|node| node.engine.split('.').next().unwrap_or_default()).collect();
    engines.sort_unstable();
    engines.dedup();
    if engines.len() > 1 {
        let versions: Vec<String> = nodes.iter().map(|node| format!("{} has {}", node.name, node.engine)).collect();
        found.push(warn(
            Matter::Nodes,
            format!("the nodes' engines differ: {}", versions.join(", ")),
            "bring them to one version: overlay networks of different ones may not reach each other",
        ));
    }
    found
}

fn unfit(info: &Value) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if info.get("LiveRestoreEnabled").and_then(Value::as_bool) == Some(true) {
        found.push(stop(
            Matter::Engine,
            "live-restore is on, which a Swarm does not stand".to_owned(),
            "set \"live-restore\": false in /etc/docker/daemon.json there",
        ));
    }
    if info.pointer("/FirewallBackend/Driver").and_then(Value::as_str).is_some_and(|driver| driver.contains("nftables"))
    {
        found.push(stop(
            Matter::Engine,
            "the engine uses nftables, with which a Swarm's networks do not work".to_owned(),
            "set \"firewall-backend\": \"iptables\" in /etc/docker/daemon.json there",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_swarm::Node;
    use serde_json::json;

    fn node(name: &str, state: &str, manager: &str) -> Node {
        let own = |text: &str| text.to_owned();
        Node {
            name: own(name),
            state: own(state),
            availability: own("active"),
            manager: own(manager),
            engine: own("26.1.5"),
            ..Node::default()
        }
    }

    #[test]
    fn nodes_that_are_away_are_told_and_none_at_all_stops() {
        let three =
            [node("a", "ready", "reachable"), node("b", "ready", "reachable"), node("c", "down", "unreachable")];
        let told: Vec<String> = nodes(&three).into_iter().chain(managers(&three)).map(|one| one.message).collect();
        assert_eq!(
            told,
            ["node c is down", "2 of 3 managers answer; without one more, nothing can be changed (c is away)"]
        );
        assert!(nodes(&[node("a", "down", "")]).iter().any(|one| one.stops));
        // As right after the election of another leader: each is ready, or down, within half a minute.
        let unknown = nodes(&[node("a", "unknown", "reachable"), node("b", "unknown", "reachable")]);
        assert!(unknown.len() == 2 && unknown.iter().all(|one| !one.stops && one.message.ends_with("is unknown")));
        let old = Node { engine: "29.0.1".to_owned(), ..node("b", "ready", "") };
        assert!(nodes(&[node("a", "ready", "reachable"), old]).iter().any(|one| one.message.contains("differ")));
        assert!(managers(&[node("a", "ready", "reachable")]).is_some_and(|one| !one.stops));
    }

    #[test]
    fn a_config_that_no_swarm_takes_stops_by_its_own_size() {
        let config = json!({"name": "shop", "services": {}, "configs": {
            "big": {"content": "x".repeat(500_001)},
            "file": {"file": "/srv/file"},
            "gone": {"file": "/srv/gone"},
            "small": {"content": "x"},
        }, "secrets": {"token": {"file": "/srv/token"}, "theirs": {"external": true}}});
        let stack = Stack::of(&config);
        let found = |said: &str| -> Vec<String> {
            unfit_sizes(&stack.contents, said).into_iter().filter(|one| one.stops).map(|one| one.message).collect()
        };
        let empty = "secret token is empty; a Swarm takes none without a content";
        assert_eq!(found("1\n-\n0\n")[1..], [empty]);
        let big = "config big has 500001 bytes; a Swarm takes 500 kB";
        assert_eq!(found("500000\n-\n  12\n"), [big]);
        assert_eq!(found("7\n-\n600000\n"), [big, "secret token has 600000 bytes; a Swarm takes 500 kB"]);
        assert_eq!(
            found(""),
            [big],
            "what is not known is no obstacle: it is looked at again before anything is switched"
        );
    }

    #[test]
    fn what_compose_still_runs_of_the_project_stops() {
        let found = |said: &str| still_compose("shop", said).map(|one| (one.stops, one.message));
        let stops =
            |what: &str| Some((true, format!("shop is a project of Docker Compose on this server, which {what}")));
        assert_eq!(found(""), None);
        assert_eq!(found("container\ncontainer\nnetwork shop_default\n"), stops("runs 2 containers of it"));
        assert_eq!(found("container\n"), stops("runs 1 container of it"));
        assert_eq!(found("network shop_default\n"), stops("has its network shop_default, whose name the stack wants"));
    }

    #[test]
    fn settings_of_the_engine_that_no_swarm_stands_stop() {
        assert_eq!(unfit(&json!({"LiveRestoreEnabled": true, "FirewallBackend": {"Driver": "nftables"}})).len(), 2);
        assert!(unfit(&json!({"LiveRestoreEnabled": false})).is_empty());
    }
}
