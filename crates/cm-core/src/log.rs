//! What people see: one line per event on stderr, in the runbook's words, or one
//! JSON object per line for machines. stdout is never touched here, and a closed
//! stderr is no reason to stop a deployment.

use crate::Step;
use crate::clean::clean;
use crate::live::{self, Audience, News, Task, Watcher, Whole};
use crate::meaning::{Meaning, is_colored};
use crate::redact::redact;
use crate::table::{Column, fitted};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// `[INFO] …` for people.
    #[default]
    Text,
    /// One JSON object per line: `time`, `level`, `tool`, `message`.
    Json,
}

/// The weight of a message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Detail for the curious (`--verbose`).
    Debug,
    /// What is going on.
    Info,
    /// A step that was completed.
    Success,
    /// A check that passed.
    Pass,
    /// Something to look at.
    Warn,
    /// Something that failed.
    Fail,
}

impl Level {
    fn label(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Success => "SUCCESS",
            Level::Pass => "PASS",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        }
    }

    fn meaning(self) -> Meaning {
        match self {
            Level::Debug => Meaning::Quiet,
            Level::Info => Meaning::Plain,
            Level::Success | Level::Pass => Meaning::Good,
            Level::Warn => Meaning::Warning,
            Level::Fail => Meaning::Bad,
        }
    }
}

/// Writes messages to stderr. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    tool: &'static str,
    format: Format,
    least: Level,
    color: bool,
    watcher: Watcher,
    /// What was said and is not shown yet; nothing in it once it is.
    held: Option<Arc<Mutex<Option<String>>>>,
}

/// A part of the log of a GitHub job that is folded.
pub(crate) struct Group(Log);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.emit("::endgroup::\n");
    }
}

impl Log {
    /// A log for `tool` that shows messages of at least `least`.
    pub fn new(tool: &'static str, format: Format, least: Level) -> Self {
        let color = is_colored(&std::io::stderr());
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let watcher = match format {
            _ if least > Level::Info => Watcher::Nobody,
            Format::Json => Watcher::Program,
            Format::Text if in_ci => Watcher::Ci,
            Format::Text if color => Watcher::Person,
            Format::Text => Watcher::Nobody,
        };
        Log { tool, format, least, color, watcher, held: None }
    }

    /// Something that takes a while, such as `on platform: building web`: people see it, with the
    /// time that it has taken, until the answer is dropped.
    #[must_use]
    pub fn task(&self, what: &str) -> Task {
        Task::new(self.audience(), what)
    }

    /// The same for a step as a whole, which took `last` the last time, and its run.
    pub(crate) fn task_of_step(&self, step: Step, last: Option<Duration>, whole: Option<Whole>) -> Task {
        Task::of_step(self.audience(), step, last, whole)
    }

    /// The step that is under way may take so long from now on, which people who watch are told.
    pub fn expect(&self, more: Duration) {
        live::expect(more);
    }

    /// Whoever is told of tasks.
    fn audience(&self) -> Audience {
        let log = self.clone();
        let tell = move |news| match news {
            News::Line(line) => log.show(Level::Info, &line),
            News::Event(event) => log.event(&event),
        };
        Audience { watcher: self.watcher, tell: Arc::new(tell) }
    }

    /// Folds what is said until the answer is dropped, in the log of a GitHub job.
    pub(crate) fn group(&self, title: &str) -> Option<Group> {
        let on_github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let group = (on_github && self.watcher == Watcher::Ci).then(|| Group(self.clone()))?;
        self.emit(&format!("::group::{title}\n"));
        Some(group)
    }

    /// A log that keeps what it is told until [`Log::release`], and forgets it if that never comes.
    #[must_use]
    pub fn held(&self) -> Self {
        Log { watcher: Watcher::Nobody, held: Some(Arc::new(Mutex::new(Some(String::new())))), ..self.clone() }
    }

    /// The same for what is watched as it happens, though its lines are not shown yet.
    #[must_use]
    pub fn held_lines(&self) -> Self {
        Log { watcher: self.watcher, ..self.held() }
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> Option<String> {
        self.held.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows what was kept, and from now on everything at once.
    pub fn release(&self) {
        let Some(held) = &self.held else { return };
        let kept = held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
            self.emit(&kept);
        }
    }

    /// Detail that only `--verbose` shows.
    pub fn debug(&self, message: impl AsRef<str>) {
        self.write(Level::Debug, message.as_ref());
    }

    /// What is going on.
    pub fn info(&self, message: impl AsRef<str>) {
        self.write(Level::Info, message.as_ref());
    }

    /// A step that was completed.
    pub fn success(&self, message: impl AsRef<str>) {
        self.write(Level::Success, message.as_ref());
    }

    /// A check that passed.
    pub fn pass(&self, message: impl AsRef<str>) {
        self.write(Level::Pass, message.as_ref());
    }

    /// Something to look at.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.write(Level::Warn, message.as_ref());
    }

