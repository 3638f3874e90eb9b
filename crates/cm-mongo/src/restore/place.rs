//! Makes the collections of a restore and gives them their indexes, under names of the restore's
//! own: what a run that failed leaves is removed, and the data that was there is as it was.

use super::journal::{Journal, tag_of};
use super::options::{KNOWN_INDEX_FIELDS, index_to_build, is_unknown_option, only};
use super::owner;
use super::plan::{Item, Plan, Way};
use super::step::{Form, Step};
use super::swap::{self, Swap};
use super::target::{AT_A_TIME, Target};
use crate::name::{MEANWHILE, OLD, OWN_PREFIX};
use crate::{command, survey};
use bson::{Document, doc};
use cm_archive::Kind;
use cm_core::{Exit, Failure, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::time::Duration;

/// Building an index reads a whole collection.
const INDEX_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// Index builds at a time: each takes a processor of the server.
const BUILDS: usize = 4;

/// How long cleaning up may take after a failure; the server may be gone.
const DISCARD_LIMIT: Duration = Duration::from_secs(10);

/// Works on the server for one restore.
pub struct Placer<'a> {
    /// The server.
    pub target: Target<'a>,
    /// What is to be done.
    pub plan: &'a Plan,
    /// Tells this restore's collections from those of another, and whose they are.
    pub tag: String,
}

/// What crashed restores have left under names of their own.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// Database and tag of those whose collections were changing their names.
    pub journals: Vec<(String, String)>,
    /// Database and name of what was filled.
    pub filled: Vec<(String, String)>,
    /// Database and name of what was put aside, and stays until a person looks at it.
    pub aside: Vec<(String, String)>,
}

impl Leftovers {
    /// Those in the databases of `plan`; `alone` if nobody else can be restoring.
    ///
    /// # Errors
    /// [`Exit::Usage`] if another restore may still run.
    pub fn of(plan: &Plan, alone: bool) -> Result<Leftovers> {
        let mut left = Leftovers::default();
        let names = plan.databases.iter().flat_map(|(db, all)| all.collections.keys().map(move |name| (db, name)));
        for (db, name) in names {
            let Some(rest) = name.strip_prefix(OWN_PREFIX) else { continue };
            if !alone && !owner::is_over(rest.split('.').next().unwrap_or_default()) {
                let message = format!("{db}.{name} belongs to another restore, which is still running");
                let hint = "wait until it has ended; what it leaves if it crashes is undone by the next restore";
                return Err(Failure::new(Exit::Usage, "restore.unfinished", message).hint(hint));
            }
            match tag_of(name) {
                Some(tag) => left.journals.push((db.clone(), tag.to_owned())),
                None if rest.ends_with(OLD) => left.aside.push((db.clone(), name.clone())),
                None => left.filled.push((db.clone(), name.clone())),
            }
        }
        // What had a name before a restore is its journal's matter; where there is none any more, nobody removes it.
        let journals = &left.journals;
        left.aside.retain(|(_, name)| {
            let is_of =
                |tag: &str| name.strip_prefix(OWN_PREFIX).is_some_and(|rest| rest.split('.').next() == Some(tag));
            name.contains(MEANWHILE) || !journals.iter().any(|(_, tag)| is_of(tag))
        });
        Ok(left)
    }

