//! What the databases of the tests hold, and how to compare it.

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::Client;
use std::collections::BTreeMap;

/// Documents that do not fit into one batch of 101, and not into a few packets.
pub async fn fill(client: &Client, collection: &str, count: i32) {
    let documents = (0..count).map(|n| doc! {"_id": n, "text": format!("{n:08}").repeat(64)});
    let documents: Vec<_> = documents.collect();
    client.database("shop").collection::<Document>(collection).insert_many(documents).await.expect("inserted");
}

/// Every document of a collection as the server sends it, sorted.
pub async fn raw(client: &Client, collection: &str) -> Vec<Vec<u8>> {
    raw_of(client, "shop", collection).await
}

/// The same of any database.
pub async fn raw_of(client: &Client, database: &str, collection: &str) -> Vec<Vec<u8>> {
    let collection = client.database(database).collection::<RawDocumentBuf>(collection);
    let mut cursor = collection.find(doc! {}).await.expect("a cursor");
    let mut all = Vec::new();
    while cursor.advance().await.expect("more") {
        all.push(cursor.current().as_bytes().to_vec());
    }
    all.sort();
    all
}

/// A document with every type of BSON, those included that no longer should be used.
pub fn every_type() -> Document {
    // There is no other way to make one.
    let pointer = serde_json::json!({"$dbPointer": {"$ref": "shop.x", "$id": {"$oid": "0102030405060708090a0b0c"}}});
    doc! {
        "_id": bson::oid::ObjectId::from_bytes([7; 12]),
        "double": -0.0, "nan": f64::NAN, "text": "é\0x", "empty": "", "nested": {"b": 1, "a": [1, {"c": null}]},
        "bytes": Bson::Binary(bson::Binary {subtype: bson::spec::BinarySubtype::UserDefined(0x80), bytes: vec![0, 255]}),
        "bool": true, "date": bson::DateTime::from_millis(-1), "null": Bson::Null,
        "regex": Bson::RegularExpression(bson::Regex {
            pattern: bson::raw::CString::try_from("a/b").expect("no zero"),
            options: bson::raw::CString::try_from("im").expect("no zero"),
        }),
        "int": i32::MIN, "stamp": bson::Timestamp {time: 1, increment: 2}, "long": i64::MAX,
        "decimal": "1.10".parse::<bson::Decimal128>().expect("decimal"), "max": Bson::MaxKey, "min": Bson::MinKey,
        "": "no name", "dotted.key": 1, "$dollar": 2,
        "code": Bson::JavaScriptCode("f()".to_owned()), "symbol": Bson::Symbol("s".to_owned()),
        "undefined": Bson::Undefined,
        "scoped": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
            code: "f(x)".to_owned(), scope: doc! {"x": 1, "inner": {"y": [true]}},
        }),
        "pointer": Bson::try_from(pointer).expect("a pointer"),
    }
}

/// Everything in a database but its documents: by name, the type, options and indexes.
pub async fn shape(client: &Client, database: &str) -> BTreeMap<String, Document> {
    let database = client.database(database);
    let listed: Vec<Document> = database
        .run_cursor_command(doc! {"listCollections": 1})
        .await
        .expect("listed")
        .try_collect()
        .await
        .expect("listed");
    let mut all = BTreeMap::new();
    for mut item in listed {
        let name = item.get_str("name").expect("a name").to_owned();
        if name.starts_with("system.") {
            continue;
        }
        let kind = item.get_str("type").unwrap_or("collection").to_owned();
        let mut indexes: Vec<Document> = Vec::new();
        if kind != "view" {
            let listing = database.run_cursor_command(doc! {"listIndexes": &name}).await.expect("listed");
            indexes = listing.try_collect().await.expect("listed");
            indexes.iter_mut().for_each(|index| drop(index.remove("ns")));
        }
        let options = item.remove("options").unwrap_or_else(|| Bson::Document(doc! {}));
        all.insert(name, doc! {"type": kind, "options": options, "indexes": indexes});
    }
    all
}

/// A database `shop` with everything a backup must bring back.
pub async fn furnish(client: &Client) {
    let shop = client.database("shop");
    fill(client, "orders", 3000).await;
    shop.collection::<Document>("with space/é").insert_one(every_type()).await.expect("inserted");
    let commands = [
        doc! {"create": "empty"},
        doc! {"create": "few", "viewOn": "orders", "pipeline": [{"$match": {"_id": {"$lt": 3}}}]},
        doc! {"create": "ring", "capped": true, "size": 4096},
        doc! {"create": "checked", "validator": {"n": {"$gt": 0}}},
        doc! {"create": "collated", "collation": {"locale": "sv"}},
        doc! {"createIndexes": "orders", "indexes": [
            {"key": {"text": 1, "_id": -1}, "name": "by_text", "unique": true},
            {"key": {"at": 1}, "name": "ttl", "expireAfterSeconds": 100_000},
            {"key": {"part": 1}, "name": "part", "partialFilterExpression": {"part": {"$gt": 5}}},
        ]},
        // Let in before there was a rule.
        doc! {"insert": "checked", "documents": [{"_id": 1, "n": -1}], "bypassDocumentValidation": true},
        doc! {"insert": "ring", "documents": (0..9).map(|n| doc! {"_id": n}).collect::<Vec<_>>()},
    ];
    for command in commands {
        shop.run_command(command.clone()).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}
