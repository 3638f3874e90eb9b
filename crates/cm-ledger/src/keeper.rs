//! Who keeps the records of a ledger: the host's own file, or the Swarm that the host speaks for.
//!
//! A Swarm keeps each record as a config of its own. Its managers replicate those by Raft, so that the ledger survives
//! the loss of any minority of them with nothing for cm to reconcile, and a name can be taken once, which makes adding a
//! record a comparison and a change in one. (Copies that cm itself brought to each manager's disk would differ whenever
//! one was away.) The file on a manager is a copy for reading; it is brought up to date before each look.

use cm_core::{Exit, Failure, Result};
use cm_host::{Fenced, Host, Output};
use cm_project::Engine;

/// As many records a Swarm keeps; the file of a manager has more.
const MOST: usize = 500;

const READ: &str = include_str!("read.sh");
const READ_OF_SWARM: &str = concat!(
    "# Reads a ledger that a Swarm keeps.\n",
    cm_host::small_sh!(),
    include_str!("bring.sh"),
    "bring \"$1\" \"$4\"\n",
    include_str!("read.sh")
);
const KEEP: &str = concat!(
    "# Adds to a ledger that a Swarm keeps.\n",
    cm_host::small_sh!(),
    cm_swarm::config_stem_sh!(),
    include_str!("bring.sh"),
    include_str!("keep.sh")
);

/// What [`READ_OF_SWARM`] and [`KEEP`] end with where the host does not speak for a Swarm.
const NO_SWARM: i32 = 46;

/// The answer of `read.sh` about the ledger at `path` of `project`.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::Config`] with the code of what is wrong with the Swarm.
pub(crate) async fn read(host: &Host, project: &str, arguments: [String; 3]) -> Result<Output> {
    let output = match host.engine() {
        Engine::Compose => host.script(READ, arguments).output().await?,
        Engine::Swarm => host.script(READ_OF_SWARM, arguments.into_iter().chain([project.to_owned()])).output().await?,
    };
    if output.status.code() == Some(NO_SWARM) { Err(no_swarm(host, &output)) } else { Ok(output) }
}

/// Adds `line` to the ledger at `path`, so that no power cut loses it.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::LockLost`]; [`Exit::Build`] if it cannot be written.
pub(crate) async fn add(host: &Fenced, project: &str, path: &str, line: &str) -> Result<()> {
    match host.engine() {
        Engine::Compose => host.append(path, line, Exit::Build).await,
        Engine::Swarm => {
            let arguments = [host.path(path), project.to_owned(), MOST.to_string()];
            let output = host.script(KEEP, arguments).stdin(line.as_bytes()).output().await?;
            match output.status.code() {
                Some(0) => Ok(()),
                Some(NO_SWARM) => Err(Failure { exit: Exit::Build, ..no_swarm(host, &output) }),
                _ => {
                    let message = format!("on {}: cannot add to the ledger that the Swarm keeps", host.name());
                    Err(Failure::new(Exit::Build, "host.append", message).cause(output.stderr.trim_end()))
                }
            }
        }
    }
}

fn no_swarm(host: &Host, output: &Output) -> Failure {
    let failure = cm_swarm::no_manager(host, &String::from_utf8_lossy(&output.stdout), &output.stderr);
    Failure { exit: Exit::Config, ..failure }
}
