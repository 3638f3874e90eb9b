//! The flags that every program has, and what they say of the whole run.

use crate::log::{Format, Level, Log};
use crate::{Document, Skip};
use std::path::PathBuf;

/// The flags every program has.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// Work as if started in DIR
    #[arg(short = 'C', long, value_name = "DIR", global = true, help_heading = "Common options")]
    pub directory: Option<PathBuf>,

    /// Read this configuration instead of the nearest cm.toml
    #[arg(long, value_name = "FILE", global = true, env = "CM_CONFIG", help_heading = "Common options")]
    pub config: Option<PathBuf>,

    /// Say what would be done, change nothing; later programs of the pipe do the same
    #[arg(long, global = true, help_heading = "Common options")]
    pub dry_run: bool,

    /// Leave this out, here and in later programs of the pipe: push, backup, canary, verify or
    /// prune (may be repeated)
    #[arg(long, value_name = "WHAT", value_parser = skip, global = true, help_heading = "Common options")]
    pub skip: Vec<Skip>,

    /// How messages are written to stderr
    #[arg(long, value_enum, default_value_t, global = true, env = "CM_LOG", help_heading = "Common options")]
    pub log: Format,

    /// Show more
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub verbose: bool,

    /// Show warnings and failures only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub quiet: bool,
}

fn skip(word: &str) -> std::result::Result<Skip, String> {
    let known = || Skip::ALL.map(Skip::as_str).join(", ");
    Skip::named(word).ok_or_else(|| format!("nothing of that name can be left out, only {}", known()))
}

impl CommonArgs {
    /// What the flags say of the whole run, written down for every later program.
    pub(crate) fn steer(&self, doc: &mut Document) {
        if self.dry_run {
            doc.set_dry_run();
        }
        for what in &self.skip {
            doc.skip(*what);
        }
    }

    pub(crate) fn log(&self, tool: &'static str) -> Log {
        let least = match (self.verbose, self.quiet) {
            (true, _) => Level::Debug,
            (_, true) => Level::Warn,
            _ => Level::Info,
        };
        Log::new(tool, self.log, least)
    }
}
