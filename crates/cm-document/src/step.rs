//! The steps of a deployment, in the order of the runbook. One program can be several steps
//! (`cm-health` looks at the servers before a deployment and at the services after it), so a
//! stage of the document says which one it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One step of a deployment. Steps compare by the runbook's order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The deploy lock is taken, or looked at.
    Lock,
    /// The services that change are found.
    Detect,
    /// The commit is pushed to the remote.
    Push,
    /// The servers are looked at before anything changes.
    Preflight,
    /// The database is backed up.
    Backup,
    /// What runs until now is measured, for the canary.
    Baseline,
    /// The checkout is moved, images are built, containers replaced.
    Build,
    /// The services are watched until they are healthy.
    Health,
    /// The deployment is verified from outside.
    Verify,
    /// What failed is rolled back.
    Rollback,
    /// Old images are removed.
    Prune,
    /// The outcome is recorded, and people are told.
    Record,
    /// The deploy lock is given back.
    Unlock,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 13] = [
        Step::Lock,
        Step::Detect,
        Step::Push,
        Step::Preflight,
        Step::Backup,
        Step::Baseline,
        Step::Build,
        Step::Health,
        Step::Verify,
        Step::Rollback,
        Step::Prune,
        Step::Record,
        Step::Unlock,
    ];

    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Lock => "lock",
            Step::Detect => "detect",
            Step::Push => "push",
            Step::Preflight => "preflight",
            Step::Backup => "backup",
            Step::Baseline => "baseline",
            Step::Build => "build",
            Step::Health => "health",
            Step::Verify => "verify",
            Step::Rollback => "rollback",
            Step::Prune => "prune",
            Step::Record => "record",
            Step::Unlock => "unlock",
        }
    }

    /// The step with this word; `None` for one of a version that knows more.
    pub fn named(word: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.as_str() == word)
    }

    /// Whether a run that is resumed after this step was done leaves it out. What rolls back,
    /// records and holds the lock looks at every document.
    pub fn is_done_once(self) -> bool {
        !matches!(self, Step::Lock | Step::Rollback | Step::Record | Step::Unlock)
    }

    /// The step that a stage of `tool` was in a document from before stages said it: its
    /// place in the pipe tells, `earlier` being the steps of the stages before it.
    pub(crate) fn guessed(tool: &str, earlier: &[Option<Step>]) -> Option<Step> {
        let built = earlier.contains(&Some(Step::Build));
        Some(match tool {
            "cm-lock" if built => Step::Unlock,
            "cm-lock" => Step::Lock,
            "cm-detect" => Step::Detect,
            "cm-backup" => Step::Backup,
            "cm-health" if built => Step::Health,
            "cm-health" => Step::Preflight,
            "cm-verify" if built => Step::Verify,
            "cm-verify" => Step::Baseline,
            "cm-build" if built => Step::Prune,
            "cm-build" => Step::Build,
            "cm-rollback" => Step::Rollback,
            "cm-record" => Step::Record,
            _ => return None,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn steps_are_in_the_runbooks_order_and_their_words_are_those_of_json() {
        assert!(Step::ALL.is_sorted());
        for step in Step::ALL {
            assert_eq!(serde_json::json!(step), step.as_str());
            assert_eq!(Step::named(step.as_str()), Some(step));
        }
        assert_eq!(Step::named("teleport"), None);
    }

    #[test]
    fn a_stage_that_does_not_say_its_step_has_that_of_its_place_in_the_pipe() {
        let pipe = [
            ("cm-detect", "detect"),
            ("cm-health", "preflight"),
            ("cm-backup", "backup"),
            ("cm-verify", "baseline"),
            ("cm-build", "build"),
            ("cm-health", "health"),
            ("cm-verify", "verify"),
            ("cm-rollback", "rollback"),
            ("cm-build", "prune"),
            ("cm-record", "record"),
        ];
        let mut earlier = Vec::new();
        for (tool, wanted) in pipe {
            let step = Step::guessed(tool, &earlier);
            assert_eq!(step, Step::named(wanted), "{tool}");
            earlier.push(step);
        }
        assert_eq!(Step::guessed("cm-teleport", &earlier), None);
    }
}
