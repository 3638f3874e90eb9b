//! The command line.

use crate::codec::Compressed;
use crate::dump::Method;
use crate::moment::Wanted;
use crate::select::{ReadFrom, parse_bytes};
use clap::{Parser, Subcommand};
use cm_core::CommonArgs;
use std::path::PathBuf;

/// Take a MongoDB backup and prove it: it is read back to its last byte before it
/// gets its name, and before anything is deployed.
///
/// In a pipe, or in a repository with a cm.toml, it backs up what `[backup]` there
/// says: the database of a service on a server, reached through SSH, into a directory
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
    #[arg(long, value_name = "NAME", global = true, add = cm_project::complete::hosts())]
    pub host: Option<String>,

    /// The database's service in the compose file
    #[arg(long, value_name = "NAME", global = true, add = cm_project::complete::services())]
    pub service: Option<String>,

    /// Read the database's URI from this variable of the environment, and go there directly
    #[arg(long, value_name = "VARIABLE", global = true, conflicts_with_all = ["host", "service"])]
    pub uri_env: Option<String>,

    /// The database; otherwise the one cm.toml names, or the URI. `restore`: restore into
    /// this one, otherwise the one of the backup
    #[arg(long, visible_alias = "db", value_name = "NAME", global = true)]
    pub database: Option<String>,

    /// Keep the backup here: a directory or a new file of this machine, or - for stdout
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,

    /// Keep the backup in this directory of the host
    #[arg(long, value_name = "PATH", conflicts_with = "output")]
    pub remote_dir: Option<String>,

    /// Read only this collection; may be given several times
    #[arg(long, value_name = "NAME")]
    pub collection: Vec<String>,

    /// Do not read this collection; may be given several times
    #[arg(long, value_name = "NAME")]
    pub exclude_collection: Vec<String>,

    /// Read only what this query finds in the one --collection, in Extended JSON
    #[arg(long, value_name = "JSON")]
    pub query: Option<String>,

    /// The member of a replica set to read from, where the URI leads to all of it
    #[arg(long, value_name = "MEMBER", value_enum)]
    pub read_preference: Option<ReadFrom>,

    /// Read at most so many bytes a second, such as 20M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub rate_limit: Option<u64>,

    /// Who reads: cm-backup, or the mongodump in the database's container
    #[arg(long, value_enum, default_value_t)]
    pub method: Method,

    /// Where cm-backup works: on the server, so that no data leaves it, or on this machine. auto
    /// is the server if this version is installed there
    #[arg(long, value_name = "PLACE", value_enum, default_value_t)]
    pub run_on: Place,

    /// How the file is compressed
    #[arg(long, value_enum, default_value_t)]
    pub compression: Compressed,

    /// Whether all of it has to be of one moment, which a replica set can show
    #[arg(long, value_enum, default_value_t)]
    pub consistency: Wanted,

    /// Before the backup gets its name, restore it into a database that nobody uses, compare,
    /// and drop that; the URI's user must be allowed to
    #[arg(long)]
    pub restore_check: bool,

    /// Take a database without any document, or one that is not there, as it is
    #[arg(long)]
    pub allow_empty: bool,

    /// Afterwards remove all but the newest N backups of this database; `keep` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep: Option<u32>,

    /// Afterwards remove backups older than N days; with --keep, only those that neither
    /// keeps. One that a release may be taken back with stays; `keep_days` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep_days: Option<u32>,

    /// Make an error of what is worth a warning: a backup much smaller than the last
    /// one, counts that differ; `verify`: a file without a manifest
    #[arg(long, global = true)]
    pub strict: bool,
}

/// Where the program works.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Place {
    /// On the server, if this version is installed there.
    #[default]
    Auto,
    /// On this machine, through a tunnel.
    Here,
    /// On the server in any case.
    Server,
}

