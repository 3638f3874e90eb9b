//! Makes the collections of a restore, gives them their indexes and, last of all, their
//! names. Until then everything is under names of the restore's own: what a run that
//! failed leaves is removed, and the data that was there is as it was.

use super::owner;
use super::plan::{Item, Plan, Way};
use crate::archive::Kind;
use crate::mongo;
use crate::survey;
use bson::{Document, doc};
use cm_core::{Exit, Failure, Log, Result};
use cm_host::Host;
use cm_lease::Guard;
use mongodb::Client;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the names of collections begin with that belong to a restore.
pub const OWN_PREFIX: &str = "cm_restore.";

/// Building an index reads a whole collection.
const INDEX_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// How long cleaning up may take after a failure; the server may be gone.
const DISCARD_LIMIT: Duration = Duration::from_secs(10);

/// The options of `create` that every server of today knows.
const KNOWN_OPTIONS: [&str; 16] = [
    "capped",
    "size",
    "max",
    "validator",
    "validationLevel",
    "validationAction",
    "collation",
    "viewOn",
    "pipeline",
    "timeseries",
    "expireAfterSeconds",
    "clusteredIndex",
    "changeStreamPreAndPostImages",
    "indexOptionDefaults",
    "storageEngine",
    "encryptedFields",
];

/// The fields of an index that every server of today knows.
const KNOWN_INDEX_FIELDS: [&str; 20] = [
    "v",
    "key",
    "name",
    "unique",
    "sparse",
    "expireAfterSeconds",
    "partialFilterExpression",
    "collation",
    "weights",
    "default_language",
    "language_override",
    "textIndexVersion",
    "2dsphereIndexVersion",
    "bits",
    "min",
    "max",
    "wildcardProjection",
    "hidden",
    "prepareUnique",
    "storageEngine",
];

/// Error code: there is no such collection.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Error code: there is one of that name already.
const NAMESPACE_EXISTS: i32 = 48;

/// How often what was written meanwhile is put aside, before a person has to do it.
const MOST_NEWCOMERS: u32 = 20;

fn rename_command(db: &str, from: &str, to: &str, drop_target: bool) -> Document {
    let mut command = doc! {"renameCollection": format!("{db}.{from}"), "to": format!("{db}.{to}")};
    if drop_target {
        command.insert("dropTarget", true);
    }
    command
}

