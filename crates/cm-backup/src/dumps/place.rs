//! Where a backup that is there already belongs: the section of `cm.toml` that is of its kind, its
//! service and its database, and the database itself.

use super::order::DumpOrder;
use super::plan;
use super::source::Source;
use crate::location::{Flags, Section};
use cm_archive::manifest::Manifest;
use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Host, Target};
use cm_project::{Backup, Project};

/// The project and where it is deployed.
#[derive(Debug)]
pub struct Owner {
    /// The project.
    pub project: Project,
    /// The host of the database.
    pub host: Host,
    /// What a backup of the database is.
    pub order: DumpOrder,
}

/// The database that a backup with that manifest is restored into.
///
/// # Errors
/// [`Exit::Config`] if no section fits, [`Exit::Usage`] if several do; [`Exit::Unreachable`];
/// [`Exit::Backup`] if it does not run.
pub async fn find(flags: &Flags, manifest: &Manifest, log: &Log) -> Result<(Owner, Source)> {
    let project = Project::load(&flags.common, cm_git::tracked)?;
    let section = section(flags, &project, manifest)?;
    let order = plan::order(&project, &section, section.directory.clone())?;
    let host = Host::connect(&Target::of(&project, &section.host)?, log).await?;
    let order = order.named_on(&host, &project).await?;
    let source = Source::open(&order, &host).await?.ok_or_else(|| {
        let message =
            format!("on {}: there is no container of service {:?} to restore into", host.name(), section.service);
        Failure::new(Exit::Backup, "backup.database-unreachable", message)
            .hint(format!("start it first: docker compose up -d {}", section.service))
    })?;
    Ok((Owner { project, host, order }, source))
}

fn section(flags: &Flags, project: &Project, manifest: &Manifest) -> Result<Section> {
    let of_kind = project.backups().iter().filter(|backup| backup.kind.as_str() == manifest.kind);
    let mut fit: Vec<&Backup> = of_kind.collect();
    let narrow = |fit: &mut Vec<&Backup>, is: &dyn Fn(&Backup) -> bool| {
        if fit.iter().any(|backup| is(backup)) {
            fit.retain(|backup| is(backup));
        }
    };
    match (&flags.service, &manifest.service) {
        (Some(named), _) => fit.retain(|backup| backup.label() == named),
        (None, Some(service)) => narrow(&mut fit, &|backup| backup.service_name() == service),
        (None, None) => {}
    }
    narrow(&mut fit, &|backup| backup.database_name() == Some(&manifest.database));
    match fit.as_slice() {
        [one] => Section::of(flags, project, Some(one)),
        [] => {
            let message = format!("cm.toml has no [[backup]] of kind {} that this could be a backup of", manifest.kind);
            Err(Failure::new(Exit::Config, "backup.not-configured", message)
                .hint("it says where the database is, and how it is reached"))
        }
        [first, second, ..] => {
            let message = format!(
                "cm.toml has several backups that this could be one of: {} and {}",
                first.label(),
                second.label()
            );
            Err(Failure::new(Exit::Usage, "usage.section", message).hint("name one of them: --service NAME"))
        }
    }
}
