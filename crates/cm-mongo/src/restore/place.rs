//! Makes the collections of a restore, gives them their indexes and, last of all, their
//! names. Until then everything is under names of the restore's own: what a run that
//! failed leaves is removed, and the data that was there is as it was.

use super::lock::Lock;
use super::options::{
    KNOWN_INDEX_FIELDS, KNOWN_OPTIONS, create_command, index_to_build, is_unknown_option, only,
    without_what_granularity_says,
};
use super::owner::{self, OWN_PREFIX};
use super::plan::{Item, Plan, Way};
use crate::{command, connection};
use bson::{Document, doc};
use cm_archive::Kind;
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::sync::Mutex;
use std::time::Duration;

/// Building an index reads a whole collection.
const INDEX_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// Error code: there is no such collection.
pub const NAMESPACE_NOT_FOUND: i32 = 26;

/// Works on the server for one restore.
pub struct Placer<'a> {
    /// The server.
    pub client: &'a Client,
    /// What is to be done.
    pub plan: &'a Plan,
    /// Tells this restore's collections from those of another, and whose they are.
    pub tag: String,
    /// What was renamed, or was about to be: database, from, to.
    pub renamed: Mutex<Vec<(String, String, String)>>,
    /// The deploy lock, where the database belongs to a project.
    pub lock: Option<&'a dyn Lock>,
    /// Messages for people.
    pub log: &'a Log,
}

impl Placer<'_> {
    /// The name under which an item is filled.
    pub fn filled_name(&self, item: &Item) -> String {
        match item.way {
            Way::Aside => format!("{OWN_PREFIX}{}.{}", self.tag, item.index),
            _ => item.collection.clone(),
        }
    }

    /// The name of what it replaces, until all have theirs.
    pub fn old_name(&self, item: &Item) -> String {
        format!("{OWN_PREFIX}{}.{}.old", self.tag, item.index)
    }

    /// The lock must hold before each change.
    ///
    /// # Errors
    /// [`Exit::LockLost`].
    pub async fn check_lock(&self) -> Result<()> {
        match self.lock {
            Some(lock) => lock.check().await,
            None => Ok(()),
        }
    }

    /// Runs a command on the database `db`.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn run(&self, db: &str, command: Document) -> Result<Document> {
        command::command(&self.client.database(db), command).await
    }

    /// Removes what a crashed restore has left. One that may still run is left alone, and
    /// so is what a restore has put aside: it is data that was there before. Returns what was
    /// removed: database and name, for [`Placer::remove_again`].
    ///
    /// # Errors
    /// [`Exit::Usage`] in both cases, with what to do.
    pub async fn remove_leftovers(&self) -> Result<Vec<(String, String)>> {
        let mut removed = Vec::new();
        let databases = self.plan.databases.iter();
        let names = databases.flat_map(|(db, all)| all.collections.keys().map(move |name| (db, name)));
        for (db, name) in names {
            let Some(rest) = name.strip_prefix(OWN_PREFIX) else { continue };
            let dead = self.lock.is_some() || owner::is_over(rest.split('.').next().unwrap_or_default());
            if rest.ends_with(".old") || !dead {
                let message = format!("{db}.{name} belongs to another restore, which runs or did not end");
                return Err(Failure::new(Exit::Usage, "restore.unfinished", message).hint(
                    "if none runs: one that ends in .old is what was there before; rename it back, or drop it; drop the others",
                ));
            }
            self.check_lock().await?;
            self.drop_collection(db, name).await?;
            self.log.info(format!("removed {db}.{name}, left by a crashed restore"));
            removed.push((db.clone(), name.clone()));
        }
        Ok(removed)
    }

    /// The server may have been at an insert of the restore that died, which makes its
    /// collection again.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn remove_again(&self, leftovers: &[(String, String)]) -> Result<()> {
        for (db, name) in leftovers {
            self.check_lock().await?;
            self.drop_collection(db, name).await?;
        }
        Ok(())
    }

    /// Makes what is to be filled.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn prepare(&self) -> Result<()> {
        for item in &self.plan.items {
            match (&item.way, item.exists) {
                (Way::Aside, _) | (Way::InPlace, false) => self.create(item, &self.filled_name(item)).await?,
                (Way::InPlace, true) if self.plan.replace => self.empty(item).await?,
                (Way::InPlace | Way::Define, _) => {}
            }
        }
        Ok(())
    }

    /// Empties what cannot be replaced by renaming: a time series, the server's stored functions.
    async fn empty(&self, item: &Item) -> Result<()> {
        self.check_lock().await?;
        if item.kind == Kind::Timeseries {
            self.log.warn(format!("{} is a time series, which is replaced in its place", item.namespace()));
            self.drop_collection(&item.db, &item.collection).await?;
            return self.create(item, &item.collection).await;
        }
        let delete = doc! {"delete": &item.collection, "deletes": [{"q": {}, "limit": 0}]};
        self.run(&item.db, delete).await.map(drop)
    }

    /// Makes the collection or view of an item under `name`.
    ///
    /// # Errors
    /// As [`Placer::prepare`].
    pub async fn create(&self, item: &Item, name: &str) -> Result<()> {
        if item.collection.starts_with("system.") {
            // The first document makes it; `create` is not allowed.
            return Ok(());
        }
        self.check_lock().await?;
        let made = self.run(&item.db, create_command(name, &item.described.options)).await;
        let Err(failure) = made else { return Ok(()) };
        if let Some(options) = without_what_granularity_says(&item.described.options)
            && self.run(&item.db, create_command(name, &options)).await.is_ok()
        {
            return Ok(());
        }
        let known = only(&item.described.options, &KNOWN_OPTIONS);
        if known == item.described.options || !is_unknown_option(&failure) {
            return Err(failure.cause(format!("{} could not be made", item.namespace())));
        }
        self.log.warn(format!("{}: the server does not know all of its options ({failure})", item.namespace()));
        self.run(&item.db, create_command(name, &known)).await.map(drop)
    }

    /// Builds the indexes of everything that was filled.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn build_indexes(&self) -> Result<()> {
        for item in self.plan.items.iter().filter(|item| item.way != Way::Define) {
            let indexes: Vec<_> = item.described.indexes.iter().filter_map(index_to_build).collect();
            if indexes.is_empty() {
                continue;
            }
            self.check_lock().await?;
            let name = self.filled_name(item);
            let built = self.create_indexes(&item.db, &name, &indexes).await;
            let Err(failure) = built else { continue };
            let known: Vec<_> = indexes.iter().map(|index| only(index, &KNOWN_INDEX_FIELDS)).collect();
            if known == indexes || !is_unknown_option(&failure) {
                return Err(failure.cause(format!("the indexes of {} could not be built", item.namespace())));
            }
            self.log.warn(format!("{}: the server does not know all options of its indexes", item.namespace()));
            self.create_indexes(&item.db, &name, &known).await?;
        }
        Ok(())
    }

    async fn create_indexes(&self, db: &str, name: &str, indexes: &[Document]) -> Result<()> {
        let command = doc! {"createIndexes": name, "indexes": indexes.to_vec()};
        command::command_within(&self.client.database(db), command, INDEX_LIMIT).await.map(drop)
    }

    /// Drops a collection, if there is one.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn drop_collection(&self, db: &str, name: &str) -> Result<()> {
        match self.client.database(db).run_command(doc! {"drop": name}).await {
            Err(error) if connection::code(&error) != Some(NAMESPACE_NOT_FOUND) => {
                Err(connection::failure(&error, format!("{db}.{name} cannot be dropped")))
            }
            _ => Ok(()),
        }
    }
}
