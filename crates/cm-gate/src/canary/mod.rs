//! The canary: the same requests to the old release and to the new one, and what they
//! prove. The old one is asked before the build, or beside the new one where both run;
//! the new one right after the switch.
//!
//! A handful of good answers proves little, so the report says what it would have
//! seen: with n requests and no failure, an error rate below about 3/n can hide.
//! Requests that say nothing about production, because they never got there, are not
//! counted as either. When what was seen counts for what is decided in [`rules`].

mod rules;
mod side;
#[cfg(test)]
mod simulation;
mod stats;
pub mod traffic;
mod watch;

pub use rules::{Judgement, Look, Rules};
pub use side::{Sample, Side};
pub use traffic::Traffic;
pub use watch::changes;

use crate::checks::no_answer::NoAnswer;
use crate::checks::request::secrets;
use crate::network;
use cm_core::{Exit, Result, redact};
use cm_engine::Container;
use cm_host::{Forward, Host};
use cm_http::{Client, Request};
use cm_project::{Canary, Severity};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Requests under way at the same time: a few users, not a load test.
const AT_ONCE: usize = 4;

/// An old and a new release are asked beside each other for as long as this at most: the
/// deployment waits, and what is that slow is judged by what came until then.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a canary came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that would have shown is there.
    Pass,
    /// The new release is worse, or fails grossly.
    Fail,
    /// It cannot be said.
    Inconclusive,
}

/// A canary's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    pub url: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, for scripts: `ok`, `row`, `errors`, `latency`, …
    pub code: &'static str,
    /// Why, for people.
    pub message: String,
    /// How bad it is, by the runbook's escalation table.
    pub severity: Severity,
    /// How many requests were judged; fewer than wanted if it was decided early.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The smallest error rate, in percent, that would have shown 95 times in 100.
    pub detectable_percent: Option<f64>,
    /// The median latency of good answers.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept; empty if there were none.
    pub percentiles_ms: Vec<f64>,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// What the old release did; `None` where there was nothing to compare with.
    pub baseline: Option<Baseline>,
    /// What users got, before and since; `None` where no access log was read.
    pub traffic: Option<Traffic>,
}

/// The old release in a report, or what users got from one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// How many requests were judged.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// The median latency of good answers.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept; empty if there were none.
    pub percentiles_ms: Vec<f64>,
}

impl Baseline {
    fn of(side: &Side) -> Baseline {
        let sorted = side.sorted();
        let percentile = |step: u8| stats::quantile(&sorted, f64::from(step) / 20.0);
        Baseline {
            requests: side.requests,
            failures: side.failures,
            median_ms: stats::quantile(&sorted, 0.5),
            p95_ms: stats::quantile(&sorted, 0.95),
            percentiles_ms: (0..=20).filter_map(percentile).collect(),
        }
    }
}

/// What is asked: the public address, or a container itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    client: Client,
    request: Request,
}

impl Target {
    /// The canary's URL, as every user reaches it. Each request takes at most `limit`.
    ///
    /// # Errors
    /// [`Exit::Config`] for a variable that is not set, or what is no URL.
    pub fn public(canary: &Canary, limit: Duration) -> Result<Option<Target>> {
        let Some(template) = &canary.url else { return Ok(None) };
        let request = Request { url: template.expand()?, headers: secrets(&canary.header_env)?, ..Request::default() };
        Ok(Some(Target { client: Client::new(limit)?, request }))
    }

    /// A container on a host, whatever stands before it: the new one beside the old one,
    /// for instance. The URL's host is any name; the tunnel must live as long as the target.
    ///
    /// # Errors
    /// [`Exit::Config`] for a header's variable that is not set; [`Exit::VerifyUnknown`] if it cannot be reached.
    pub async fn container(
        host: &Host,
        container: &Container,
        url: &str,
        canary: &Canary,
        limit: Duration,
    ) -> Result<(Target, Option<Forward>)> {
        let headers = secrets(&canary.header_env)?;
        let name = cm_http::host(url).unwrap_or_default();
        let way = network::client(host, container, &name, cm_http::port(url).unwrap_or(80), limit).await;
        let (client, tunnel) = way.map_err(|why| {
            cm_core::Failure::new(Exit::VerifyUnknown, "canary.container", format!("cannot ask {}", container.name))
                .cause(why)
        })?;
        let request = Request { url: url.to_owned(), headers, ..Request::default() };
        Ok((Target { client, request }, tunnel))
    }

    async fn ask(self) -> Sample {
        match self.client.send(&self.request, Exit::VerifyUnknown).await {
            Ok(answer) if answer.status == 429 => Sample::TurnedAway,
            Ok(answer) if answer.status >= 400 => Sample::Failed(format!("answered {}", answer.status)),
            Ok(answer) => Sample::Good(answer.latency),
            Err(failure) => {
                let reason = NoAnswer::of(&failure);
                let cause = failure.causes.last().map_or("no reason known", String::as_str);
                let words = format!("{} ({cause})", reason.words());
                if reason.says_nothing() { Sample::NotMade(words) } else { Sample::Failed(words) }
            }
        }
    }

