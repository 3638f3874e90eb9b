//! Where the container of a task is: no manager runs a command in a container of another node, so that one's own address
//! is needed.

use crate::Container;
use cm_core::{Exit, Failure, Format, Level, Log, Result};
use cm_host::{Host, Target};

const ASK: &str = r#"# Looks where a task runs.
# $1 task. Prints its node, its container, the name of the node, and the node that this is.
task=$(docker inspect --type task --format '{{.NodeID}} {{.Status.ContainerStatus.ContainerID}}' "$1") || exit
name=$(docker node inspect --format '{{.Description.Hostname}}' "${task%% *}") || exit
printf '%s %s %s\n' "$task" "$name" "$(docker info --format '{{.Swarm.NodeID}}')""#;

pub(crate) async fn find(host: &Host, container: &Container) -> Result<(Host, String)> {
    let said = host.script(ASK, [container.id.clone()]).text(Exit::HealthUnknown, "engine.unreachable").await?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [node, id, name, here] = words.as_slice() else {
        let message = format!("on {}: Swarm does not say where {} runs", host.name(), container.name);
        return Err(Failure::new(Exit::HealthUnknown, "engine.answer", message).retryable());
    };
    if node == here {
        return Ok((host.clone(), (*id).to_owned()));
    }
    let quiet = Log::new("cm-engine", Format::Text, Level::Fail);
    let target = host.target();
    for address in &target.others {
        let target = Target { address: address.clone(), others: Vec::new(), ..target.clone() };
        let Ok(other) = Host::connect(&target, &quiet).await else { continue };
        let asked = other.command(["docker", "info", "--format", "{{.Swarm.NodeID}}"]).output().await;
        if asked.is_ok_and(|output| output.success() && output.text() == *node) {
            return Ok((other, (*id).to_owned()));
        }
    }
    let message = format!("{}: of the addresses in cm.toml, none that answers is node {name}", container.name);
    Err(Failure::new(Exit::Config, "swarm.node-address", message).hint(format!(
        "is {name} down? `docker node ls` says so after a while, and Swarm starts the task elsewhere. Else make {name} a manager and add it \
         to `managers` under [swarm], or pin the service to a node that is there (`deploy.placement.constraints`)"
    )))
}
