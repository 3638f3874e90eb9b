//! `cm-backup restore FILE`: a backup comes back whole, or nothing changes. What it holds is
//! filled under names that nobody uses, while the file is proved; and only when it is proved
//! and the server has every document and every index do the collections take their names.
//! Where a restore must change what is in use, the file is proved first.

mod accounts;
mod load;
mod names;
mod owner;
mod place;
mod plan;
mod rehearsal;

pub use names::Renames;
pub use plan::{Plan, Wanted};
pub use rehearsal::rehearse;

use crate::archive::{Kind, Prelude};
use crate::args::{Args, RestoreArgs};
use crate::check::{self, Check, Proof};
use crate::file::BackupFile;
use crate::manifest::Manifest;
use crate::progress::{self, Progress};
use crate::verify::{self, Contents};
use crate::{places, source::Source, survey, text};
use accounts::Accounts;
use bson::Document;
use cm_core::{Exit, Failure, Io, Log, Result, Run, actor};
use cm_host::Host;
use cm_lease::Guard;
use cm_project::Project;
use load::{Goal, Loaded};
use mongodb::Client;
use place::Placer;
use plan::{Item, Way};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// When the file of a restore is proved.
#[derive(Clone, Copy, Debug)]
pub enum Proving<'a> {
    /// It was, as this.
    Before(&'a Contents, Proof),
    /// While what it announces is filled under names that nobody uses.
    Meanwhile(&'a Check<'a>, Option<&'a Manifest>, &'a Prelude),
}

impl Proving<'_> {
    async fn end(self) -> Result<(Contents, Proof)> {
        let (check, manifest, prelude) = match self {
            Proving::Before(contents, proof) => return Ok((contents.clone(), proof)),
            Proving::Meanwhile(check, manifest, prelude) => (check, manifest, prelude),
        };
        let (contents, proof) = check.prove_against(manifest, &Arc::default()).await?;
        if contents.prelude != *prelude {
            return Err(changed(check.file));
        }
        Ok((contents, proof))
    }

    /// The length of the documents of an entry in bytes of BSON, where it is known.
    fn bytes(self, index: usize) -> Option<u64> {
        match self {
            Proving::Before(contents, _) => Some(contents.totals[index].bytes),
            Proving::Meanwhile(_, manifest, prelude) => {
                let entry = prelude.entries.get(index)?;
                let mut namespaces = manifest?.namespaces.iter();
                namespaces.find(|one| (&one.db, &one.collection) == (&entry.db, &entry.collection)).map(|one| one.bytes)
            }
        }
    }

    fn entries(self) -> usize {
        match self {
            Proving::Before(contents, _) => contents.prelude.entries.len(),
            Proving::Meanwhile(_, _, prelude) => prelude.entries.len(),
        }
    }
}

/// What a restore brought back.
#[derive(Debug)]
pub struct Restored {
    /// The backup, read to its end.
    pub contents: Contents,
    /// How sure one can be of it.
    pub proof: Proof,
    /// What became of its documents.
    pub loaded: Loaded,
}

/// One restore, ready to begin.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub file: &'a BackupFile,
    /// The server.
    pub client: &'a Client,
    /// The deploy lock and its host, where the database belongs to a project.
    pub lock: Option<(&'a Guard, &'a Host)>,
    /// Users and roles that are added.
    pub accounts: Option<Accounts>,
    /// Whether every document is to come in the order of the backup.
    pub in_order: bool,
    /// Messages for people.
    pub log: &'a Log,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Exit::Usage`] for what is refused before anything is changed, [`Exit::Backup`] for a
