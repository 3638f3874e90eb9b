//! One backup of a dump: ask, check that there is room, dump aside, read back whole, compare with
//! what the database counted, and only then give it its name. Where the database has a program that reads dumps, it reads
//! this one while it is made; that the file has the same bytes is what reading it back shows.

use super::order::DumpOrder;
use super::pour::{Reading, Whole};
use super::pump::{Pump, Pumped, Stopped};
use super::source::Source;
use super::trial::{is_possible, trial};
use crate::backup::Outcome;
use crate::file::BackupFile;
use crate::name;
use crate::pipe::{self, Blocking};
use crate::prepared::Prepared;
use crate::store::{Partial, Store};
use cm_archive::codec::Compressed;
use cm_archive::manifest::{Manifest, SCHEMA, Server, Table};
use cm_archive::progress::{Goal, Progress};
use cm_archive::text;
use cm_core::{Exit, Failure, Log, Result, time};
use cm_dump::{Counts, Survey};
use cm_host::{Fenced, Host};
use cm_mongo::pace::Pace;
use cm_project::BackupKind;
use std::io;
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

/// What the manifest of a kind says that is restored nowhere but in its place.
const NOT_RESTORED: &str = "what a restore makes of it: there is no place for one but its own";

/// What to back up, and where to.
#[derive(Debug)]
pub struct Backup<'a> {
    /// What is wanted.
    pub order: &'a DumpOrder,
    /// The database.
    pub source: &'a Source,
    /// Where the backup goes.
    pub store: &'a Store,
    /// Its host behind the deploy lock, where who uses it is stopped meanwhile.
    pub fenced: Option<&'a Fenced>,
    /// Messages for people.
    pub log: &'a Log,
}

/// A dump in its partial file.
struct Dumped {
    pumped: Pumped,
    /// What the database's own program said of its bytes, where it has one for that.
    said: Result<Option<String>>,
}

/// A dump that was read back.
struct Verified {
    whole: Whole,
    /// What is in it, where anything could count.
    found: Option<Counts>,
}

impl DumpOrder {
    /// Makes the backup of what is on `host` in `store`, as `name` if that is given.
    ///
    /// # Errors
    /// [`cm_core::Exit::Backup`], [`cm_core::Exit::Config`], [`cm_core::Exit::Unreachable`].
    pub async fn carry_out(
        &self,
        (host, fenced): (&Host, Option<&Fenced>),
        store: &Store,
        name: Option<&str>,
        log: &Log,
    ) -> Result<Outcome> {
        let Some(source) = Source::open(self, host).await? else {
            return Ok(Outcome::NothingYet(format!("no container of {} yet: nothing to back up", self.spec.service)));
        };
        Backup { order: self, source: &source, store, fenced, log }.make(name).await
    }
}

