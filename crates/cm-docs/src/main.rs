//! Writes what can be read off the programs' own definitions, so that it cannot differ
//! from them: the manual pages and the JSON Schemas in `man/`, and shell completions.
//!
//! `cm-docs DIR` writes pages and schemas, `cm-docs --check DIR` fails where a committed
//! one differs, `cm-docs --completions DIR` writes completions. Sections that no
//! definition can know are in `pages/`, one small file per page.

mod manual;
mod program;
mod reference;
mod roff;
mod schema;

use anyhow::{Context, Result, bail};
use clap::Command;
use clap_complete::env::Shells;
use cm_core::{COMPLETE, command};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Generated files: the path below `man/` and the text.
type Files = BTreeMap<String, String>;

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

/// Everything that is generated.
fn files() -> Files {
    let mut files = manual::pages(&programs());
    files.extend(schema::files());
    files
}

fn write(dir: &Path) -> Result<()> {
    for (name, text) in files() {
        let file = dir.join(&name);
        fs::create_dir_all(file.parent().unwrap_or(dir))
            .with_context(|| format!("cannot make the directory of {name}"))?;
        fs::write(file, text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

fn check(dir: &Path) -> Result<()> {
    let expected = files();
    for (name, text) in &expected {
        let committed = fs::read_to_string(dir.join(name)).unwrap_or_default();
        if committed != *text {
            bail!(
                "{} is not what the definitions say now; `make man` (cargo run -q -p cm-docs -- man) writes it again",
                dir.join(name).display()
            );
        }
    }
    for directory in [dir.to_owned(), dir.join("schemas")] {
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            if !expected.contains_key(&name) {
                bail!("{} is generated from nothing: remove it", path.display());
            }
        }
    }
    Ok(())
}

fn completions(dir: &Path) -> Result<()> {
    for program in programs() {
        let name = program.get_name();
        let files = [("bash", format!("{name}.bash")), ("zsh", format!("_{name}")), ("fish", format!("{name}.fish"))];
        for (shell, file) in files {
            let text = completion(shell, name).with_context(|| format!("no completion of {name} for {shell}"))?;
            fs::write(dir.join(&file), text).with_context(|| format!("cannot write {file}"))?;
        }
    }
    Ok(())
}

/// What makes a shell ask the program itself, which knows the names in `cm.toml`.
fn completion(shell: &str, name: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(shell).context("an unknown shell")?;
    completer.write_registration(COMPLETE, name, name, name, &mut text)?;
    if shell == "zsh" {
        // zsh loads the file when the first completion is wanted: that one is answered, too.
        let function = format!("_clap_dynamic_completer_{}", name.replace('-', "_"));
        text.extend(format!("[[ $funcstack[1] != _{name} ]] || {function} \"$@\"\n").into_bytes());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use cm_core::{Tool, command, introduction};

    /// Five lines of 80 columns, whose examples the command line takes.
    fn introduces<T: Tool>() {
        let text = introduction::<T>();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for (example, _) in T::EXAMPLES {
            let own = example.split(['|', '<']).find(|part| part.trim().starts_with(T::NAME)).expect("its own");
            if let Err(error) = command::<T>().try_get_matches_from(own.split_whitespace()) {
                panic!("{example}: {error}");
            }
        }
    }

    #[test]
    fn every_program_introduces_itself() {
        introduces::<cm_lock::Tool>();
        introduces::<cm_detect::Tool>();
        introduces::<cm_backup::Tool>();
        introduces::<cm_build::Tool>();
        introduces::<cm_health::Tool>();
        introduces::<cm_verify::Tool>();
        introduces::<cm_rollback::Tool>();
        introduces::<cm_record::Tool>();
    }
}
