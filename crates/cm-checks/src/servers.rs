//! What the servers must be asked for before checks can be made: the container behind
//! a check inside the network, and which commit's image a service runs. Most checks
//! need neither, and then no server is asked.

use super::network;
use cm_core::{Log, Result};
use cm_engine::Container;
use cm_host::{Connect, Forward, Host};
use cm_http::Client;
use cm_project::{Check, Project};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Why something is not known, for people.
type Unknown = String;

/// What a server said.
struct Server {
    host: Host,
    containers: Vec<Container>,
}

/// The servers of some services.
pub struct Servers<'a> {
    project: &'a Project,
    seen: BTreeMap<String, Result<Server, Unknown>>,
    tunnels: Vec<Forward>,
}

/// The service whose container a check asks, or whose commit it wants to see.
pub fn service_of(check: &Check) -> Option<String> {
    let named = check.service.as_ref().map(|service| service.as_ref().clone());
    let asked = || check.url.expand().ok().as_deref().and_then(cm_http::host).filter(|_| check.in_network);
    named.or_else(asked)
}

impl<'a> Servers<'a> {
    /// Looks at the servers of `services`.
    pub async fn look(project: &'a Project, services: &BTreeSet<String>, log: &Log) -> Servers<'a> {
        let mut servers = Servers { project, seen: BTreeMap::new(), tunnels: Vec::new() };
        let hosts = services.iter().filter_map(|service| project.host_of(service));
        for name in hosts.map(|host| host.name.clone()).collect::<BTreeSet<_>>() {
            let server = ask(project, &name, log).await.map_err(|failure| failure.to_string());
            servers.seen.insert(name, server);
        }
        servers
    }

    /// The first running container of a service, and where it runs.
    fn container(&self, service: &str) -> Result<(&Server, &Container), Unknown> {
        let host = self.project.host_of(service).ok_or_else(|| format!("no host runs a service {service:?}"))?;
        let server = self.seen.get(&host.name).ok_or_else(|| format!("host {:?} was not asked", host.name))?;
        let server = server.as_ref().map_err(Clone::clone)?;
        let mut running =
            server.containers.iter().filter(|container| container.service == service && container.is_running());
        let container = running.next().ok_or_else(|| format!("no container of {service} runs on {}", host.name))?;
        Ok((server, container))
    }

    /// The commit that the running container's image was built from.
    pub fn revision(&self, service: &str) -> Result<String, Unknown> {
        let (_, container) = self.container(service)?;
        let revision = Some(container.revision.clone()).filter(|revision| !revision.is_empty());
        revision.ok_or_else(|| format!("the image of {service} says no commit (org.opencontainers.image.revision)"))
    }

    /// A client whose requests reach the service itself, whatever stands before it.
    pub async fn client(&mut self, service: &str, port: u16, limit: Duration) -> Result<Client, Unknown> {
        let (server, container) = self.container(service)?;
        let (client, tunnel) = network::client(&server.host, container, service, port, limit).await?;
        self.tunnels.extend(tunnel);
        Ok(client)
    }

    /// Closes the tunnels.
    pub async fn close(self) {
        for tunnel in self.tunnels {
            tunnel.close().await;
        }
    }
}

async fn ask(project: &Project, name: &str, log: &Log) -> Result<Server> {
    let host = project.connect_to(project.host(name)?, log).await?;
    let containers = cm_engine::project_containers(project, &host).await?;
    Ok(Server { host, containers })
}
