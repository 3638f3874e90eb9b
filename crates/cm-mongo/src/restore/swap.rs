//! The last part of a restore: collections get their names, and views their definitions. It is
//! done step by step, with a journal; a step is undone or finished from what the journal says of
//! it and from what is there, so that it makes no difference whether the same program does it, or
//! another one after a crash, or both one after the other.

use super::copy::{copy, remove_all};
use super::journal::{Journal, Phase};
use super::step::{Form, Step};
use super::target::{AT_A_TIME, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND, Target};
use super::twin::is_within;
use crate::name::{MEANWHILE, OLD, OWN_PREFIX};
use crate::{connection, survey};
use cm_archive::Kind;
use cm_core::{Exit, Failure, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often what was written meanwhile is put aside, before a person has to do it.
const MOST_NEWCOMERS: u32 = 20;

/// How long a change may still be on its way that nobody waits for any more.
const IN_FLIGHT: Duration = Duration::from_millis(300);

/// The collections and views of each database, by name.
type Present = HashMap<String, BTreeMap<String, survey::Listed>>;

/// The swap of one restore.
pub struct Swap<'a> {
    /// The server.
    pub target: Target<'a>,
    /// Tells this restore's collections from those of another.
    pub tag: String,
    /// The journal.
    pub journal: Journal,
    /// What is done.
    pub steps: Vec<Step>,
}

/// What became of a swap that was interrupted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recovered {
    /// It had not begun, or was over.
    Nothing,
    /// Everything is as it was before.
    Undone,
    /// Everything is as it was restored.
    Finished,
}

