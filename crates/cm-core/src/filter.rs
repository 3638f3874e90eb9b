//! The filter that every program is. The rules of the document live here, once:
//! stdin is read to its end and judged before anything else happens, a failed
//! document passes through untouched, a failing program writes its document and
//! then exits with its code, and nothing but the document goes to stdout.

use crate::ahead::Ahead;
use crate::command_line::{COMPLETE, command, introduction, is_first_contact, parse_args};
use crate::done::Done;
use crate::input::{self, Input};
use crate::journal::Journal;
use crate::live::{self, Whole};
use crate::log::Log;
use crate::output::{Io, write_stdout};
use crate::redact::redact;
use crate::signal::{Signals, Stop, on_suspend};
use crate::tool::{Accepts, Run, Tool};
use crate::{Document, Exit, Failure, Result, Stage, StageStatus, Status, Step, actor, time};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Runs a program: `main` is a call of this.
pub fn main<T: Tool>() -> ExitCode {
    // A shell that asks for completions runs the program with this variable.
    clap_complete::CompleteEnv::with_factory(command::<T>).var(COMPLETE).complete();
    if is_first_contact() {
        let _closed = writeln!(std::io::stderr(), "{}", introduction::<T>());
        return Exit::Usage.into();
    }
    let args = match parse_args::<T>() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let log = T::common(&args).log(T::NAME);
    let runtime = match runtime(T::THREADS) {
        Ok(runtime) => runtime,
        Err(error) => {
            log.failure(&Failure::bug("cannot start").cause(error));
            return Exit::Bug.into();
        }
    };
    let exit = runtime.block_on(drive::<T>(args, &log));
    // A read of stdin may still block; nobody waits for it.
    runtime.shutdown_background();
    exit.into()
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    // The number must not be 0, also where it does not count.
    builder.worker_threads(threads.max(1)).enable_all().build()
}

async fn drive<T: Tool>(args: T::Args, log: &Log) -> Exit {
    let io = Io { log: log.clone() };
    if log.is_live() {
        on_suspend(live::put_away);
    }
    if T::handles_signals(&args)
        && let Some(answer) = T::command(&args, &io).await
    {
        return exit_of(answer, log);
    }
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            log.failure(&Failure::bug("cannot listen for signals").cause(error));
            return Exit::Bug;
        }
    };
    let command = async { T::command(&args, &io).await };
    let answered = tokio::select! {
        answer = command => answer,
        signal = signals.next() => Some(Ok(signal)),
    };
    match answered {
        Some(answer) => exit_of(answer, log),
        None => filter::<T>(args, log, &mut signals).await,
    }
}

fn exit_of(answer: Result<Exit>, log: &Log) -> Exit {
    answer.unwrap_or_else(|failure| {
        log.failure(&failure);
        failure.exit
    })
}

async fn filter<T: Tool>(args: T::Args, log: &Log, signals: &mut Signals) -> Exit {
    let mut ahead = ahead::<T>(&args, log);
    let (input, interrupted) = match input::read(T::NAME, signals, log, &mut ahead).await {
        Ok(read) => read,
        Err(failure) => {
            log.failure(&failure);
            return failure.exit;
        }
    };
    let (mut doc, started_here) = match input {
        Input::Document(doc) => (*doc, false),
        Input::Nothing => (Document::start(T::NAME, &actor(), false), true),
    };
    T::common(&args).steer(&mut doc);
    let mut run = Run::after(ahead, doc, log.clone(), started_here);
    let clock = Clock::start(T::step(&args));
    let known = refusal::<T>(&run, interrupted).or_else(|| passing_on(&run, clock.step));
    let result = match known.or_else(|| run.doc.check_room(clock.step).err().map(Err)) {
        Some(known) => known,
        None => {
            let _folded = log.group(clock.step.as_str());
            let (last, whole) = expected(&run, clock.step);
            let _shown = log.task_of_step(clock.step, last, whole);
            work::<T>(args, &mut run, signals).await
        }
    };
    finish(run, clock, result)
}

/// How long the step took the last time, and in a pipe what is known of the run as a whole, if a person wants to know.
fn expected(run: &Run, step: Step) -> (Option<Duration>, Option<Whole>) {
    if !run.log.is_live() {
        return (None, None);
    }
    let last = last_times(&run.doc);
    let comes = |other: &Step| *other > step && *other != Step::Rollback && run.doc.skip_of(*other).is_none();
    let rest = (!last.is_empty()).then(|| last.iter().filter(|(other, _)| comes(other)).map(|(_, time)| *time).sum());
    let since = time::seconds_since(run.doc.started_at()).filter(|_| !run.started_here);
    let began = since.and_then(|since| Instant::now().checked_sub(Duration::from_secs(since)));
    (last.get(&step).copied(), began.map(|began| Whole { began, step: None, rest }))
}

/// How long each step took in the last run that did something in it, by what this machine remembers.
fn last_times(doc: &Document) -> BTreeMap<Step, Duration> {
    let mut times = BTreeMap::new();
    let Some(project) = doc.project() else { return times };
    for other in Journal::before(project, doc.run_id()).filter(|other| !other.planned().is_empty()) {
        for stage in other.stages().iter().filter(|stage| stage.did_its_work()) {
            if let Some(step) = stage.step {
                times.entry(step).or_insert(Duration::from_millis(stage.duration_ms));
            }
        }
    }
    times
}

