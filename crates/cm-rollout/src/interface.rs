//! What differs from engine to engine where services are switched to a release: one interface. Compose replaces
//! containers on one host, one by one; a Swarm is given what its services are to be and does it over all nodes. (How
//! services are *looked at* is `cm_engine::Sight`.)

use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::rollout::{Change, Options, Replaced, Rollout};
use cm_core::Result;
use cm_engine::Container;
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
