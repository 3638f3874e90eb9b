//! `cm-backup restore FILE` for a backup that is no archive of MongoDB: read whole, restored to
//! where nobody uses it, counted, and only then put in the place of what is there.

use super::place::{self, Owner};
use super::pour::{self, Reading, Whole, check_restored, pour};
use super::source::Source;
use super::{check, trial};
use crate::file::BackupFile;
use crate::restore::Request;
use cm_archive::manifest::Manifest;
use cm_archive::{Stored, text};
use cm_core::{Exit, Failure, Io, Log, Result};
use cm_dump::{Job as DumpJob, Scratch, Survey};
use cm_lease::{Guard, Identity, with_lock};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// Runs the subcommand for a backup with that manifest.
///
/// # Errors
/// [`Exit::Usage`] for what is refused before anything is changed, [`Exit::Backup`] for a backup
/// that does not verify or could not be restored, [`Exit::LockHeld`], [`Exit::LockLost`],
/// [`Exit::Unreachable`].
pub async fn restore(request: &Request, file: &BackupFile, manifest: Manifest, io: &Io) -> Result<Exit> {
    check_flags(request, &manifest)?;
    let (owner, source) = place::find(&request.flags, &manifest, &io.log).await?;
    let job = Job { request, file, manifest: &manifest, owner: &owner, source: &source, io };
    let dry_run = request.flags.common.dry_run;
    let survey = source.survey().await?;
    if !dry_run {
        job.check_confirmed(&survey)?;
    }
    let identity = Identity::new("backup", dry_run, &io.log);
    let hosts = std::slice::from_ref(&owner.host);
    with_lock(&owner.project, hosts, identity, async |guard| job.run(&survey, guard).await).await
}

/// Flags that only a backup of MongoDB has.
fn check_flags(request: &Request, manifest: &Manifest) -> Result<()> {
    let of_mongodb = [
        ("--collection", !request.collections.is_empty()),
        ("--ns-from", !request.renames.0.is_empty()),
        ("--users-and-roles", request.users_and_roles),
        ("--no-options", request.shape.without_options),
        ("--skip-indexes", request.shape.without_indexes),
        ("--convert-legacy-indexes", request.shape.convert_indexes),
        ("--uri-env", request.flags.uri_env.is_some()),
    ];
    let Some((flag, _)) = of_mongodb.iter().find(|(_, is_set)| *is_set) else { return Ok(()) };
    let message = format!("{flag} is for a backup of MongoDB, and this is one of kind {}", manifest.kind);
    Err(Failure::new(Exit::Usage, "usage.kind", message).hint("leave it out: all of the backup is restored"))
}

struct Job<'a> {
    request: &'a Request,
    file: &'a BackupFile,
    manifest: &'a Manifest,
    owner: &'a Owner,
    source: &'a Source,
    io: &'a Io,
}

