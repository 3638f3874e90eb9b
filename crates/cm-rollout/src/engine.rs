//! The one place that chooses an engine where services are switched to a release.

use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::interface::{Replace, Switched};
use crate::rollout::{Change, Options, Replaced, Rollout};
use crate::stack::SwarmReplace;
use cm_core::Result;
use cm_engine::Container;
use cm_project::Engine;
use futures_util::FutureExt;
use std::collections::BTreeMap;

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
fn of(engine: Engine) -> &'static dyn Replace {
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

impl Foresight<'_> {
    /// How containers are replaced and removed.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
    pub fn containers(&self, change: &Change, options: Options) -> Result<Vec<String>> {
        of(self.project.engine()).foresee(self, change, options)
    }
}
