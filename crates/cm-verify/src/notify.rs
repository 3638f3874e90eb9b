//! The alert to Slack. It is only sent if verification does not pass, and a Slack
//! that is down never fails anything. The webhook's address is a secret.

use crate::results::Results;
use cm_core::{Exit, Log, Result, add_secret, redact};
use cm_http::{Client, Request};
use cm_project::Project;
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Tells Slack what failed.
pub async fn alert(project: &Project, results: &Results, commit: Option<&str>, log: &Log) {
    let Some(failure) = results.failure() else { return };
    let variable = &project.notify().slack_webhook_env;
    let Some(webhook) = std::env::var(variable).ok().filter(|webhook| !webhook.is_empty()) else {
        log.warn(format!("nobody was told: the variable {variable} is not set, which holds the Slack webhook"));
        return;
    };
    add_secret(&webhook);
    let text = text(&project.name(), commit, &failure.message);
    match post(&webhook, &text).await {
        Ok(200..300) => log.info("told Slack"),
        Ok(status) => log.warn(format!("Slack was not told: it answered {status}")),
        Err(failure) => log.warn(format!("Slack was not told: {failure}")),
    }
}

async fn post(webhook: &str, text: &str) -> Result<u16> {
    let request = Request { url: webhook.to_owned(), headers: Vec::new(), json: Some(json!({"text": text})) };
    Ok(Client::new(LIMIT)?.send(&request, Exit::VerifyUnknown).await?.status)
}

fn text(project: &str, commit: Option<&str>, message: &str) -> String {
    let what = commit.and_then(|commit| commit.get(..12)).map_or(String::new(), |commit| format!(" at `{commit}`"));
    // Slack reads these three characters as markup.
    let message = redact(message).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("Verification of {project}{what} failed: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_markup_of_others() {
        let text = text("shop", Some("0123456789abcdef"), "Gateway: 503 <!channel> & more");
        assert_eq!(text, "Verification of shop at `0123456789ab` failed: Gateway: 503 &lt;!channel&gt; &amp; more");
    }
}
