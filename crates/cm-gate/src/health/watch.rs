//! The watch over one service: readings go in, at some point an outcome comes out.
//! No clock, no Docker: time is handed in, so that every course of events can be
//! played through in a test.
//!
//! A status that is sampled cannot see a process that dies between two samples: a
//! two-second crasher is "running" half of the time. So the first reading is kept
//! as a baseline, and good means: K good readings one after the other over a whole
//! window in which no container id, no start time and no restart count changed.

use super::probe::Answer;
use super::verdict::{Cause, Moment, Outcome, State};
use super::wanted::{Settings, Wanted};
use crate::words;
use cm_engine::{Container, Health};
use std::collections::BTreeMap;
use std::time::Duration;

/// A course is for people and for a document: one that changes more often is cut.
const COURSE: usize = 100;

/// What one reading found of a service.
#[derive(Clone, Debug, Default)]
pub struct Reading<'a> {
    /// Its containers, running or not.
    pub containers: Vec<&'a Container>,
    /// What its probes heard, by container id.
    pub probes: &'a [(String, Answer)],
}

/// A container as it was when it was first seen started.
#[derive(Clone, Debug)]
struct Birth {
    started_at: String,
    restart_count: u64,
    oom_killed: bool,
    /// The health check's failures before the gate began: a check that is
    /// `unhealthy` from before may be about a state that is gone, for instance
    /// after a reload, so only a check made from now on counts.
    failing_streak: u64,
    /// When it was first seen, counted from the start of the gate.
    seen: Duration,
}

/// What one container looks like in one reading.
enum Look {
    Good,
    /// Nothing new: its probe is still being asked. Neither counts nor resets.
    Pending,
    /// A job that ended with 0.
    Finished,
    /// Not good yet; it may become so.
    Waiting(Cause),
    /// Could not be looked at.
    Blind(Cause),
    /// It will not become good.
    Bad(Cause),
}

/// The watch over one service on one host.
#[derive(Clone, Debug)]
pub struct Watch {
    pub wanted: Wanted,
    settings: Settings,
    births: BTreeMap<String, Birth>,
    complete: bool,
    good: u32,
    good_since: Option<Duration>,
    missing_since: Option<Duration>,
    pending: Cause,
    blind: bool,
    /// Until when a start may take, beyond the timeout.
    grace: Duration,
    pub readings: u32,
    /// What it looked like, from each change on.
    pub course: Vec<Moment>,
    pub outcome: Option<Outcome>,
}

impl Watch {
    pub fn new(wanted: Wanted, settings: Settings) -> Self {
        Watch {
            settings: settings.over(&wanted.own),
            wanted,
            births: BTreeMap::new(),
            complete: false,
            good: 0,
            good_since: None,
            missing_since: None,
            pending: Cause { code: "no-data", message: "not looked at yet".to_owned(), ..Cause::default() },
            blind: true,
            grace: Duration::ZERO,
            readings: 0,
            course: Vec::new(),
            outcome: None,
        }
    }

    /// Whether nothing is decided yet.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// What it is waiting for, in a word or two.
    pub fn phase(&self) -> &str {
        match (&self.outcome, self.good) {
            (Some(outcome), _) => outcome.cause.code,
            (None, 0) => self.pending.code,
            (None, _) => "good so far",
        }
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

    /// Adds what it looks like at `now` to its course, if that is new.
    fn note(&mut self, now: Duration) {
        let phase = self.phase().to_owned();
        let is_new = self.course.last().is_none_or(|last| last.phase != phase);
        if is_new && self.course.len() < COURSE {
            self.course.push(Moment { at_ms: words::milliseconds(now), phase });
        }
    }

    fn take(&mut self, now: Duration, reading: &Reading<'_>) {
        self.blind = false;
        let looks: Vec<Look> =
            reading.containers.iter().map(|container| self.look(now, container, reading.probes)).collect();
        let mut waiting = self.missing(now, reading.containers.len());
        let (mut finished, mut pending) = (0, false);
        let count = looks.len();
        for look in looks {
            match look {
                Look::Bad(cause) => return self.settle(State::Unhealthy, cause, now),
                Look::Blind(cause) => {
                    self.blind = true;
                    waiting = Some(cause);
                }
                Look::Waiting(cause) => waiting = waiting.or(Some(cause)),
                Look::Finished => finished += 1,
                Look::Pending => pending = true,
                Look::Good => {}
            }
        }
        match waiting {
            Some(cause) if self.gave_up_on_missing(now) => self.settle(State::Unhealthy, cause, now),
            Some(cause) => self.reset(cause),
            // The answer before this one still stands.
            None if pending && (self.good > 0 || self.pending.code == "no-answer") => {}
            None if pending && self.pending.code == "not-asked" => self.blind = true,
            None if pending => self.reset(cause("asking", "its probe has not answered yet")),
            None if finished == count => {
                self.settle(State::Healthy, cause("finished", "ended with 0, as it should"), now)
            }
            None => self.count_good(now),
        }
    }

    /// Notes that a reading could not be made. The good readings before it count no more.
    pub fn could_not_look(&mut self, now: Duration, why: &str) {
        if self.is_open() {
            self.reset(cause("no-data", format!("could not be looked at: {why}")));
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
            cause.message = "good only for moments".to_owned();
        }
        cause.message = format!("{} after {}", cause.message, words::time(now));
        let state = if self.blind { State::Unknown } else { State::Unhealthy };
        self.settle(state, cause, now);
    }

    /// When it must be good. A start goes on beyond the timeout while its `start_period` lasts.
    fn limit(&self) -> Duration {
        if self.settings.strict { self.settings.timeout } else { self.settings.timeout.max(self.grace) }
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
            let so_far = if self.good > 0 { "good so far" } else { &self.pending.message };
            let message = format!("not awaited, because another service failed ({so_far})");
            self.settle(State::Unknown, cause("not-awaited", message), now);
        }
    }

