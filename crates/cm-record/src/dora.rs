//! The four figures of DORA (dora.dev) as far as the ledgers know them. One run is one
//! deployment, on however many hosts; a rollback that a person asks for is none, but
//! restores. What never touched a service did not reach production and counts nowhere.

use crate::history::read_all;
use cm_core::{Io, Result, time::rough};
use cm_ledger::{Ledger, Record, Verdict};
use cm_project::Project;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: i64 = 86_400;

/// Where there is no lead time.
const NO_LEAD_TIME: &str = "not known: no deployment succeeded whose commit's time is recorded";

/// What the ledgers know of a span of time.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    /// Its length in seconds, from the first release on if there was none before.
    span: i64,
    /// Deployments whose outcome is known.
    deployments: usize,
    /// Deployments without an outcome: they run, or were killed.
    unfinished: usize,
    /// Deployments that failed, or were rolled back, by themselves or by a person.
    failed: usize,
    /// How long each that went well took from its newest commit to its verdict, in seconds, in order.
    lead: Vec<i64>,
    /// How long each took to be well again, in seconds, in order.
    restored: Vec<i64>,
    /// Those that are not healthy yet.
    unrestored: usize,
}

/// What a record says of its deployment.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Outcome {
    Well,
    Unfinished,
    Failed,
}

/// When a failure on one host was over.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Restored {
    /// After so many seconds.
    After(i64),
    /// It is, but nobody knows when it began.
    Sometime,
    NotYet,
}

/// Of one run on all its hosts: how it ended, when that was over, and its lead time in seconds.
type Deployment = (Outcome, Option<Restored>, Option<i64>);

/// Prints the figures of the time since `since` ago.
///
/// # Errors
/// Those of reading the ledgers.
pub async fn dora(project: &Project, since: Duration, as_json: bool, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    let now = Timestamp::now();
    let from = now.checked_sub(since).unwrap_or(Timestamp::MIN);
    let figures = figures(&ledgers, from, now);
    if as_json { io.print_json(&figures.to_json()) } else { io.print(&io.facts(&figures.rows())) }
}

/// Reads `--since`: some time, not none.
pub fn since(text: &str) -> std::result::Result<Duration, String> {
    let length = cm_core::time::length(text)?;
    if length.is_zero() { Err("no time at all cannot be looked back on".to_owned()) } else { Ok(length) }
}

impl Figures {
    fn per_week(&self) -> f64 {
        self.deployments as f64 * (7 * DAY) as f64 / self.span.max(DAY) as f64
    }

    fn failure_rate(&self) -> Option<f64> {
        (self.deployments > 0).then(|| self.failed as f64 / self.deployments as f64)
    }

    fn to_json(&self) -> Value {
        json!({
            "span_s": self.span,
            "deployments": self.deployments,
            "unfinished": self.unfinished,
            "deployments_per_week": self.per_week(),
            "lead_time_median_s": median(&self.lead),
            "lead_time_max_s": self.lead.last(),
            "failed": self.failed,
            "change_failure_rate": self.failure_rate(),
            "restored": self.restored.len(),
            "not_restored": self.unrestored,
            "time_to_restore_median_s": median(&self.restored),
            "time_to_restore_max_s": self.restored.last(),
        })
    }

    fn rows(&self) -> [[String; 2]; 4] {
        let span = rough(self.span.unsigned_abs());
        let unfinished = match self.unfinished {
            0 => String::new(),
            count => format!("; {count} more without an outcome"),
        };
        let rate = self.failure_rate().map_or("not known: no deployment".to_owned(), |rate| {
            format!("{:.0} % ({} of {})", rate * 100.0, self.failed, self.deployments)
        });
        let rows = [
            (
                "deployment frequency",
                format!("{:.1} a week ({} in {span}{unfinished})", self.per_week(), self.deployments),
            ),
            ("lead time", span_text(&self.lead).unwrap_or_else(|| NO_LEAD_TIME.to_owned())),
            ("change failure rate", rate),
            ("time to restore", self.restore_text()),
        ];
        rows.map(|(key, value)| [key.to_owned(), value])
    }

    fn restore_text(&self) -> String {
        let open = match self.unrestored {
            0 => String::new(),
            count => format!("; {count} not restored yet"),
        };
        match span_text(&self.restored) {
            Some(text) => format!("{text}{open}"),
            None if self.failed == 0 => "nothing failed".to_owned(),
            None => format!("not known{open}"),
        }
    }
}

