//! The command line.

use clap::{Parser, Subcommand};
use cm_core::CommonArgs;
use std::path::PathBuf;

/// Take a MongoDB backup and prove it: it is read back to its last byte before it
/// gets its name, and before anything is deployed.
///
/// In a pipe, or in a repository with a cm.toml, it backs up what `[backup]` there
/// says: the database of a service on a server, reached through SSH, into a folder
/// of that server. With --uri-env and --output it needs neither SSH nor cm.toml.
#[derive(Clone, Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// What every program has.
    #[command(flatten)]
    pub common: CommonArgs,

    /// Other uses than making a backup.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The host the database runs on, by its name in cm.toml
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,

    /// The database's service in the compose file
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Read the database's URI from this variable of the environment, and go there directly
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["host", "service"])]
    pub uri_env: Option<String>,

    /// The database; otherwise the one cm.toml names, or the URI
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,

    /// Keep the backup here: a folder or a new file of this machine, or - for stdout
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,

    /// Keep the backup in this folder of the host
    #[arg(long, value_name = "PATH", conflicts_with = "output")]
    pub remote_dir: Option<String>,

    /// Take a database without any document, or one that is not there, as it is
    #[arg(long)]
    pub allow_empty: bool,

    /// Make an error of what is worth a warning: a backup much smaller than the last
    /// one, counts that differ; `verify`: a file without a manifest
    #[arg(long, global = true)]
    pub strict: bool,
}

/// Other uses than making a backup.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read a backup to its last byte and compare it with its manifest
    Verify {
        /// The file; - for stdin. Any mongodump archive will do
        file: PathBuf,

        /// Its manifest; otherwise the one beside it
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,

        /// Write what was found as JSON to stdout
        #[arg(long)]
        json: bool,
    },

    /// List the backups in the folder that cm.toml names, or in one of this machine
    List {
        /// A folder of this machine
        folder: Option<PathBuf>,

        /// Write the list as JSON
        #[arg(long)]
        json: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  cm-detect | cm-backup | cm-build
      back up before a deploy
  cm-backup --uri-env MONGODB_URI --database shop --output /var/backups
      anywhere, without SSH and without cm.toml
  cm-backup verify /var/backups/shop-20260504T093000.500Z.archive.gz
      prove a backup again
  mongorestore --gzip --archive=FILE
      restore one: the files are mongodump archives";
