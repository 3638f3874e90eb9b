//! The users and roles of a database, which stand in the server's own database `admin`. A backup
//! holds them as `mongodump --dumpDbUsersAndRoles` writes them, where the server lets them be
//! read: as they are stored or, where not even a backup may look there, as the server tells them.

use crate::command;
use bson::{Bson, Document, RawDocumentBuf, doc};
use cm_archive::{Entry, Kind, metadata};
use cm_core::{Exit, Failure, Result};
use mongodb::{Client, Database};

/// Their names in the archive of one database, and in `admin`.
pub const USERS: Names =
    Names { archived: "$admin.system.users", stored: "system.users", one: "user", info: "usersInfo" };

/// The same of roles.
pub const ROLES: Names =
    Names { archived: "$admin.system.roles", stored: "system.roles", one: "role", info: "rolesInfo" };

/// Which form they have; servers since 8.0 do not say.
const VERSION: (&str, &str) = ("$admin.system.version", "system.version");

/// What the server adds when it tells of them, and does not store.
const ONLY_TOLD: [&str; 5] =
    ["mechanisms", "isBuiltin", "inheritedRoles", "inheritedPrivileges", "inheritedAuthenticationRestrictions"];

/// How users, or roles, are called.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The collection's name in an archive.
    pub archived: &'static str,
    /// The collection in `admin`.
    pub stored: &'static str,
    /// The field with the name of one.
    pub one: &'static str,
    /// The command that tells of them.
    pub info: &'static str,
}

/// Whether an entry of an archive holds users or roles.
pub fn is_account(entry: &Entry) -> bool {
    names_of(entry).is_some()
}

/// Which of the two an entry of an archive holds, if any.
pub fn names_of(entry: &Entry) -> Option<Names> {
    let is = |names: &Names| match entry.db.as_str() {
        "admin" => entry.collection == names.stored || entry.collection == names.archived,
        _ => entry.collection == names.archived,
    };
    [USERS, ROLES].into_iter().find(is)
}

/// What a database has.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Entries of the archive, with their documents.
    pub parts: Vec<(Entry, Vec<RawDocumentBuf>)>,
    /// Why users or roles are not there, although there may be some.
    pub missing: Option<String>,
}

impl Accounts {
    /// How many documents the entry `archived` has.
    pub fn count(&self, archived: &str) -> u64 {
        let found = self.parts.iter().find(|(entry, _)| entry.collection == archived);
        found.map_or(0, |(_, documents)| documents.len() as u64)
    }
}

/// Reads those of `database`. A backup goes on without those that may not be read.
pub async fn read(client: &Client, database: &str) -> Accounts {
    let (admin, own) = (client.database("admin"), client.database(database));
    let mut accounts = Accounts::default();
    for names in [USERS, ROLES] {
        match all(&admin, &own, names).await {
            Ok(documents) if documents.is_empty() => {}
            Ok(documents) => accounts.parts.push((entry(database, names.archived), documents)),
            Err(failure) => accounts.missing = Some(why(&failure)),
        }
    }
    if !accounts.parts.is_empty() {
        let version = doc! {"find": VERSION.1, "filter": {"_id": "authSchema"}};
        let version = command::list(&admin, version, VERSION.1).await.unwrap_or_default();
        let version: Vec<_> =
            version.into_iter().filter(|one| one.get_str("_id").is_ok_and(|id| id == "authSchema")).collect();
        if !version.is_empty() {
            accounts.parts.push((entry(database, VERSION.0), version));
        }
    }
    accounts
}

/// Servers that keep them elsewhere show an empty collection.
async fn all(admin: &Database, own: &Database, names: Names) -> Result<Vec<RawDocumentBuf>> {
    let find = doc! {"find": names.stored, "filter": {"db": own.name()}};
    let stored = command::list(admin, find, names.stored).await.map(|all| {
        let ours =
            |one: &RawDocumentBuf| one.get_str("db").is_ok_and(|db| db == own.name()) && one.get_str(names.one).is_ok();
        all.into_iter().filter(ours).collect::<Vec<_>>()
    });
    match stored {
        Ok(stored) if !stored.is_empty() => Ok(stored),
        Ok(_) => Ok(told(own, names).await.unwrap_or_default()),
        Err(_) => told(own, names).await,
    }
}

/// What the server tells of each, in the form in which it is stored.
async fn told(own: &Database, names: Names) -> Result<Vec<RawDocumentBuf>> {
    let list = |answer: &Document| documents(answer, names);
    let known = list(&command::ask(own, doc! {names.info: 1}).await?);
    let mut all = Vec::new();
    for one in known {
        let name = one.get_str(names.one).unwrap_or_default();
        let mut ask = doc! {names.info: {names.one: name, "db": own.name()}};
        // Only for one at a time is everything told.
        ask.insert(if names.one == "user" { "showCredentials" } else { "showPrivileges" }, true);
        ask.insert("showAuthenticationRestrictions", true);
        let answer = command::ask(own, ask).await?;
        let Some(mut document) = list(&answer).into_iter().next() else { continue };
        ONLY_TOLD.iter().for_each(|field| drop(document.remove(field)));
        let needed = if names.one == "user" { "credentials" } else { "privileges" };
        if !document.contains_key(needed) {
            let message = format!("the database does not tell the {needed} of {}.{name}", own.name());
            return Err(Failure::new(Exit::Backup, "backup.answer", message));
        }
        let raw = RawDocumentBuf::try_from(&document);
        all.push(raw.map_err(|error| Failure::bug("an answer is not BSON").cause(error))?);
    }
    Ok(all)
}

/// The documents in the answer to `usersInfo` or `rolesInfo`.
pub fn documents(answer: &Document, names: Names) -> Vec<Document> {
    let all = answer.get_array(format!("{}s", names.one)).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(Bson::as_document).cloned().collect()
}

fn entry(database: &str, name: &str) -> Entry {
    // Without options and indexes there is nothing in it that could be wrong.
    let metadata = metadata::describe(name, Kind::Collection, None, None, &[]).unwrap_or_default();
    let (db, collection) = (database.to_owned(), name.to_owned());
    Entry { db, collection, metadata, kind: Kind::Collection, in_buckets: false }
}

fn why(failure: &Failure) -> String {
    match failure.code.as_str() {
        "backup.not-allowed" => {
            "the URI's user may not read them; its role \"backup\" on \"admin\" would do".to_owned()
        }
        _ => failure.message.clone(),
    }
}
