//! `[canary]` and `[verify]` of `cm.toml`: what is asked from outside after a
//! deployment, what a right answer is, and how bad a wrong one is. A check that
//! expects nothing is refused here: it could not fail.

use crate::duration;
pub use crate::statuses::Statuses;
use crate::value::Template;
use cm_core::Severity;
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;

/// `[canary]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// What is asked; without it there is no canary.
    pub url: Option<Template>,
    /// Headers whose values are secrets: the header's name and the variable's name.
    pub header_env: BTreeMap<String, String>,
    /// How often the new release is asked.
    pub requests: u32,
    /// How often the old one is asked before the build; without it, three times as often.
    pub baseline_requests: Option<u32>,
    /// How old the answers to the last release's canary may be to stand for what runs, if nothing was released since;
    /// else, and always with `"0s"`, it is asked again before the build.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schemars(with = "String")]
    pub baseline_max_age: Duration,
    /// With fewer judged requests than this on a side, nothing relative is said.
    pub min_requests: u32,
    /// How many may fail, whatever the old release did; without it, the comparison decides.
    pub max_failures: Option<u32>,
    /// What a canary comes to that could not say either.
    pub inconclusive: Consequence,
    /// What a release comes to that is materially slower than the old one.
    pub latency: Consequence,
    /// Where Caddy's access log is: the service that prints it, or a file on its host.
    pub access_log: Option<String>,
}

impl Default for Canary {
    fn default() -> Self {
        Canary {
            url: None,
            header_env: BTreeMap::new(),
            requests: 200,
            baseline_requests: None,
            baseline_max_age: Duration::from_secs(30 * 60),
            min_requests: 100,
            max_failures: None,
            inconclusive: Consequence::Warn,
            latency: Consequence::Fail,
            access_log: None,
        }
    }
}

impl Canary {
    /// How often the old release is asked. Three requests to one: what the old one does
    /// is then known well enough for a doubled error rate to show in the new one's.
    pub fn baseline_requests(&self) -> u32 {
        self.baseline_requests.unwrap_or_else(|| self.requests.saturating_mul(3))
    }
}

/// What a finding leads to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consequence {
    /// It counts as a pass.
    Pass,
    /// People are told.
    Warn,
    /// It fails the deployment.
    Fail,
}

/// `[verify]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// How long one check may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// A slower answer is worth a warning.
    #[serde(deserialize_with = "duration::deserialize")]
    pub latency_warn: Duration,
    /// How often a check is tried again where no connection came about.
    pub retries: u32,
    /// A certificate that is valid for fewer days than this is worth a warning.
    pub certificate_days: u32,
    /// Values for the variables of URLs that beat the environment's, by the profile's name.
    pub profiles: BTreeMap<String, BTreeMap<String, String>>,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

impl Default for Verify {
    fn default() -> Self {
        Verify {
            timeout: Duration::from_secs(10),
            latency_warn: Duration::from_secs(3),
            retries: 2,
            certificate_days: 14,
            profiles: BTreeMap::new(),
            checks: Vec::new(),
        }
    }
}

/// `[[verify.checks]]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What people call it.
    pub name: String,
    /// What is asked.
    pub url: Template,
    /// Whether the URL's host is a service, asked through the server that runs it.
    #[serde(default)]
    pub in_network: bool,
    /// The service that stands behind it.
    #[schemars(with = "Option<String>")]
    pub service: Option<Spanned<String>>,
    /// `GET`, unless it says otherwise.
    #[serde(default)]
    pub method: Method,
    /// Headers that are sent.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets: the header's name and the variable's name.
    #[serde(default)]
    pub header_env: BTreeMap<String, String>,
    /// A body that is sent, as JSON.
    pub body: Option<serde_json::Value>,
    /// How many redirects are followed; each must stay within `timeout`.
    #[serde(default)]
    pub redirects: u32,
    /// The status codes that are right; 200 where only other things are said.
    pub status: Option<Statuses>,
    /// A text that the body must contain.
    pub contains: Option<String>,
    /// A regular expression that the body must match.
    pub matches: Option<Pattern>,
    /// Dotted paths into the JSON body and the values they must have.
    #[serde(default)]
    pub json: BTreeMap<String, serde_json::Value>,
    /// The dotted path of the commit in the JSON body, which must be the one that is deployed.
    pub revision: Option<String>,
    /// Headers that the answer must have, and what their values must match.
    #[serde(default)]
    pub response_headers: BTreeMap<String, Pattern>,
    /// Whether the headers that protect browsers are looked for.
    #[serde(default)]
    pub security_headers: bool,
    /// How long it may take.
    #[serde(default, deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// A slower answer is worth a warning.
    #[serde(default, deserialize_with = "optional_duration")]
    pub latency_warn: Option<Duration>,
    /// How often it is tried again where no connection came about.
    pub retries: Option<u32>,
    /// How bad it is if it fails.
    #[serde(default)]
    pub severity: Severity,
}

