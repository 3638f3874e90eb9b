//! A collection's options and indexes as mongodump writes them: canonical Extended
//! JSON on one line, keys in this order, index keys in theirs. Unknown options pass
//! through, because a restore to the same server understands them.

use crate::archive::Kind;
use bson::{Bson, RawDocument, RawDocumentBuf};
use serde_json::{Map, Value};

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
    metadata.insert("type".to_owned(), kind.word().into());
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
