//! The checks from outside: what a user of the platform would get. They run side by
//! side, each with its own limit, and each has one of four verdicts.
//!
//! `fail` means that production answered wrongly or refused to answer; `unknown`
//! means that nothing was learned about it, for instance because a name does not
//! resolve here. The two are never mixed up: one asks for a rollback, the other for
//! somebody who looks. Which is which is decided in [`no_answer`].

mod browser;
mod certificate;
mod judge;
pub(crate) mod no_answer;
pub(crate) mod request;
mod servers;

use crate::words;
use cm_core::{Exit, Failure, Log, Result, redact};
use cm_http::{Answer, Client, Request};
use cm_project::{Check, Project, Severity, Verify};
use judge::Wanted;
use no_answer::NoAnswer;
use schemars::JsonSchema;
use serde::Serialize;
use servers::Servers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Checks under way at the same time.
const AT_ONCE: usize = 16;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(400);

/// What a check, or all of them, came to.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CheckVerdict")]
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
#[derive(Clone, Debug, JsonSchema, Serialize)]
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
    /// How bad that is, by the runbook's escalation table; `None` where it passed, or nothing was learned.
    pub severity: Option<Severity>,
    /// What the runbook does about it.
    pub response: Option<&'static str>,
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
    request::of(check, &Verify::default()).err().map(|failure| failure.to_string())
}

/// Makes all checks at once; the results in the order of `cm.toml`. `deployed` has the
/// commit that each service was just built from; of others their image knows it.
///
/// # Errors
/// [`Exit::Bug`] if the HTTP client cannot be set up; whatever happens to a check is its result.
pub async fn run(project: &Project, deployed: &BTreeMap<String, String>, log: &Log) -> Result<Vec<CheckResult>> {
    let mut servers = Servers::look(project, &to_ask(project.verify(), deployed), log).await;
    let mut made = Vec::new();
    let client = Client::new(project.verify().timeout)?;
    for check in &project.verify().checks {
        made.push(prepare(project.verify(), check, deployed, &client, &mut servers).await);
    }
    let results = make_all(made).await;
    servers.close().await;
    results
}

/// The services whose servers know what a check needs.
fn to_ask(verify: &Verify, deployed: &BTreeMap<String, String>) -> BTreeSet<String> {
    let unknown = |service: &String| !deployed.contains_key(service);
    let asks = verify.checks.iter().filter_map(|check| {
        let service = servers::service_of(check)?;
        let asks = check.in_network || (check.revision.is_some() && unknown(&service));
        asks.then_some(service)
    });
    let inside = verify
        .checks
        .iter()
        .filter(|check| check.in_network)
        .filter_map(|check| check.url.expand().ok().as_deref().and_then(cm_http::host));
    asks.chain(inside).collect()
}

/// A check with everything it takes to make it.
struct Prepared {
    check: Check,
    request: Request,
    client: Client,
    wanted: Wanted,
    tries: u32,
}

/// A check, or its result where it cannot be made.
async fn prepare(
    verify: &Verify,
    check: &Check,
    deployed: &BTreeMap<String, String>,
    client: &Client,
    servers: &mut Servers<'_>,
) -> std::result::Result<Prepared, Box<CheckResult>> {
    let request = request::of(check, verify).map_err(|failure| {
        let code = if failure.code == "config.bad-url" { "bad-url" } else { "not-made" };
        Box::new(not_made(check, code, failure.to_string()))
    })?;
    let unknown = |why: String| Box::new(not_made(check, "not-made", why));
    let client = match check.in_network {
        false => client.clone(),
        true => {
            let (service, port) = (cm_http::host(&request.url), cm_http::port(&request.url));
            let service = service.unwrap_or_default();
            servers.client(&service, port.unwrap_or(80), verify.timeout).await.map_err(unknown)?
        }
    };
    let revision = check.revision.as_ref().map(|_| match servers::service_of(check) {
        Some(service) => deployed.get(&service).cloned().map_or_else(|| servers.revision(&service), Ok),
        None => Err("the check names no service".to_owned()),
    });
    let wanted = Wanted { slow: verify.latency_warn, certificate_days: verify.certificate_days, revision };
    let tries = check.retries.unwrap_or(verify.retries).saturating_add(1);
    Ok(Prepared { check: check.clone(), request, client, wanted, tries })
}

