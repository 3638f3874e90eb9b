//! Where a deployment happens: a server over SSH, or this machine. One SSH
//! connection per host is shared by all programs of a run through a control
//! socket; commands are lists of arguments, never lines for a shell; everything
//! has a time limit.
//!
//! Relative paths start in the deploy user's home directory on the host, so
//! `~/platform` needs no round trip to be understood.

mod address;
mod budget;
mod command;
mod connect;
mod faults;
mod fence;
mod fenced;
mod files;
mod forward;
mod hiding;
mod job;
mod json;
mod lender;
mod managers;
mod output;
mod process;
mod running;
mod shell;
mod small;
mod ssh;
mod ssh_words;
mod transfer;
mod unreachable;
mod verbs;

pub use address::url_host;
pub use command::{Change, Command};
pub use connect::Connect;
pub use fence::Fence;
pub use fenced::{Fenced, Unlocked};
pub use forward::Forward;
pub use hiding::Secrets;
pub use job::{Begun, END_JOB};
pub use json::parse as parse_json;
pub use lender::Lender;
pub use output::Output;
pub use process::no_shell;
pub use transfer::{Phase, Transfer};

use cm_core::{Log, Result};
use cm_project::Engine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Where a host is, how to get there, and what runs services there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    /// Its name in `cm.toml`.
    pub name: String,
    /// `user@host`, `user@host:port`, `[address]:port`, an alias of `ssh_config`, `ssh://user@host:port`, or
    /// `local` for this machine.
    pub address: String,
    /// Further addresses, for when that does not answer: other managers of the Swarm that the host speaks for.
    pub others: Vec<String>,
    /// The addresses of nodes that run containers of it and do not speak for it: the workers of the Swarm.
    pub workers: Vec<String>,
    /// The `ssh_config` to use instead of the user's.
    pub ssh_config: Option<PathBuf>,
    /// What runs services there.
    pub engine: Engine,
}

impl Target {
    /// The host as the project's configuration names it.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] that names the variable its address wants.
    pub fn of(project: &cm_project::Project, host: &cm_project::HostSpec) -> Result<Self> {
        let (others, workers) = match host.is_by_flag() {
            true => (Vec::new(), Vec::new()),
            false => (project.managers()?, project.workers()?),
        };
        let (ssh_config, engine) = (project.ssh_config.clone(), project.engine());
        Ok(Target { others, workers, ssh_config, engine, ..Target::at(&host.name, &host.address()?) })
    }

    /// The host `name` at this one address, with the user's `ssh_config` and Docker Compose.
    pub fn at(name: &str, address: &str) -> Self {
        Target {
            name: name.to_owned(),
            address: address.to_owned(),
            others: Vec::new(),
            workers: Vec::new(),
            ssh_config: None,
            engine: Engine::default(),
        }
    }

    /// Each other machine that runs containers of it, as a host of its own.
    pub fn machines(&self) -> impl Iterator<Item = Target> {
        let alone = Target { others: Vec::new(), workers: Vec::new(), ..self.clone() };
        let mut seen = BTreeSet::from([self.address.clone()]);
        let all = self.others.iter().chain(&self.workers).filter(move |address| seen.insert((*address).clone()));
        all.map(move |address| Target { address: address.clone(), ..alone.clone() })
    }

    /// Whether this is the machine the program runs on.
    pub fn is_local(&self) -> bool {
        self.address == "local"
    }

    /// How a person reaches it: `ssh -F CONFIG -p PORT USER@HOST`, with what of it is needed.
    pub fn ssh_command(&self) -> String {
        let typed = address::Destination::of(self).map_or_else(|_| self.address.clone(), |known| known.typed());
        format!("ssh{} {typed}", self.config_flag())
    }

    /// `ssh` reads another configuration only when it is told.
    fn config_flag(&self) -> String {
        self.ssh_config.as_ref().map(|config| format!(" -F {}", config.display())).unwrap_or_default()
    }

    /// Whether an earlier program has opened a connection to it, as far as that is known without asking anybody.
    pub fn is_connected(&self) -> bool {
        !self.is_local() && ssh::has_socket(self)
    }

    /// The path as this host understands it: `~/x` is `x` in the home directory, where commands start.
    pub fn path(&self, path: &str) -> String {
        let relative = match path {
            "~" => ".",
            _ => path.strip_prefix("~/").unwrap_or(path),
        };
        match self.is_local() && !relative.starts_with('/') {
            true => std::env::home_dir().unwrap_or_default().join(relative).to_string_lossy().into_owned(),
            false => relative.to_owned(),
        }
    }
}

