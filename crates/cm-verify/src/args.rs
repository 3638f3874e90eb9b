//! The command line.

use clap::Parser;
use cm_core::CommonArgs;
use std::path::PathBuf;

/// Verify a deployment from outside and judge its canary
///
/// Makes the canary's requests and then the checks of cm.toml, as a user of the
/// platform would. `cm-verify --baseline` before the build asks what runs until then,
/// and the canary compares: errors by an exact test, latency by a rank test, with enough
/// requests only. Its verdict is pass, fail or inconclusive, with what would have shown. In a pipe (`cm-health | cm-verify`) a failed canary ends it at
/// once, so that the rollback is not delayed; alone (`cm-verify </dev/null`) it always
/// makes everything.
///
/// A check that production answers wrongly, or refuses to answer, fails (exit 50). One
/// that says nothing about production, because a name does not resolve on this machine or the
/// variable with its key is not set, is unknown (exit 51): neither passes. How bad a
/// failed check is, its severity says (P0 to P3, the runbook's escalation table): in a
/// deployment P2 and P3 are warnings, because they are fixed forward.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Ask what runs now, before the build, for the canary of a later cm-verify in the pipe
    #[arg(long, conflicts_with_all = ["skip_canary", "canary", "json", "junit"])]
    pub baseline: bool,

    /// Make the canary's requests only
    #[arg(long, conflicts_with_all = ["skip_canary", "skip_verify", "json"])]
    pub canary: bool,

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
    #[arg(long, conflicts_with_all = ["skip_verify", "dry_run"])]
    pub json: bool,

    /// Also write the results to FILE as a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Verify with the values of `[verify.profiles.production]`; where cm.toml has no
    /// profiles, what is written there is production
    #[arg(long, conflicts_with = "profile")]
    pub production: bool,

    /// Verify with the values of `[verify.profiles.NAME]`, before those of the environment
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

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
        assert!(Args::try_parse_from(["cm-verify", "--baseline", "--canary"]).is_err());
    }
}
