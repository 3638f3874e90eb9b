//! What differs from engine to engine where services are looked at: one interface. A program asks for the containers of a
//! project and is told of containers, wherever they run; [`crate::sight`] chooses who answers.
//!
//! How services are *switched* to a release differs more, and stands where that is done: `cm_rollout::Replace`.

use crate::Container;
use crate::effective::Runs;
use cm_core::Result;
use cm_host::Host;
use cm_project::Project;
use futures_util::future::BoxFuture;
use serde_json::Value;

/// Something that a project wants and the engine cannot do, or does otherwise.
#[derive(Clone, Debug)]
pub struct Obstacle {
    /// What it is about.
    pub matter: Matter,
    /// For people: what, and where in which file.
    pub message: String,
    /// What to do; empty where there is nothing to do.
    pub hint: String,
    /// Whether a deployment would fail for it, or do harm.
    pub stops: bool,
}

/// What an [`Obstacle`] is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Matter {
    /// A key of the compose file.
    File,
    /// The engine itself.
    Engine,
    /// The other nodes that containers run on.
    Nodes,
    /// The registry that images come from.
    Registry,
}

/// Where a container can be reached.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The host that it runs on.
    pub host: Host,
    /// Its ID there.
    pub id: String,
    /// Its addresses that the host can connect to.
    pub addresses: Vec<String>,
}

/// The machines besides a host on which its engine runs containers.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Those that can be reached, each by the name of its node.
    pub reached: Vec<(String, Host)>,
    /// The names of those that cannot, or that nobody knows an address of.
    pub unknown: Vec<String>,
}

/// What an engine says of what runs, and of what it could run.
pub trait Sight: Sync {
    /// What of `config`, the JSON of `docker compose config` for the version to run, stands in the way there. Only reads.
    ///
    /// # Errors
    /// As [`Sight::containers`]; [`cm_core::Exit::Config`] for a setting of cm.toml that cannot be used.
    fn obstacles<'a>(
        &'a self,
        project: &'a Project,
        host: &'a Host,
        config: &'a Value,
    ) -> BoxFuture<'a, Result<Vec<Obstacle>>>;

    /// The same of the other machines that containers run on, or that may have to take over. Only reads.
    ///
    /// # Errors
    /// As [`Sight::obstacles`].
    fn beyond<'a>(&'a self, project: &'a Project, host: &'a Host) -> BoxFuture<'a, Result<Vec<Obstacle>>>;

    /// Every container of the project called `project`, wherever it runs.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`], or [`cm_core::Exit::HealthUnknown`] if the engine does not answer.
    fn containers<'a>(&'a self, host: &'a Host, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>>;

    /// What runs, for the comparison with what should; `listed` are the containers that the host itself has.
    ///
    /// # Errors
    /// As [`Sight::containers`].
    fn runs<'a>(
        &'a self,
        host: &'a Host,
        project: &'a str,
        listed: Option<Vec<Runs>>,
    ) -> BoxFuture<'a, Result<Option<Vec<Runs>>>>;

    /// Where commands and connections reach `container`.
    ///
    /// # Errors
    /// As [`Sight::containers`]; [`cm_core::Exit::Config`] where no host of cm.toml is the one that it runs on.
    fn inside<'a>(&'a self, host: &'a Host, container: &'a Container) -> BoxFuture<'a, Result<Inside>>;

    /// The other machines that have images of what `host` runs. Only looks.
    ///
    /// # Errors
    /// As [`Sight::containers`].
    fn others<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Others>>;

    /// What this engine wants to be there before it starts a service, as kinds of [`crate::effective::Need`].
    fn wants(&self) -> &'static [&'static str];

    /// How a person starts a service that does not run.
    fn to_start(&self, service: &str) -> String;

    /// Docker's words in front of a container, for the lines that it wrote.
    fn logs(&self) -> &'static [&'static str];

    /// What to do about a container that is not healthy by this code of a verdict, where that is other than with Docker
    /// alone; CONTAINER stands for it.
    fn cure(&self, code: &str) -> Option<&'static str>;
}
