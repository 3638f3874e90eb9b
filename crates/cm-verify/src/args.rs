//! The command line.

use clap::Parser;
use cm_core::CommonArgs;

/// Verify a deployment from outside and judge its canary
///
/// Makes the canary's requests and then the checks of cm.toml, as a user of the
/// platform would. In a pipe (`cm-health | cm-verify`) a failed canary ends it at
/// once, so that the way back is not delayed; alone (`cm-verify </dev/null`) it always
/// makes everything.
///
/// A check that production answers wrongly, or refuses to answer, fails (exit 50). One
/// that says nothing about production, because a name does not resolve here or the
/// variable with its key is not set, is unknown (exit 51): neither passes.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Make no canary requests
    #[arg(long)]
    pub skip_canary: bool,

    /// Make no checks
    #[arg(long)]
    pub skip_verify: bool,

    /// Tell Slack if verification fails; the webhook is in the variable that cm.toml names
    #[arg(long)]
    pub notify: bool,

    /// Print the results as JSON, for CI; reads no document and writes none
    #[arg(long, conflicts_with_all = ["skip_canary", "skip_verify", "dry_run"])]
    pub json: bool,

    /// Flags of every program
    #[command(flatten)]
    pub common: CommonArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["cm-verify", "--json", "--dry-run"]).is_err());
    }
}