impl Check {
    /// A GET of `url` that wants 200.
    pub fn get(name: impl Into<String>, url: Template) -> Check {
        Check {
            name: name.into(),
            url,
            in_network: false,
            service: None,
            method: Method::default(),
            headers: BTreeMap::new(),
            header_env: BTreeMap::new(),
            body: None,
            redirects: 0,
            status: Some(Statuses::default()),
            contains: None,
            matches: None,
            json: BTreeMap::new(),
            revision: None,
            response_headers: BTreeMap::new(),
            security_headers: false,
            timeout: None,
            latency_warn: None,
            retries: None,
            severity: Severity::default(),
        }
    }

    /// The status codes that are right.
    pub fn statuses(&self) -> Statuses {
        self.status.clone().unwrap_or_default()
    }

    /// Whether some answer would be wrong.
    pub(crate) fn can_fail(&self) -> bool {
        self.status.is_some()
            || self.contains.is_some()
            || self.matches.is_some()
            || !self.json.is_empty()
            || self.revision.is_some()
            || !self.response_headers.is_empty()
    }
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Without a body, unless one is given: then it is a POST.
    #[default]
    Get,
    /// The headers alone.
    Head,
    /// What the server can do.
    Options,
    /// With or without a body.
    Post,
    /// With or without a body.
    Put,
    /// With or without a body.
    Patch,
    /// With or without a body.
    Delete,
}

impl Method {
    /// The word in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A regular expression, compiled when the configuration is read.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "regex"})
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |error| D::Error::custom(format!("{text:?} is not a valid regular expression: {error}"));
        Regex::new(&text).map(Pattern).map_err(wrong)
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use cm_core::{Exit, Failure};

    fn check(lines: &str) -> Result<super::Check, Failure> {
        let text = format!("[[verify.checks]]\nname = \"a\"\nurl = \"http://b/\"\n{lines}\n");
        Config::parse("cm.toml", &text).map(|mut config| config.verify.checks.remove(0))
    }

    #[test]
    fn a_check_that_could_not_fail_is_refused() {
        for lines in ["", "redirects = 3", "security_headers = true", "contains = \"\"", "matches = \"\""] {
            let failure = check(lines).expect_err(lines);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "config.no-expectation"), "{lines}");
            assert!(failure.message.starts_with("cm.toml:3:7: the check \"a\" "), "{}", failure.message);
        }
        for lines in
            ["status = 200", "contains = \"x\"", "json = { a = 1 }", "revision = \"revision\"", "matches = \"^a\""]
        {
            assert!(check(lines).is_ok(), "{lines}");
        }
    }

    #[test]
    fn status_codes_are_sets() {
        for (lines, codes, words) in [
            ("status = 204", 1, "204"),
            ("status = \"2xx\"", 100, "200-299"),
            ("status = [200, \"301-308\", 401]", 10, "200 or 301-308 or 401"),
        ] {
            let statuses = check(lines).expect(lines).statuses();
            assert_eq!((statuses.0.len(), statuses.to_string().as_str()), (codes, words));
        }
        for lines in ["status = 20", "status = \"9xx\"", "status = \"300-200\"", "status = []", "status = \"ok\""] {
            assert!(check(lines).expect_err(lines).message.contains("status code"), "{lines}");
        }
    }

    #[test]
    fn what_cannot_be_sent_or_matched_is_refused_where_it_stands() {
        for (lines, wanted) in [
            ("status = 200\nmatches = \"(\"", "is not a valid regular expression"),
            ("status = 200\nmethod = \"FETCH\"", "unknown variant `FETCH`"),
            ("status = 200\nseverity = \"P9\"", "unknown variant `P9`"),
            ("status = 200\ntimeout = \"soon\"", "is not a length of time"),
        ] {
            let failure = check(lines).expect_err(lines);
            assert!(
                failure.message.starts_with("cm.toml:5:") && failure.message.contains(wanted),
                "{}",
                failure.message
            );
        }
    }
}