    /// Undoes or finishes the swaps that were interrupted, and says which; whether there were any.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn recover(&self, target: Target<'_>) -> Result<bool> {
        for (db, tag) in &self.journals {
            let recovered = Swap::recover(target, db, tag).await.map_err(Target::partway)?;
            if let Some(message) = swap::describe(recovered, db) {
                target.log.warn(message);
            }
        }
        Ok(!self.journals.is_empty())
    }

    /// Says what was put aside; what holds nothing is no loss, and removed.
    ///
    /// # Errors
    /// As [`Leftovers::recover`].
    pub async fn look_aside(&self, target: Target<'_>) -> Result<()> {
        for (db, name) in &self.aside {
            let database = target.client.database(db);
            if survey::has_document(&database, name, Kind::Collection, &Document::new()).await {
                let message = format!("{db}.{name} was put aside by an earlier restore: look at it, then drop it");
                target.log.warn(message);
            } else {
                target.drop_collection(db, name).await?;
            }
        }
        Ok(())
    }

    /// Removes what was filled. The server may have been at an insert of the restore that
    /// crashed, which makes its collection again: this is done twice.
    ///
    /// # Errors
    /// As [`Leftovers::recover`].
    pub async fn remove(&self, target: Target<'_>) -> Result<()> {
        for (db, name) in &self.filled {
            target.drop_collection(db, name).await?;
        }
        Ok(())
    }
}

