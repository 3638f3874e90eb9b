//! The command line.

use clap::Parser;
use cm_core::CommonArgs;
use std::time::Duration;

/// Say whether services are healthy, and wait until they are
///
/// Reads a document from stdin (`cm-build | cm-health`) and watches the services that
/// it says were changed, on all hosts at once; without one, those that flags name, or
/// all. Healthy is what was seen to be: every container of a service good in several
/// readings over a whole window, with nothing restarted or replaced, and running the
/// image that was built. What could not be looked at is unknown, which is not healthy
/// (exit 41, not 40).
///
/// With --preflight it looks at the servers before a deployment instead. With --watch it
/// is not a filter: it shows how the services are now, until Ctrl-C.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Watch every service of the project, whatever the document says
    #[arg(long)]
    pub all: bool,

    /// Watch this service (may be repeated)
    #[arg(long, value_name = "NAME", conflicts_with = "all", add = cm_project::complete::services())]
    pub service: Vec<String>,

    /// Watch the services of this group of cm.toml (may be repeated)
    #[arg(long, value_name = "NAME", conflicts_with = "all", add = cm_project::complete::groups())]
    pub group: Vec<String>,

    /// Wait this long at most, such as 90s or 3m, instead of what cm.toml says
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,

    /// Good means good for this long, such as 10s, instead of what cm.toml says
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub window: Option<Duration>,

    /// Continue after the first failure, and report every service
    #[arg(long)]
    pub keep_going: bool,

    /// Look at the servers before a deployment: reachable, Docker, disk, checkout, files
    #[arg(long, conflicts_with_all = ["all", "service", "group", "timeout", "window", "keep_going"])]
    pub preflight: bool,

    /// Print the shell commands that bring a bare Debian or Ubuntu server to where the preflight
    /// finds nothing missing, for a person to read and run there; no server is asked
    #[arg(long, requires = "preflight", conflicts_with = "dry_run")]
    pub script: bool,

    /// Show a live table of the services instead, until Ctrl-C or for --timeout (and then exit
    /// with 0, 40 or 41); where stdout is no terminal, a line for each change
    #[arg(long, conflicts_with_all = ["preflight", "window", "keep_going", "dry_run"])]
    pub watch: bool,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}

/// As every flag of cm; here a number alone is seconds, as `timeout` and `sleep` have it.
fn time(text: &str) -> Result<Duration, String> {
    text.parse().map(|seconds: u32| Duration::from_secs(seconds.into())).or_else(|_| cm_core::time::length(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_in_the_configuration_and_numbers_as_seconds() {
        for (text, ms) in [("90", 90_000), ("90s", 90_000), ("3m", 180_000), ("500ms", 500), ("1m30s", 90_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1h30", "-1s", "-90", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
