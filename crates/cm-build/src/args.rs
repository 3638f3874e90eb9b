//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand};
use cm_core::CommonArgs;
use std::path::PathBuf;

/// Bring servers to a commit and rebuild what changed
///
/// Reads the plan from stdin (`cm-detect | cm-build`), moves each host's checkout to
/// the commit around its protected files, builds the images of the services that
/// changed, and replaces their containers. Without a document it brings the named
/// services to what the remote branch holds: `cm-build --service web </dev/null`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A part of the work instead of a deployment
    #[command(subcommand)]
    pub command: Option<Sub>,

    /// Apply this plan, the document of an earlier --dry-run, as it is; refused (exit status 30)
    /// if a server or the branch has moved since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["service", "all", "full", "discard_local_changes"])]
    pub plan: Option<PathBuf>,

    /// What to build and how
    #[command(flatten)]
    pub selection: Selection,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Which services, and how.
#[derive(Clone, Debug, ClapArgs)]
pub struct Selection {
    /// Without a document: build this service (may be repeated)
    #[arg(long, value_name = "NAME", add = cm_project::complete::services())]
    pub service: Vec<String>,

    /// Without a document: build every service
    #[arg(long, conflicts_with = "service")]
    pub all: bool,

    /// Build without cache, replace every container, remove orphans
    #[arg(long)]
    pub full: bool,

    /// Destroy files that were changed by hand on a host and are in the way
    #[arg(long)]
    pub discard_local_changes: bool,
}

/// Parts of the work.
#[derive(Clone, Debug, Subcommand)]
pub enum Sub {
    /// Decide about a job that was interrupted
    ///
    /// A job of a release is run once. One that did not come to its end by itself is not run again unasked: look
    /// at the database, and say here what the next deployment of the same commit does about it.
    Job(Decision),

    /// Remove images that no container and no kept release needs
    ///
    /// A filter too: in a pipe after cm-verify it prunes the document's hosts;
    /// without a document, all hosts of cm.toml. Only images that cm tagged are
    /// considered; what runs and the last verified releases stay.
    Prune,
    /// Push the commit to the branch that it is deployed as
    ///
    /// A filter between cm-detect and the first program that looks at a server. On another
    /// branch than the one that is deployed it refuses (exit status 20), unless cm-detect was
    /// told the branch.
    Push,
}

/// What becomes of a job that was interrupted.
#[derive(Clone, Debug, ClapArgs)]
pub struct Decision {
    /// Its name, as the error has it: the service, or "SERVICE: COMMAND"
    pub name: String,

    /// The next deployment runs it again
    #[arg(long, conflicts_with = "done", required_unless_present = "done")]
    pub again: bool,

    /// It counts as done
    #[arg(long)]
    pub done: bool,
}
