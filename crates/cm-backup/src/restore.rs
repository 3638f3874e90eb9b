//! `cm-backup restore FILE`: what the command line says of a restore, the deploy lock around it,
//! and what people and programs are told. How a backup comes back whole, or nothing changes, is in
//! [`cm_mongo::restore`].

use crate::check::{self, Check, read_twice};
use crate::dumps;
use crate::file::BackupFile;
use crate::location::{self, Flags};
use crate::source::Source;
use cm_archive::{Prelude, Stored, Verified, peek, text, verify};
use cm_core::{Exit, Failure, Io, Log, Result};
use cm_host::Host;
use cm_lease::{Guard, Identity, with_lock};
use cm_mongo::connection;
use cm_mongo::restore::{self, Lock, Plan, Renames, Restore, Restored, Shape, Verification, Wanted};
use cm_project::Project;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// What is wanted, as the command line says it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where things are.
    pub flags: Flags,
    /// The backup.
    pub file: PathBuf,
    /// Its manifest, if not alongside it.
    pub manifest: Option<PathBuf>,
    /// Whether a file without a manifest is an error.
    pub strict: bool,
    /// Whether collections that are there are replaced.
    pub drop: bool,
    /// Databases that may be changed although they have documents.
    pub confirmed: Vec<String>,
    /// Only these collections.
    pub collections: Vec<String>,
    /// Whether users and roles are added.
    pub users_and_roles: bool,
    /// Patterns of names, and of those they get.
    pub renames: (Vec<String>, Vec<String>),
    /// What of options and indexes is restored.
    pub shape: Shape,
    /// Whether the outcome is written as JSON.
    pub json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Exit::Usage`] for what is refused before anything is changed, [`Exit::Backup`] for a
/// backup that does not verify or could not be restored whole, [`Exit::LockHeld`],
/// [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn run(request: &Request, io: &Io) -> Result<Exit> {
    let file = BackupFile::find(&request.flags, &request.file, &io.log).await?;
    if matches!(file, BackupFile::Stdin) {
        return Err(read_twice());
    }
    let manifest = file.manifest(request.manifest.as_deref()).await?;
    if let Some(manifest) = manifest.filter(|manifest| !manifest.is_mongodb()) {
        return dumps::restore(request, &file, manifest, io).await;
    }
    let prelude = announced(&file).await?;
    let (from, to) = &request.renames;
    let wanted = Wanted {
        collections: request.collections.clone(),
        renames: Renames::new(from, to, request.flags.database.as_deref())?,
        replace: request.drop,
        in_place: false,
        users_and_roles: request.users_and_roles,
        shape: request.shape,
    };
    let plan = Plan::make(&prelude, &wanted)?;
    let destination = location::destination(&request.flags, &io.log).await?;
    destination.source.tell(&io.log);
    let job = Job { request, file: &file, prelude, source: &destination.source, io };
    let done = match &destination.owner {
        Some(owner) => job.under_lock(plan, owner).await,
        None => job.run(plan, None).await,
    };
    destination.source.close().await;
    done.map_err(|failure| connection::needing(failure, ROLES))
}

/// What the backup announces, to plan with; it is verified later.
async fn announced(file: &BackupFile) -> Result<Prelude> {
    peek(file, verify::read_prelude).await?.map_err(|error| verify::not_intact(file).cause(error))
}

/// What the user of a restore needs.
const ROLES: &str = "give the URI's user the role \"readWrite\" on the database, because collections are renamed, and \"restore\" or \"dbAdmin\" besides where one has a validator";

/// The deploy lock on the host of the database.
struct Held<'a>(&'a Guard, &'a Host);

impl Lock for Held<'_> {
    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.0.check(self.1))
    }
}

/// A restore of a file into a server.
struct Job<'a> {
    request: &'a Request,
    file: &'a BackupFile,
    prelude: Prelude,
    source: &'a Source,
    io: &'a Io,
}

impl Job<'_> {
    /// A restore into a project's database waits for no deploy and lets none begin.
    async fn under_lock(&self, plan: Plan, (project, host): &(Project, Host)) -> Result<Exit> {
        let identity = Identity::new("backup", self.dry_run(), &self.io.log);
        let restore = async |guard: &Guard| self.run(plan, Some(&Held(guard, host))).await;
        with_lock(project, std::slice::from_ref(host), identity, restore).await
    }

    fn dry_run(&self) -> bool {
        self.request.flags.common.dry_run
    }

    async fn run(&self, mut plan: Plan, lock: Option<&dyn Lock>) -> Result<Exit> {
        let (clock, log) = (Instant::now(), &self.io.log);
        let client = &self.source.client;
        let mut restore = Restore { file: self.file, client, lock, accounts: None, in_order: false, log };
        if !self.dry_run() {
            self.check_expected(&plan)?;
        }
        let accounts_of = match self.request.users_and_roles {
            true => Some(restore::accounts_database(&self.prelude, &plan)?),
            false => None,
        };
        restore.look(&mut plan).await?;
        if !self.dry_run() {
            check_confirmed(&plan, &self.request.confirmed)?;
        }
        restore.recover(&mut plan, self.dry_run()).await?;
        plan.place()?;
        restore.tell(&plan, &self.source.display);
        let restored = match plan.is_aside() && accounts_of.is_none() && !self.dry_run() {
            true => self.verify_meanwhile(&restore, &plan).await?,
            false => match self.verify_first(&mut restore, &plan, accounts_of).await? {
                Some(restored) => restored,
                None => return Ok(Exit::Done),
            },
        };
        log.success(format!(
            "restored {} of {} into {} ({})",
            cm_core::plural(restored.loaded.inserted, "document"),
            self.file.display(),
            self.source.display,
            text::duration(clock.elapsed())
        ));
        match self.request.json {
            true => self.print(&plan, &restored, &restore, clock),
            false => Ok(Exit::Done),
        }
    }

    /// An archive says itself which databases it is of. Another one than the URI or cm.toml names is
    /// changed only if somebody named it, also where it is empty.
    fn check_expected(&self, plan: &Plan) -> Result<()> {
        let Some(expected) = &self.source.database else { return Ok(()) };
        let flags = &self.request.flags;
        let named = |db: &str| {
            db == expected
                || flags.database.as_deref() == Some(db)
                || self.request.confirmed.iter().any(|name| name == db)
                || self.request.renames.1.iter().any(|to| to.split('.').next() == Some(db))
        };
        let Some(other) = plan.databases.keys().find(|db| !named(db)) else { return Ok(()) };
        let message =
            format!("the backup is of the database {other:?}, and {} leads to {expected:?}", self.source.display);
        Err(Failure::new(Exit::Usage, "restore.other-database", message)
            .hint(format!("--db {expected} restores it there; pass --confirm={other} to restore it into {other:?}")))
    }

    fn check(&self) -> Check<'_> {
        Check { file: self.file, manifest: self.request.manifest.as_deref(), strict: self.request.strict }
    }

    /// Where nothing that is used changes before the end, the file is verified while it is read.
    async fn verify_meanwhile(&self, restore: &Restore<'_>, plan: &Plan) -> Result<Restored> {
        let log = &self.io.log;
        log.info(format!("reading {} to its end before a collection gets its name", self.file.display()));
        let manifest = self.check().manifest().await?;
        let restored = restore.carry_out(plan, Verification::Meanwhile(manifest.as_ref(), &self.prelude)).await?;
        warn_of(restored.verified, log);
        Ok(restored)
    }

    /// `None` where nothing was to be changed.
    async fn verify_first(
        &self,
        restore: &mut Restore<'_>,
        plan: &Plan,
        accounts_of: Option<String>,
    ) -> Result<Option<Restored>> {
        let log = &self.io.log;
        log.info(format!("reading {} to its end before anything is changed", self.file.display()));
        let (contents, verified) = self.check().verify(log).await?;
        warn_of(verified, log);
        if contents.prelude != self.prelude {
            return Err(restore::changed(self.file));
        }
        if let Some(database) = accounts_of {
            let server = (restore.client, log);
            restore.accounts = Some(restore::accounts_of_backup(self.file, &contents, &database, server).await?);
        }
        if self.dry_run() {
            log.info(format!("would restore {} into {}", check::holds(&contents), self.source.display));
            return Ok(None);
        }
        restore.carry_out(plan, Verification::Before(&contents, verified)).await.map(Some)
    }

    fn print(&self, plan: &Plan, restored: &Restored, restore: &Restore<'_>, clock: Instant) -> Result<Exit> {
        let (users, roles) = restore.accounts.as_ref().map(restore::Accounts::list).unwrap_or_default();
        let names = plan.items.iter().map(|item| json!({"from": item.from, "to": item.namespace()}));
        self.io.print_json(&json!({
            "file": self.file.display(),
            "sha256": restored.contents.sha256,
            "proved": restored.verified.as_str(),
            "documents": restored.loaded.inserted,
            "namespaces": names.collect::<Vec<_>>(),
            "skipped": plan.skipped,
            "users": users,
            "roles": roles,
            "duration_ms": u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        }))?;
        Ok(Exit::Done)
    }
}

fn warn_of(verified: Verified, log: &Log) {
    if verified == Verified::Intact {
        log.warn("structure intact, completeness not verified: there is no manifest alongside it");
    }
}

/// Whoever changes a database with documents in it must have named it.
fn check_confirmed(plan: &Plan, confirmed: &[String]) -> Result<()> {
    let missing = plan.severe().into_iter().find(|name| !confirmed.iter().any(|one| one == name));
    let Some(name) = missing else { return Ok(()) };
    let message = format!("the database {name:?} has documents, and this restore would change it");
    Err(Failure::new(Exit::Usage, "restore.unconfirmed", message).hint(format!(
        "pass --confirm={name} to proceed; --db OTHER restores alongside it; --dry-run shows what would be done"
    )))
}
