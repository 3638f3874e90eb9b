//! The document: one JSON object that travels through a pipe and describes one
//! deployment. It stays a `serde_json::Value` and is read through typed views, so
//! that fields this version does not know come out as they went in.

use crate::cut::{MAX_CAUSES, MAX_STRING, cut, cut_strings, with_few_reasons};
use crate::{Action, Failure, Result, RunError, Service, Stage, StageStatus, Step, Undo, time};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use uuid::Uuid;

/// The schema this version writes; a reader accepts any `cm.deployment/1.x`.
pub const SCHEMA: &str = "cm.deployment/1";

/// What the deployment has come to so far. An unknown word reads as failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Every stage so far did its work.
    Ok,
    /// A stage failed.
    Failed,
    /// A stage failed and the services were rolled back.
    RolledBack,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::RolledBack => "rolled_back",
        }
    }
}

/// One deployment, as it travels through the pipe.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) value: Map<String, Value>,
    pub(crate) tool: String,
}

impl Document {
    /// A new document for a run that `tool` starts. `CM_RUN_ID` names the run
    /// where a script wants to know its id beforehand.
    pub fn start(tool: &str, actor: &str, dry_run: bool) -> Self {
        let id = std::env::var("CM_RUN_ID").ok().and_then(|id| Uuid::parse_str(&id).ok()).unwrap_or_else(Uuid::now_v7);
        let value = json!({
            "schema": SCHEMA,
            "run": {
                "id": id.to_string(),
                "actor": actor,
                "started_at": time::now(),
                "dry_run": dry_run,
            },
            "project": null,
            "branch": null,
            "commit": null,
            "status": "ok",
            "services": [],
            "stages": [],
            "facts": {},
            "undo": [],
            "error": null,
        });
        match value {
            Value::Object(value) => Document { value, tool: tool.to_owned() },
            _ => unreachable!("json! of an object is an object"),
        }
    }

    /// The program that reads and writes this document.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        let (head, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
        let value = self.value.get(head)?;
        if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// The run's id, a UUID (v7 when cm made it).
    pub fn run_id(&self) -> &str {
        self.text("/run/id").unwrap_or_default()
    }

    /// Who deploys.
    pub fn actor(&self) -> &str {
        self.text("/run/actor").unwrap_or("unknown")
    }

    /// When the run began, RFC 3339 in UTC.
    pub fn started_at(&self) -> &str {
        self.text("/run/started_at").unwrap_or_default()
    }

    /// The project's name.
    pub fn project(&self) -> Option<&str> {
        self.text("/project")
    }

    /// The branch that is deployed.
    pub fn branch(&self) -> Option<&str> {
        self.text("/branch")
    }

    /// The full commit id that is deployed.
    pub fn commit(&self) -> Option<&str> {
        self.text("/commit")
    }

    /// Says what is deployed. Only the program that starts the run does this.
    pub fn set_target(&mut self, project: &str, branch: Option<&str>, commit: Option<&str>) {
        let bounded = |text: &str| cut(text, MAX_STRING);
        self.value.insert("project".to_owned(), bounded(project).into());
        self.value.insert("branch".to_owned(), branch.map(bounded).into());
        self.value.insert("commit".to_owned(), commit.map(bounded).into());
    }

    /// What the deployment has come to.
    pub fn status(&self) -> Status {
        match self.text("/status") {
            Some("ok") => Status::Ok,
            Some("rolled_back") => Status::RolledBack,
            _ => Status::Failed,
        }
    }

    /// Sets what the deployment has come to.
    pub fn set_status(&mut self, status: Status) {
        self.value.insert("status".to_owned(), status.as_str().into());
    }

    /// Every service of the plan, also those with nothing to do.
    pub fn services(&self) -> Vec<Service> {
        // The shape was judged when the document was read.
        self.read_services().unwrap_or_default()
    }

    /// The services that something is to be done to.
    pub fn planned(&self) -> Vec<Service> {
        self.services().into_iter().filter(|service| service.action != Action::None).collect()
    }

    /// Whether anything was changed in this run, or is about to be.
    pub fn has_changed(&self) -> bool {
        !self.undo_entries().is_empty() || self.stages().iter().any(|stage| stage.changed)
    }

