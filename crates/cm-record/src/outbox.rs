//! Events on their way to the ops API. An event is on disk before it is sent and
//! leaves the disk when the API has it; the run's id is the idempotency key, so that
//! one sent twice is stored once.

use cm_core::{Exit, Log, Result, private_dir, state_dir, write_whole};
use cm_http::{Client, Request};
use cm_project::Project;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// The API has it.
    Delivered,
    /// It waits on disk for the next run.
    Waits,
    /// `cm.toml` names no API.
    NotWanted,
}

impl Sent {
    /// The word in the document.
    pub fn word(self) -> &'static str {
        match self {
            Sent::Delivered => "delivered",
            Sent::Waits => "waits",
            Sent::NotWanted => "not configured",
        }
    }
}

/// The events of one project that wait on this machine.
pub struct Outbox {
    dir: PathBuf,
}

impl Outbox {
    /// The outbox of `project`.
    pub fn of(project: &Project) -> Self {
        Outbox { dir: state_dir().join("outbox").join(project.name().replace('/', "-")) }
    }

    /// Keeps `event`, then sends everything that waits, the oldest first.
    pub async fn send(&self, project: &Project, event: &Value, log: &Log) -> Sent {
        if project.ops().is_none() {
            return Sent::NotWanted;
        }
        let name = format!("{}.json", event["id"].as_str().unwrap_or("event"));
        if let Err(error) = write_whole(&self.dir, &name, event.to_string().as_bytes()) {
            log.warn(format!("cannot keep the deploy event in {}: {error}", self.dir.display()));
        }
        let _left = self.flush(project, log).await;
        if self.dir.join(name).exists() { Sent::Waits } else { Sent::Delivered }
    }

    /// Sends what waits; gives how many still do. The first failure ends the attempt:
    /// the API is down, and the deployment is waiting.
    pub async fn flush(&self, project: &Project, log: &Log) -> usize {
        let waiting = self.waiting();
        for (sent, path) in waiting.iter().enumerate() {
            if let Err(failure) = deliver(project, path).await {
                log.warn(format!(
                    "the ops API does not take the deploy event: {failure}; {} wait in {}",
                    waiting.len() - sent,
                    self.dir.display()
                ));
                return waiting.len() - sent;
            }
            let _gone = fs::remove_file(path);
        }
        0
    }

    /// Run ids sort by time.
    fn waiting(&self) -> Vec<PathBuf> {
        let _made = private_dir(&self.dir);
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
        paths.sort();
        paths
    }
}

async fn deliver(project: &Project, path: &Path) -> Result<()> {
    let Some(ops) = project.ops() else { return Ok(()) };
    let fail = |code: &str, message: String| cm_core::Failure::new(Exit::Config, code, message);
    let text = fs::read_to_string(path)
        .map_err(|error| fail("outbox.read", format!("cannot read {}", path.display())).cause(error))?;
    let event: Value = serde_json::from_str(&text)
        .map_err(|error| fail("outbox.read", format!("{} is no event", path.display())).cause(error))?;
    let token = std::env::var(&ops.token_env).unwrap_or_default();
    if token.is_empty() {
        return Err(fail("ops.no-token", format!("the variable {} is not set", ops.token_env)));
    }
    cm_core::add_secret(&token);
    let headers = vec![
        ("Authorization".to_owned(), format!("Bearer {token}")),
        ("Idempotency-Key".to_owned(), event["id"].as_str().unwrap_or_default().to_owned()),
    ];
    let request = Request { url: ops.url.expand()?, headers, json: Some(event), ..Request::default() };
    let answer = Client::new(LIMIT)?.send(&request, Exit::VerifyUnknown).await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(fail("ops.status", format!("it answered {status}"))),
    }
}
