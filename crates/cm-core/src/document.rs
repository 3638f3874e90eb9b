//! The document: one JSON object that travels through a pipe and describes one
//! deployment. It stays a `serde_json::Value` and is read through typed views, so
//! that fields this version does not know come out as they went in.

use crate::{Exit, Failure, Result, json::parse_strict, time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The schema this version writes; a reader accepts any `cm.deployment/1.x`.
pub const SCHEMA: &str = "cm.deployment/1";

/// The largest document a program reads, in bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What to do about a document that cannot be read.
const FORMAT: &str = "pipe in the output of another cm program; cm-document(5) describes it";

/// What the deployment has come to so far. An unknown word reads as failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Every stage so far did its work.
    Ok,
    /// A stage failed.
    Failed,
    /// A stage failed and the services were taken back.
    RolledBack,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::RolledBack => "rolled_back",
        }
    }
}

/// What is to be done to a service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is not touched.
    None,
    /// Read its configuration again without a restart.
    Reload,
    /// Restart the container that is there.
    Restart,
    /// Replace the container, keep the image.
    Recreate,
    /// Build the image and replace the container.
    Build,
    /// Remove the container: the service is gone from the compose file.
    Remove,
}

impl Action {
    /// The word in the document.
    pub fn word(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Reload => "reload",
            Action::Restart => "restart",
            Action::Recreate => "recreate",
            Action::Build => "build",
            Action::Remove => "remove",
        }
    }
}

/// Why a service is in the plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Reason {
    /// The changed path, relative to the repository's root; empty where no single path is the reason.
    pub path: String,
    /// The rule that led from the path to the service, such as `dockerfile-copy`.
    pub rule: String,
}

/// One service of the plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Service {
    /// Its name in the compose file.
    pub name: String,
    /// The host it runs on, by its name in `cm.toml`.
    pub host: String,
    /// What is to be done.
    pub action: Action,
    /// The commit it runs now; `None` if nothing is known to run.
    #[serde(default)]
    pub base: Option<String>,
    /// Why.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StageStatus {
    /// It did its work.
    Ok,
    /// It did its work and saw something people should know.
    Warned,
    /// It failed.
    Failed,
    /// It did nothing, on purpose.
    Skipped,
}

impl StageStatus {
    fn word(self) -> &'static str {
        match self {
            StageStatus::Ok => "ok",
            StageStatus::Warned => "warned",
            StageStatus::Failed => "failed",
            StageStatus::Skipped => "skipped",
        }
    }
}

/// One deployment, as it travels through the pipe.
#[derive(Clone, Debug)]
pub struct Document {
    value: Map<String, Value>,
    tool: String,
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

