//! One container in one reading: is it good, on its way, or is something wrong? And is it
//! still the same run of the same container as when it was first seen?
//!
//! A status that is sampled cannot see a process that dies between two samples: a
//! two-second crasher is "running" half of the time. So what a container was when it was
//! first seen is kept as its baseline, and a later reading is compared with that.

use super::exit_code::exit_code;
use super::probe::Answer;
use super::verdict::Cause;
use super::wanted::{Past, Wanted};
use cm_engine::{Container, Health};
use std::collections::BTreeMap;
use std::time::Duration;

/// A container as it was when it was first seen started.
#[derive(Clone, Debug)]
struct Baseline {
    started_at: String,
    restart_count: u64,
    oom_killed: bool,
    /// The health check's failures before the gate began: a check that is
    /// `unhealthy` from before may be about a state that is gone, for instance
    /// after a reload, so only a check made from now on counts.
    failing_streak: u64,
    /// When it was first seen, counted from the start of the gate.
    seen: Duration,
    /// How long its process had run then.
    ran: Option<Duration>,
    /// Whether it was ever anything but good since.
    wavered: bool,
}

/// What one container is in one reading.
pub enum Assessment {
    /// Good, and known to have been so for this long; zero where only this reading says so. Where something
    /// was asked that has no memory, the past does not stand in for further readings.
    Good { known: Duration, asked: bool },
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

/// Judges the containers of one service, reading by reading.
#[derive(Clone, Debug)]
pub struct Assessor {
    wanted: Wanted,
    /// For how long it has to be good.
    window: Duration,
    baselines: BTreeMap<String, Baseline>,
    /// Whether every wanted container was there once: from then on another one is a replacement.
    pub complete: bool,
    /// Until when a start may take, beyond the timeout.
    pub grace: Duration,
}

impl Assessor {
    pub fn new(wanted: Wanted, window: Duration) -> Self {
        Assessor { wanted, window, baselines: BTreeMap::new(), complete: false, grace: Duration::ZERO }
    }

    /// Whether none was seen yet.
    pub fn is_empty(&self) -> bool {
        self.baselines.is_empty()
    }

    /// Judges `container` as it was read at `now`, counted from the start of the gate.
    pub fn assess(&mut self, now: Duration, container: &Container, probes: &[(String, Answer)]) -> Assessment {
        let assessment = self.judge(now, container, probes);
        if let (Some(baseline), Assessment::Waiting(_) | Assessment::Blind(_)) =
            (self.baselines.get_mut(&container.id), &assessment)
        {
            baseline.wavered = true;
        }
        assessment
    }

    fn judge(&mut self, now: Duration, container: &Container, probes: &[(String, Answer)]) -> Assessment {
        let about = |code, message: String| Cause {
            container: Some(container.handle.clone()).filter(|handle| !handle.is_empty()),
            health_output: Some(container.health_output.clone()).filter(|output| !output.is_empty()),
            ..cause(code, message)
        };
        if let Some(wanted) = self.wanted.image_id.as_ref().filter(|wanted| **wanted != container.image_id) {
            let message = format!("runs image {}, but {} was built", short(&container.image_id), short(wanted));
            return Assessment::Bad(about("wrong-image", message));
        }
        if container.status == "created" {
            return Assessment::Waiting(about("created", "created, but not started".to_owned()));
        }
        if let Some(cause) = self.changed(now, container, &about) {
            return Assessment::Bad(cause);
        }
        match container.status.as_str() {
            "running" => self.running(container, probes, &about),
            "exited" if self.is_job(container) && container.exit_code == 0 && !container.oom_killed => {
                Assessment::Finished
            }
            "restarting" if self.may_retry(container) => Assessment::Waiting(self.retried(container, &about)),
            "removing" => Assessment::Waiting(about("missing", "is being removed".to_owned())),
            "paused" => Assessment::Bad(about("paused", "is paused".to_owned())),
            _ => Assessment::Bad(ended(container, &about)),
        }
    }

