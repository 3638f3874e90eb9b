//! What the gate is asked about.

use super::probe::Probe;
use cm_core::Result;
use cm_project::{Health, Project, ServiceHealth};
use std::time::Duration;

/// When a service counts as healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long to wait in all. A service that is good by then is still watched
    /// until its window is over.
    pub timeout: Duration,
    /// The time between two readings.
    pub interval: Duration,
    /// Consecutive good readings that are wanted.
    pub readings: u32,
    /// How long they must be good, with nothing changed.
    pub window: Duration,
    /// Whether the first failure ends the whole watch; the rest is then unknown.
    pub fail_fast: bool,
    /// Whether the timeout also ends a start whose `start_period` still lasts.
    pub strict: bool,
}

impl Settings {
    /// The project's, as `[health]` of `cm.toml` has them.
    pub fn of(health: &Health) -> Self {
        Settings {
            timeout: health.timeout,
            interval: health.interval,
            readings: health.readings.max(1),
            window: health.window,
            fail_fast: true,
            strict: false,
        }
    }

    /// The same for one service.
    #[must_use]
    pub(crate) fn over(&self, own: &ServiceHealth) -> Self {
        Settings {
            timeout: own.timeout.unwrap_or(self.timeout),
            readings: own.readings.unwrap_or(self.readings).max(1),
            window: own.window.unwrap_or(self.window),
            ..self.clone()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::of(&Health::default())
    }
}

/// What of a service's past is evidence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Past {
    /// Nothing: it was changed in a way that its containers do not show, such as a reload.
    #[default]
    Nothing,
    /// What Docker remembers of its containers, which may be new.
    Containers,
    /// The same of a service that nobody changed: what it is asked has no memory, but for a process
    /// that has run for the whole window the wanted number of answers is enough.
    Unchanged,
}

/// A service that should be healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Its name in the compose file.
    pub service: String,
    /// The id of the image that each of its containers must run, `sha256:…`; `None` if any will do.
    pub image_id: Option<String>,
    /// How many containers it must have; 0 where it was scaled to none.
    pub replicas: u32,
    /// Whether it is a job: good when it has ended with 0, and not before. Ignored
    /// for a container that Docker restarts, or that has a health check, unless
    /// [`ServiceHealth::one_shot`] says it.
    pub one_shot: bool,
    /// What each of its containers is asked.
    pub probe: Option<cm_project::Probe>,
    /// Where its limits differ from those of the gate.
    pub own: ServiceHealth,
    /// How far its window may lie in the past.
    pub past: Past,
    /// The services that it depends on: one of them may be the cause when it fails.
    pub depends_on: Vec<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            service: String::new(),
            image_id: None,
            replicas: 1,
            one_shot: false,
            probe: None,
            own: ServiceHealth::default(),
            past: Past::Nothing,
            depends_on: Vec::new(),
        }
    }
}

impl Wanted {
    /// What the project says about `service`.
    ///
    /// A service is a job if `cm.toml` says so, or if another service waits for its end; it is taken
    /// for one if nothing says that it stays: no restart policy, no health check, no probe and no
    /// published port.
    pub fn of(project: &Project, service: &str) -> Self {
        let mut rules = project.rules(service);
        rules.health.one_shot = rules.health.one_shot.or(project.is_job(service).then_some(true));
        let known = project.compose.service(service);
        let one_shot = project.may_end(service);
        Wanted {
            service: service.to_owned(),
            image_id: None,
            replicas: u32::try_from(project.replicas(service)).unwrap_or(u32::MAX),
            one_shot: rules.health.one_shot.unwrap_or(one_shot),
            probe: rules.probe,
            own: rules.health,
            past: Past::Nothing,
            depends_on: known.map(|known| known.depends_on.clone()).unwrap_or_default(),
        }
    }

    /// The same, running this image.
    #[must_use]
    pub fn image(mut self, id: Option<String>) -> Self {
        self.image_id = id.filter(|id| !id.is_empty());
        self
    }

    /// The same, with so much of the past.
    #[must_use]
    pub fn past(mut self, past: Past) -> Self {
        self.past = past;
        self
    }

    /// Whether it is known to be a job, and not only taken for one: without a container, a service that merely has no
    /// restart policy is missing.
    pub(crate) fn is_proven_job(&self) -> bool {
        self.own.one_shot == Some(true)
    }

    pub(crate) fn parsed_probe(&self) -> Result<Option<Probe>> {
        self.probe.as_ref().map(|probe| Probe::parse(&self.service, probe)).transpose()
    }
}
