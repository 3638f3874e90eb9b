//! The hosts of a project: which one a name or a flag means, and which services are whose.

use crate::host::HostSpec;
use crate::{Project, nearest};
use cm_core::{Exit, Failure, Result};
use std::collections::BTreeSet;

impl Project {
    /// The host that a `--host` flag means: one of `cm.toml` by its name, or one that the flag
    /// itself describes.
    ///
    /// # Errors
    /// [`Exit::Config`] for a name that `cm.toml` does not have, with the nearest; [`Exit::Usage`]
    /// for a flag that is no address.
    pub fn host_by_flag(&self, flag: &str) -> Result<HostSpec> {
        if self.describes(flag) { HostSpec::from_flag(flag, &self.name()) } else { self.host(flag).cloned() }
    }

    /// Does what `--host` flags say: names of hosts in `cm.toml` choose among them, and are given
    /// back; hosts that the flags describe take the place of all of them.
    ///
    /// # Errors
    /// As [`Project::host_by_flag`].
    pub fn use_hosts(&mut self, flags: &[String]) -> Result<Option<BTreeSet<String>>> {
        let hosts = flags.iter().map(|flag| self.host_by_flag(flag)).collect::<Result<Vec<_>>>()?;
        if hosts.is_empty() {
            return Ok(None);
        }
        if flags.iter().any(|flag| self.describes(flag)) {
            self.hosts = hosts;
            return Ok(None);
        }
        Ok(Some(hosts.into_iter().map(|host| host.name).collect()))
    }

    fn describes(&self, flag: &str) -> bool {
        flag.contains(['@', '=']) || self.hosts.is_empty()
    }

    /// The host `name`.
    ///
    /// # Errors
    /// [`Exit::Config`] with the nearest name.
    pub fn host(&self, name: &str) -> Result<&HostSpec> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| {
            let known = self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>();
            Failure::new(Exit::Config, "config.unknown-host", format!("there is no host {name:?}"))
                .hint(nearest::hint(name, known))
        })
    }

    /// The host that runs `service`: the one that names it, else the first.
    pub fn host_of(&self, service: &str) -> Option<&HostSpec> {
        let named = self.hosts.iter().find(|host| host.services.iter().any(|known| known == service));
        named.or_else(|| self.hosts.iter().find(|host| host.services.is_empty())).or_else(|| self.hosts.first())
    }

    /// The compose file's services that run on the host `name`.
    pub fn services_on(&self, name: &str) -> Vec<&str> {
        let runs = |service: &&str| self.host_of(service).is_some_and(|host| host.name == name);
        self.compose.names().into_iter().filter(runs).collect()
    }
}
