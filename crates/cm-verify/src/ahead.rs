//! What is asked before this program's document has come: the baseline while the commit is pushed and the servers are
//! looked at, the canary and the checks in the last part of the window in which the gate watches the services stay healthy.
//!
//! An answer counts only for a moment at which nothing else was happening. So the baseline pauses for a backup, which
//! makes a database slow, and is never asked while images are built; and what is asked of a new release counts only
//! if the gate says afterwards that everything was good all that time.

use crate::args::Args;
use crate::asking::Before;
use crate::plan::{Plan, load, with_skips};
use crate::results::Results;
use cm_canary::{Side, Target};
use cm_core::{Document, Early, Found, Skip, Step};
use cm_gate::Window;
use cm_project::Project;
use jiff::{SignedDuration, Timestamp};
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
    let doc = early.document(Step::Detect).await?;
    let project = load(&args, Some(&doc)).ok()?;
    match (args.baseline, doc.planned().is_empty()) {
        (true, true) => None,
        (true, false) => Some(Box::new(baseline(&project, &doc, &early).await?)),
        (false, true) => Some(Box::new(verify(&project, args, &doc, &early).await?)),
        (false, false) => {
            let doc = early.document(Step::Build).await?;
            Some(Box::new(in_window(&project, args, &doc, &early).await?))
        }
    }
}

/// As much of the baseline as there is time for before a backup.
async fn baseline(project: &Project, doc: &Document, early: &Early) -> Option<Side> {
    let canary = project.canary();
    let target = Target::public(canary, project.verify().timeout).ok()??;
    let mut side = Side::default();
    let backup = async {
        if project.backups().is_empty() || doc.skips(Skip::Backup) {
            std::future::pending::<()>().await;
        }
        early.done(Step::Preflight).await
    };
    tokio::select! {
        () = cm_canary::baseline(&target, canary, &mut side) => {}
        _ = backup => {}
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
