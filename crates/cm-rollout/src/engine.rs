//! What differs from engine to engine where services are switched to a release: one interface, and the one place that
//! chooses who does it. Compose replaces containers on one host, one by one; a Swarm is given what its services are
//! to be and does it over all nodes. (How services are *looked at* is `cm_engine::Sight`.)

use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::rollout::{Change, Options, Replaced, Rollout};
use crate::stack::SwarmReplace;
use cm_core::Result;
use cm_engine::Container;
use cm_project::Engine;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::collections::BTreeMap;

/// What came of a switch: how each service was replaced.
pub(crate) type Switched<'a> = LocalBoxFuture<'a, Result<BTreeMap<String, Replaced>>>;

/// What switches services to a release.
pub trait Replace: Sync {
    /// As [`Rollout::replace`].
    fn replace<'a>(
        &'a self,
        rollout: &'a Rollout<'a>,
        change: &'a Change,
        before: &'a [Container],
        options: Options,
        canaries: &'a mut Canaries,
    ) -> Switched<'a>;

    /// What [`Replace::replace`] would do, in the words of what is run.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
    fn foresee(&self, foresight: &Foresight<'_>, change: &Change, options: Options) -> Result<Vec<String>>;
}

/// Docker Compose.
struct ComposeReplace;

impl Replace for ComposeReplace {
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

    fn foresee(&self, foresight: &Foresight<'_>, change: &Change, options: Options) -> Result<Vec<String>> {
        foresight.compose_steps(change, options)
    }
}

/// Who does it.
pub(crate) fn of(engine: Engine) -> &'static dyn Replace {
    match engine {
        Engine::Compose => &ComposeReplace,
        Engine::Swarm => &SwarmReplace,
    }
}

impl Rollout<'_> {
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
}
