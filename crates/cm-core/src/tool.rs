//! The filter that every program is. The rules of the document live here, once:
//! stdin is read to its end and judged before anything else happens, a failed
//! document passes through untouched, a failing program writes its document and
//! then exits with its code, and nothing but the document goes to stdout.

use crate::input::{self, Input};
use crate::journal::Journal;
use crate::log::{Format, Level, Log};
use crate::redact::redact;
use crate::signal::{Signals, Stop};
use crate::{
    Document, Exit, Failure, Result, SCHEMA, Skip, Stage, StageStatus, Status, Step, actor, decapitalized, time,
};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use serde_json::{Value, json};
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// The flags every program has.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// Work as if started in DIR
    #[arg(short = 'C', long, value_name = "DIR", global = true, help_heading = "Common options")]
    pub directory: Option<PathBuf>,

    /// Read this configuration instead of the nearest cm.toml
    #[arg(long, value_name = "FILE", global = true, env = "CM_CONFIG", help_heading = "Common options")]
    pub config: Option<PathBuf>,

    /// Say what would be done, change nothing; later programs of the pipe do the same
    #[arg(long, global = true, help_heading = "Common options")]
    pub dry_run: bool,

    /// Leave this out, here and in later programs of the pipe: push, backup, canary, verify or
    /// prune (may be repeated)
    #[arg(long, value_name = "WHAT", value_parser = skip, global = true, help_heading = "Common options")]
    pub skip: Vec<Skip>,

    /// How messages are written to stderr
    #[arg(long, value_enum, default_value_t, global = true, env = "CM_LOG", help_heading = "Common options")]
    pub log: Format,

    /// Show more
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub verbose: bool,

    /// Show warnings and failures only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub quiet: bool,
}

fn skip(word: &str) -> std::result::Result<Skip, String> {
    let known = || Skip::ALL.map(Skip::as_str).join(", ");
    Skip::named(word).ok_or_else(|| format!("nothing of that name can be left out, only {}", known()))
}

impl CommonArgs {
    /// What the flags say of the whole run, written down for every later program.
    fn steer(&self, doc: &mut Document) {
        if self.dry_run {
            doc.set_dry_run();
        }
        for what in &self.skip {
            doc.skip(*what);
        }
    }

    fn log(&self, tool: &'static str) -> Log {
        let least = match (self.verbose, self.quiet) {
            (true, _) => Level::Debug,
            (_, true) => Level::Warn,
            _ => Level::Info,
        };
        Log::new(tool, self.log, least)
    }
}

/// Which documents a program acts on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepts {
    /// Only those whose status is `ok`: everything that changes something.
    Ok,
    /// Any: what takes changes back, records them, or releases a lock.
    Any,
}

/// One program.
pub trait Tool {
    /// The name of the binary, such as `cm-build`.
    const NAME: &'static str;
    /// Which documents it acts on.
    const ACCEPTS: Accepts = Accepts::Ok;
    /// Two uses to begin with, each a command line and what it is for in a few words.
    const EXAMPLES: [(&'static str, &'static str); 2];
    /// The schemas that it reads or writes beside [`SCHEMA`].
    const SCHEMAS: &'static [&'static str] = &[];
    /// How many threads beside the first one, on which all tasks then run; each costs a short program a
    /// noticeable part of its time. With 0, tasks share the first one.
    const THREADS: usize = 2;
    /// Whether a first Ctrl-C only warns, because stopping partway is worse; [`Stop`] tells of it.
    const FINISHES_ON_INTERRUPT: bool = false;
    /// What is said then.
    const ON_INTERRUPT: &'static str = "not stopping partway; a second Ctrl-C stops at once";
    /// Its command line.
    type Args: Parser;

    /// The common flags in `args`.
    fn common(args: &Self::Args) -> &CommonArgs;

    /// Which step of a deployment this use of the program is.
    fn step(args: &Self::Args) -> Step;

    /// Whether this use, a [`command`](Self::command), listens for signals by itself, and is ended by none.
    fn handles_signals(args: &Self::Args) -> bool {
        let _ = args;
        false
    }

    /// A use that is no filter, such as a listing: `Some` means that it was one.
    fn command(args: &Self::Args, io: &Io) -> impl Future<Output = Option<Result<Exit>>> {
        let _ = (args, io);
        async { None }
    }

    /// The job: `run.doc` goes in and comes out.
    fn run(args: Self::Args, run: &mut Run) -> impl Future<Output = Result<Done>>;
}

/// stdout and stderr of a use that is no filter.
#[derive(Debug)]
pub struct Io {
    /// Messages for people.
    pub log: Log,
}

impl Io {
    /// Writes `text` and a newline to stdout, without secrets and without what a terminal would obey:
    /// part of it may come from a server.
    ///
    /// # Errors
    /// [`Exit::Undelivered`] if stdout is closed.
    pub fn print(&self, text: &str) -> Result<()> {
        write_stdout(&redact(&format!("{}\n", crate::clean(text))))
    }

    /// Writes JSON to stdout: one line, or indented on a terminal.
    ///
    /// # Errors
    /// As [`Io::print`].
    pub fn print_json(&self, value: &Value) -> Result<()> {
        let text = if std::io::stdout().is_terminal() { format!("{value:#}") } else { value.to_string() };
        self.print(&text)
    }
}

/// What a program has while it does its job.
#[derive(Debug)]
pub struct Run {
    /// The document; it goes out whatever happens.
    pub doc: Document,
    /// Messages for people.
    pub log: Log,
    /// Whether no document came in, so that this program starts the run.
    pub started_here: bool,
}

impl Run {
    /// Whether this run only plans.
    pub fn dry_run(&self) -> bool {
        self.doc.dry_run()
    }