/// Works on the server for one restore.
#[derive(Debug)]
pub struct Placer<'a> {
    /// The server.
    pub client: &'a Client,
    /// What is to be done.
    pub plan: &'a Plan,
    /// Tells this restore's collections from those of another, and whose they are.
    pub tag: String,
    /// What was renamed, or was about to be: database, from, to.
    pub renamed: Mutex<Vec<(String, String, String)>>,
    /// The deploy lock and its host, where the database belongs to a project.
    pub lock: Option<(&'a Guard, &'a Host)>,
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

    fn old_name(&self, item: &Item) -> String {
        format!("{OWN_PREFIX}{}.{}.old", self.tag, item.index)
    }

    /// The lock must hold before each change.
    ///
    /// # Errors
    /// [`Exit::LockLost`].
    pub async fn check_lock(&self) -> Result<()> {
        match self.lock {
            Some((guard, host)) => guard.check(host).await,
            None => Ok(()),
        }
    }

    async fn run(&self, db: &str, command: Document) -> Result<Document> {
        survey::command(&self.client.database(db), command).await
    }

    /// Removes what a restore that died has left. One that may still run is left alone, and
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
            self.log.info(format!("removed {db}.{name}, which a restore that died had left"));
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

    async fn create(&self, item: &Item, name: &str) -> Result<()> {
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
        survey::command_within(&self.client.database(db), command, INDEX_LIMIT).await.map(drop)
    }

    /// Gives everything its name. If that fails, all names are as they were before.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn swap(&self) -> Result<()> {
        let aside = || self.plan.items.iter().filter(|item| item.way == Way::Aside);
        for item in aside() {
            if let Err(failure) = self.swap_one(item).await {
                return Err(self.swapped_back(failure).await);
            }
        }
        if let Err(failure) = self.define_views().await {
            return Err(self.swapped_back(failure).await);
        }
        // All have their names: from here on there is no way back.
        self.take_renamed();
        for item in aside().filter(|item| item.exists) {
            self.check_lock().await?;
            self.drop_collection(&item.db, &self.old_name(item)).await?;
        }
        Ok(())
    }

    async fn swap_one(&self, item: &Item) -> Result<()> {
        let there = item.exists.then(|| (item.collection.clone(), self.old_name(item), false));
        // Whoever writes between the two renamings makes the collection again: that is replaced as well.
        let filled = (self.filled_name(item), item.collection.clone(), item.exists);
        for (from, to, drop_target) in there.into_iter().chain([filled]) {
            self.check_lock().await?;
            let renaming = (item.db.clone(), from.clone(), to.clone());
            self.renamed.lock().unwrap_or_else(PoisonError::into_inner).push(renaming);
            if let Err(failure) = self.rename(&item.db, &from, &to, drop_target).await {
                // The server said no, so that it was not done; of a lost connection nobody knows.
                if !failure.retryable {
                    self.renamed.lock().unwrap_or_else(PoisonError::into_inner).pop();
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    fn take_renamed(&self) -> Vec<(String, String, String)> {
        std::mem::take(&mut *self.renamed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn swapped_back(&self, failure: Failure) -> Failure {
        let left = self.swap_back().await;
        left.into_iter().fold(failure, |failure, (what, why)| failure.cause(why).hint(what))
    }

    /// Takes the renaming back, newest first. What was about to be renamed may not have been.
    /// Gives what has to be done by hand, and why.
    async fn swap_back(&self) -> Vec<(String, String)> {
        let mut left = Vec::new();
        for (at, (db, from, to)) in self.take_renamed().iter().enumerate().rev() {
            match self.rename_back(db, from, to, at).await {
                Err(error) if mongo::code(&error) != Some(NAMESPACE_NOT_FOUND) => {
                    let what =
                        format!("{db}.{to} could not be renamed back to {from}: rename it by hand; nothing is lost");
                    left.push((what, mongo::cause(&error)));
                }
                _ => {}
            }
        }
        left
    }

    /// Gives `to` its name `from` back. What somebody wrote meanwhile under that name is kept aside,
    /// where the next restore leaves it, too.
    async fn rename_back(&self, db: &str, from: &str, to: &str, at: usize) -> mongodb::error::Result<()> {
        let admin = self.client.database("admin");
        let mut tried = 0;
        loop {
            let renamed = admin.run_command(rename_command(db, to, from, false)).await;
            match renamed {
                Err(error) if mongo::code(&error) == Some(NAMESPACE_EXISTS) && tried < MOST_NEWCOMERS => {
                    tried += 1;
                    let aside = format!("{OWN_PREFIX}{}.{at}.meanwhile-{tried}.old", self.tag);
                    if admin.run_command(rename_command(db, from, &aside, false)).await.is_ok() {
                        self.log.warn(format!(
                            "what was written to {db}.{from} meanwhile is in {db}.{aside}: look at it, then drop it"
                        ));
                    }
                }
                renamed => return renamed.map(drop),
            }
        }
    }

    async fn rename(&self, db: &str, from: &str, to: &str, drop_target: bool) -> Result<()> {
        self.run("admin", rename_command(db, from, to, drop_target)).await.map(drop)
    }

    /// Views come last: only now is there what they show.
    async fn define_views(&self) -> Result<()> {
        for item in self.plan.items.iter().filter(|item| item.way == Way::Define) {
            if item.exists && !self.plan.replace {
                continue;
            }
            if item.exists {
                self.check_lock().await?;
                self.drop_collection(&item.db, &item.collection).await?;
            }
            self.create(item, &item.collection).await?;
        }
        Ok(())
    }

    async fn drop_collection(&self, db: &str, name: &str) -> Result<()> {
        match self.client.database(db).run_command(doc! {"drop": name}).await {
            Err(error) if mongo::code(&error) != Some(NAMESPACE_NOT_FOUND) => {
                Err(mongo::failure(&error, format!("{db}.{name} cannot be dropped")))
            }
            _ => Ok(()),
        }
    }

    /// Takes back what was done of a restore that does not come to its end, as far as the
    /// server can be reached. It may still be at an insert that was given up, which makes its
    /// collection again: all is gone when nothing has come back for a while.
    pub async fn discard(&self) {
        const QUIET: u32 = 4;
        let mut quiet = 0;
        let taking_back = async {
            for (what, why) in self.swap_back().await {
                self.log.warn(format!("{what} ({why})"));
            }
            self.drop_filled().await;
            while quiet < QUIET {
                tokio::time::sleep(Duration::from_millis(250)).await;
                quiet = if self.has_leftovers().await { 0 } else { quiet + 1 };
                if quiet == 0 {
                    self.drop_filled().await;
                }
            }
        };
        if tokio::time::timeout(DISCARD_LIMIT, taking_back).await.is_err() {
            let left = format!("{OWN_PREFIX}{}.*", self.tag);
            self.log.warn(format!("what this restore filled may be left, and the next one removes it: {left}"));
        }
    }

    async fn has_leftovers(&self) -> bool {
        let own = format!("{OWN_PREFIX}{}.", self.tag);
        for db in self.plan.databases.keys() {
            let there = survey::look(&self.client.database(db)).await;
            // What is kept on purpose ends in `.old`.
            let left = |name: &String| name.starts_with(&own) && !name.ends_with(".old");
            if there.is_ok_and(|(names, _)| names.iter().any(|(name, _)| left(name))) {
                return true;
            }
        }
        false
    }

    async fn drop_filled(&self) {
        let ours = |item: &&Item| item.way == Way::Aside || (item.kind == Kind::Timeseries && !item.exists);
        for item in self.plan.items.iter().filter(ours) {
            if let Err(failure) = self.drop_collection(&item.db, &self.filled_name(item)).await {
                self.log.debug(format!("not removed: {failure}"));
                return;
            }
        }
    }
}

/// The command that makes a collection or view.
fn create_command(name: &str, options: &Document) -> Document {
    let mut command = doc! {"create": name};
    command.extend(options.clone());
    command
}

/// A time series' granularity says how long its buckets are; some servers list both and take one.
fn without_what_granularity_says(options: &Document) -> Option<Document> {
    let series = options.get_document("timeseries").ok()?;
    (series.contains_key("granularity") && series.contains_key("bucketMaxSpanSeconds")).then(|| {
        let (mut options, mut series) = (options.clone(), series.clone());
        series.remove("bucketMaxSpanSeconds");
        options.insert("timeseries", series);
        options
    })
}

/// An index as it is asked for; none for those that a collection has by itself.
fn index_to_build(index: &Document) -> Option<Document> {
    if index.get_str("name").is_ok_and(|name| name == "_id_") || index.get_bool("clustered").unwrap_or_default() {
        return None;
    }
    let mut index = index.clone();
    // Servers of old said which collection an index is of; those of today refuse it.
    index.remove("ns");
    Some(index)
}

fn only(document: &Document, known: &[&str]) -> Document {
    let kept = document.iter().filter(|(key, _)| known.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_unknown_option(failure: &Failure) -> bool {
    failure.code == mongo::REFUSED_OPTION
}
