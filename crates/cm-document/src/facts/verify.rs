//! What `cm-verify` found out from outside: the canary, and the checks.

use super::{known_list, known_word};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was found out from outside.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct VerifyFacts {
    /// The worst of all; null if nothing was asked.
    pub verdict: Option<CheckVerdict>,
    /// The canary's report; null if it was not asked.
    #[serde(deserialize_with = "known_word")]
    pub canary: Option<CanaryFacts>,
    /// The checks, in the order of cm.toml.
    #[serde(deserialize_with = "known_list")]
    pub checks: Option<Vec<CheckFacts>>,
    /// Of `cm-verify --baseline`: what ran before the build answered.
    pub baseline: Option<Value>,
    /// In a dry run: what would be asked.
    pub would_ask: Option<Vec<Value>>,
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
pub struct CheckFacts {
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
    /// How bad that is, `P0` to `P3` of the runbook's escalation table; null where it passed, or nothing was learned.
    pub severity: Option<String>,
    /// What the runbook does about it.
    pub response: Option<String>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// From the first byte sent to the last one read, in milliseconds.
    pub latency_ms: Option<u64>,
    /// How often it was tried; more than once only where connections failed.
    pub attempts: u32,
}

/// What the canary's requests came to: those from outside, or those to the first new container
/// of a service. In a dry run only what would be asked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct CanaryFacts {
    /// What was asked.
    pub url: String,
    /// `pass`, `fail` or `inconclusive`; null if it was not asked.
    pub verdict: Option<String>,
    /// Why, for scripts.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// How bad it is, `P0` to `P3` of the runbook's escalation table.
    pub severity: Option<String>,
    /// How many requests were judged.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// The median latency of good answers, in milliseconds.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept, in milliseconds.
    pub percentiles_ms: Vec<f64>,
    /// The old release; null where there was nothing to compare with.
    pub baseline: Option<Side>,
    /// What users got; null where no access log was read.
    pub traffic: Option<Traffic>,
}

impl CanaryFacts {
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

/// One release under the canary's requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Side {
    /// How many requests were judged.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// The median latency of good answers, in milliseconds.
    pub median_ms: Option<f64>,
    /// The latency that 95 % of the good answers kept, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The latencies that 0, 5, 10, …, 100 % of the good answers kept, in milliseconds.
    pub percentiles_ms: Vec<f64>,
}

/// What users got, before the build and since the switch.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct Traffic {
    /// Since the switch.
    pub new: Side,
    /// Before the build.
    pub old: Side,
}

impl super::Part for VerifyFacts {
    const TOOL: &'static str = "verify";
}
