//! Events on their way to the ops API. An event is on disk before it is sent and
//! leaves the disk when the API has it; then a mark stays, so that a run that is recorded
//! again is not sent again. Who sends holds a kernel lock: two runs at once send each event
//! once. A sender that is killed between the API's answer and the mark sends again; for that,
//! the run's id is the idempotency key. An event that the API refuses finally is set aside
//! with the reason, and blocks nothing.

use crate::post::{LIMIT, Posted, post};
use cm_core::{Event, Log, private_dir, state_dir, write_whole};
use cm_project::Project;
use fs2::FileExt;
use serde::Deserialize;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another sender is waited for: it may be sending its last event.
const PATIENCE: Duration = Duration::from_secs(LIMIT.as_secs() + 2);

/// The pause between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// The API has it.
    Delivered,
    /// It waits on disk for the next run.
    Waits,
    /// The API refused it finally; it is kept aside.
    Rejected,
    /// Neither sent nor kept.
    Lost,
    /// `cm.toml` names no API.
    NotWanted,
}

impl Sent {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Sent::Delivered => "delivered",
            Sent::Waits => "waits",
            Sent::Rejected => "rejected",
            Sent::Lost => "lost",
            Sent::NotWanted => "not configured",
        }
    }

    /// Whether people should look at it.
    pub fn is_worrying(self) -> bool {
        matches!(self, Sent::Waits | Sent::Rejected | Sent::Lost)
    }
}

/// The events of one project that wait on this machine.
pub struct Outbox {
    dir: PathBuf,
}

impl Outbox {
    /// The outbox of `project`.
    pub fn of(project: &Project) -> Self {
        Outbox { dir: state_dir().join("outbox").join(project.name().replace('/', "-")) }
    }

    /// Keeps `event`, then sends everything that waits, the oldest first.
    pub async fn send(&self, project: &Project, event: &Event, log: &Log) -> Sent {
        if project.ops().is_none() {
            return Sent::NotWanted;
        }
        let Ok(event) = &serde_json::to_value(event).and_then(Letter::of) else { return Sent::Lost };
        if self.is_delivered(event) {
            log.info("the ops API has the event of this run already; it is not sent again");
            return Sent::Delivered;
        }
        if let Err(error) = self.keep(event) {
            let dir = self.dir.display();
            log.warn(format!("cannot keep the deploy event in {dir}: {error}; it is sent at once, or lost"));
            return self.send_unkept(project, event, log).await;
        }
        let lock = self.lock(log).await;
        // The sender before us may have removed ours with an older outcome of the same run.
        if !self.file(event).exists() && !self.is_delivered(event) {
            let _kept = self.keep(event);
        }
        if let Some(lock) = lock {
            self.send_all(project, log, &lock).await;
        }
        self.fate(event)
    }

    /// Sends what waits; gives how many still do.
    pub async fn flush(&self, project: &Project, log: &Log) -> usize {
        if project.ops().is_some()
            && let Some(lock) = self.lock(log).await
        {
            self.send_all(project, log, &lock).await;
        }
        self.waiting().len()
    }

    /// Lets what the API refused wait again, such as after its schema was put right; gives how many.
    ///
    /// # Errors
    /// Those of the file system; what was moved until then waits.
    pub fn reconsider(&self) -> io::Result<usize> {
        let refused = events_in(&self.rejected());
        for path in &refused {
            fs::rename(path, self.dir.join(path.file_name().unwrap_or_default()))?;
            let _gone = fs::remove_file(path.with_extension("reason"));
        }
        Ok(refused.len())
    }

    /// Sends what waits. What does not go for a reason that all share ends the attempt: the
    /// API is down, and the deployment is waiting.
    async fn send_all(&self, project: &Project, log: &Log, _lock: &Lock) {
        for path in self.waiting() {
            let event = match read(&path) {
                Ok(event) => event,
                Err(why) => {
                    self.set_aside(&path, &format!("its file cannot be sent: {why}"), log);
                    continue;
                }
            };
            if !self.is_delivered(&event) {
                match post(project, &event.whole, &self.key(&event)).await {
                    Posted::Taken => self.mark(&event, log),
                    Posted::Refused(why) => {
                        self.set_aside(&path, &format!("the ops API refuses it: {why}"), log);
                        continue;
                    }
                    Posted::Later(failure) => {
                        let (left, dir) = (self.waiting().len(), self.dir.display());
                        log.warn(format!(
                            "the ops API does not take the deploy event: {failure}; {left} wait in {dir}"
                        ));
                        return;
                    }
                }
            }
            remove(&path, &event);
        }
    }

    /// An event that no disk holds: this is its only chance. What waits is left alone, for a
    /// disk that takes no event takes no mark that it was sent either.
    async fn send_unkept(&self, project: &Project, event: &Letter, log: &Log) -> Sent {
        match post(project, &event.whole, &self.key(event)).await {
            Posted::Taken => {
                self.mark(event, log);
                Sent::Delivered
            }
            Posted::Refused(why) => lost(log, &why),
            Posted::Later(failure) => lost(log, &failure.to_string()),
        }
    }

