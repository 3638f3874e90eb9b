//! The keys of the servers' env files. Only names ever leave a server; the values are
//! its secrets. What should be there is what the repository's example of the file has
//! (`.env.production.example`). One file serves servers with different work, so a key
//! counts as missing where no server has it; the backup's where its server has it not.

use super::coming::Coming;
use super::facts::Facts;
use super::finding::Finding;
use super::needs;
use cm_core::Exit;
use cm_project::compose::Service;
use cm_project::needs::Needs;
use cm_project::{Backup, BackupKind, Project, env_file};
use std::collections::BTreeSet;

/// What `hosts` lack; those whose env file could not be read have their own finding.
/// `complete` says whether these are all hosts of the project.
pub fn missing(project: &Project, hosts: &[(&str, &Facts)], complete: bool) -> Vec<Finding> {
    let Some(file) = project.config.compose.env_file.as_deref() else { return Vec::new() };
    let read: Vec<_> = hosts.iter().filter(|(_, facts)| facts.get("env-file").is_some()).collect();
    let mut findings = Vec::new();
    if complete && read.len() == hosts.len() && !hosts.is_empty() {
        let example = std::fs::read_to_string(project.root.join(format!("{file}.example"))).unwrap_or_default();
        let there: BTreeSet<&String> = read.iter().flat_map(|(_, facts)| facts.all(env_file::KEY_FACT)).collect();
        let lacking: Vec<_> = env_file::keys(&example).into_iter().filter(|name| !there.contains(name)).collect();
        if !lacking.is_empty() {
            let message = format!("no server's {file} has {}, as {file}.example does", lacking.join(", "));
            findings
                .push(Finding::warn(&needs::ENV_KEY, message).hint("add them there, or take them out of the example"));
        }
    }
    findings.extend(project.backups().iter().filter_map(|section| backup(project, section, file, &read)));
    findings
}

/// What the compose file that comes needs of the env file of a server that has no checkout yet, without which Compose would
/// refuse it: the deployment that makes the checkout asks the same. Where there is one, Compose itself is asked.
pub fn required(project: &Project, host: &str, facts: &Facts, coming: &Coming) -> Option<Finding> {
    let compose = coming.whole.as_ref().filter(|_| facts.get("no-checkout").or(facts.get("unborn")).is_some())?;
    let file = project.variable_files().into_iter().next()?;
    let own = facts.all(env_file::KEY_FACT);
    // The commit brings the file where it is not the server's own, and where the server has none.
    let brought = coming.env_keys.as_ref().filter(|_| own.is_empty() || !project.protected().contains(&file));
    if project.config.compose.env_file.is_some() && facts.get("env-file").is_none() && brought.is_none() {
        return None;
    }
    let keys: BTreeSet<String> = own.iter().chain(brought.into_iter().flatten()).cloned().collect();
    let runs = |service: &Service| {
        project.host_of(&service.name).is_some_and(|of| of.name == host) && service.starts_with(project.profiles())
    };
    let needs = Needs { compose, runs: &runs, before: None, keys: &keys };
    let lacking: Vec<String> = needs.lacking().iter().filter(|key| key.grave).map(ToString::to_string).collect();
    (!lacking.is_empty()).then(|| {
        let message = format!("{file} lacks what the compose file needs: {}", lacking.join(", "));
        Finding::fail(Exit::Config, &needs::UNSET_VARIABLE, message)
            .hint(format!("set them in {file} in the checkout's directory there, or give them a default: ${{KEY:-}}"))
    })
}

fn backup(project: &Project, backup: &Backup, file: &str, read: &[&(&str, &Facts)]) -> Option<Finding> {
    let host = project.backup_host(backup)?;
    let (_, facts) = read.iter().find(|(name, _)| *name == host)?;
    let (setting, key) = match backup.kind {
        BackupKind::Mongodb => ("uri_env", &backup.uri_env),
        _ => ("password_env", backup.password_env.as_ref()?),
    };
    (!facts.all(env_file::KEY_FACT).contains(key)).then(|| {
        let mut finding = Finding::warn(&needs::ENV_KEY, format!("{file} has no {key}, which the backup needs"))
            .hint(format!("add it there, or set `{setting}` of [backup] in cm.toml"));
        finding.host = Some(host.to_owned());
        finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(one: &str, two: &str, complete: bool) -> Vec<String> {
        let directory = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
        write("compose.yml", "services:\n  mongodb: {image: m}\n  web: {image: w}\n");
        write(
            "cm.toml",
            "[compose]\nenv_file = \".env\"\n[hosts.one]\naddress = \"u@one\"\n[hosts.two]\naddress = \"u@two\"\n\
             services = [\"web\"]\n[backup]\nuri_env = \"MONGODB_URI\"\n",
        );
        write(".env.example", "API_KEY=\nMONGODB_URI=\nGATEWAY=\n");
        let project =
            Project::open(directory.path(), None, cm_git::tracked).unwrap_or_else(|failure| panic!("{failure}"));
        let (one, two) = (Facts::parse(one), Facts::parse(two));
        missing(&project, &[("one", &one), ("two", &two)], complete).iter().map(Finding::line).collect()
    }

    #[test]
    fn a_key_is_missing_where_no_server_has_it() {
        let one = "env-file=600\nenv-key=API_KEY\nenv-key=MONGODB_URI\n";
        assert_eq!(found(one, "env-file=600\nenv-key=GATEWAY\n", true), [""; 0]);
        assert_eq!(found(one, "env-file=600\n", true), ["no server's .env has GATEWAY, as .env.example does"]);
        assert_eq!(found(one, "env-file=600\n", false), [""; 0], "a server that was not looked at may have it");
        assert_eq!(found(one, "env-file-error=not there\n", true), [""; 0], "that is said elsewhere");
        assert_eq!(
            found("env-file=600\nenv-key=API_KEY\n", "env-file=600\nenv-key=GATEWAY\nenv-key=MONGODB_URI\n", true),
            ["one: .env has no MONGODB_URI, which the backup needs"]
        );
    }
}