    /// When the window of good readings is over, if nothing happens until then.
    pub fn due(&self) -> Option<Duration> {
        self.good_since.filter(|_| self.is_open()).map(|since| since + self.settings.window)
    }

    fn settle(&mut self, state: State, cause: Cause, at: Duration) {
        self.outcome = Some(Outcome { state, cause, at });
    }

    fn reset(&mut self, cause: Cause) {
        self.good = 0;
        self.good_since = None;
        self.pending = cause;
    }

    fn count_good(&mut self, now: Duration) {
        self.good += 1;
        let since = *self.good_since.get_or_insert(now);
        if self.good >= self.settings.readings && now >= since + self.settings.window {
            let message = format!("healthy, watched for {}", words::time(now - since));
            self.settle(State::Healthy, cause("healthy", message), now);
        }
    }

    /// Too few containers: a moment's patience, because one may just be replaced.
    fn missing(&mut self, now: Duration, present: usize) -> Option<Cause> {
        let wanted = self.wanted.replicas.max(1) as usize;
        if present >= wanted {
            self.complete = true;
            self.missing_since = None;
            return None;
        }
        self.missing_since.get_or_insert(now);
        let message = match present {
            0 => "there is no container".to_owned(),
            _ => format!("{present} of {wanted} containers are there"),
        };
        Some(cause("missing", message))
    }

    fn gave_up_on_missing(&self, now: Duration) -> bool {
        self.missing_since.is_some_and(|since| now >= since + self.settings.window)
    }

    fn look(&mut self, now: Duration, container: &Container, probes: &[(String, Answer)]) -> Look {
        let about = |code, message: String| Cause {
            container: Some(container.name.clone()),
            health_output: Some(container.health_output.clone()).filter(|output| !output.is_empty()),
            ..cause(code, message)
        };
        if let Some(wanted) = self.wanted.image_id.as_ref().filter(|wanted| **wanted != container.image_id) {
            let message = format!("runs image {}, but {} was built", short(&container.image_id), short(wanted));
            return Look::Bad(about("wrong-image", message));
        }
        if container.status == "created" {
            return Look::Waiting(about("created", "created, but not started".to_owned()));
        }
        if let Some(cause) = self.changed(now, container, &about) {
            return Look::Bad(cause);
        }
        match container.status.as_str() {
            "running" => self.running(container, probes, &about),
            "exited" if self.is_job(container) && container.exit_code == 0 && !container.oom_killed => Look::Finished,
            "removing" => Look::Waiting(about("missing", "is being removed".to_owned())),
            "paused" => Look::Bad(about("paused", "is paused".to_owned())),
            _ => Look::Bad(ended(container, &about)),
        }
    }

