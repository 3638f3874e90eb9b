//! `facts` of the document: one part per program, written by that program alone, and read by
//! others through these types, from which the committed schemas are made, too. A part may hold
//! more than is named here: it comes out as it went in. What is named keeps its meaning, and what
//! is missing reads as "not said".

mod backup;
mod build;
mod detect;
mod health;
mod lock;
mod record;
mod rollback;
mod state;
mod verify;

pub use backup::BackupFacts;
pub use build::{Basis, BuildFacts, BuildPlan, BuiltHost, BuiltService, JobRun, Protected};
pub use detect::{Commit, DetectFacts, Dirty};
pub use health::{Finding, HealthFacts, HealthState, Moment, Neighbour, Preflight, ServiceVerdict};
pub use lock::LockFacts;
pub use record::RecordFacts;
pub use rollback::{RollbackFacts, RolledBackHost};
pub use state::ServiceState;
pub use verify::{CanaryFacts, CheckFacts, CheckVerdict, Side, Traffic, VerifyFacts};

use crate::Document;
use crate::bounds::{MAX_STRING, cut_strings};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What one program says in `facts`.
pub trait Part: Default + DeserializeOwned + Serialize {
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

    /// Writes what this program found out. What it does not name stays as it is: the words of
    /// another step of the same program, and those of a version that knows more.
    pub fn set_part<P: Part>(&mut self, part: &P) {
        let Ok(mut said) = serde_json::to_value(part) else { return };
        cut_strings(&mut said, MAX_STRING);
        let Value::Object(said) = said else { return };
        let said: Map<String, Value> = said.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let mut facts = self.facts(P::TOOL).and_then(Value::as_object).cloned().unwrap_or_default();
        facts.extend(said);
        if let Some(Value::Object(all)) = self.value.get_mut("facts") {
            all.insert(P::TOOL.to_owned(), Value::Object(facts));
        }
    }
}

/// A map whose keys are free: entries that are not of the known shape are somebody else's.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error> {
    let map = Option::<Map<String, Value>>::deserialize(deserializer)?;
    let read = |(key, value): (String, Value)| Some((key, T::deserialize(value).ok()?));
    Ok(map.map(|map| map.into_iter().filter_map(read).collect()))
}

/// A list whose entries that are not of the known shape are somebody else's.
fn known_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<Value>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().filter_map(|value| T::deserialize(value).ok()).collect()))
}

/// A value that reads as nothing where this version does not know it.
fn known_word<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
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
            "platform": {"x": more, "reached": "done", "services": {"x": more, "web": {"image_id": "sha256:1", "x": more}}},
        }}, "other": [1]});
        let doc = document(facts.clone());
        let build: BuildFacts = doc.part();
        let hosts = build.hosts.expect("hosts");
        assert_eq!(hosts["platform"].reached.as_deref(), Some("done"));
        let services = hosts["platform"].services.as_ref().expect("services");
        assert_eq!(services["web"].image_id.as_deref(), Some("sha256:1"));
        assert_eq!(doc.as_value()["facts"], facts);
    }

    #[test]
    fn a_part_that_cannot_be_understood_says_nothing() {
        let doc = document(json!({"health": {"verdict": {"of": "tomorrow"}}, "build": 7}));
        assert_eq!(doc.part::<HealthFacts>(), HealthFacts::default());
        assert_eq!(doc.part::<BuildFacts>(), BuildFacts::default());
    }

    #[test]
    fn a_program_changes_what_it_names_and_nothing_else_of_its_part() {
        let mut doc = document(json!({"health": {"preflight": {"findings": []}, "x": 1}, "build": {"y": 2}}));
        doc.set_part(&HealthFacts { verdict: Some(HealthState::Healthy), ..HealthFacts::default() });
        let wanted =
            json!({"health": {"preflight": {"findings": []}, "x": 1, "verdict": "healthy"}, "build": {"y": 2}});
        assert_eq!(doc.as_value()["facts"], wanted);
    }
}
