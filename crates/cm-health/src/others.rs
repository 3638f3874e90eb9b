//! Services of the project that were not watched. That one of them is unhealthy does
//! not veto a deployment that did not touch it, but people should hear of it.

use cm_core::Log;
use cm_core::facts::{OtherService, Unhealthy};
use cm_engine::{Container, Health};
use cm_gate::Post;
use cm_project::Project;
use std::collections::BTreeSet;

/// The containers that are not healthy. One that ended with 0 and is not restarted was
/// a job, and one that was never started may be meant so.
pub fn unhealthy(host: &str, containers: &[Container]) -> Vec<Unhealthy> {
    let state = |container: &Container| match container.status.as_str() {
        "running" if container.health == Health::Unhealthy => Some("unhealthy".to_owned()),
        "running" | "created" => None,
        _ if container.has_finished() => None,
        "exited" => Some(format!("exited with {}", container.exit_code)),
        other => Some(other.to_owned()),
    };
    let one = |container: &Container| {
        state(container).map(|state| Unhealthy {
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
pub fn find(
    posts: &[Post],
    containers: &[(String, Vec<Container>)],
    before: Option<Vec<Unhealthy>>,
) -> Vec<OtherService> {
    let mut found = Vec::new();
    for (post, (host, containers)) in posts.iter().zip(containers) {
        let watched: BTreeSet<_> = post.wanted.iter().map(|wanted| wanted.service.as_str()).collect();
        let unwatched = unhealthy(host, containers).into_iter();
        found.extend(unwatched.filter(|unhealthy| !watched.contains(unhealthy.service.as_str())));
    }
    let is_same = |one: &Unhealthy, other: &Unhealthy| one.service == other.service && one.host == other.host;
    let was =
        |unhealthy: &Unhealthy| before.as_ref().map(|before| before.iter().any(|other| is_same(other, unhealthy)));
    let other = |found: Unhealthy| {
        let before = was(&found);
        let Unhealthy { service, host, container, state } = found;
        OtherService { service, host, container, state, before }
    };
    found.into_iter().map(other).collect()
}

/// Services that still run although no profile that is switched on starts them: host and service.
pub fn idle(project: &Project, containers: &[(String, Vec<Container>)]) -> Vec<(String, String)> {
    let of_host = |(host, containers): &(String, Vec<Container>)| {
        let idle = project.effective(host).map(|effective| effective.idle.clone()).unwrap_or_default();
        let runs = |service: &String| {
            containers.iter().any(|container| container.service == *service && container.status == "running")
        };
        idle.into_iter().filter(runs).map(|service| (host.clone(), service)).collect::<Vec<_>>()
    };
    containers.iter().flat_map(of_host).collect()
}

/// Says it, one line for each service in one state; `idle` ones run although nothing starts them.
pub fn warn(others: &[OtherService], idle: &[(String, String)], log: &Log) {
    for line in lines(others, idle) {
        log.warn(format!("not part of this: {line}"));
    }
}

fn lines(others: &[OtherService], idle: &[(String, String)]) -> Vec<String> {
    const IDLE: &str = "no profile that is switched on starts it";
    let is_idle = |service: &str, host: &str| idle.iter().any(|(on, name)| on == host && name == service);
    let mut grouped: Vec<(&OtherService, Vec<&str>)> = Vec::new();
    for other in others {
        let key = |one: &OtherService| (one.service.clone(), one.host.clone(), one.state.clone(), one.before);
        match grouped.iter_mut().find(|(first, _)| key(first) == key(other)) {
            Some((_, containers)) => containers.push(&other.container),
            None => grouped.push((other, vec![&other.container])),
        }
    }
    let sick = grouped.iter().map(|(other, containers)| {
        let since = match other.before {
            Some(true) => " (as before the deployment)",
            Some(false) => " (it was healthy before the deployment)",
            None => "",
        };
        let idle = if is_idle(&other.service, &other.host) { format!("; {IDLE}") } else { String::new() };
        let word = if containers.len() == 1 { "container" } else { "containers" };
        let names = containers.join(", ");
        format!("{} on {}: {}{since}{idle}; {word} {names}", other.service, other.host, other.state)
    });
    let is_told = |host: &str, service: &str| others.iter().any(|one| one.service == service && one.host == host);
    let left = idle.iter().filter(|(host, service)| !is_told(host, service));
    sick.chain(left.map(|(host, service)| format!("{service} on {host} runs, and {IDLE}; it was left as it is")))
        .collect()
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
    fn jobs_that_are_done_are_healthy() {
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
            let found = unhealthy("one", &[container(status, exit, restarts, health)]);
            assert_eq!(
                found.first().map(|unhealthy| unhealthy.state.as_str()),
                state,
                "{status} {exit} {restarts} {health}"
            );
        }
    }

    #[test]
    fn each_service_is_told_once() {
        let other = |service: &str, container: &str, state: &str, before| OtherService {
            service: service.to_owned(),
            host: "one".to_owned(),
            container: container.to_owned(),
            state: state.to_owned(),
            before,
        };
        let others = [
            other("web", "shop-web-1", "unhealthy", Some(true)),
            other("old", "shop-old-1", "restarting", None),
            other("web", "shop-web-2", "unhealthy", Some(true)),
            other("web", "shop-web-3", "exited with 1", Some(true)),
        ];
        let idle = [("one".to_owned(), "old".to_owned()), ("one".to_owned(), "debug".to_owned())];
        assert_eq!(
            lines(&others, &idle),
            [
                "web on one: unhealthy (as before the deployment); containers shop-web-1, shop-web-2",
                "old on one: restarting; no profile that is switched on starts it; container shop-old-1",
                "web on one: exited with 1 (as before the deployment); container shop-web-3",
                "debug on one runs, and no profile that is switched on starts it; it was left as it is",
            ]
        );
    }
}
