//! One backup, from the first look at the database to the final name. The order is
//! the point: look, check that there is room, read, write aside, read back, compare,
//! and only then give it its name.

use crate::file::BackupFile;
use crate::mongodump::{self, Method};
use crate::prepared::Prepared;
use crate::source::Source;
use crate::store::{Partial, Store};
use cm_archive::manifest::{self, Deploy, Manifest, Namespace, SCHEMA, Server, UsersAndRoles};
use cm_archive::progress::{Goal, Progress};
use cm_archive::{Contents, Prelude, text};
use cm_core::{Exit, Failure, Log, Result, time};
use cm_mongo::changes::CHANGED;
use cm_mongo::connection::needing;
use cm_mongo::dump::{Dump, Dumped, Options};
use cm_mongo::moment::{NO_MOMENT, Wanted};
use cm_mongo::survey::{self, Survey};
use cm_mongo::{accounts, restore, selection};
use cm_project::BackupKind;
use std::sync::Arc;

/// How often a database is read of which a collection is made again meanwhile.
const TRIES: u32 = 3;

/// What to back up, and where to.
#[derive(Debug)]
pub struct Backup<'a> {
    /// The database's server.
    pub source: &'a Source,
    /// The database.
    pub database: &'a str,
    /// Where the backup goes.
    pub store: &'a Store,
    /// What the names of its backups begin with.
    pub prefix: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The deploy it is for.
    pub deploy: Deploy,
    /// What is read, and how.
    pub options: &'a Options,
    /// Who reads.
    pub method: Method,
    /// Whether a database without documents is taken as it is.
    pub allow_empty: bool,
    /// Whether it is restored into a database that nobody uses, and compared.
    pub restore_check: bool,
    /// Whether warnings are errors.
    pub strict: bool,
    /// Messages for people.
    pub log: &'a Log,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// There is a backup, and it is verified.
    Verified {
        /// What stands alongside it.
        manifest: Box<Manifest>,
        /// What people should know.
        warnings: Vec<String>,
    },
    /// The server is new and has no data at all; there is nothing to lose yet.
    NothingYet(String),
}

