//! The journal of the swap, in the database itself, where it shares the fate of what it tells
//! about: which collections are about to change their names, and whether all have. It stands in
//! the first database of a restore; in the others a note says where. Written before the first
//! change and removed after the last, it lets whoever comes after a crash undo or finish.

use super::step::Step;
use super::target::Target;
use crate::command;
use crate::name::{JOURNAL_SUFFIX, OWN_PREFIX};
use bson::{Bson, Document, doc};
use cm_core::{Exit, Failure, Result};
use std::sync::atomic::Ordering;

/// Steps in one insert.
const BATCH: usize = 1000;

/// How far a swap is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Collections are changing their names: a crash is undone.
    Swapping,
    /// All have their names: what is left is to remove what they replaced.
    Done,
}

/// The journal of the restore `tag`.
#[derive(Clone, Debug)]
pub struct Journal {
    tag: String,
    /// The database it is in.
    home: String,
    /// All databases of the restore.
    databases: Vec<String>,
}

impl Journal {
    /// That of a restore into `databases`.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(tag: &str, databases: Vec<String>) -> Journal {
        Journal { tag: tag.to_owned(), home: databases[0].clone(), databases }
    }

    fn name(&self) -> String {
        name(&self.tag)
    }

    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said.
    pub async fn write(&self, target: Target<'_>, steps: &[Step]) -> Result<()> {
        let head = doc! {"_id": "journal", "home": &self.home, "databases": &self.databases};
        for db in &self.databases[1..] {
            self.insert(target, db, vec![head.clone()]).await?;
        }
        for steps in steps.chunks(BATCH) {
            self.insert(target, &self.home, steps.iter().map(Step::to_document).collect()).await?;
        }
        // Last: without it, nothing was begun.
        let mut head = head;
        head.insert("steps", i64::try_from(steps.len()).unwrap_or_default());
        head.insert("phase", "swapping");
        self.insert(target, &self.home, vec![head]).await
    }

    async fn insert(&self, target: Target<'_>, db: &str, documents: Vec<Document>) -> Result<()> {
        let command = doc! {"insert": self.name(), "documents": documents, "writeConcern": durable()};
        checked(target.change(db, command).await?)
    }

    async fn update(&self, target: Target<'_>, id: Bson, set: Document) -> Result<()> {
        let update = doc! {"q": {"_id": id}, "u": {"$set": set}};
        let command = doc! {"update": self.name(), "updates": [update], "writeConcern": durable()};
        checked(target.change(&self.home, command).await?)
    }

    /// Writes down that `step` has a whole copy of what had its name.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub async fn set_copied(&self, target: Target<'_>, step: &Step) -> Result<()> {
        self.update(target, step.number.into(), doc! {"copied": true}).await?;
        step.copied.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes down that all have their names.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub async fn set_done(&self, target: Target<'_>) -> Result<()> {
        self.update(target, "journal".into(), doc! {"phase": "done"}).await
    }

    /// Removes it; what it told about is over.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub async fn remove(&self, target: Target<'_>) -> Result<()> {
        for db in self.databases.iter().rev() {
            target.drop_collection(db, &self.name()).await?;
        }
        Ok(())
    }

    /// The journal of `tag`, of which `db` has a part; `None` for the phase where nothing was
    /// begun, or all is over.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the server said, or if it cannot be understood.
    pub async fn read(target: Target<'_>, db: &str, tag: &str) -> Result<(Journal, Option<(Phase, Vec<Step>)>)> {
        let nothing =
            |home: &str| Journal { tag: tag.to_owned(), home: home.to_owned(), databases: vec![db.to_owned()] };
        let Some(head) = head(target, db, tag).await? else { return Ok((nothing(db), None)) };
        let home = head.get_str("home").unwrap_or(db).to_owned();
        let databases = head.get_array("databases").map(Vec::as_slice).unwrap_or_default();
        let databases: Vec<_> = databases.iter().filter_map(Bson::as_str).map(str::to_owned).collect();
        if databases.first() != Some(&home) {
            return Err(unreadable(db, tag));
        }
        let journal = Journal { tag: tag.to_owned(), home: home.clone(), databases };
        let head = if home == db { Some(head) } else { self::head(target, &home, tag).await? };
        let Some(head) = head.filter(|head| head.contains_key("phase")) else { return Ok((journal, None)) };
        let phase = match head.get_str("phase") {
            Ok("swapping") => Phase::Swapping,
            Ok("done") => Phase::Done,
            _ => return Err(unreadable(&home, tag)),
        };
        let steps = all(target, &home, tag, doc! {"_id": {"$ne": "journal"}}).await?;
        let steps: Option<Vec<_>> = steps.iter().map(Step::from_document).collect();
        let steps =
            steps.filter(|steps| head.get_i64("steps").is_ok_and(|n| u64::try_from(n) == Ok(steps.len() as u64)));
        Ok((journal, Some((phase, steps.ok_or_else(|| unreadable(&home, tag))?))))
    }
}

/// The name of the journal of `tag`.
fn name(tag: &str) -> String {
    format!("{OWN_PREFIX}{tag}{JOURNAL_SUFFIX}")
}

/// The tag of the restore whose journal has this name.
pub fn tag_of(name: &str) -> Option<&str> {
    name.strip_prefix(OWN_PREFIX)?.strip_suffix(JOURNAL_SUFFIX)
}

fn durable() -> Document {
    doc! {"w": "majority", "j": true}
}

async fn head(target: Target<'_>, db: &str, tag: &str) -> Result<Option<Document>> {
    Ok(all(target, db, tag, doc! {"_id": "journal"}).await?.into_iter().next())
}

async fn all(target: Target<'_>, db: &str, tag: &str, filter: Document) -> Result<Vec<Document>> {
    let name = name(tag);
    let find = doc! {"find": &name, "filter": filter};
    let found = command::list(&target.client.database(db), find, &name).await?;
    found.iter().map(|raw| Document::try_from(raw).map_err(|error| unreadable(db, tag).cause(error))).collect()
}

fn unreadable(db: &str, tag: &str) -> Failure {
    let message = format!("the journal of an interrupted restore, {db}.{}, cannot be understood", name(tag));
    Failure::new(Exit::Backup, "restore.journal", message)
        .hint("was it changed by hand, or written by another version? That version's `cm-backup restore` reads it")
}

fn checked(answer: Document) -> Result<()> {
    let refused = answer.get_array("writeErrors").is_ok_and(|errors| !errors.is_empty());
    let failed = answer.get_document("writeConcernError").ok();
    if !refused && failed.is_none() {
        return Ok(());
    }
    let why = failed.and_then(|why| why.get_str("errmsg").ok()).unwrap_or("the server refuses it");
    Err(Failure::new(Exit::Backup, "restore.journal", "the journal of the restore cannot be written").cause(why))
}
