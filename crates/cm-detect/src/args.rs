//! The command line.

use clap::{Parser, ValueEnum};
use cm_core::CommonArgs;
use std::path::PathBuf;

/// Find the services that a commit changes
///
/// Asks each host what its services run, compares those commits with the one to
/// deploy, and writes a document that says for every service of the compose file what
/// is to be done and why. What a service depends on is inferred: build context,
/// Dockerfile, the stages of its target and what they copy, ignore files, base images
/// that other services build, env files, mounted files.
///
/// What is deployed is the commit at HEAD. On another branch than the deploy branch it
/// still is, with a warning; with --branch it is that branch's local tip (the remote
/// one where there is no local branch), whatever is checked out. Uncommitted changes
/// are never deployed.
///
/// Only reads: the repository, and the hosts' ledgers. To see what would happen:
/// `cm-detect | cm-build --dry-run`; without any host: `cm-detect --base origin/develop`.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Compare with this revision instead of what the hosts run; asks no host
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,

    /// Deploy this revision instead of HEAD
    #[arg(long, value_name = "REV", conflicts_with = "pushed")]
    pub head: Option<String>,

    /// Deploy what the remote-tracking branch holds, as the last fetch left it
    #[arg(long)]
    pub pushed: bool,

    /// Deploy this branch [default: CM_BRANCH, else `branch` in cm.toml]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,

    /// Rebuild or recreate every service
    #[arg(long)]
    pub full: bool,

    /// Only the services of this group, changed or not (may be repeated)
    #[arg(long, value_name = "NAME", add = cm_project::complete::groups())]
    pub group: Vec<String>,

    /// Only this service, changed or not (may be repeated)
    #[arg(long, value_name = "NAME", add = cm_project::complete::services())]
    pub service: Vec<String>,

    /// Do not check the syntax of changed Python files
    #[arg(long)]
    pub skip_syntax_check: bool,

    /// What a base that this clone does not know means [default: all for what hosts run, fail for --base]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_unknown_base: Option<OnUnknownBase>,

    /// Say as text why something is to be done to this service, instead of writing a document
    #[arg(long, value_name = "SERVICE")]
    pub explain: Option<String>,

    /// Compare two revisions of this repository; it may be bare, nothing is checked out
    #[arg(long, value_name = "DIR", requires = "base")]
    pub repo: Option<PathBuf>,

    /// The compose file in the repository, instead of what cm.toml says (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub compose_file: Vec<String>,

    /// Only this host of cm.toml and the services there; or [NAME=]user@server[:checkout] instead of those in cm.toml (may be repeated)
    #[arg(long, value_name = "HOST", add = cm_project::complete::hosts())]
    pub host: Vec<String>,

    /// Write a commented cm.toml for this compose repository from what is found in it;
    /// never overwrites one. With --dry-run it is printed instead
    #[arg(long, conflicts_with_all = ["base", "head", "pushed", "branch", "full", "group", "service", "explain", "repo"])]
    pub init: bool,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a base that cannot be found means. Never "nothing changed".
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnUnknownBase {
    /// Everything changed.
    All,
    /// Stop.
    Fail,
}
