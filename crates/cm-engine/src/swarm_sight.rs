//! What a Swarm runs of a project, in the words of containers: a task is one, on whatever node. Its id is the task's,
//! so that a new task is a new container; a place in which tasks keep failing shows the last of them, and a service
//! that Swarm stopped updating, or took back by itself, shows that as a container which is not healthy.

use crate::effective::Runs;
use crate::interface::{Inside, Obstacle, Others, Sight};
use crate::{Container, Health, swarm_inside, swarm_nodes, swarm_obstacles};
use cm_core::Result;
use cm_host::Host;
use cm_project::Project;
use cm_swarm::{Seen, Task, Update};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeMap;

/// Docker Swarm.
pub(crate) struct SwarmSight;

impl Sight for SwarmSight {
    fn obstacles<'a>(
        &'a self,
        project: &'a Project,
        host: &'a Host,
        config: &'a Value,
    ) -> BoxFuture<'a, Result<Vec<Obstacle>>> {
        swarm_obstacles::look(project, host, config).boxed()
    }

    fn beyond<'a>(&'a self, project: &'a Project, host: &'a Host) -> BoxFuture<'a, Result<Vec<Obstacle>>> {
        swarm_nodes::look(project, host).boxed()
    }

    fn containers<'a>(&'a self, host: &'a Host, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>> {
        async move {
            let sight = cm_swarm::Sight::of(host, project).await?;
            let mut all: Vec<Container> =
                sight.services.iter().flat_map(|(name, seen)| of_service(name, seen, &sight.images)).collect();
            let gone: Vec<&str> =
                sight.nodes.iter().filter(|node| node.is_gone()).map(|node| node.name.as_str()).collect();
            for one in all.iter_mut().filter(|one| !gone.is_empty() && one.health_output.contains("no suitable node")) {
                one.health_output.push_str(&format!("; away: {}", gone.join(", ")));
            }
            Ok(all)
        }
        .boxed()
    }

    fn runs<'a>(
        &'a self,
        host: &'a Host,
        project: &'a str,
        _: Option<Vec<Runs>>,
    ) -> BoxFuture<'a, Result<Option<Vec<Runs>>>> {
        async move {
            let sight = cm_swarm::Sight::of(host, project).await?;
            let of = |(name, seen): (&String, &Seen)| {
                let id = sight.images.get(&seen.image).cloned().unwrap_or_default();
                let one = Runs::of_service(project, name, &id, seen.env.clone());
                // A service on each node has as many as its file says: one.
                vec![one; seen.replicas.map_or(1, |replicas| usize::try_from(replicas).unwrap_or(1))]
            };
            Ok(Some(sight.services.iter().flat_map(of).collect()))
        }
        .boxed()
    }

    fn inside<'a>(&'a self, host: &'a Host, container: &'a Container) -> BoxFuture<'a, Result<Inside>> {
        swarm_inside::find(host, container).boxed()
    }

    fn others<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Others>> {
        swarm_inside::others(host).boxed()
    }

    fn wants(&self) -> &'static [&'static str] {
        &["network", "volume", "file"]
    }

    fn to_start(&self, service: &str) -> String {
        format!(
            "`docker node ls` and `docker service ps` on a manager say what {service} waits for; start the node that is down"
        )
    }

    fn logs(&self) -> &'static [&'static str] {
        &["docker", "service", "logs", "--raw"]
    }

    fn cure(&self, code: &str) -> Option<&'static str> {
        match code {
            "unhealthy" | "check-failed" | "starting" | "no-answer" | "oom-killed" | "replaced" | "wrong-image" => None,
            "missing" => Some("`docker service ls` on a manager shows what is there; deploy it again"),
            "created" => {
                Some("`docker inspect CONTAINER` on a manager says what it waits for: a node, an image, a port")
            }
            _ => Some("`docker service logs CONTAINER` and `docker inspect CONTAINER` on a manager say why"),
        }
    }
}

fn of_service(name: &str, seen: &Seen, images: &BTreeMap<String, String>) -> Vec<Container> {
    let mut containers: Vec<Container> = seen.in_place().iter().map(|task| of_task(task, &seen.name, images)).collect();
    let stopped = match seen.update {
        Update::Paused => Some("stopped by Swarm partway through its update"),
        Update::RolledBack => Some("rolled back by Swarm itself"),
        Update::Running | Update::Done => None,
    };
    containers.extend(stopped.map(|status| Container {
        id: format!("update of {name}"),
        handle: seen.full_name.clone(),
        name: format!("{name}.update"),
        status: status.to_owned(),
        health_output: seen.message.clone(),
        ..empty(name)
    }));
    containers
}

/// `image` is the compose file's name of it.
fn of_task(task: &Task, image: &str, images: &BTreeMap<String, String>) -> Container {
    let name = if task.node.is_empty() { task.name() } else { format!("{} on {}", task.name(), task.node) };
    let (status, health) = match task.state.as_str() {
        // Swarm calls a task running once its health check has passed, and ends it when that fails.
        "running" => ("running", if task.checked { Health::Healthy } else { Health::None }),
        "starting" if task.checked => ("running", Health::Starting),
        "failed" | "complete" => ("exited", Health::None),
        // One that its node refused is tried again, there or elsewhere: a node that comes back refuses at first.
        "new" | "allocated" | "pending" | "assigned" | "accepted" | "preparing" | "ready" | "starting" | "rejected"
        | "orphaned" => ("created", Health::None),
        other => (other, Health::None),
    };
    Container {
        id: task.id.clone(),
        handle: task.id.clone(),
        name: name.clone(),
        image_id: images.get(&task.image).cloned().unwrap_or_default(),
        image: image.to_owned(),
        status: status.to_owned(),
        started_at: if task.state == "running" { task.since.clone() } else { String::new() },
        exit_code: task.exit_code,
        health,
        health_output: if task.error.is_empty() { String::new() } else { format!("{name}: {}", task.error) },
        ..empty(&task.service)
    }
}

/// A container of which nothing is known but its service. Swarm starts again whatever ends.
fn empty(service: &str) -> Container {
    Container { service: service.to_owned(), restarts: true, ..Container::read(&Value::Null) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: &str) -> Task {
        let own = |text: &str| text.to_owned();
        Task {
            id: own("t1"),
            service: own("web"),
            slot: own("1"),
            node: own("two"),
            state: own(state),
            image: own("r/web@1"),
            checked: true,
            ..Task::default()
        }
    }

    #[test]
    fn a_task_is_a_container_on_some_node() {
        let images = BTreeMap::from([("r/web@1".to_owned(), "sha256:aa".to_owned())]);
        for (state, status, health) in [
            ("running", "running", Health::Healthy),
            ("starting", "running", Health::Starting),
            ("preparing", "created", Health::None),
            ("failed", "exited", Health::None),
            ("rejected", "created", Health::None),
        ] {
            let container = of_task(&task(state), "web:1", &images);
            assert_eq!((container.status.as_str(), container.health), (status, health), "{state}");
            assert_eq!((container.id.as_str(), container.name.as_str()), ("t1", "web.1 on two"));
            assert_eq!(
                (container.image_id.as_str(), container.image.as_str(), container.restarts),
                ("sha256:aa", "web:1", true)
            );
        }
        let unchecked = of_task(&Task { checked: false, ..task("running") }, "web:1", &images);
        assert_eq!(unchecked.health, Health::None);
    }
}
