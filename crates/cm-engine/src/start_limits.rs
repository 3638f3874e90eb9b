//! What no program is started with: Linux limits one argument or variable, and all of them together. Neither Compose nor
//! a Swarm look. The container is made, its program is not started, and by then the old one is gone.

use crate::interface::Obstacle;
use crate::obstacle::of_file;
use cm_project::Project;
use cm_swarm::Note;
use serde_json::Value;

/// One argument or variable, with the zero at its end, in bytes (`MAX_ARG_STRLEN`).
const MOST_OF_WORD: usize = 128 << 10;

/// All of them may have a quarter of the stack, which is 8 MB where nobody says otherwise, but never more than 6 MB.
const STACK: u64 = 8 << 20;
const SHARE_OF_STACK: u64 = 4;
const MOST_OF_ALL: u64 = 6 << 20;

/// Each is pointed to from a list.
const POINTER: u64 = 8;

const HINT: &str =
    "put what is long into a file of the image, or a config, a secret or a mount, and give the program its path";

/// The services of `config`, the JSON of `docker compose config`, whose containers could not be started.
pub(crate) fn obstacles(project: &Project, config: &Value) -> Vec<Obstacle> {
    too_long(config).iter().map(|note| of_file(project, note, true, HINT)).collect()
}

fn too_long(config: &Value) -> Vec<Note> {
    let services = config.get("services").and_then(Value::as_object).into_iter().flatten();
    services.flat_map(|(name, service)| of_service(name, service)).collect()
}

fn of_service(name: &str, service: &Value) -> Vec<Note> {
    let note = |key: &str, words: String| Note { service: name.to_owned(), key: key.to_owned(), words };
    let mut found = Vec::new();
    let variables = variables(service);
    for (variable, bytes) in variables.iter().filter(|(_, bytes)| *bytes > MOST_OF_WORD) {
        let words = format!(
            "{variable} has {bytes} bytes with its name; no program is started with more than 128 KiB in one variable"
        );
        found.push(note("environment", words));
    }
    let mut all: Vec<usize> = variables.into_iter().map(|(_, bytes)| bytes).collect();
    for (key, list) in [("entrypoint", "/entrypoint"), ("command", "/command"), ("healthcheck", "/healthcheck/test")] {
        let words = words(service.pointer(list));
        if let Some(bytes) = words.iter().find(|bytes| **bytes > MOST_OF_WORD) {
            let words =
                format!("a word of it has {bytes} bytes; no program is started with more than 128 KiB in one argument");
            found.push(note(key, words));
        }
        if key != "healthcheck" {
            all.extend(words);
        }
    }
    let most = most_of_all(service);
    let bytes: u64 = all.iter().map(|bytes| *bytes as u64 + POINTER).sum();
    if bytes > most && found.is_empty() {
        let words = format!(
            "all variables and arguments have {} kB; no program is started with more than {} kB, a quarter of its stack (`ulimits.stack`)",
            bytes.div_ceil(1000),
            most / 1000
        );
        found.push(note("environment", words));
    }
    found
}

/// The variables of a service, each with the bytes that it takes: NAME=VALUE and a zero.
fn variables(service: &Value) -> Vec<(&str, usize)> {
    let pairs = service.get("environment").and_then(Value::as_object).into_iter().flatten();
    let values = pairs.filter_map(|(name, value)| Some((name.as_str(), name.len() + 1 + length(value)?)));
    values.collect()
}

/// How many bytes each word of a list takes; of a single word, as of one in a list.
fn words(list: Option<&Value>) -> Vec<usize> {
    match list {
        Some(Value::Array(words)) => words.iter().filter_map(length).collect(),
        Some(word) => length(word).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Of a value as a program gets it, with the zero at its end: Compose writes a dollar sign twice.
fn length(value: &Value) -> Option<usize> {
    value.as_str().map(|text| text.len() - text.matches("$$").count() + 1)
}

fn most_of_all(service: &Value) -> u64 {
    let stack = service.pointer("/ulimits/stack");
    let stack = stack.and_then(|limit| limit.as_i64().or_else(|| limit.get("soft")?.as_i64()));
    match stack {
        // No limit at all.
        Some(stack) if stack < 0 => MOST_OF_ALL,
        stack => {
            let stack = stack.and_then(|stack| u64::try_from(stack).ok()).unwrap_or(STACK);
            (stack / SHARE_OF_STACK).clamp(MOST_OF_WORD as u64, MOST_OF_ALL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn found(service: &Value) -> Vec<String> {
        too_long(&json!({"services": {"api": service}})).iter().map(Note::to_string).collect()
    }

    fn text(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    #[test]
    fn a_variable_or_argument_that_no_program_gets_is_refused_and_one_byte_less_is_not() {
        // Tried with Docker 26.1.5: 131,069 bytes for A start, and one more is "argument list too long"; of an argument 131,071.
        assert!(found(&json!({"environment": {"A": text(131_069), "B": null}})).is_empty());
        let words = "has 131073 bytes with its name; no program is started with more than 128 KiB in one variable";
        assert_eq!(found(&json!({"environment": {"A": text(131_070)}})), [format!("api: environment: A {words}")]);
        for key in ["command", "entrypoint"] {
            assert!(found(&json!({key: ["sh", "-c", text(131_071)]})).is_empty(), "{key}");
            let said = format!(
                "api: {key}: a word of it has 131073 bytes; no program is started with more than 128 KiB in one argument"
            );
            assert_eq!(found(&json!({key: ["sh", "-c", text(131_072)]})), [said], "{key}");
        }
        assert!(
            found(&json!({"healthcheck": {"test": ["CMD-SHELL", text(140_000)]}}))[0].starts_with("api: healthcheck: ")
        );
        assert!(found(&json!({"environment": {"A": "$$".repeat(131_069)}})).is_empty(), "each is one dollar sign");
    }

    #[test]
    fn all_of_them_together_have_a_quarter_of_the_stack() {
        let service = |count: usize, stack: Value| {
            let all: Map<String, Value> = (0..count).map(|n| (format!("A{n:02}"), text(100_000).into())).collect();
            json!({"environment": all, "ulimits": {"stack": stack}})
        };
        assert!(found(&service(20, Value::Null)).is_empty());
        let said = "api: environment: all variables and arguments have 2101 kB; no program is started with more than 2097 kB, a quarter of its stack (`ulimits.stack`)";
        assert_eq!(found(&service(21, Value::Null)), [said]);
        for stack in [json!(64 << 20), json!({"soft": 64 << 20, "hard": 64 << 20}), json!(-1)] {
            assert!(found(&service(40, stack.clone())).is_empty(), "{stack}");
            assert_eq!(found(&service(63, stack.clone())).len(), 1, "{stack}");
        }
        assert_eq!(found(&service(20, json!(1 << 20))).len(), 1);
    }
}
