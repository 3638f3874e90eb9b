//! Whether backups can be made: the programs that each needs are looked for where it runs them, and who was stopped by a
//! backup that died, and is still down, is named.

use super::facts::Facts;
use super::finding::Finding;
use super::{LIMIT, needs};
use cm_core::{Exit, Result};
use cm_host::Host;
use cm_project::{Backup, Program, ProgramPlace, Project};
use std::collections::BTreeSet;

const LOOK: &str = concat!("# Looks at what backups need.\n", cm_checkout::place_sh!(), include_str!("backups.sh"));

/// What is missing on `host`, whose checkout is `checkout`.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn missing(project: &Project, host: &Host, checkout: &str) -> Result<Vec<Finding>> {
    let here = || project.backups().iter().filter(|backup| project.backup_host(backup) == Some(host.name()));
    let directories: BTreeSet<_> = here().map(|backup| host.path(&backup.directory)).collect();
    let needed: Vec<_> =
        here().flat_map(|backup| backup.programs().into_iter().map(move |one| (backup, one))).collect();
    if project.backups().is_empty() {
        return Ok(Vec::new());
    }
    // Without a checkout, or Compose, nobody on the host can say what the project is called there.
    let name = cm_engine::project_name(project, host, checkout).await.unwrap_or_else(|_| {
        let named = project.compose.name.clone().filter(|name| !name.contains('$'));
        named.unwrap_or_else(|| cm_engine::directory_name(project, checkout))
    });
    let fixed = [host.path(&cm_host::stopped_dir(&project.name())), name, directories.len().to_string()];
    let fixed = fixed.into_iter().chain(directories);
    let wanted = needed.iter().enumerate().flat_map(|(number, (_, program))| words(number, program));
    let looked = host.script(LOOK, fixed.chain(wanted)).limit(LIMIT).output().await?;
    Ok(judge(&Facts::parse(&looked.text()), &needed))
}

fn words(number: usize, program: &Program) -> impl Iterator<Item = String> {
    let place = match &program.place {
        ProgramPlace::Host => String::new(),
        ProgramPlace::Service(service) => service.clone(),
        ProgramPlace::Volume(volume) => format!("volume:{volume}"),
    };
    [number.to_string(), place, program.any_of.len().to_string()].into_iter().chain(program.any_of.clone())
}

fn judge(facts: &Facts, needed: &[(&Backup, Program)]) -> Vec<Finding> {
    let missing = facts.all("missing").iter().filter_map(|number| needed.get(number.parse::<usize>().ok()?));
    let mut findings: Vec<_> = missing.map(|(backup, program)| lacking(backup, program)).collect();
    findings.extend(facts.all("no-directory").iter().map(|why| {
        let message = format!("no backup can be written there: {why}");
        let hint = "the deploy user must be able to write in `directory` of [backup]; `--no-backup` deploys without";
        Finding::fail(Exit::Config, &needs::BACKUP, message).hint(hint)
    }));
    let stopped = facts.all("stopped");
    if !stopped.is_empty() {
        let names = stopped.join(" ");
        let message = format!("stopped for a backup that was interrupted, and still down: {names}");
        findings.push(
            Finding::warn(&needs::STOPPED, message)
                .hint(format!("the next backup of the volume starts them first; at once: docker start {names}")),
        );
    }
    findings
}

fn lacking(backup: &Backup, program: &Program) -> Finding {
    let names = program.any_of.join(" or ");
    let what = if program.for_copy { "the copy of the backup" } else { "the backup" };
    let (place, cure) = match &program.place {
        ProgramPlace::Host => (
            "on the host".to_owned(),
            "install it there, where a shell that is no login shell finds it: ~/.local/bin does".to_owned(),
        ),
        ProgramPlace::Service(service) => (
            format!("in the container of {service}"),
            "use an image that has it, or back it up from elsewhere: kind = \"command\" in cm.toml".to_owned(),
        ),
        ProgramPlace::Volume(volume) => (
            format!("in the container that uses the volume {volume}"),
            "use an image that has it, or back the volume up by another way: kind = \"command\" in cm.toml".to_owned(),
        ),
    };
    let message = format!("there is no {names} {place}, which {what} of {} needs", backup.label());
    let finding = match program.is_fatal {
        true => Finding::fail(Exit::Config, &needs::BACKUP, message),
        false => Finding::warn(&needs::BACKUP, message),
    };
    finding.hint(cure)
}
