//! JSON Schemas (2020-12) from the Rust types: the document, each part of its facts,
//! `cm.toml`, the record of a ledger, the deploy event. Editors complete `cm.toml` with
//! one of them, and tests hold everything that programs write against them.

mod document;

use crate::Files;
use cm_core::facts;
use cm_project::Config;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// How a length of time is written in `cm.toml`.
const TIME: &str = r"^\s*([0-9]+(ms|s|m|h))+\s*$";

/// The name of each schema and the schema.
pub fn all() -> Vec<(String, Value)> {
    let mut all = vec![
        ("cm.deployment-1".to_owned(), document()),
        ("cm.deploy-event-1".to_owned(), of::<cm_core::Event>()),
        ("cm.release-1".to_owned(), of::<cm_ledger::Record>()),
        ("cm.toml".to_owned(), configuration()),
    ];
    all.extend(parts().map(|(name, schema)| (format!("cm.facts.{name}-1"), schema)));
    all
}

/// The schema of each program's part of the facts, by the part's name.
fn parts() -> impl Iterator<Item = (&'static str, Value)> {
    [
        ("lock", of::<facts::LockFacts>()),
        ("detect", of::<facts::DetectFacts>()),
        ("backup", of::<facts::BackupFacts>()),
        ("build", of::<facts::BuildFacts>()),
        ("health", of::<facts::HealthFacts>()),
        ("verify", of::<facts::VerifyFacts>()),
        ("rollback", of::<facts::RollbackFacts>()),
        ("record", of::<facts::RecordFacts>()),
    ]
    .into_iter()
}

/// The files below `man/schemas/`.
pub fn files() -> Files {
    let text = |schema: &Value| format!("{schema:#}\n");
    all().iter().map(|(name, schema)| (format!("schemas/{name}.schema.json"), text(schema))).collect()
}

fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    tidied(generator.into_root_schema_for::<T>())
}

/// The schema of the document.
pub fn document() -> Value {
    of::<document::Document>()
}

/// The schema of `cm.toml`; where it says "default", that is what counts without the key.
pub fn configuration() -> Value {
    let mut schema = of::<Config>();
    schema["title"] = "cm.toml".into();
    if let Some(keys) = schema["properties"].as_object_mut() {
        keys.retain(|name, _| name != "text" && name != "file");
    }
    schema
}

/// Durations are written as text; descriptions are one paragraph a line.
fn tidied(schema: Schema) -> Value {
    let mut value = schema.to_value();
    if let Some(duration) = value.pointer_mut("/$defs/Duration") {
        *duration = json!({"type": "string", "pattern": TIME, "description": "A length of time such as `500ms`, `90s`, `3m` or `1m30s`."});
    }
    tidy(&mut value);
    value
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(default) = map.get("default").and_then(duration) {
                map.insert("default".to_owned(), default.into());
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = plain(text);
            }
            // Nothing said is no default worth showing.
            let nothing = [Value::Null, json!([]), json!({}), json!("")];
            if map.get("default").is_some_and(|default| nothing.contains(default)) {
                map.shift_remove("default");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Without the brackets that rustdoc makes links of.
fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`")
}

/// `180s` of the way a `Duration` is serialized.
fn duration(value: &Value) -> Option<String> {
    let (seconds, nanos) = (value.get("secs")?.as_u64()?, value.get("nanos")?.as_u64()?);
    Some(if nanos == 0 { format!("{seconds}s") } else { format!("{}ms", seconds * 1000 + nanos / 1_000_000) })
}
