//! The canary of the last release as the baseline of the next one: it asked the code that still runs, a short while
//! ago, the same. Its answers are in the journal of its run, so whoever deploys again from the same machine has them.
//! They count only where the ledgers say that nothing was released since.

use cm_canary::{Side, Target};
use cm_core::facts::{DetectFacts, Samples};
use cm_core::{Document, Journal, Status, Step, redact};
use cm_project::Project;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file in the journal.
const NOTE: &str = "canary-answers";

/// Later than every run's ID.
const ANY_RUN: &str = "~";

/// What a canary asked, and what was answered.
#[derive(Debug, Deserialize, Serialize)]
struct Note {
    asked: String,
    at: Timestamp,
    samples: Samples,
}

/// The answers of a canary that passed.
#[derive(Debug)]
pub struct Kept {
    /// Those.
    pub side: Side,
    /// The run that asked.
    pub run: String,
    at: Timestamp,
    /// By host the newest release that its run left there.
    releases: BTreeMap<String, String>,
}

impl Kept {
    /// Those of the last run on this machine that had any, if they are recent, enough, and to the same question.
    pub fn newest(project: &Project) -> Option<Kept> {
        let target = target(project)?;
        let name = project.name();
        let mut earlier = Journal::before(&name, ANY_RUN);
        let (doc, note) = earlier.find_map(|doc| {
            let text = Journal::of(doc.run_id()).note(NOTE)?;
            Some((doc, serde_json::from_str::<Note>(&text).ok()?))
        })?;
        let is_the_same = note.asked == question(project, &target);
        Kept::of(&doc, note).filter(|kept| is_the_same && kept.is_enough(project) && kept.is_recent(project))
    }

    /// The same, if what runs now is what was asked then, as the run's `doc` says.
    pub fn of_what_runs(project: &Project, doc: &Document) -> Option<Kept> {
        let running = doc.part::<DetectFacts>().releases.filter(|running| !running.is_empty())?;
        Kept::newest(project).filter(|kept| kept.releases == running)
    }

    /// `None` for a run that did not come to a good end.
    fn of(doc: &Document, note: Note) -> Option<Kept> {
        doc.done(Step::Record).filter(|_| doc.status() == Status::Ok)?;
        let mut releases = doc.part::<DetectFacts>().releases?;
        for service in doc.planned() {
            releases.insert(service.host, doc.run_id().to_owned());
        }
        Some(Kept { side: Side::from(note.samples), run: doc.run_id().to_owned(), at: note.at, releases })
    }

    fn is_enough(&self, project: &Project) -> bool {
        let canary = project.canary();
        self.side.samples.requests >= canary.baseline_requests.unwrap_or(canary.requests).max(canary.min_requests)
    }

    fn is_recent(&self, project: &Project) -> bool {
        let most = SignedDuration::try_from(project.canary().baseline_max_age).unwrap_or(SignedDuration::MAX);
        (SignedDuration::ZERO..most).contains(&Timestamp::now().duration_since(self.at))
    }

    /// How many seconds ago it was asked.
    pub fn age_s(&self) -> u64 {
        Timestamp::now().duration_since(self.at).as_secs().unsigned_abs()
    }
}

/// Keeps the answers to a canary that passed, for the next run.
pub fn keep(project: &Project, doc: &Document, side: &Side) {
    let Some(target) = target(project) else { return };
    let note =
        Note { asked: question(project, &target), at: Timestamp::now(), samples: side.clone().thinned().samples };
    // It only saves the next run some time.
    Journal::of(doc.run_id()).set_note(NOTE, serde_json::to_string(&note).ok().as_deref());
}

fn target(project: &Project) -> Option<Target> {
    Target::public(project.canary(), project.verify().timeout).ok()?
}

/// What is asked, in a form that can be compared. Values of headers are secrets: it has their names.
fn question(project: &Project, target: &Target) -> String {
    let (headers, limit) = (&project.canary().header_env, project.verify().timeout);
    redact(&format!("{} {headers:?} {limit:?}", target.url())).into_owned()
}
