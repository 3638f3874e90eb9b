//! A collection's options and indexes as mongodump writes them: canonical Extended
//! JSON on one line, keys in this order, index keys in theirs. Unknown options pass
//! through, because a restore to the same server understands them.

use crate::format::Kind;
use bson::{Bson, Document, RawDocument, RawDocumentBuf};
use serde_json::{Map, Value};

/// What a collection is made with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// The options of `create`.
    pub options: Document,
    /// The indexes as `listIndexes` gave them.
    pub indexes: Vec<Document>,
}

/// The most values that are believed to be in one collection's options and indexes: each takes a
/// hundred times its text in memory.
const MAX_VALUES: usize = 300_000;

/// Whether metadata can be read without taking more memory than any collection's does.
///
/// # Errors
/// That it cannot.
pub fn check_size(metadata: &str) -> Result<(), String> {
    let values = metadata.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    match values > MAX_VALUES {
        true => Err(format!("options and indexes with {values} values are not those of a collection")),
        false => Ok(()),
    }
}

/// Reads what [`describe`] or mongodump wrote. Old tools wrote nothing for some collections.
///
/// # Errors
/// Why it cannot be read.
pub fn parse(metadata: &str) -> Result<Described, String> {
    if metadata.trim().is_empty() {
        return Ok(Described::default());
    }
    let mut parsed: Map<String, Value> = serde_json::from_str(metadata).map_err(|error| error.to_string())?;
    let document = |value: Value| match Bson::try_from(value) {
        Ok(Bson::Document(document)) => Ok(document),
        Ok(other) => Err(format!("{other} is not a document")),
        Err(error) => Err(error.to_string()),
    };
    let options = parsed.remove("options").filter(|options| !options.is_null()).map(document).transpose()?;
    let indexes = match parsed.remove("indexes") {
        Some(Value::Array(indexes)) => indexes.into_iter().map(document).collect::<Result<_, _>>()?,
        Some(Value::Null) | None => Vec::new(),
        Some(other) => return Err(format!("the indexes are {other}")),
    };
    Ok(Described { options: options.unwrap_or_default(), indexes })
}

/// The metadata of one collection.
///
/// # Errors
/// The place of a value that is no valid BSON.
pub fn describe(
    collection: &str,
    kind: Kind,
    uuid: Option<&str>,
    options: Option<&RawDocument>,
    indexes: &[RawDocumentBuf],
) -> Result<String, bson::error::Error> {
    let mut metadata = Map::new();
    if let Some(options) = options.filter(|options| options.iter().next().is_some()) {
        metadata.insert("options".to_owned(), extended(options)?);
    }
    let indexes = indexes.iter().map(|index| extended(index)).collect::<Result<Vec<_>, _>>()?;
    metadata.insert("indexes".to_owned(), Value::Array(indexes));
    if let Some(uuid) = uuid {
        metadata.insert("uuid".to_owned(), uuid.into());
    }
    metadata.insert("collectionName".to_owned(), collection.into());
    metadata.insert("type".to_owned(), kind.as_str().into());
    Ok(Value::Object(metadata).to_string())
}

/// The names of the indexes in `metadata`; none where it cannot be read.
pub fn index_names(metadata: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(metadata).unwrap_or_default();
    let indexes = parsed["indexes"].as_array().map(Vec::as_slice).unwrap_or_default();
    indexes.iter().filter_map(|index| index["name"].as_str().map(str::to_owned)).collect()
}

/// A document as canonical Extended JSON, in the order of its keys.
fn extended(document: &RawDocument) -> Result<Value, bson::error::Error> {
    let document = bson::Document::try_from(document)?;
    Ok(Bson::Document(document).into_canonical_extjson())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    #[test]
    fn it_reads_as_mongodump_wrote_it() {
        let indexes = [rawdoc! {"v": 2, "key": {"v": 1, "_id": -1}, "name": "cmp", "unique": true}];
        let options = rawdoc! {"capped": true, "size": 4096_i64};
        let text = describe("x", Kind::Collection, Some("6b03"), Some(&options), &indexes).expect("valid");
        assert_eq!(
            text,
            concat!(
                r#"{"options":{"capped":true,"size":{"$numberLong":"4096"}},"indexes":[{"v":{"$numberInt":"2"},"#,
                r#""key":{"v":{"$numberInt":"1"},"_id":{"$numberInt":"-1"}},"name":"cmp","unique":true}],"#,
                r#""uuid":"6b03","collectionName":"x","type":"collection"}"#
            )
        );
        assert_eq!(index_names(&text), ["cmp"]);
    }

    #[test]
    fn empty_options_are_left_out() {
        let text = describe("v", Kind::View, None, Some(&rawdoc! {}), &[]).expect("valid");
        assert_eq!(text, r#"{"indexes":[],"collectionName":"v","type":"view"}"#);
    }
}
