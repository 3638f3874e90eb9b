//! `--restore-check`: the backup is restored into databases that nobody uses, and what the
//! server then holds is compared with the backup, document by document.

use super::names::Renames;
use super::owner;
use super::plan::{Plan, Wanted};
use super::work::{Restore, Verification};
use crate::dump::{Dump, Options};
use crate::{connection, moment, survey};
use bson::doc;
use cm_archive::verify::{Contents, Verified};
use cm_archive::{Kind, Prelude, Stored, Totals, metadata};
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the names of the databases begin with.
const OWN_PREFIX: &str = "cm_check_";

/// Error code: the user may not do that.
const NOT_ALLOWED: i32 = 13;

/// What a user needs besides reading.
const ROLES: &str = "--restore-check restores into a database of its own: give the URI's user the roles \"backup\" and \"restore\" on \"admin\", or \"readWriteAnyDatabase\"; the database itself was not changed";

/// The longest namespace that servers take, in bytes.
const LONGEST: usize = 255;

/// How long cleaning up may take; the server may be gone.
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// Restores `file`, which was read as `verified`, compares, and removes what it made.
///
/// # Errors
/// [`Exit::Backup`] if it cannot be restored, or comes back in another form.
pub async fn rehearse(client: &Client, file: &dyn Stored, verified: &Contents, log: &Log) -> Result<()> {
    remove_leftovers(client, log).await;
    let databases: BTreeSet<_> = verified.prelude.entries.iter().map(|entry| entry.db.as_str()).collect();
    let tag = owner::tag();
    let pairs = databases.into_iter().enumerate();
    let pairs: Vec<_> = pairs.map(|(at, db)| (format!("{db}.*"), format!("{OWN_PREFIX}{tag}_{at}"))).collect();
    let scratch = Scratch { client, log, databases: pairs.iter().map(|(_, scratch)| scratch.clone()).collect() };
    log.info(format!("restoring into {} to compare", scratch.databases.join(", ")));
    let done = restore_and_compare(client, file, verified, &pairs, log).await;
    let mut scratch = scratch;
    scratch.remove().await;
    done.map_err(|failure| connection::needing(failure, ROLES))
}

/// Removes what rehearsals left that were killed.
async fn remove_leftovers(client: &Client, log: &Log) {
    let names = survey::databases(client).await.unwrap_or_default();
    let tag = |name: &str| name.strip_prefix(OWN_PREFIX).and_then(|rest| Some(rest.rsplit_once('_')?.0.to_owned()));
    for name in names.into_iter().filter(|name| tag(name).is_some_and(|tag| owner::is_over(&tag))) {
        match drop_database(client, &name).await {
            Ok(()) => log.info(format!("removed the database {name}, left by a crashed check")),
            Err(why) => log.warn(format!("the database {name} is left: {why}")),
        }
    }
}

/// Removes a database, or where that is not allowed, as with the role `restore`, each of its
/// collections; it is gone only when nothing is in it any more.
async fn drop_database(client: &Client, name: &str) -> Result<(), String> {
    let database = client.database(name);
    let dropped = database.drop().await;
    let left = survey::listed(&database).await.map_err(|failure| failure.to_string())?;
    for one in &left {
        database.run_command(doc! {"drop": &one.name}).await.map_err(|error| connection::cause(&error))?;
    }
    match dropped {
        Err(error) if left.is_empty() && connection::code(&error) != Some(NOT_ALLOWED) => {
            Err(connection::cause(&error))
        }
        _ => Ok(()),
    }
}

/// The databases of a rehearsal, which go when it is over, and when it is given up.
struct Scratch<'a> {
    client: &'a Client,
    log: &'a Log,
    databases: Vec<String>,
}

