//! The watch over one service: readings go in, at some point an outcome comes out.
//! No clock, no Docker: time is handed in, so that every course of events can be
//! played through in a test.
//!
//! Healthy means: K good readings one after the other over a whole window in which no
//! container id, no start time and no restart count changed. Docker remembers when a process
//! was started and when its last checks passed, so that a window may begin before the first
//! reading; one that lies in the past as a whole is known with a single reading.

use super::assess::{Assessment, Assessor, cause};
use super::probe::Answer;
use super::verdict::{Cause, Moment, Outcome, State};
use super::wanted::{Past, Settings, Wanted};
use super::window::Hope;
use cm_core::time::{milliseconds, span};
use cm_engine::Container;
use std::time::Duration;

/// A timeline is for people and for a document: one that changes more often is cut.
const TIMELINE: usize = 100;

/// The phase of a service that is healthy, and not yet for its whole window.
const GOOD: &str = "good";

/// What one reading found of a service.
#[derive(Clone, Debug, Default)]
pub struct Reading<'a> {
    /// Its containers, running or not.
    pub containers: Vec<&'a Container>,
    /// What its probes heard, by container id.
    pub probes: &'a [(String, Answer)],
    /// How often each of them was asked, [`Watch::questions`].
    pub questions: u32,
}

/// A reading in which every container was good: for how long that is known, and whether anything was asked.
struct Good {
    known: Duration,
    asked: bool,
}

/// The watch over one service on one host.
#[derive(Clone, Debug)]
pub struct Watch {
    pub wanted: Wanted,
    settings: Settings,
    containers: Assessor,
    good: u32,
    good_since: Option<Duration>,
    /// How long it was good at the last reading, and when that was.
    good_for: Duration,
    read_at: Duration,
    missing_since: Option<Duration>,
    pending: Cause,
    blind: bool,
    pub readings: u32,
    /// What it looked like, from each change on.
    pub timeline: Vec<Moment>,
    pub outcome: Option<Outcome>,
}

impl Watch {
    pub fn new(wanted: Wanted, settings: Settings) -> Self {
        let settings = settings.over(&wanted.own);
        Watch {
            containers: Assessor::new(wanted.clone(), settings.window),
            settings,
            wanted,
            good: 0,
            good_since: None,
            good_for: Duration::ZERO,
            read_at: Duration::ZERO,
            missing_since: None,
            pending: Cause { code: "no-data", message: "not checked yet".to_owned(), ..Cause::default() },
            blind: true,
            readings: 0,
            timeline: Vec::new(),
            outcome: None,
        }
    }

