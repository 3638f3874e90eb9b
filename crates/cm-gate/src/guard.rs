//! The watch over one host: reads its containers at the interval and at each event, lets
//! the watches of its services judge, tells people, and gathers why a service failed.

use super::events::Events;
use super::evidence::{self, Evidence};
use super::exit_code::exit_code;
use super::probe::{Answer, Prober};
use super::verdict::{Outcome, State, Verdict};
use super::wanted::{Settings, Wanted};
use super::watch::{Reading, Watch};
use super::window::{Hope, Hopes};
use cm_core::time::{milliseconds, span};
use cm_core::{Log, Task};
use cm_engine::{Container, Health};
use cm_host::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

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

/// The watch over one host.
pub struct Guard {
    host: Host,
    project: String,
    /// The containers to look at; `None` for all of the project.
    pub only: Option<Vec<String>>,
    settings: Settings,
    watches: Vec<Watch>,
    prober: Prober,
    events: Events,
    began: Instant,
    failed: Sender<bool>,
    fell: Receiver<bool>,
    /// Where it says what its services come to, and under which number.
    hopes: (usize, Hopes),
    log: Log,
    shown: BTreeMap<String, &'static str>,
    shown_at: Duration,
    containers: Vec<Container>,
    /// Those of the watches whose failure is looked into, and what comes of it.
    looked_into: BTreeSet<usize>,
    evidence: JoinSet<(usize, Option<Evidence>)>,
}

impl Guard {
    pub fn new(
        post: Post,
        settings: &Settings,
        began: Instant,
        failed: Sender<bool>,
        hopes: (usize, Hopes),
        log: Log,
    ) -> Self {
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
            hopes,
            log,
            shown: BTreeMap::new(),
            shown_at: Duration::ZERO,
            containers: Vec::new(),
            looked_into: BTreeSet::new(),
            evidence: JoinSet::new(),
        }
    }

    /// Stands until every service is decided: the verdicts, the host, and its containers as last seen.
    pub async fn stand(mut self) -> (Vec<Verdict>, String, Vec<Container>) {
        let mut tasks = Vec::new();
        while self.is_open() {
            self.read().await;
            self.expire();
            self.hope();
            self.look_into();
            self.report();
            self.show(&mut tasks);
            if self.is_open() {
                self.pause().await;
            }
        }
        drop(tasks);
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
            let service = watch.wanted.service.clone();
            let own: Vec<_> = of_service(&containers, &service).collect();
            let questions = watch.questions(own.iter().copied());
            watch.observe(now, &Reading { containers: own, probes: &probes, questions });
        }
        self.containers = containers;
    }

    async fn probe(&mut self, containers: &[Container]) -> BTreeMap<String, Answer> {
        let mut asked = Vec::new();
        for watch in self.watches.iter().filter(|watch| watch.is_open()) {
            let Ok(Some(probe)) = watch.wanted.parsed_probe() else { continue };
            let questions = watch.questions(of_service(containers, &watch.wanted.service));
            let own = of_service(containers, &watch.wanted.service).filter(|container| container.is_running());
            asked.extend(own.map(|container| (container, probe.clone(), questions)));
        }
        self.prober.ask(asked).await
    }

    /// A connection that broke is made again, for the next reading.
    async fn could_not_look(&mut self, why: &str) {
        let now = self.began.elapsed();
        for watch in &mut self.watches {
            watch.could_not_look(now, why);
        }
        if let Ok(host) = self.host.again(&self.log).await {
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

    /// Tells what its services come to.
    fn hope(&self) {
        let all: Option<Vec<Hope>> = self.watches.iter().map(Watch::hope).collect();
        self.hopes.1.note(self.hopes.0, all.and_then(|all| all.into_iter().reduce(Hope::and)));
    }

    /// One line for each phase that services came to in this reading.
    fn report(&mut self) {
        let mut news: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let now = self.began.elapsed();
        for watch in &self.watches {
            let (service, phase) = (&watch.wanted.service, watch.phase());
            if self.shown.insert(service.clone(), phase) != Some(phase) {
                news.entry(watch.progress(now)).or_default().push(service);
            }
        }
        if !news.is_empty() {
            self.shown_at = now;
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

    /// What is known now, for those who watch: a line for each state, a task for each service where a program reads.
    fn show(&self, tasks: &mut Vec<Task>) {
        let now = self.began.elapsed();
        let mut phases: BTreeMap<(Option<&str>, String), Vec<&Watch>> = BTreeMap::new();
        for watch in self.watches.iter().filter(|watch| watch.is_open()) {
            let waits = watch.waits_for().map(|cause| cause.message.clone());
            let alone = self.log.is_for_programs().then_some(watch.wanted.service.as_str());
            phases.entry((alone, waits.unwrap_or_else(|| watch.progress(now)))).or_default().push(watch);
        }
        tasks.truncate(phases.len());
        let host = self.host.name();
        let task = || self.log.task(host).at(host, None).since(self.began.into_std());
        tasks.resize_with(phases.len(), task);
        for (at, ((_, phase), watches)) in phases.iter().enumerate() {
            let services: Vec<&str> = watches.iter().map(|watch| watch.wanted.service.as_str()).collect();
            let alone = services.first().filter(|_| services.len() == 1).copied();
            tasks[at].of(alone);
            if let Some(watch) = watches.first().filter(|_| self.log.is_for_programs()) {
                let (good_for, window) = watch.healthy_for(now);
                tasks[at].reached(good_for, Some(window.as_secs()), "seconds");
            }
            tasks[at].note(&format!("{}: {phase}", services.join(", ")));
        }
    }

    /// Why it takes so long.
    fn remind(&self) {
        let after = span(self.shown_at);
        for watch in &self.watches {
            let Some(cause) = watch.waits_for() else { continue };
            let said = cause.health_output.as_deref().and_then(|said| said.lines().last());
            let said = said.map_or(String::new(), |said| format!(" (its last check said: {})", cm_core::redact(said)));
            let (host, service) = (self.host.name(), &watch.wanted.service);
            self.log.info(format!("{host}: after {after}: {service}: {}{said}", cause.message));
        }
    }

    /// Waits for the next reading: the interval, or less if a window is over sooner, Docker reports an event,
    /// a probe answers after all, or another host's service failed.
    async fn pause(&mut self) {
        let now = self.began.elapsed();
        let due = self.watches.iter().filter_map(Watch::due).min();
        let pause = due.map_or(self.settings.interval, |due| self.settings.interval.min(due.saturating_sub(now)));
        sleep(LEAST_PAUSE).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(LEAST_PAUSE)) => {}
            () = self.events.next() => {}
            () = self.prober.answered() => {}
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

    fn verdict(&self, watch: &Watch, outcome: &Outcome) -> Verdict {
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
            waited_ms: milliseconds(outcome.at),
            timeline: watch.timeline.clone(),
        }
    }
}

fn of_service<'a>(containers: &'a [Container], service: &'a str) -> impl Iterator<Item = &'a Container> {
    containers.iter().filter(move |container| container.service == service)
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
        _ if container.has_finished() => None,
        status => Some(format!("is {status}, {}", exit_code(container.exit_code))),
    });
    bad.map(|state| format!("it depends on {name}, which {state}"))
}
