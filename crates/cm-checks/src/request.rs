//! The request that a check makes. What it needs and is not there (a variable, a
//! valid URL) is found before anything is asked.

use cm_core::{Exit, Failure, Result};
use cm_http::Request;
use cm_project::{Check, Verify};
use std::collections::BTreeMap;

/// The request; its secrets are registered.
pub fn of(check: &Check, verify: &Verify) -> Result<Request> {
    let url = check.url.expand()?;
    if !cm_http::is_url(&url) {
        let message = format!("{url:?} is not an http:// or https:// URL");
        return Err(Failure::new(Exit::Config, "config.bad-url", message));
    }
    let plain = check.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    Ok(Request {
        url,
        method: if check.method == cm_project::Method::Get { "" } else { check.method.as_str() },
        headers: plain.chain(secrets(&check.header_env)?).collect(),
        json: check.body.clone(),
        redirects: check.redirects,
        limit: Some(check.timeout.unwrap_or(verify.timeout)),
    })
}

/// Headers whose values are in variables.
///
/// # Errors
/// [`Exit::Config`] that names the variable that is not set, or that nobody allowed.
pub fn secrets(header_env: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let value = |(name, variable): (&String, &String)| {
        let value = cm_project::secret_to_send(variable)?.ok_or_else(|| {
            let message = format!("the variable {variable} is not set, which holds the header {name}");
            Failure::new(Exit::Config, "config.unset-variable", message)
        })?;
        Ok((name.clone(), value))
    };
    header_env.iter().map(value).collect()
}
