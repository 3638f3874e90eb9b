//! The page of a program: what its own definition says about options and subcommands,
//! and between that the sections written by hand in `pages/PROGRAM.roff`.

use crate::roff::{bold, entry, escape, italic, paragraphs, section, sections, title};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};
use cm_core::{Exit, decapitalized};
use std::fmt::Write;

/// What all programs have in common, by section.
const COMMON: &str = include_str!("pages/common.roff");

/// The heading under which clap has the flags of every program.
const COMMON_OPTIONS: &str = "Common options";

/// The programs, in the order of a deployment.
pub const PROGRAMS: [&str; 8] =
    ["cm-lock", "cm-detect", "cm-backup", "cm-build", "cm-health", "cm-verify", "cm-rollback", "cm-record"];

/// The sections that every page has, in the order of man-pages(7).
const SECTIONS: [&str; 5] = ["INPUT AND OUTPUT", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"];

/// Writes the page of `program`; `by_hand` has its other sections.
pub fn page(program: &Command, by_hand: &str) -> String {
    let name = program.get_name();
    let (own, common) = (sections(by_hand), sections(COMMON));
    let mut page = title(name, 1);
    page.push_str(&section("NAME"));
    let about = plain(program.get_about());
    writeln!(
        page,
        "{} \\- {}",
        escape(name),
        escape(&decapitalized(about.split(':').next().unwrap_or(&about).trim_end_matches('.')))
    )
    .ok();
    page.push_str(&section("SYNOPSIS"));
    page.push_str(&synopsis(program, name));
    page.push_str(&section("DESCRIPTION"));
    page.push_str(&paragraphs(&description(program)));
    page.push_str(&section("OPTIONS"));
    page.push_str(&options(program, false));
    page.push_str(&commands(program));
    page.push_str(&section("COMMON OPTIONS"));
    page.push_str(&options(program, true));
    for name in SECTIONS {
        if name == "EXIT STATUS" {
            // What only this program has to say.
            let others = own.iter().filter(|(name, _)| !SECTIONS.contains(&name.as_str()));
            others.for_each(|(name, body)| page.push_str(&(section(name) + body)));
        }
        let bodies = own.iter().chain(&common).filter(|(known, _)| known == name).map(|(_, body)| body.as_str());
        let body = bodies.collect::<String>();
        let body = if name == "EXIT STATUS" { exit_status() + &body } else { body };
        page.push_str(&section(name));
        page.push_str(&body);
    }
    page.push_str(&section("SEE ALSO"));
    page.push_str(&see_also(name));
    page
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map_or_else(String::new, ToString::to_string)
}

/// The long description without its first line, which is the page's name.
fn description(command: &Command) -> String {
    let about = plain(command.get_about());
    let long = command.get_long_about().map_or_else(|| about.clone(), ToString::to_string);
    let rest = long.strip_prefix(about.as_str()).unwrap_or(&long).trim_start_matches('.').trim();
    if rest.is_empty() { about } else { rest.to_owned() }
}

fn synopsis(program: &Command, name: &str) -> String {
    let subcommands: Vec<_> = visible(program).collect();
    let mut text = format!(".B {}\n{}", escape(name), usage(program));
    for subcommand in subcommands {
        write!(text, ".br\n.B {} {}\n{}", escape(name), escape(subcommand.get_name()), usage(subcommand)).ok();
    }
    text
}

/// The arguments of a command, in short.
fn usage(command: &Command) -> String {
    let mut words = vec![format!("[{}]", italic("OPTIONS"))];
    for argument in command.get_positionals() {
        let name = italic(&value_name(argument));
        let name = if argument.is_last_set() { format!("\\-\\- {name} [{}]", italic("ARGUMENTS")) } else { name };
        words.push(if argument.is_required_set() { name } else { format!("[{name}]") });
    }
    words.join("\n") + "\n"
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// The options of a command: its own, or those that every program has.
fn options(command: &Command, common: bool) -> String {
    let is_common = |argument: &&Arg| argument.get_help_heading() == Some(COMMON_OPTIONS) || is_help(argument);
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let text: String = arguments.filter(|argument| is_common(argument) == common).map(option).collect();
    if text.is_empty() { "None of its own.\n".to_owned() } else { text }
}

fn is_help(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

fn option(argument: &Arg) -> String {
    let mut names: Vec<String> = Vec::new();
    names.extend(argument.get_short().map(|short| bold(&format!("-{short}"))));
    names.extend(argument.get_long().map(|long| bold(&format!("--{long}"))));
    let value = argument.get_action().takes_values().then(|| italic(&value_name(argument)));
    let term = match (names.is_empty(), value) {
        (true, value) => value.unwrap_or_default(),
        (false, Some(value)) => format!("{} {value}", names.join(", ")),
        (false, None) => names.join(", "),
    };
    let help = argument.get_long_help().or(argument.get_help());
    entry(&term, &format!("{}{}", sentence(&plain(help)), remarks(argument)))
}

/// What the definition says besides the help text.
fn remarks(argument: &Arg) -> String {
    let mut remarks = String::new();
    let values: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        let words = values.iter().map(|value| match value.get_help() {
            Some(help) => {
                format!("`{}` ({})", value.get_name(), decapitalized(plain(Some(help)).trim_end_matches('.')))
            }
            None => format!("`{}`", value.get_name()),
        });
        write!(remarks, " One of {}.", words.collect::<Vec<_>>().join(", ")).ok();
    }
    let defaults = argument.get_default_values();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let words: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
        write!(remarks, " Default: `{}`.", words.join(", ")).ok();
    }
    if let Some(name) = argument.get_env() {
        write!(remarks, " Without it, the variable `{}` counts.", name.to_string_lossy()).ok();
    }
    remarks
}

/// Help texts have no full stop; a page is prose.
fn sentence(help: &str) -> String {
    let help = help.trim_end();
    if help.is_empty() || help.ends_with(['.', ':', ']', '?']) { help.to_owned() } else { format!("{help}.") }
}

fn value_name(argument: &Arg) -> String {
    let names = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    names.map_or_else(|| argument.get_id().to_string().to_uppercase(), |names| names.join(" "))
}

fn commands(program: &Command) -> String {
    let mut text = String::new();
    for subcommand in visible(program) {
        if text.is_empty() {
            text.push_str(&section("COMMANDS"));
        }
        writeln!(text, ".SS {}", escape(subcommand.get_name())).ok();
        let about = plain(subcommand.get_long_about().or(subcommand.get_about()));
        text.push_str(&paragraphs(&sentence(&about)));
        let own: String = subcommand
            .get_arguments()
            .filter(|one| !one.is_hide_set() && !is_help(one) && one.get_help_heading() != Some(COMMON_OPTIONS))
            .filter(|one| !program.get_arguments().any(|known| known.get_id() == one.get_id()))
            .map(option)
            .collect();
        text.push_str(&own);
    }
    text
}

/// The table of `--help`.
pub fn exit_status() -> String {
    Exit::ALL.map(|exit| entry(&bold(&exit.code().to_string()), exit.meaning())).concat()
}

fn see_also(name: &str) -> String {
    let programs = PROGRAMS.iter().filter(|program| **program != name).map(|program| (*program, 1));
    let others = [("cm-document", 5), ("cm.toml", 5), ("cm", 7), ("cm-errors", 7), ("cm-guide", 7)];
    let all: Vec<_> = programs.chain(others).collect();
    let line = |(index, (name, section)): (usize, &(&str, i32))| {
        let comma = if index + 1 < all.len() { "," } else { "" };
        format!(".BR {} ({section}){comma}\n", escape(name))
    };
    all.iter().enumerate().map(line).collect()
}
