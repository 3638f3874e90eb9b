//! The communication plan: what people are told in Slack during a deployment. The
//! programs of a pipe say what happened; here it becomes a line, and each kind of
//! line is sent once a run, whichever program comes to it first. A Slack that is down
//! fails nothing and delays little. The webhook's address is a secret.

mod line;

use cm_core::{Document, Exit, Failure, Journal, Log, Result, add_secret, private_dir};
use cm_http::{Client, Request};
use cm_project::{Project, Severity};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// A deployment does not wait longer for Slack than this.
const LIMIT: Duration = Duration::from_secs(5);

/// What happened, with what only the program that saw it knows.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Something is about to change.
    Started,
    /// It is done; how good it is, such as `verified`.
    Completed {
        /// In a few words.
        verdict: &'a str,
    },
    /// It failed, and what is there now was not taken back.
    Failed {
        /// Why.
        reason: &'a str,
    },
    /// Production does not answer as it should.
    VerificationFailed {
        /// What fails.
        reason: &'a str,
        /// How bad that is; `None` if nothing was learned.
        severity: Option<Severity>,
    },
    /// The services were taken back.
    RolledBack {
        /// The commit they went back to, if it is one.
        to: Option<&'a str>,
        /// How that ended.
        verdict: &'a str,
    },
}

impl Message<'_> {
    /// The name of its kind.
    fn kind(&self) -> &'static str {
        match self {
            Message::Started => "started",
            Message::Completed { .. } => "completed",
            Message::Failed { .. } => "failed",
            Message::VerificationFailed { .. } => "verification-failed",
            Message::RolledBack { .. } => "rolled-back",
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// Slack has it.
    Now,
    /// It was sent before in this run.
    Before,
    /// Nobody wants it: the variable with the webhook is not set, or this is a dry run.
    NotWanted,
    /// Slack did not take it; a warning says why.
    Not,
}

/// The variable that holds the webhook, if it is set.
pub fn webhook(project: &Project) -> Option<String> {
    std::env::var(&project.notify().slack_webhook_env).ok().filter(|webhook| !webhook.is_empty())
}

/// Tells Slack, unless this kind of message was sent in this run already. What goes
/// wrong is a warning.
pub async fn tell(project: &Project, doc: &Document, message: Message<'_>, log: &Log) -> Told {
    let Some(webhook) = webhook(project).filter(|_| !doc.dry_run()) else { return Told::NotWanted };
    add_secret(&webhook);
    if !is_first(doc, &message, log) {
        return Told::Before;
    }
    match post(&webhook, &line::of(project, doc, &message)).await {
        Ok(()) => {
            log.debug(format!("told Slack: {}", message.kind()));
            Told::Now
        }
        Err(failure) => {
            log.warn(format!("Slack was not told: {failure}"));
            Told::Not
        }
    }
}

/// The mark is made before the message is sent: one too few is better than one twice.
fn is_first(doc: &Document, message: &Message<'_>, log: &Log) -> bool {
    let journal = Journal::of(doc.run_id());
    let mark = journal.dir().join(format!("slack-{}", message.kind()));
    let made = private_dir(journal.dir())
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&mark));
    match made {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => {
            log.debug(format!("cannot keep in mind that Slack was told: {error}"));
            true
        }
    }
}

async fn post(webhook: &str, text: &str) -> Result<()> {
    let request = Request { url: webhook.to_owned(), json: Some(json!({"text": text})), ..Request::default() };
    let answer = Client::new(LIMIT)?.send(&request, Exit::VerifyUnknown).await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(Failure::new(Exit::VerifyUnknown, "slack.status", format!("it answered {status}"))),
    }
}
