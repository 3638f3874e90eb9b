//! The health gate: are these services well, and do they stay so?
//!
//! `docker compose up --wait` is no gate: it passes crash loops, dead replicas and
//! a health check that was green once. This one takes a baseline at once, wants
//! good readings over a whole window with nothing changed (see [`watch`]), and ends
//! at the first failure. One round trip reads all containers of a host; Docker's
//! events only say when to look sooner, so losing them costs time and nothing else.

mod events;
mod evidence;
mod probe;
mod verdict;
mod wanted;
mod watch;

pub use verdict::{State, Verdict, overall};
pub use wanted::{Settings, Wanted};

use cm_core::{Failure, Log, Result};
use cm_engine::Container;
use cm_host::Host;
use events::Events;
use probe::{Answer, Prober};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use watch::{Reading, Watch};

/// A host that does not answer one reading in this time has missed it.
const READING_LIMIT: Duration = Duration::from_secs(15);

/// A reading gets this much time even at the very end.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// Two readings are never closer than this, however many events come.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// What to watch on one host.
#[derive(Clone, Debug)]
pub struct Post {
    /// The host.
    pub host: Host,
    /// The compose project's name there: its label on containers.
    pub project: String,
    /// The services that should be healthy.
    pub wanted: Vec<Wanted>,
}

/// The gate. It changes nothing anywhere.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    settings: Settings,
}

impl Gate {
    /// A gate with these limits.
    pub fn new(settings: Settings) -> Self {
        Gate { settings }
    }

    /// Watches services on one host until each of them is decided; one verdict for
    /// each of `wanted`, in its order. `project` is the compose project's name.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] for a probe that cannot be used. A host that does not answer is no
    /// error: its services are [`State::Unknown`].
    pub async fn watch(&self, host: &Host, project: &str, wanted: &[Wanted], log: &Log) -> Result<Vec<Verdict>> {
        let post = Post { host: host.clone(), project: project.to_owned(), wanted: wanted.to_vec() };
        self.watch_all(vec![post], log).await
    }

    /// Watches services on several hosts at once; the verdicts in the order of `posts`.
    ///
    /// # Errors
    /// As [`Gate::watch`].
    pub async fn watch_all(&self, posts: Vec<Post>, log: &Log) -> Result<Vec<Verdict>> {
        for wanted in posts.iter().flat_map(|post| &post.wanted) {
            wanted.parsed_probe()?;
        }
        let began = Instant::now();
        // The first failure anywhere is known everywhere.
        let (failed, _) = channel(false);
        let mut watching = JoinSet::new();
        for (index, post) in posts.into_iter().enumerate() {
            let guard = Guard::new(post, &self.settings, began, failed.clone(), log.clone());
            watching.spawn(async move { (index, guard.stand().await) });
        }
        let mut found = BTreeMap::new();
        while let Some(ended) = watching.join_next().await {
            let (index, verdicts) = ended.map_err(|error| Failure::bug("a health watch ended early").cause(error))?;
            found.insert(index, verdicts);
        }
        Ok(found.into_values().flatten().collect())
    }
}

/// The watch over one host.
struct Guard {
    host: Host,
    project: String,
    settings: Settings,
    watches: Vec<Watch>,
    prober: Prober,
    events: Events,
    began: Instant,
    failed: Sender<bool>,
    fell: Receiver<bool>,
    log: Log,
    shown: BTreeMap<String, String>,
}

impl Guard {
    fn new(post: Post, settings: &Settings, began: Instant, failed: Sender<bool>, log: Log) -> Self {
        let watches = post.wanted.into_iter().map(|wanted| Watch::new(wanted, settings.clone())).collect();
        Guard {
            prober: Prober::new(post.host.clone()),
            events: Events::follow(&post.host, &post.project, settings.timeout),
            host: post.host,
            project: post.project,
            settings: settings.clone(),
            watches,
            began,
            fell: failed.subscribe(),
            failed,
            log,
            shown: BTreeMap::new(),
        }
    }

    async fn stand(mut self) -> Vec<Verdict> {
        while self.is_open() {
            self.read().await;
            self.expire();
            self.report();
            if self.is_open() {
                self.pause().await;
            }
        }
        let verdicts = self.verdicts().await;
        self.prober.close().await;
        verdicts
    }

    fn is_open(&self) -> bool {
        self.watches.iter().any(Watch::is_open)
    }

