//! Images that only come from a registry are on the host before anything is replaced.

use crate::rollout::Rollout;
use cm_core::{Result, plural};
use cm_engine::Missing;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;

/// As many at once: the engine itself loads no more layers at a time.
const AT_ONCE: usize = 3;

/// People are told so many names.
const NAMED: usize = 3;

impl Rollout<'_> {
    /// Pulls what `services` are started from, as far as it is not among the images `there`.
    pub(crate) async fn pull_missing(&self, services: &[String], there: &BTreeSet<String>) -> Result<()> {
        let missing = cm_engine::missing(self.config, services, there);
        if missing.is_empty() {
            return Ok(());
        }
        self.log.info(format!("on {}: pulling {}", self.host.name(), listed(&missing)));
        stream::iter(&missing).map(|one| self.pull_one(one)).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn pull_one(&self, missing: &Missing) -> Result<()> {
        let host = self.host.name();
        let service = missing.services.first().filter(|_| missing.services.len() == 1).map(String::as_str);
        let task = self.log.task(&format!("{host}: pulling {}", missing.image)).at(host, service);
        self.log.debug(missing.words());
        let fenced = self.guard.fenced(self.host)?;
        self.compose.pull(&fenced, missing, |transfer| transfer.show(&task)).await
    }
}

fn listed(missing: &[Missing]) -> String {
    match missing.len() > NAMED {
        true => plural(missing.len() as u64, "image"),
        false => missing.iter().map(|one| one.image.as_str()).collect::<Vec<_>>().join(", "),
    }
}
