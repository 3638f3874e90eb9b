//! The server that a restore changes: each change asks first whether the deploy lock holds.

use super::lock::Lock;
use super::options::{KNOWN_OPTIONS, create_command, is_unknown_option, only, without_what_granularity_says};
use crate::survey;
use crate::{command, connection};
use bson::{Document, doc};
use cm_core::{Failure, Log, Result};
use mongodb::Client;
use std::time::Duration;

/// Changes of one restore that are on their way at a time. Over a slow line each waits for its
/// answer; a server has no trouble with so many.
pub const AT_A_TIME: usize = 8;

/// Copying a collection on the server's side of the line, such as when it is renamed, takes as
/// long as the server needs.
const CHANGE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Error code: there is no such collection.
pub const NAMESPACE_NOT_FOUND: i32 = 26;

/// Error code: there is one of that name already.
pub const NAMESPACE_EXISTS: i32 = 48;

/// A server, and who changes it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The server.
    pub client: &'a Client,
    /// The deploy lock, where the database belongs to a project.
    pub lock: Option<&'a dyn Lock>,
    /// Messages for people.
    pub log: &'a Log,
}

impl Target<'_> {
    /// The lock must hold before each change.
    ///
    /// # Errors
    /// [`cm_core::Exit::LockLost`].
    pub async fn check_lock(&self) -> Result<()> {
        match self.lock {
            Some(lock) => lock.check().await,
            None => Ok(()),
        }
    }

    /// Runs a command that changes the database `db`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`] with what the server said, [`cm_core::Exit::LockLost`].
    pub async fn change(&self, db: &str, command: Document) -> Result<Document> {
        self.check_lock().await?;
        command::command_within(&self.client.database(db), command, CHANGE_LIMIT).await
    }

    /// Gives a collection another name.
    ///
    /// # Errors
    /// As [`Target::change`].
    pub async fn rename(&self, db: &str, from: &str, to: &str, drop_target: bool) -> Result<()> {
        self.change("admin", rename_command(db, from, to, drop_target)).await.map(drop)
    }

    /// As [`Target::rename`], with the driver's own error.
    ///
    /// # Errors
    /// The driver's.
    pub async fn try_rename(&self, db: &str, from: &str, to: &str) -> mongodb::error::Result<()> {
        self.client.database("admin").run_command(rename_command(db, from, to, false)).await.map(drop)
    }

    /// Drops a collection or view, if there is one.
    ///
    /// # Errors
    /// As [`Target::change`].
    pub async fn drop_collection(&self, db: &str, name: &str) -> Result<()> {
        self.check_lock().await?;
        match self.client.database(db).run_command(doc! {"drop": name}).await {
            Err(error) if connection::code(&error) != Some(NAMESPACE_NOT_FOUND) => {
                Err(connection::failure(&error, format!("{db}.{name} cannot be dropped")))
            }
            _ => Ok(()),
        }
    }

    /// Makes a collection or view, without options that the server does not know.
    ///
    /// # Errors
    /// As [`Target::change`].
    pub async fn create(&self, db: &str, name: &str, options: &Document) -> Result<()> {
        let Err(failure) = self.change(db, create_command(name, options)).await else { return Ok(()) };
        if let Some(options) = without_what_granularity_says(options)
            && self.change(db, create_command(name, &options)).await.is_ok()
        {
            return Ok(());
        }
        let known = only(options, &KNOWN_OPTIONS);
        if known == *options || !is_unknown_option(&failure) {
            return Err(failure);
        }
        self.log.warn(format!("{db}.{name}: the server does not know all of its options ({failure})"));
        self.change(db, create_command(name, &known)).await.map(drop)
    }

    /// The options and kind of what has this name now, if anything has.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`] with what the server said.
    pub async fn look_up(&self, db: &str, name: &str) -> Result<Option<survey::Listed>> {
        survey::listed_as(&self.client.database(db), name).await
    }

    /// For failures: what was changed is not as it was.
    pub fn partway(failure: Failure) -> Failure {
        failure.hint(
            "the database is partway between what it was and what was restored; the next `cm-backup restore` into it undoes that before anything else",
        )
    }
}

fn rename_command(db: &str, from: &str, to: &str, drop_target: bool) -> Document {
    let mut command = doc! {"renameCollection": format!("{db}.{from}"), "to": format!("{db}.{to}")};
    if drop_target {
        command.insert("dropTarget", true);
    }
    command
}