    /// Something that failed.
    pub fn fail(&self, message: impl AsRef<str>) {
        self.write(Level::Fail, message.as_ref());
    }

    /// A table, below its own label, as wide as the terminal has room for it.
    pub fn table<const N: usize>(&self, rows: &[[String; N]], columns: [Column; N]) {
        const INDENT: usize = 7;
        self.info(fitted(rows, columns, live::width().saturating_sub(INDENT), false));
    }

    /// A failure with its causes and its hint.
    pub fn failure(&self, failure: &crate::Failure) {
        if self.format == Format::Json {
            self.emit(&self.json_line(Level::Fail, &failure.message, Some(failure)));
            return;
        }
        let mut text = failure.message.clone();
        for cause in &failure.causes {
            text.push_str(&format!("\ncaused by: {cause}"));
        }
        if let Some(hint) = failure.advice() {
            text.push_str(&format!("\nhint: {hint}"));
        }
        self.write(Level::Fail, &text);
    }

    /// Whether a person watches: at a terminal that can move its cursor.
    pub fn is_live(&self) -> bool {
        self.watcher == Watcher::Person
    }

    /// Whether somebody hears of tasks: a person at a terminal, a CI job's log, a program that reads events.
    pub fn tells_tasks(&self) -> bool {
        self.watcher != Watcher::Nobody
    }

    /// Whether a program reads it.
    pub fn is_for_programs(&self) -> bool {
        self.watcher == Watcher::Program
    }

    /// Says how far a task is, to a program.
    pub(crate) fn event(&self, facts: &serde_json::Value) {
        let mut event = json!({"time": crate::time::now(), "level": "progress", "tool": self.tool});
        for (key, value) in facts.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        self.emit(&format!("{event}\n"));
    }

    fn write(&self, level: Level, message: &str) {
        if level < self.least {
            return;
        }
        if level == Level::Info {
            live::heard(message);
        }
        self.show(level, message);
    }

    /// Without taking it for what the step is at.
    fn show(&self, level: Level, message: &str) {
        let line = match self.format {
            Format::Text => self.text_line(level, message),
            Format::Json => self.json_line(level, message, None),
        };
        self.emit(&line);
    }

    /// Continuation lines are indented, so that every event starts with its label.
    fn text_line(&self, level: Level, message: &str) -> String {
        let label = format!("[{}]", level.label());
        let body = clean(message).replace('\n', "\n       ");
        let label = if self.color { level.meaning().paint(&label) } else { label };
        format!("{label} {body}\n")
    }

    fn json_line(&self, level: Level, message: &str, failure: Option<&crate::Failure>) -> String {
        let mut event = json!({
            "time": crate::time::now(),
            "level": level.label().to_lowercase(),
            "tool": self.tool,
            "message": message,
        });
        if let Some(failure) = failure {
            event["error"] = failure.to_json(self.tool);
        }
        format!("{event}\n")
    }

    /// One write per event, so that the lines of a pipe's programs do not mix.
    fn emit(&self, line: &str) {
        if let Some(held) = &self.held
            && let Some(kept) = held.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            kept.push_str(line);
            return;
        }
        let line = redact(line);
        if self.is_live() {
            return live::above(&line);
        }
        let _closed = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_for_quiet_is_shown_no_task() {
        for format in [Format::Text, Format::Json] {
            assert_eq!(Log::new("cm-verify", format, Level::Warn).watcher, Watcher::Nobody);
        }
        assert_eq!(Log::new("cm-verify", Format::Json, Level::Info).watcher, Watcher::Program);
    }
    #[test]
    fn the_log_of_a_ci_job_has_one_line_of_a_long_task_and_the_program_goes_on() {
        let log = Log { watcher: Watcher::Ci, ..Log::new("cm-build", Format::Text, Level::Info) }.held_lines();
        let step = log.task_of_step(Step::Build, None, None);
        log.info("on platform: building web");
        let task = log.task("platform: web");
        live::age();
        std::thread::sleep(Duration::from_secs(1));
        task.note("RUN make");
        live::age();
        std::thread::sleep(Duration::from_secs(1));
        drop((task, step));
        let kept = log.kept().expect("held");
        let lines: Vec<_> = kept.lines().map(|line| line.trim_end_matches(|c: char| !c.is_alphabetic())).collect();
        assert_eq!(lines[0], "[INFO] on platform: building web", "{kept}");
        assert!(lines[1].starts_with("[INFO] still at it: build 6/10  platform: web · "), "{kept}");
        assert!(lines[2].starts_with("[INFO] still at it: build 6/10  platform: web · RUN make · "), "{kept}");
        assert_eq!(lines.len(), 3, "{kept}");
    }
}
