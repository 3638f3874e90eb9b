//! `--users-and-roles`: adds the users and roles of a backup to the server. Those that the
//! server has stay as they are, whatever the backup says of them: nobody's password or rights
//! change by a restore. They are added before the collections take their names, so that a
//! restore that fails here has changed nothing.

use super::plan::Plan;
use crate::accounts::{self, Names, ROLES, USERS, is_account, names_of};
use crate::{command, connection};
use bson::{Bson, Document, RawDocument, doc};
use cm_archive::verify::{self, Contents};
use cm_archive::{self as archive, Prelude, ReadError, Stored, drained};
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::collections::HashSet;

/// Where the server takes them from, in `admin`.
const ON_THE_WAY: [&str; 2] = ["cm_restore_users", "cm_restore_roles"];

/// Error code: there is no such command.
const COMMAND_NOT_FOUND: i32 = 59;

/// The users and roles of a backup that the server does not have.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// The database they belong to; empty for those of all.
    database: String,
    users: Vec<Document>,
    roles: Vec<Document>,
}

/// The database whose users and roles a backup holds; empty for those of all.
///
/// # Errors
/// [`Exit::Usage`] if there are none, or they belong to a database that gets another name.
pub fn database(prelude: &Prelude, plan: &Plan) -> Result<String> {
    let found: HashSet<_> = prelude.entries.iter().filter(|entry| is_account(entry)).map(|entry| &entry.db).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (None, _) => Err(Failure::new(Exit::Usage, "restore.no-users", "the backup holds no users and no roles")
            .hint("leave out --users-and-roles")),
        (Some(db), None) if db == "admin" => Ok(String::new()),
        (Some(db), None) if plan.databases.contains_key(db) => Ok(db.clone()),
        (Some(db), _) => {
            let message = format!("users and roles belong to a database of one name, and {db:?} gets another");
            Err(Failure::new(Exit::Usage, "restore.users-renamed", message).hint("leave out --users-and-roles"))
        }
    }
}

/// Reads the users and roles of the backup that was verified, and looks which of them the server
/// has.
///
/// # Errors
/// [`Exit::Backup`] for what cannot be read.
pub async fn of_backup(
    file: &dyn Stored,
    verified: &Contents,
    database: &str,
    (client, log): (&Client, &Log),
) -> Result<Accounts> {
    let kinds: Vec<Option<Names>> = verified.prelude.entries.iter().map(names_of).collect();
    let read = archive::read(file, move |input| drained(input, |input| read_documents(input, &kinds))).await?;
    let unreadable = |why: String| {
        let message = format!("the users and roles in {} cannot be read", file.display());
        Failure::new(Exit::Backup, "backup.not-proved", message).cause(why)
    };
    let (contents, users, roles, broken) = read.map_err(|error| unreadable(error.to_string()))?;
    if let Some(why) = broken {
        return Err(unreadable(why));
    }
    if contents.sha256 != verified.sha256 {
        return Err(changed(file));
    }
    let users = missing(client, USERS, users, log).await?;
    let roles = missing(client, ROLES, roles, log).await?;
    Ok(Accounts { database: database.to_owned(), users, roles })
}

/// The failure of a file that is not what it was a moment ago.
pub fn changed(file: &dyn Stored) -> Failure {
    let message = format!("{} changed while it was read", file.display());
    Failure::new(Exit::Backup, "restore.file-changed", message).hint("nothing was changed; try again").retryable()
}

/// Those of `wanted` that the server does not have.
async fn missing(client: &Client, names: Names, wanted: Vec<Document>, log: &Log) -> Result<Vec<Document>> {
    let existing = existing(client, names, &wanted).await?;
    let (stay, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|one| existing.contains(&key(one, names)));
    if !stay.is_empty() {
        log.warn(format!("{}s that exist stay as they are: {}", names.one, list(&stay, names)));
    }
    if !missing.is_empty() {
        log.info(format!("{}s that are added: {}", names.one, list(&missing, names)));
    }
    Ok(missing)
}

impl Accounts {
    /// `DATABASE.NAME` of each user, and of each role.
    pub fn list(&self) -> (Vec<String>, Vec<String>) {
        let list = |all: &[Document], names| all.iter().map(|one| display(&key(one, names))).collect();
        (list(&self.users, USERS), list(&self.roles, ROLES))
    }

