//! `--script`: the shell commands that bring a bare server to where the preflight finds nothing
//! missing, for a person to read and run. What differs between projects and hosts stands at its
//! top, as quoted words; the rest is the same for everybody.

use cm_core::{Exit, Failure, Result};
use cm_project::{Backup, HostSpec, Project};
use std::fmt::Write;

const BODY: &str = include_str!("server.sh");

/// The script, with a case for every host of the project.
///
/// # Errors
/// [`Exit::Config`] for a host whose address is not known, or names no user.
pub fn script(project: &Project) -> Result<String> {
    let names: Vec<_> = project.hosts().iter().map(|host| host.name.clone()).collect();
    let mut text = format!(
        "#!/bin/sh\n\
         # Brings a bare Debian or Ubuntu server to where cm needs it for {}. Read it, then run it there as\n\
         # root: sh SCRIPT HOST. It may be run again. Fedora and Alpine are in it as well, and untried.\n\
         set -eu\n\
         case ${{1-}} in\n",
        quoted(&project.name())
    );
    for host in project.hosts() {
        let _ = writeln!(text, "{})\n{}    ;;", quoted(&host.name), settings(project, host)?);
    }
    let _ = writeln!(
        text,
        "*)\n    echo {} >&2\n    exit 2\n    ;;\nesac\n",
        quoted(&format!("usage: sh SCRIPT {}", names.join("|")))
    );
    Ok(text + BODY)
}

fn settings(project: &Project, host: &HostSpec) -> Result<String> {
    let address = host.address()?;
    let bare = address.strip_prefix("ssh://").unwrap_or(&address);
    let user = bare.rsplit_once('@').map(|(user, _)| user.to_owned()).ok_or_else(|| {
        let message = format!("host {:?} has the address {address:?}, which says no user", host.name);
        Failure::new(Exit::Config, "config.address", message).hint("set `address` in cm.toml to user@host")
    })?;
    let on_it = |backup: &&Backup| project.backup_host(backup) == Some(host.name.as_str());
    let backup = project.backups().iter().find(on_it);
    let values = [
        ("user", user),
        ("checkout", host.checkout()?),
        ("backups", backup.map(|backup| backup.directory.clone()).unwrap_or_default()),
        ("env_file", project.config.compose.env_file.clone().unwrap_or_default()),
    ];
    Ok(values.iter().map(|(name, value)| format!("    {name}={}\n", quoted(value))).collect())
}

/// No word is anything else to a shell than itself.
fn quoted(word: &str) -> String {
    let word = word.replace(|c: char| c.is_control(), " ");
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn it_has_a_case_for_every_host_and_no_word_of_it_is_a_command() {
        let directory = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
        write("compose.yml", "services:\n  db: {image: m}\n  web: {image: w}\n");
        write(
            "cm.toml",
            "project = \"shop\"\n[compose]\nenv_file = \".env\"\n[hosts.one]\naddress = \"ssh://ada@one:22\"\n\
             checkout = \"/srv/it's $(id)\"\n[hosts.two]\naddress = \"u@two\"\nservices = [\"web\"]\n\
             [backup]\nservice = \"db\"\nuri_env = \"URI\"\ndirectory = \"/srv/backups\"\n",
        );
        let project =
            Project::open(directory.path(), None, cm_git::tracked).unwrap_or_else(|failure| panic!("{failure}"));
        let text = script(&project).unwrap_or_else(|failure| panic!("{failure}"));
        let one = "'one')\n    user='ada'\n    checkout='/srv/it'\\''s $(id)'\n    backups='/srv/backups'\n    env_file='.env'\n";
        assert!(text.contains(one), "{text}");
        assert!(text.contains("'two')\n    user='u'\n"), "{text}");
        let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().expect("sh");
        shell.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
        assert!(shell.wait().expect("sh").success());
    }
}
