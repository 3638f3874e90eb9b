//! The deploy event, `cm.deploy-event/1`: what the ops API stores and Slack says.
//! It holds what a reader of a timeline wants, and nothing secret.

use cm_core::facts::BackupFacts;
use cm_core::{Document, Stage, Status};
use cm_ledger::Record;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The schema of an event.
pub const SCHEMA: &str = "cm.deploy-event/1";

/// The event of a document.
pub fn of(doc: &Document) -> Value {
    let services: Vec<_> = doc
        .planned()
        .iter()
        .map(|service| json!({"name": service.name, "host": service.host, "action": service.action.word()}))
        .collect();
    let stages: Vec<_> = doc.stages().iter().map(stage).collect();
    public(json!({
        "schema": SCHEMA,
        "id": doc.run_id(),
        "project": doc.project(),
        "branch": doc.branch(),
        "commit": doc.commit(),
        "status": status(doc),
        "actor": doc.actor(),
        "started_at": doc.started_at(),
        "finished_at": cm_core::time::now(),
        "duration_s": seconds(doc),
        "services": services,
        "stages": stages,
        "error": doc.error().map(|error| json!({"stage": error.stage, "code": error.code, "message": error.message})),
        "backup": doc.part::<BackupFacts>().file,
    }))
}

/// The event of a run that was interrupted, from what a ledger holds of it. When it ended nobody knows.
pub fn of_abandoned(project: &str, record: &Record) -> Value {
    let last: Option<Timestamp> = record.at.parse().ok();
    let seconds = record.began().zip(last).map_or(0, |(began, last)| last.duration_since(began).as_secs().max(0));
    let began = record.began().map_or_else(|| record.at.clone(), |began| began.to_string());
    public(json!({
        "schema": SCHEMA,
        "id": record.id,
        "project": project,
        "branch": record.branch,
        "commit": record.commit,
        "status": "abandoned",
        "actor": record.actor,
        "started_at": began,
        "finished_at": record.at,
        "duration_s": seconds,
        "services": [],
        "stages": [],
        "error": {"stage": "cm-record", "code": "abandoned", "message": record.cause},
        "backup": record.backup,
    }))
}

/// Messages name URLs; of their queries and user info nothing leaves.
fn public(mut event: Value) -> Value {
    cm_notify::plain_all(&mut event);
    event
}

fn stage(stage: &Stage) -> Value {
    json!({
        "tool": stage.tool, "step": stage.step, "status": stage.status, "duration_ms": stage.duration_ms, "summary": stage.summary,
    })
}

/// The outcome in one word.
pub fn status(doc: &Document) -> &'static str {
    match doc.status() {
        Status::Ok => "succeeded",
        Status::Failed => "failed",
        Status::RolledBack => "rolled_back",
    }
}

/// Seconds since the run began.
pub fn seconds(doc: &Document) -> i64 {
    let began: Option<Timestamp> = doc.started_at().parse().ok();
    began.map_or(0, |began| Timestamp::now().duration_since(began).as_secs().max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_urls_hold_beside_host_and_path_is_not_in_an_event() {
        let said = "https://ada:s3cret@shop.example/health?token=s3cret answered 500";
        let mut value = Document::start("cm-verify", "ada", false).as_value();
        value["status"] = "failed".into();
        value["error"] = json!({"stage": "cm-verify", "code": "verify.failed", "message": said, "causes": [], "hint": null, "retryable": false, "exit": 50});
        value["stages"] = json!([{"tool": "cm-verify", "version": "0", "status": "failed", "exit": 50, "changed": false, "started_at": "", "duration_ms": 1, "summary": said}]);
        let event = of(&Document::parse("cm-record", value.to_string().as_bytes()).expect("valid"));
        assert_eq!(event["error"]["message"], "https://shop.example/health answered 500");
        assert_eq!(event["stages"][0]["summary"], "https://shop.example/health answered 500");
        let record = Record { cause: Some(said.to_owned()), ..Record::new("1", "ada", "main", "c") };
        assert_eq!(of_abandoned("shop", &record)["error"]["message"], "https://shop.example/health answered 500");
    }
}