impl Backup<'_> {
    /// Makes the backup, as `name` if that is given, and verifies it.
    ///
    /// # Errors
    /// [`Exit::Backup`]; nothing has the backup's name then.
    pub async fn make(&self, name: Option<&str>) -> Result<Outcome> {
        self.source.recover(self.fenced, self.log).await?;
        let survey = self.source.survey().await?;
        if survey.unfinished {
            let message = format!("a restore into {} was interrupted, or is running", self.what(&survey));
            return Err(Failure::new(Exit::Backup, "backup.restore-unfinished", message)
                .hint("wait for it; if it has crashed, the next cm-backup restore undoes or finishes it"));
        }
        let prefix = name.map_or_else(|| self.prefix(&survey), str::to_owned);
        let name = name.map_or_else(|| self.file_name(&prefix), str::to_owned);
        let prepared = self.store.prepare(&prefix).await?;
        for name in &prepared.removed {
            self.log.info(format!("removed {}, left by a crashed run", self.store.display(name)));
        }
        if let Some(nothing) = self.check_not_empty(&survey, &prepared)? {
            return Ok(Outcome::NothingYet(nothing));
        }
        prepared.check_space(survey.bytes, &self.store.display(""))?;
        let version = if survey.version.is_empty() { String::new() } else { format!(" ({})", survey.version) };
        self.log.info(format!("dumping {}{version}", self.what(&survey)));
        let started_at = time::now();
        let mut partial = Partial::new(self.store, &name);
        let goal = prepared.previous.as_ref().map(|last| last.data_bytes);
        let dumped = match self.dump(&name, goal).await.inspect_err(|_| partial.end()) {
            Ok(dumped) => dumped,
            Err(failure) => return Err(self.source.recovered(failure, self.fenced, self.log).await),
        };
        let verified = self.verify(&survey, dumped, (&name, started_at), &prepared).await;
        let (manifest, warnings) = partial.finish(verified).await?;
        Ok(Outcome::Verified { manifest: Box::new(manifest), warnings })
    }

    fn what(&self, survey: &Survey) -> String {
        let kind = self.order.spec.kind.as_str();
        match survey.database.as_str() {
            _ if self.order.spec.kind == BackupKind::Command => self.order.what(),
            "" => format!("the {kind} data of {}", self.source.display),
            database => format!("the {kind} database {database:?} of {}", self.source.display),
        }
    }

    /// What the names of its backups begin with. Databases of one name may be in several services.
    fn prefix(&self, survey: &Survey) -> String {
        let parts = [self.order.spec.service.as_str(), survey.database.as_str()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        name::prefix(self.order.deploy.project.as_deref(), &parts.join("-"))
    }

    fn compressed_here(&self) -> Compressed {
        if self.source.kind.words().is_packed { Compressed::None } else { self.order.compression }
    }

    fn file_name(&self, prefix: &str) -> String {
        let packed = match self.compressed_here() {
            Compressed::None => "",
            Compressed::Gzip => ".gz",
            Compressed::Zstd => ".zst",
        };
        let suffix = format!("{}{packed}", self.source.kind.words().suffix);
        name::file_name(prefix, self.order.at, self.order.deploy.commit.as_deref(), &suffix)
    }

    /// An empty database is most often a wrong name or a lost volume. Only one that never had a backup
    /// may be new and empty.
    fn check_not_empty(&self, survey: &Survey, prepared: &Prepared) -> Result<Option<String>> {
        if self.order.allow_empty || !survey.empty {
            return Ok(None);
        }
        if prepared.previous.is_none() && !survey.missing {
            return Ok(Some(format!("{} is new and has no data yet: nothing to back up", self.source.display)));
        }
        let what = if survey.missing { "is not there" } else { "has nothing in it" };
        Err(Failure::new(Exit::Backup, "backup.empty", format!("{} {what}", self.what(survey))).hint(
            "is the name right ([backup] database in cm.toml, --database)? --allow-empty takes it as it is; `--no-backup` in the deploy script deploys without a backup",
        ))
    }

    /// Has the database's own program read what is written into the first half, where it has one for that.
    fn check(&self) -> (Option<Blocking<DuplexStream>>, impl Future<Output = Result<Option<String>>>) {
        let job = self.source.kind.check();
        let (also, source) = job.is_some().then(pipe::pipe).unzip();
        let said = async move {
            let (Some(job), Some(source)) = (job, source) else { return Ok(None) };
            self.source.place.feed(&job, source, "backup.not-proved").await.map(Some)
        };
        (also, said)
    }

    /// Dumps into the partial file.
    async fn dump(&self, name: &str, goal: Option<u64>) -> Result<Dumped> {
        let (source, mut sink) = pipe::pipe();
        let (out, receiving) = self.store.receive(name);
        let (also, said) = self.check();
        let progress = Arc::new(Progress::default());
        let pump = Pump {
            compressed: self.compressed_here(),
            scan: self.source.kind.scan(),
            also,
            pace: Pace::new(self.order.rate_limit),
            progress: Arc::clone(&progress),
        };
        let runtime = Handle::current();
        let pumping = tokio::task::spawn_blocking(move || pump.run(source, out, &runtime));
        let (place, job) = (&self.source.place, self.source.kind.dump());
        let goal = Goal { what: "backup", bytes: goal, collections: 0 };
        let copying = async {
            let copied = place.copy_to(self.fenced, &job, &mut sink, "backup.dump").await;
            drop(sink);
            copied
        };
        let both = async { tokio::join!(copying, said) };
        let (copied, said) = tokio::select! {
            both = both => both,
            never = progress.report(self.log, goal) => never,
        };
        let pumped = pumping.await.map_err(|error| Failure::bug("the writing thread ended").cause(error))?;
        let failure = match (copied, pumped) {
            (Ok(_), Ok(pumped)) => {
                self.store.received(receiving, pumped.bytes).await?;
                return Ok(Dumped { pumped, said });
            }
            // A dump that fails because nobody takes it fails of that.
            (_, Err(stopped @ Stopped::Output(_))) => stopped.into_failure(),
            (Err(failure), _) if failure.code == "backup.dump" => lacking_rights(failure),
            (Err(failure), _) if failure.exit == Exit::LockLost => failure,
            (_, Err(stopped)) => stopped.into_failure(),
            (Err(failure), Ok(_)) => failure,
        };
        Err(self.store.abandon(receiving, failure).await)
    }

    /// Reads the partial file back, and compares it with what was dumped and counted.
    async fn verify(
        &self,
        survey: &Survey,
        Dumped { pumped, said }: Dumped,
        (name, started_at): (&str, String),
        prepared: &Prepared,
    ) -> Result<(Manifest, Vec<String>)> {
        let ended_at = time::now();
        self.log.info(format!("reading back {} to verify it", text::bytes(pumped.bytes)));
        let said = said?;
        let verified = self.read_back(name, pumped.data_bytes, said.as_deref()).await?;
        let differences = differences(&pumped, &verified);
        if !differences.is_empty() {
            let message = format!("{} is not what was read from the database", self.store.display(name));
            let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
            return Err(differences.into_iter().take(10).fold(failure, Failure::cause));
        }
        let mut manifest = self.manifest(survey, &pumped, &verified, name);
        (manifest.started_at, manifest.ended_at) = (started_at, ended_at);
        let untried = if self.order.restore_check { self.restore_check(name, &mut manifest).await? } else { None };
        manifest.verified_at = time::now();
        let warnings: Vec<_> = untried.into_iter().chain(prepared.shrunk(&manifest)).collect();
        match warnings.first().filter(|_| self.order.strict) {
            Some(warning) => {
                Err(Failure::new(Exit::Backup, "backup.strict", warning.clone())
                    .hint("without --strict this is a warning"))
            }
            None => Ok((manifest, warnings)),
        }
    }

    /// Restores the partial file to compare; a warning where there is no place for that.
    async fn restore_check(&self, name: &str, manifest: &mut Manifest) -> Result<Option<String>> {
        if !is_possible(self.source) {
            manifest.not_verified.push(NOT_RESTORED.to_owned());
            return Ok(Some(format!("{name}: not verified: {NOT_RESTORED}")));
        }
        let file = BackupFile::Remote { store: self.store.clone(), name: format!("{name}.partial"), copied: None };
        trial(self.source, &file, manifest, self.log).await.map(|()| None)
    }

    /// The file is read whole; `said` is what the database's own program made of the same bytes.
    async fn read_back(&self, name: &str, data_bytes: u64, said: Option<&str>) -> Result<Verified> {
        let reading = Reading::of(&*self.source.kind);
        let progress = Arc::clone(&reading.progress);
        let goal = Goal { what: "verification", bytes: Some(data_bytes), collections: 0 };
        let whole = tokio::select! {
            whole = self.store.read_back(name, |input| reading.run(input, &mut io::sink())) => whole?,
            never = progress.report(self.log, goal) => never,
        };
        let found = match said {
            None => whole.counts.clone(),
            Some(said) => Some(self.source.kind.checked(said).map_err(|why| {
                Failure::new(Exit::Backup, "backup.not-proved", "the dump cannot be verified").cause(why)
            })?),
        };
        Ok(Verified { whole, found })
    }

    fn manifest(&self, survey: &Survey, pumped: &Pumped, verified: &Verified, name: &str) -> Manifest {
        let (words, counted) = (self.source.kind.words(), &pumped.said.counted);
        let found = verified.found.as_ref().unwrap_or(counted);
        let tables = found.iter().map(|(name, rows)| Table {
            name: name.clone(),
            rows: *rows,
            counted: counted.get(name).map(|rows| (*rows, *rows)),
        });
        let compression = match (words.is_packed, self.order.compression) {
            (true, Compressed::None) => Compressed::None,
            (true, _) => Compressed::Gzip,
            (false, compressed) => compressed,
        };
        let this_time = pumped.said.not_verified.iter().map(String::as_str);
        let not_verified = words.not_verified.iter().copied().chain(this_time);
        Manifest {
            schema: SCHEMA.to_owned(),
            kind: self.order.spec.kind.as_str().to_owned(),
            service: Some(self.order.spec.service.clone()).filter(|service| !service.is_empty()),
            file: name.to_owned(),
            format: words.format.to_owned(),
            compression: compression.as_str().to_owned(),
            bytes: pumped.bytes,
            sha256: pumped.sha256.clone(),
            database: survey.database.clone(),
            server: Server { version: survey.version.clone(), topology: survey.topology.clone() },
            consistency: words.consistency,
            selection: None,
            users_and_roles: None,
            documents: found.values().sum(),
            data_bytes: pumped.data_bytes,
            started_at: String::new(),
            ended_at: String::new(),
            verified_at: String::new(),
            deploy: self.order.deploy.clone(),
            tool: format!("cm-backup {}", env!("CARGO_PKG_VERSION")),
            namespaces: Vec::new(),
            tables: tables.collect(),
            copy: None,
            not_verified: not_verified.map(str::to_owned).collect(),
        }
    }
}