/// Of values in order; the lower one of two.
fn median(seconds: &[i64]) -> Option<i64> {
    seconds.get(seconds.len().saturating_sub(1) / 2).copied()
}

fn span_text(seconds: &[i64]) -> Option<String> {
    let (median, longest) = (median(seconds)?.unsigned_abs(), seconds.last()?.unsigned_abs());
    Some(format!("{} in the median, {} at most (of {})", rough(median), rough(longest), seconds.len()))
}

/// The figures of what was deployed between `from` and `to`; restored is restored also later.
fn figures(ledgers: &[(String, Ledger)], from: Timestamp, to: Timestamp) -> Figures {
    let mut runs: BTreeMap<&str, Deployment> = BTreeMap::new();
    for (_, ledger) in ledgers {
        for (index, record) in ledger.records().iter().enumerate() {
            let (Some(at), Some(outcome)) = (at(record), outcome(record)) else { continue };
            if at < from || at > to {
                continue;
            }
            let restored = (outcome == Outcome::Failed).then(|| restored(record, &ledger.records()[index + 1..]));
            let lead = record.committed_at.as_ref().and_then(|made| made.parse().ok());
            let lead = lead.map(|made: Timestamp| at.duration_since(made).as_secs().max(0));
            let run = runs.entry(&record.id).or_insert((outcome, restored, lead));
            *run = (run.0.max(outcome), run.1.max(restored), run.2.max(lead));
        }
    }
    let mut figures = Figures { span: to.duration_since(begin(ledgers, from)).as_secs().max(0), ..Figures::default() };
    for (outcome, restored, lead) in runs.into_values() {
        figures.lead.extend(lead.filter(|_| outcome == Outcome::Well));
        figures.deployments += usize::from(outcome != Outcome::Unfinished);
        figures.unfinished += usize::from(outcome == Outcome::Unfinished);
        figures.failed += usize::from(outcome == Outcome::Failed);
        match restored {
            Some(Restored::After(seconds)) => figures.restored.push(seconds),
            Some(Restored::NotYet) => figures.unrestored += 1,
            Some(Restored::Sometime) | None => {}
        }
    }
    figures.lead.sort_unstable();
    figures.restored.sort_unstable();
    figures
}

/// A ledger that is younger than the span says nothing of the time before it.
fn begin(ledgers: &[(String, Ledger)], from: Timestamp) -> Timestamp {
    let first = ledgers.iter().flat_map(|(_, ledger)| ledger.records()).filter_map(at).min();
    first.map_or(from, |first| first.max(from))
}

fn at(record: &Record) -> Option<Timestamp> {
    record.at.parse().ok()
}

/// `None` for what is no deployment.
fn outcome(record: &Record) -> Option<Outcome> {
    // A run that was rolled back because it failed has its cause; a person's rollback has none.
    if record.is_asked_for() {
        return None;
    }
    match record.verdict {
        Verdict::Started | Verdict::Pending | Verdict::Abandoned | Verdict::Unknown => Some(Outcome::Unfinished),
        Verdict::Failed | Verdict::RolledBack => (!record.services.is_empty()).then_some(Outcome::Failed),
        Verdict::Verified | Verdict::Healthy if record.taken_back.is_empty() => Some(Outcome::Well),
        Verdict::Verified | Verdict::Healthy => Some(Outcome::Failed),
    }
}

/// When the services of a failed release were well again: by the run's own rollback, or
/// by the first good release of each that came `later`.
fn restored(failed: &Record, later: &[Record]) -> Restored {
    let Some(end) = at(failed) else { return Restored::Sometime };
    if failed.verdict == Verdict::RolledBack {
        // From the run's begin, which its id holds: the switch came later, nobody wrote down when.
        return failed.began().map_or(Restored::Sometime, |began| seconds(began, end));
    }
    let well = |service: &String| {
        let good = |record: &&Record| {
            record.services.contains_key(service) && record.verdict.did_well() && !record.is_taken_back(service)
        };
        later.iter().find(good).and_then(at)
    };
    let of = |service| well(service).map_or(Restored::NotYet, |well| seconds(end, well));
    let services = match failed.taken_back.is_empty() {
        true => failed.services.keys().map(of).max(),
        false => failed.taken_back.keys().map(of).max(),
    };
    services.unwrap_or(Restored::Sometime)
}

fn seconds(from: Timestamp, to: Timestamp) -> Restored {
    Restored::After(to.duration_since(from).as_secs().max(0))
}

#[cfg(test)]
mod tests;
