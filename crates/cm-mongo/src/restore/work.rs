//! One restore: what the backup holds is filled under names that nobody uses, while the file is
//! verified; and only when it is verified and the server has every document and every index do the
//! collections take their names. Where a restore must change what is in use, the file is verified
//! first.

use super::accounts::{Accounts, changed};
use super::load::{self, Goal, Loaded};
use super::lock::Lock;
use super::owner;
use super::place::{Leftovers, Placer};
use super::plan::{Item, Plan, Present, Way};
use super::swap::{self, Swap};
use super::target::Target;
use crate::survey;
use bson::Document;
use cm_archive::manifest::Manifest;
use cm_archive::progress::{self, Progress};
use cm_archive::verify::{self, Contents, Verified};
use cm_archive::{Kind, Prelude, Stored};
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::sync::Arc;
use std::time::Duration;

/// How long undoing may take when a person waits for the end.
const UNDO_LIMIT: Duration = Duration::from_secs(60);

/// When the file of a restore is verified.
#[derive(Clone, Copy, Debug)]
pub enum Verification<'a> {
    /// It was, as this.
    Before(&'a Contents, Verified),
    /// While what it announces is filled under names that nobody uses.
    Meanwhile(Option<&'a Manifest>, &'a Prelude),
}

impl Verification<'_> {
    async fn end(self, file: &dyn Stored) -> Result<(Contents, Verified)> {
        let (manifest, prelude) = match self {
            Verification::Before(contents, verified) => return Ok((contents.clone(), verified)),
            Verification::Meanwhile(manifest, prelude) => (manifest, prelude),
        };
        let (contents, verified) = verify::verify(file, manifest, &Arc::default()).await?;
        if contents.prelude != *prelude {
            return Err(changed(file));
        }
        Ok((contents, verified))
    }

    /// The length of the documents of an entry in bytes of BSON, where it is known.
    fn bytes(self, index: usize) -> Option<u64> {
        match self {
            Verification::Before(contents, _) => Some(contents.totals[index].bytes),
            Verification::Meanwhile(manifest, prelude) => {
                let entry = prelude.entries.get(index)?;
                let mut namespaces = manifest?.namespaces.iter();
                namespaces.find(|one| (&one.db, &one.collection) == (&entry.db, &entry.collection)).map(|one| one.bytes)
            }
        }
    }

    fn entries(self) -> usize {
        match self {
            Verification::Before(contents, _) => contents.prelude.entries.len(),
            Verification::Meanwhile(_, prelude) => prelude.entries.len(),
        }
    }
}

/// What a restore brought back.
#[derive(Debug)]
pub struct Restored {
    /// The backup, read to its end.
    pub contents: Contents,
    /// How sure one can be of it.
    pub verified: Verified,
    /// What became of its documents.
    pub loaded: Loaded,
}

/// One restore, ready to begin.
pub struct Restore<'a> {
    /// The backup.
    pub file: &'a dyn Stored,
    /// The server.
    pub client: &'a Client,
    /// The deploy lock, where the database belongs to a project.
    pub lock: Option<&'a dyn Lock>,
    /// Users and roles that are added.
    pub accounts: Option<Accounts>,
    /// Whether every document is to come in the order of the backup.
    pub in_order: bool,
    /// Messages for people.
    pub log: &'a Log,
}

