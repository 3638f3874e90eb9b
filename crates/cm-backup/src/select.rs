//! What of a database goes into a backup, and how fast: the flags that narrow it.

use crate::args::Args;
use crate::manifest::Selection;
use crate::survey::Survey;
use bson::{Bson, Document};
use cm_core::{Exit, Failure, Result};
use mongodb::options::{ReadPreference, SelectionCriteria};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Which member of a replica set is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum ReadFrom {
    /// The primary.
    Primary,
    /// The primary while there is one.
    PrimaryPreferred,
    /// A secondary.
    Secondary,
    /// A secondary while there is one.
    SecondaryPreferred,
    /// Whichever answers first.
    Nearest,
}

impl ReadFrom {
    /// As the driver wants it.
    pub fn criteria(self) -> SelectionCriteria {
        let options = Default::default();
        SelectionCriteria::ReadPreference(match self {
            ReadFrom::Primary => ReadPreference::Primary,
            ReadFrom::PrimaryPreferred => ReadPreference::PrimaryPreferred { options },
            ReadFrom::Secondary => ReadPreference::Secondary { options },
            ReadFrom::SecondaryPreferred => ReadPreference::SecondaryPreferred { options },
            ReadFrom::Nearest => ReadPreference::Nearest { options },
        })
    }
}

impl Selection {
    /// What the flags select; `None` for everything.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a query that is none, or not of one collection.
    pub fn of(args: &Args) -> Result<Option<Selection>> {
        let query = args.query.as_deref().map(parse_query).transpose()?;
        if query.is_some() && args.collection.len() != 1 {
            return Err(Failure::new(Exit::Usage, "usage.query", "--query needs exactly one --collection"));
        }
        let selection =
            Selection { collections: args.collection.clone(), excluded: args.exclude_collection.clone(), query };
        Ok((selection != Selection::default()).then_some(selection))
    }

    /// Leaves only what is selected.
    ///
    /// # Errors
    /// [`Exit::Backup`] for a collection that is not there.
    pub fn apply(&self, survey: &mut Survey) -> Result<()> {
        let there: Vec<_> = survey.collections.iter().map(|found| found.entry.collection.clone()).collect();
        if let Some(missing) = self.collections.iter().chain(&self.excluded).find(|name| !there.contains(name)) {
            let message = format!("the database {:?} has no collection {missing:?}", survey.database);
            let have =
                if there.is_empty() { "it has none".to_owned() } else { format!("it has: {}", there.join(", ")) };
            return Err(Failure::new(Exit::Backup, "backup.no-collection", message).cause(have));
        }
        survey.collections.retain(|found| {
            let name = &found.entry.collection;
            (self.collections.is_empty() || self.collections.contains(name)) && !self.excluded.contains(name)
        });
        if let Some(query) = &self.query {
            let query = query_document(query)?;
            survey.collections.iter_mut().for_each(|found| found.query.clone_from(&query));
        }
        Ok(())
    }
}

fn parse_query(text: &str) -> Result<Value> {
    let value: Value = serde_json::from_str(text).map_err(|error| bad_query().cause(error))?;
    query_document(&value).map(|_| value)
}

fn query_document(value: &Value) -> Result<Document> {
    match Bson::try_from(value.clone()) {
        Ok(Bson::Document(query)) => Ok(query),
        Ok(_) => Err(bad_query()),
        Err(error) => Err(bad_query().cause(error)),
    }
}

fn bad_query() -> Failure {
    Failure::new(Exit::Usage, "usage.query", "--query is no query")
        .hint(r#"Extended JSON, such as {"at": {"$gte": {"$date": "2026-05-01T00:00:00Z"}}}"#)
}

/// Lets no more through than so many bytes a second, shared by all that read.
#[derive(Debug)]
pub struct Pace {
    rate: Option<u64>,
    /// When what was read so far may have been read.
    due: Mutex<Instant>,
}

impl Pace {
    /// `rate` in bytes a second; without one, as fast as it goes.
    pub fn new(rate: Option<u64>) -> Self {
        Pace { rate: rate.filter(|rate| *rate > 0), due: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may have been read.
    pub async fn wait(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let until = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *due
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

/// A number of bytes, with k, M or G for powers of 1000.
///
/// # Errors
/// Why it is none.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| "it looks like 500k, 20M or 1G".to_owned())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(|| "it must be above 0, and fit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, bytes) in [("1", 1), ("500k", 500_000), ("20M", 20_000_000), ("1G", 1_000_000_000)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "0", "k", "-1", "1.5M", "20MB", "99999999999G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_extended_json() {
        assert!(parse_query(r#"{"at": {"$gt": {"$date": "2026-05-01T00:00:00Z"}}}"#).is_ok());
        for text in ["", "[]", "1", "{", r#"{"a": {"$oid": "x"}}"#] {
            assert_eq!(parse_query(text).expect_err(text).exit, Exit::Usage);
        }
    }

    #[tokio::test]
    async fn the_pace_is_kept() {
        let (pace, clock) = (Pace::new(Some(1_000_000)), Instant::now());
        for _ in 0..4 {
            pace.wait(50_000).await;
        }
        assert!(clock.elapsed() >= Duration::from_millis(200));
    }
}
