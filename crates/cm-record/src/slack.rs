//! One line in Slack, if the webhook's variable is set. The webhook's URL is a secret.

use cm_core::{Exit, Log, Result};
use cm_http::{Client, Request};
use cm_project::Project;
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Posts the outcome; what goes wrong is a warning.
pub async fn post(project: &Project, event: &Value, log: &Log) {
    let variable = &project.notify().slack_webhook_env;
    let Some(url) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else { return };
    cm_core::add_secret(&url);
    match send(url, line(event)).await {
        Ok(()) => log.debug("told Slack"),
        Err(failure) => log.warn(format!("Slack was not told: {failure}")),
    }
}

async fn send(url: String, text: String) -> Result<()> {
    let request = Request { url, headers: Vec::new(), json: Some(json!({"text": text})) };
    let answer = Client::new(LIMIT)?.send(&request, Exit::VerifyUnknown).await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(cm_core::Failure::new(Exit::VerifyUnknown, "slack.status", format!("it answered {status}"))),
    }
}

/// The message, in the runbook's manner.
fn line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    let commit = text("commit");
    let names: Vec<_> =
        event["services"].as_array().into_iter().flatten().filter_map(|service| service["name"].as_str()).collect();
    let what = if names.is_empty() { "nothing to change".to_owned() } else { names.join(", ") };
    let outcome = match event["status"].as_str() {
        Some("succeeded") => "Deploy completed".to_owned(),
        Some("rolled_back") => {
            format!("Deploy failed and was rolled back ({})", event["error"]["message"].as_str().unwrap_or("?"))
        }
        _ => format!("Deploy FAILED ({})", event["error"]["message"].as_str().unwrap_or("?")),
    };
    let seconds = event["duration_s"].as_i64().unwrap_or_default();
    format!(
        "{outcome}: {} {} at {} by {} in {seconds} s: {what}",
        text("project"),
        text("branch"),
        commit.get(..7).unwrap_or(&commit),
        text("actor")
    )
}

#[cfg(test)]
mod tests {
    use super::line;
    use serde_json::json;

    #[test]
    fn the_line_says_what_became_of_it() {
        let event = json!({"status": "rolled_back", "project": "shop", "branch": "main", "commit": "0123456789ab", "actor": "ada",
            "duration_s": 12, "services": [{"name": "web"}], "error": {"message": "web is unhealthy"}});
        assert_eq!(
            line(&event),
            "Deploy failed and was rolled back (web is unhealthy): shop main at 0123456 by ada in 12 s: web"
        );
    }
}
