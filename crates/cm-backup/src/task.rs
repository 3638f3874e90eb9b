//! What a run backs up: one task for each database, by what the command line, the environment and
//! `cm.toml` say together.

use crate::backup::Outcome;
use crate::copies;
use crate::dumps::DumpPlan;
use crate::location::Section;
use crate::mongodump::Method;
use crate::plan::{Plan, Request};
use crate::store::Store;
use crate::to::To;
use cm_archive::manifest::Deploy;
use cm_core::{Exit, Failure, Log, Result, Run};
use cm_host::Target;
use cm_project::{BackupCopy, Project};

/// One backup that is to be made, and copied elsewhere.
#[derive(Debug)]
pub struct Task {
    by: By,
    /// Where else it goes.
    pub copy: Option<BackupCopy>,
}

/// Who makes it.
#[derive(Debug)]
enum By {
    /// Of a MongoDB database, which cm-backup reads by itself.
    Mongo(Box<Plan>),
    /// Of one whose own programs dump it.
    Dump(Box<DumpPlan>),
}

/// What became of a task: the outcome, and where the backup is.
#[derive(Debug)]
pub struct Made {
    /// The outcome.
    pub outcome: Outcome,
    /// Where the backup is.
    pub store: Option<Store>,
    /// Whether it is one of many there.
    pub in_a_series: bool,
}

impl Made {
    /// Copies the backup elsewhere, if there is one and `copy` says where to.
    ///
    /// # Errors
    /// [`Exit::Backup`] for a copy that failed, where that is to end the run.
    pub async fn copy(&mut self, copy: Option<&BackupCopy>, log: &Log) -> Result<()> {
        let Outcome::Verified { manifest, warnings } = &mut self.outcome else { return Ok(()) };
        let (Some(store), Some(copy)) = (&self.store, copy) else { return Ok(()) };
        warnings.extend(copies::copy(store, manifest, copy, log).await?);
        Ok(())
    }
}

/// What is to be backed up; nothing if the project does not want backups.
///
/// # Errors
/// [`Exit::Config`] or [`Exit::Usage`] if something is missing or wrong.
pub fn plan(request: &Request, run: &mut Run) -> Result<Vec<Task>> {
    let flags = &request.flags;
    let local = request.output.as_deref().map(|path| To::local(flags, path)).transpose()?;
    if let (Some(variable), Some(to)) = (&flags.uri_env, &local) {
        let plan = Plan::of_variable(request, variable, to.clone(), run.doc.project())?;
        return Ok(vec![Task { by: By::Mongo(Box::new(plan)), copy: None }]);
    }
    let project = cm_git::of_run(&flags.common, &run.doc)?;
    if run.started_here {
        run.doc.set_target(&project.name(), Some(&project.branch()), None);
    }
    if project.backups().is_empty() && !flags.names_one() {
        return not_configured(run);
    }
    let sections = Section::all(flags, &project)?;
    if matches!(local, Some(To::File { .. })) && sections.len() > 1 {
        let message = format!("{} backups do not go into one file", sections.len());
        return Err(
            Failure::new(Exit::Usage, "usage.output", message).hint("name a directory, or one of them: --service NAME")
        );
    }
    sections.into_iter().map(|section| Task::of(request, &project, section, local.clone())).collect()
}

/// A project without `[backup]`: fine in a pipe, a mistake by hand.
fn not_configured(run: &Run) -> Result<Vec<Task>> {
    if run.started_here {
        return Err(Failure::new(Exit::Config, "backup.not-configured", "cm.toml does not say what to back up")
            .hint("add [backup] to cm.toml, or: cm-backup --uri-env VARIABLE --database NAME --output DIR"));
    }
    run.log.warn("no backup: cm.toml has no [backup]");
    Ok(Vec::new())
}

impl Task {
    fn of(request: &Request, project: &Project, section: Section, local: Option<To>) -> Result<Task> {
        let to = match local {
            Some(to) => to,
            None => To::Host { target: Target::of(project, &section.host)?, directory: section.directory.clone() },
        };
        let copy = match &to {
            To::Host { .. } => section.backup.as_ref().and_then(|backup| backup.copy.clone()).map(|copy| {
                let rates = [copy.rate_limit, request.options.rate_limit];
                BackupCopy { rate_limit: rates.into_iter().flatten().min(), ..copy }
            }),
            To::Directory(_) | To::File { .. } => None,
        };
        if section.is_mongodb() {
            return Ok(Task { by: By::Mongo(Box::new(Plan::of_section(request, project, section, to)?)), copy });
        }
        if request.options.selection.is_some() || request.method != Method::Native {
            let message = "--collection, --exclude-collection, --query and --method are for MongoDB";
            return Err(Failure::new(Exit::Usage, "usage.kind", message)
                .hint("name the service of the MongoDB database: --service NAME"));
        }
        Ok(Task { by: By::Dump(Box::new(DumpPlan::of_section(request, project, &section, to)?)), copy })
    }

    /// The task for people, after "back up".
    pub fn describe(&self) -> String {
        let backup = match &self.by {
            By::Mongo(plan) => plan.describe(),
            By::Dump(plan) => plan.describe(),
        };
        match &self.copy {
            Some(copy) => format!("{backup}, with a copy elsewhere by {}", copy.command.programs()),
            None => backup,
        }
    }

    /// Makes the backup.
    ///
    /// # Errors
    /// [`Exit::Backup`], [`Exit::Config`], [`Exit::Unreachable`]; no backup has its name then.
    pub async fn carry_out(&self, run: &Run) -> Result<Made> {
        let (project, to) = match &self.by {
            By::Mongo(plan) => (plan.project.clone(), plan.to()),
            By::Dump(plan) => (plan.project(), plan.to()),
        };
        let deploy = Deploy {
            run: Some(run.doc.run_id().to_owned()),
            project,
            commit: run.doc.commit().map(str::to_owned),
            actor: Some(run.doc.actor().to_owned()),
        };
        let (outcome, store) = match &self.by {
            By::Mongo(plan) => plan.carry_out(deploy, &run.log).await?,
            By::Dump(plan) => plan.carry_out(deploy, run).await?,
        };
        Ok(Made { outcome, store, in_a_series: to.is_in_a_series() })
    }
}
