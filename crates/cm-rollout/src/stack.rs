//! A release on a Swarm: its images are in the registry and on every node, its configs and secrets are there, and only
//! then are services switched, in the order in which they depend on each other.

use crate::brought::Brought;
use crate::canary::Canaries;
use crate::foresight::Foresight;
use crate::interface::{Bringing, Done, Replace, Switched};
use crate::order::Order;
use crate::rollout::{Change, Options, Replaced, Rollout};
use cm_core::{Result, plural};
use cm_engine::{Container, JobRun};
use cm_host::Fenced;
use cm_swarm::{Published, Push, Sight, Stack, Switch, publish, pull_everywhere};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A step may take this long beyond the time that the health gate has.
const BEYOND: Duration = Duration::from_secs(120);

/// Where the values of variables are in Compose's answer.
const VALUES: &str = "x-cm-values";

/// Docker Swarm.
pub(crate) struct SwarmReplace;

impl Replace for SwarmReplace {
    fn bring<'a>(&'a self, rollout: &'a Rollout<'a>, change: &'a Change) -> Bringing<'a> {
        async move { rollout.bring_all(change).await.map(Some) }.boxed_local()
    }

    fn replace<'a>(
        &'a self,
        rollout: &'a Rollout<'a>,
        change: &'a Change,
        _: &'a [Container],
        _: Options,
        _: &'a mut Canaries,
    ) -> Switched<'a> {
        rollout.switch(change).boxed_local()
    }

    fn job_container(&self, project: &str, container: String) -> String {
        cm_swarm::Job::service_name(project, &container)
    }

    fn start_job<'a>(&'a self, rollout: &'a Rollout<'a>, run: &'a JobRun<'a>) -> Done<'a> {
        rollout.start_task(run).boxed_local()
    }

    fn start_idle<'a>(&'a self, rollout: &'a Rollout<'a>, services: &'a [String], _: bool) -> Done<'a> {
        async move {
            let change = Change { start: services.to_vec(), ..Change::default() };
            rollout.switch(&change).await.map(drop)
        }
        .boxed_local()
    }

    fn foresee_job(&self, foresight: &Foresight<'_>, run: &JobRun<'_>) -> String {
        format!("docker stack deploy {}: {}, as a service that runs once", foresight.config.project, run.container)
    }

    fn foresee_idle(&self, foresight: &Foresight<'_>, services: &[String], _: bool) -> String {
        format!("docker stack deploy {}: {}", foresight.config.project, services.join(", "))
    }

    fn foresee(&self, foresight: &Foresight<'_>, change: &Change, _: Options) -> Result<Vec<String>> {
        let mut steps = Vec::new();
        if !change.start.is_empty() {
            steps.push(format!("push the images of {} to {}", change.start.join(", "), foresight.project.registry()?));
            steps.push("every node pulls them".to_owned());
            steps.push(format!("docker stack deploy {}: {}", foresight.config.project, change.start.join(", ")));
        }
        steps.extend(change.remove.iter().map(|name| format!("docker service rm {}_{name}", foresight.config.project)));
        Ok(steps)
    }
}

