//! The one place that chooses an engine where services are switched to a release.

use crate::brought::Brought;
use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::interface::{Done, Replace, Switched};
use crate::job_run::container_name;
use crate::rollout::{Change, Options, Replaced, Rollout};
use crate::stack::SwarmReplace;
use cm_core::Result;
use cm_engine::invocation::{job_arguments, up_arguments};
use cm_engine::{Container, JobRun, UpOptions};
use cm_project::{Engine, Job};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};

/// Docker Compose.
struct ComposeReplace;

impl Replace for ComposeReplace {
    fn pull<'a>(&'a self, rollout: &'a Rollout<'a>, services: &'a [String], there: &'a BTreeSet<String>) -> Done<'a> {
        rollout.pull_missing(services, there).boxed_local()
    }

    fn foresee_pulls(&self, foresight: &Foresight<'_>, services: &[String], there: &BTreeSet<String>) -> Vec<String> {
        cm_engine::missing(foresight.config, services, there).iter().map(cm_engine::Missing::words).collect()
    }

    fn replace<'a>(
        &'a self,
        rollout: &'a Rollout<'a>,
        change: &'a Change,
        before: &'a [Container],
        options: Options,
        canaries: &'a mut Canaries,
    ) -> Switched<'a> {
        rollout.replace_containers(change, before, options, canaries).boxed_local()
    }

    fn job_container(&self, _: &str, container: String) -> String {
        container
    }

    fn start_job<'a>(&'a self, rollout: &'a Rollout<'a>, run: &'a JobRun<'a>) -> Done<'a> {
        async move {
            rollout.log.debug(rollout.compose.shown(&[], &job_arguments(run)));
            rollout.compose.start_job(&rollout.guard.fenced(rollout.host)?, run).await
        }
        .boxed_local()
    }

    fn start_idle<'a>(&'a self, rollout: &'a Rollout<'a>, services: &'a [String], wait: bool) -> Done<'a> {
        async move {
            let up = UpOptions { wait, ..UpOptions::default() };
            rollout.log.debug(rollout.compose.shown(&[], &up_arguments(services, up)));
            let host = rollout.guard.fenced(rollout.host)?;
            rollout.compose.up(&host, services, up, |line| rollout.log.debug(line)).await
        }
        .boxed_local()
    }

    fn foresee_job(&self, foresight: &Foresight<'_>, run: &JobRun<'_>) -> String {
        foresight.compose.shown(&[], &job_arguments(run))
    }

    fn foresee_idle(&self, foresight: &Foresight<'_>, services: &[String], wait: bool) -> String {
        foresight.compose.shown(&[], &up_arguments(services, UpOptions { wait, ..UpOptions::default() }))
    }

    fn foresee(&self, foresight: &Foresight<'_>, change: &Change, options: Options) -> Result<Vec<String>> {
        foresight.compose_steps(change, options)
    }
}

/// Who does it.
fn of(engine: Engine) -> &'static dyn Replace {
    match engine {
        Engine::Compose => &ComposeReplace,
        Engine::Swarm => &SwarmReplace,
    }
}

impl Rollout<'_> {
    /// Pulls the images that `services` are started from, that nobody builds and that the host does not have, `there`
    /// being the names of those that it has. Nothing is switched.
    ///
    /// # Errors
    /// [`cm_core::Exit::Build`] with Docker's words; [`cm_core::Exit::LockLost`], [`cm_core::Exit::Unreachable`].
    pub async fn pull(&self, services: &[String], there: &BTreeSet<String>) -> Result<()> {
        of(self.host.engine()).pull(self, services, there).await
    }

    /// Brings what `change` needs to where it is needed, such as images to every node of a Swarm, and its configs: all of it
    /// that may fail before a service is touched. Nothing is switched.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`], [`cm_core::Exit::Build`] with Docker's words; [`cm_core::Exit::LockLost`],
    /// [`cm_core::Exit::Unreachable`].
    pub async fn bring(&self, change: &Change) -> Result<Option<Brought>> {
        of(self.host.engine()).bring(self, change).await
    }

    /// Starts or replaces the containers of `change` from the images that are there now, and removes
    /// those that leave. `before` is what ran; what canaries came to is added to `canaries`, also where it fails.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unhealthy`] if a new container is not healthy, [`cm_core::Exit::VerifyFailed`] if its canary
    /// fails, and then the old ones serve on; [`cm_core::Exit::Config`], [`cm_core::Exit::Build`] with Docker's words;
    /// [`cm_core::Exit::LockLost`], [`cm_core::Exit::Unreachable`].
    pub async fn replace(
        &self,
        change: &Change,
        before: &[Container],
        options: Options,
        canaries: &mut Canaries,
    ) -> Result<BTreeMap<String, Replaced>> {
        of(self.host.engine()).replace(self, change, before, options, canaries).await
    }

    /// What runs `job` for `commit`: the same for every run, and another one for each job.
    pub(crate) fn job_container(&self, job: &Job, commit: &str) -> String {
        let project = &self.config.project;
        of(self.host.engine()).job_container(project, container_name(project, job, commit))
    }

    pub(crate) async fn start_job(&self, run: &JobRun<'_>) -> Result<()> {
        of(self.host.engine()).start_job(self, run).await
    }

    pub(crate) async fn start_idle(&self, services: &[String], wait: bool) -> Result<()> {
        of(self.host.engine()).start_idle(self, services, wait).await
    }
}

impl Foresight<'_> {
    /// What [`Rollout::pull`] would do.
    pub fn pulls(&self, services: &[String], there: &BTreeSet<String>) -> Vec<String> {
        of(self.project.engine()).foresee_pulls(self, services, there)
    }

    pub(crate) fn job_container(&self, job: &Job, commit: &str) -> String {
        let project = &self.config.project;
        of(self.project.engine()).job_container(project, container_name(project, job, commit))
    }

    pub(crate) fn job(&self, run: &JobRun<'_>) -> String {
        of(self.project.engine()).foresee_job(self, run)
    }

    pub(crate) fn idle(&self, services: &[String], wait: bool) -> String {
        of(self.project.engine()).foresee_idle(self, services, wait)
    }

    /// How containers are replaced and removed.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
    pub fn containers(&self, change: &Change, options: Options) -> Result<Vec<String>> {
        of(self.project.engine()).foresee(self, change, options)
    }
}