/// backup that does not verify or could not be restored whole, [`Exit::LockHeld`],
/// [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn run(args: &Args, restore: &RestoreArgs, io: &Io) -> Result<Exit> {
    let file = BackupFile::find(args, &restore.file, &io.log).await?;
    if matches!(file, BackupFile::Stdin) {
        return Err(read_twice());
    }
    let prelude = announced(&file).await?;
    let renames = Renames::new(&restore.ns_from, &restore.ns_to, args.database.as_deref())?;
    let wanted = Wanted {
        collections: restore.collection.clone(),
        renames,
        replace: restore.drop,
        in_place: false,
        users_and_roles: restore.users_and_roles,
    };
    let plan = Plan::make(&prelude, &wanted)?;
    let destination = places::destination(args, &io.log).await?;
    let source = &destination.source;
    let done = match &destination.owner {
        Some(owner) => under_lock(args, restore, &file, prelude, plan, (source, owner), io).await,
        None => steps(args, restore, &file, prelude, plan, (source, None), io).await,
    };
    destination.source.close().await;
    done
}

/// A restore into a project's database waits for no deploy and lets none begin.
async fn under_lock(
    args: &Args,
    restore: &RestoreArgs,
    file: &BackupFile,
    prelude: Prelude,
    plan: Plan,
    (source, (project, host)): (&Source, &(Project, Host)),
    io: &Io,
) -> Result<Exit> {
    let mut doc = cm_core::Document::start("cm-backup", &actor(), args.common.dry_run);
    doc.set_target(&project.name(), None, None);
    let run = Run { doc, log: io.log.clone(), started_here: true };
    let lock = project.lock();
    let guard = Guard::enter(&project.name(), lock.lease, &lock.file, std::slice::from_ref(host), &run).await?;
    let done = steps(args, restore, file, prelude, plan, (source, Some((&guard, host))), io).await;
    let released = guard.release().await;
    let exit = done?;
    released?;
    Ok(exit)
}

async fn steps(
    args: &Args,
    restore: &RestoreArgs,
    file: &BackupFile,
    prelude: Prelude,
    mut plan: Plan,
    (source, lock): (&Source, Option<(&Guard, &Host)>),
    io: &Io,
) -> Result<Exit> {
    let clock = Instant::now();
    let mut this = Restore { file, client: &source.client, lock, accounts: None, in_order: false, log: &io.log };
    let accounts_of = restore.users_and_roles.then(|| accounts::database(&prelude, &plan)).transpose()?;
    this.look(&mut plan).await?;
    this.tell(&plan, &source.display);
    if !args.common.dry_run {
        check_confirmed(&plan, &restore.confirm)?;
    }
    let check = Check { file, manifest: restore.manifest.as_deref(), strict: args.strict };
    let restored = if plan.is_beside() && accounts_of.is_none() && !args.common.dry_run {
        io.log.info(format!("reading {} to its end before a collection gets its name", file.display()));
        let manifest = check.manifest().await?;
        let restored = this.carry_out(&plan, Proving::Meanwhile(&check, manifest.as_ref(), &prelude)).await?;
        warn_of(restored.proof, &io.log);
        restored
    } else {
        io.log.info(format!("reading {} to its end before anything is changed", file.display()));
        let (contents, proof) = check.prove(&io.log).await?;
        warn_of(proof, &io.log);
        if contents.prelude != prelude {
            return Err(changed(file));
        }
        if let Some(database) = accounts_of {
            this.accounts = Some(this.accounts(&contents, &database).await?);
        }
        if args.common.dry_run {
            io.log.info(format!("would restore {} into {}", check::holds(&contents), source.display));
            return Ok(Exit::Done);
        }
        this.carry_out(&plan, Proving::Before(&contents, proof)).await?
    };
    let Restored { contents, proof, loaded } = restored;
    io.log.success(format!(
        "restored {} of {} into {} ({})",
        cm_core::plural(loaded.inserted, "document"),
        file.display(),
        source.display,
        text::duration(clock.elapsed())
    ));
    if restore.json {
        let (users, roles) = this.accounts.as_ref().map(Accounts::list).unwrap_or_default();
        io.print_json(&json!({
            "file": file.display(),
            "sha256": contents.sha256,
            "proved": if proof == Proof::Complete { "complete" } else { "intact" },
            "documents": loaded.inserted,
            "namespaces": plan.items.iter().map(|item| json!({"from": item.from, "to": item.namespace()})).collect::<Vec<_>>(),
            "skipped": plan.skipped,
            "users": users,
            "roles": roles,
            "duration_ms": u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        }))?;
    }
    Ok(Exit::Done)
}

