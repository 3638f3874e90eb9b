//! Whether an answer is the one a check wants. Pure.

use super::{browser, certificate};
use cm_core::facts::CheckVerdict;
use cm_core::time::span;
use cm_http::{Answer, MAX_BODY};
use cm_project::Check;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// As much of a body is shown to people, in characters.
const EXCERPT: usize = 2_000;

/// Fewer digits than this name no commit.
const COMMIT_DIGITS: usize = 7;

/// What was found.
pub struct Finding {
    pub verdict: CheckVerdict,
    pub code: &'static str,
    pub message: String,
}

/// What an answer is compared with, apart from the check itself.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A slower answer is worth a warning.
    pub slow: Duration,
    /// A certificate that is valid for fewer days is worth a warning.
    pub certificate_days: u32,
    /// The commit that must answer, where the check asks which one does; or why it is not known.
    pub revision: Option<Result<String, String>>,
}

/// Judges an answer that came at the `attempts`th try.
pub fn judge(check: &Check, answer: &Answer, attempts: u32, wanted: &Wanted) -> Finding {
    let took = format!("{} in {}", answer.status, span(answer.latency));
    if let Some((code, message)) = wrong(check, answer, wanted) {
        return Finding { verdict: CheckVerdict::Fail, code, message };
    }
    let doubts = doubts(check, answer, attempts, wanted);
    match doubts.first() {
        None => Finding { verdict: CheckVerdict::Pass, code: "ok", message: took },
        Some((code, _)) => {
            let all = doubts.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join(", ");
            Finding { verdict: CheckVerdict::Warn, code, message: format!("{took}: {all}") }
        }
    }
}

type Wrong = Option<(&'static str, String)>;

/// The first expectation that the answer does not meet.
fn wrong(check: &Check, answer: &Answer, wanted: &Wanted) -> Wrong {
    status(check, answer)
        .or_else(|| headers(check, answer))
        .or_else(|| size(answer))
        .or_else(|| text(check, answer))
        .or_else(|| json(check, answer, wanted))
}

fn status(check: &Check, answer: &Answer) -> Wrong {
    let wanted = check.statuses();
    let to = answer.location.as_ref().map_or(String::new(), |location| format!(" to {location}"));
    (!wanted.0.contains(&answer.status)).then(|| ("status", format!("{}{to}, wanted {wanted}", answer.status)))
}

fn headers(check: &Check, answer: &Answer) -> Wrong {
    check.response_headers.iter().find_map(|(name, pattern)| match answer.header(&name.to_lowercase()) {
        None => Some(("header", format!("{}, but without the header {name}", answer.status))),
        Some(value) if pattern.0.is_match(value) => None,
        Some(value) => {
            Some(("header", format!("{name} is {:?}, wanted {:?}", shorten(value, 100), pattern.0.as_str())))
        }
    })
}

/// An answer without an end is none, whatever it began with.
fn size(answer: &Answer) -> Wrong {
    answer
        .cut
        .then(|| ("body-too-large", format!("{}, but the body is larger than {} MiB", answer.status, MAX_BODY >> 20)))
}

fn text(check: &Check, answer: &Answer) -> Wrong {
    let lacks = |text: &&String| !answer.body.contains(text.as_str());
    if let Some(text) = check.contains.as_ref().filter(lacks) {
        return Some(("body", format!("{}, but the body does not contain {text:?}", answer.status)));
    }
    let pattern = check.matches.as_ref().filter(|pattern| !pattern.0.is_match(&answer.body))?;
    Some(("body-pattern", format!("{}, but the body does not match {:?}", answer.status, pattern.0.as_str())))
}

fn json(check: &Check, answer: &Answer, wanted: &Wanted) -> Wrong {
    if check.json.is_empty() && check.revision.is_none() {
        return None;
    }
    let Ok(body) = serde_json::from_str::<Value>(&answer.body) else {
        return Some(("not-json", format!("{}, but the body is not JSON", answer.status)));
    };
    let differs = check.json.iter().find_map(|(path, wanted)| differs(&body, path, wanted));
    differs.or_else(|| revision(&body, check.revision.as_ref()?, wanted.revision.as_ref()?.as_ref().ok()?))
}

fn differs(body: &Value, path: &str, wanted: &Value) -> Wrong {
    match lookup(body, path) {
        None => Some(("json-missing", format!("the answer has no {path:?}, wanted {wanted}"))),
        Some(found) if same(found, wanted) => None,
        Some(found) => Some(("json-value", format!("{path} is {}, wanted {wanted}", shorten(&found.to_string(), 100)))),
    }
}

/// Who answers: what was deployed, or an old container, or a proxy's memory of one.
fn revision(body: &Value, path: &str, wanted: &str) -> Wrong {
    let short = |commit: &str| commit.get(..12).unwrap_or(commit).to_owned();
    match lookup(body, path).and_then(Value::as_str) {
        None => Some(("json-missing", format!("the answer has no {path:?}, wanted commit {}", short(wanted)))),
        Some(found) if found.len() >= COMMIT_DIGITS && wanted.starts_with(found) => None,
        Some(found) => Some((
            "revision",
            format!("commit {} answers, wanted {}: an old container, or a proxy's cache", short(found), short(wanted)),
        )),
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
fn doubts(check: &Check, answer: &Answer, attempts: u32, wanted: &Wanted) -> Vec<(&'static str, String)> {
    let mut doubts = Vec::new();
    if attempts > 1 {
        doubts.push(("retried", format!("answered only at try {attempts}")));
    }
    let slow = check.latency_warn.unwrap_or(wanted.slow);
    if answer.latency > slow {
        doubts.push(("slow", format!("slower than {}", span(slow))));
    }
    if !check.json.contains_key("degraded") && says_degraded(&answer.body) {
        doubts.push(("degraded", "the answer says that it is degraded".to_owned()));
    }
    let days = answer.certificate.as_deref().and_then(|der| certificate::days_left(der, Timestamp::now()));
    if let Some(days) = days.filter(|days| *days < i64::from(wanted.certificate_days)) {
        doubts.push(("certificate-expires", format!("the certificate expires in {days} days")));
    }
    if let Some(Err(why)) = &wanted.revision {
        doubts.push(("revision-unknown", format!("which commit should answer is not known: {why}")));
    }
    if check.security_headers {
        doubts.extend(browser::missing(answer).map(|names| ("security-headers", format!("without {names}"))));
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

/// The beginning of a body, for people, without what looks like a secret.
pub fn excerpt(body: &str) -> String {
    shorten(&browser::scrub(body.trim_end()), EXCERPT)
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
