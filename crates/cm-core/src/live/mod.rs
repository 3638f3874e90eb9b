//! What is going on right now, for people who watch. Whatever takes a while is a [`Task`]; a task
//! is a line of the live area at the foot of the terminal for as long as it lasts, and nothing
//! afterwards: what is worth keeping is a message. All programs of a pipe share one terminal, so
//! they share one area, too (`screen`). Where nobody watches, a task is silent; a CI job gets a
//! line now and then, a program that reads `--log json` an event.

mod line;
mod screen;

use crate::clean::clean;
use crate::{Step, redact};
use line::{Amount, State};
use screen::Shown;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use line::Whole;
pub(crate) use screen::{Screen, width};

/// How often the area may be drawn: no more than ten times a second.
const DRAW: Duration = Duration::from_millis(125);

/// A line says for how many seconds something has been going on.
const TICK: Duration = Duration::from_secs(1);

/// What begins so soon after its step takes as long as the step.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How often a CI job's log hears of a long task.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// How often a program that reads events does.
const EVENT_EVERY: Duration = Duration::from_secs(5);

/// Who watches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Watcher {
    /// A person, at a terminal that can move its cursor.
    Person,
    /// A log that people read afterwards.
    Ci,
    /// A program.
    Program,
    /// Nobody.
    Nobody,
}

/// How far a task is, for those who do not watch.
pub(crate) enum News {
    /// For people.
    Line(String),
    /// For programs.
    Event(serde_json::Value),
}

/// How somebody is told.
pub(crate) type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// Who watches a task, and how those are told who do not see it.
pub(crate) struct Audience {
    pub watcher: Watcher,
    pub tell: Tell,
}

/// All tasks of this program.
static TASKS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Whether the thread that draws runs.
static DRAWING: AtomicBool = AtomicBool::new(false);

struct Entry {
    id: u64,
    audience: Audience,
    state: State,
    said: Instant,
    changed: bool,
}

fn tasks() -> MutexGuard<'static, Vec<Entry>> {
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that takes a while. It is shown until this is dropped.
#[derive(Debug)]
pub struct Task {
    id: u64,
}

impl Task {
    /// A part of the step that is under way.
    pub(crate) fn new(audience: Audience, what: &str) -> Task {
        let what = redact(&clean(what)).into_owned();
        // What begins later than its step does not take as long as that.
        let last = |state: &State| state.last.filter(|_| state.since.elapsed() < AT_ONCE);
        let of = |entry: &Entry| entry.state.step.map(|step| (step, last(&entry.state)));
        Task::begin(audience, |tasks| State::new(tasks.iter().find_map(of), what))
    }

    /// A step as a whole, which took `last` the last time, and the run that it is a step of.
    pub(crate) fn of_step(audience: Audience, step: Step, last: Option<Duration>, whole: Option<Whole>) -> Task {
        Task::begin(audience, |_| State { whole, ..State::new(Some((step, last)), String::new()) })
    }

    fn begin(audience: Audience, state: impl FnOnce(&[Entry]) -> State) -> Task {
        let mut tasks = tasks();
        let id = tasks.iter().map(|entry| entry.id).max().unwrap_or_default() + 1;
        if audience.watcher != Watcher::Nobody {
            let state = state(&tasks);
            tasks.push(Entry { id, audience, state, said: Instant::now(), changed: true });
            draw_in_background();
        }
        Task { id }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(entry) = tasks().iter_mut().find(|entry| entry.id == self.id) {
            change(&mut entry.state);
            entry.changed = true;
        }
    }

    /// It is about this host, and this service of it: what `--log json` says apart from the words.
    #[must_use]
    pub fn at(self, host: &str, service: Option<&str>) -> Task {
        self.change(|state| state.host = Some(host.to_owned()));
        self.of(service);
        self
    }

    /// The service that it is about now.
    pub fn of(&self, service: Option<&str>) {
        self.change(|state| state.service = service.map(str::to_owned));
    }

    /// It began before it was shown.
    #[must_use]
    pub fn since(self, began: Instant) -> Task {
        self.change(|state| state.since = began);
        self
    }

    /// What is going on in it now, such as the step of a build.
    pub fn note(&self, note: &str) {
        let note = redact(&clean(note)).replace('\n', " ");
        self.change(|state| state.note = note);
    }

    /// What goes on in it now began then, and took `last` the last time; `None`: nothing of its own goes on.
    pub fn part(&self, part: Option<(Instant, Option<Duration>)>) {
        self.change(|state| state.part = part);
    }

    /// How much of it is done now, for what is not counted while people look.
    pub fn reached(&self, done: u64, total: Option<u64>, unit: &'static str) {
        self.counts(&Arc::new(AtomicU64::new(done)), total, unit);
    }

    /// Shows how much of it is done: `done` counts `unit`s such as `bytes` or `requests`; of how many, if known.
    pub fn counts(&self, done: &Arc<AtomicU64>, total: Option<u64>, unit: &'static str) {
        let done = Arc::clone(done);
        self.change(|state| state.amount = Some(Amount { done, total, unit }));
    }
}

/// The step that is under way may take so long from now on: whoever does its work knows more than how long it took last
/// time. Of several who say so, the longest time counts.
pub(crate) fn expect(more: Duration) {
    for state in tasks().iter_mut().map(|entry| &mut entry.state) {
        let all = state.since.elapsed() + more;
        state.whole.iter_mut().for_each(|whole| whole.step = whole.step.max(Some(all)));
    }
}