fn warn_of(proof: Proof, log: &Log) {
    if proof == Proof::Intact {
        log.warn("structure intact, completeness not proved: there is no manifest beside it");
    }
}

/// stdin is no backup to restore.
pub fn read_twice() -> Failure {
    Failure::new(Exit::Usage, "restore.stdin", "a restore reads the backup twice, which stdin cannot")
        .hint("write it to a file first")
}

/// What the backup announces, to plan with; it is proved later.
async fn announced(file: &BackupFile) -> Result<Prelude> {
    file.peek(verify::read_prelude).await?.map_err(|error| {
        Failure::new(Exit::Backup, "backup.not-proved", format!("{} is not an intact backup", file.display()))
            .cause(error)
    })
}

fn changed(file: &BackupFile) -> Failure {
    let message = format!("{} changed while it was read", file.display());
    Failure::new(Exit::Backup, "restore.file-changed", message).hint("nothing was changed; try again").retryable()
}

/// Whoever changes a database with documents in it must have named it.
fn check_confirmed(plan: &Plan, confirmed: &[String]) -> Result<()> {
    let missing = plan.severe().into_iter().find(|name| !confirmed.iter().any(|one| one == name));
    let Some(name) = missing else { return Ok(()) };
    let message = format!("the database {name:?} has documents, and this restore would change it");
    Err(Failure::new(Exit::Usage, "restore.unconfirmed", message)
        .hint(format!("--confirm={name} goes on; --db OTHER restores beside it; --dry-run shows what would be done")))
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

    fn tell(&self, plan: &Plan, place: &str) {
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
    pub async fn carry_out(&self, plan: &Plan, proving: Proving<'_>) -> Result<Restored> {
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
            self.log.info("filling time series beside those that are there first, to see that the server takes them");
            let placer = placer(trial);
            let _given_up = GivenUp { placer: &placer, armed: true };
            self.fill(&placer, proving).await?;
        }
        let placer = placer(plan);
        let mut given_up = GivenUp { placer: &placer, armed: true };
        let restored = self.fill(&placer, proving).await?;
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
    async fn fill(&self, placer: &Placer<'_>, proving: Proving<'_>) -> Result<Restored> {
        placer.prepare().await?;
        let goals = self.goals(placer, proving.entries()).await?;
        let progress = Arc::new(Progress::default());
        let items = &placer.plan.items;
        let bytes = items.iter().map(|item| proving.bytes(item.index)).sum();
        let aim = progress::Goal { what: "restore", bytes, collections: items.len() as u64 };
        let both = async { tokio::try_join!(proving.end(), load::load(self.client, self.file, goals, &progress)) };
        let ((contents, proof), loaded) = tokio::select! {
            done = both => done?,
            never = progress.report(self.log, aim) => never,
        };
        if loaded.contents.sha256 != contents.sha256 {
            return Err(changed(self.file));
        }
        check_all_inserted(placer.plan, &contents, &loaded)?;
        Ok(Restored { contents, proof, loaded })
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

/// Takes back what a restore did that failed or is given up partway, as by Ctrl-C.
struct GivenUp<'p, 'a> {
    placer: &'p Placer<'a>,
    armed: bool,
}

impl Drop for GivenUp<'_, '_> {
    fn drop(&mut self) {
        if self.armed {
            self.placer.log.debug("taking back what was filled and has no name yet");
            let discard = self.placer.discard();
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(discard));
        }
    }
}

/// A document that the server refused is a document that is not there.
fn check_all_inserted(plan: &Plan, proved: &Contents, loaded: &Loaded) -> Result<()> {
    let wanted: u64 = plan.items.iter().map(|item| proved.totals[item.index].documents).sum();
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