impl Rollout<'_> {
    async fn bring_all(&self, change: &Change) -> Result<Brought> {
        let config = self.compose.all_of(None).await?;
        cm_engine::accepts(self.project, self.host, &config, self.log).await?;
        let stack = Stack::of(&config);
        let values = self.values(&stack).await?;
        let (before, _) = self.once_decided(&stack).await?;
        let host = self.guard.fenced(self.host)?;
        let images = self.bring_images(&host, &stack, change, &before).await?;
        let names = match change.start.is_empty() {
            true => BTreeMap::new(),
            false => self.switch_of(&host, &stack, &self.project.name(), &images).contents(&values).await?,
        };
        Ok(Brought { stack, before, images, names })
    }

    fn switch_of<'a>(
        &self,
        host: &'a Fenced,
        stack: &'a Stack,
        project: &'a str,
        images: &BTreeMap<String, String>,
    ) -> Switch<'a> {
        let room_limit = self.project.health().timeout;
        Switch { host, stack, project, images: images.clone(), limit: room_limit + BEYOND, room_limit }
    }

    async fn switch(&self, change: &Change) -> Result<BTreeMap<String, Replaced>> {
        let began = Instant::now();
        let own;
        let Brought { stack, before, images, names } = match &change.brought {
            Some(brought) => brought,
            None => {
                own = self.bring_all(change).await?;
                &own
            }
        };
        let (host, project) = (self.guard.fenced(self.host)?, self.project.name());
        let switch = self.switch_of(&host, stack, &project, images);
        if !change.start.is_empty() {
            let tell =
                |step: &[String]| self.log.info(format!("on {}: updating {}", self.host.name(), step.join(", ")));
            switch.carry_out(&change.start, names, before, tell).await?;
            switch.forget(names).await?;
        }
        switch.remove(&change.remove).await?;
        let took = began.elapsed();
        let nodes = before.nodes_for_tasks();
        let replaced = |name: &String| {
            let first = |service: &cm_swarm::Service| service.start_first && service.has_room(nodes);
            let order = match stack.services.get(name).is_some_and(first) {
                true => Order::Rolling(Some("start-first, by Swarm".to_owned())),
                false => Order::StopFirst(
                    "by Swarm: it has a port of the node, or data, or no node has room for one more task".to_owned(),
                ),
            };
            (name.clone(), Replaced { order, took, gap: None })
        };
        Ok(change.start.iter().map(replaced).collect())
    }

    /// Runs a job as a service of its own; the node that has room for it pulls its image.
    async fn start_task(&self, run: &JobRun<'_>) -> Result<()> {
        let config = self.compose.all_of(None).await?;
        cm_engine::accepts(self.project, self.host, &config, self.log).await?;
        let stack = Stack::of(&config);
        let values = self.values(&stack).await?;
        let host = self.guard.fenced(self.host)?;
        let image = stack.services.get(run.service).map(|service| service.image.clone());
        let (registry, own) = (self.project.registry()?, self.project.name());
        // A node that has room for it may not have it, and pulls it.
        let push = Push { registry: &registry, project: &own, again: true };
        let published = publish(&host, &image.into_iter().collect::<Vec<_>>(), push, self.log).await?;
        let images = published.into_iter().map(|(name, image)| (name, image.pinned)).collect();
        let switch = self.switch_of(&host, &stack, &own, &images);
        let (now, waited) = self.once_decided(&stack).await?;
        if waited {
            switch.wait_for_needs(run.service, &now).await?;
        }
        let names = switch.contents(&values).await?;
        let JobRun { container, job, service, command, env, mark } = run;
        let job = cm_swarm::Job { name: container, label: job, service, command: *command, env, mark };
        switch.start_job(&job, &names).await
    }

    /// What runs, once it is known of every node whether it is there: until then Swarm shows tasks of a node that is lost
    /// as running. Whether that was waited for.
    async fn once_decided(&self, stack: &Stack) -> Result<(Sight, bool)> {
        let tell = |nodes: &str| {
            self.log.info(format!("on {}: {nodes} does not answer; waiting until Swarm has decided", self.host.name()));
        };
        Sight::once_decided(self.host, &stack.name, tell).await
    }

    /// The values of the variables that secrets and configs are made from, from the host's env file.
    async fn values(&self, stack: &Stack) -> Result<BTreeMap<String, String>> {
        let names = stack.variables();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: serde_json::Map<_, _> =
            names.iter().map(|name| (name.clone(), Value::from(format!("${{{name}:-}}")))).collect();
        let answer = self.compose.all_of(Some(json!({VALUES: wanted}).to_string())).await?;
        let all = answer.get(VALUES).and_then(Value::as_object).into_iter().flatten();
        let value = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.replace("$$", "$")));
        let values: BTreeMap<String, String> = all.filter_map(value).collect();
        values.values().for_each(|value| cm_core::add_secret(value));
        Ok(values)
    }

    /// Pushes and lets every node pull; what runs already is where it should be.
    async fn bring_images(
        &self,
        host: &Fenced,
        stack: &Stack,
        change: &Change,
        before: &Sight,
    ) -> Result<BTreeMap<String, String>> {
        let mut names: Vec<String> =
            change.start.iter().filter_map(|name| Some(stack.services.get(name)?.image.clone())).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let registry = self.project.registry()?;
        self.log.info(format!(
            "on {}: bringing {} to {registry}",
            self.host.name(),
            plural(names.len() as u64, "image")
        ));
        let project = self.project.name();
        let push = Push { registry: &registry, project: &project, again: false };
        let mut published = publish(host, &names, push, self.log).await?;
        if let Err(failure) = self.everywhere(host, stack, &published, before).await {
            if failure.code != "swarm.pull" || published.values().all(|image| image.pushed) {
                return Err(failure);
            }
            self.log.info(format!("{}; pushing it again", failure.message));
            published = publish(host, &names, Push { again: true, ..push }, self.log)
                .await
                .map_err(|push| push.causes.iter().fold(failure, |failure, cause| failure.cause(cause.clone())))?;
            self.everywhere(host, stack, &published, before).await?;
        }
        Ok(published.into_iter().map(|(name, image)| (name, image.pinned)).collect())
    }

    /// Lets every node pull what does not run already.
    async fn everywhere(
        &self,
        host: &Fenced,
        stack: &Stack,
        published: &BTreeMap<String, Published>,
        before: &Sight,
    ) -> Result<()> {
        let runs = |image: &&Published| !before.services.values().any(|seen| seen.image == image.pinned);
        let new: Vec<&Published> = published.values().filter(runs).collect();
        if new.is_empty() {
            return Ok(());
        }
        let nodes = before.nodes_for_tasks();
        self.log.info(format!(
            "on {}: {} on {}",
            self.host.name(),
            plural(new.len() as u64, "new image"),
            plural(nodes as u64, "node")
        ));
        pull_everywhere(host, &stack.name, &new, &before.nodes, self.log).await
    }
}
