//! What is asked before this program's document has come: the baseline from when `cm-detect` expects changes, while the
//! servers' Compose is asked, the commit is pushed and the servers are looked at; the canary and the checks in the last
//! part of the window in which the gate watches the services stay healthy.
//!
//! An answer counts only for a moment at which nothing else was happening. So the baseline pauses for a backup, which
//! makes a database slow, and is never asked while images are built; and what is asked of a new release counts only
//! if the gate says afterwards that everything was good all that time.

use crate::args::Args;
use crate::asking::Before;
use crate::kept::Kept;
use crate::plan::{Plan, load, with_skips};
use crate::results::Results;
use cm_canary::{Side, Target};
use cm_core::{Document, Early, Found, Skip, Step};
use cm_gate::Window;
use cm_project::Project;
use jiff::{SignedDuration, Timestamp};
use std::pin::pin;
use std::time::Duration;

/// The requests of a canary whose service was not asked before take about this long.
const UNKNOWN: Duration = Duration::from_secs(2);

/// Beyond its requests: connections, the checks, and the look at the containers.
const AROUND: Duration = Duration::from_millis(400);

/// What was found of a new release.
pub struct Verified {
    /// When the first question was asked.
    pub began: Timestamp,
    /// What was answered.
    pub results: Results,
}

/// Asks what can be asked.
pub async fn ask(args: Args, early: Early) -> Option<Found> {
    if args.baseline {
        return Some(Box::new(baseline(&args, &early).await?));
    }
    let doc = early.document(Step::Detect).await?;
    let project = load(&args, Some(&doc)).ok()?;
    match doc.planned().is_empty() {
        true => Some(Box::new(verify(&project, args, &doc, &early).await?)),
        false => {
            let doc = early.document(Step::Build).await?;
            Some(Box::new(in_window(&project, args, &doc, &early).await?))
        }
    }
}

/// A run's plan, with the project that it is of.
struct Planned {
    project: Project,
    doc: Document,
}

impl Planned {
    /// Waits for a plan that changes something.
    async fn wait(args: &Args, early: &Early) -> Option<Planned> {
        let doc = early.document(Step::Detect).await?;
        let project = load(args, Some(&doc)).ok()?;
        (!doc.planned().is_empty()).then_some(Planned { project, doc })
    }

    /// Waits until a backup begins, if there will be one.
    async fn until_backup(&self, early: &Early) {
        if self.project.backups().is_empty() || self.doc.skips(Skip::Backup) {
            std::future::pending::<()>().await;
        }
        early.done(Step::Preflight).await;
    }
}

/// As much of the baseline as there is time for before a backup. It begins where a plan that changes something is
/// likely, and counts where there is one that asks for the same. Where the last release's canary says it, nothing is
/// asked.
async fn baseline(args: &Args, early: &Early) -> Option<Side> {
    let likely = async {
        early.changes().await?;
        load(args, None).ok().filter(|project| Kept::newest(project).is_none())
    };
    let mut planned = pin!(Planned::wait(args, early));
    let (project, mut known) = tokio::select! {
        known = &mut planned => known.map(|known| (known.project.clone(), Some(known)))?,
        Some(project) = likely => (project, None),
    };
    if known.as_ref().is_some_and(|known| Kept::of_what_runs(&known.project, &known.doc).is_some()) {
        return None;
    }
    let (canary, timeout) = (project.canary(), project.verify().timeout);
    let target = Target::public(canary, timeout).ok()??;
    let asks_the_same = |known: &Planned| {
        let (other, of) = (known.project.canary(), known.project.verify().timeout);
        *other == *canary && of == timeout
    };
    let mut side = Side::default();
    {
        let mut asking = pin!(cm_canary::baseline(&target, canary, &mut side));
        let mut is_done = false;
        if known.is_none() {
            tokio::select! {
                plan = &mut planned => known = plan,
                () = &mut asking => (is_done, known) = (true, planned.await),
            }
        }
        let known = known.filter(asks_the_same)?;
        if !is_done {
            tokio::select! {
                () = &mut asking => {}
                () = known.until_backup(early) => {}
            }
        }
    }
    Some(side)
}

async fn verify(project: &Project, args: Args, doc: &Document, early: &Early) -> Option<Verified> {
    let args = with_skips(args, doc);
    let plan = Plan::of(project, &args, false);
    if !plan.canary && !plan.checks {
        return None;
    }
    let began = Timestamp::now();
    let results = plan.carry_out(doc, &early.log).await.ok()?;
    Some(Verified { began, results })
}

/// Asks late in the window; again, if it was not the last one.
async fn in_window(project: &Project, args: Args, doc: &Document, early: &Early) -> Option<Verified> {
    let takes = takes(project, doc);
    loop {
        let window =
            early.note(Window::NOTE, |text| Window::read(text).filter(|window| is_late(window, takes))).await?;
        let another = early
            .note(Window::NOTE, |text| Window::read(text).is_none_or(|now| now.since != window.since).then_some(()));
        tokio::select! {
            verified = verify(project, args.clone(), doc, early) => return verified,
            Some(()) = another => {}
        }
    }
}

/// Whether the requests, which take so long, would end about when the window does. Its first half is a release's own:
/// what has just started is slower than it is.
fn is_late(window: &Window, takes: Duration) -> bool {
    let takes = SignedDuration::try_from(takes).unwrap_or_default();
    let half = window.until.duration_since(window.since) / 2;
    let begin = (window.until - takes).max(window.since + half);
    Timestamp::now() >= begin
}

/// How long the canary's requests take, by those before.
fn takes(project: &Project, doc: &Document) -> Duration {
    let median = Before::read(doc).ok().and_then(|before| before.median_ms());
    let requests = f64::from(project.canary().requests);
    let asked = median.map(|ms| Duration::from_secs_f64(ms * requests / f64::from(cm_canary::AT_ONCE) / 1_000.0));
    asked.unwrap_or(UNKNOWN) + AROUND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_half_of_a_window_is_a_releases_own() {
        let now = Timestamp::now();
        let second = |n| SignedDuration::from_secs(n);
        let window = |ago, more| Window { since: now - second(ago), until: now + second(more) };
        for (what, window, takes, wanted) in [
            ("early", window(1, 9), 2, false),
            ("just in time", window(9, 1), 2, true),
            ("so long that it would begin at once", window(1, 9), 30, false),
            ("so long, and half is over", window(6, 4), 30, true),
            ("over", window(12, -2), 1, true),
        ] {
            assert_eq!(is_late(&window, Duration::from_secs(takes)), wanted, "{what}");
        }
    }
}
