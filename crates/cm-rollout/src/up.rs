//! Compose's own way of replacing containers, and how long nothing ran meanwhile.

use crate::order::Order;
use crate::rollout::{Options, Replaced, Rollout};
use cm_core::Result;
use cm_engine::invocation::up_arguments;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl Rollout<'_> {
    pub(crate) async fn up(&self, services: &[String], options: Options) -> Result<BTreeMap<String, Replaced>> {
        let took = self.start(services, options).await?;
        self.account(services, took, options).await
    }

    /// Lets Compose replace the containers; how long it took.
    pub(crate) async fn start(&self, services: &[String], options: Options) -> Result<Duration> {
        if services.is_empty() {
            return Ok(Duration::ZERO);
        }
        let up = options.up();
        let host = self.guard.fenced(self.host)?;
        self.log.info(format!("on {}: starting {}", self.host.name(), services.join(", ")));
        self.log.debug(self.compose.shown(&[], &up_arguments(services, up)));
        let began = Instant::now();
        let task = self.log.task(&format!("on {}: starting", self.host.name()));
        let task = task.at(self.host.name(), services.first().filter(|_| services.len() == 1).map(String::as_str));
        let said = |line: &str| {
            self.log.debug(line);
            task.note(line.trim());
        };
        self.compose.up(&host, services, up, said).await?;
        drop(task);
        Ok(began.elapsed())
    }

    /// How services were replaced in the last `took`.
    pub(crate) async fn account(
        &self,
        services: &[String],
        took: Duration,
        options: Options,
    ) -> Result<BTreeMap<String, Replaced>> {
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let gaps = self.gaps(services, took).await;
        let order = |name: &String| match self.config.services.get(name) {
            Some(_) if options.full => Ok(Order::StopFirst("everything is replaced".to_owned())),
            Some(definition) => Order::of(self.project, name, definition),
            None => Ok(Order::StopFirst(String::new())),
        };
        let replaced =
            |name: &String| Ok((name.clone(), Replaced { order: order(name)?, took, gap: gaps.get(name).copied() }));
        services.iter().map(replaced).collect()
    }

    /// How long each of `services` was away, within the last `took`; says it of those that somebody outside waits for.
    /// That it cannot be known fails nothing.
    async fn gaps(&self, services: &[String], took: Duration) -> BTreeMap<String, Duration> {
        let (host, project) = (self.host.name(), &self.config.project);
        let mut gaps = cm_engine::gaps(self.host, project, took).await.unwrap_or_default();
        let single = |name: &String| self.config.services.get(name).is_some_and(|one| one.replicas == 1);
        gaps.retain(|name, _| services.contains(name) && single(name));
        for (name, gap) in &gaps {
            let Some(port) = self.config.services.get(name).and_then(|definition| definition.published.first()) else {
                continue;
            };
            self.log.info(format!(
                "on {host}: {name} was away for {} ms, and for its own start after that: it publishes port {port}, which only one \
                 container can have. A proxy on the compose network makes that zero (cm-guide(7))",
                gap.as_millis()
            ));
        }
        gaps
    }
}
