//! What only reads is asked while the programs before this one in the pipe still work.
//!
//! All programs of a pipe are alive from its start, and each writes its document into the journal of
//! the run before it passes it on. So nobody has to sit idle until their own document comes: an earlier
//! one may say enough to begin asking. What is found counts only if the document that comes goes on
//! from that earlier one and nothing has failed; otherwise it is dropped unheard, with every word that
//! was said about it, and asked again. Nothing is changed ahead, and the first Ctrl-C ends it.

use crate::journal::Journal;
use crate::log::Log;
use crate::{Document, Status, Step};
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;

/// How often the journal is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// What was found ahead; the program knows what it is.
pub type Found = Box<dyn Any>;

type Asking = Pin<Box<dyn Future<Output = Option<Found>>>>;

/// The document that the answer rests on.
type Basis = Arc<Mutex<Option<Document>>>;

/// What a program has that asks ahead: the run's journal, and where to say things.
#[derive(Clone, Debug)]
pub struct Early {
    /// Messages; they are shown only if what is asked counts.
    pub log: Log,
    tool: &'static str,
    step: Step,
    journal: Journal,
    /// What an earlier attempt of this run has left.
    old: BTreeSet<String>,
    basis: Basis,
    came: watch::Receiver<bool>,
}

impl Early {
    /// Waits for the document that the program of `step` writes, which the answer then rests on.
    /// `None` once this program's own document has come, if something failed before, and in a run that
    /// leaves this program's step out, only plans, or resumes.
    pub async fn document(&self, step: Step) -> Option<Document> {
        let doc = self.until_it_comes(|| self.find(step)).await?;
        if doc.status() != Status::Ok || doc.dry_run() || doc.is_resumed() || doc.skip_of(self.step).is_some() {
            return None;
        }
        *lock(&self.basis) = Some(doc.clone());
        Some(doc)
    }

    /// Waits until it is likely that this run deploys something. `None` once this program's own document has come.
    pub async fn changes(&self) -> Option<()> {
        self.until_it_comes(|| self.journal.take_expected_changes().then_some(())).await
    }

    /// Waits until the program of `step` is done. `None` once this program's own document has come.
    pub async fn done(&self, step: Step) -> Option<()> {
        self.until_it_comes(|| self.name_of(step).map(drop)).await
    }

    /// Waits for a note in the run's journal that `read` takes. `None` once this program's own document
    /// has come.
    pub async fn note<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.until_it_comes(|| read(&self.journal.note(name)?)).await
    }

    /// Whether this program's own document has come.
    pub fn has_come(&self) -> bool {
        *self.came.borrow()
    }

    async fn until_it_comes<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let mut came = self.came.clone();
            tokio::select! {
                _ = came.wait_for(|came| *came) => return None,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn find(&self, step: Step) -> Option<Document> {
        self.journal.document(self.tool, &self.name_of(step)?).ok()
    }

    fn name_of(&self, step: Step) -> Option<String> {
        let new = |name: &String| !self.old.contains(name) && name.ends_with(&format!("-{step}.json"));
        self.journal.documents().into_iter().rev().find(new)
    }
}

/// What is being asked ahead, or was.
pub struct Ahead {
    log: Log,
    basis: Basis,
    asking: Option<Asking>,
    found: Option<Found>,
    came: watch::Sender<bool>,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("asking", &self.asking.is_some()).finish_non_exhaustive()
    }
}

impl Ahead {
    /// Nothing.
    pub fn nothing(log: &Log) -> Ahead {
        let (came, _) = watch::channel(false);
        Ahead { log: log.held(), basis: Basis::default(), asking: None, found: None, came }
    }

    /// What `ask` asks, for the program and step that are named first, with the documents of `journal`.
    pub fn start<F>(
        (tool, step): (&'static str, Step),
        journal: Journal,
        log: &Log,
        ask: impl FnOnce(Early) -> Option<F>,
    ) -> Ahead
    where
        F: Future<Output = Option<Found>> + 'static,
    {
        let mut ahead = Ahead::nothing(log);
        let early = Early {
            log: ahead.log.clone(),
            tool,
            step,
            old: journal.documents().into_iter().collect(),
            journal,
            basis: Arc::clone(&ahead.basis),
            came: ahead.came.subscribe(),
        };
        ahead.asking = ask(early).map(|asking| Box::pin(asking) as Asking);
        ahead
    }

    /// Goes on asking; never ends. What panics has found nothing.
    pub async fn go_on(&mut self) {
        self.until_found().await;
        std::future::pending::<()>().await;
    }

    /// Ends it.
    pub fn end(&mut self) {
        (self.asking, self.found) = (None, None);
    }

    async fn until_found(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            ended => {
                (self.asking, self.found) = (None, if let Ok(Poll::Ready(found)) = ended { found } else { None });
                Poll::Ready(())
            }
        }
    }

    /// What was found ahead of `doc`, which has come: `None` where that is nothing, or rests on
    /// something that is not so any more. What is being asked still is waited for.
    pub(crate) async fn found<F: 'static>(
        &mut self,
        doc: &Document,
        holds: impl FnOnce(&F, &Document) -> bool,
    ) -> Option<F> {
        self.came.send_replace(true);
        let goes_on = |basis: &Basis| lock(basis).as_ref().is_some_and(|early| doc.continues(early));
        if !goes_on(&self.basis) {
            self.end();
            return None;
        }
        self.until_found().await;
        let found = self.found.take().filter(|_| goes_on(&self.basis))?;
        let found = found.downcast().ok().filter(|found| holds(found, doc))?;
        self.log.release();
        Some(*found)
    }
}

