//! Writes what can be read off the programs' own definitions: `man/*.1` and shell
//! completions. `cm-docs DIR` writes the man pages, `cm-docs --check DIR` fails where
//! a committed page differs, `cm-docs --completions DIR` writes completions.

use anyhow::{Context, Result, bail};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use cm_core::{Exit, command};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// What every program reads and writes, below its own options.
const COMMON: &str = include_str!("common.roff");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--check", dir] => check(Path::new(dir)),
        ["--completions", dir] => completions(Path::new(dir)),
        [dir] if !dir.starts_with('-') => write(Path::new(dir)),
        _ => Err(anyhow::anyhow!("usage: cm-docs [--check | --completions] DIR")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _closed = writeln!(std::io::stderr(), "cm-docs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn programs() -> Vec<Command> {
    vec![
        command::<cm_lock::Tool>(),
        command::<cm_detect::Tool>(),
        command::<cm_backup::Tool>(),
        command::<cm_build::Tool>(),
        command::<cm_health::Tool>(),
        command::<cm_verify::Tool>(),
        command::<cm_rollback::Tool>(),
        command::<cm_record::Tool>(),
    ]
}

/// Every page: its file name and its text.
fn pages() -> Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for program in programs() {
        pages.push((format!("{}.1", program.get_name()), page(program)?));
    }
    Ok(pages)
}

/// One man page: clap_mangen's sections, then the exit codes and what all share.
fn page(program: Command) -> Result<String> {
    // The table of `--help` becomes a section of its own.
    let program = program.after_help("").after_long_help("");
    let man =
        Man::new(program.clone()).section("1").source(format!("cm {}", env!("CARGO_PKG_VERSION"))).manual("cm manual");
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    for subcommand in program.get_subcommands() {
        section_of(subcommand, program.get_name(), &mut roff)?;
    }
    let text = String::from_utf8(roff).context("a man page is UTF-8")?;
    Ok(format!("{text}{}{COMMON}", exit_status()))
}

fn section_of(subcommand: &Command, program: &str, roff: &mut Vec<u8>) -> Result<()> {
    let name = subcommand.get_name().to_owned();
    let title = format!("{program} {name}");
    let man =
        Man::new(subcommand.clone().display_name(title.clone()).bin_name(title.clone()).disable_help_subcommand(true));
    let mut body = Vec::new();
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    man.render_options_section(&mut body)?;
    let body = String::from_utf8(body).context("a man page is UTF-8")?;
    roff.extend(format!(".SH \"{}\"\n", title.to_uppercase()).bytes());
    roff.extend(body.replace(".SH ", ".SS ").bytes());
    Ok(())
}

fn exit_status() -> String {
    let rows = Exit::ALL.map(|exit| format!(".TP\n\\fB{}\\fR\n{}\n", exit.code(), exit.meaning()));
    format!(".SH \"EXIT STATUS\"\n{}", rows.concat())
}

fn write(dir: &Path) -> Result<()> {
    for (name, text) in pages()? {
        fs::write(dir.join(&name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

fn check(dir: &Path) -> Result<()> {
    for (name, text) in pages()? {
        let committed = fs::read_to_string(dir.join(&name)).with_context(|| format!("cannot read {name}"))?;
        if committed != text {
            bail!("{name} differs from the program's definition; `make man` writes it anew");
        }
    }
    Ok(())
}

fn completions(dir: &Path) -> Result<()> {
    for mut program in programs() {
        let name = program.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut program, &name, dir)
                .with_context(|| format!("cannot write completions of {name}"))?;
        }
    }
    Ok(())
}
