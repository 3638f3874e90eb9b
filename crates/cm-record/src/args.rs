//! The command line.

use crate::begin::BeginArgs;
use clap::{Parser, Subcommand};
use cm_core::CommonArgs;
use std::path::PathBuf;
use std::time::Duration;

/// Record a deployment and tell people
///
/// Reads any document, also a failed one, and appends the outcome to the ledger of
/// every host that was changed, posts the deploy event to the ops API ([ops] in
/// cm.toml) and a line to Slack ([notify]). An API that is down fails no deployment:
/// the event waits on disk and goes with the next run.
#[derive(Debug, Parser)]
pub struct Args {
    /// Look into the ledgers instead of recording
    #[command(subcommand)]
    pub command: Option<Sub>,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Questions to the ledgers.
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// List the releases of every host, newest first
    History {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Print everything, however narrow the terminal
        #[arg(long)]
        wide: bool,
        /// How many releases a host
        #[arg(long, short = 'n', default_value_t = 20)]
        last: usize,
    },
    /// Show one release on every host: a table on a terminal, JSON elsewhere
    Show {
        /// The run's id, or how it begins
        run: String,
        /// Print JSON also on a terminal
        #[arg(long)]
        json: bool,
    },
    /// Say which release put a service where it is, who, when and why
    Why {
        /// The service's name in the compose file
        #[arg(add = cm_project::complete::services())]
        service: String,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Compare what ran after two releases, service by service
    Diff {
        /// The one run's id, or how it begins
        a: String,
        /// The other's
        b: String,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Print everything, however narrow the terminal
        #[arg(long)]
        wide: bool,
    },
    /// Deployment frequency, lead time, change failure rate and time to restore
    Dora {
        /// How far to look back: `30d`, `12h`, `4w`
        #[arg(long, default_value = "30d", value_parser = crate::dora::since)]
        since: Duration,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Write a page about one run for a browser: one file, no network, no script
    Report {
        /// The run's id, or how it begins; `-` reads a document on stdin [default: the newest recorded
        /// here; with --follow the one under way, or that begins next]
        run: Option<String>,
        /// The file to write; `-` is stdout
        #[arg(long, value_name = "FILE")]
        html: PathBuf,
        /// Write it again every second until the run has ended; a browser that shows it loads it again
        #[arg(long)]
        follow: bool,
        /// Follow no further once no step has ended for so long: `30m`, `6h`
        #[arg(long, value_name = "TIME", default_value = "6h", value_parser = crate::dora::since, requires = "follow")]
        give_up_after: Duration,
    },
    /// Begin a deployment for a script: reconcile what interrupted runs left, resume the one that
    /// was the same, and print the run's ID, for CM_RUN_ID
    Begin(BeginArgs),
    /// Print the document that the run named by CM_RUN_ID resumes with: the newest of its journal,
    /// or a new one
    Open,
    /// Print the options that a run of this machine was begun with, one a line
    Options {
        /// The run's ID
        run: String,
    },
    /// Print the ID of the run named by CM_RUN_ID if one of its programs was killed before the
    /// outcome was recorded
    Unfinished {
        /// The exit statuses of the pipe's programs, in their order
        #[arg(required = true)]
        codes: Vec<u8>,
    },
    /// Say how the run named by CM_RUN_ID ended, and exit with the status of the whole
    End {
        /// The exit statuses of the pipe's programs, in their order
        #[arg(required = true)]
        codes: Vec<u8>,
    },
    /// Reconcile what interrupted runs have left: say in the ledgers what Docker runs of them
    #[command(alias = "settle")]
    Reconcile {
        /// Only on this host (may be repeated)
        #[arg(long, value_name = "NAME")]
        host: Vec<String>,
        /// Print the document from which this run of this machine is resumed
        #[arg(long, value_name = "RUN")]
        resume: Option<String>,
    },
    /// Send the events that still wait for the ops API
    Flush {
        /// Also those that it refused
        #[arg(long)]
        rejected: bool,
    },
}