impl Swap<'_> {
    /// Gives everything its name. A failure has undone nothing yet: [`Swap::undo`] does. What could
    /// not be removed afterwards is told, and nothing worse.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`] with what the server said, [`cm_core::Exit::LockLost`].
    pub async fn run(&self) -> Result<()> {
        self.journal.write(self.target, &self.steps).await?;
        let (renamed, others) = in_order(self.steps.iter());
        all_at_once(renamed.into_iter().map(|step| self.exchange(step))).await?;
        for step in others {
            self.exchange(step).await?;
        }
        self.journal.set_done(self.target).await
    }

    /// Undoes or finishes what the journal of `tag` in `db` tells about.
    ///
    /// # Errors
    /// As [`Swap::run`]; trying again is right.
    pub async fn recover(target: Target<'_>, db: &str, tag: &str) -> Result<Recovered> {
        // The server may still be at what the one who was interrupted has asked for last.
        tokio::time::sleep(IN_FLIGHT).await;
        let (journal, found) = Journal::read(target, db, tag).await?;
        let Some((phase, steps)) = found else {
            journal.remove(target).await?;
            return Ok(Recovered::Nothing);
        };
        let swap = Swap { target, tag: tag.to_owned(), journal, steps };
        match phase {
            Phase::Swapping => swap.undo().await.map(|()| Recovered::Undone),
            Phase::Done => swap.finish().await.map(|()| Recovered::Finished),
        }
    }

    async fn exchange(&self, step: &Step) -> Result<()> {
        self.move_away(step).await?;
        let (db, filled, name) = (&step.db, &step.filled, &step.name);
        match &step.comes {
            // Whoever writes between the two renamings makes the collection again: that is replaced as well.
            Form::Collection => self.target.rename(db, filled, name, step.was.is_some()).await,
            Form::View(options) => self.target.create(db, name, options).await,
            copied => copy(self.target, db, copied, filled, name).await,
        }
        .map_err(|failure| failure.cause(format!("{} could not get its name", step.namespace())))
    }

    async fn move_away(&self, step: &Step) -> Result<()> {
        match &step.was {
            None => Ok(()),
            Some(Form::Collection) => self.target.rename(&step.db, &step.name, &step.old, false).await,
            Some(Form::View(_)) => self.target.drop_collection(&step.db, &step.name).await,
            Some(copied) => {
                copy(self.target, &step.db, copied, &step.name, &step.old).await?;
                self.journal.set_copied(self.target, step).await?;
                remove_all(self.target, &step.db, &step.name).await
            }
        }
    }

    /// Takes all names back, and with them the journal.
    ///
    /// # Errors
    /// As [`Swap::run`]; what is not undone yet is undone by the next try.
    pub async fn undo(&self) -> Result<()> {
        self.withdraw_all().await?;
        let first = self.undo_all(|_| true).await;
        if let Err(failure) = first.as_ref()
            && failure.exit == Exit::LockLost
        {
            return first;
        }
        // The server may have been at a change of the one who was interrupted, and have made it since: what is there now
        // counts, and what could not be undone is tried once more.
        tokio::time::sleep(IN_FLIGHT).await;
        let again = |step: &Step| first.is_err() || !step.was.as_ref().is_some_and(Form::is_copied);
        self.undo_all(again).await?;
        all_at_once(self.steps.iter().map(|step| self.remove(step, &step.filled))).await?;
        all_at_once(self.renamed().map(async |step| self.remove(step, &step.withdrawn()).await)).await?;
        all_at_once(self.copies().map(|step| self.remove(step, &step.old))).await?;
        self.journal.remove(self.target).await
    }

    /// What was filled and has no name yet gets one that nobody knows of. The server may still be at a
    /// renaming of the one who was interrupted, which would replace what is about to get its name back.
    async fn withdraw_all(&self) -> Result<()> {
        all_at_once(self.renamed().map(async |step| {
            self.target.check_lock().await?;
            let renamed = self.target.try_rename(&step.db, &step.filled, &step.withdrawn()).await;
            let Err(error) = renamed else { return Ok(()) };
            match connection::code(&error) {
                Some(NAMESPACE_NOT_FOUND) => Ok(()),
                // It was withdrawn before; a server whose renamings are not one step may have left it here, too.
                Some(NAMESPACE_EXISTS) => self.remove(step, &step.filled).await,
                _ => Err(connection::failure(&error, format!("{}.{} cannot be withdrawn", step.db, step.filled))),
            }
        }))
        .await
    }

    /// The steps whose new collection is renamed.
    fn renamed(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.comes == Form::Collection)
    }

    /// One that fails is no reason to leave the others.
    async fn undo_all(&self, wanted: impl Fn(&Step) -> bool) -> Result<()> {
        let present = self.present().await?;
        let (renamed, others) = in_order(self.steps.iter().filter(|step| wanted(step)));
        let renamed = renamed.into_iter().map(|step| self.undo_one(step, &present));
        let mut tried: Vec<_> = stream::iter(renamed).buffer_unordered(AT_A_TIME).collect().await;
        for step in others {
            tried.push(self.undo_one(step, &present).await);
        }
        tried.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Removes what was replaced, and the journal.
    ///
    /// # Errors
    /// As [`Swap::run`].
    pub async fn finish(&self) -> Result<()> {
        let replaced = self.steps.iter().filter(|step| step.was.is_some());
        all_at_once(replaced.map(|step| self.remove(step, &step.old))).await?;
        let copied = self.steps.iter().filter(|step| step.comes.is_copied());
        all_at_once(copied.map(|step| self.remove(step, &step.filled))).await?;
        self.journal.remove(self.target).await
    }

    /// The steps whose old collection is a copy, which is needed no more once it was copied back.
    fn copies(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.was.as_ref().is_some_and(Form::is_copied))
    }

    async fn remove(&self, step: &Step, name: &str) -> Result<()> {
        self.target.drop_collection(&step.db, name).await
    }

    async fn present(&self) -> Result<Present> {
        let mut present = Present::new();
        for step in &self.steps {
            if !present.contains_key(&step.db) {
                let all = survey::listed(&self.target.client.database(&step.db)).await?;
                present.insert(step.db.clone(), all.into_iter().map(|one| (one.name.clone(), one)).collect());
            }
        }
        Ok(present)
    }

    async fn undo_one(&self, step: &Step, present: &Present) -> Result<()> {
        let in_database = &present[&step.db];
        let has = |name: &str| in_database.contains_key(name);
        let now = in_database.get(&step.name);
        // What was filled was not to be withdrawn only when it got its name.
        let ours = now.is_some_and(|now| match &step.comes {
            Form::Collection => now.kind == Kind::Collection && !has(&step.withdrawn()),
            Form::View(_) => now.kind == Kind::View,
            Form::Series => now.kind == Kind::Timeseries,
            Form::Stored => true,
        });
        match &step.was {
            None if ours => self.take_name(step).await,
            None => Ok(()),
            Some(Form::Collection) if has(&step.old) => {
                if ours {
                    self.take_name(step).await?;
                } else if now.is_some() && is_within(self.target, &step.db, &step.old, &step.name).await? {
                    return self.remove(step, &step.old).await;
                }
                self.give_back(step).await
            }
            Some(Form::View(options)) => {
                if now.is_some_and(|now| now.kind == Kind::View && now.options == *options) {
                    return Ok(());
                }
                match now {
                    Some(now) if ours || now.kind == Kind::View => self.take_name(step).await?,
                    Some(_) => self.put_aside(step, 1).await,
                    None => {}
                }
                self.target.create(&step.db, &step.name, options).await
            }
            Some(copied) if copied.is_copied() && step.copied.load(Ordering::Relaxed) => {
                match now {
                    Some(_) if ours && !step.comes.is_copied() => self.take_name(step).await?,
                    Some(now) if !ours && now.kind == Kind::Collection => self.put_aside(step, 1).await,
                    _ => {}
                }
                copy(self.target, &step.db, copied, &step.old, &step.name).await
            }
            Some(_) => Ok(()),
        }
    }

    /// What was restored loses its name: it is withdrawn, or gone for good.
    async fn take_name(&self, step: &Step) -> Result<()> {
        match step.comes {
            Form::Collection => self.target.rename(&step.db, &step.name, &step.withdrawn(), false).await,
            _ => remove_all(self.target, &step.db, &step.name).await,
        }
    }

    /// Gives what was there its name back. What somebody wrote meanwhile under that name is kept
    /// aside.
    async fn give_back(&self, step: &Step) -> Result<()> {
        let mut tried = 0;
        loop {
            self.target.check_lock().await?;
            let renamed = self.target.try_rename(&step.db, &step.old, &step.name).await;
            let Err(error) = renamed else { return Ok(()) };
            if connection::code(&error) != Some(NAMESPACE_EXISTS) || tried == MOST_NEWCOMERS {
                let message = format!("{}.{} could not be renamed back to {}", step.db, step.old, step.name);
                return Err(connection::failure(&error, message));
            }
            tried += 1;
            self.put_aside(step, tried).await;
        }
    }

    async fn put_aside(&self, step: &Step, time: u32) {
        let (db, log) = (&step.db, self.target.log);
        let aside = format!("{OWN_PREFIX}{}.{}{MEANWHILE}{time}{OLD}", self.tag, step.number);
        if self.target.try_rename(db, &step.name, &aside).await.is_err() {
            return;
        }
        // A server whose renamings are not one step may have been at one: of what was filled, or of what was there.
        for whole in [step.withdrawn(), step.old.clone()] {
            if is_within(self.target, db, &aside, &whole).await.unwrap_or_default()
                && self.remove(step, &aside).await.is_ok()
            {
                return;
            }
        }
        let namespace = step.namespace();
        log.warn(format!("what was written to {namespace} meanwhile is in {db}.{aside}: look at it, then drop it"));
    }
}

