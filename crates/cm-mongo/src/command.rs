//! Commands to the server, and how long each may take. Answers are read leniently: servers differ
//! in what they leave out.

use crate::connection;
use bson::{Document, RawBsonRef, RawDocumentBuf, doc};
use cm_core::{Exit, Failure, Result};
use futures_util::TryStreamExt;
use mongodb::action::{Action, RunCommand, RunCursorCommand};
use mongodb::{Client, Database};
use std::time::Duration;

/// How long a command that reads no documents may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command and gives its answer.
///
/// # Errors
/// [`Exit::Backup`] with what the server said, or that it said nothing in time.
pub async fn command(database: &Database, command: Document) -> Result<Document> {
    command_within(database, command, LIMIT).await
}

/// Runs a command that may take long.
///
/// # Errors
/// As [`command`].
pub async fn command_within(database: &Database, command: Document, limit: Duration) -> Result<Document> {
    answer(command, limit, |command| database.run_command(command)).await
}

/// Asks something of the member that is read; a [`command`] goes to the primary.
///
/// # Errors
/// As [`command`].
pub async fn ask(database: &Database, question: Document) -> Result<Document> {
    ask_within(database, question, LIMIT).await
}

/// As [`ask`], for what may be given up sooner.
///
/// # Errors
/// As [`command`].
pub async fn ask_within(database: &Database, question: Document, limit: Duration) -> Result<Document> {
    answer(question, limit, |question| asking(database, question)).await
}

/// The driver sends a command to the primary if it is not told otherwise.
fn asking(database: &Database, question: Document) -> RunCommand<'_> {
    let criteria = database.selection_criteria().cloned();
    database.run_command(question).optional(criteria, RunCommand::selection_criteria)
}

/// The same for a command that answers with a cursor.
pub fn reading(database: &Database, command: Document) -> RunCursorCommand<'_> {
    let criteria = database.selection_criteria().cloned();
    database.run_cursor_command(command).optional(criteria, RunCursorCommand::selection_criteria)
}

async fn answer<'a>(
    command: Document,
    limit: Duration,
    run: impl FnOnce(Document) -> RunCommand<'a>,
) -> Result<Document> {
    let name = command.keys().next().cloned().unwrap_or_default();
    let running = async { run(command).await };
    let answer = tokio::time::timeout(limit, running).await.map_err(|_| too_slow_within(&name, limit))?;
    answer.map_err(|error| connection::failure(&error, format!("the database refuses {name:?}")))
}

fn too_slow(what: &str) -> Failure {
    too_slow_within(what, LIMIT)
}

fn too_slow_within(what: &str, limit: Duration) -> Failure {
    Failure::new(
        Exit::Backup,
        "backup.timeout",
        format!("the database did not answer {what:?} within {} s", limit.as_secs()),
    )
    .hint("look at the database's load and log; `--no-backup` in the deploy script deploys without a backup")
    .retryable()
}

/// The first word with the server at `place`: is it there, does it accept the user?
///
/// # Errors
/// [`Exit::Backup`] if not.
pub async fn greet(client: &Client, place: &str) -> Result<()> {
    let admin = client.database("admin");
    let ping = asking(&admin, doc! {"ping": 1}).into_future();
    let answer = tokio::time::timeout(LIMIT, ping).await.map_err(|_| too_slow("ping"))?;
    answer.map(drop).map_err(|error| connection::failure(&error, format!("cannot reach the database: {place}")))
}

/// All documents that a listing command answers, raw: typed lists drop what they do not know.
///
/// # Errors
/// As [`command`].
pub async fn list(database: &Database, command: Document, what: &str) -> Result<Vec<RawDocumentBuf>> {
    let read = async {
        let mut cursor = reading(database, command).batch().await?;
        let mut all = Vec::new();
        while let Some(batch) = cursor.try_next().await? {
            for item in batch.doc_slices()? {
                if let RawBsonRef::Document(document) = item? {
                    all.push(document.to_owned());
                }
            }
        }
        Ok(all)
    };
    let answer: mongodb::error::Result<_> = tokio::time::timeout(LIMIT, read).await.map_err(|_| too_slow(what))?;
    answer.map_err(|error| connection::failure(&error, format!("the database refuses {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        // The kernel takes the connection, and nobody ever reads from it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let client = Client::with_uri_str(format!("mongodb://127.0.0.1:{port}/?directConnection=true")).await;
        let database = client.expect("a client").database("shop");
        let asked = command_within(&database, doc! {"ping": 1}, Duration::from_millis(50)).await;
        let failure = asked.expect_err("no answer");
        assert_eq!((failure.exit, failure.code.as_str(), failure.retryable), (Exit::Backup, "backup.timeout", true));
        assert!(failure.message.contains("\"ping\""), "{failure}");
    }
}
