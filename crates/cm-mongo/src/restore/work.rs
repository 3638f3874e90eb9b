//! One restore: what the backup holds is filled under names that nobody uses, while the file is
//! verified; and only when it is verified and the server has every document and every index do the
//! collections take their names. Where a restore must change what is in use, the file is verified
//! first.

use super::accounts::{Accounts, changed};
use super::load::{self, Goal, Loaded};
use super::lock::Lock;
use super::owner;
use super::place::Placer;
use super::plan::{Item, Plan, Way};
use crate::survey;
use bson::Document;
use cm_archive::manifest::Manifest;
use cm_archive::progress::{self, Progress};
use cm_archive::verify::{self, Contents, Verified};
use cm_archive::{Kind, Prelude, Stored};
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::sync::{Arc, Mutex};

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
    /// Looks at what is where the backup goes, and decides how each collection gets there.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said; [`Exit::Usage`] as [`Plan::place`].
    pub async fn look(&self, plan: &mut Plan) -> Result<()> {
        for (name, existing) in &mut plan.databases {
            let (collections, has_documents) = survey::look(&self.client.database(name)).await?;
            existing.collections = collections.into_iter().collect();
            existing.has_documents = has_documents;
        }
        plan.place()
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
    /// to existing ones, and time series.
    pub async fn carry_out(&self, plan: &Plan, verification: Verification<'_>) -> Result<Restored> {
        let tag = owner::tag();
        let trial = plan.trial(&tag);
        let placer = |plan| Placer {
            client: self.client,
            plan,
            tag: tag.clone(),
            renamed: Mutex::default(),
            lock: self.lock,
            log: self.log,
        };
        let leftovers = placer(plan).remove_leftovers().await?;
        if let Some(trial) = &trial {
            self.log
                .info("filling time series alongside those that are there first, to see that the server takes them");
            let placer = placer(trial);
            let _given_up = GivenUp { placer: &placer, armed: true };
            self.fill(&placer, verification).await?;
        }
        let placer = placer(plan);
        let mut given_up = GivenUp { placer: &placer, armed: true };
        let restored = self.fill(&placer, verification).await?;
        self.log.info("all documents are there; building indexes");
        placer.build_indexes().await?;
        placer.remove_again(&leftovers).await?;
        if let Some(accounts) = &self.accounts {
            placer.check_lock().await?;
            accounts.add(self.client, self.log).await?;
        }
        placer.swap().await?;
        given_up.armed = false;
        Ok(restored)
    }

    /// Makes what is to be filled, and fills it.
    async fn fill(&self, placer: &Placer<'_>, verification: Verification<'_>) -> Result<Restored> {
        placer.prepare().await?;
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
    armed: bool,
}

impl Drop for GivenUp<'_, '_> {
    fn drop(&mut self) {
        if self.armed {
            self.placer.log.debug("removing what was filled and has no name yet");
            let discard = self.placer.discard();
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(discard));
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
    let added = plan.items.iter().any(|item| item.way == Way::InPlace && item.exists);
    let hint = match added {
        true => "the others were added to the collections that were there; --drop replaces those instead",
        false => "nothing was changed",
    };
    let failure = Failure::new(Exit::Backup, "restore.documents", message).hint(hint);
    Err(loaded.reasons.iter().fold(failure, Failure::cause))
}