impl Job<'_> {
    fn log(&self) -> &Log {
        &self.io.log
    }

    /// Data that is there is replaced only if somebody said so, and named what is.
    fn check_confirmed(&self, survey: &Survey) -> Result<()> {
        let target = self.target(survey);
        let confirmed = self.request.confirmed.iter().any(|name| name == target);
        let named = self.request.flags.database.is_some() || survey.database == self.manifest.database || confirmed;
        if !named {
            let message = format!(
                "the backup is of {:?}, and {} is {:?}",
                self.manifest.database, self.source.display, survey.database
            );
            return Err(Failure::new(Exit::Usage, "restore.other-database", message)
                .hint(format!("pass --confirm={target} to restore it there all the same")));
        }
        if survey.empty {
            return Ok(());
        }
        let message = format!("{target:?} of {} has data, and this restore would replace it", self.source.display);
        let unconfirmed = Failure::new(Exit::Usage, "restore.unconfirmed", message);
        match (self.request.drop, confirmed) {
            (true, true) => Ok(()),
            (true, false) => Err(unconfirmed.hint(format!("pass --confirm={target} to proceed"))),
            (false, _) => {
                Err(unconfirmed.hint(format!("pass --drop --confirm={target} to proceed; nothing is added to it")))
            }
        }
    }

    /// What has to be confirmed: the database, or where there is none of a name, the service.
    fn target<'s>(&'s self, survey: &'s Survey) -> &'s str {
        match survey.database.as_str() {
            "" => &self.owner.order.spec.service,
            database => database,
        }
    }

    async fn run(&self, survey: &Survey, guard: &Guard) -> Result<Exit> {
        let clock = Instant::now();
        self.log().info(format!("reading {} to its end before anything is changed", self.file.display()));
        check::verify(self.file, self.manifest, self.log()).await?;
        let holds = self.manifest.holds();
        let place = format!("{:?} of {}", self.target(survey), self.source.display);
        if self.request.flags.common.dry_run {
            self.log().info(format!("would restore {holds} into {place}"));
            return Ok(Exit::Done);
        }
        self.source.recover(Some(&guard.fenced(&self.owner.host)?), self.log()).await?;
        let scratch = trial::scratch();
        let take = self.source.kind.take(&scratch).ok_or_else(|| {
            let message = format!("nothing says how a backup of kind {} is restored", self.manifest.kind);
            Failure::new(Exit::Usage, "restore.no-way", message).hint("set `restore` of its [[backup]] in cm.toml")
        })?;
        let taken = match self.source.kind.load(&scratch, true) {
            Some(load) => self.load_and_take((&scratch, &load, &take), guard).await?,
            None => self.take(&take, guard).await?,
        };
        self.log().success(format!(
            "restored {holds} of {} into {place} ({})",
            self.file.display(),
            text::duration(clock.elapsed())
        ));
        if self.request.json {
            self.io.print_json(&json!({
                "file": self.file.display(),
                "kind": self.manifest.kind,
                "database": survey.database,
                "sha256": taken.sha256,
                "proved": "complete",
                "documents": self.manifest.documents,
                "tables": self.manifest.tables,
                "duration_ms": u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            }))?;
        }
        Ok(Exit::Done)
    }

    /// Loads the dump alongside what is there, counts, and changes one for the other.
    async fn load_and_take(
        &self,
        (scratch, load, take): (&Scratch, &DumpJob, &DumpJob),
        guard: &Guard,
    ) -> Result<Whole> {
        let place = &self.source.place;
        self.log().info("restoring it alongside what is there, which stays until all of it has arrived");
        let (bytes, task) = pour(Arc::new(self.file.clone()), Reading::of(&*self.source.kind));
        let said = place.change(&guard.fenced(&self.owner.host)?, load, bytes, "restore.load").await;
        let loaded = match (said, pour::end(task).await) {
            (Ok(said), Ok(whole)) => self.compare(&said, &whole).map(|()| whole),
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        let taken = match loaded {
            Ok(whole) => match guard.fenced(&self.owner.host) {
                Ok(fenced) => place.change(&fenced, take, tokio::io::empty(), "restore.take").await.map(|_| whole),
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        if taken.is_err()
            && let Some(unload) = self.source.kind.unload(scratch)
            && let Ok(fenced) = guard.fenced(&self.owner.host)
        {
            let _left_for_the_next_run = place.change(&fenced, &unload, tokio::io::empty(), "restore.load").await;
        }
        match taken {
            Ok(whole) => Ok(whole),
            Err(failure) => Err(self.undone(failure, guard).await),
        }
    }

    /// What is said of a restore that failed. Whose lock is lost puts nothing right any more.
    async fn undone(&self, failure: Failure, guard: &Guard) -> Failure {
        let failure = match guard.fenced(&self.owner.host) {
            Ok(fenced) => self.source.recovered(failure, Some(&fenced), self.log()).await,
            Err(_) => failure,
        };
        failure.cause("what was there is as it was")
    }

    fn compare(&self, said: &str, whole: &Whole) -> Result<()> {
        let message = format!("{} comes back in another form", self.file.display());
        let failure = Failure::new(Exit::Backup, "restore.load", message);
        let said = check_restored(said, whole, self.manifest, failure)?;
        said.notes.iter().for_each(|note| self.log().info(note));
        Ok(())
    }

    /// For what takes its place while it is read.
    async fn take(&self, take: &DumpJob, guard: &Guard) -> Result<Whole> {
        let (bytes, task) = pour(Arc::new(self.file.clone()), Reading::of(&*self.source.kind));
        let fenced = guard.fenced(&self.owner.host)?;
        let said = self.source.place.change(&fenced, take, bytes, "restore.take").await;
        let whole = pour::end(task).await;
        let (said, whole) = (said?, whole?);
        self.compare(&said, &whole)?;
        Ok(whole)
    }
}
