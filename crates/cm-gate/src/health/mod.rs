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

pub use events::Events;
pub use verdict::{Moment, State, Verdict, overall};
pub use wanted::{Settings, Wanted};

use cm_core::{Failure, Log, Result};
use cm_engine::{Container, Health};
use cm_host::Host;
use evidence::Evidence;
use probe::{Answer, Prober};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use watch::{Reading, Watch};

/// A host that does not answer one reading in this time has missed it.
const READING_LIMIT: Duration = Duration::from_secs(15);

/// A reading gets this much time even at the very end.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// A reading that took longer than this says less about its beginning.
const SLACK: Duration = Duration::from_millis(250);

/// People hear why it takes so long after this much silence.
const SILENCE: Duration = Duration::from_secs(20);

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

/// What was found on all hosts.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// One for each service that was wanted, in order.
    pub verdicts: Vec<Verdict>,
    /// Every container of the project as it was last seen, watched or not, by host.
    pub containers: Vec<(String, Vec<Container>)>,
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
        Ok(self.watch_all(vec![post], log).await?.verdicts)
    }

    /// Watches the containers with these `ids` alone, such as new ones that run beside those
    /// of their services; otherwise as [`Gate::watch`], and without a word about its course.
    ///
    /// # Errors
    /// As [`Gate::watch`].
    pub async fn watch_these(
        &self,
        host: &Host,
        project: &str,
        ids: &[String],
        wanted: &[Wanted],
        log: &Log,
    ) -> Result<Vec<Verdict>> {
        for wanted in wanted {
            wanted.parsed_probe()?;
        }
        let post = Post { host: host.clone(), project: project.to_owned(), wanted: wanted.to_vec() };
        let mut guard = Guard::new(post, &self.settings, Instant::now(), channel(false).0, log.clone());
        guard.only = Some(ids.to_vec());
        Ok(guard.stand().await.0)
    }

    /// Watches services on several hosts at once; the verdicts in the order of `posts`.
    ///
    /// # Errors
    /// As [`Gate::watch`].
    pub async fn watch_all(&self, posts: Vec<Post>, log: &Log) -> Result<Findings> {
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
            let (index, report) = ended.map_err(|error| Failure::bug("a health watch ended early").cause(error))?;
            found.insert(index, report);
        }
        let mut findings = Findings::default();
        for (verdicts, host, containers) in found.into_values() {
            findings.verdicts.extend(verdicts);
            findings.containers.push((host, containers));
        }
        Ok(findings)
    }
}

/// The watch over one host.
struct Guard {
    host: Host,
    project: String,
    /// The containers to look at; `None` for all of the project.
    only: Option<Vec<String>>,
    settings: Settings,
    watches: Vec<Watch>,
    prober: Prober,
    events: Events,
    began: Instant,
    failed: Sender<bool>,
    fell: Receiver<bool>,
    log: Log,
    shown: BTreeMap<String, String>,
    shown_at: Duration,
    containers: Vec<Container>,
    /// Those of the watches whose failure is looked into, and what comes of it.
    looked_into: BTreeSet<usize>,
    evidence: JoinSet<(usize, Option<Evidence>)>,
}

impl Guard {
    fn new(post: Post, settings: &Settings, began: Instant, failed: Sender<bool>, log: Log) -> Self {
        let watches: Vec<_> = post.wanted.into_iter().map(|wanted| Watch::new(wanted, settings.clone())).collect();
        Guard {
            prober: Prober::new(post.host.clone()),
            events: Events::follow(&post.host, &post.project, longest(&watches)),
            host: post.host,
            project: post.project,
            only: None,
            settings: settings.clone(),
            watches,
            began,
            fell: failed.subscribe(),
            failed,
            log,
            shown: BTreeMap::new(),
            shown_at: Duration::ZERO,
            containers: Vec::new(),
            looked_into: BTreeSet::new(),
            evidence: JoinSet::new(),
        }
    }

    async fn stand(mut self) -> (Vec<Verdict>, String, Vec<Container>) {
        while self.is_open() {
            self.read().await;
            self.expire();
            self.look_into();
            self.report();
            if self.is_open() {
                self.pause().await;
            }
        }
        let verdicts = self.verdicts().await;
        self.prober.close().await;
        (verdicts, self.host.name().to_owned(), self.containers)
    }

    fn is_open(&self) -> bool {
        self.watches.iter().any(Watch::is_open)
    }

    /// One reading of every container of the project, and of the probes. That another
    /// host's service failed ends it early.
    async fn read(&mut self) {
        let limit = READING_LIMIT.min(self.left()).max(LEAST_LIMIT);
        let began = self.began.elapsed();
        let mut fell = self.fell.clone();
        let look = async {
            match &self.only {
                Some(ids) => cm_engine::containers_with_ids(&self.host, ids).await,
                None => cm_engine::containers(&self.host, &self.project).await,
            }
        };
        let read = tokio::select! {
            read = timeout(limit, look) => read,
            () = failed_elsewhere(&mut fell) => return,
        };
        match read {
            Ok(Ok(containers)) => self.observe(began, containers).await,
            Ok(Err(failure)) => self.could_not_look(&failure.to_string()).await,
            Err(_) => self.could_not_look(&format!("no answer within {} s", limit.as_secs())).await,
        }
    }

