//! The last step of a restore: collections get their names, and views their definitions. If that
//! fails, all names are as they were before.

use super::owner::OWN_PREFIX;
use super::place::{NAMESPACE_NOT_FOUND, Placer};
use super::plan::{Item, Way};
use crate::connection;
use crate::survey;
use bson::{Document, doc};
use cm_archive::Kind;
use cm_core::{Failure, Result};
use std::sync::PoisonError;
use std::time::Duration;

/// How long cleaning up may take after a failure; the server may be gone.
const DISCARD_LIMIT: Duration = Duration::from_secs(10);

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

impl Placer<'_> {
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
                Err(error) if connection::code(&error) != Some(NAMESPACE_NOT_FOUND) => {
                    let what =
                        format!("{db}.{to} could not be renamed back to {from}: rename it by hand; nothing is lost");
                    left.push((what, connection::cause(&error)));
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
                Err(error) if connection::code(&error) == Some(NAMESPACE_EXISTS) && tried < MOST_NEWCOMERS => {
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

    /// Undoes what was done of a restore that does not come to its end, as far as the
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
