//! The command line.

use cm_core::CommonArgs;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cm-lock run -- ./scripts/deploy-to-vps.sh         hold the lock while the script runs
  cm-lock run --wait 10m --reason hotfix -- make deploy
  cm-lock status                                    who holds it?
  cm-lock break --confirm=ada@laptop                take it from a holder that is gone
  cm-detect | cm-lock acquire --owner-pid $$ | cm-build | cm-health | cm-lock release

With `run`, the exit status is COMMAND's own, or 128+N if signal N ended it.";

/// Hold the deploy lock
///
/// The lock is a kernel lock on this machine and a record with a lease on every host. Without
/// a subcommand, cm-lock is a filter: it checks that the lock of this run still holds.
#[derive(Clone, Debug, clap::Parser)]
#[command(before_long_help = EXAMPLES)]
pub struct Args {
    /// What to do with the lock.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The flags every program has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// A use of the lock.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Hold the lock for exactly the life of COMMAND
    Run(RunArgs),
    /// Take the lock for the life of another process; a filter
    Acquire(AcquireArgs),
    /// Give back what `acquire` took, also when the run has failed; a filter
    Release,
    /// Say who holds the lock: a table on a terminal, JSON elsewhere
    Status {
        /// JSON on a terminal, too
        #[arg(long)]
        json: bool,
        /// Print everything, however narrow the terminal
        #[arg(long)]
        wide: bool,
        /// Which lock
        #[command(flatten)]
        place: Where,
    },
    /// Take the lock away from its holder
    Break(BreakArgs),
    /// Hold the lock in the background; started by `acquire`
    #[command(hide = true)]
    Hold,
}

/// Which lock.
#[derive(Clone, Debug, clap::Args)]
pub struct Where {
    /// The lock file of this machine, in the place of cm.toml's
    #[arg(long, value_name = "PATH", env = "CM_LOCK_FILE")]
    pub file: Option<PathBuf>,

    /// A host of cm.toml, or [NAME=]USER@SERVER; all hosts of cm.toml if none is given
    #[arg(long, value_name = "NAME", add = cm_project::complete::hosts())]
    pub host: Vec<String>,

    /// Only this machine, no hosts
    #[arg(long, conflicts_with = "host")]
    pub local: bool,
}

/// `cm-lock run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Which lock.
    #[command(flatten)]
    pub place: Where,

    /// How it is taken.
    #[command(flatten)]
    pub taking: Taking,

    /// What to run while the lock is held
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How a lock is taken.
#[derive(Clone, Debug, clap::Args)]
pub struct Taking {
    /// Wait this long for the lock, such as 10m; without it, refuse at once, or wait for the rest of
    /// the lease of a holder that is known to be gone
    #[arg(long, value_name = "TIME", value_parser = cm_core::time::length)]
    pub wait: Option<Duration>,

    /// Why; whoever is refused meanwhile reads it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `cm-lock acquire`.
#[derive(Clone, Debug, clap::Args)]
pub struct AcquireArgs {
    /// Which lock.
    #[command(flatten)]
    pub place: Where,

    /// How it is taken.
    #[command(flatten)]
    pub taking: Taking,

    /// The process that the lock lives as long as: $$ of the script
    #[arg(long, value_name = "PID")]
    pub owner_pid: u32,
}

/// `cm-lock break`.
#[derive(Clone, Debug, clap::Args)]
pub struct BreakArgs {
    /// Which lock.
    #[command(flatten)]
    pub place: Where,

    /// The holder's name as `status` shows it; `unreadable` for a record that cannot be read
    #[arg(long, value_name = "NAME")]
    pub confirm: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
