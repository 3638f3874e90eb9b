//! The command line.

use crate::choices::{Compression, Consistency, Member, Place, Reader};
use crate::location::Flags;
use crate::mongodump::{self, Method};
use crate::plan::Request;
use crate::restore;
use crate::retention::Retention;
use clap::{Parser, Subcommand};
use cm_archive::manifest::Selection;
use cm_core::{CommonArgs, Exit, Failure, Result};
use cm_mongo::ReadFrom;
use cm_mongo::dump::Options;
use cm_mongo::restore::Shape;
use cm_mongo::selection::parse_query;
use std::path::PathBuf;

/// Take a MongoDB backup and verify it: it is read back to its last byte before it
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

    /// Keep the backup here: a directory of this machine, or a new file, whose name has an
    /// extension; - for stdout
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
    pub read_preference: Option<Member>,

    /// Read at most so many bytes a second, such as 20M; of a copy elsewhere, send no more
    #[arg(long, value_name = "BYTES", value_parser = cm_project::config::parse_bytes)]
    pub rate_limit: Option<u64>,

    /// Who reads: cm-backup, or the mongodump in the database's container
    #[arg(long, value_enum, default_value_t)]
    pub method: Reader,

    /// Where cm-backup works: on the server, so that no data leaves it, or on this machine. auto
    /// is the server if this version is installed there
    #[arg(long, value_name = "PLACE", value_enum, default_value_t)]
    pub run_on: Place,

    /// How the file is compressed
    #[arg(long, value_enum, default_value_t)]
    pub compression: Compression,

    /// Whether all of it has to be of one moment, which a replica set can show
    #[arg(long, value_enum, default_value_t)]
    pub consistency: Consistency,

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
    /// keeps. One that a release may be rolled back with stays; `keep_days` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep_days: Option<u32>,

    /// Also keep the newest backup of each of N days that have one; `keep_daily` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep_daily: Option<u32>,

    /// Also keep the newest backup of each of N weeks; `keep_weekly` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep_weekly: Option<u32>,

    /// Also keep the newest backup of each of N months; `keep_monthly` in cm.toml
    #[arg(long, value_name = "N", global = true)]
    pub keep_monthly: Option<u32>,

    /// Make an error of what is worth a warning: a backup much smaller than the last
    /// one, counts that differ; `verify`: a file without a manifest
    #[arg(long, global = true)]
    pub strict: bool,
}

impl RestoreArgs {
    /// What to restore.
    pub fn request(&self, args: &Args) -> restore::Request {
        restore::Request {
            flags: args.flags(),
            file: self.file.clone(),
            manifest: self.manifest.clone(),
            strict: args.strict,
            drop: self.drop,
            confirmed: self.confirm.clone(),
            collections: self.collection.clone(),
            users_and_roles: self.users_and_roles,
            renames: (self.ns_from.clone(), self.ns_to.clone()),
            shape: Shape {
                without_options: self.no_options,
                without_indexes: self.skip_indexes,
                convert_indexes: self.convert_legacy_indexes,
            },
            json: self.json,
        }
    }
}

impl Args {
    /// Where things are.
    pub fn flags(&self) -> Flags {
        Flags {
            common: self.common.clone(),
            host: self.host.clone(),
            service: self.service.clone(),
            uri_env: self.uri_env.clone(),
            database: self.database.clone(),
            remote_dir: self.remote_dir.clone(),
            read_from: self.read_preference.map(ReadFrom::from),
        }
    }

    /// What to back up.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what does not go together.
    pub fn request(&self) -> Result<Request> {
        let options = Options {
            selection: self.selection()?,
            compression: self.compression.into(),
            consistency: self.consistency.into(),
            rate_limit: self.rate_limit,
        };
        Ok(Request {
            flags: self.flags(),
            output: self.output.clone(),
            method: self.method(&options)?,
            options,
            run_on: self.run_on.into(),
            allow_empty: self.allow_empty,
            restore_check: self.restore_check,
            strict: self.strict,
        })
    }

