//! What people are told when it is over. Whoever is told of a rollback by
//! `cm-rollback` already is not told again.

use crate::ledger;
use cm_core::{Run, Status};
use cm_notify::{Message, tell};
use cm_project::Project;

/// Tells Slack the outcome.
pub async fn outcome(project: &Project, run: &Run) {
    let doc = &run.doc;
    let reason = doc.error().map_or_else(|| "no reason known".to_owned(), |error| error.message);
    let verdict = ledger::verdict(doc);
    let message = match doc.status() {
        Status::Ok if doc.planned().is_empty() => return, // nothing was announced, nothing changed
        Status::Ok => Message::Completed { verdict: verdict.as_str() },
        Status::RolledBack => Message::RolledBack { to: None, verdict: "rolled back" },
        Status::Failed => Message::Failed { reason: &reason },
    };
    tell(project, doc, message, &run.log).await;
}
