//! The communication plan: what people are told in Slack during a deployment. The
//! programs of a pipe say what happened; here it becomes a line, and each kind of
//! line is sent once a run, whichever program comes to it first. A Slack that is down
//! fails nothing and delays little. The webhook's address is a secret.

mod line;
mod urls;

pub use urls::plain;

use cm_core::{Document, Exit, Failure, Journal, Log, Result, private_dir, write_whole};
use cm_http::{Client, Request};
use cm_project::{Project, Severity};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// A deployment does not wait longer for Slack than this.
const LIMIT: Duration = Duration::from_secs(5);

/// How the names of the marks begin that a run's journal has of its messages.
const MARK: &str = "slack-";

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
    /// It failed, and what is there now was not rolled back.
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
    /// The services were rolled back.
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

/// Tells Slack, unless this kind of message was sent in this run already. What goes
/// wrong is a warning.
pub async fn tell(project: &Project, doc: &Document, message: Message<'_>, log: &Log) -> Told {
    if doc.dry_run() {
        return Told::NotWanted;
    }
    let webhook = match cm_project::secret_to_send(&project.notify().slack_webhook_env) {
        Ok(Some(webhook)) => webhook,
        Ok(None) => return Told::NotWanted,
        Err(failure) => {
            log.warn(format!("could not notify Slack: {failure}"));
            return Told::Not;
        }
    };
    if !is_first(doc, &message, log) {
        return Told::Before;
    }
    let text = line::of(project, doc, &message);
    let posted = post(&webhook, &text).await;
    keep_in_mind(doc, &message, &text, posted.is_ok(), log);
    match posted {
        Ok(()) => {
            log.debug(format!("told Slack: {}", message.kind()));
            Told::Now
        }
        Err(failure) => {
            log.warn(format!("could not notify Slack: {failure}"));
            Told::Not
        }
    }
}

/// The mark is made before the message is sent: one too few is better than one twice.
fn is_first(doc: &Document, message: &Message<'_>, log: &Log) -> bool {
    let journal = Journal::of(doc.run_id());
    let mark = journal.dir().join(format!("{MARK}{}", message.kind()));
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

/// A message of a run, as its journal has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Said {
    /// The name of its kind.
    pub kind: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What Slack was given.
    pub text: String,
    /// Whether Slack took it.
    pub told: bool,
}

/// What was said in the run `run_id`, oldest first.
pub fn said(run_id: &str) -> Vec<Said> {
    let entries = std::fs::read_dir(Journal::of(run_id).dir()).into_iter().flatten().flatten();
    let marks = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(MARK));
    let mut said: Vec<Said> =
        marks.filter_map(|mark| serde_json::from_slice(&std::fs::read(mark.path()).ok()?).ok()).collect();
    said.sort_by(|a, b| a.at.cmp(&b.at));
    said
}

/// The mark says what was said, for whoever looks at the run later.
fn keep_in_mind(doc: &Document, message: &Message<'_>, text: &str, told: bool, log: &Log) {
    let said = Said { kind: message.kind().to_owned(), at: cm_core::time::now(), text: text.to_owned(), told };
    let name = format!("{MARK}{}", message.kind());
    if let Err(error) = write_whole(Journal::of(doc.run_id()).dir(), &name, json!(said).to_string().as_bytes()) {
        log.debug(format!("cannot keep in mind what Slack was told: {error}"));
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