/// What a program asks ahead in the run that `CM_RUN_ID` names: elsewhere there is no journal to read.
fn ahead<T: Tool>(args: &T::Args, log: &Log) -> Ahead {
    let run = std::env::var("CM_RUN_ID").ok().and_then(|id| Journal::named(&id).ok());
    match run.filter(|_| !T::common(args).dry_run) {
        Some(journal) => Ahead::start((T::NAME, T::step(args)), journal, log, |early| T::ask_ahead(args, early)),
        None => Ahead::nothing(log),
    }
}

/// Why the program does not act on this document, if it does not.
fn refusal<T: Tool>(run: &Run, interrupted: Option<Exit>) -> Option<Result<Done>> {
    if T::ACCEPTS == Accepts::Any {
        return None;
    }
    if run.doc.status() != Status::Ok {
        return Some(Ok(Done::refused("an earlier stage failed")));
    }
    interrupted.map(|exit| Err(interruption(exit)))
}

/// Why a step has nothing to do in this run, if it has: it is left out, or was done before.
fn passing_on(run: &Run, step: Step) -> Option<Result<Done>> {
    if let Some(what) = run.doc.skip_of(step) {
        return Some(Ok(Done::skipped(format!("left out (--skip {})", what.as_str()))));
    }
    run.doc.is_past(step).then(|| Ok(Done::skipped("done before this run was interrupted")))
}

/// The job, ended early by a signal; a panic becomes a failure.
async fn work<T: Tool>(args: T::Args, run: &mut Run, signals: &mut Signals) -> Result<Done> {
    let log = run.log.clone();
    let job = std::pin::pin!(T::run(args, run));
    let mut job = CatchPanic(job);
    if T::FINISHES_ON_INTERRUPT {
        tokio::select! {
            result = &mut job => return result,
            exit = signals.next() => {
                log.warn(T::ON_INTERRUPT);
                Stop::request(exit);
            }
        }
    }
    tokio::select! {
        result = &mut job => result,
        exit = signals.next() => Err(interruption(exit)),
    }
}

/// That a signal ended the program.
pub fn interruption(exit: Exit) -> Failure {
    Failure::new(exit, "interrupted", "interrupted by a signal")
        .hint("what was changed so far is in the document's \"undo\"; `cm-rollback` takes it back")
}

/// Polls a future and turns its panic into a [`Failure`].
struct CatchPanic<F>(F);

impl<T, F: Future<Output = Result<T>> + Unpin> Future for CatchPanic<F> {
    type Output = Result<T>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let inner = std::pin::Pin::new(&mut self.0);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.poll(cx)));
        polled.unwrap_or_else(|_| std::task::Poll::Ready(Err(Failure::bug("the program panicked"))))
    }
}

/// A stage that is under way.
struct Clock {
    step: Step,
    started_at: String,
    started: Instant,
}

impl Clock {
    fn start(step: Step) -> Self {
        Clock { step, started_at: time::now(), started: Instant::now() }
    }

    fn stage(self, tool: &str, status: StageStatus, exit: Exit, changed: bool, summary: String) -> Stage {
        Stage {
            tool: tool.to_owned(),
            step: Some(self.step),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            status,
            exit: Some(exit.code()),
            changed,
            started_at: self.started_at,
            duration_ms: self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            summary,
        }
    }
}

/// Completes the document, keeps it, delivers it, and says how to exit.
fn finish(mut run: Run, clock: Clock, result: Result<Done>) -> Exit {
    let (tool, step) = (run.doc.tool().to_owned(), clock.step);
    let (stage, exit) = match result {
        Ok(done) => {
            if let Some(outcome) = done.outcome {
                run.doc.set_status(outcome);
            }
            if done.exit == Exit::Refused {
                run.log.debug(format!("{tool} did nothing: {}", done.summary));
            }
            (clock.stage(&tool, done.status, done.exit, done.changed, done.summary), done.exit)
        }
        Err(failure) => {
            run.log.failure(&failure);
            run.doc.fail(clock.step, &failure);
            let changed = run.doc.undo().iter().any(|entry| entry.tool() == Some(&tool));
            (clock.stage(&tool, StageStatus::Failed, failure.exit, changed, failure.message.clone()), failure.exit)
        }
    };
    run.doc.push_stage(&stage);
    run.doc.fit(step);
    keep(&run, step);
    deliver(&run, exit)
}

fn keep(run: &Run, step: Step) {
    if run.dry_run() {
        return;
    }
    if let Err(failure) = Journal::of(run.doc.run_id()).keep(&run.doc, step) {
        run.log.warn(format!("{failure}; continuing without it"));
    }
}

fn deliver(run: &Run, exit: Exit) -> Exit {
    let on_terminal = std::io::stdout().is_terminal();
    let text = run.doc.to_text(on_terminal);
    // Programs get it byte by byte as it is: JSON escapes what is dangerous, but for a terminal not all.
    let text = if on_terminal { crate::clean(&text) } else { text };
    match write_stdout(&redact(&text)) {
        Ok(()) => exit,
        Err(failure) => {
            run.log.failure(&failure);
            if exit == Exit::Done { failure.exit } else { exit }
        }
    }
}
