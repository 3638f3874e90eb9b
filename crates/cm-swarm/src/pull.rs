//! Every node is shown to have an image before a service is switched to it: a node that cannot pull it would stop an
//! update partway. No node but the manager can be asked directly, so Swarm is: a service that runs once on each node
//! with a program that is in no image. Preparing its task is the pull; that its container then does not start is meant.

use crate::answer::Answer;
use crate::election::patiently;
use crate::node::{Node, UNKNOWN};
use crate::publish::Published;
use crate::value::text;
use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Fenced, Host};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// All nodes have an image within this time.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// A node that a new leader has not heard of yet is heard of, or is down, within this time.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

const PULL: &str = r#"# Lets every node pull an image.
# $1 name of the service, $2 stack, $3 image
set -eu
docker service rm "$1" >/dev/null 2>&1 || :
exec docker service create --detach --quiet --name "$1" --label "cm.pull=$2" --mode global --restart-condition none \
    --no-resolve-image --with-registry-auth --no-healthcheck --entrypoint /cm-pulls-only "$3" >/dev/null"#;

/// A node that is lost meanwhile is not waited for: Swarm notices that only after a while.
const LOOK: &str = r#"# Looks which nodes have an image, and which are there.
docker node inspect --format 'node {{.ID}} {{.Status.State}}' $(docker node ls -q) || exit
tasks=$(docker service ps -q --no-trunc -- "$1") || exit
[ -z "$tasks" ] || docker inspect --type task --format '{{json .}}' $tasks"#;

const FORGET: &str = r#"# Removes what let nodes pull images.
services=$(docker service ls -q --filter "label=cm.pull=$1") || exit
[ -z "$services" ] || docker service rm $services >/dev/null"#;

/// Lets every one of `nodes` that takes tasks pull `images` for `stack`.
///
/// # Errors
/// [`Exit::Build`]: `swarm.platform` for an image that a node cannot run, `swarm.pull` where a node cannot get one, with
/// the node's name; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn pull_everywhere(
    host: &Fenced,
    stack: &str,
    images: &[&Published],
    nodes: &[Node],
    log: &Log,
) -> Result<()> {
    let nodes: Vec<&Node> = nodes.iter().filter(|node| node.takes_tasks()).collect();
    images.iter().try_for_each(|image| can_run(image, &nodes, host))?;
    let pulled = pull(host, stack, images, &nodes, log).await;
    let forgotten = patiently(async || host.script(FORGET, [stack]).text(Exit::Build, "swarm.pull").await).await;
    pulled.and(forgotten.map(drop))
}

fn can_run(image: &Published, nodes: &[&Node], host: &Host) -> Result<()> {
    let Some(node) = nodes.iter().find(|node| node.platform != image.platform) else { return Ok(()) };
    let message = format!(
        "on {}: {} is for {}, and node {} is {}",
        host.name(),
        image.pinned,
        image.platform,
        node.name,
        node.platform
    );
    Err(Failure::new(Exit::Build, "swarm.platform", message).hint(
        "build the image for the nodes' platform, or drain the nodes that cannot run it (`docker node update --availability drain`)",
    ))
}

async fn pull(host: &Fenced, stack: &str, images: &[&Published], nodes: &[&Node], log: &Log) -> Result<()> {
    let began = Instant::now();
    let mut names = Vec::new();
    for image in images {
        let digest = image.pinned.rsplit_once(':').map_or("", |(_, digest)| digest);
        let name = format!("cm-pull-{}", digest.get(..12).unwrap_or(digest));
        let arguments = [name.clone(), stack.to_owned(), image.pinned.clone()];
        patiently(async || host.script(PULL, arguments.clone()).text(Exit::Build, "swarm.pull").await).await?;
        names.push((name, *image));
    }
    for (name, image) in names {
        let task = log.task(&format!("{}: every node pulls {}", host.name(), image.image())).at(host.name(), None);
        loop {
            let missing = missing(host, &name, image, nodes, began.elapsed()).await?;
            task.reached(nodes.len().saturating_sub(missing.len()) as u64, Some(nodes.len() as u64), "nodes");
            if missing.is_empty() {
                break;
            }
            if began.elapsed() > LIMIT {
                let names: Vec<_> = missing.into_iter().collect();
                return Err(failed(
                    host,
                    image,
                    &names.join(", "),
                    &format!("not pulled within {} s", LIMIT.as_secs()),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// The nodes that do not have it yet, `waited` being the time since they were asked to get it.
async fn missing(
    host: &Host,
    name: &str,
    image: &Published,
    nodes: &[&Node],
    waited: Duration,
) -> Result<BTreeSet<String>> {
    let said = patiently(async || host.script(LOOK, [name]).text(Exit::Build, "swarm.pull").await).await?;
    let tasks: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let here: BTreeSet<&str> = said.lines().filter_map(|line| there(line, waited)).collect();
    let nodes: Vec<&Node> = nodes.iter().filter(|node| here.contains(node.id.as_str())).copied().collect();
    let mut missing: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    for task in &tasks {
        let Some(node) = nodes.iter().find(|node| node.id == text(task, "/NodeID")) else { continue };
        match text(task, "/Status/State") {
            "rejected" => return Err(failed(host, image, &node.name, text(task, "/Status/Err"))),
            "new" | "allocated" | "pending" | "assigned" | "accepted" | "preparing" => {}
            _ => drop(missing.remove(&node.name)),
        }
    }
    Ok(missing)
}

/// The ID of a node that is there, or that nobody knows of yet whether it is.
fn there(line: &str, waited: Duration) -> Option<&str> {
    let (id, state) = line.strip_prefix("node ")?.split_once(' ')?;
    (state == "ready" || (state == UNKNOWN && waited < UNKNOWN_LIMIT)).then_some(id)
}

fn failed(host: &Host, image: &Published, nodes: &str, why: &str) -> Failure {
    let message = format!("on {}: node {nodes} cannot get {}", host.name(), image.pinned);
    let what = match Answer::read(why) {
        Answer::Refuses => {
            "nodes pull with the login that the deploy user has on the manager (`docker login` there): may it read that repository?"
        }
        _ => {
            "on that node: `docker pull` of that name; does it reach the registry, does it trust it, has its disk room?"
        }
    };
    Failure::new(Exit::Build, "swarm.pull", message)
        .cause(why)
        .hint(format!("{what} A node that is away: `docker node update --availability drain`"))
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN_LIMIT, there};
    use std::time::Duration;

    #[test]
    fn a_node_that_is_lost_is_not_waited_for_and_one_that_may_come_back_is_for_a_while() {
        let said = ["node n1 ready", "node n2 down", "node n3 unknown", "{\"ID\":\"t1\"}"];
        let after = |waited| said.into_iter().filter_map(|line| there(line, waited)).collect::<Vec<_>>();
        assert_eq!(after(Duration::ZERO), ["n1", "n3"]);
        assert_eq!(after(UNKNOWN_LIMIT), ["n1"]);
    }
}
