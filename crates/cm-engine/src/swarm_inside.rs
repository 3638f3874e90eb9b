//! The other nodes of a Swarm, and where among them the container of a task is: no manager runs a command in a container
//! of another node, so that one's own address is needed.

use crate::Container;
use crate::interface::{Inside, Others};
use cm_core::{Exit, Failure, Format, Level, Log, Result};
use cm_host::Host;
use futures_util::future::join_all;

const ASK: &str = r#"# Looks where a task runs.
# $1 task. Prints its node, its container, the name of the node, whether that is there, and the node that this is.
task=$(docker inspect --type task --format '{{.NodeID}} {{.Status.ContainerStatus.ContainerID}}' "$1") || exit
name=$(docker node inspect --format '{{.Description.Hostname}} {{.Status.State}}' "${task%% *}") || exit
printf '%s %s %s\n' "$task" "$name" "$(docker info --format '{{.Swarm.NodeID}}')""#;

/// A node cannot connect to an overlay network's addresses; its tasks have one more, on a bridge of the node.
const ADDRESS: &str = r#"# Looks at which address the node itself reaches a container.
# $1 container
docker network inspect --format '{{range $id, $one := .Containers}}{{println $id $one.IPv4Address}}{{end}}' docker_gwbridge |
    sed -n "s,^$1 \\([0-9.]*\\)/.*,\\1,p""#;

const NODES: &str = r#"# Looks which nodes there are, and which this is.
docker info --format '{{.Swarm.NodeID}}' || exit
docker node inspect --format '{{.ID}} {{.Description.Hostname}}' $(docker node ls -q)"#;

pub(crate) async fn find(host: &Host, container: &Container) -> Result<Inside> {
    let said = host.script(ASK, [container.id.clone()]).text(Exit::HealthUnknown, "engine.unreachable").await?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [node, id, name, state, here] = words.as_slice() else {
        let message = format!("on {}: Swarm does not say where {} runs", host.name(), container.name);
        return Err(Failure::new(Exit::HealthUnknown, "engine.answer", message).retryable());
    };
    if node == here {
        return at(host.clone(), id).await;
    }
    let mut silent = Vec::new();
    for asked in ask_others(host).await {
        match asked {
            Ok((other, id_there)) if id_there == *node => return at(other, id).await,
            Ok(_) => {}
            Err(failure) => silent.push(failure.message),
        }
    }
    Err(silent.into_iter().fold(lost(container, name, state), Failure::cause))
}

async fn at(host: Host, id: &str) -> Result<Inside> {
    let said = host.script(ADDRESS, [id]).text(Exit::HealthUnknown, "engine.unreachable").await?;
    let addresses = said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(Inside { host, id: id.to_owned(), addresses })
}

/// Why the container on the node `name` cannot be reached.
fn lost(container: &Container, name: &str, state: &str) -> Failure {
    let service = &container.service;
    if state != "ready" {
        let message = format!("{service} cannot be asked: its task is on node {name}, which is {state}");
        return Failure::new(Exit::Unreachable, "swarm.node-down", message)
            .hint(format!(
                "start {name} again, or wait until Swarm starts {service} elsewhere, where its volumes let it. To deploy without a backup \
                 meanwhile: --no-backup"
            ))
            .retryable();
    }
    let message = format!(
        "{service} cannot be asked: its task is on node {name}, and no address in cm.toml that answers is that node"
    );
    Failure::new(Exit::Config, "swarm.node-address", message).hint(format!(
        "is {name} down? Swarm notices within half a minute. Else add its address to `workers` under [swarm] (or to `managers`, if it is \
         one), or pin the service to a node that is there (`deploy.placement.constraints`)"
    ))
}

/// Every other address of the host, with the ID of the node there, or why there is no answer.
async fn ask_others(host: &Host) -> Vec<Result<(Host, String)>> {
    let quiet = Log::new("cm-engine", Format::Text, Level::Fail);
    let quiet = &quiet;
    let asked = host.target().machines().map(|target| async move {
        let other = Host::connect(&target, quiet).await?;
        let asked = other.command(["docker", "info", "--format", "{{.Swarm.NodeID}}"]);
        let id = asked.text(Exit::HealthUnknown, "engine.unreachable").await?;
        Ok((other, id.trim().to_owned()))
    });
    join_all(asked).await
}

pub(crate) async fn others(host: &Host) -> Result<Others> {
    let nodes = host.script(NODES, [""; 0]);
    let (said, asked) = tokio::join!(nodes.text(Exit::HealthUnknown, "engine.unreachable"), ask_others(host));
    let said = said?;
    let mut lines = said.lines();
    let here = lines.next().unwrap_or_default();
    let mut others = Others::default();
    let found: Vec<(Host, String)> = asked.into_iter().flatten().collect();
    for (id, name) in lines.filter_map(|line| line.split_once(' ')).filter(|(id, _)| *id != here) {
        match found.iter().find(|(_, there)| there == id) {
            Some((other, _)) => others.reached.push((name.to_owned(), other.clone())),
            None => others.unknown.push(name.to_owned()),
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_database_on_a_node_that_is_lost_says_which_node_and_what_to_do() {
        let container = Container { service: "db".to_owned(), ..Container::read(&Value::Null) };
        for (state, code, words) in [
            ("down", "swarm.node-down", "db cannot be asked: its task is on node three, which is down"),
            ("ready", "swarm.node-address", "no address in cm.toml that answers is that node"),
        ] {
            let failure = lost(&container, "three", state);
            assert_eq!(failure.code, code);
            assert!(failure.message.contains(words) && failure.message.contains("node three"), "{}", failure.message);
        }
    }
}
