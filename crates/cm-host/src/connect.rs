//! From a project to its hosts, in one call.

use crate::{Host, Target, connect_all};
use cm_core::{Log, Result};
use cm_project::{HostSpec, Project};

/// What can be connected to: a project knows where its hosts are.
pub trait Connect {
    /// Connects to the hosts of these names, all at once, in their order.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] for a name that there is not, or an address that lacks a variable;
    /// [`cm_core::Exit::Unreachable`] for the first host that cannot be reached.
    fn connect<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        log: &Log,
    ) -> impl Future<Output = Result<Vec<Host>>>;

    /// Connects to every host, in the order of `cm.toml`.
    ///
    /// # Errors
    /// As [`Connect::connect`].
    fn connect_to_all(&self, log: &Log) -> impl Future<Output = Result<Vec<Host>>>;

    /// Connects to one host.
    ///
    /// # Errors
    /// As [`Connect::connect`].
    fn connect_to(&self, host: &HostSpec, log: &Log) -> impl Future<Output = Result<Host>>;
}

impl Connect for Project {
    async fn connect<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>, log: &Log) -> Result<Vec<Host>> {
        let targets = names.into_iter().map(|name| Target::of(self, self.host(name.as_ref())?));
        connect_all(&targets.collect::<Result<Vec<_>>>()?, log).await
    }

    async fn connect_to_all(&self, log: &Log) -> Result<Vec<Host>> {
        let targets = self.hosts().iter().map(|host| Target::of(self, host));
        connect_all(&targets.collect::<Result<Vec<_>>>()?, log).await
    }

    async fn connect_to(&self, host: &HostSpec, log: &Log) -> Result<Host> {
        Host::connect(&Target::of(self, host)?, log).await
    }
}