    fn fate(&self, event: &Letter) -> Sent {
        if self.is_delivered(event) {
            Sent::Delivered
        } else if self.file(event).exists() {
            Sent::Waits
        } else if self.rejected().join(event.name()).exists() {
            Sent::Rejected
        } else {
            Sent::Delivered // and the mark could not be written
        }
    }

    fn keep(&self, event: &Letter) -> io::Result<()> {
        write_whole(&self.dir, &event.name(), event.whole.to_string().as_bytes())
    }

    fn file(&self, event: &Letter) -> PathBuf {
        self.dir.join(event.name())
    }

    fn rejected(&self) -> PathBuf {
        self.dir.join("rejected")
    }

    /// The outcome that the API has of this event's run.
    fn delivered(&self, event: &Letter) -> Option<String> {
        fs::read_to_string(self.dir.join("delivered").join(&event.id)).ok()
    }

    fn is_delivered(&self, event: &Letter) -> bool {
        self.delivered(event).is_some_and(|outcome| outcome == event.outcome)
    }

    fn mark(&self, event: &Letter, log: &Log) {
        let made = write_whole(&self.dir.join("delivered"), &event.id, event.outcome.as_bytes());
        if let Err(error) = made {
            log.warn(format!("cannot keep in mind that the event of {} was delivered: {error}", event.id));
        }
        // Refused once, and taken now.
        let refused = self.rejected().join(event.name());
        let _gone = fs::remove_file(refused.with_extension("reason"));
        let _gone = fs::remove_file(refused);
    }

    /// The run's id; with another outcome than the one it knows, such as a rollback that came
    /// later, the API must not take it for the same request.
    fn key(&self, event: &Letter) -> String {
        match self.delivered(event) {
            Some(_) => format!("{}-{}", &event.id, event.outcome),
            None => event.id.clone(),
        }
    }

    /// The reason first: an event in `rejected` always has one.
    fn set_aside(&self, path: &Path, why: &str, log: &Log) {
        let (dir, file) = (self.rejected(), path.file_name().unwrap_or_default());
        let reason = Path::new(file).with_extension("reason").display().to_string();
        let moved =
            write_whole(&dir, &reason, format!("{why}\n").as_bytes()).and_then(|()| fs::rename(path, dir.join(file)));
        let run = path.file_stem().unwrap_or_default().display();
        let what = match moved {
            Ok(()) => format!("kept in {}; `cm-record flush --rejected` sends it again", dir.display()),
            Err(error) => format!("it cannot be moved to {}: {error}", dir.display()),
        };
        log.warn(format!("the deploy event of run {run} is set aside; {why}; {what}"));
    }

    /// Run ids sort by time.
    fn waiting(&self) -> Vec<PathBuf> {
        events_in(&self.dir)
    }

    /// The right to send; `None`, with a warning, if another run has it for long or there can be no lock.
    async fn lock(&self, log: &Log) -> Option<Lock> {
        let began = Instant::now();
        loop {
            match self.try_lock() {
                Ok(lock) => return Some(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    log.warn("another cm-record is sending deploy events; what waits goes with it or the next run");
                    return None;
                }
                Err(error) => {
                    log.warn(format!("cannot lock {}: {error}; what waits there is not sent", self.dir.display()));
                    return None;
                }
            }
        }
    }

    fn try_lock(&self) -> io::Result<Lock> {
        private_dir(&self.dir)?;
        let open =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.dir.join(".lock"))?;
        FileExt::try_lock_exclusive(&open)?;
        Ok(Lock(open))
    }
}

/// The right to send; ends with the process, however that dies.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _unlocked = FileExt::unlock(&self.0);
    }
}

fn lost(log: &Log, why: &str) -> Sent {
    log.warn(format!("the ops API did not take the deploy event, and it could not be kept: it is lost; {why}"));
    Sent::Lost
}

/// Removes what was sent, unless a newer outcome of the same run took its place meanwhile.
fn remove(path: &Path, sent: &Letter) {
    if read(path).is_ok_and(|now| now.outcome == sent.outcome) {
        let _gone = fs::remove_file(path);
    }
}

fn read(path: &Path) -> Result<Letter, String> {
    let bytes = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let whole: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is not a valid event: {error}"))?;
    Letter::of(whole).map_err(|error| format!("it is not a valid event: {error}"))
}

/// An event on its way, also one that another version has written: all of it, and what tells it
/// from others.
struct Letter {
    whole: Value,
    id: String,
    outcome: String,
}

impl Letter {
    fn of(whole: Value) -> serde_json::Result<Letter> {
        #[derive(Deserialize)]
        struct Head {
            id: String,
            #[serde(default)]
            status: String,
        }
        let Head { id, status } = Head::deserialize(&whole)?;
        // A document's run id is a UUID.
        let id = if id.contains('/') { "event".to_owned() } else { id };
        Ok(Letter { whole, id, outcome: status })
    }

    fn name(&self) -> String {
        format!("{}.json", self.id)
    }
}

fn events_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    paths.sort();
    paths
}