impl Scratch<'_> {
    async fn remove(&mut self) {
        for name in std::mem::take(&mut self.databases) {
            let why = match tokio::time::timeout(DROP_LIMIT, drop_database(self.client, &name)).await {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_) => "the server does not answer".to_owned(),
            };
            self.log.warn(format!("the database {name} is left, and removed by the next check: {why}"));
        }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.databases.is_empty() {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.remove()));
        }
    }
}

async fn restore_and_compare(
    client: &Client,
    file: &dyn Stored,
    verified: &Contents,
    pairs: &[(String, String)],
    log: &Log,
) -> Result<()> {
    let (mut from, mut to) = short_names(&verified.prelude, pairs);
    from.extend(pairs.iter().map(|(from, _)| from.clone()));
    to.extend(pairs.iter().map(|(_, to)| format!("{to}.*")));
    let renames = Renames::new(&from, &to, None)?;
    let mut plan = Plan::make(&verified.prelude, &Wanted { renames, in_place: true, ..Wanted::default() })?;
    let restore = Restore { file, client, lock: None, accounts: None, in_order: true, log };
    restore.look(&mut plan).await?;
    plan.place()?;
    restore.carry_out(&plan, Verification::Before(verified, Verified::Intact)).await?;
    for database in plan.databases.keys() {
        compare(client, database, &plan, verified, log).await?;
    }
    Ok(())
}

/// A scratch database's name may be longer than that of the one it stands for: collections whose
/// names would then be too long get short ones.
fn short_names(prelude: &Prelude, pairs: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let scratch = |db: &str| pairs.iter().find(|(from, _)| from.strip_suffix(".*") == Some(db)).map(|(_, to)| to);
    let named = prelude.entries.iter().enumerate().filter_map(|(at, entry)| {
        let to = scratch(&entry.db)?;
        let buckets = if entry.kind == Kind::Timeseries { "system.buckets.".len() } else { 0 };
        let long = to.len() + 1 + buckets + entry.collection.len() > LONGEST && !entry.collection.contains('*');
        long.then(|| (entry.namespace(), format!("{to}.cm_long_{at}")))
    });
    named.unzip()
}

/// Reads a scratch database as a backup does.
async fn compare(client: &Client, database: &str, plan: &Plan, verified: &Contents, log: &Log) -> Result<()> {
    let survey = survey::survey(client, database).await?;
    let (options, consistency) = (Options::default(), moment::Wanted::None);
    let back = Dump { client, survey: &survey, options: &options, consistency, log }.run(std::io::sink()).await?;
    for item in plan.items.iter().filter(|item| item.db == database) {
        let at = back.prelude.entries.iter().position(|entry| entry.collection == item.collection);
        let same = at.is_some_and(|at| {
            same_documents(back.totals[at], verified.totals[item.index])
                && same_shape(&back.prelude.entries[at].metadata, &verified.prelude.entries[item.index].metadata)
        });
        if !same {
            let message = format!("{} came back in another form from a restore", item.from);
            return Err(Failure::new(Exit::Backup, "backup.restore-check", message)
                .hint("the backup is intact; the server does not make the same of it"));
        }
    }
    Ok(())
}

fn same_documents(a: Totals, b: Totals) -> bool {
    (a.documents, a.bytes, a.crc) == (b.documents, b.bytes, b.crc)
}

/// Whether options and indexes are the same; servers add to an index which collection it is of.
fn same_shape(a: &str, b: &str) -> bool {
    let cleaned = |text: &str| {
        let mut described = metadata::parse(text).ok()?;
        described.indexes.iter_mut().for_each(|index| drop(index.remove("ns")));
        let simple = doc! {"locale": "simple"};
        for index in &mut described.indexes {
            if index.get_document("collation").is_ok_and(|collation| *collation == simple) {
                index.remove("collation");
            }
        }
        described.indexes.sort_by_key(|index| index.get_str("name").map(str::to_owned).unwrap_or_default());
        Some(described)
    };
    cleaned(a).is_some_and(|a| Some(a) == cleaned(b))
}
