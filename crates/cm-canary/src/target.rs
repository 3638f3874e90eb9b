//! What a canary asks, and how often at once.

use super::side::{Sample, Side};
use cm_checks::{NoAnswer, secrets};
use cm_core::{Exit, Result};
use cm_engine::Container;
use cm_host::{Forward, Host};
use cm_http::{Client, Request};
use cm_project::Canary;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests under way at the same time: a few users on a real link, not a load test. It is the
/// same for the old and the new release, so that what they are compared by is.
pub const AT_ONCE: u16 = 16;

/// What is asked: the public address, or a container itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    client: Client,
    request: Request,
    asked: Arc<AtomicU64>,
}

impl Target {
    /// The canary's URL, as every user reaches it. Each request takes at most `limit`.
    ///
    /// # Errors
    /// [`Exit::Config`] for a variable that is not set, or what is not a URL.
    pub fn public(canary: &Canary, limit: Duration) -> Result<Option<Target>> {
        let Some(template) = &canary.url else { return Ok(None) };
        let request = Request { url: template.expand()?, headers: secrets(&canary.header_env)?, ..Request::default() };
        Ok(Some(Target { client: Client::new(limit)?, request, asked: Arc::default() }))
    }

    /// A container on a host, whatever stands before it: the new one alongside the old one,
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
        let way = cm_checks::client(host, container, &name, cm_http::port(url).unwrap_or(80), limit).await;
        let (client, tunnel) = way.map_err(|why| {
            cm_core::Failure::new(Exit::VerifyUnknown, "canary.container", format!("cannot ask {}", container.name))
                .cause(why)
        })?;
        let request = Request { url: url.to_owned(), headers, ..Request::default() };
        Ok((Target { client, request, asked: Arc::default() }, tunnel))
    }

    /// One request.
    pub async fn ask(self) -> Sample {
        let sample = self.answer().await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        sample
    }

    async fn answer(&self) -> Sample {
        match self.client.send(&self.request, Exit::VerifyUnknown).await {
            Ok(answer) if answer.status == 429 => Sample::TurnedAway,
            Ok(answer) if answer.status >= 400 => Sample::Failed(format!("answered {}", answer.status)),
            Ok(answer) => Sample::Good(answer.latency),
            Err(failure) => {
                let reason = NoAnswer::of(&failure);
                let cause = failure.causes.last().map_or("no reason known", String::as_str);
                let words = format!("{} ({cause})", reason.description());
                if reason.says_nothing() { Sample::NotMade(words) } else { Sample::Failed(words) }
            }
        }
    }

    /// Asks `count` times, a few at once; `decided` ends it early.
    pub async fn ask_many(&self, count: u32, side: &mut Side, decided: impl Fn(&Side) -> bool) {
        let mut asking = JoinSet::new();
        let mut left = count;
        while !decided(side) {
            while left > 0 && asking.len() < usize::from(AT_ONCE) {
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

    /// How many requests have come to their end.
    pub fn asked(&self) -> &Arc<AtomicU64> {
        &self.asked
    }

    /// The URL that is asked.
    pub fn url(&self) -> &str {
        &self.request.url
    }
}
