//! The command line.

use clap::Parser;
use cm_core::CommonArgs;

/// Roll back to the last verified release
///
/// At the end of a pipe (`--on-failure`) it acts on a failed document: every host
/// that was switched is rolled back to its last verified release, by the images that were
/// kept, without a build. Used alone it rolls back the newest release, on the hosts
/// that it changed. What it rolled back to is gated and verified like a deployment.
#[derive(Debug, Parser)]
pub struct Args {
    /// Act on a failed document only, and pass any other one on
    #[arg(long)]
    pub on_failure: bool,

    /// Resume from the journal of this run, whose programs were killed
    #[arg(long, value_name = "ID", requires = "on_failure")]
    pub run: Option<String>,

    /// Roll back to how things were with this release or commit (as cm-rollback --list shows it),
    /// also to one that is marked failed
    #[arg(long, value_name = "RELEASE|COMMIT", conflicts_with = "on_failure")]
    pub to: Option<String>,

    /// Only this service (may be repeated)
    #[arg(long, value_name = "NAME", conflicts_with = "on_failure", add = cm_project::complete::services())]
    pub service: Vec<String>,

    /// Only this host (may be repeated)
    #[arg(long, value_name = "NAME", conflicts_with = "on_failure", add = cm_project::complete::hosts())]
    pub host: Vec<String>,

    /// Put back the env file that the release ran with, too
    #[arg(long)]
    pub with_env: bool,

    /// Build images that are gone again, from the commits they came from
    #[arg(long)]
    pub rebuild: bool,

    /// Roll back further after a rollback, and across releases with irreversible migrations
    /// (`migrations` in [rollback] of cm.toml)
    #[arg(long)]
    pub confirm: bool,

    /// With --confirm: restore the backup from before the first of those releases, too
    #[arg(long, requires = "confirm")]
    pub restore_db: bool,

    /// Do not ask the outside checks afterwards; the health gate always decides
    #[arg(long)]
    pub skip_verify: bool,

    /// List the releases of every host and whether their images are still there
    #[arg(long, conflicts_with_all = ["on_failure", "to", "service", "host", "with_env", "rebuild", "confirm", "skip_verify"])]
    pub list: bool,

    /// With --list: how many releases a host
    #[arg(long, short = 'n', requires = "list", default_value_t = 20)]
    pub last: usize,

    /// With --list: print JSON instead of a table
    #[arg(long, requires = "list")]
    pub json: bool,

    /// With --list: print everything, however narrow the terminal
    #[arg(long, requires = "list")]
    pub wide: bool,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}
