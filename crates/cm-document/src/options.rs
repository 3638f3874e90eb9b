//! What steers a whole run, and travels in the document's `run`: whether it only plans, what it
//! leaves out, whether it builds everything from scratch, whether it was interrupted before.
//! Words that this version does not know are left alone, and leave nothing out.

use crate::{Document, Exit, Stage, Status, Step};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// What a run leaves out.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// The push of the commit.
    Push,
    /// The backup of the database.
    Backup,
    /// The canary, and what is measured for it before the build.
    Canary,
    /// The checks from outside.
    Verify,
    /// The removal of old images.
    Prune,
}

impl Skip {
    /// Everything that can be left out.
    pub const ALL: [Skip; 5] = [Skip::Push, Skip::Backup, Skip::Canary, Skip::Verify, Skip::Prune];

    /// The word in the document and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Skip::Push => "push",
            Skip::Backup => "backup",
            Skip::Canary => "canary",
            Skip::Verify => "verify",
            Skip::Prune => "prune",
        }
    }

    /// The one with this word.
    pub fn named(word: &str) -> Option<Skip> {
        Skip::ALL.into_iter().find(|skip| skip.as_str() == word)
    }

    /// What leaves a whole step out. Verification is two halves, and looks for itself.
    fn of(step: Step) -> Option<Skip> {
        match step {
            Step::Push => Some(Skip::Push),
            Step::Backup => Some(Skip::Backup),
            Step::Baseline => Some(Skip::Canary),
            Step::Prune => Some(Skip::Prune),
            _ => None,
        }
    }
}

impl Document {
    fn set_run(&mut self, key: &str, value: Value) {
        if let Some(Value::Object(run)) = self.value.get_mut("run") {
            run.insert(key.to_owned(), value);
        }
    }

    /// Whether this run only plans. It travels: once set it stays set.
    pub fn dry_run(&self) -> bool {
        self.at("/run/dry_run").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Makes the run a dry run; there is no way back.
    pub fn set_dry_run(&mut self) {
        self.set_run("dry_run", true.into());
    }

    /// Whether everything is built again without a cache, and replaced.
    pub fn full(&self) -> bool {
        self.at("/run/full") == Some(&Value::Bool(true))
    }

    /// Makes the run one that builds everything again.
    pub fn set_full(&mut self) {
        self.set_run("full", true.into());
    }

    /// Whether the run leaves `what` out.
    pub fn skips(&self, what: Skip) -> bool {
        let words = self.at("/run/skip").and_then(Value::as_array).into_iter().flatten();
        words.filter_map(Value::as_str).any(|word| word == what.as_str())
    }

    /// What leaves this step out, if anything does.
    pub fn skip_of(&self, step: Step) -> Option<Skip> {
        Skip::of(step).filter(|what| self.skips(*what))
    }

    /// Leaves `what` out, here and in every later program.
    pub fn skip(&mut self, what: Skip) {
        if self.skips(what) {
            return;
        }
        let mut words = self.at("/run/skip").and_then(Value::as_array).cloned().unwrap_or_default();
        words.push(what.as_str().into());
        self.set_run("skip", json!(words));
    }

    /// Whether the run was interrupted and resumes from its journal.
    pub fn is_resumed(&self) -> bool {
        self.at("/run/resumed") == Some(&Value::Bool(true))
    }

    /// Says that the run was interrupted and resumes. A failure that says nothing about the
    /// release, such as a lost lock or a lost connection, goes: its step is done again. Where
    /// going back had begun, the release stays a failed one.
    pub fn resume(&mut self, was_going_back: bool) {
        self.set_run("resumed", true.into());
        let is_of_the_run = |exit: Exit| {
            exit.is_no_verdict() || matches!(exit, Exit::Unreachable | Exit::Interrupted | Exit::Terminated)
        };
        match self.error() {
            Some(error) if !was_going_back && is_of_the_run(error.exit()) => self.clear_error(),
            None if was_going_back && self.status() == Status::Ok => self.set_status(Status::Failed),
            _ => {}
        }
    }

    /// Whether this run was past `step` before it was interrupted: the step, or a later one,
    /// ended without a failure.
    pub fn is_past(&self, step: Step) -> bool {
        let ended = |stage: &Stage| stage.did_its_work() || stage.was_skipped();
        let later = |stage: &Stage| stage.step.is_some_and(|other| other.is_done_once() && other >= step);
        self.is_resumed() && step.is_done_once() && self.stages().iter().any(|stage| later(stage) && ended(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, StageStatus};

    fn document() -> Document {
        Document::start("cm-detect", "ada", false)
    }

    #[test]
    fn what_is_left_out_is_said_once_and_words_of_tomorrow_stay() {
        let mut value = document().as_value();
        value["run"]["skip"] = json!(["teleport", "backup", 7]);
        let mut doc = Document::parse("cm-build", value.to_string().as_bytes()).expect("valid");
        doc.skip(Skip::Backup);
        doc.skip(Skip::Canary);
        assert_eq!(doc.as_value()["run"]["skip"], json!(["teleport", "backup", 7, "canary"]));
        let left_out: Vec<_> = Step::ALL.into_iter().filter(|step| doc.skip_of(*step).is_some()).collect();
        assert_eq!(left_out, [Step::Backup, Step::Baseline]);
    }

    #[test]
    fn a_resumed_run_is_past_what_ended_and_all_before_it() {
        let mut doc = document();
        let stage =
            |step, status, exit: Exit| Stage { step: Some(step), status, exit: Some(exit.code()), ..Stage::default() };
        doc.push_stage(&stage(Step::Detect, StageStatus::Ok, Exit::Done));
        doc.push_stage(&stage(Step::Build, StageStatus::Warned, Exit::Done));
        doc.push_stage(&stage(Step::Health, StageStatus::Skipped, Exit::Refused));
        doc.push_stage(&stage(Step::Verify, StageStatus::Failed, Exit::VerifyFailed));
        assert!(!doc.is_past(Step::Detect), "it was not interrupted");
        doc.resume(false);
        let past: Vec<_> = Step::ALL.into_iter().filter(|step| doc.is_past(*step)).collect();
        assert_eq!(past, [Step::Detect, Step::Push, Step::Preflight, Step::Backup, Step::Baseline, Step::Build]);
    }

    #[test]
    fn a_resumed_run_keeps_only_a_failure_of_its_release() {
        for exit in Exit::ALL.into_iter().filter(|exit| exit.code() != 0) {
            let mut doc = document();
            doc.fail(Step::Record, &Failure::new(exit, "some.code", "why"));
            let mut going_back = doc.clone();
            doc.resume(false);
            let is_gone = matches!(exit.code(), 7 | 11 | 41 | 51 | 130 | 143);
            assert_eq!((doc.error().is_none(), doc.status() == Status::Ok), (is_gone, is_gone), "{exit:?}");
            going_back.resume(true);
            assert!(going_back.error().is_some() && going_back.status() == Status::Failed, "{exit:?}");
        }
        let mut killed = document();
        killed.resume(true);
        assert_eq!(killed.status(), Status::Failed, "what had begun to go back is not called good");
    }
}
