//! The whole change of one host, in its order: what is in the way, what did not run yet,
//! what is replaced, and what leaves.

use crate::canary::Canaries;
use crate::collision::Collision;
use crate::rollout::{Change, Options, Replaced, Rollout};
use crate::sequence::{self, Sequence};
use cm_core::{Exit, Result};
use cm_engine::Container;
use std::collections::{BTreeMap, BTreeSet};

impl Rollout<'_> {
    /// What holds what another one takes goes first, the others when all the rest is there.
    ///
    /// # Errors
    /// As [`Rollout::replace`].
    pub(crate) async fn replace_containers(
        &self,
        change: &Change,
        before: &[Container],
        options: Options,
        canaries: &mut Canaries,
    ) -> Result<BTreeMap<String, Replaced>> {
        let (collisions, free) = sequence::collisions(self.config, change, before);
        let rolling = self.rolling(&free, before, options).await?;
        let sequence = Sequence::new(collisions, rolling.into_keys().collect(), change, before);
        let questions = match options.trial {
            true => self.questions(
                &change.start,
                &sequence.rolling,
                |name: &String| sequence::runs(before, name),
                options.full,
            )?,
            false => BTreeMap::new(),
        };
        if !sequence.rolling.is_empty() {
            // Nothing else meets them: they go at the end.
            self.clear_trials().await?;
        }
        self.finish_renames(&change.start, before).await?;
        let mut replaced = self.up(&sequence.first, options).await?;
        if options.trial {
            self.trial(&sequence.rolling, &questions, before, canaries).await?;
        }
        self.make_way(&sequence.collisions, change).await?;
        let took = self.start(&sequence.second, options).await?;
        if sequence.rolling.is_empty() {
            let (second, cleared) =
                tokio::join!(self.account(&sequence.second, took, options), self.clear(Exit::Build));
            replaced.extend(second?);
            cleared?;
        } else {
            replaced.extend(self.account(&sequence.second, took, options).await?);
            replaced.extend(self.roll(&sequence.rolling, before, options).await?);
            self.clear(Exit::Build).await?;
        }
        self.remove_services(&change.remove, before).await?;
        Ok(replaced)
    }

    /// Lets go of what other services take.
    async fn make_way(&self, collisions: &[Collision<'_>], change: &Change) -> Result<()> {
        let mut gone = BTreeSet::new();
        for Collision { holder, taker, name, what } in collisions {
            if !gone.insert((&holder.id, *name)) {
                continue;
            }
            let host = self.guard.fenced(self.host)?;
            self.log.info(format!("on {}: {} leaves first: {taker} takes {what}", self.host.name(), holder.name));
            if change.remove.contains(&holder.service) {
                cm_engine::remove_containers(&host, std::slice::from_ref(&holder.id), Exit::Build).await?;
            } else {
                let name = name.then_some(holder.name.as_str());
                cm_engine::make_way(&host, &holder.id, name, Exit::Build).await?;
            }
        }
        Ok(())
    }

    /// Removes the containers of services that leave.
    async fn remove_services(&self, services: &[String], before: &[Container]) -> Result<()> {
        for container in before.iter().filter(|container| services.contains(&container.service)) {
            let host = self.guard.fenced(self.host)?;
            self.log.info(format!("on {}: removing {}", self.host.name(), container.name));
            cm_engine::remove_containers(&host, std::slice::from_ref(&container.id), Exit::Build).await?;
        }
        Ok(())
    }

    /// Compose takes a container that was left under its name on the way for a whole one.
    async fn finish_renames(&self, services: &[String], before: &[Container]) -> Result<()> {
        for container in before.iter().filter(|container| services.contains(&container.service)) {
            let definition = self.config.services.get(&container.service);
            let Some(name) = definition.and_then(|definition| definition.unfinished_name(&container.name)) else {
                continue;
            };
            // Where the old one is still there, Compose removes one of the two.
            if before.iter().all(|other| other.name != name) {
                let host = self.guard.fenced(self.host)?;
                cm_engine::rename(&host, &container.id, name, Exit::Build).await?;
                self.log.info(format!("on {}: {} is {name} again", self.host.name(), container.name));
            }
        }
        Ok(())
    }
}