    /// What changed since the baseline; a container that was not seen before joins it.
    fn changed(
        &mut self,
        now: Duration,
        container: &Container,
        about: &impl Fn(&'static str, String) -> Cause,
    ) -> Option<Cause> {
        let Some(birth) = self.births.get(&container.id) else {
            let crowd = self.births.len() >= self.wanted.replicas.max(1) as usize;
            if self.complete && crowd {
                return Some(about("replaced", "was replaced by another container meanwhile".to_owned()));
            }
            self.births.insert(container.id.clone(), Birth::of(container, now));
            return None;
        };
        let ended = container.status != "running";
        match () {
            // Its end says more than the restart that follows it.
            () if ended => None,
            () if container.restart_count != birth.restart_count => {
                let times = container.restart_count.saturating_sub(birth.restart_count);
                let message = match times {
                    0 | 1 => "ended, and Docker restarted it".to_owned(),
                    _ => format!("ended, and Docker restarted it, {times} times so far"),
                };
                Some(about("restarted", message))
            }
            () if container.started_at != birth.started_at => {
                Some(about("restarted", "was started again meanwhile".to_owned()))
            }
            () if container.oom_killed && !birth.oom_killed => {
                Some(about("oom-killed", "one of its processes was killed for want of memory".to_owned()))
            }
            () => None,
        }
    }

    fn running(
        &mut self,
        container: &Container,
        probes: &[(String, Answer)],
        about: &impl Fn(&'static str, String) -> Cause,
    ) -> Look {
        let before = self.failures_before(container);
        if self.is_job(container) {
            return Look::Waiting(about("not-finished", not_finished()));
        }
        match container.health {
            Health::Unhealthy if container.failing_streak != before => {
                let message = format!("its health check failed {} times in a row", container.failing_streak);
                Look::Bad(about("unhealthy", message))
            }
            Health::Unhealthy => {
                Look::Waiting(about("unhealthy", "was unhealthy before; not checked since".to_owned()))
            }
            Health::Starting => {
                let seen = self.births.get(&container.id).map_or(Duration::ZERO, |birth| birth.seen);
                self.grace = self.grace.max(seen + container.start_period);
                Look::Waiting(about("starting", "still starting".to_owned()))
            }
            Health::Healthy if container.failing_streak > 0 => {
                let message = format!("its last health check failed ({} in a row)", container.failing_streak);
                Look::Waiting(about("check-failed", message))
            }
            Health::Healthy | Health::None if self.wanted.probe.is_some() => probed(container, probes, about),
            Health::Healthy | Health::None => Look::Good,
        }
    }

    /// The failures in a row that its health check had before the gate began; none
    /// once it has recovered.
    fn failures_before(&mut self, container: &Container) -> u64 {
        let Some(birth) = self.births.get_mut(&container.id) else { return 0 };
        if container.health != Health::Unhealthy {
            birth.failing_streak = 0;
        }
        birth.failing_streak
    }

    fn is_job(&self, container: &Container) -> bool {
        let stays = container.restarts || container.health != Health::None || self.wanted.probe.is_some();
        self.wanted.own.one_shot.unwrap_or(self.wanted.one_shot && !stays)
    }
}

impl Birth {
    fn of(container: &Container, seen: Duration) -> Self {
        Birth {
            seen,
            started_at: container.started_at.clone(),
            restart_count: container.restart_count,
            oom_killed: container.oom_killed,
            failing_streak: if container.health == Health::Unhealthy { container.failing_streak } else { 0 },
        }
    }
}

fn cause(code: &'static str, message: impl Into<String>) -> Cause {
    Cause { code, message: message.into(), ..Cause::default() }
}

fn not_finished() -> String {
    "a job that has not ended (a service that stays needs a restart policy or a health check)".to_owned()
}

fn probed(container: &Container, probes: &[(String, Answer)], about: &impl Fn(&'static str, String) -> Cause) -> Look {
    let answer = probes.iter().find(|(id, _)| *id == container.id).map(|(_, answer)| answer);
    let said =
        |why: &str, code| Cause { health_output: Some(why.to_owned()), ..about(code, format!("its probe: {why}")) };
    match answer {
        Some(Answer::Content) => Look::Good,
        Some(Answer::Pending) => Look::Pending,
        Some(Answer::Bad(why)) => Look::Waiting(said(why, "no-answer")),
        Some(Answer::NotAsked(why)) => Look::Blind(said(why, "not-asked")),
        None => Look::Blind(said("was not asked", "not-asked")),
    }
}

/// A container whose process is not running.
fn ended(container: &Container, about: &impl Fn(&'static str, String) -> Cause) -> Cause {
    let exit = words::exit_code(container.exit_code);
    let (code, message) = match container.status.as_str() {
        _ if container.oom_killed => ("oom-killed", format!("was killed for want of memory, {exit}")),
        "exited" => ("exited", format!("has ended, {exit}")),
        "restarting" => {
            let times = container.restart_count;
            ("restarting", format!("ended, and Docker restarts it (restart {times} by now), {exit}"))
        }
        "dead" => ("dead", format!("is dead: Docker could not remove it, {exit}")),
        other => ("not-running", format!("is {other}, {exit}")),
    };
    Cause { exit_code: Some(container.exit_code), ..about(code, message) }
}

/// `sha256:` and twelve digits are enough for people.
fn short(id: &str) -> &str {
    id.get(..19).unwrap_or(id)
}

#[cfg(test)]
mod tests;