    /// Adds them, as mongorestore does: the server itself takes them from collections on the way.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said; all or some of them are not there then.
    pub async fn add(&self, client: &Client, log: &Log) -> Result<()> {
        let nothing = self.users.is_empty() && self.roles.is_empty();
        let added = if nothing { Ok(()) } else { self.merge(client).await };
        // Also what a crashed run has left: there are passwords' hashes in it.
        for name in ON_THE_WAY {
            if let Err(error) = client.database("admin").run_command(doc! {"drop": name}).await {
                log.debug(format!("admin.{name} is not removed: {}", connection::cause(&error)));
            }
        }
        added?;
        for (names, wanted) in [(USERS, &self.users), (ROLES, &self.roles)] {
            let existing = existing(client, names, wanted).await?;
            let missing: Vec<_> = wanted.iter().filter(|one| !existing.contains(&key(one, names))).cloned().collect();
            if !missing.is_empty() {
                return Err(not_added().cause(format!("the server did not take {}", list(&missing, names))));
            }
        }
        Ok(())
    }

    async fn merge(&self, client: &Client) -> Result<()> {
        let admin = client.database("admin");
        let majority = doc! {"w": "majority"};
        let mut merge = doc! {"_mergeAuthzCollections": 1, "db": &self.database, "drop": false};
        let fields = ["tempUsersCollection", "tempRolesCollection"];
        for ((name, field), documents) in ON_THE_WAY.into_iter().zip(fields).zip([&self.users, &self.roles]) {
            // What a crashed run has left must not come along.
            let _not_there = admin.run_command(doc! {"drop": name}).await;
            if documents.is_empty() {
                continue;
            }
            let insert = doc! {"insert": name, "documents": documents.clone(), "writeConcern": majority.clone()};
            let answer = command::command(&admin, insert).await?;
            if answer.get_array("writeErrors").is_ok_and(|errors| !errors.is_empty()) {
                return Err(not_added().cause(format!("admin.{name} does not take them")));
            }
            merge.insert(field, format!("admin.{name}"));
        }
        merge.insert("writeConcern", majority);
        match admin.run_command(merge).await {
            Err(error) if connection::code(&error) == Some(COMMAND_NOT_FOUND) => Err(not_added()
                .cause("this server takes none from a backup")
                .hint("leave out --users-and-roles, and make them with createUser and createRole")),
            Err(error) => Err(connection::failure(&error, not_added().message)),
            Ok(_) => Ok(()),
        }
    }
}

fn not_added() -> Failure {
    Failure::new(Exit::Backup, "restore.users", "the users and roles could not be added")
}

/// The contents, and the users and roles; the last is why one of them cannot be read.
type Read = Result<(Contents, Vec<Document>, Vec<Document>, Option<String>), ReadError>;

fn read_documents(input: &mut (dyn std::io::Read + Send), kinds: &[Option<Names>]) -> Read {
    let (mut users, mut roles, mut broken) = (Vec::new(), Vec::new(), None);
    let contents = verify::read_documents(input, |index, bytes| {
        let Some(names) = kinds.get(index).copied().flatten() else { return };
        let list = if names.one == USERS.one { &mut users } else { &mut roles };
        match RawDocument::from_bytes(bytes).and_then(Document::try_from) {
            Ok(document) => list.push(document),
            Err(error) => broken = Some(format!("a {}: {error}", names.one)),
        }
    })?;
    Ok((contents, users, roles, broken))
}

/// A database and a name in it.
type Key = (String, String);

fn key(document: &Document, names: Names) -> Key {
    let text = |field: &str| document.get_str(field).unwrap_or_default().to_owned();
    (text("db"), text(names.one))
}

fn display((db, name): &Key) -> String {
    format!("{db}.{name}")
}

fn list(all: &[Document], names: Names) -> String {
    all.iter().map(|one| display(&key(one, names))).collect::<Vec<_>>().join(", ")
}

/// Which of `wanted` the server has.
async fn existing(client: &Client, names: Names, wanted: &[Document]) -> Result<HashSet<Key>> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let asked = wanted.iter().map(|one| {
        let (db, name) = key(one, names);
        Bson::Document(doc! {names.one: name, "db": db})
    });
    let answer = command::command(&client.database("admin"), doc! {names.info: asked.collect::<Vec<_>>()}).await?;
    Ok(accounts::documents(&answer, names).iter().map(|one| key(one, names)).collect())
}