    /// Whether nothing is decided yet.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// What it is waiting for, or came to: a code for scripts.
    pub fn phase(&self) -> &'static str {
        match (&self.outcome, self.good) {
            (Some(outcome), _) => outcome.cause.code,
            (None, 0) => self.pending.code,
            (None, _) => GOOD,
        }
    }

    /// The phase at `now`, for people.
    pub fn progress(&self, now: Duration) -> String {
        if self.phase() != GOOD {
            return self.phase().to_owned();
        }
        let (good_for, window) = self.healthy_for(now);
        format!("healthy for {good_for} s (of {})", span(window))
    }

    /// For how many seconds it has been healthy at `now`, and for how long it has to be.
    pub fn healthy_for(&self, now: Duration) -> (u64, Duration) {
        let good_for = match self.phase() {
            GOOD => self.good_for + now.saturating_sub(self.read_at),
            _ => Duration::ZERO,
        };
        (good_for.as_secs(), self.settings.window)
    }

    /// Takes a reading made at `now`.
    pub fn observe(&mut self, now: Duration, reading: &Reading<'_>) {
        if !self.is_open() {
            return;
        }
        self.readings += 1;
        self.take(now, reading);
        self.note(now);
    }

    /// Adds what it looks like at `now` to its timeline, if that is new.
    fn note(&mut self, now: Duration) {
        let phase = self.phase();
        let is_new = self.timeline.last().is_none_or(|last| last.phase != phase);
        if is_new && self.timeline.len() < TIMELINE {
            self.timeline.push(Moment { at_ms: milliseconds(now), phase: phase.to_owned() });
        }
    }

    fn take(&mut self, now: Duration, reading: &Reading<'_>) {
        self.blind = false;
        if let Some(reason) = self.needs_none(reading) {
            return self.decide(State::Healthy, cause("finished", reason), now);
        }
        if self.wanted.replicas == 0 {
            let count = reading.containers.len();
            return self.reset(cause("unwanted", format!("was scaled to 0, and has {count} still")));
        }
        let assessed: Vec<Assessment> =
            reading.containers.iter().map(|container| self.containers.assess(now, container, reading.probes)).collect();
        let mut waiting = self.missing(now, reading.containers.len());
        let (mut finished, mut pending) = (0, false);
        let count = assessed.len();
        let mut good = Good { known: Duration::MAX, asked: false };
        for assessment in assessed {
            match assessment {
                Assessment::Bad(cause) => return self.decide(State::Unhealthy, cause, now),
                Assessment::Blind(cause) => {
                    self.blind = true;
                    waiting = Some(cause);
                }
                Assessment::Waiting(cause) => waiting = waiting.or(Some(cause)),
                Assessment::Finished => finished += 1,
                Assessment::Pending => pending = true,
                Assessment::Good { known, asked } => {
                    good = Good { known: good.known.min(known), asked: good.asked || asked };
                }
            }
        }
        match waiting {
            Some(cause) if self.gave_up_on_missing(now) => self.decide(State::Unhealthy, cause, now),
            Some(cause) => self.reset(cause),
            // The answer before this one still stands.
            None if pending && (self.good > 0 || self.pending.code == "no-answer") => {}
            None if pending && self.pending.code == "not-asked" => self.blind = true,
            None if pending => self.reset(cause("asking", "its probe has not answered yet")),
            None if finished == count => {
                self.decide(State::Healthy, cause("finished", "ended with 0, as it should"), now)
            }
            None => self.count_good(now, &good, reading.questions),
        }
    }

    /// Notes that a reading could not be made. The good readings before it count no more.
    pub fn could_not_look(&mut self, now: Duration, why: &str) {
        if self.is_open() {
            self.reset(cause("no-data", format!("could not be checked: {why}")));
            self.blind = true;
            self.note(now);
        }
    }

    /// Ends the watch at the limit, unless it is good and only its window is not over yet.
    pub fn expire(&mut self, now: Duration) {
        let over = now >= self.latest();
        if !self.is_open() || now < self.limit() || (self.good > 0 && !over) {
            return;
        }
        let mut cause = std::mem::take(&mut self.pending);
        if self.good > 0 {
            cause.code = "unsettled";
            cause.message = "healthy only for moments".to_owned();
        }
        cause.message = format!("{} after {}", cause.message, span(now));
        let state = if self.blind { State::Unknown } else { State::Unhealthy };
        self.decide(state, cause, now);
    }

    /// When it must be good. A start may take longer than the timeout while its `start_period` lasts.
    fn limit(&self) -> Duration {
        if self.settings.strict { self.settings.timeout } else { self.settings.timeout.max(self.containers.grace) }
    }

    /// When the watch ends, whatever happens.
    pub fn latest(&self) -> Duration {
        let window = self.settings.window.max(self.settings.interval * self.settings.readings);
        self.limit() + window + self.settings.interval
    }

    /// Why it is not good yet.
    pub fn waits_for(&self) -> Option<&Cause> {
        (self.is_open() && self.good == 0).then_some(&self.pending)
    }

    /// Ends the watch because another service failed.
    pub fn abandon(&mut self, now: Duration) {
        if self.is_open() {
            let so_far = if self.good > 0 { self.progress(now) } else { self.pending.message.clone() };
            let message = format!("not awaited, because another service failed ({so_far})");
            self.decide(State::Unknown, cause("not-awaited", message), now);
        }
    }

    /// When the next reading can decide, if nothing happens until then; `None` for whenever one comes.
    pub fn due(&self) -> Option<Duration> {
        let left = self.settings.window.saturating_sub(self.good_for);
        (self.is_open() && self.good > 0 && !left.is_zero()).then(|| self.read_at + left)
    }

    /// Since when it is good, and when that will be enough; `None` while it is not.
    pub fn hope(&self) -> Option<Hope> {
        match &self.outcome {
            // A job that ended well is good at any time.
            Some(outcome) if outcome.state == State::Healthy => {
                Some(Hope { since: self.good_since.unwrap_or_default(), until: outcome.at })
            }
            Some(_) => None,
            None => {
                let since = self.good_since?;
                let lacking = self.settings.readings.saturating_sub(self.good);
                let enough = self.read_at + self.settings.interval * lacking;
                let left = self.settings.window.saturating_sub(self.good_for);
                Some(Hope { since, until: enough.max(self.read_at + left) })
            }
        }
    }

    fn decide(&mut self, state: State, cause: Cause, at: Duration) {
        self.outcome = Some(Outcome { state, cause, at });
    }

    fn reset(&mut self, cause: Cause) {
        self.good = 0;
        self.good_since = None;
        self.pending = cause;
    }

    /// How often its containers are asked in a reading that has found these.
    pub fn questions<'a>(&self, mut containers: impl Iterator<Item = &'a Container>) -> u32 {
        let wanted = self.settings.readings;
        let first = containers.next().map(|container| self.containers.questions(container, wanted));
        containers
            .fold(first, |least, one| least.map(|least| least.min(self.containers.questions(one, wanted))))
            .unwrap_or(1)
    }

    fn count_good(&mut self, now: Duration, good: &Good, questions: u32) {
        self.good += 1;
        let since = *self.good_since.get_or_insert(now);
        self.good_for = good.known.max(now - since);
        self.read_at = now;
        let window = self.settings.window;
        let past = good.known >= window && !window.is_zero();
        let asked_enough = !good.asked || questions >= self.settings.readings;
        let enough = self.good >= self.settings.readings || (past && asked_enough);
        if enough && self.good_for >= window {
            let message = match past && good.asked {
                true => format!("has run for {}, and answers", span(self.good_for)),
                false => format!("healthy for {}", span(self.good_for)),
            };
            self.decide(State::Healthy, cause("healthy", message), now);
        }
    }

    /// Why it is right that there is no container, if it is.
    fn needs_none(&self, reading: &Reading<'_>) -> Option<&'static str> {
        let unchanged = self.wanted.past == Past::Unchanged;
        match () {
            () if !reading.containers.is_empty() || !self.containers.is_empty() => None,
            () if self.wanted.replicas == 0 => Some("has no container, and shall have none"),
            () if unchanged && self.wanted.is_proven_job() => {
                Some("a job; the container in which it ended was removed")
            }
            () => None,
        }
    }

    /// Too few containers: a moment's patience, because one may just be replaced.
    fn missing(&mut self, now: Duration, present: usize) -> Option<Cause> {
        let wanted = self.wanted.replicas as usize;
        if present >= wanted {
            self.containers.complete = true;
            self.missing_since = None;
            return None;
        }
        self.missing_since.get_or_insert(now);
        let message = match present {
            0 => "there is no container".to_owned(),
            1 => format!("1 of {wanted} containers is there"),
            _ => format!("{present} of {wanted} containers are there"),
        };
        Some(cause("missing", message))
    }

    fn gave_up_on_missing(&self, now: Duration) -> bool {
        self.missing_since.is_some_and(|since| now >= since + self.settings.window)
    }
}

#[cfg(test)]
mod tests;