/// The steps that only rename, which may be done at once, and after them the others, one by one: copies, during which
/// collections are listed, which some servers cannot do while others lose their names; last views, when there is what they
/// show (one may show another).
fn in_order<'s>(steps: impl Iterator<Item = &'s Step>) -> (Vec<&'s Step>, Vec<&'s Step>) {
    let (renamed, mut others): (Vec<_>, Vec<_>) = steps.partition(|step| step.is_renaming());
    others.sort_by_key(|step| step.has_view());
    (renamed, others)
}

/// A few at a time; the first failure ends it.
async fn all_at_once<F: Future<Output = Result<()>>>(futures: impl Iterator<Item = F>) -> Result<()> {
    stream::iter(futures).buffer_unordered(AT_A_TIME).try_collect::<Vec<()>>().await.map(drop)
}

/// For people: what a crashed restore had left, and what became of it.
pub fn describe(recovered: Recovered, database: &str) -> Option<String> {
    match recovered {
        Recovered::Nothing => None,
        Recovered::Undone => Some(format!(
            "an interrupted restore had left {database:?} partway: it was undone, everything is as it was before that restore"
        )),
        Recovered::Finished => Some(format!(
            "an interrupted restore had brought everything back into {database:?}: what it replaced was removed now"
        )),
    }
}

/// A failure before or while names were given, after all was undone, or not.
pub fn undone(failure: Failure, undone: Result<()>) -> Failure {
    match undone {
        Ok(()) => failure.cause("every collection has been given its name back: nothing was changed"),
        Err(why) => Target::partway(failure.cause(format!("undoing failed: {why}"))),
    }
}
