//! What became of a job of a release, as the host remembers it: a job is run once in a release,
//! whoever asks again.

use crate::Ledger;
use cm_core::facts::JobOutcome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of a release.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct JobState {
    /// The full id of the commit that it belongs to.
    pub commit: String,
    /// The service it is, or in whose image it ran.
    pub service: String,
    /// What became of it.
    pub outcome: JobOutcome,
    /// Its exit code, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Its container.
    pub container: String,
    /// Why it was interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Ledger {
    /// What became of the job `name` in the release of `commit`, whichever run it was; the newest word counts.
    pub fn job(&self, name: &str, commit: &str) -> Option<&JobState> {
        let words = self.records().iter().rev().filter_map(|record| record.jobs.get(name));
        words.into_iter().find(|job| job.commit == commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    fn record(id: &str, commit: &str, outcome: JobOutcome) -> Record {
        let mut record = Record::new(id, "ada", "main", commit);
        let job = JobState { commit: commit.to_owned(), outcome, ..JobState::default() };
        record.jobs.insert("migrate".to_owned(), job);
        record
    }

    #[test]
    fn the_newest_word_about_a_job_counts_whichever_run_it_was() {
        let mut ledger = Ledger::default();
        ledger.apply(record("1", "aaaa", JobOutcome::Failed));
        ledger.apply(record("2", "aaaa", JobOutcome::Done));
        ledger.apply(record("3", "bbbb", JobOutcome::Interrupted));
        let outcome = |ledger: &Ledger, commit: &str| ledger.job("migrate", commit).map(|job| job.outcome);
        assert_eq!(outcome(&ledger, "aaaa"), Some(JobOutcome::Done));
        assert_eq!(outcome(&ledger, "bbbb"), Some(JobOutcome::Interrupted));
        assert_eq!((outcome(&ledger, "cccc"), ledger.job("other", "aaaa")), (None, None));
        ledger.apply(Record::new("2", "ada", "main", "aaaa"));
        assert_eq!(outcome(&ledger, "aaaa"), Some(JobOutcome::Done), "a later word that does not repeat it");
    }

    #[test]
    fn a_word_of_a_later_version_runs_nothing_again() {
        let job: JobState = serde_json::from_str("{\"outcome\":\"splendid\",\"more\":1}").expect("readable");
        assert_eq!((job.outcome, job.outcome.runs_again()), (JobOutcome::Unknown, false));
    }
}
