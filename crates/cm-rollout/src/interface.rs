//! What differs from engine to engine where services are switched to a release: one interface. Compose replaces
//! containers on one host, one by one; a Swarm is given what its services are to be and does it over all nodes. (How
//! services are *looked at* is `cm_engine::Sight`.)

use crate::brought::Brought;
use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::rollout::{Change, Options, Replaced, Rollout};
use cm_core::Result;
use cm_engine::{Container, JobRun};
use futures_util::future::{FutureExt, LocalBoxFuture};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a switch: how each service was replaced.
pub(crate) type Switched<'a> = LocalBoxFuture<'a, Result<BTreeMap<String, Replaced>>>;

/// That something is done.
pub(crate) type Done<'a> = LocalBoxFuture<'a, Result<()>>;

/// What is there before anything is switched.
pub(crate) type Bringing<'a> = LocalBoxFuture<'a, Result<Option<Brought>>>;

/// What switches services to a release.
pub trait Replace: Sync {
    /// As [`Rollout::pull`]. An engine that brings its images itself pulls nothing here.
    fn pull<'a>(&'a self, _: &'a Rollout<'a>, _: &'a [String], _: &'a BTreeSet<String>) -> Done<'a> {
        std::future::ready(Ok(())).boxed_local()
    }

    /// What [`Replace::pull`] would do.
    fn foresee_pulls(&self, _: &Foresight<'_>, _: &[String], _: &BTreeSet<String>) -> Vec<String> {
        Vec::new()
    }

    /// As [`Rollout::bring`]. An engine that has everything on its host brings nothing.
    fn bring<'a>(&'a self, _: &'a Rollout<'a>, _: &'a Change) -> Bringing<'a> {
        std::future::ready(Ok(None)).boxed_local()
    }

    /// As [`Rollout::replace`].
    fn replace<'a>(
        &'a self,
        rollout: &'a Rollout<'a>,
        change: &'a Change,
        before: &'a [Container],
        options: Options,
        canaries: &'a mut Canaries,
    ) -> Switched<'a>;

    /// The name of what runs a job that a container called `container` would run.
    fn job_container(&self, project: &str, container: String) -> String;

    /// Starts a job. One that has this name already is left as it is.
    fn start_job<'a>(&'a self, rollout: &'a Rollout<'a>, run: &'a JobRun<'a>) -> Done<'a>;

    /// Starts services that do not run, for a job that needs them; `wait`: until they are healthy.
    fn start_idle<'a>(&'a self, rollout: &'a Rollout<'a>, services: &'a [String], wait: bool) -> Done<'a>;

    /// What [`Replace::start_job`] and [`Replace::start_idle`] would do.
    fn foresee_job(&self, foresight: &Foresight<'_>, run: &JobRun<'_>) -> String;

    /// As [`Replace::foresee_job`].
    fn foresee_idle(&self, foresight: &Foresight<'_>, services: &[String], wait: bool) -> String;

    /// What [`Replace::replace`] would do, in the words of what is run.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
    fn foresee(&self, foresight: &Foresight<'_>, change: &Change, options: Options) -> Result<Vec<String>>;
}