async fn make_all(made: Vec<std::result::Result<Prepared, Box<CheckResult>>>) -> Result<Vec<CheckResult>> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut checking = JoinSet::new();
    for (index, prepared) in made.into_iter().enumerate() {
        let slots = Arc::clone(&slots);
        checking.spawn(async move {
            let _slot = slots.acquire().await;
            match prepared {
                Ok(prepared) => (index, one(&prepared).await),
                Err(result) => (index, (*result, false)),
            }
        });
    }
    let mut results = Vec::new();
    while let Some(checked) = checking.join_next().await {
        results.push(checked.map_err(|error| Failure::bug("a check ended early").cause(error))?);
    }
    results.sort_by_key(|(index, _)| *index);
    let (mut results, no_such_name): (Vec<_>, Vec<_>) = results.into_iter().map(|(_, result)| result).unzip();
    doubt_silence(&mut results);
    believe_resolver(&mut results, &no_such_name);
    results.iter_mut().for_each(class);
    Ok(results)
}

/// The result, and whether the resolver was sure that there is no such name.
async fn one(prepared: &Prepared) -> (CheckResult, bool) {
    let Prepared { check, request, client, wanted, tries } = prepared;
    let mut attempts = 1;
    let answered = loop {
        match client.send(request, Exit::VerifyUnknown).await {
            Ok(answer) => break Ok(answer),
            Err(failure) => {
                let reason = NoAnswer::of(&failure);
                if !reason.may_pass() || attempts >= *tries {
                    break Err((reason, failure));
                }
            }
        }
        attempts += 1;
        tokio::time::sleep(PAUSE).await;
    };
    match answered {
        Ok(answer) => (judged(check, request, &answer, attempts, wanted), false),
        Err((reason, failure)) => {
            (silent(check, request, reason, &failure, attempts), NoAnswer::is_no_such_name(&failure))
        }
    }
}

fn judged(check: &Check, request: &Request, answer: &Answer, attempts: u32, wanted: &Wanted) -> CheckResult {
    let finding = judge::judge(check, answer, attempts, wanted);
    CheckResult {
        name: check.name.clone(),
        url: redact(&request.url).into_owned(),
        verdict: finding.verdict,
        code: finding.code,
        message: finding.message,
        severity: Some(check.severity),
        response: None,
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
        severity: Some(check.severity),
        response: None,
        status: None,
        latency_ms: None,
        attempts,
        body: None,
    }
}

fn not_made(check: &Check, code: &'static str, why: String) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        url: check.url.as_written().to_owned(),
        verdict: Outcome::Unknown,
        code,
        message: why,
        severity: None,
        response: None,
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

/// A name that does not resolve can be this machine's trouble, but not where the
/// resolver answers for other names and is sure that there is none like this.
fn believe_resolver(results: &mut [CheckResult], no_such_name: &[bool]) {
    let named = |result: &CheckResult| {
        let host = cm_http::host(&result.url).unwrap_or_default();
        let here = host == "localhost" || host.ends_with(".localhost") || host.starts_with('[');
        result.status.is_some() && !here && host.parse::<std::net::IpAddr>().is_err()
    };
    if !results.iter().any(named) {
        return;
    }
    for (result, _) in results.iter_mut().zip(no_such_name).filter(|(_, sure)| **sure) {
        result.verdict = Outcome::Fail;
        result.message.push_str("; other names do");
    }
}

/// Slow answers, and those that came only after all, are the runbook's P2, however bad
/// it would be if the check failed.
fn class(result: &mut CheckResult) {
    let failed = result.severity;
    result.severity = match (result.verdict, result.code) {
        (Outcome::Fail, _) => failed,
        (Outcome::Warn, "slow" | "retried" | "degraded") => failed.max(Some(Severity::P2)),
        (Outcome::Warn, _) => Some(Severity::P3),
        (Outcome::Pass | Outcome::Unknown, _) => None,
    };
    result.response = result.severity.map(Severity::response);
}

#[cfg(test)]
mod tests;
