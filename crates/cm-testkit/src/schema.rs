//! The JSON Schemas of `man/schemas`, to which every document that a test reads must hold.

use crate::checkout::repository;
use jsonschema::Validator;
use serde_json::Value;

/// The schema in `man/schemas/NAME.schema.json`.
///
/// # Panics
/// If there is none, or it is no schema.
pub fn schema(name: &str) -> Validator {
    let file = repository().join(format!("man/schemas/{name}.schema.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let value = serde_json::from_str(&text).expect("JSON");
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&value)
        .unwrap_or_else(|error| panic!("{name} is no schema: {error}"))
}

/// That `value` holds to `schema`.
///
/// # Panics
/// If it does not; `what` begins the message.
#[track_caller]
pub fn holds(schema: &Validator, value: &Value, what: &str) {
    let complaints: Vec<_> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(complaints.is_empty(), "{what}: {}\n{value:#}", complaints.join("\n"));
}

/// That a document holds, and each part of its facts to that part's own schema.
///
/// # Panics
/// As [`holds`].
#[track_caller]
pub fn document_holds(value: &Value, what: &str) {
    holds(&schema("cm.deployment-1"), value, what);
    // Those of programs that are not cm's are theirs to describe.
    let facts = value["facts"].as_object().expect("facts").iter().filter(|(tool, _)| !tool.starts_with("x-"));
    for (tool, facts) in facts {
        holds(&schema(&format!("cm.facts.{tool}-1")), facts, &format!("{what}: facts.{tool}"));
    }
}
