//! Whether an answer is the one a check wants. Pure.

use super::Outcome;
use crate::words;
use cm_http::Answer;
use cm_project::Check;
use serde_json::Value;
use std::time::Duration;

/// As much of a body is shown to people, in characters.
const EXCERPT: usize = 2_000;

/// `cm-http` reads no more of a body than this, in bytes.
const MUCH: usize = 4 << 20;

/// What was found.
pub struct Finding {
    pub verdict: Outcome,
    pub code: &'static str,
    pub message: String,
}

/// Judges an answer that came at the `attempts`th try.
pub fn judge(check: &Check, answer: &Answer, attempts: u32, slow: Duration) -> Finding {
    let took = format!("{} in {}", answer.status, words::time(answer.latency));
    if let Some((code, mut why)) = wrong(check, answer) {
        if answer.body.len() >= MUCH && code != "status" {
            why.push_str(" (only the first 4 MiB were read)");
        }
        return Finding { verdict: Outcome::Fail, code, message: why };
    }
    let doubts = doubts(check, answer, attempts, slow);
    match doubts.first() {
        None => Finding { verdict: Outcome::Pass, code: "ok", message: took },
        Some((code, _)) => {
            let all = doubts.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join(", ");
            Finding { verdict: Outcome::Warn, code, message: format!("{took}: {all}") }
        }
    }
}

/// The first expectation that the answer does not meet.
fn wrong(check: &Check, answer: &Answer) -> Option<(&'static str, String)> {
    let wanted = check.statuses();
    if !wanted.0.contains(&answer.status) {
        let to = answer.location.as_ref().map_or(String::new(), |location| format!(" to {location}"));
        return Some(("status", format!("{}{to}, wanted {wanted}", answer.status)));
    }
    if let Some(text) = check.contains.as_ref().filter(|text| !answer.body.contains(text.as_str())) {
        return Some(("body", format!("{}, but the body does not contain {text:?}", answer.status)));
    }
    if check.json.is_empty() {
        return None;
    }
    let Ok(body) = serde_json::from_str::<Value>(&answer.body) else {
        return Some(("not-json", format!("{}, but the body is not JSON", answer.status)));
    };
    check.json.iter().find_map(|(path, wanted)| differs(&body, path, wanted))
}

fn differs(body: &Value, path: &str, wanted: &Value) -> Option<(&'static str, String)> {
    match lookup(body, path) {
        None => Some(("json-missing", format!("the answer has no {path:?}, wanted {wanted}"))),
        Some(found) if same(found, wanted) => None,
        Some(found) => Some(("json-value", format!("{path} is {}, wanted {wanted}", shorten(&found.to_string(), 100)))),
    }
}

/// The value at a dotted path; a number is an index of a list. A key that has the
/// whole path as its name is found too.
fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.split('.').try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => value.get(key),
    })
}

/// Equal, where 1 and 1.0 are the same number.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => found == wanted,
    }
}

/// What people should know about an answer that is right.
fn doubts(check: &Check, answer: &Answer, attempts: u32, slow: Duration) -> Vec<(&'static str, String)> {
    let mut doubts = Vec::new();
    if attempts > 1 {
        doubts.push(("retried", format!("answered only at try {attempts}")));
    }
    if answer.latency > slow {
        doubts.push(("slow", format!("slower than {}", words::time(slow))));
    }
    if !check.json.contains_key("degraded") && says_degraded(&answer.body) {
        doubts.push(("degraded", "the answer says that it is degraded".to_owned()));
    }
    doubts
}

/// A service that lost what stands behind it often still answers 200 and says so.
fn says_degraded(body: &str) -> bool {
    let value: Option<Value> = serde_json::from_str(body).ok();
    value.is_some_and(|value| {
        value.get("degraded") == Some(&Value::Bool(true))
            || value.get("status").and_then(Value::as_str) == Some("degraded")
    })
}

/// The beginning of a body, for people.
pub fn excerpt(body: &str) -> String {
    shorten(body.trim_end(), EXCERPT)
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
