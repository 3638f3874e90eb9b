//! One event to the ops API, and what its answer means for the event.

use cm_core::{Exit, Failure, Result, redact};
use cm_http::{Answer, Client, Request};
use cm_project::Project;
use serde_json::Value;
use std::time::Duration;

/// A deployment does not wait longer for one event.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Of an answer's body, in characters, for people.
const QUOTED: usize = 200;

/// What became of a request.
#[derive(Debug)]
pub enum Posted {
    /// The API has the event.
    Taken,
    /// The API will never take this event; why.
    Refused(String),
    /// It may take it later: it is down, busy, or does not know the token.
    Later(Failure),
}

/// Posts `event` under the idempotency key `key`.
pub async fn post(project: &Project, event: &Value, key: &str) -> Posted {
    match request(project, event, key).await {
        Ok(answer) => judge(&answer),
        Err(failure) => Posted::Later(failure),
    }
}

async fn request(project: &Project, event: &Value, key: &str) -> Result<Answer> {
    let ops = project.ops().ok_or_else(not_configured)?;
    let token = cm_project::secret_to_send(&ops.token_env)?.ok_or_else(|| {
        Failure::new(Exit::Config, "ops.no-token", format!("the variable {} is not set", ops.token_env))
    })?;
    let headers =
        vec![("Authorization".to_owned(), format!("Bearer {token}")), ("Idempotency-Key".to_owned(), key.to_owned())];
    let request = Request { url: ops.url.expand()?, headers, json: Some(event.clone()), ..Request::default() };
    Client::new(LIMIT)?.send(&request, Exit::VerifyUnknown).await
}

/// That `cm.toml` names no API.
pub fn not_configured() -> Failure {
    Failure::new(Exit::Config, "ops.none", "cm.toml has no [ops], so that there is nowhere to send events to")
}

/// 401 and 403 are about the token, not about the event: every other one would fare the
/// same, and all go when the token is right.
fn judge(answer: &Answer) -> Posted {
    match answer.status {
        200..=299 => Posted::Taken,
        401 | 403 | 408 | 429 => Posted::Later(answered(answer)),
        400..=499 => Posted::Refused(words(answer)),
        _ => Posted::Later(answered(answer)),
    }
}

fn answered(answer: &Answer) -> Failure {
    Failure::new(Exit::Config, "ops.status", words(answer))
}

/// The status and how the body begins, on one line.
fn words(answer: &Answer) -> String {
    let body = redact(&answer.body);
    let line: String = body.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTED).collect();
    match line.trim() {
        "" => format!("it answered {}", answer.status),
        line => format!("it answered {}: {line}", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_event_itself_refuses_it() {
        let of = |status| judge(&Answer { status, body: "no\nsuch \u{1b}[31mfield".to_owned(), ..Answer::default() });
        for status in [200, 201, 204] {
            assert!(matches!(of(status), Posted::Taken), "{status}");
        }
        for status in [400, 404, 409, 413, 422] {
            let Posted::Refused(why) = of(status) else { panic!("{status}") };
            assert_eq!(why, format!("it answered {status}: no such  [31mfield"));
        }
        for status in [301, 401, 403, 408, 429, 500, 503] {
            assert!(matches!(of(status), Posted::Later(_)), "{status}");
        }
    }
}
