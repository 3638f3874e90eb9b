//! The containers that run alongside a service for a while: how they start, when they count
//! as healthy, and how they go, those of a run that was killed included.

use crate::rollout::Rollout;
use crate::words::not_well;
use cm_core::{Exit, Result};
use cm_engine::invocation::alongside_arguments;
use cm_engine::{ALONGSIDE_LABEL, Alongside, Container};
use cm_gate::{Gate, Past, Settings, State, Verdict, Wanted};
use std::time::Duration;

/// The mark of a container that has to pass the gate unseen.
pub const TRIAL: &str = "trial";

/// The mark of one that serves while the service's own container is replaced.
pub const BRIDGE: &str = "bridge";

impl Rollout<'_> {
    /// Removes what runs alongside services, of this run or of one that was killed. The
    /// bridge of a service that has no running container of its own stays, and is told of.
    ///
    /// # Errors
    /// `exit` with what Docker said; [`Exit::Unreachable`].
    pub async fn clear(&self, exit: Exit) -> Result<()> {
        let strays = cm_engine::alongside(self.host, &self.config.project).await?;
        if strays.is_empty() {
            return Ok(());
        }
        let now = cm_engine::containers(self.host, &self.config.project).await?;
        let runs = |service: &str| now.iter().any(|container| container.service == service && container.is_running());
        let (gone, needed): (Vec<_>, Vec<_>) =
            strays.into_iter().partition(|stray| stray.alongside != BRIDGE || runs(&stray.service));
        for stray in needed {
            let (host, name) = (self.host.name(), &stray.name);
            self.log.warn(format!("on {host}: {name} stays: nothing else runs {}; deploy it again", stray.service));
        }
        self.remove(&gone, exit).await
    }

    async fn remove(&self, containers: &[Container], exit: Exit) -> Result<()> {
        if containers.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = containers.iter().map(|container| container.id.clone()).collect();
        cm_engine::remove_alongside(&self.guard.fenced(self.host)?, &ids, exit).await
    }

    /// A trial of a killed run served nobody.
    pub(crate) async fn clear_trials(&self) -> Result<()> {
        let strays = cm_engine::alongside(self.host, &self.config.project).await?;
        let trials: Vec<_> = strays.into_iter().filter(|stray| stray.alongside != BRIDGE).collect();
        self.remove(&trials, Exit::Build).await
    }

    /// For containers like those that passed the whole gate a moment ago. Where nothing
    /// tells that one is ready, only time does.
    pub(crate) fn at_first_sight(&self, services: &[String]) -> Settings {
        let tells = |name: &String| {
            let known = self.config.services.get(name).is_some_and(|definition| definition.has_healthcheck);
            known || self.project.rules(name).probe.is_some()
        };
        let settings = Settings::of(self.project.health());
        match services.iter().all(tells) {
            true => Settings { readings: 1, window: Duration::ZERO, ..settings },
            false => settings,
        }
    }

    /// Starts one container alongside each service; gives their ids.
    pub(crate) async fn start_beside(&self, services: &[String], kind: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for service in services {
            let Some(definition) = self.config.services.get(service) else { continue };
            let host = self.guard.fenced(self.host)?;
            let mark = format!("{:x}", now_ms() & 0xffff_ffff);
            let name = container_alongside(&self.config.project, service, kind, &mark);
            let label = format!("{ALONGSIDE_LABEL}={kind}");
            let alongside = Alongside { name: &name, label: &label, aliases: kind == BRIDGE };
            let files: &[&str] = if alongside.aliases { &["-"] } else { &[] };
            self.log.debug(self.compose.shown(files, &alongside_arguments(service, &alongside)));
            ids.push(self.compose.run_alongside(&host, service, definition, &alongside).await?);
        }
        Ok(ids)
    }

    pub(crate) async fn well(
        &self,
        services: &[String],
        ids: &[String],
        settings: Settings,
        replicas: impl Fn(&str) -> u64,
    ) -> Result<()> {
        let wanted = |name: &String| Wanted {
            replicas: u32::try_from(replicas(name)).unwrap_or(u32::MAX),
            one_shot: false,
            ..Wanted::of(self.project, name).past(Past::Containers)
        };
        let wanted: Vec<Wanted> = services.iter().map(wanted).collect();
        let gate = Gate::new(settings);
        let verdicts = gate.watch_these(self.host, &self.config.project, ids, &wanted, self.log).await?;
        let worst = |state| verdicts.iter().find(move |verdict: &&Verdict| verdict.state == state);
        match worst(State::Unhealthy).or_else(|| worst(State::Unknown)) {
            None => Ok(()),
            Some(verdict) => Err(not_well(verdict)),
        }
    }
}

/// The name of a container alongside those of a service; `mark` tells them apart.
pub(crate) fn container_alongside(project: &str, service: &str, kind: &str, mark: &str) -> String {
    format!("{project}-{service}-{kind}-{mark}")
}

/// Tells the containers alongside one service apart, whoever started them.
fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()
}