    /// The time until every watch has ended, at the latest.
    fn left(&self) -> Duration {
        longest(&self.watches).saturating_sub(self.began.elapsed())
    }

    /// What is seen was so when it was looked at, hence from about the reading's beginning.
    async fn observe(&mut self, began: Duration, containers: Vec<Container>) {
        let now = began.max(self.began.elapsed().saturating_sub(SLACK));
        let probes: Vec<(String, Answer)> = self.probe(&containers).await.into_iter().collect();
        for watch in self.watches.iter_mut() {
            let own = containers.iter().filter(|container| container.service == watch.wanted.service).collect();
            watch.observe(now, &Reading { containers: own, probes: &probes });
        }
        self.containers = containers;
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

    /// A connection that broke is made again, for the next reading.
    async fn could_not_look(&mut self, why: &str) {
        let now = self.began.elapsed();
        for watch in &mut self.watches {
            watch.could_not_look(now, why);
        }
        if let Ok(host) = Host::connect(self.host.target(), &self.log).await {
            self.prober = Prober::new(host.clone());
            self.events = Events::follow(&host, &self.project, self.left());
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
        if !news.is_empty() {
            self.shown_at = self.began.elapsed();
        }
        for (phase, services) in news {
            let line = format!("{}: {phase}: {}", self.host.name(), services.join(", "));
            if self.only.is_none() { self.log.info(line) } else { self.log.debug(line) }
        }
        if self.began.elapsed() >= self.shown_at + SILENCE {
            self.shown_at = self.began.elapsed();
            self.remind();
        }
    }

    /// Why it takes so long.
    fn remind(&self) {
        let after = crate::words::time(self.shown_at);
        for watch in &self.watches {
            let Some(cause) = watch.waits_for() else { continue };
            let said = cause.health_output.as_deref().and_then(|said| said.lines().last());
            let said = said.map_or(String::new(), |said| format!(" (its last check said: {})", cm_core::redact(said)));
            let (host, service) = (self.host.name(), &watch.wanted.service);
            self.log.info(format!("{host}: after {after}: {service}: {}{said}", cause.message));
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
            () = failed_elsewhere(&mut self.fell), if !*self.failed.borrow() => {}
        }
    }

    /// Gathers why services failed, side by side and while the others are still watched.
    fn look_into(&mut self) {
        for (index, watch) in self.watches.iter().enumerate() {
            let failed = watch.outcome.as_ref().filter(|outcome| outcome.state == State::Unhealthy);
            let Some(container) = failed.and_then(|outcome| outcome.cause.container.clone()) else { continue };
            if self.looked_into.insert(index) {
                let host = self.host.clone();
                self.evidence.spawn(async move { (index, evidence::gather(&host, &container).await) });
            }
        }
    }

    /// The last word about every service.
    async fn verdicts(&mut self) -> Vec<Verdict> {
        let found = std::mem::take(&mut self.evidence).join_all().await;
        let mut found: BTreeMap<usize, Evidence> =
            found.into_iter().filter_map(|(index, evidence)| Some((index, evidence?))).collect();
        let mut verdicts = Vec::new();
        for (index, watch) in self.watches.iter().enumerate() {
            let Some(outcome) = &watch.outcome else { continue };
            let mut verdict = self.verdict(watch, outcome);
            if let Some(evidence) = found.remove(&index) {
                evidence.complete(&mut verdict);
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    fn verdict(&self, watch: &Watch, outcome: &verdict::Outcome) -> Verdict {
        let cause = &outcome.cause;
        let blamed = match outcome.state {
            State::Unhealthy => {
                watch.wanted.depends_on.iter().filter_map(|name| blame(name, &self.containers)).collect()
            }
            _ => Vec::new(),
        };
        let message = std::iter::once(cause.message.clone()).chain(blamed).collect::<Vec<_>>().join("; ");
        Verdict {
            service: watch.wanted.service.clone(),
            host: self.host.name().to_owned(),
            state: outcome.state,
            code: cause.code.to_owned(),
            message,
            container: cause.container.clone(),
            exit_code: cause.exit_code,
            health_output: cause.health_output.clone(),
            log_tail: Vec::new(),
            readings: watch.readings,
            waited_ms: crate::words::milliseconds(outcome.at),
            course: watch.course.clone(),
        }
    }
}

/// When the last of the watches ends.
fn longest(watches: &[Watch]) -> Duration {
    watches.iter().map(Watch::latest).max().unwrap_or_default()
}

/// Ends when the first service failed, and never if none does.
async fn failed_elsewhere(fell: &mut Receiver<bool>) {
    if fell.wait_for(|failed| *failed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is wrong with a service that a failed one depends on, on the same host.
fn blame(name: &str, containers: &[Container]) -> Option<String> {
    let mut own = containers.iter().filter(|container| container.service == name).peekable();
    own.peek()?;
    let bad = own.find_map(|container| match container.status.as_str() {
        "running" if container.health == Health::Unhealthy => Some("is unhealthy".to_owned()),
        "running" => None,
        "exited" if container.exit_code == 0 && !container.restarts => None,
        status => Some(format!("is {status}, {}", crate::words::exit_code(container.exit_code))),
    });
    bad.map(|state| format!("it depends on {name}, which {state}"))
}
