//! The checks from outside: what a user of the platform would get. They run side by
//! side, each with its own limit, and each has one of four verdicts.
//!
//! `fail` means that production answered wrongly or refused to answer; `unknown`
//! means that nothing was learned about it, for instance because a name does not
//! resolve here. The two are never mixed up: one asks for a rollback, the other for
//! somebody who looks. Which is which is decided in [`no_answer`].

mod judge;
pub(crate) mod no_answer;

use crate::words;
use cm_core::{Exit, Failure, Result, add_secret, redact};
use cm_http::{Answer, Client, Request};
use cm_project::{Check, Verify};
use no_answer::NoAnswer;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Checks under way at the same time.
const AT_ONCE: usize = 8;

/// Tries of one check, while connections fail.
const TRIES: u32 = 3;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(400);

/// What a check, or all of them, came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As expected.
    Pass,
    /// As expected, but somebody should know something.
    Warn,
    /// Not as expected, or no answer.
    Fail,
    /// Nothing was learned.
    Unknown,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct CheckResult {
    /// Its name in `cm.toml`.
    pub name: String,
    /// What was asked; as written in `cm.toml` where that could not be expanded.
    pub url: String,
    /// What it came to.
    pub verdict: Outcome,
    /// Why, for scripts: `ok`, `status`, `refused`, …
    pub code: &'static str,
    /// Why, for people: a fragment such as `503, wanted 200`.
    pub message: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// From the first byte sent to the last one read.
    pub latency_ms: Option<u64>,
    /// How often it was tried; more than once only where connections failed.
    pub attempts: u32,
    /// The beginning of the body, for people; not part of any record.
    #[serde(skip)]
    pub body: Option<String>,
}

/// All results in one: a failure outweighs what is unknown, that outweighs a
/// warning. No result at all is unknown.
pub fn overall(results: &[CheckResult]) -> Outcome {
    let any = |outcome| results.iter().any(|result| result.verdict == outcome);
    match () {
        () if any(Outcome::Fail) => Outcome::Fail,
        () if any(Outcome::Unknown) || results.is_empty() => Outcome::Unknown,
        () if any(Outcome::Warn) => Outcome::Warn,
        () => Outcome::Pass,
    }
}

/// Why `check` could not be made from here and now, if so: a variable that is not
/// set, or a URL that is none. Nothing is asked.
pub fn obstacle(check: &Check) -> Option<String> {
    request(check).err().map(|failure| failure.to_string())
}

/// Makes all checks at once; the results in the order of `cm.toml`.
///
/// # Errors
/// [`Exit::Bug`] if the HTTP client cannot be set up; whatever happens to a check is its result.
pub async fn run(verify: &Verify) -> Result<Vec<CheckResult>> {
    let client = Client::new(verify.timeout)?;
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut checking = JoinSet::new();
    for (index, check) in verify.checks.iter().cloned().enumerate() {
        let (client, slots, slow) = (client.clone(), Arc::clone(&slots), verify.latency_warn);
        checking.spawn(async move {
            let _slot = slots.acquire().await;
            (index, one(&client, &check, slow).await)
        });
    }
    let mut results = Vec::new();
    while let Some(checked) = checking.join_next().await {
        results.push(checked.map_err(|error| Failure::bug("a check ended early").cause(error))?);
    }
    results.sort_by_key(|(index, _)| *index);
    let mut results: Vec<_> = results.into_iter().map(|(_, result)| result).collect();
    doubt_silence(&mut results);
    Ok(results)
}

/// The request that a check makes; its secrets are registered.
fn request(check: &Check) -> Result<Request> {
    let url = check.url.expand()?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if host.is_empty() || host.starts_with('/') {
        return Err(Failure::new(Exit::Config, "config.bad-url", format!("{url:?} is no http:// or https:// URL")));
    }
    let mut headers = Vec::new();
    for (name, variable) in &check.header_env {
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("the variable {variable} is not set, which holds the header {name}");
            Failure::new(Exit::Config, "config.unset-variable", message)
        })?;
        add_secret(&value);
        headers.push((name.clone(), value));
    }
    Ok(Request { url, headers, json: None })
}

async fn one(client: &Client, check: &Check, slow: Duration) -> CheckResult {
    let request = match request(check) {
        Ok(request) => request,
        Err(failure) => return not_made(check, &failure),
    };
    let mut attempts = 1;
    let answered = loop {
        match client.send(&request, Exit::VerifyUnknown).await {
            Ok(answer) => break Ok(answer),
            Err(failure) => {
                let reason = NoAnswer::of(&failure);
                if !reason.may_pass() || attempts == TRIES {
                    break Err((reason, failure));
                }
            }
        }
        attempts += 1;
        tokio::time::sleep(PAUSE).await;
    };
    match answered {
        Ok(answer) => judged(check, &request, &answer, attempts, slow),
        Err((reason, failure)) => silent(check, &request, reason, &failure, attempts),
    }
}

fn judged(check: &Check, request: &Request, answer: &Answer, attempts: u32, slow: Duration) -> CheckResult {
    let finding = judge::judge(check, answer, attempts, slow);
    CheckResult {
        name: check.name.clone(),
        url: redact(&request.url).into_owned(),
        verdict: finding.verdict,
        code: finding.code,
        message: finding.message,
        status: Some(answer.status),
        latency_ms: Some(words::milliseconds(answer.latency)),
        attempts,
        body: Some(judge::excerpt(&answer.body)),
    }
}

fn silent(check: &Check, request: &Request, reason: NoAnswer, failure: &Failure, attempts: u32) -> CheckResult {
    let cause = failure.causes.last().map_or("no reason known", String::as_str);
    let tried = if attempts > 1 { format!(", tried {attempts} times") } else { String::new() };
    CheckResult {
        name: check.name.clone(),
        url: redact(&request.url).into_owned(),
        verdict: if reason.says_nothing() { Outcome::Unknown } else { Outcome::Fail },
        code: reason.code(),
        message: format!("{} ({cause}){tried}", reason.words()),
        status: None,
        latency_ms: None,
        attempts,
        body: None,
    }
}

fn not_made(check: &Check, failure: &Failure) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        url: check.url.as_written().to_owned(),
        verdict: Outcome::Unknown,
        code: "not-made",
        message: failure.to_string(),
        status: None,
        latency_ms: None,
        attempts: 0,
        body: None,
    }
}

/// A timeout is a failure of production only if something else there gave a sign of
/// life. Silence everywhere can as well be this machine's network.
fn doubt_silence(results: &mut [CheckResult]) {
    let silence = |result: &CheckResult| result.verdict == Outcome::Unknown || result.code == NoAnswer::TimedOut.code();
    if !results.iter().all(silence) {
        return;
    }
    for result in results.iter_mut().filter(|result| result.verdict == Outcome::Fail) {
        result.verdict = Outcome::Unknown;
        result.message.push_str("; nothing at all answered from here");
    }
}

#[cfg(test)]
mod tests;