    fn selection(&self) -> Result<Option<Selection>> {
        let query = self.query.as_deref().map(parse_query).transpose()?;
        if query.is_some() && self.collection.len() != 1 {
            return Err(Failure::new(Exit::Usage, "usage.query", "--query needs exactly one --collection"));
        }
        let selection =
            Selection { collections: self.collection.clone(), excluded: self.exclude_collection.clone(), query };
        Ok((selection != Selection::default()).then_some(selection))
    }

    fn method(&self, options: &Options) -> Result<Method> {
        if self.method == Reader::Native {
            return Ok(Method::Native);
        }
        if self.uri_env.is_some() {
            let message = "--method mongodump runs in the database's container, which --uri-env does not lead to";
            return Err(Failure::new(Exit::Usage, "usage.method", message).hint("--host and --service, or cm.toml, do"));
        }
        mongodump::check(options)?;
        Ok(Method::Mongodump)
    }

    /// What the flags say of old backups.
    pub fn retention(&self) -> Retention {
        Retention {
            keep: self.keep,
            keep_days: self.keep_days,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
        }
    }
}

/// Other uses than making a backup.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read a backup to its last byte and compare it with its manifest
    Verify {
        /// The file, or HOST:PATH; - for stdin. Any mongodump archive or directory will do
        file: PathBuf,

        /// Its manifest; otherwise the one alongside it
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

    /// Restore a backup that verifies: alongside what is there, which is replaced only when
    /// everything has arrived
    ///
    /// Each collection is filled under a name of its own while the file is read to its last
    /// byte; one that does not verify is refused. The collections get their indexes, and only
    /// when the file is verified and all of them are complete do they take their names. If
    /// anything fails before that, the database is as it was. What has to be changed in its
    /// place (documents added to a collection, a time series) waits until the file is verified.
    /// Exit status 0 means that every document is there.
    #[command(after_long_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),

    /// List the backups in the directory that cm.toml names, or in one of this machine
    List {
        /// A directory of this machine
        #[arg(id = "backups", value_name = "DIRECTORY")] // `--directory` is where cm works
        directory: Option<PathBuf>,

        /// Write the list as JSON
        #[arg(long)]
        json: bool,

        /// Print everything, however narrow the terminal
        #[arg(long)]
        wide: bool,
    },

    /// Make the backup that another cm-backup orders
    #[command(hide = true)]
    CarryOut {
        /// The order, as JSON
        order: String,
    },

    /// Remove old backups from the directory that cm.toml names, or from one of this machine
    ///
    /// --keep, --keep-days or cm.toml say which stay. Besides those, the newest of each
    /// database stays, what has no manifest, and all that the ledgers' last good releases
    /// ([prune] keep in cm.toml) may be rolled back with. --dry-run shows what would go.
    Prune {
        /// A directory of this machine
        #[arg(id = "backups", value_name = "DIRECTORY")] // `--directory` is where cm works
        directory: Option<PathBuf>,
    },
}

/// `cm-backup restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup: a file of this machine, or HOST:PATH as `list` and the ledger print it;
    /// also a directory that mongodump wrote
    pub file: PathBuf,

    /// Its manifest; otherwise the one alongside it
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

    /// Make of indexes that servers of long ago took what those of today take
    #[arg(long)]
    pub convert_legacy_indexes: bool,

    /// Restore no indexes but those of _id
    #[arg(long, visible_alias = "no-index-restore", conflicts_with = "convert_legacy_indexes")]
    pub skip_indexes: bool,

    /// Restore collections without their options: none is capped, none has a validator
    #[arg(long, visible_alias = "no-options-restore")]
    pub no_options: bool,

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
      alongside the database in use: nothing is replaced
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
  cm-backup verify /var/backups/shop-20260504T093000.500000Z.archive.gz
      verify a backup again; with --restore-check also that a server makes the same of it
  cm-backup restore platform:/home/curateme/backups/FILE --drop --confirm=shop
      put it back; `mongorestore --gzip --archive=FILE` can, too";
