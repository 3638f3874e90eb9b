//! The new container first: which services can have that, the trial that nobody can
//! find, and the replacement behind a bridge.

use crate::alongside::{BRIDGE, TRIAL};
use crate::canary::Canaries;
use crate::order::Order;
use crate::rollout::{Options, Replaced, Rollout};
use crate::sequence;
use crate::words::list;
use cm_core::{Exit, Result};
use cm_engine::Container;
use cm_gate::Settings;
use std::collections::BTreeMap;
use std::time::Instant;

impl Rollout<'_> {
    /// Those of `services` that run, have to be replaced and can be without a gap.
    pub(crate) async fn rolling(
        &self,
        services: &[String],
        before: &[Container],
        options: Options,
    ) -> Result<BTreeMap<String, Order>> {
        let candidates = sequence::candidates(self.project, self.config, services, before, options)?;
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let hashes = self.compose.config_hashes().await?;
        let mut rolling = BTreeMap::new();
        for (name, order) in candidates {
            let image = cm_engine::image_id(self.host, &self.config.services[&name].image).await?;
            let same = |container: &Container| {
                container.is_running()
                    && Some(&container.image_id) == image.as_ref()
                    && hashes.get(&name) == Some(&container.config_hash)
            };
            if !before.iter().filter(|container| container.service == name).all(same) {
                rolling.insert(name, order);
            }
        }
        Ok(rolling)
    }

    /// New containers that nobody talks to have to be well before anything is replaced, and no
    /// worse than the old ones where `questions` has something to ask.
    pub(crate) async fn trial(
        &self,
        services: &[String],
        questions: &BTreeMap<String, String>,
        before: &[Container],
        canaries: &mut Canaries,
    ) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        self.log.info(format!("on {}: trying the new {}", self.host.name(), list(services)));
        let ids = self.start_beside(services, TRIAL).await;
        let settings = Settings::of(self.project.health());
        let well = match ids {
            Ok(ids) => match self.well(services, &ids, settings, |_| 1).await {
                Ok(()) => self.compare(questions, before, &ids, canaries).await,
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        let cleared = self.clear_trials().await;
        well.and(cleared)
    }

    pub(crate) async fn roll(
        &self,
        services: &[String],
        before: &[Container],
        options: Options,
    ) -> Result<BTreeMap<String, Replaced>> {
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let began = Instant::now();
        self.log.info(format!("on {}: replacing {} start-first", self.host.name(), list(services)));
        let bridged = match self.start_beside(services, BRIDGE).await {
            Ok(ids) => self.well(services, &ids, self.at_first_sight(services), |_| 1).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = bridged {
            // The old ones still run, so the bridges go.
            self.clear(Exit::Build).await?;
            return Err(failure);
        }
        let of = |container: &&Container| services.contains(&container.service) && container.is_running();
        self.drain(before.iter().filter(of)).await?;
        self.up(services, Options { full: false, ..options }).await?;
        let now = cm_engine::containers(self.host, &self.config.project).await?;
        let new = now.iter().filter(|container| services.contains(&container.service));
        let ids: Vec<String> = new.map(|container| container.id.clone()).collect();
        let replicas = |name: &str| self.config.services.get(name).map_or(1, |definition| definition.replicas);
        let well = self.well(services, &ids, self.at_first_sight(services), replicas).await;
        well.map_err(|failure| {
            failure.hint("a container of the new release is serving alongside it; `cm-rollback` rolls back")
        })?;
        let bridges = cm_engine::alongside(self.host, &self.config.project).await?;
        self.drain(bridges.iter().filter(|bridge| bridge.alongside == BRIDGE).filter(of)).await?;
        self.clear(Exit::Build).await?;
        let took = began.elapsed();
        let order = |name: &String| match self.config.services.get(name) {
            Some(definition) => Order::of(self.project, name, definition),
            None => Ok(Order::Rolling(None)),
        };
        services.iter().map(|name| Ok((name.clone(), Replaced { order: order(name)?, took, gap: None }))).collect()
    }
}
