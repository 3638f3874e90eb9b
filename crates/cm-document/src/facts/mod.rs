//! `facts` of the document: one part per program, written by that program alone, and read by
//! others through these types, from which the committed schemas are made, too. A part may hold
//! more than is named here: it comes out as it went in. What is named keeps its meaning, and what
//! is missing reads as "not said". Where a part says null for "there is none", its field is an
//! option of an option: left out, null, or a value.

mod backup;
mod build;
mod detect;
mod effective;
mod health;
mod job;
mod lock;
mod record;
mod rollback;
mod state;
mod verify;

pub use backup::{BackupFacts, CopyState, contents};
pub use build::{Basis, BuildFacts, BuildPlan, BuiltHost, BuiltService, JobRun, Protected, Reached, ServiceCanary};
pub use detect::{Bases, Commit, DetectFacts, Dirty};
pub use effective::{EffectiveHost, EffectiveService, External};
pub use health::{
    Finding, HealthFacts, HealthState, Moment, OtherService, Preflight, PreflightHost, Room, ServiceVerdict, Unhealthy,
    Weight,
};
pub use job::JobOutcome;
pub use lock::LockFacts;
pub use record::{RecordFacts, RecordedEvent};
pub use rollback::{RollbackFacts, RolledBackHost, RunsNow};
pub use state::ServiceState;
pub use verify::{
    Baseline, CanaryReport, CanaryVerdict, CheckResult, CheckVerdict, Samples, Side, Traffic, VerifyFacts, WouldAsk,
};

use crate::cut::{MAX_STRING, cut_strings};
use crate::{Document, Exit, OrFail};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one program says in `facts`.
pub trait Part: Default + DeserializeOwned + JsonSchema + Serialize {
    /// Its key: the program's name without `cm-`.
    const TOOL: &'static str;
}

/// What the programs found out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Facts {
    /// Of cm-lock acquire.
    pub lock: Option<LockFacts>,
    /// Of cm-detect.
    pub detect: Option<DetectFacts>,
    /// Of cm-backup.
    pub backup: Option<BackupFacts>,
    /// Of cm-build.
    pub build: Option<BuildFacts>,
    /// Of cm-health, with --preflight too.
    pub health: Option<HealthFacts>,
    /// Of cm-verify.
    pub verify: Option<VerifyFacts>,
    /// Of cm-rollback.
    pub rollback: Option<RollbackFacts>,
    /// Of cm-record.
    pub record: Option<RecordFacts>,
}

impl Document {
    /// What a program found out, as far as this version knows its words; nothing where it said
    /// nothing, or something that cannot be understood.
    pub fn part<P: Part>(&self) -> P {
        self.facts(P::TOOL).and_then(|facts| P::deserialize(facts).ok()).unwrap_or_default()
    }

    /// What a program found out, for who must know all of it: what is there and cannot be understood
    /// is no answer.
    ///
    /// # Errors
    /// [`Exit::BadInput`].
    pub fn whole_part<P: Part>(&self) -> crate::Result<P> {
        let read = self.facts(P::TOOL).map(P::deserialize).transpose();
        let message = format!("facts.{} of the document cannot be read", P::TOOL);
        Ok(read.or_fail(Exit::BadInput, "input.shape", message)?.unwrap_or_default())
    }

    /// Writes what this program found out, in place of what it said before. What this version does
    /// not know stays as it is.
    pub fn set_part<P: Part>(&mut self, part: &P) {
        let known = schemars::schema_for!(P);
        let known = known.get("properties").and_then(Value::as_object);
        if let Some(Value::Object(said)) = self.value.get_mut("facts").and_then(|facts| facts.get_mut(P::TOOL)) {
            said.retain(|key, _| !known.is_some_and(|known| known.contains_key(key)));
        }
        self.add_part(part);
    }

    /// Adds what this step found out to what an earlier step of the same program said.
    pub fn add_part<P: Part>(&mut self, part: &P) {
        let Ok(mut added) = serde_json::to_value(part) else { return };
        cut_strings(&mut added, MAX_STRING);
        let (Value::Object(added), Some(Value::Object(all))) = (added, self.value.get_mut("facts")) else { return };
        match all.get_mut(P::TOOL) {
            Some(Value::Object(said)) => said.extend(added),
            _ => drop(all.insert(P::TOOL.to_owned(), Value::Object(added))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(facts: Value) -> Document {
        let mut value = Document::start("cm-health", "ada", false).as_value();
        value["facts"] = facts;
        Document::parse("cm-health", value.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn what_another_version_adds_is_passed_over_and_stays() {
        let more = json!({"deep": [1.5, null]});
        let facts = json!({"build": {"x": more, "hosts": {
            "x": more,
            "platform": {"x": more, "reached": "done", "services": {"x": more, "y": 7, "web": {"image_id": "sha256:1", "x": more}}},
        }, "pruned": {"x": more, "platform": ["b"]}}, "other": [1]});
        let doc = document(facts.clone());
        let build: BuildFacts = doc.part();
        let hosts = build.hosts.expect("hosts");
        assert_eq!(hosts["platform"].reached, Some(Reached::Done));
        let services = hosts["platform"].services.as_ref().expect("services");
        assert_eq!((hosts.len(), services.len(), build.pruned.map(|pruned| pruned.len())), (1, 1, Some(1)));
        assert_eq!(services["web"].image_id.as_deref(), Some("sha256:1"));
        assert_eq!(doc.as_value()["facts"], facts);
    }

    #[test]
    fn a_part_that_cannot_be_understood_says_nothing() {
        let doc = document(json!({"health": {"verdict": {"of": "tomorrow"}}, "build": 7}));
        assert_eq!(doc.part::<HealthFacts>(), HealthFacts::default());
        let unreadable =
            json!({"health": {"verdict": "healthy", "services": [{"host": "one", "state": "healthy"}, {"host": 1}]}});
        assert_eq!(document(unreadable).part::<HealthFacts>(), HealthFacts::default(), "a part of it is no answer");
        assert_eq!(doc.part::<BuildFacts>(), BuildFacts::default());
    }

    #[test]
    fn a_step_adds_to_what_its_program_said_and_changes_no_other_part() {
        let mut doc = document(json!({"health": {"preflight": {"findings": []}, "x": 1}, "build": {"y": 2}}));
        doc.add_part(&HealthFacts { verdict: Some(HealthState::Healthy), ..HealthFacts::default() });
        let wanted =
            json!({"health": {"preflight": {"findings": []}, "x": 1, "verdict": "healthy"}, "build": {"y": 2}});
        assert_eq!(doc.as_value()["facts"], wanted);
    }

    #[test]
    fn what_a_program_says_takes_the_place_of_what_it_said_but_for_what_it_does_not_know() {
        let mut doc = document(json!({"lock": {"nonce": "n", "x": {"deep": null}, "hosts": ["one"]}, "verify": 7}));
        doc.set_part(&LockFacts { released: Some("n".to_owned()), ..LockFacts::default() });
        doc.set_part(&VerifyFacts { verdict: Some(None), checks: Some(Vec::new()), ..VerifyFacts::default() });
        let wanted = json!({"lock": {"x": {"deep": null}, "released": "n"}, "verify": {"verdict": null, "checks": []}});
        assert_eq!(doc.as_value()["facts"], wanted);
        let read: VerifyFacts = doc.part();
        assert_eq!((read.verdict, read.canary), (Some(None), None), "null is not the same as left out");
    }
}
