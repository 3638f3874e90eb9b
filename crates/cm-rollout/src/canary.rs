//! The canary of a rolling service: before the old container leaves, it and the first
//! new one are asked the same questions side by side. Nobody else talks to the new
//! one then, so that a release that is worse has cost no request.

use crate::order::Order;
use crate::rollout::Rollout;
use cm_canary::{Target, changes, not_asked, side_by_side};
use cm_core::facts::{CanaryReport, CanaryVerdict};
use cm_core::{Exit, Failure, Result, Stop, interruption};
use cm_engine::Container;
use cm_project::{Consequence, Project};
use std::collections::BTreeMap;

/// By service, what the first new container came to alongside the old one.
pub type Canaries = BTreeMap<String, CanaryReport>;

const NOTHING_RUNS: &str = "nothing of it runs that the new one could be compared with";

/// What the new container of a service is asked alongside the old one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// The URL.
    Asked(String),
    /// Nothing, although cm.toml has a canary for it; why.
    NotAsked(String),
}

impl Question {
    /// What is asked if a service is replaced in this `order`; `None` where cm.toml has no
    /// canary for it. `runs`: whether it runs now; `full`: whether everything is replaced.
    ///
    /// # Errors
    /// [`Exit::Config`] for a variable that is not set, or what is no URL.
    pub fn of(project: &Project, service: &str, order: &Order, runs: bool, full: bool) -> Result<Option<Question>> {
        let Some(template) = project.rules(service).canary else { return Ok(None) };
        if let Some(why) = why_not(order, runs, full) {
            return Ok(Some(Question::NotAsked(why)));
        }
        let url = template.expand()?;
        if !cm_http::is_url(&url) {
            let message = format!("the canary of {service}: {url:?} is not an http:// or https:// URL");
            return Err(Failure::new(Exit::Config, "config.bad-url", message)
                .hint(format!("such as http://{service}:8080/: the service as others in its network ask it")));
        }
        Ok(Some(Question::Asked(url)))
    }
}

fn why_not(order: &Order, runs: bool, full: bool) -> Option<String> {
    match order {
        _ if full => Some("everything is replaced at once".to_owned()),
        Order::StopFirst(why) => Some(format!("it is replaced stop-first ({why}), so no two could be compared")),
        Order::Rolling(_) if !runs => Some(NOTHING_RUNS.to_owned()),
        Order::Rolling(_) => None,
    }
}

impl Rollout<'_> {
    /// What is asked of each of `services`; says of which nothing is. Those in `names` are
    /// replaced rolling now, the others may be the same as before.
    pub(crate) fn questions(
        &self,
        services: &[String],
        names: &[String],
        runs: impl Fn(&String) -> bool,
        full: bool,
    ) -> Result<BTreeMap<String, String>> {
        let mut questions = BTreeMap::new();
        for service in services {
            let Some(definition) = self.config.services.get(service) else { continue };
            let order = Order::of(self.project, service, definition)?;
            match Question::of(self.project, service, &order, runs(service), full)? {
                Some(Question::Asked(url)) if names.contains(service) => drop(questions.insert(service.clone(), url)),
                Some(Question::NotAsked(why)) => self.log.warn(format!("no canary of {service}: {why}")),
                _ => {}
            }
        }
        Ok(questions)
    }

    /// Compares the new containers with those that serve. The first that fails ends it.
    pub(crate) async fn compare(
        &self,
        questions: &BTreeMap<String, String>,
        old: &[Container],
        new: &[String],
        canaries: &mut Canaries,
    ) -> Result<()> {
        if questions.is_empty() {
            return Ok(());
        }
        let new = cm_engine::containers_with_ids(self.host, new).await?;
        for (service, url) in questions {
            let serves = |container: &&Container| container.service == *service && container.is_running();
            let pair = old.iter().find(serves).zip(new.iter().find(|container| container.service == *service));
            let Some((old, new)) = pair else {
                self.log.warn(format!("no canary of {service}: {NOTHING_RUNS}"));
                continue;
            };
            self.log
                .info(format!("on {}: sending requests to the new {service} alongside the old one", self.host.name()));
            let report = tokio::select! {
                report = self.ask(url, old, new) => report?,
                exit = Stop::wait() => return Err(interruption(exit)),
            };
            let consequence = self.consequence(&report);
            canaries.insert(service.clone(), report.clone());
            let text = format!("Canary  {service}: {}", report.message);
            match (report.verdict, consequence) {
                (CanaryVerdict::Pass, _) => self.log.pass(text),
                (CanaryVerdict::Fail, _) => self.log.fail(text),
                (CanaryVerdict::Inconclusive, Consequence::Fail) => self.log.fail(format!("{text} (inconclusive)")),
                (CanaryVerdict::Inconclusive, _) => self.log.warn(format!("{text} (inconclusive)")),
            }
            if consequence == Consequence::Fail {
                return Err(failed(service, &report));
            }
        }
        Ok(())
    }

    fn consequence(&self, report: &CanaryReport) -> Consequence {
        match report.verdict {
            CanaryVerdict::Pass => Consequence::Pass,
            CanaryVerdict::Fail => Consequence::Fail,
            CanaryVerdict::Inconclusive => self.project.canary().inconclusive,
        }
    }

    /// What cannot be asked is inconclusive.
    async fn ask(&self, url: &str, old: &Container, new: &Container) -> Result<CanaryReport> {
        let (canary, limit) = (self.project.canary(), self.project.verify().timeout);
        let way = async |container| Target::container(self.host, container, url, canary, limit).await;
        let ((before, _old_tunnel), (after, _new_tunnel)) = match (way(old).await, way(new).await) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(failure), _) | (_, Err(failure)) if failure.exit == Exit::Config => return Err(failure),
            (Err(failure), _) | (_, Err(failure)) => return Ok(not_asked(url, failure.to_string(), canary)),
        };
        let changed = async || {
            let now = cm_engine::containers_with_ids(self.host, std::slice::from_ref(&new.id)).await?;
            Ok(changes(std::slice::from_ref(new), &now))
        };
        let task = self.log.task(&format!("on {}: the old and the new release side by side", self.host.name()));
        let task = task.at(self.host.name(), Some(&new.service));
        task.counts(after.asked(), Some(canary.requests.into()), "requests");
        Ok(side_by_side(&before, &after, canary, changed).await)
    }
}

fn failed(service: &str, report: &CanaryReport) -> Failure {
    let message = format!("the new container of {service} does worse than the old one: {}", report.message);
    let failure = Failure::new(Exit::VerifyFailed, "rollout.canary", message);
    let failure = match report.baseline.as_ref().filter(|old| old.failures > 0) {
        Some(old) => failure.cause(format!("the old one failed {} of {} requests", old.failures, old.requests)),
        None => failure,
    };
    failure.hint(format!(
        "the old container is still serving; fix the release, or the canary in [services.{service}] of cm.toml, and deploy again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_that_is_not_asked_says_why() {
        let stop_first = Order::StopFirst("cm.toml does not ask for rolling".to_owned());
        let rolling = Order::Rolling(None);
        for (order, runs, full, words) in [
            (&rolling, true, false, None),
            (&rolling, false, false, Some("nothing of it runs that the new one could be compared with")),
            (&rolling, true, true, Some("everything is replaced at once")),
            (
                &stop_first,
                true,
                false,
                Some("it is replaced stop-first (cm.toml does not ask for rolling), so no two could be compared"),
            ),
        ] {
            assert_eq!(why_not(order, runs, full).as_deref(), words, "{order:?} {runs} {full}");
        }
    }
}
