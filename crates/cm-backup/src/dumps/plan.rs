//! A backup of a dump, planned: what is said to the server that makes it, or done from here.

use super::order::DumpOrder;
use crate::backup::Outcome;
use crate::location::{self, Section};
use crate::plan::Request;
use crate::remote::{self, Order};
use crate::run_on::RunOn;
use crate::store::Store;
use crate::to::To;
use cm_archive::manifest::Deploy;
use cm_core::{Log, Result, Run};
use cm_dump::Spec;
use cm_host::{Fenced, Host, Target};
use cm_lease::with_lock;
use cm_project::{BackupKind, Project};
use jiff::Timestamp;

/// One backup.
#[derive(Debug)]
pub struct DumpPlan {
    project: Project,
    order: DumpOrder,
    target: Target,
    to: To,
    run_on: RunOn,
}

impl DumpPlan {
    /// What a section of `project` says.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if something is missing, [`cm_core::Exit::Usage`] for a flag that the
    /// kind does not have.
    pub fn of_section(request: &Request, project: &Project, section: &Section, to: To) -> Result<DumpPlan> {
        let directory = match &to {
            To::Host { directory, .. } => directory.clone(),
            To::Directory(_) | To::File { .. } => String::new(),
        };
        let mut order = order(project, section, directory)?;
        order.compression = request.options.compression;
        order.rate_limit = request.options.rate_limit;
        order.allow_empty = request.allow_empty;
        order.restore_check = request.restore_check;
        order.strict = request.strict;
        order.spec.kind(order.compression)?;
        let target = Target::of(project, &section.host)?;
        Ok(DumpPlan { project: project.clone(), order, target, to, run_on: request.run_on })
    }

    /// The plan for people, after "back up".
    pub fn describe(&self) -> String {
        format!("{} on {} to {}", self.order.what(), self.target.name, self.to.display())
    }

    /// The project.
    pub fn project(&self) -> Option<String> {
        self.order.deploy.project.clone()
    }

    /// Where the backup goes.
    pub fn to(&self) -> &To {
        &self.to
    }

    /// Makes the backup: on the server, where cm-backup is there, else from here. Who stops containers for it does so
    /// under the deploy lock: amid somebody's deployment they would seem to be broken.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`], [`cm_core::Exit::Config`], [`cm_core::Exit::Unreachable`];
    /// [`cm_core::Exit::LockHeld`] and [`cm_core::Exit::LockLost`] where containers are stopped.
    pub async fn carry_out(&self, deploy: Deploy, run: &Run) -> Result<(Outcome, Option<Store>)> {
        let log = &run.log;
        let works_there = remote::at_work_on(&self.to, &self.target, self.run_on, log).await?;
        let there = works_there.is_some();
        let host = match works_there {
            Some(host) => host,
            None => Host::connect(&self.target, log).await?,
        };
        let order = DumpOrder { deploy, ..self.order.clone() }.named_on(&host, &self.project).await?;
        if !order.spec.stop {
            return self.make(order, (&host, None), there, log).await;
        }
        with_lock(&self.project, std::slice::from_ref(&host), run, async |guard| {
            let fenced = guard.fenced(&host)?;
            self.make(order, (&host, Some(&fenced)), there, log).await
        })
        .await
    }

    /// Has the host `there` carry the order out, or does so from here.
    async fn make(
        &self,
        order: DumpOrder,
        (host, fenced): (&Host, Option<&Fenced>),
        there: bool,
        log: &Log,
    ) -> Result<(Outcome, Option<Store>)> {
        if there {
            let outcome = Order::Dump(Box::new(order)).send(host, fenced, log).await?;
            return Ok((outcome, self.to.store_on(host)));
        }
        let store = self.to.open(Some(host), log).await?;
        let name = match &self.to {
            To::File { name, .. } => Some(name.as_str()),
            To::Directory(_) | To::Host { .. } => None,
        };
        Ok((order.carry_out((host, fenced), &store, name, log).await?, Some(store)))
    }
}

/// The order for what `section` says, with nothing asked for besides, and before the host has been asked for the
/// compose project's name.
///
/// # Errors
/// [`cm_core::Exit::Config`] if the host has no checkout.
pub fn order(project: &Project, section: &Section, directory: String) -> Result<DumpOrder> {
    let checkout = section.host.checkout()?;
    let checkout = checkout.trim_end_matches('/');
    let backup = section.backup.as_ref().ok_or_else(|| {
        cm_core::Failure::bug("a database that no section describes is read by no programs of its own")
    })?;
    let mut spec = Spec::of(backup);
    spec.database = section.database.clone();
    spec.stopped = cm_host::stopped_dir(&project.name());
    if spec.service.is_empty() && spec.kind == BackupKind::Command {
        spec.path = Some(checkout.to_owned());
    } else if spec.service.is_empty() {
        spec.path =
            spec.path.map(|path| if path.starts_with(['/', '~']) { path } else { format!("{checkout}/{path}") });
    }
    Ok(DumpOrder {
        host: section.host.name.clone(),
        compose_project: cm_engine::directory_name(project, checkout),
        volumes: location::volumes(project, &section.service),
        env_file: format!("{checkout}/{}", location::env_file(project)),
        password_env: backup.password_env.clone(),
        label: backup.label().to_owned(),
        spec,
        directory,
        compression: Default::default(),
        rate_limit: None,
        at: Timestamp::now(),
        allow_empty: false,
        restore_check: false,
        strict: false,
        deploy: Deploy { project: Some(project.name()), ..Deploy::default() },
    })
}
