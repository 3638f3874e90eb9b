//! The command line of a program: what it takes, what it says of itself, and what it
//! exits with when it is called wrongly.

use crate::tool::Tool;
use crate::{Exit, SCHEMA, decapitalized};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

/// Names the shell that asks for completions.
pub const COMPLETE: &str = "CM_COMPLETE";

/// The commit that the program was built from; `make build` says it.
const COMMIT: Option<&str> = option_env!("CM_COMMIT");

/// Somebody types the bare name: nothing comes in, nobody reads what would come out.
pub(crate) fn is_first_contact() -> bool {
    std::env::args_os().len() == 1 && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// What the program does, in five lines.
pub fn introduction<T: Tool>() -> String {
    let about = T::Args::command().get_about().map(ToString::to_string).unwrap_or_default();
    let width = T::EXAMPLES.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let examples = T::EXAMPLES.map(|(command, what)| format!("  {command:width$}  {what}"));
    format!(
        "{name}: {about}\nstdin: a document; stdout: the same, extended. </dev/null begins a new one.\n{}\nMore: {name} --help, man {name}, man cm-guide",
        examples.join("\n"),
        name = T::NAME,
        about = decapitalized(about.split(':').next().unwrap_or_default().trim_end_matches('.')),
    )
}

/// For people: `0.1.0 (0123456789ab)`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    COMMIT.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
});

/// For programs; the commit is null where the build was not told.
fn version_as_json<T: Tool>() -> Value {
    let schemas: Vec<_> = std::iter::once(&SCHEMA).chain(T::SCHEMAS).collect();
    json!({"tool": T::NAME, "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT, "schemas": schemas})
}

/// The command line's definition, complete: what `--help`, man pages and completions show.
pub fn command<T: Tool>() -> clap::Command {
    let command = T::Args::command().name(T::NAME).version(VERSION.as_str());
    // A program's own last words come before the table that all share.
    let with_table = |own: Option<&clap::builder::StyledStr>| match own {
        Some(own) => format!("{own}\n\n{}", Exit::table()),
        None => Exit::table(),
    };
    let short = with_table(command.get_after_help());
    let long = with_table(command.get_after_long_help().or(command.get_after_help()));
    command.after_help(short).after_long_help(long)
}

/// The arguments; without them, what to exit with: what there is to say was said.
pub(crate) fn parse_args<T: Tool>() -> std::result::Result<T::Args, ExitCode> {
    let parsed = command::<T>().try_get_matches().and_then(|matches| T::Args::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let _closed = match error.kind() {
            ErrorKind::DisplayVersion if std::env::args_os().any(|argument| argument == "--json") => {
                writeln!(std::io::stdout(), "{}", version_as_json::<T>())
            }
            _ => error.print(),
        };
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        exit.into()
    })
}
