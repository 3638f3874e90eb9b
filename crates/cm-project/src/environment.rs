//! The variables of this process's environment that `cm.toml` may use. Who can change
//! `cm.toml` decides where requests go and what is in them: only what names people and
//! servers is given by itself, and anything else where the person says so.

use cm_core::{Exit, Failure, Result};
use std::env;

/// What may be used without being asked for; `*` stands for any beginning.
const ALWAYS: [&str; 9] = [
    "DEPLOY_USER",
    "DEPLOY_HOST",
    "*_DEPLOY_USER",
    "*_IP",
    "*_HOST",
    "API_URL",
    "APP_URL",
    "DASHBOARD_URL",
    "DOCS_URL",
];

/// What may be named where a secret is sent with a request (`header_env`, `token_env`, `slack_webhook_env`)
/// without being asked for: those of the shipped example.
const SENT: [&str; 4] = ["SLACK_DEPLOY_WEBHOOK", "SLACK_WEBHOOK_URL", "OPS_API_TOKEN", "CM_API_KEY"];

/// The variable by which the person or CI allows more: names, separated by commas or spaces; a
/// `*` at the beginning or alone stands for anything.
pub const ALLOW_ENV: &str = "CM_ALLOW_ENV";

/// A value, unless it may not be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// It is set to this.
    Value(String),
    /// It is not set.
    Unset,
    /// It is set, and nobody allowed that it is used.
    NotAllowed,
}

/// The value of `name`. What somebody allowed is kept out of everything that is written.
pub fn find(name: &str) -> Found {
    let Ok(value) = env::var(name) else { return Found::Unset };
    if ALWAYS.iter().any(|pattern| fits(pattern, name)) {
        return Found::Value(value);
    }
    if is_allowed(name) {
        cm_core::add_secret(&value);
        return Found::Value(value);
    }
    Found::NotAllowed
}

/// The secret in the variable that `cm.toml` names for a request; `None` if it is not set, or empty. It is kept
/// out of everything that is written.
///
/// # Errors
/// [`Exit::Config`] if nobody allowed that it is sent.
pub fn secret_to_send(name: &str) -> Result<Option<String>> {
    let Some(value) = env::var(name).ok().filter(|value| !value.is_empty()) else { return Ok(None) };
    cm_core::add_secret(&value);
    if SENT.contains(&name) || is_allowed(name) { Ok(Some(value)) } else { Err(not_allowed("", name)) }
}

fn is_allowed(name: &str) -> bool {
    let allowed = env::var(ALLOW_ENV).unwrap_or_default();
    allowed.split([',', ' ']).any(|pattern| fits(pattern, name))
}

/// That `cm.toml` uses a variable that nobody allowed; `place` is where, with what separates it.
pub fn not_allowed(place: &str, name: &str) -> Failure {
    let message = format!("{place}cm.toml may not use the variable {name} of this machine");
    Failure::new(Exit::Config, "config.variable-not-allowed", message)
        .hint(format!("if its value may leave this machine: export {ALLOW_ENV}={name}"))
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_servers_may_be_named_and_nothing_else() {
        let may = |name: &str| ALWAYS.iter().any(|pattern| fits(pattern, name));
        for name in ["DEPLOY_USER", "PLATFORM_VPS_IP", "DEPLOY_HOST", "STAGING_DEPLOY_USER", "API_URL"] {
            assert!(may(name), "{name}");
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "SLACK_WEBHOOK_URL", "DATABASE_URL", "GITHUB_TOKEN", "HOME", ""] {
            assert!(!may(name), "{name}");
        }
        assert!(fits("*", "ANY") && fits("*_KEY", "A_KEY") && !fits("", "A"));
    }
}
