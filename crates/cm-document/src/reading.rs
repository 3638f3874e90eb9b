//! Reading a document: what comes in is judged before anything else happens. Exactly one JSON
//! object of a known schema, whose fields that every program relies on have the right type; the
//! rest is free, and comes out as it went in.

use crate::document::SCHEMA;
use crate::{
    BranchName, CommitId, Document, Exit, Failure, HostName, OrFail, ProjectName, Result, Service, ServiceName, Undo,
    cut, parse_strict,
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// The largest document a program reads, in bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What to do about a document that cannot be read.
const FORMAT: &str = "pipe in the output of another cm program; cm-document(5) describes it";

impl Document {
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
        document.check_counts()?;
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
        self.check_names()
    }

    /// No name says a path, an option or a revision.
    fn check_names(&self) -> Result<()> {
        known(ProjectName::WHAT, self.project(), |text| ProjectName::new(text).is_some())?;
        known(BranchName::WHAT, self.branch(), |text| BranchName::new(text).is_some())?;
        known(CommitId::WHAT, self.commit(), |text| CommitId::new(text).is_some())?;
        for service in self.read_services()? {
            known(ServiceName::WHAT, Some(&service.name), |text| ServiceName::new(text).is_some())?;
            known(HostName::WHAT, Some(&service.host), |text| HostName::new(text).is_some())?;
            known(CommitId::WHAT, service.base.as_deref(), |text| CommitId::new(text).is_some())?;
        }
        self.undo_entries().iter().try_for_each(check_undo)
    }

    pub(crate) fn read_services(&self) -> Result<Vec<Service>> {
        let list = self.value.get("services").cloned().unwrap_or_default();
        serde_json::from_value(list).map_err(|error| {
            bad("input.services", "the document's \"services\" cannot be read").cause(error).hint(FORMAT)
        })
    }
}

/// Refuses a name that breaks its rules; what is not said breaks none.
fn known(what: &str, name: Option<&str>, rule: impl Fn(&str) -> bool) -> Result<()> {
    match name {
        Some(name) if !rule(name) => {
            let name = cut(name, 100);
            Err(bad("input.name", format!("the document says {name:?}, which is not {what}")).hint(FORMAT))
        }
        _ => Ok(()),
    }
}

fn check_undo(entry: &Value) -> Result<()> {
    known(HostName::WHAT, entry["host"].as_str(), |text| HostName::new(text).is_some())?;
    for commit in ["from", "to"] {
        let said = entry[commit].as_str().filter(|said| !said.is_empty());
        known(CommitId::WHAT, said, |text| CommitId::new(text).is_some())?;
    }
    let services = entry["services"].as_object().into_iter().flatten();
    services
        .map(|(name, _)| name)
        .try_for_each(|name| known(ServiceName::WHAT, Some(name), |text| ServiceName::new(text).is_some()))?;
    let message = "the document's \"undo\" cannot be read";
    Undo::deserialize(entry).or_fail(Exit::BadInput, "input.shape", message).map_err(|failure| failure.hint(FORMAT))?;
    Ok(())
}

fn bad(code: &str, message: impl Into<String>) -> Failure {
    Failure::new(Exit::BadInput, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        Document::start("cm-detect", "ada", false).as_value()
    }

    fn parse(value: &Value) -> Result<Document> {
        Document::parse("cm-build", value.to_string().as_bytes())
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
    fn an_action_this_version_does_not_know_is_refused() {
        let mut value = sample();
        value["services"] = json!([{"name":"web","host":"h","action":"explode"}]);
        assert_eq!(parse(&value).expect_err("action").code, "input.services");
    }

    #[test]
    fn names_that_could_be_paths_options_or_revisions_are_refused() {
        let service = |name: &str, host: &str| json!([{"name": name, "host": host, "action": "build"}]);
        let cases = [
            ("project", json!("../../../victim")),
            ("branch", json!("--upload-pack=x")),
            ("commit", json!("HEAD")),
            ("commit", json!("")),
            ("services", service("--help", "h")),
            ("services", service("web", "../h")),
            ("undo", json!([{"kind": "release", "host": "h", "from": "HEAD~1"}])),
            ("undo", json!([{"kind": "release", "host": "h", "services": {"--help": {}}}])),
        ];
        for (field, said) in cases {
            let mut value = sample();
            value[field] = said;
            let failure = parse(&value).expect_err(field);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "input.name"), "{field}");
        }
    }
}