impl Restore<'_> {
    /// Looks at what is where the backup goes.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn look(&self, plan: &mut Plan) -> Result<()> {
        for (name, existing) in &mut plan.databases {
            let (all, has_documents) = survey::look(&self.client.database(name)).await?;
            let present = |one: survey::Listed| (one.name, Present { kind: one.kind, options: one.options });
            existing.collections = all.into_iter().map(present).collect();
            existing.has_documents = has_documents;
        }
        Ok(())
    }

    /// Undoes or finishes what an interrupted restore has left partway, says which, and looks
    /// again; a dry run only says that it would.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, [`Exit::LockLost`]; [`Exit::Usage`] if another
    /// restore may still run.
    pub async fn recover(&self, plan: &mut Plan, dry_run: bool) -> Result<()> {
        let left = Leftovers::of(plan, self.lock.is_some())?;
        if dry_run {
            for (db, _) in &left.journals {
                self.log.warn(format!(
                    "an interrupted restore has left {db:?} partway, which would be undone or finished first"
                ));
            }
            return Ok(());
        }
        left.look_aside(self.target()).await?;
        if left.recover(self.target()).await? {
            self.look(plan).await?;
        }
        Ok(())
    }

    fn target(&self) -> Target<'_> {
        Target { client: self.client, lock: self.lock, log: self.log }
    }

    /// Says what a restore would do at `place`.
    pub fn tell(&self, plan: &Plan, place: &str) {
        self.log.info(format!("restoring {} into {place}", self.file.display()));
        for line in plan.describe() {
            self.log.info(line);
        }
        for line in &plan.skipped {
            self.log.info(format!("not restored: {line}"));
        }
        let strangers = plan.strangers();
        if !strangers.is_empty() && plan.replace {
            self.log.warn(format!("not in the backup, and left as they are: {}", strangers.join(", ")));
        }
    }

    /// Restores what `plan` says.
    ///
    /// # Errors
    /// [`Exit::Backup`]; no collection has changed then, but for documents that were added
    /// to existing ones.
    pub async fn carry_out(&self, plan: &Plan, verification: Verification<'_>) -> Result<Restored> {
        let left = Leftovers::of(plan, self.lock.is_some())?;
        let placer = Placer { target: self.target(), plan, tag: owner::tag() };
        left.remove(placer.target).await?;
        for (db, name) in &left.filled {
            self.log.info(format!("removed {db}.{name}, left by a crashed restore"));
        }
        let mut given_up = GivenUp { placer: &placer, swap: None, armed: true };
        let restored = self.fill(&placer, verification).await?;
        self.log.info("all documents are there; building indexes");
        placer.build_indexes().await?;
        left.remove(placer.target).await?;
        if let Some(accounts) = &self.accounts {
            self.target().check_lock().await?;
            accounts.add(self.client, self.log).await?;
        }
        if let Some(swap) = placer.swap() {
            let swap = given_up.swap.insert(swap);
            if let Err(failure) = swap.run().await {
                // A database that is partway is worse than a lock that is lost.
                swap.target.lock = None;
                let undone = swap.undo().await;
                given_up.armed = false;
                return Err(swap::undone(failure, undone));
            }
        }
        given_up.armed = false;
        if let Some(swap) = &given_up.swap
            && let Err(failure) = swap.finish().await
        {
            self.log.warn(format!(
                "everything is restored; what it replaced is left, and removed by the next restore: {failure}"
            ));
        }
        Ok(restored)
    }

    /// Makes what is to be filled, and fills it.
    async fn fill(&self, placer: &Placer<'_>, verification: Verification<'_>) -> Result<Restored> {
        placer.prepare().await?;
        placer.check_allowed().await?;
        let goals = self.goals(placer, verification.entries()).await?;
        let progress = Arc::new(Progress::default());
        let items = &placer.plan.items;
        let bytes = items.iter().map(|item| verification.bytes(item.index)).sum();
        let aim = progress::Goal { what: "restore", bytes, collections: items.len() as u64 };
        let both = async {
            tokio::try_join!(verification.end(self.file), load::load(self.client, self.file, goals, &progress))
        };
        let ((contents, verified), loaded) = tokio::select! {
            done = both => done?,
            never = progress.report(self.log, aim) => never,
        };
        if loaded.contents.sha256 != contents.sha256 {
            return Err(changed(self.file));
        }
        check_all_inserted(placer.plan, &contents, &loaded)?;
        Ok(Restored { contents, verified, loaded })
    }

    /// Where the documents of each entry go.
    async fn goals(&self, placer: &Placer<'_>, entries: usize) -> Result<Vec<Option<Goal>>> {
        let mut goals = vec![None; entries];
        for item in placer.plan.items.iter().filter(|item| item.way != Way::Define) {
            goals[item.index] = Some(self.goal(placer, item).await?);
        }
        Ok(goals)
    }

    async fn goal(&self, placer: &Placer<'_>, item: &Item) -> Result<Goal> {
        let mut collection = placer.filled_name(item);
        let mut extra = Document::new();
        if item.described.options.contains_key("validator") {
            // What the server has let in once comes back, whatever its rules are now.
            extra.insert("bypassDocumentValidation", true);
        }
        if item.kind == Kind::Timeseries {
            match survey::has_buckets(&self.client.database(&item.db), &collection).await? {
                true => collection = format!("system.buckets.{collection}"),
                false => drop(extra.insert("rawData", true)),
            }
        }
        let in_order = self.in_order || item.described.options.get_bool("capped").unwrap_or_default();
        Ok(Goal { db: item.db.clone(), collection, extra, in_order })
    }
}

/// Undoes what a restore did that failed or is given up partway, as by Ctrl-C.
struct GivenUp<'p, 'a> {
    placer: &'p Placer<'a>,
    /// What was giving names.
    swap: Option<Swap<'p>>,
    armed: bool,
}

impl GivenUp<'_, '_> {
    async fn clean_up(&self) {
        if let Some(swap) = &self.swap {
            let undone = tokio::time::timeout(UNDO_LIMIT, swap.undo()).await;
            let why = match undone {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure.to_string()),
                Err(_) => Some(format!("it took more than {} s", UNDO_LIMIT.as_secs())),
            };
            if let Some(why) = why {
                let log = self.placer.target.log;
                log.warn(format!("what was begun could not be undone: {why}"));
                log.warn("the next `cm-backup restore` into this database undoes it before anything else");
                return;
            }
        }
        self.placer.discard().await;
    }
}

impl Drop for GivenUp<'_, '_> {
    fn drop(&mut self) {
        if self.armed {
            self.placer.target.log.debug("removing what was filled and has no name yet");
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.clean_up()));
        }
    }
}

/// A document that the server refused is a document that is not there.
fn check_all_inserted(plan: &Plan, verified: &Contents, loaded: &Loaded) -> Result<()> {
    let wanted: u64 = plan.items.iter().map(|item| verified.totals[item.index].documents).sum();
    if loaded.failed == 0 && loaded.inserted == wanted {
        return Ok(());
    }
    let message = format!("{} of {} could not be inserted", loaded.failed, cm_core::plural(wanted, "document"));
    let added = plan.items.iter().any(|item| item.way == Way::Add && item.exists.is_some());
    let hint = match added {
        true => "the others were added to the collections that were there; --drop replaces those instead",
        false => "nothing was changed",
    };
    let failure = Failure::new(Exit::Backup, "restore.documents", message).hint(hint);
    Err(loaded.reasons.iter().fold(failure, Failure::cause))
}
