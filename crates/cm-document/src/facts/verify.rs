//! What `cm-verify` found out from outside: the canary, and the checks.

use crate::Severity;
use crate::lenient::{known_list, known_or_default, known_word, nullable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found out from outside.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct VerifyFacts {
    /// The worst of all; null if nothing was asked.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Option<CheckVerdict>>,
    /// How bad that is, by the runbook's escalation table; null where nothing failed.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub severity: Option<Option<Severity>>,
    /// What the runbook does about it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub response: Option<Option<String>>,
    /// The canary's report; null if it was not asked.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub canary: Option<Option<CanaryReport>>,
    /// The checks, in the order of cm.toml.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<CheckResult>>,
    /// Of `cm-verify --baseline`: what ran before the build answered.
    #[serde(deserialize_with = "known_word", skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// In a dry run: what would be asked.
    #[serde(deserialize_with = "known_list", skip_serializing_if = "Option::is_none")]
    pub would_ask: Option<Vec<WouldAsk>>,
}

impl VerifyFacts {
    /// The worst of all, if anything was asked.
    pub fn verdict(&self) -> Option<CheckVerdict> {
        self.verdict.flatten()
    }
}

/// Something that would be asked: a check, or the canary's requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct WouldAsk {
    /// The check's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The check's URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The canary's URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// How many requests the canary makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// The access log that is read with them, null for none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub access_log: Option<Option<String>>,
}

/// What a check, or all of them, came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// As expected.
    Pass,
    /// As expected, but somebody should know something.
    Warn,
    /// Not as expected, or no answer.
    Fail,
    /// Nothing was learned.
    #[default]
    #[serde(other)]
    Unknown,
}

impl CheckVerdict {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckVerdict::Pass => "pass",
            CheckVerdict::Warn => "warn",
            CheckVerdict::Fail => "fail",
            CheckVerdict::Unknown => "unknown",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct CheckResult {
    /// Its name in `cm.toml`.
    pub name: String,
    /// What was asked; as written in `cm.toml` where that could not be expanded.
    pub url: String,
    /// What it came to.
    pub verdict: CheckVerdict,
    /// Why, for scripts: `ok`, `status`, `refused`, …
    pub code: String,
    /// Why, for people: a fragment such as `503, wanted 200`.
    pub message: String,
    /// How bad that is, by the runbook's escalation table; null where it passed, or nothing was learned.
    #[serde(deserialize_with = "known_word")]
    pub severity: Option<Severity>,
    /// What the runbook does about it.
    pub response: Option<String>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// From the first byte sent to the last one read, in milliseconds.
    pub latency_ms: Option<u64>,
    /// How often it was tried; more than once only where connections failed.
    pub attempts: u32,
    /// The beginning of the body, for people who look on; no document has it.
    #[serde(skip)]
    pub body: Option<String>,
}

/// What a canary came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryVerdict {
    /// Nothing that would have shown is there.
    Pass,
    /// The new release is worse, or fails grossly.
    Fail,
    /// It cannot be said.
    #[default]
    #[serde(other)]
    Inconclusive,
}

impl CanaryVerdict {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            CanaryVerdict::Pass => "pass",
            CanaryVerdict::Fail => "fail",
            CanaryVerdict::Inconclusive => "inconclusive",
        }
    }
}

/// What the canary's requests came to: those from outside, or those to the first new container
/// of a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct CanaryReport {
    /// What was asked.
    pub url: String,
    /// What it came to.
    pub verdict: CanaryVerdict,
    /// Why, for scripts: `ok`, `row`, `errors`, `latency`, …
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// How bad it is, by the runbook's escalation table.
    #[serde(deserialize_with = "known_or_default")]
    pub severity: Severity,
    /// How many requests were judged; fewer than wanted if it was decided early.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The smallest error rate, in percent, that would have shown 95 times in 100.
    pub detectable_percent: Option<f64>,
    /// The median latency of good answers, in milliseconds.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept, in milliseconds; empty if there were none.
    pub percentiles_ms: Vec<f64>,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// The old release; null where there was nothing to compare with.
    pub baseline: Option<Side>,
    /// What users got; null where no access log was read.
    pub traffic: Option<Traffic>,
}

impl CanaryReport {
    /// The new release under the requests.
    pub fn side(&self) -> Side {
        Side {
            requests: self.requests,
            failures: self.failures,
            median_ms: self.median_ms,
            p95_ms: self.p95_ms,
            percentiles_ms: self.percentiles_ms.clone(),
        }
    }
}

/// One release under the canary's requests, or what users got from it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Side {
    /// How many requests were judged.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// The median latency of good answers, in milliseconds.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept, in milliseconds; empty if there were none.
    pub percentiles_ms: Vec<f64>,
}

/// What users got, before the build and since the switch.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Traffic {
    /// Where it was read: a service's name, or a path on the host.
    pub access_log: String,
    /// What it came to.
    pub verdict: CanaryVerdict,
    /// Why, for scripts, as the report's.
    pub code: String,
    /// Since the switch.
    pub new: Side,
    /// Before the build.
    pub old: Side,
}

/// What ran before the build, for the canary after it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Baseline {
    /// What the canary's requests came to; null if nothing was asked.
    #[serde(deserialize_with = "known_word")]
    pub requests: Option<Samples>,
    /// What users got; null where no access log was read.
    #[serde(deserialize_with = "known_word")]
    pub traffic: Option<Samples>,
    /// The run whose canary these requests were, where nothing was asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What requests to one release came to, so that another one can be compared with it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Samples {
    /// How many requests were judged.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many said nothing.
    pub not_judged: u32,
    /// The most failures one after the other.
    pub longest_row: u32,
    /// The latencies of good answers, in milliseconds; those of the warm-up left out.
    pub latencies_ms: Vec<f64>,
    /// The first failure.
    pub first_failure: Option<String>,
    /// Why requests said nothing.
    pub excuse: Option<String>,
}

impl super::Part for VerifyFacts {
    const TOOL: &'static str = "verify";
}