/// What a message says is what the step is at, where no task says more.
pub(crate) fn heard(message: &str) {
    if let Some(entry) = tasks().iter_mut().find(|entry| entry.state.is_bare()) {
        entry.state.note = redact(message.lines().next().unwrap_or_default()).into_owned();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut tasks = tasks();
        let Some(at) = tasks.iter().position(|entry| entry.id == self.id) else { return };
        let entry = tasks.remove(at);
        if entry.audience.watcher == Watcher::Person {
            Screen::get().paint("", &shown(&tasks));
        }
    }
}

/// The lines of this program's tasks. One that only says which step it is makes way for the others.
fn shown(tasks: &[Entry]) -> Shown {
    let width = screen::width();
    let alone = tasks.len() == 1;
    let shown = tasks.iter().filter(|entry| alone || !entry.state.is_bare());
    Shown {
        lines: shown.map(|entry| entry.state.line(width)).collect(),
        foot: tasks.iter().find_map(|entry| entry.state.foot()),
    }
}

/// Writes `text` above the area; with `tasks`, the area as it is now.
pub(crate) fn above(text: &str) {
    Screen::get().paint(text, &shown(&tasks()));
}

/// Takes the area away, and has this process stopped while it is; whoever continues it sees it again.
pub(crate) fn put_away(stop: &dyn Fn()) {
    Screen::get().put_away(stop);
}

fn draw_in_background() {
    if !DRAWING.swap(true, Ordering::SeqCst) {
        std::thread::spawn(draw);
    }
}

/// Draws for as long as there are tasks.
fn draw() {
    let mut drawn = Instant::now();
    loop {
        std::thread::sleep(DRAW);
        let mut tasks = tasks();
        if tasks.is_empty() {
            DRAWING.store(false, Ordering::SeqCst);
            return;
        }
        let is_watched = tasks.iter().any(|entry| entry.audience.watcher == Watcher::Person);
        let counts = |entry: &Entry| entry.changed || entry.state.amount.is_some();
        if is_watched && (drawn.elapsed() >= TICK || tasks.iter().any(counts)) {
            Screen::get().paint("", &shown(&tasks));
            drawn = Instant::now();
        }
        let alone = tasks.len() == 1;
        let told = tasks.iter_mut().filter(|entry| alone || !entry.state.is_bare());
        let news: Vec<_> = told.filter_map(|entry| Some((entry.news()?, Arc::clone(&entry.audience.tell)))).collect();
        tasks.iter_mut().for_each(|entry| entry.changed = false);
        // Whoever is told may want to look at the tasks.
        drop(tasks);
        news.into_iter().for_each(|(news, tell)| tell(news));
    }
}

impl Entry {
    /// What those are told who do not see the area, if it is time.
    fn news(&mut self) -> Option<News> {
        let (every, news): (_, fn(&Entry) -> News) = match self.audience.watcher {
            Watcher::Ci => (SAY_EVERY, |entry| News::Line(format!("still at it: {}", entry.state.line(usize::MAX)))),
            Watcher::Program => (EVENT_EVERY, |entry| News::Event(entry.event())),
            Watcher::Person | Watcher::Nobody => return None,
        };
        if self.said.elapsed() < every {
            return None;
        }
        self.said = Instant::now();
        Some(news(self))
    }

    fn event(&self) -> serde_json::Value {
        let amount = self.state.amount.as_ref();
        json!({
            "step": self.state.step,
            "host": self.state.host,
            "service": self.state.service,
            "message": self.state.text(),
            "done": amount.map(Amount::done),
            "total": amount.and_then(|amount| amount.total),
            "unit": amount.map(|amount| amount.unit),
            "seconds": self.state.since.elapsed().as_secs(),
        })
    }
}

/// As if nobody had been told anything for a while.
#[cfg(test)]
pub(crate) fn age() {
    let long_ago = Instant::now().checked_sub(SAY_EVERY);
    tasks().iter_mut().for_each(|entry| entry.said = long_ago.unwrap_or(entry.said));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(watcher: Watcher) -> Entry {
        let mut state = State::new(Some((Step::Verify, None)), "canary".to_owned());
        state.host = Some("platform".to_owned());
        state.amount = Some(Amount { done: Arc::new(AtomicU64::new(52)), total: Some(200), unit: "requests" });
        let long_ago = Instant::now().checked_sub(SAY_EVERY).expect("a machine that has run for a minute");
        Entry { id: 1, audience: Audience { watcher, tell: Arc::new(drop) }, state, said: long_ago, changed: true }
    }

    #[test]
    fn a_program_hears_of_a_long_task_in_an_event_once_in_a_while() {
        let mut entry = entry(Watcher::Program);
        let Some(News::Event(event)) = entry.news() else { panic!("an event") };
        let facts = json!({
            "step": "verify", "host": "platform", "service": null, "message": "canary · 52 of 200 requests",
            "done": 52, "total": 200, "unit": "requests", "seconds": 0,
        });
        assert_eq!(event, facts);
        assert!(entry.news().is_none(), "not again at once");
    }

    #[test]
    fn whoever_is_told_may_look_at_the_tasks() {
        let (sender, told) = std::sync::mpsc::channel();
        let tell: Tell = Arc::new(move |_| {
            drop(tasks());
            let _nobody_waits = sender.send(());
        });
        let task = Task::begin(Audience { watcher: Watcher::Ci, tell }, |_| State::new(None, "a build".to_owned()));
        age();
        told.recv_timeout(Duration::from_secs(20)).expect("told, and nobody waits for anybody");
        drop(task);
    }

    #[test]
    fn who_asked_for_quiet_hears_nothing() {
        assert!(entry(Watcher::Nobody).news().is_none());
    }

    #[test]
    fn a_ci_job_reads_a_line() {
        let Some(News::Line(line)) = entry(Watcher::Ci).news() else { panic!("a line") };
        assert_eq!(line, "still at it: verify 8/10  canary · 52 of 200 requests · 1 s");
    }
}
