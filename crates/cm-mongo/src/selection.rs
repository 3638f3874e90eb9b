//! What of a database goes into a backup: the collections and the query that narrow it.

use crate::survey::Survey;
use bson::{Bson, Document};
use cm_archive::manifest::Selection;
use cm_core::{Exit, Failure, Result};
use serde_json::Value;

/// Leaves only what is selected.
///
/// # Errors
/// [`Exit::Backup`] for a collection that is not there.
pub fn apply(selection: &Selection, survey: &mut Survey) -> Result<()> {
    let there: Vec<_> = survey.collections.iter().map(|found| found.entry.collection.clone()).collect();
    if let Some(missing) = selection.collections.iter().chain(&selection.excluded).find(|name| !there.contains(name)) {
        let message = format!("the database {:?} has no collection {missing:?}", survey.database);
        let have = if there.is_empty() { "it has none".to_owned() } else { format!("it has: {}", there.join(", ")) };
        return Err(Failure::new(Exit::Backup, "backup.no-collection", message).cause(have));
    }
    survey.collections.retain(|found| {
        let name = &found.entry.collection;
        (selection.collections.is_empty() || selection.collections.contains(name)) && !selection.excluded.contains(name)
    });
    if let Some(query) = &selection.query {
        let query = query_document(query)?;
        survey.collections.iter_mut().for_each(|found| found.query.clone_from(&query));
    }
    Ok(())
}

/// Reads a query in Extended JSON.
///
/// # Errors
/// [`Exit::Usage`] for what is none.
pub fn parse_query(text: &str) -> Result<Value> {
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
    Failure::new(Exit::Usage, "usage.query", "--query is not a valid query")
        .hint(r#"Extended JSON, such as {"at": {"$gte": {"$date": "2026-05-01T00:00:00Z"}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_extended_json() {
        assert!(parse_query(r#"{"at": {"$gt": {"$date": "2026-05-01T00:00:00Z"}}}"#).is_ok());
        for text in ["", "[]", "1", "{", r#"{"a": {"$oid": "x"}}"#] {
            assert_eq!(parse_query(text).expect_err(text).exit, Exit::Usage);
        }
    }
}
