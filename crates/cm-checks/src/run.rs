//! Makes the checks of a project, side by side.

use super::judge::{self, Wanted};
use super::no_answer::NoAnswer;
use super::request;
use super::result::{believe_resolver, class, doubt_silence};
use super::servers::{self, Servers};
use cm_core::facts::{CheckResult, CheckVerdict};
use cm_core::time::milliseconds;
use cm_core::{Exit, Failure, Log, Result, redact};
use cm_http::{Answer, Client, Request};
use cm_project::{Check, Project, Verify};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Checks under way at the same time.
const AT_ONCE: usize = 16;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(400);

/// Why `check` could not be made now, if so: a variable that is not
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
        code: finding.code.to_owned(),
        message: finding.message,
        severity: Some(check.severity),
        response: None,
        status: Some(answer.status),
        latency_ms: Some(milliseconds(answer.latency)),
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
        verdict: if reason.says_nothing() { CheckVerdict::Unknown } else { CheckVerdict::Fail },
        code: reason.code().to_owned(),
        message: format!("{} ({cause}){tried}", reason.description()),
        severity: Some(check.severity),
        response: None,
        status: None,
        latency_ms: None,
        attempts,
        body: None,
    }
}

fn not_made(check: &Check, code: &str, why: String) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        url: check.url.as_written().to_owned(),
        verdict: CheckVerdict::Unknown,
        code: code.to_owned(),
        message: why,
        severity: None,
        response: None,
        status: None,
        latency_ms: None,
        attempts: 0,
        body: None,
    }
}

#[cfg(test)]
mod tests;
