//! What a collection and its indexes are made with, for servers that know less or more than the
//! one that was backed up.

use crate::connection;
use bson::{Bson, Document, doc};
use cm_core::Failure;

/// The options of `create` that every server of today knows.
pub const KNOWN_OPTIONS: [&str; 16] = [
    "capped",
    "size",
    "max",
    "validator",
    "validationLevel",
    "validationAction",
    "collation",
    "viewOn",
    "pipeline",
    "timeseries",
    "expireAfterSeconds",
    "clusteredIndex",
    "changeStreamPreAndPostImages",
    "indexOptionDefaults",
    "storageEngine",
    "encryptedFields",
];

/// The fields of an index that every server of today knows.
pub const KNOWN_INDEX_FIELDS: [&str; 20] = [
    "v",
    "key",
    "name",
    "unique",
    "sparse",
    "expireAfterSeconds",
    "partialFilterExpression",
    "collation",
    "weights",
    "default_language",
    "language_override",
    "textIndexVersion",
    "2dsphereIndexVersion",
    "bits",
    "min",
    "max",
    "wildcardProjection",
    "hidden",
    "prepareUnique",
    "storageEngine",
];

/// The command that makes a collection or view.
pub fn create_command(name: &str, options: &Document) -> Document {
    let mut command = doc! {"create": name};
    command.extend(options.clone());
    command
}

/// A time series' granularity says how long its buckets are; some servers list both and take one.
pub fn without_what_granularity_says(options: &Document) -> Option<Document> {
    let series = options.get_document("timeseries").ok()?;
    (series.contains_key("granularity") && series.contains_key("bucketMaxSpanSeconds")).then(|| {
        let (mut options, mut series) = (options.clone(), series.clone());
        series.remove("bucketMaxSpanSeconds");
        options.insert("timeseries", series);
        options
    })
}

/// An index as it is asked for in a collection with `options`; none for those that a collection
/// has by itself.
pub fn index_to_build(index: &Document, options: &Document) -> Option<Document> {
    if index.get_str("name").is_ok_and(|name| name == "_id_") || index.get_bool("clustered").unwrap_or_default() {
        return None;
    }
    let mut index = index.clone();
    // Servers of old said which collection an index is of; those of today refuse it.
    index.remove("ns");
    // A listing leaves out that an index compares byte by byte; without it, it would take over how
    // its collection compares.
    let compares = options.get_document("collation").and_then(|collation| collation.get_str("locale"));
    if compares.is_ok_and(|locale| locale != "simple") && !index.contains_key("collation") {
        index.insert("collation", doc! {"locale": "simple"});
    }
    Some(index)
}

/// What servers of long ago took for an index becomes what those of today take, as mongorestore
/// converts it: a key without a direction goes upwards, and what was never an option goes.
pub fn convert_index(index: &mut Document) {
    if let Ok(key) = index.get_document_mut("key") {
        for (_, direction) in key.iter_mut() {
            let is_direction = match &*direction {
                Bson::Int32(number) => *number != 0,
                Bson::Int64(number) => *number != 0,
                Bson::Double(number) => *number != 0.0,
                Bson::String(kind) => !kind.is_empty(),
                _ => false,
            };
            if !is_direction {
                *direction = Bson::Int32(1);
            }
        }
    }
    if index.get("v").is_some_and(|v| matches!(v, Bson::Int32(0) | Bson::Int64(0)) || *v == Bson::Double(0.0)) {
        index.remove("v");
    }
    index.remove("ns");
    let unknown: Vec<_> = index.keys().filter(|key| !KNOWN_INDEX_FIELDS.contains(&key.as_str())).cloned().collect();
    unknown.iter().for_each(|key| drop(index.remove(key)));
}

/// What of `document` is known.
pub fn only(document: &Document, known: &[&str]) -> Document {
    let kept = document.iter().filter(|(key, _)| known.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether the server refused an option that it does not know.
pub fn is_unknown_option(failure: &Failure) -> bool {
    failure.code == connection::REFUSED_OPTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_does_not_take_over_how_its_collection_compares() {
        let index = doc! {"v": 2, "key": {"name": 1}, "name": "name_1", "unique": true};
        let simple =
            doc! {"v": 2, "key": {"name": 1}, "name": "name_1", "unique": true, "collation": {"locale": "simple"}};
        let own = doc! {"v": 2, "key": {"name": 1}, "name": "name_1", "collation": {"locale": "fr", "strength": 2}};
        let swedish = doc! {"collation": {"locale": "sv", "strength": 1}};
        assert_eq!(index_to_build(&index, &swedish), Some(simple));
        assert_eq!(index_to_build(&own, &swedish), Some(own.clone()));
        for options in [doc! {}, doc! {"collation": {"locale": "simple"}}] {
            assert_eq!(index_to_build(&index, &options), Some(index.clone()));
        }
        assert_eq!(index_to_build(&doc! {"key": {"_id": 1}, "name": "_id_"}, &swedish), None);
    }

    #[test]
    fn indexes_of_long_ago_become_those_of_today() {
        let mut index = doc! {
            "v": 0, "key": {"a": "", "b": true, "c": 0, "d": -1, "e": "text", "f": 1.5}, "name": "x", "ns": "shop.x",
            "dropDups": true, "background": true, "unique": true,
        };
        convert_index(&mut index);
        let key = doc! {"a": 1, "b": 1, "c": 1, "d": -1, "e": "text", "f": 1.5};
        assert_eq!(index, doc! {"key": key, "name": "x", "unique": true});
    }
}