    /// Asks `count` times, a few at once; `decided` ends it early.
    async fn ask_many(&self, count: u32, side: &mut Side, decided: impl Fn(&Side) -> bool) {
        let mut asking = JoinSet::new();
        let mut left = count;
        while !decided(side) {
            while left > 0 && asking.len() < AT_ONCE {
                asking.spawn(self.clone().ask());
                left -= 1;
            }
            match asking.join_next().await {
                Some(Ok(sample)) => side.add(sample),
                Some(Err(_)) => side.add(Sample::NotMade("the request ended early".to_owned())),
                None => return,
            }
        }
    }
}

/// Asks what runs now, before it is replaced. It ends early where nothing answers.
pub async fn baseline(target: &Target, canary: &Canary) -> Side {
    let mut side = Side::default();
    let hopeless = |side: &Side| side.silent_now() >= 3 || (side.requests >= 20 && side.failures == side.requests);
    target.ask_many(canary.baseline_requests(), &mut side, hopeless).await;
    side.thinned()
}

/// Asks the new release and judges it; `old` is its baseline. `changed` says what became
/// of containers since the canary began ([`changes`]): it is asked again and again, and
/// a change ends the canary at once. Where it cannot be said at the end, nothing passes.
pub async fn run(
    target: &Target,
    canary: &Canary,
    old: Option<&Side>,
    changed: impl AsyncFn() -> Result<Vec<String>>,
) -> Report {
    let mut new = Side::default();
    let mut look = Look::First;
    loop {
        let none = Rules { canary, changed: &[] };
        let row = none.row(old);
        let asking = target.ask_many(canary.requests, &mut new, |side| none.is_decided(side, row));
        let changes = watch::while_asking(asking, &changed).await;
        let judgement = judge(canary, &changes, &new, old, look);
        if look == Look::Last || !judgement.in_doubt {
            return report(&target.request.url, &new, old, judgement);
        }
        look = Look::Last;
    }
}

/// Asks an old and a new release beside each other, in turns, so that nothing but the
/// release differs: not the hour, not the load. This is the canary of a rolling
/// deployment, where the first new container stands beside an old one. `changed` is as in [`run`].
pub async fn side_by_side(
    old: &Target,
    new: &Target,
    canary: &Canary,
    changed: impl AsyncFn() -> Result<Vec<String>>,
) -> Report {
    let none = Rules { canary, changed: &[] };
    let (mut before, mut after) = (Side::default(), Side::default());
    let (mut look, began) = (Look::First, Instant::now());
    loop {
        let asking = async {
            for _ in 0..canary.requests {
                // Until the old one is known well enough, a row says nothing where it fails, too.
                let unsure = before.failures > 0 && before.requests < canary.min_requests;
                let row = if unsure { u32::MAX } else { none.row(Some(&before)) };
                if none.is_decided(&after, row) || began.elapsed() > PATIENCE {
                    break;
                }
                let (one, other) = tokio::join!(old.clone().ask(), new.clone().ask());
                before.add(one);
                after.add(other);
            }
        };
        let changes = watch::while_asking(asking, &changed).await;
        let judgement = judge(canary, &changes, &after, Some(&before), look);
        if look == Look::Last || !judgement.in_doubt {
            return report(&new.request.url, &after, Some(&before), judgement);
        }
        look = Look::Last;
    }
}

/// Good answers alone are no pass where it was not seen whether a container restarted.
fn judge(canary: &Canary, changes: &Result<Vec<String>>, new: &Side, old: Option<&Side>, look: Look) -> Judgement {
    let changed = changes.as_deref().unwrap_or_default();
    let judgement = Rules { canary, changed }.judge(new, old, look);
    match changes {
        Err(failure) if judgement.verdict == Verdict::Pass => Judgement {
            verdict: Verdict::Inconclusive,
            code: "unseen",
            message: format!("{}; whether a container restarted was not seen: {failure}", judgement.message),
            severity: Severity::P2,
            ..judgement
        },
        _ => judgement,
    }
}

/// A report that nothing could be asked, and why.
pub fn not_asked(url: &str, why: String, canary: &Canary) -> Report {
    let mut side = Side::default();
    side.add(Sample::NotMade(why));
    report(url, &side, None, Rules { canary, changed: &[] }.judge(&side, None, Look::Last))
}

fn report(url: &str, new: &Side, old: Option<&Side>, judgement: Judgement) -> Report {
    let Baseline { median_ms, p95_ms, percentiles_ms, .. } = Baseline::of(new);
    Report {
        url: redact(url).into_owned(),
        verdict: judgement.verdict,
        code: judgement.code,
        message: judgement.message,
        severity: judgement.severity,
        requests: new.requests,
        failures: new.failures,
        not_judged: new.not_judged,
        detectable_percent: judgement.detectable.map(|rate| (rate * 1_000.0).round() / 10.0),
        median_ms,
        p95_ms,
        percentiles_ms,
        first_failure: new.first_failure.clone(),
        baseline: old.map(Baseline::of),
        traffic: None,
    }
}

#[cfg(test)]
mod tests;