    /// What changed since the baseline; a container that was not seen before joins it.
    fn changed(
        &mut self,
        now: Duration,
        container: &Container,
        about: &impl Fn(&'static str, String) -> Cause,
    ) -> Option<Cause> {
        let Some(baseline) = self.baselines.get(&container.id) else {
            let crowd = self.baselines.len() >= self.wanted.replicas as usize;
            if self.complete && crowd {
                return Some(about("replaced", "was replaced by another container meanwhile".to_owned()));
            }
            self.baselines.insert(container.id.clone(), Baseline::of(container, now));
            return None;
        };
        let ended = container.status != "running";
        match () {
            // Its end says more than the restart that follows it; a job may be tried again.
            () if ended || self.may_retry(container) => None,
            () if container.restart_count != baseline.restart_count => {
                let times = container.restart_count.saturating_sub(baseline.restart_count);
                let message = match times {
                    0 | 1 => "ended, and Docker restarted it".to_owned(),
                    _ => format!("ended, and Docker restarted it, {times} times by now"),
                };
                Some(about("restarted", message))
            }
            () if container.started_at != baseline.started_at => {
                Some(about("restarted", "was started again meanwhile".to_owned()))
            }
            () if container.oom_killed && !baseline.oom_killed => {
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
    ) -> Assessment {
        let before = self.failures_before(container);
        if self.is_job(container) {
            return Assessment::Waiting(about("not-finished", not_finished()));
        }
        match container.health {
            Health::Unhealthy if container.failing_streak != before => {
                let message = match container.failing_streak {
                    1 => "its health check failed".to_owned(),
                    times => format!("its health check failed {times} times in a row"),
                };
                Assessment::Bad(about("unhealthy", message))
            }
            Health::Unhealthy => {
                Assessment::Waiting(about("unhealthy", "was unhealthy before; not checked since".to_owned()))
            }
            Health::Starting => {
                let seen = self.baselines.get(&container.id).map_or(Duration::ZERO, |baseline| baseline.seen);
                self.grace = self.grace.max(seen + container.start_period);
                Assessment::Waiting(about("starting", "still starting".to_owned()))
            }
            Health::Healthy if container.failing_streak > 0 => {
                let message = format!("its last health check failed ({} in a row)", container.failing_streak);
                Assessment::Waiting(about("check-failed", message))
            }
            Health::Healthy | Health::None => {
                let known = self.remembered(container);
                match self.wanted.probe {
                    Some(_) => probed(container, known, probes, about),
                    None => Assessment::Good { known, asked: false },
                }
            }
        }
    }

    /// For how long the container is known to have been as good as it is now.
    fn remembered(&self, container: &Container) -> Duration {
        let counts = match self.wanted.past {
            Past::Nothing => false,
            Past::Containers => self.wanted.probe.is_none() || self.was_good_from_its_start(container),
            Past::Unchanged => true,
        };
        known(container).filter(|_| counts).unwrap_or_default()
    }

    /// Whether it has just been started, and was never seen otherwise than good. What it is asked has no memory; but
    /// a window is about nothing happening to it, and that is known from its start on.
    fn was_good_from_its_start(&self, container: &Container) -> bool {
        let new = |baseline: &Baseline| baseline.ran.is_some_and(|ran| ran < self.window) && !baseline.wavered;
        self.baselines.get(&container.id).is_some_and(new)
    }

    /// How often the container is asked in one reading. Of a service that nobody changed and that has run for the whole
    /// window, time is no question any more: all answers that are wanted say how it is now, and are had at once.
    pub fn questions(&self, container: &Container, wanted: u32) -> u32 {
        let past = known(container).is_some_and(|known| known >= self.window) && !self.window.is_zero();
        if self.wanted.past == Past::Unchanged && past { wanted } else { 1 }
    }

    /// The failures in a row that its health check had before the gate began; none
    /// once it has recovered.
    fn failures_before(&mut self, container: &Container) -> u64 {
        let Some(baseline) = self.baselines.get_mut(&container.id) else { return 0 };
        if container.health != Health::Unhealthy {
            baseline.failing_streak = 0;
        }
        baseline.failing_streak
    }

    /// A job that Docker starts again until it ends with 0.
    fn may_retry(&self, container: &Container) -> bool {
        container.retries && self.is_job(container)
    }

    fn retried(&self, container: &Container, about: &impl Fn(&'static str, String) -> Cause) -> Cause {
        let (exit, times) = (exit_code(container.exit_code), container.restart_count);
        let message = format!("a job that failed, and Docker tries it again (try {}): {exit}", times + 1);
        Cause { exit_code: Some(container.exit_code), ..about("not-finished", message) }
    }

    fn is_job(&self, container: &Container) -> bool {
        let stays = container.restarts || container.health != Health::None || self.wanted.probe.is_some();
        self.wanted.own.one_shot.unwrap_or(self.wanted.one_shot && !stays)
    }
}

impl Baseline {
    fn of(container: &Container, seen: Duration) -> Self {
        Baseline {
            seen,
            started_at: container.started_at.clone(),
            restart_count: container.restart_count,
            ran: container.ran,
            wavered: false,
            oom_killed: container.oom_killed,
            failing_streak: if container.health == Health::Unhealthy { container.failing_streak } else { 0 },
        }
    }
}

/// What Docker remembers of its past.
fn known(container: &Container) -> Option<Duration> {
    if container.health == Health::None { container.ran } else { container.checks_passed }
}

/// A cause without a container.
pub fn cause(code: &'static str, message: impl Into<String>) -> Cause {
    Cause { code, message: message.into(), ..Cause::default() }
}

fn not_finished() -> String {
    "a job that has not ended (a service that stays needs a restart policy or a health check)".to_owned()
}

fn probed(
    container: &Container,
    known: Duration,
    probes: &[(String, Answer)],
    about: &impl Fn(&'static str, String) -> Cause,
) -> Assessment {
    let answer = probes.iter().find(|(id, _)| *id == container.id).map(|(_, answer)| answer);
    let said =
        |why: &str, code| Cause { health_output: Some(why.to_owned()), ..about(code, format!("its probe: {why}")) };
    match answer {
        Some(Answer::Content) => Assessment::Good { known, asked: true },
        Some(Answer::Pending) => Assessment::Pending,
        Some(Answer::Bad(why) | Answer::Hung(why)) => Assessment::Waiting(said(why, "no-answer")),
        Some(Answer::NotAsked(why)) => Assessment::Blind(said(why, "not-asked")),
        None => Assessment::Blind(said("was not asked", "not-asked")),
    }
}

/// A container whose process is not running.
fn ended(container: &Container, about: &impl Fn(&'static str, String) -> Cause) -> Cause {
    let exit = exit_code(container.exit_code);
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