impl Placer<'_> {
    /// The name under which an item is filled.
    pub fn filled_name(&self, item: &Item) -> String {
        match item.way {
            Way::Rename | Way::Copy => format!("{OWN_PREFIX}{}.{}", self.tag, item.index),
            Way::Add | Way::Define => item.collection.clone(),
        }
    }

    /// Makes what is to be filled.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn prepare(&self) -> Result<()> {
        let made = self.plan.items.iter().filter(|item| match item.way {
            Way::Rename | Way::Copy => true,
            // The first document makes `system.js`; `create` is not allowed.
            Way::Add => item.exists.is_none() && !item.collection.starts_with("system."),
            Way::Define => self.plan.in_place,
        });
        let making = made.map(|item| self.create(item));
        stream::iter(making).buffer_unordered(AT_A_TIME).try_collect::<Vec<()>>().await.map(drop)
    }

    /// That names and the journal may be changed: who has the role `restore` alone may not, which is better heard before
    /// anything is filled than when everything is.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`].
    pub async fn check_allowed(&self) -> Result<()> {
        let renamed = self.plan.items.iter().filter(|item| item.way == Way::Rename);
        let one_of_each: BTreeMap<_, _> = renamed.map(|item| (&item.db, item)).collect();
        for (db, item) in one_of_each {
            self.check_allowed_in(db, &self.filled_name(item)).await.map_err(|failure| match failure.code.as_str() {
                "backup.not-allowed" => failure.hint(format!(
                    "collections are replaced by renaming, with a journal, which the role \"restore\" alone may not: give the URI's user \"readWrite\" on {db:?}, too; nothing was changed"
                )),
                _ => failure,
            })?;
        }
        Ok(())
    }

    /// On a collection of the restore's own that is empty yet.
    async fn check_allowed_in(&self, db: &str, name: &str) -> Result<()> {
        let nothing = doc! {"q": {"_id": "nobody"}, "u": {"$set": {"a": 1}}};
        self.target.change(db, doc! {"update": name, "updates": [nothing]}).await?;
        let other = format!("{name}.undone");
        self.target.rename(db, name, &other, false).await?;
        self.target.rename(db, &other, name, false).await
    }

    async fn create(&self, item: &Item) -> Result<()> {
        let made = self.target.create(&item.db, &self.filled_name(item), &item.described.options).await;
        made.map_err(|failure| failure.cause(format!("{} could not be made", item.namespace())))
    }

    /// Builds the indexes of everything that was filled.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn build_indexes(&self) -> Result<()> {
        let filled = self.plan.items.iter().filter(|item| item.way != Way::Define);
        let building = filled.map(|item| self.build_indexes_of(item));
        stream::iter(building).buffer_unordered(BUILDS).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn build_indexes_of(&self, item: &Item) -> Result<()> {
        let options = &item.described.options;
        let indexes = item.described.indexes.iter().filter_map(|index| index_to_build(index, options));
        let indexes: Vec<_> = indexes.collect();
        if indexes.is_empty() {
            return Ok(());
        }
        let name = self.filled_name(item);
        let Err(failure) = self.create_indexes(&item.db, &name, &indexes).await else { return Ok(()) };
        let known: Vec<_> = indexes.iter().map(|index| only(index, &KNOWN_INDEX_FIELDS)).collect();
        if known == indexes || !is_unknown_option(&failure) {
            let hint =
                "indexes of servers of long ago: --convert-legacy-indexes; a restore without them: --skip-indexes";
            return Err(failure.cause(format!("the indexes of {} could not be built", item.namespace())).hint(hint));
        }
        self.target.log.warn(format!("{}: the server does not know all options of its indexes", item.namespace()));
        self.create_indexes(&item.db, &name, &known).await
    }

    async fn create_indexes(&self, db: &str, name: &str, indexes: &[Document]) -> Result<()> {
        self.target.check_lock().await?;
        let command = doc! {"createIndexes": name, "indexes": indexes.to_vec()};
        command::command_within(&self.target.client.database(db), command, INDEX_LIMIT).await.map(drop)
    }

    /// How everything gets its name; `None` where it has it.
    pub fn swap(&self) -> Option<Swap<'_>> {
        let changing = self.plan.items.iter().filter(|item| match item.way {
            Way::Rename | Way::Copy => true,
            Way::Define => !self.plan.in_place && (self.plan.replace || item.exists.is_none()),
            Way::Add => false,
        });
        let step = |(number, item): (usize, &Item)| Step {
            number: i32::try_from(number).unwrap_or(i32::MAX),
            db: item.db.clone(),
            name: item.collection.clone(),
            was: item.exists.as_ref().map(|was| Form::of(was.kind, &item.collection, &was.options)),
            comes: Form::of(item.kind, &item.collection, &item.described.options),
            filled: format!("{OWN_PREFIX}{}.{}", self.tag, item.index),
            old: format!("{OWN_PREFIX}{}.{}{OLD}", self.tag, item.index),
            copied: false.into(),
        };
        let steps: Vec<_> = changing.enumerate().map(step).collect();
        let mut databases: Vec<_> = steps.iter().map(|step| step.db.clone()).collect();
        databases.sort();
        databases.dedup();
        (!steps.is_empty()).then(|| Swap {
            target: self.target,
            tag: self.tag.clone(),
            journal: Journal::new(&self.tag, databases),
            steps,
        })
    }

    /// Removes what was filled of a restore that does not come to its end, as far as the server
    /// can be reached. It may still be at an insert that was given up, which makes its collection
    /// again: all is gone when nothing has come back for a while.
    pub async fn discard(&self) {
        const QUIET: u32 = 4;
        let mut quiet = 0;
        let removing = async {
            self.drop_filled().await;
            while quiet < QUIET {
                tokio::time::sleep(Duration::from_millis(250)).await;
                quiet = if self.has_leftovers().await { 0 } else { quiet + 1 };
                if quiet == 0 {
                    self.drop_filled().await;
                }
            }
        };
        if tokio::time::timeout(DISCARD_LIMIT, removing).await.is_err() {
            let left = format!("{OWN_PREFIX}{}.*", self.tag);
            self.target.log.warn(format!("what this restore filled may be left, and the next one removes it: {left}"));
        }
    }

    async fn has_leftovers(&self) -> bool {
        let own = format!("{OWN_PREFIX}{}.", self.tag);
        for db in self.plan.databases.keys() {
            let all = survey::listed(&self.target.client.database(db)).await;
            let left = |name: &str| name.starts_with(&own) && !name.ends_with(OLD);
            if all.is_ok_and(|all| all.iter().any(|one| left(&one.name))) {
                return true;
            }
        }
        false
    }

    async fn drop_filled(&self) {
        let filled = self.plan.items.iter().filter(|item| matches!(item.way, Way::Rename | Way::Copy));
        for item in filled {
            if let Err(failure) = self.target.drop_collection(&item.db, &self.filled_name(item)).await {
                self.target.log.debug(format!("not removed: {failure}"));
                return;
            }
        }
    }
}