    /// Reads a document that came to `tool` on stdin.
    ///
    /// # Errors
    /// [`Exit::BadInput`] for anything that is not exactly one document of a known schema.
    pub fn parse(tool: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(bad(
                "input.too-large",
                format!("the document on stdin is larger than {} MiB", MAX_BYTES >> 20),
            ));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(bad("input.empty", "stdin was a pipe, but nothing came through it")
                .hint("the program before this one failed or was killed; look at its messages. To start without a document, use </dev/null"));
        }
        let value = parse_strict(bytes).map_err(|error| {
            bad("input.not-json", "stdin is not one JSON document")
                .cause(&error)
                .hint("pipe in the output of another cm program; a cut document means that it was interrupted")
        })?;
        let Value::Object(value) = value else {
            return Err(bad("input.not-a-document", "stdin is JSON, but not an object"));
        };
        let document = Document { value, tool: tool.to_owned() };
        document.check_schema()?;
        document.check_shape()?;
        Ok(document)
    }

    fn check_schema(&self) -> Result<()> {
        let schema = self.value.get("schema").and_then(Value::as_str);
        let known =
            schema.is_some_and(|s| s == SCHEMA || s.strip_prefix(SCHEMA).is_some_and(|rest| rest.starts_with('.')));
        match schema {
            _ if known => Ok(()),
            Some(other) => {
                Err(bad("input.schema", format!("the document's schema is {other:?}, this program reads {SCHEMA:?}"))
                    .hint("use programs of one version in one pipe; `--version` tells"))
            }
            None => Err(bad("input.schema", format!("the document has no \"schema\"; this program reads {SCHEMA:?}"))
                .hint(FORMAT)),
        }
    }

    /// The fields every program relies on have the right type; the rest is free.
    fn check_shape(&self) -> Result<()> {
        let wrong = |field: &str, wanted: &str| {
            Err(bad("input.shape", format!("the document's {field:?} is not {wanted}")).hint(FORMAT))
        };
        let text = |path: &str| self.at(path).and_then(Value::as_str);
        match text("/run/id") {
            // The id names a directory of the journal: nothing but a UUID will do.
            Some(id) if Uuid::parse_str(id).is_ok() => {}
            _ => return wrong("run.id", "a UUID"),
        }
        if !self.at("/run/dry_run").is_some_and(Value::is_boolean) {
            return wrong("run.dry_run", "true or false");
        }
        for (field, optional) in [("status", false), ("project", true), ("branch", true), ("commit", true)] {
            match self.value.get(field) {
                Some(Value::String(_)) => {}
                None | Some(Value::Null) if optional => {}
                _ => return wrong(field, "a string"),
            }
        }
        for field in ["services", "stages", "undo"] {
            if !self.value.get(field).is_some_and(Value::is_array) {
                return wrong(field, "a list");
            }
        }
        if !self.value.get("facts").is_some_and(Value::is_object) {
            return wrong("facts", "an object");
        }
        self.read_services().map(drop)
    }

    /// The program that reads and writes this document.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
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

    /// Whether this run only plans. It travels: once set it stays set.
    pub fn dry_run(&self) -> bool {
        self.at("/run/dry_run").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Makes the run a dry run; there is no way back.
    pub fn set_dry_run(&mut self) {
        if let Some(Value::Object(run)) = self.value.get_mut("run") {
            run.insert("dry_run".to_owned(), Value::Bool(true));
        }
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
        self.value.insert("project".to_owned(), project.into());
        self.value.insert("branch".to_owned(), branch.into());
        self.value.insert("commit".to_owned(), commit.into());
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
        self.value.insert("status".to_owned(), status.word().into());
    }

    fn read_services(&self) -> Result<Vec<Service>> {
        let list = self.value.get("services").cloned().unwrap_or_default();
        serde_json::from_value(list).map_err(|error| {
            bad("input.services", "the document's \"services\" cannot be read").cause(error).hint(FORMAT)
        })
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
        !self.undo().is_empty() || self.stages().iter().any(|stage| stage["changed"] == true)
    }

    /// The hosts on which the plan changes something, in the document's order, each once.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        for service in self.services() {
            if service.action != Action::None && !hosts.contains(&service.host) {
                hosts.push(service.host);
            }
        }
        hosts
    }

    /// Writes the plan.
    pub fn set_services(&mut self, services: &[Service]) {
        self.value.insert("services".to_owned(), json!(services));
    }

    /// What another program found out; `tool` without its `cm-`.
    pub fn facts(&self, tool: &str) -> Option<&Value> {
        self.at("/facts").and_then(|facts| facts.get(tool))
    }

    /// Writes this program's own facts.
    pub fn set_facts(&mut self, facts: Value) {
        let key = self.tool.trim_start_matches("cm-").to_owned();
        if let Some(Value::Object(all)) = self.value.get_mut("facts") {
            all.insert(key, facts);
        }
    }

    /// What takes the changes back, oldest first.
    pub fn undo(&self) -> &[Value] {
        self.at("/undo").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn push_undo(&mut self, entry: Value) {
        if let Some(Value::Array(undo)) = self.value.get_mut("undo") {
            undo.push(entry);
        }
    }

    /// The entries of `stages`, oldest first.
    pub fn stages(&self) -> &[Value] {
        self.at("/stages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn push_stage(&mut self, stage: Stage) {
        if let Some(Value::Array(stages)) = self.value.get_mut("stages") {
            stages.push(json!({
                "tool": self.tool,
                "version": env!("CARGO_PKG_VERSION"),
                "status": stage.status.word(),
                "changed": stage.changed,
                "started_at": stage.started_at,
                "duration_ms": stage.duration_ms,
                "summary": stage.summary,
            }));
        }
    }

    /// The error of the stage that failed first.
    pub fn error(&self) -> Option<&Value> {
        self.at("/error").filter(|error| !error.is_null())
    }

    /// Records a failure. The first error stays: what failed later is in its stage.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.error().is_none() {
            let error = failure.to_json(&self.tool);
            self.value.insert("error".to_owned(), error);
        }
        if self.status() == Status::Ok {
            self.set_status(Status::Failed);
        }
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

/// What a stage leaves in `stages`.
pub(crate) struct Stage {
    pub status: StageStatus,
    pub changed: bool,
    pub started_at: String,
    pub duration_ms: u64,
    pub summary: String,
}

fn bad(code: &str, message: impl Into<String>) -> Failure {
    Failure::new(Exit::BadInput, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_newer_minor_is_read_and_another_major_is_not() {
        let mut value = sample();
        value["schema"] = "cm.deployment/1.7".into();
        assert!(parse(&value).is_ok());
        for schema in ["cm.deployment/2", "cm.deployment/10", "other/1", ""] {
            value["schema"] = schema.into();
            let failure = parse(&value).expect_err(schema);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "input.schema"));
        }
    }

    #[test]
    fn a_run_id_that_is_no_uuid_is_refused() {
        let mut value = sample();
        value["run"]["id"] = "../../etc/passwd".into();
        assert_eq!(parse(&value).expect_err("path").code, "input.shape");
    }

    #[test]
    fn the_first_error_stays() {
        let mut document = parse(&sample()).expect("valid");
        document.fail(&Failure::new(Exit::Build, "build.first", "one"));
        document.fail(&Failure::new(Exit::Backup, "backup.second", "two"));
        assert_eq!(document.error().expect("error")["code"], "build.first");
        assert_eq!(document.status(), Status::Failed);
    }

    #[test]
    fn an_action_this_version_does_not_know_is_refused() {
        let mut value = sample();
        value["services"] = json!([{"name":"web","host":"h","action":"explode"}]);
        assert_eq!(parse(&value).expect_err("action").code, "input.services");
    }
}