fn lock(basis: &Basis) -> std::sync::MutexGuard<'_, Option<Document>> {
    basis.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Level, Stage};
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(300);
    const OWN: (&str, Step) = ("cm-verify", Step::Baseline);

    fn log() -> Log {
        Log::new("test", Format::Text, Level::Fail)
    }

    fn stage(step: Step) -> Stage {
        Stage { tool: format!("cm-{step}"), step: Some(step), exit: Some(0), ..Stage::default() }
    }

    /// A journal, and a document that its first program has written.
    fn run(step: Step) -> (tempfile::TempDir, Journal, Document) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let mut doc = Document::start(&format!("cm-{step}"), "ada", false);
        doc.push_stage(&stage(step));
        (dir, Journal::at(&path), doc)
    }

    fn asking(journal: &Journal) -> Ahead {
        Ahead::start(OWN, journal.clone(), &log(), |early| {
            Some(async move {
                early.document(Step::Detect).await?;
                early.log.fail("heard");
                Some(Box::new(7_u8) as Found)
            })
        })
    }

    fn kept(ahead: &Ahead) -> Option<String> {
        ahead.log.kept()
    }

    #[tokio::test]
    async fn what_is_found_counts_where_the_document_goes_on_from_the_early_one() {
        let (_dir, journal, doc) = run(Step::Detect);
        let mut ahead = asking(&journal);
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert_eq!(ahead.found::<u8>(&doc, |_, _| true).await, None, "nothing was written yet");

        let mut ahead = asking(&journal);
        journal.keep(&doc, Step::Detect).expect("kept");
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert!(kept(&ahead).is_some_and(|said| said.contains("heard")), "unheard so far");
        let mut own = doc.clone();
        own.push_stage(&stage(Step::Push));
        assert_eq!(ahead.found::<u8>(&own, |_, _| true).await, Some(7));
        assert_eq!(kept(&ahead), None, "heard");

        let mut ahead = asking(&journal);
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert_eq!(ahead.found::<u8>(&own, |_, _| true).await, None, "what an earlier attempt has left is old");
    }

    #[tokio::test]
    async fn what_failed_or_changed_before_drops_it_unheard() {
        let (failed, other) = (
            |doc: &mut Document| doc.set_status(Status::Failed),
            |doc: &mut Document| {
                doc.set_target("other", None, None);
            },
        );
        for change in [failed as fn(&mut Document), other] {
            let (_dir, journal, doc) = run(Step::Detect);
            let mut ahead = asking(&journal);
            journal.keep(&doc, Step::Detect).expect("kept");
            assert!(timeout(SOON, ahead.go_on()).await.is_err());
            let mut own = doc.clone();
            change(&mut own);
            assert_eq!(ahead.found::<u8>(&own, |_, _| true).await, None);
            assert!(kept(&ahead).is_some_and(|said| said.contains("heard")), "still unheard");
        }
        let (_dir, journal, doc) = run(Step::Detect);
        let mut ahead = asking(&journal);
        journal.keep(&doc, Step::Detect).expect("kept");
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert_eq!(ahead.found::<u8>(&doc, |_, _| false).await, None);
        assert!(kept(&ahead).is_some());
    }

    #[tokio::test]
    async fn nothing_is_asked_for_a_step_that_is_left_out_and_in_a_run_that_only_plans_or_resumes() {
        let changes: [fn(&mut Document); 3] =
            [|doc| doc.skip(crate::Skip::Canary), Document::set_dry_run, |doc| doc.resume(false)];
        for change in changes {
            let (_dir, journal, mut doc) = run(Step::Detect);
            let mut ahead = asking(&journal);
            change(&mut doc);
            journal.keep(&doc, Step::Detect).expect("kept");
            assert!(timeout(SOON, ahead.go_on()).await.is_err());
            assert_eq!(kept(&ahead).as_deref(), Some(""), "nothing was said, and nothing asked");
            assert_eq!(ahead.found::<u8>(&doc, |_, _| true).await, None);
        }
    }

    #[tokio::test]
    async fn what_waits_for_more_ends_when_its_own_document_comes_and_a_panic_finds_nothing() {
        let (_dir, journal, doc) = run(Step::Detect);
        let mut ahead = Ahead::start(OWN, journal.clone(), &log(), |early| {
            Some(async move {
                early.document(Step::Detect).await?;
                early.note("never", |text| Some(text.to_owned())).await.map(|note| Box::new(note) as Found)
            })
        });
        journal.keep(&doc, Step::Detect).expect("kept");
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert_eq!(timeout(SOON, ahead.found::<String>(&doc, |_, _| true)).await, Ok(None));

        let mut ahead =
            Ahead::start(OWN, journal.clone(), &log(), |_| Some(async { if true { panic!("ahead") } else { None } }));
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert_eq!(ahead.found::<u8>(&doc, |_, _| true).await, None);
    }

    #[tokio::test]
    async fn an_interrupt_ends_what_is_being_asked() {
        struct Ended(Arc<AtomicBool>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (_dir, journal, _doc) = run(Step::Detect);
        let ended = Arc::new(AtomicBool::new(false));
        let guard = Ended(Arc::clone(&ended));
        let mut ahead = Ahead::start(OWN, journal, &log(), |_| {
            Some(async move {
                let _held = guard;
                std::future::pending().await
            })
        });
        assert!(timeout(SOON, ahead.go_on()).await.is_err());
        assert!(!ended.load(Ordering::Relaxed));
        ahead.end();
        assert!(ended.load(Ordering::Relaxed));
    }
}