/// Other uses than making a backup.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read a backup to its last byte and compare it with its manifest
    Verify {
        /// The file, or HOST:PATH; - for stdin. Any mongodump archive or directory will do
        file: PathBuf,

        /// Its manifest; otherwise the one beside it
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,

        /// Also restore it into a database that nobody uses, of the server that --uri-env or
        /// cm.toml names, compare, and drop that
        #[arg(long)]
        restore_check: bool,

        /// Write what was found as JSON to stdout
        #[arg(long)]
        json: bool,
    },

    /// Restore a backup that verifies: beside what is there, which is replaced only when
    /// everything has arrived
    ///
    /// Each collection is filled under a name of its own while the file is read to its last
    /// byte; one that does not verify is refused. The collections get their indexes, and only
    /// when the file is proved and all of them are complete do they take their names. If
    /// anything fails before that, the database is as it was. What has to be changed in its
    /// place (documents added to a collection, a time series) waits until the file is proved.
    /// Exit status 0 means that every document is there.
    #[command(after_long_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),

    /// List the backups in the directory that cm.toml names, or in one of this machine
    List {
        /// A directory of this machine
        directory: Option<PathBuf>,

        /// Write the list as JSON
        #[arg(long)]
        json: bool,
    },

    /// Make the backup that another cm-backup orders
    #[command(hide = true)]
    CarryOut {
        /// The order, as JSON
        order: String,
    },

    /// Remove old backups from the directory that cm.toml names, or from one of this machine
    ///
    /// --keep, --keep-days or cm.toml say which stay. Beside those, the newest of each
    /// database stays, what has no manifest, and all that the ledgers' last good releases
    /// ([prune] keep in cm.toml) may be taken back with. --dry-run shows what would go.
    Prune {
        /// A directory of this machine
        directory: Option<PathBuf>,
    },
}

/// `cm-backup restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup: a file of this machine, or HOST:PATH as `list` and the ledger print it;
    /// also a directory that mongodump wrote
    pub file: PathBuf,

    /// Its manifest; otherwise the one beside it
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Replace collections that are there; without it, documents are added to them
    #[arg(long)]
    pub drop: bool,

    /// Yes, change the database NAME although it has documents
    #[arg(long, value_name = "NAME")]
    pub confirm: Vec<String>,

    /// Restore only this collection of the backup; may be given several times
    #[arg(long, value_name = "NAME")]
    pub collection: Vec<String>,

    /// Also add the users and roles of the backup that the server does not have; those it has
    /// stay as they are
    #[arg(long)]
    pub users_and_roles: bool,

    /// Restore what matches this pattern, such as shop.*, …
    #[arg(long, value_name = "PATTERN", requires = "ns_to")]
    pub ns_from: Vec<String>,

    /// … under the name that this one gives it, such as shop_old.*
    #[arg(long, value_name = "PATTERN", requires = "ns_from")]
    pub ns_to: Vec<String>,

    /// Write what was done as JSON to stdout
    #[arg(long)]
    pub json: bool,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  cm-backup restore platform:/home/curateme/backups/FILE --db shop_check
      beside the database in use: nothing is replaced
  cm-backup restore platform:/home/curateme/backups/FILE --drop --confirm=shop
      the collections of the database shop, as they were
  cm-backup restore FILE --uri-env MONGODB_URI --collection orders --ns-from 'shop.*' --ns-to 'shop.old_*'
      one collection under another name, anywhere";

const EXAMPLES: &str = "\
Examples:
  cm-detect | cm-backup | cm-build
      back up before a deploy
  cm-backup --uri-env MONGODB_URI --database shop --output /var/backups
      anywhere, without SSH and without cm.toml
  cm-backup verify /var/backups/shop-20260504T093000.500Z.archive.gz
      prove a backup again; with --restore-check also that a server makes the same of it
  cm-backup restore platform:/home/curateme/backups/FILE --drop --confirm=shop
      put it back; `mongorestore --gzip --archive=FILE` can, too";