/// A host that commands can be run on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    target: Arc<Target>,
    transport: process::Transport,
    sessions: Arc<shell::Sessions>,
    /// Whether sshd opens tunnels, once somebody has asked.
    tunnels: Arc<OnceCell<bool>>,
}

impl Host {
    /// Reaches the host: over the connection that an earlier program of this run
    /// opened, or over a new one. Of several addresses the first that answers for its engine counts.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`] with what ssh said.
    pub async fn connect(target: &Target, log: &Log) -> Result<Host> {
        if target.others.is_empty() { Host::straight(target, log).await } else { managers::reach(target, log).await }
    }

    /// Reaches the first address of a target alone.
    async fn straight(target: &Target, log: &Log) -> Result<Host> {
        let transport = if target.is_local() {
            process::Transport::Local
        } else {
            log.debug(format!("connecting to {} ({})", target.name, target.address));
            process::Transport::Ssh(Arc::new(ssh::Line::open(target).await?))
        };
        let (target, sessions) = (Arc::new(target.clone()), Arc::new(shell::Sessions::new()));
        Ok(Host { target, transport, sessions, tunnels: Arc::default() })
    }

    /// The same host over a new connection, after one that broke.
    ///
    /// # Errors
    /// As [`Host::connect`].
    pub async fn again(&self, log: &Log) -> Result<Host> {
        Host::connect(&self.target, log).await
    }

    /// What runs services there.
    pub fn engine(&self) -> Engine {
        self.target.engine
    }

    /// Opens shells for as many commands as may run at the same time, less one that runs
    /// meanwhile: for who knows that it will need them, while it waits for something else.
    pub async fn open_shells(&self) {
        if self.transport.is_ssh() {
            self.sessions.open(&self.transport, self.name(), shell::MAX_SESSIONS - 1).await;
        }
    }

    /// Whether sshd allows fewer sessions on a connection than are wanted at a time (`MaxSessions`). Where one
    /// connection was too few, other programs may have used it as well: a connection of our own tells.
    pub async fn allows_few_sessions(&self) -> bool {
        match &self.transport {
            process::Transport::Ssh(line) if line.is_crowded() => {
                let Some(own) = line.of_our_own().await else { return false };
                let few = process::refuses(&own, shell::MAX_SESSIONS).await;
                ssh::end(own).await;
                few
            }
            _ => false,
        }
    }

    /// The host's name in `cm.toml`.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A command that only reads on this host: the program and its arguments. What changes
    /// something is a command of a [`Fenced`].
    pub fn command<I, S>(&self, argv: I) -> Command<'_>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Command::reading(self, argv.into_iter().map(Into::into).collect())
    }

    /// A fixed POSIX shell script that only reads, with `arguments` as `$1`, `$2`…; data never
    /// becomes part of the script.
    pub fn script<I, S>(&self, script: &'static str, arguments: I) -> Command<'_>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Command::reading(self, script_argv(script, arguments))
    }

    /// The path as this host understands it: `~/x` is `x` in the home directory,
    /// where commands start.
    pub fn path(&self, path: &str) -> String {
        self.target.path(path)
    }
}

/// Where the state of `project` is on a host: its lock, its ledger, its builds and snapshots.
pub fn state_dir(project: &str) -> String {
    format!("~/.local/state/cm/{project}")
}

/// Where a host lists the containers that a backup of `project` has stopped and has to start again.
pub fn stopped_dir(project: &str) -> String {
    format!("{}/stopped", state_dir(project))
}

fn script_argv<I, S>(script: &'static str, arguments: I) -> Vec<String>
where
    I: IntoIterator<Item = S>,
    S: Into<String>,
{
    let fixed = ["sh", "-c", script, "sh"].map(str::to_owned);
    fixed.into_iter().chain(arguments.into_iter().map(Into::into)).collect()
}

/// Connects to several hosts at once, in the order of `targets`.
///
/// # Errors
/// The first host that cannot be reached.
pub async fn connect_all(targets: &[Target], log: &Log) -> Result<Vec<Host>> {
    let mut connecting = Vec::new();
    for target in targets {
        let (target, log) = (target.clone(), log.clone());
        connecting.push(tokio::spawn(async move { Host::connect(&target, &log).await }));
    }
    let mut hosts = Vec::new();
    for task in connecting {
        hosts.push(task.await.map_err(|error| cm_core::Failure::bug("connecting ended early").cause(error))??);
    }
    Ok(hosts)
}
