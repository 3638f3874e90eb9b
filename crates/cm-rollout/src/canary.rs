//! The canary of a rolling service: before the old container leaves, it and the first
//! new one are asked the same questions beside each other. Nobody else talks to the new
//! one then, so that a release that is worse has cost no request.

use crate::Rollout;
use cm_core::{Exit, Failure, Result, Stop, interruption};
use cm_engine::Container;
use cm_gate::canary::{Report, Target, Verdict, not_asked, side_by_side};
use cm_project::Consequence;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// By service, what the first new container came to beside the old one.
pub type Canaries = BTreeMap<String, Report>;

impl Rollout<'_> {
    /// What is asked of each of `services` that has a canary.
    pub(crate) fn questions(&self, services: &[String]) -> Result<BTreeMap<String, String>> {
        let mut questions = BTreeMap::new();
        for service in services {
            let Some(template) = self.project.rules(service).canary else { continue };
            let url = template.expand()?;
            if !cm_http::is_url(&url) {
                let message = format!("the canary of {service}: {url:?} is no http:// or https:// URL");
                return Err(Failure::new(Exit::Config, "config.bad-url", message)
                    .hint(format!("such as http://{service}:8080/: the service as others in its network ask it")));
            }
            questions.insert(service.clone(), url);
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
                self.log.warn(format!(
                    "no canary of {service}: nothing of it runs that the new one could be compared with"
                ));
                continue;
            };
            self.log.info(format!("on {}: asking the new {service} beside the old one", self.host.name()));
            let report = tokio::select! {
                report = self.ask(url, old, new) => report?,
                exit = Stop::wait() => return Err(interruption(exit)),
            };
            let consequence = self.consequence(&report);
            canaries.insert(service.clone(), report.clone());
            let text = format!("Canary  {service}: {}", report.message);
            match (report.verdict, consequence) {
                (Verdict::Pass, _) => self.log.pass(text),
                (Verdict::Fail, _) => self.log.fail(text),
                (Verdict::Inconclusive, Consequence::Fail) => self.log.fail(format!("{text} (inconclusive)")),
                (Verdict::Inconclusive, _) => self.log.warn(format!("{text} (inconclusive)")),
            }
            if consequence == Consequence::Fail {
                return Err(failed(service, &report));
            }
        }
        Ok(())
    }

    fn consequence(&self, report: &Report) -> Consequence {
        match report.verdict {
            Verdict::Pass => Consequence::Pass,
            Verdict::Fail => Consequence::Fail,
            Verdict::Inconclusive => self.project.canary().inconclusive,
        }
    }

    /// What cannot be asked is inconclusive.
    async fn ask(&self, url: &str, old: &Container, new: &Container) -> Result<Report> {
        let (canary, limit) = (self.project.canary(), self.project.verify().timeout);
        let way = async |container| Target::container(self.host, container, url, canary, limit).await;
        let ((before, _old_tunnel), (after, _new_tunnel)) = match (way(old).await, way(new).await) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(failure), _) | (_, Err(failure)) if failure.exit == Exit::Config => return Err(failure),
            (Err(failure), _) | (_, Err(failure)) => return Ok(not_asked(url, failure.to_string(), canary)),
        };
        let unseen = Mutex::new(None);
        let restarted = async || {
            let now = cm_engine::containers_with_ids(self.host, std::slice::from_ref(&new.id)).await;
            let differs = now.as_ref().is_ok_and(|now| !now.first().is_some_and(|now| is_same_run(new, now)));
            *unseen.lock().unwrap_or_else(PoisonError::into_inner) = now.err();
            if differs { vec![new.service.clone()] } else { Vec::new() }
        };
        let report = side_by_side(&before, &after, canary, restarted).await;
        // Good answers alone are no pass: whether it restarted was not seen.
        match unseen.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) if report.verdict == Verdict::Pass => Ok(not_asked(url, failure.to_string(), canary)),
            _ => Ok(report),
        }
    }
}

fn is_same_run(seen: &Container, now: &Container) -> bool {
    now.is_running() && (&seen.started_at, seen.restart_count) == (&now.started_at, now.restart_count)
}

fn failed(service: &str, report: &Report) -> Failure {
    let message = format!("the new container of {service} does worse than the old one: {}", report.message);
    let failure = Failure::new(Exit::VerifyFailed, "rollout.canary", message);
    let failure = match report.baseline.as_ref().filter(|old| old.failures > 0) {
        Some(old) => failure.cause(format!("the old one failed {} of {} requests", old.failures, old.requests)),
        None => failure,
    };
    failure.hint(format!(
        "what served before still serves; mend the release, or what [services.{service}] in cm.toml asks, and deploy again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_that_began_anew_or_ended_is_another_one() {
        let container = |started: &str, restarts: u64, status: &str| {
            Container::read(&json!({
                "Id": "a", "RestartCount": restarts,
                "State": {"StartedAt": started, "Status": status, "Running": status == "running"},
            }))
        };
        let seen = container("2026-05-04T09:30:00Z", 0, "running");
        assert!(is_same_run(&seen, &container("2026-05-04T09:30:00Z", 0, "running")));
        for now in [
            container("2026-05-04T09:31:00Z", 0, "running"),
            container("2026-05-04T09:30:00Z", 1, "running"),
            container("2026-05-04T09:30:00Z", 0, "exited"),
        ] {
            assert!(!is_same_run(&seen, &now), "{now:?}");
        }
    }
}