impl Backup<'_> {
    /// Makes the backup and verifies it.
    ///
    /// # Errors
    /// [`Exit::Backup`]; nothing has the backup's name then.
    pub async fn make(&self) -> Result<Outcome> {
        self.make_with_roles().await.map_err(|failure| {
            let database = self.database;
            let roles = format!("give the URI's user the role \"backup\" on \"admin\", or \"read\" on {database:?}");
            needing(failure, &roles)
        })
    }

    async fn make_with_roles(&self) -> Result<Outcome> {
        let mut survey = self.survey().await?;
        let prepared = self.store.prepare(self.prefix).await?;
        for name in &prepared.removed {
            self.log.info(format!("removed {}, left by a crashed run", self.store.display(name)));
        }
        if let Some(nothing) = self.check_not_empty(&survey, &prepared).await? {
            return Ok(Outcome::NothingYet(nothing));
        }
        survey.data_bytes = self.data_bytes(&prepared).await;
        if self.has_accounts() {
            survey.accounts = accounts::read(&self.source.client, self.database).await;
            if let Some(why) = &survey.accounts.missing {
                self.log.info(format!("the database's users and roles are not in the backup: {why}"));
            }
        }
        prepared.check_space(survey.data_bytes, &self.store.display(""))?;
        self.log.info(format!(
            "reading {} of database {:?} (MongoDB {}, {})",
            cm_core::plural(survey.collections.len() as u64, "collection"),
            self.database,
            survey.version,
            survey.topology
        ));
        let started_at = time::now();
        let mut partial = Partial::new(self.store, self.name);
        let dumped = self.dump_to_store(&mut survey).await;
        // What could not be received was removed there.
        let dumped = dumped.inspect_err(|_| partial.end())?;
        let verified = self.verify(&survey, dumped, &prepared, started_at).await;
        let (manifest, warnings) = partial.finish(verified).await?;
        Ok(Outcome::Verified { manifest: Box::new(manifest), warnings })
    }

    /// Whether users and roles are wanted: those of a whole database, as it is read here.
    fn has_accounts(&self) -> bool {
        self.options.selection.is_none() && self.method == Method::Native
    }

    /// Reads the database into the partial file, again if a collection was made again meanwhile.
    async fn dump_to_store(&self, survey: &mut Survey) -> Result<Dumped<()>> {
        let mut tried = 1;
        loop {
            match self.dump_at_a_moment(survey).await {
                Err(failure) if failure.code == CHANGED && tried < TRIES => {
                    tried += 1;
                    self.log.warn(format!("{failure}; reading again, {tried} of {TRIES}"));
                    let again = self.survey().await?;
                    survey.collections = again.collections;
                }
                done => return done,
            }
        }
    }

    async fn survey(&self) -> Result<Survey> {
        let mut survey = survey::survey(&self.source.client, self.database).await?;
        if let Some(wanted) = &self.options.selection {
            selection::apply(wanted, &mut survey)?;
        }
        Ok(survey)
    }

    async fn dump_at_a_moment(&self, survey: &Survey) -> Result<Dumped<()>> {
        match self.dump_once(survey, self.options.consistency).await {
            Err(failure) if failure.code == NO_MOMENT && self.options.consistency == Wanted::Auto => {
                self.log.warn(format!(
                    "the server does not keep one moment for so long ({failure}); reading again without"
                ));
                self.dump_once(survey, Wanted::None).await
            }
            done => done,
        }
    }

    async fn dump_once(&self, survey: &Survey, consistency: Wanted) -> Result<Dumped<()>> {
        if let (Method::Mongodump, Some(inside)) = (self.method, &self.source.inside) {
            self.log.info("mongodump in the database's container reads");
            let to = (self.store, self.name);
            return mongodump::dump(&self.source.client, inside, survey, self.options, to).await;
        }
        let (sink, receiving) = self.store.receive(self.name);
        let dump = Dump { client: &self.source.client, survey, options: self.options, consistency, log: self.log };
        let dumped = match dump.run(sink).await {
            Ok(dumped) => dumped,
            Err(failure) => return Err(self.store.abandon(receiving, failure).await),
        };
        let (sink, dumped) = dumped.split();
        // The end of the stream: the host syncs the file and says how long it is.
        drop(sink);
        self.store.received(receiving, dumped.bytes).await?;
        Ok(dumped)
    }

    /// Reads the partial file back and compares it with what was read from the database.
    async fn verify(
        &self,
        survey: &Survey,
        dumped: Dumped<()>,
        prepared: &Prepared,
        started_at: String,
    ) -> Result<(Manifest, Vec<String>)> {
        let ended_at = time::now();
        self.log.info(format!("reading back {} to verify it", text::bytes(dumped.bytes)));
        let progress = Arc::new(Progress::default());
        let bytes = dumped.totals.iter().map(|totals| totals.bytes).sum();
        let goal = Goal { what: "verification", bytes: Some(bytes), collections: dumped.totals.len() as u64 };
        let contents = tokio::select! {
            contents = self.store.read_back(self.name, mongodump::reading(Arc::clone(&progress))) => contents?,
            never = progress.report(self.log, goal) => never,
        };
        let mut manifest = self.manifest(survey, &dumped, started_at, ended_at);
        let differences = self.differences(&contents, &dumped, &manifest);
        if !differences.is_empty() {
            let message = format!("{} is not what was read from the database", self.store.display(self.name));
            let failure = Failure::new(Exit::Backup, "backup.not-proved", message);
            return Err(differences.into_iter().take(10).fold(failure, Failure::cause));
        }
        if self.restore_check && !contents.prelude.entries.is_empty() {
            let name = format!("{}.partial", self.name);
            let file = BackupFile::Remote { store: self.store.clone(), name, copied: None };
            restore::rehearse(&self.source.of_the_primary()?, &file, &contents, self.log).await?;
        }
        manifest.verified_at = time::now();
        let mut warnings = dumped.warnings;
        warnings.extend(prepared.shrunk(&manifest));
        if self.strict
            && let Some(warning) = warnings.first()
        {
            return Err(
                Failure::new(Exit::Backup, "backup.strict", warning.clone()).hint("without --strict this is a warning")
            );
        }
        Ok((manifest, warnings))
    }

    fn differences(&self, contents: &Contents, dumped: &Dumped<()>, manifest: &Manifest) -> Vec<String> {
        let mut differences = contents.differences(manifest);
        if contents.prelude != without_places(&dumped.prelude) {
            differences.push("the list of collections, their options or indexes differ".to_owned());
        }
        differences
    }

    fn manifest(&self, survey: &Survey, dumped: &Dumped<()>, started_at: String, ended_at: String) -> Manifest {
        let entries = dumped.prelude.entries.iter().zip(&dumped.totals).zip(&dumped.counted);
        Manifest {
            schema: SCHEMA.to_owned(),
            kind: BackupKind::Mongodb.as_str().to_owned(),
            service: None,
            file: self.name.to_owned(),
            format: manifest::FORMAT.to_owned(),
            compression: self.options.compression.as_str().to_owned(),
            bytes: dumped.bytes,
            sha256: dumped.sha256.clone(),
            database: self.database.to_owned(),
            server: Server { version: survey.version.clone(), topology: survey.topology.clone() },
            consistency: dumped.consistency,
            selection: self.options.selection.clone(),
            users_and_roles: self.has_accounts().then(|| UsersAndRoles {
                users: survey.accounts.count(accounts::USERS.archived),
                roles: survey.accounts.count(accounts::ROLES.archived),
                missing: survey.accounts.missing.clone(),
            }),
            documents: dumped.totals.iter().map(|totals| totals.documents).sum(),
            data_bytes: dumped.totals.iter().map(|totals| totals.bytes).sum(),
            started_at,
            ended_at,
            verified_at: String::new(),
            deploy: self.deploy.clone(),
            tool: dumped.prelude.tool_version.clone(),
            namespaces: entries.map(|((entry, totals), counted)| Namespace::new(entry, *totals, *counted)).collect(),
            tables: Vec::new(),
            copy: None,
            not_verified: Vec::new(),
        }
    }

    /// An empty database is most often a wrong name or a lost volume. Only a server
    /// that was just deployed, and never had a backup, may be new and empty.
    async fn check_not_empty(&self, survey: &Survey, prepared: &Prepared) -> Result<Option<String>> {
        let client = &self.source.client;
        if self.allow_empty || self.has_documents(survey).await {
            return Ok(None);
        }
        let others = survey::databases(client).await.unwrap_or_default();
        let others: Vec<_> = others.into_iter().filter(|name| name != self.database).collect();
        let all_of_it = self.options.selection.is_none();
        if all_of_it && self.source.deployed && others.is_empty() && prepared.previous.is_none() {
            return Ok(Some(format!("{} is new and has no data yet: nothing to back up", self.source.display)));
        }
        let what = if survey.collections.is_empty() { "is not there" } else { "has no documents" };
        let message = format!("the database {:?} of {} {what}", self.database, self.source.display);
        let known = match others.is_empty() {
            true => "the server has no other database that the user may see".to_owned(),
            false => format!("the server has: {}", others.join(", ")),
        };
        Err(Failure::new(Exit::Backup, "backup.empty", message).cause(known).hint(
            "is the name right ([backup] database in cm.toml, --database)? --allow-empty takes it as it is; `--no-backup` in the deploy script deploys without a backup",
        ))
    }

    /// Whether any collection has a document; one that cannot be read may have.
    async fn has_documents(&self, survey: &Survey) -> bool {
        let database = self.source.client.database(self.database);
        for found in survey.collections.iter().filter(|found| found.has_documents()) {
            let (name, kind) = (&found.entry.collection, found.entry.kind);
            if survey::has_document(&database, name, kind, &found.query).await {
                return true;
            }
        }
        false
    }

    /// About how much there is to read: as much as the last time, or what the server says.
    async fn data_bytes(&self, prepared: &Prepared) -> Option<u64> {
        match (&prepared.previous, &self.options.selection) {
            (Some(last), selection) if last.selection == *selection => Some(last.data_bytes),
            (_, None) => survey::data_bytes(&self.source.client.database(self.database)).await,
            _ => None,
        }
    }
}

/// The prelude as a reader sees it: where a time series keeps its buckets is in the blocks.
fn without_places(prelude: &Prelude) -> Prelude {
    let mut prelude = prelude.clone();
    prelude.entries.iter_mut().for_each(|entry| entry.in_buckets = false);
    prelude
}
