//! The deploy event, `cm.deploy-event/1`: what the ops API stores and Slack says.
//! It holds what a reader of a timeline wants, and nothing secret.

use cm_core::facts::BackupFacts;
use cm_core::{
    Document, EVENT_SCHEMA, Event, EventError, EventService, EventStage, EventStatus, RunError, Stage, Status,
};
use cm_ledger::Record;
use jiff::Timestamp;

/// The event of a document.
pub fn of(doc: &Document) -> Event {
    let services = doc.planned().into_iter().map(|service| EventService {
        name: service.name,
        host: service.host,
        action: service.action,
    });
    let error = |error: RunError| EventError { stage: error.stage, code: error.code, message: error.message };
    let made: BackupFacts = doc.part();
    public(Event {
        schema: EVENT_SCHEMA.to_owned(),
        id: doc.run_id().to_owned(),
        project: doc.project().map(str::to_owned),
        branch: doc.branch().map(str::to_owned),
        commit: doc.commit().map(str::to_owned),
        status: status(doc),
        actor: doc.actor().to_owned(),
        started_at: doc.started_at().to_owned(),
        finished_at: cm_core::time::now(),
        duration_s: seconds(doc),
        services: services.collect(),
        stages: doc.stages().into_iter().map(stage).collect(),
        error: doc.error().map(error),
        backup: made.file.clone(),
        backups: several(made.each().into_iter().filter_map(|one| one.file.clone())),
    })
}

/// The event of a run that was interrupted, from what a ledger holds of it. When it ended nobody knows.
pub fn of_abandoned(project: &str, record: &Record) -> Event {
    let last: Option<Timestamp> = record.at.parse().ok();
    let seconds = record.began().zip(last).map_or(0, |(began, last)| last.duration_since(began).as_secs().max(0));
    let began = record.began().map_or_else(|| record.at.clone(), |began| began.to_string());
    public(Event {
        schema: EVENT_SCHEMA.to_owned(),
        id: record.id.clone(),
        project: Some(project.to_owned()),
        branch: Some(record.branch.clone()),
        commit: Some(record.commit.clone()),
        status: EventStatus::Abandoned,
        actor: record.actor.clone(),
        started_at: began,
        finished_at: record.at.clone(),
        duration_s: seconds.unsigned_abs(),
        services: Vec::new(),
        stages: Vec::new(),
        error: Some(EventError {
            stage: "cm-record".to_owned(),
            code: "abandoned".to_owned(),
            message: record.cause.clone().unwrap_or_default(),
        }),
        backup: record.backup.clone(),
        backups: several(record.backups.iter().map(|one| one.place.clone())),
    })
}

/// One is named without a list.
fn several(files: impl Iterator<Item = String>) -> Vec<String> {
    let files: Vec<_> = files.collect();
    if files.len() > 1 { files } else { Vec::new() }
}

/// Messages name URLs; of their queries and user info nothing leaves.
fn public(mut event: Event) -> Event {
    let texts = event.stages.iter_mut().flat_map(|stage| [&mut stage.tool, &mut stage.summary]);
    let texts =
        texts.chain(event.error.iter_mut().flat_map(|error| [&mut error.stage, &mut error.code, &mut error.message]));
    let texts = texts
        .chain([&mut event.actor, &mut event.started_at])
        .chain(&mut event.branch)
        .chain(&mut event.backup)
        .chain(&mut event.backups);
    texts.for_each(|text| *text = cm_notify::plain(text));
    event
}

fn stage(stage: Stage) -> EventStage {
    let Stage { tool, step, status, duration_ms, summary, .. } = stage;
    EventStage { tool, step, status, duration_ms, summary }
}

/// The outcome in one word.
pub fn status(doc: &Document) -> EventStatus {
    match doc.status() {
        Status::Ok => EventStatus::Succeeded,
        Status::Failed => EventStatus::Failed,
        Status::RolledBack => EventStatus::RolledBack,
    }
}

/// Seconds since the run began.
pub fn seconds(doc: &Document) -> u64 {
    cm_core::time::seconds_since(doc.started_at()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_urls_hold_beside_host_and_path_is_not_in_an_event() {
        let said = "https://ada:s3cret@shop.example/health?token=s3cret answered 500";
        let mut value = Document::start("cm-verify", "ada", false).as_value();
        value["status"] = "failed".into();
        value["error"] = json!({"stage": "cm-verify", "code": "verify.failed", "message": said, "causes": [], "hint": null, "retryable": false, "exit": 50});
        value["stages"] = json!([{"tool": "cm-verify", "version": "0", "status": "failed", "exit": 50, "changed": false, "started_at": "", "duration_ms": 1, "summary": said}]);
        let event = of(&Document::parse("cm-record", value.to_string().as_bytes()).expect("valid"));
        assert_eq!(event.error.as_ref().expect("error").message, "https://shop.example/health answered 500");
        assert_eq!(event.stages[0].summary, "https://shop.example/health answered 500");
        let record = Record { cause: Some(said.to_owned()), ..Record::new("1", "ada", "main", "c") };
        assert_eq!(
            of_abandoned("shop", &record).error.expect("error").message,
            "https://shop.example/health answered 500"
        );
    }
}
