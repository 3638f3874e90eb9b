//! What a program says of itself, and what it has while it does its job.

use crate::ahead::{Ahead, Early, Found};
use crate::args::CommonArgs;
use crate::done::Done;
use crate::journal::Journal;
use crate::log::Log;
use crate::output::Io;
use crate::{Document, Exit, OrFail, Result, Step, Undo};
use clap::Parser;
use std::future::Future;

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
    /// The schemas that it reads or writes besides [`SCHEMA`](crate::SCHEMA).
    const SCHEMAS: &'static [&'static str] = &[];
    /// How many threads besides the first one, on which all tasks then run; each costs a short program a
    /// noticeable part of its time. With 0, tasks share the first one.
    const THREADS: usize = 2;
    /// Whether a first Ctrl-C only warns, because stopping partway is worse; [`Stop`](crate::Stop) tells of it.
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

    /// What it asks before its own document has come, if anything: only what reads, and says nothing to
    /// people but through `early.log`. [`Run::found_ahead`] has what it finds.
    fn ask_ahead(args: &Self::Args, early: Early) -> Option<impl Future<Output = Option<Found>> + 'static> {
        let _ = (args, early);
        None::<std::future::Ready<Option<Found>>>
    }

    /// The job: `run.doc` goes in and comes out.
    fn run(args: Self::Args, run: &mut Run) -> impl Future<Output = Result<Done>>;
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
    ahead: Ahead,
}

impl Run {
    /// A run with a document, and nothing that was asked ahead of it.
    pub fn new(doc: Document, log: Log, started_here: bool) -> Run {
        Run { ahead: Ahead::nothing(&log), doc, log, started_here }
    }

    pub(crate) fn after(ahead: Ahead, doc: Document, log: Log, started_here: bool) -> Run {
        Run { doc, log, started_here, ahead }
    }

    /// What [`Tool::ask_ahead`] found, if it is still so: then it need not be asked again.
    pub async fn found_ahead<F: 'static>(&mut self) -> Option<F> {
        self.found_ahead_if(|_, _| true).await
    }

    /// The same, where it `holds` by the document that has come.
    pub async fn found_ahead_if<F: 'static>(&mut self, holds: impl FnOnce(&F, &Document) -> bool) -> Option<F> {
        self.ahead.found(&self.doc, holds).await
    }

    /// Whether this run only plans.
    pub fn dry_run(&self) -> bool {
        self.doc.dry_run()
    }

    /// Writes down what takes a change back. Call it *before* the change.
    ///
    /// # Errors
    /// [`Exit::Config`] if it cannot be kept on disk; the change must then not be made.
    pub fn push_undo(&mut self, entry: &Undo) -> Result<()> {
        let entry = serde_json::to_value(entry).or_fail(Exit::Bug, "bug", "an undo entry cannot be written down")?;
        Journal::of(self.doc.run_id()).keep_undo(&entry)?;
        self.doc.push_undo(entry);
        Ok(())
    }
}