    /// The hosts on which the plan changes something, in the document's order, each once.
    pub fn hosts(&self) -> Vec<String> {
        let mut known = HashSet::new();
        let hosts = self.planned().into_iter().map(|service| service.host);
        hosts.filter(|host| known.insert(host.clone())).collect()
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// [`crate::Exit::BadInput`] for more services than a reader takes.
    pub fn set_services(&mut self, services: &[Service]) -> Result<()> {
        self.value.insert("services".to_owned(), json!(with_few_reasons(services)));
        self.check_counts()
    }

    /// What another program found out; `tool` without its `cm-`.
    pub fn facts(&self, tool: &str) -> Option<&Value> {
        self.at("/facts").and_then(|facts| facts.get(tool))
    }

    /// Writes this program's own facts.
    pub fn set_facts(&mut self, mut facts: Value) {
        cut_strings(&mut facts, MAX_STRING);
        let key = self.tool.trim_start_matches("cm-").to_owned();
        if let Some(Value::Object(all)) = self.value.get_mut("facts") {
            all.insert(key, facts);
        }
    }

    /// What takes the changes back, oldest first.
    pub fn undo(&self) -> Vec<Undo> {
        // The shape was judged when the document was read.
        self.undo_entries().iter().filter_map(|entry| Undo::deserialize(entry).ok()).collect()
    }

    /// The same as it is written, with what this version does not know.
    pub fn undo_entries(&self) -> &[Value] {
        self.at("/undo").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds what takes a change back. Programs call `Run::push_undo`, which journals it first.
    pub fn push_undo(&mut self, mut entry: Value) {
        cut_strings(&mut entry, MAX_STRING);
        if let Some(Value::Array(undo)) = self.value.get_mut("undo") {
            undo.push(entry);
        }
    }

    /// What each program did, oldest first.
    pub fn stages(&self) -> Vec<Stage> {
        Stage::list(self.at("/stages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default())
    }

    /// How often a program wrote to this document.
    pub fn stage_count(&self) -> usize {
        self.at("/stages").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The newest stage of `step` that did its work.
    pub fn done(&self, step: Step) -> Option<Stage> {
        self.stages().into_iter().rev().find(|stage| stage.step == Some(step) && stage.did_its_work())
    }

    /// Appends what this program did.
    pub fn push_stage(&mut self, stage: &Stage) {
        if let Some(Value::Array(stages)) = self.value.get_mut("stages") {
            let mut stage = json!(stage);
            cut_strings(&mut stage, MAX_STRING);
            stages.push(stage);
        }
    }

    /// The error of the stage that failed first.
    pub fn error(&self) -> Option<RunError> {
        let error = self.value.get("error").filter(|error| !error.is_null())?;
        let mut error = RunError::read(error);
        if error.step.is_none() {
            let failed = self.stages().into_iter().find(|stage| stage.status == StageStatus::Failed);
            error.step = failed.and_then(|stage| stage.step);
        }
        Some(error)
    }

    /// Records that `step` failed. The first error stays: what failed later is in its stage.
    pub fn fail(&mut self, step: Step, failure: &Failure) {
        if self.error().is_none() {
            let mut error = failure.entry(&self.tool, Some(step));
            error.causes.truncate(MAX_CAUSES);
            let mut error = json!(error);
            cut_strings(&mut error, MAX_STRING);
            self.value.insert("error".to_owned(), error);
        }
        if self.status() == Status::Ok {
            self.set_status(Status::Failed);
        }
    }

    /// Forgets the failure.
    pub(crate) fn clear_error(&mut self) {
        self.value.insert("error".to_owned(), Value::Null);
        self.set_status(Status::Ok);
    }

    /// Whether this document goes on from `early`, one of the same run: only later steps have added
    /// something, so that what was true of the earlier one is true of this. An early one in which
    /// something failed has nothing that goes on from it, nor has one of a run that was interrupted.
    pub fn continues(&self, early: &Document) -> bool {
        let list =
            |doc: &Document, key: &str| doc.value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (before, now) = (list(early, "stages"), list(self, "stages"));
        let later: Vec<String> = self.stages().into_iter().skip(before.len()).map(|stage| stage.tool).collect();
        let is_later = |key: &String| later.iter().any(|tool| tool.trim_start_matches("cm-") == key);
        let facts = early.value.get("facts").and_then(Value::as_object).into_iter().flatten();
        let same = |key: &&str| self.value.get(*key) == early.value.get(*key);
        early.status() == Status::Ok
            && self.status() == Status::Ok
            && !self.is_resumed()
            && ["schema", "run", "project", "branch", "commit", "services"].iter().all(same)
            && now.starts_with(&before)
            && list(self, "undo").starts_with(&list(early, "undo"))
            && facts.filter(|(key, _)| !is_later(key)).all(|(key, value)| self.facts(key) == Some(value))
    }

    /// The document as JSON: one line, or indented for a terminal.
    pub fn to_text(&self, indented: bool) -> String {
        let text =
            if indented { serde_json::to_string_pretty(&self.value) } else { serde_json::to_string(&self.value) };
        // A map of values always serializes.
        text.unwrap_or_default() + "\n"
    }

    /// The whole document, for records that keep it.
    pub fn as_value(&self) -> Value {
        Value::Object(self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    fn sample() -> Value {
        Document::start("cm-detect", "ada", false).as_value()
    }

    fn parse(value: &Value) -> Result<Document> {
        Document::parse("cm-build", value.to_string().as_bytes())
    }

    #[test]
    fn a_started_document_reads_back() {
        let document = parse(&sample()).expect("valid");
        assert_eq!(document.status(), Status::Ok);
        assert_eq!(document.actor(), "ada");
        assert!(!document.dry_run());
    }

    #[test]
    fn an_unknown_status_reads_as_failed() {
        let mut value = sample();
        value["status"] = "splendid".into();
        assert_eq!(parse(&value).expect("valid").status(), Status::Failed);
    }

    #[test]
    fn unknown_fields_survive_in_their_order() {
        let mut value = sample();
        value["zzz"] = json!({"b": 1, "a": [1.50]});
        value["services"] = json!([{"name":"web","host":"h","action":"build","x-new":{"k":1}}]);
        let document = parse(&value).expect("valid");
        assert_eq!(document.to_text(false).trim_end(), value.to_string());
    }

    #[test]
    fn a_document_continues_one_whose_truth_is_still_its_own() {
        let mut early = parse(&sample()).expect("valid");
        early.tool = "cm-build".to_owned();
        early.set_facts(json!({"hosts": {}}));
        early.push_stage(&Stage { tool: "cm-build".to_owned(), step: Some(Step::Build), ..Stage::default() });
        let mut now = early.clone();
        assert!(now.continues(&early), "itself");
        now.tool = "cm-health".to_owned();
        now.set_facts(json!({"verdict": "healthy"}));
        now.push_undo(json!({"kind": "release"}));
        now.push_stage(&Stage { tool: "cm-health".to_owned(), step: Some(Step::Health), ..Stage::default() });
        assert!(now.continues(&early) && !early.continues(&now));
        type Change = fn(&mut Document);
        let changes: [(&str, Change); 7] = [
            ("another commit", |doc| doc.set_target("shop", None, Some("abc"))),
            ("another option", |doc| doc.set_full()),
            ("a failure", |doc| doc.set_status(Status::Failed)),
            ("a run that is resumed", |doc| doc.resume(false)),
            ("a stage that is gone", |doc| doc.value["stages"] = json!([])),
            ("facts of one that has not run since", |doc| {
                doc.tool = "cm-build".to_owned();
                doc.set_facts(json!({"hosts": {"a": {}}}));
            }),
            ("another plan", |doc| doc.value["services"] = json!([{"name": "web", "host": "a", "action": "build"}])),
        ];
        for (what, change) in changes {
            let mut other = now.clone();
            change(&mut other);
            assert!(!other.continues(&early), "{what}");
        }
    }

    #[test]
    fn the_first_error_stays() {
        let mut document = parse(&sample()).expect("valid");
        document.fail(Step::Build, &Failure::new(Exit::Build, "build.first", "one"));
        document.fail(Step::Build, &Failure::new(Exit::Backup, "backup.second", "two"));
        assert_eq!(document.error().expect("error").code, "build.first");
        assert_eq!(document.status(), Status::Failed);
    }

    #[test]
    fn a_document_from_before_stages_said_their_step_tells_it_by_their_place() {
        let text = include_bytes!("../tests/before-steps.json");
        let document = Document::parse("cm-record", text).expect("an old document");
        let steps: Vec<_> = document.stages().iter().filter_map(|stage| stage.step).collect();
        let wanted = [
            Step::Detect,
            Step::Preflight,
            Step::Backup,
            Step::Baseline,
            Step::Build,
            Step::Health,
            Step::Verify,
            Step::Rollback,
            Step::Prune,
        ];
        assert_eq!(steps, wanted);
        assert!(document.done(Step::Build).is_some_and(|stage| stage.exit.is_none()));
        assert_eq!(document.to_text(false).trim_end(), String::from_utf8_lossy(text).trim_end(), "unchanged");
    }
}