    /// Writes down what takes a change back. Call it *before* the change.
    ///
    /// # Errors
    /// [`Exit::Config`] if it cannot be kept on disk; the change must then not be made.
    pub fn push_undo(&mut self, mut entry: Value) -> Result<()> {
        entry["tool"] = self.doc.tool().into();
        Journal::of(self.doc.run_id()).keep_undo(&entry)?;
        self.doc.push_undo(entry);
        Ok(())
    }
}

/// How a job ended well.
#[derive(Clone, Debug)]
pub struct Done {
    status: StageStatus,
    summary: String,
    changed: bool,
    exit: Exit,
    outcome: Option<Status>,
}

impl Done {
    fn new(status: StageStatus, summary: impl Into<String>) -> Self {
        Done { status, summary: summary.into(), changed: false, exit: Exit::Done, outcome: None }
    }

    /// It worked.
    pub fn ok(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Ok, summary)
    }

    /// It worked, and people should look at something.
    pub fn warned(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Warned, summary)
    }

    /// There was nothing to do.
    pub fn skipped(summary: impl Into<String>) -> Self {
        Done::new(StageStatus::Skipped, summary)
    }

    /// An earlier stage failed, so nothing was done: for programs that accept any document, but
    /// not in every use.
    pub fn refused(summary: impl Into<String>) -> Self {
        let mut done = Done::skipped(summary);
        done.exit = Exit::Refused;
        done
    }

    /// The services were taken back: the deployment failed, the rollback did not.
    pub fn rolled_back(summary: impl Into<String>) -> Self {
        let mut done = Done::new(StageStatus::Ok, summary).changed(true);
        done.exit = Exit::RolledBack;
        done.outcome = Some(Status::RolledBack);
        done
    }

    /// It worked, but for something beside it that people should look at.
    #[must_use]
    pub fn warned_of(mut self, what: &str) -> Self {
        self.status = StageStatus::Warned;
        self.summary = format!("{}; {what}", self.summary);
        self
    }

    /// Whether anything was changed.
    #[must_use]
    pub fn changed(mut self, changed: bool) -> Self {
        self.changed = changed;
        self
    }
}

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

/// Names the shell that asks for completions.
pub const COMPLETE: &str = "CM_COMPLETE";

/// The commit that the program was built from; `make build` says it.
const COMMIT: Option<&str> = option_env!("CM_COMMIT");

/// Somebody types the bare name: nothing comes in, nobody reads what would come out.
fn is_first_contact() -> bool {
    std::env::args_os().len() == 1 && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// What the program does, in five lines.
pub fn introduction<T: Tool>() -> String {
    let about = T::Args::command().get_about().map(ToString::to_string).unwrap_or_default();
    let width = T::EXAMPLES.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let examples = T::EXAMPLES.map(|(command, what)| format!("  {command:width$}  {what}"));
    format!(
        "{name}: {about}\nstdin: a document; stdout: the same, extended. </dev/null begins a new one.\n{}\nMore: {name} --help, man {name}, man cm-guide",
        examples.join("\n"),
        name = T::NAME,
        about = decapitalized(about.split(':').next().unwrap_or_default().trim_end_matches('.')),
    )
}

/// For people: `0.1.0 (0123456789ab)`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    COMMIT.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
});

/// For programs; the commit is null where the build was not told.
fn version_as_json<T: Tool>() -> Value {
    let schemas: Vec<_> = std::iter::once(&SCHEMA).chain(T::SCHEMAS).collect();
    json!({"tool": T::NAME, "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT, "schemas": schemas})
}

/// The command line's definition, complete: what `--help`, man pages and completions show.
pub fn command<T: Tool>() -> clap::Command {
    let command = T::Args::command().name(T::NAME).version(VERSION.as_str());
    // A program's own last words come before the table that all share.
    let with_table = |own: Option<&clap::builder::StyledStr>| match own {
        Some(own) => format!("{own}\n\n{}", Exit::table()),
        None => Exit::table(),
    };
    let short = with_table(command.get_after_help());
    let long = with_table(command.get_after_long_help().or(command.get_after_help()));
    command.after_help(short).after_long_help(long)
}

fn parse_args<T: Tool>() -> std::result::Result<T::Args, ExitCode> {
    let parsed = command::<T>().try_get_matches().and_then(|matches| T::Args::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let _closed = match error.kind() {
            ErrorKind::DisplayVersion if std::env::args_os().any(|argument| argument == "--json") => {
                writeln!(std::io::stdout(), "{}", version_as_json::<T>())
            }
            _ => error.print(),
        };
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        exit.into()
    })
}

async fn drive<T: Tool>(args: T::Args, log: &Log) -> Exit {
    let io = Io { log: log.clone() };
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
    let (input, interrupted) = match input::read(T::NAME, signals, log).await {
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
    let mut run = Run { doc, log: log.clone(), started_here };
    let clock = Clock::start(T::step(&args));
    let known = refusal::<T>(&run, interrupted).or_else(|| passing_on(&run, clock.step));
    let result = match known.or_else(|| run.doc.check_room(clock.step).err().map(Err)) {
        Some(known) => known,
        None => work::<T>(args, &mut run, signals).await,
    };
    finish(run, clock, result)
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
            let changed = run.doc.undo().iter().any(|entry| entry["tool"] == tool);
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

fn write_stdout(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::BrokenPipe => "the work was done; the program that should read the document is gone",
            _ => "the work was done; the run's journal has the document as well: look at where stdout goes",
        };
        Failure::new(Exit::Undelivered, "output.closed", "cannot write to stdout").cause(error).hint(hint)
    })
}