/// In what the file differs from what was dumped, and what is in it from what was counted.
fn differences(pumped: &Pumped, verified: &Verified) -> Vec<String> {
    let Verified { whole, found } = verified;
    let mut differences = Vec::new();
    if (whole.bytes, &whole.sha256, whole.data_bytes) != (pumped.bytes, &pumped.sha256, pumped.data_bytes) {
        differences.push(format!("{} bytes were written, {} are there, or other ones", pumped.bytes, whole.bytes));
    }
    if whole.counts != pumped.counts {
        differences.push("its bytes show something else than they did on their way".to_owned());
    }
    if let Some(found) = found {
        differences.extend(pumped.said.differences(found));
    }
    differences
}

/// A database that names the right which the user lacks: that is what has to change.
fn lacking_rights(failure: Failure) -> Failure {
    let said = failure.to_string().to_lowercase();
    // Not "access denied" alone: that is what a wrong password is, too.
    let words = ["permission denied for ", "command denied", "to database", "privilege", "noperm", "must be owner"];
    let is_lacking = words.iter().any(|words| said.contains(words));
    if !is_lacking || failure.hint.is_some() {
        return failure;
    }
    let rights = match said.contains("mysql") {
        true => "it needs SELECT, SHOW VIEW, TRIGGER, EVENT and LOCK TABLES on the database",
        false => "grant it the right that is named",
    };
    failure.hint(format!(
        "the user that dumps may not read all of it: {rights}; or name another one: `user` and `password_env` under [backup] in cm.toml"
    ))
}