    /// One reading of every container of the project, and of the probes.
    async fn read(&mut self) {
        let limit = READING_LIMIT.min(self.left()).max(LEAST_LIMIT);
        let read = timeout(limit, cm_engine::containers(&self.host, &self.project)).await;
        match read {
            Ok(Ok(containers)) => self.observe(&containers).await,
            Ok(Err(failure)) => self.could_not_look(&failure.to_string()).await,
            Err(_) => self.could_not_look(&format!("no answer within {} s", limit.as_secs())).await,
        }
    }

    /// The time until every watch has ended, at the latest.
    fn left(&self) -> Duration {
        (self.settings.timeout + self.settings.window).saturating_sub(self.began.elapsed())
    }

    async fn observe(&mut self, containers: &[Container]) {
        let probes: Vec<(String, Answer)> = self.probe(containers).await.into_iter().collect();
        let now = self.began.elapsed();
        for watch in self.watches.iter_mut() {
            let own = containers.iter().filter(|container| container.service == watch.wanted.service).collect();
            watch.observe(now, &Reading { containers: own, probes: &probes });
        }
    }

    async fn probe(&mut self, containers: &[Container]) -> BTreeMap<String, Answer> {
        let mut asked = Vec::new();
        for watch in self.watches.iter().filter(|watch| watch.is_open()) {
            let Ok(Some(probe)) = watch.wanted.parsed_probe() else { continue };
            let own = containers.iter().filter(|container| container.service == watch.wanted.service);
            asked.extend(own.filter(|container| container.is_running()).map(|container| (container, probe.clone())));
        }
        self.prober.ask(asked).await
    }

    /// A connection that broke is made anew, for the next reading.
    async fn could_not_look(&mut self, why: &str) {
        for watch in &mut self.watches {
            watch.could_not_look(why);
        }
        if let Ok(host) = Host::connect(self.host.target(), &self.log).await {
            self.prober = Prober::new(host.clone());
            self.events = Events::follow(&host, &self.project, self.settings.timeout);
            self.host = host;
        }
    }

    fn expire(&mut self) {
        let now = self.began.elapsed();
        let failed = self.watches.iter().filter_map(|watch| watch.outcome.as_ref());
        if self.settings.fail_fast && failed.clone().any(|outcome| outcome.state == State::Unhealthy) {
            self.failed.send_replace(true);
        }
        let over = *self.fell.borrow();
        for watch in &mut self.watches {
            watch.expire(now);
            if over {
                watch.abandon(now);
            }
        }
    }

    /// One line for each phase that services came to in this reading.
    fn report(&mut self) {
        let mut news: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for watch in &self.watches {
            let (service, phase) = (&watch.wanted.service, watch.phase().to_owned());
            if self.shown.get(service) != Some(&phase) {
                self.shown.insert(service.clone(), phase.clone());
                news.entry(phase).or_default().push(service);
            }
        }
        for (phase, services) in news {
            self.log.info(format!("{}: {phase}: {}", self.host.name(), services.join(", ")));
        }
    }

    /// Waits for the next reading: the interval, or less if a window is over sooner,
    /// Docker reports an event, or another host's service failed.
    async fn pause(&mut self) {
        let now = self.began.elapsed();
        let due = self.watches.iter().filter_map(Watch::due).filter(|due| *due > now).min();
        let pause = due.map_or(self.settings.interval, |due| self.settings.interval.min(due - now));
        sleep(LEAST_PAUSE.min(pause)).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(LEAST_PAUSE)) => {}
            () = self.events.next() => {}
            _ = self.fell.wait_for(|failed| *failed), if !*self.failed.borrow() => {}
        }
    }

    async fn verdicts(&mut self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for watch in &self.watches {
            let Some(outcome) = &watch.outcome else { continue };
            let mut verdict = Verdict {
                service: watch.wanted.service.clone(),
                host: self.host.name().to_owned(),
                state: outcome.state,
                code: outcome.cause.code.to_owned(),
                message: outcome.cause.message.clone(),
                container: outcome.cause.container.clone(),
                exit_code: outcome.cause.exit_code,
                health_output: outcome.cause.health_output.clone(),
                log_tail: Vec::new(),
                readings: watch.readings,
                waited_ms: crate::words::milliseconds(outcome.at),
            };
            if outcome.state == State::Unhealthy {
                evidence::gather(&self.host, &mut verdict).await;
            }
            verdicts.push(verdict);
        }
        verdicts
    }
}
