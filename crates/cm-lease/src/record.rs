//! What a lock says about its holder (`cm.lock/1`). A record that cannot be
//! understood is an error with its path, never "free".

use crate::Process;
use cm_core::{Exit, Failure, OrFail, Result, parse_strict, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// The schema this version writes; it also reads any `cm.lock/1.x`.
pub const SCHEMA: &str = "cm.lock/1";

/// More than a record can be, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// The longest lease that is believed, in seconds: a day. Nobody renews for that long in between.
const MAX_LEASE: u64 = 86_400;

/// Who holds a lock, since when and for what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// Names this one holding, a UUID; every check compares it.
    pub nonce: String,
    /// Who, such as `ada@laptop`.
    pub owner: String,
    /// The process that holds and renews it.
    pub process: Process,
    /// When it was taken, RFC 3339, by the holder's clock: for people, never for judging.
    pub since: String,
    /// How long a host's lock lives without being renewed, in seconds.
    pub lease_seconds: u64,
    /// The project that is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The run's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The commit that is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What the holder is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why, in the holder's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Record {
    /// A record of this process for `owner`, with a new nonce.
    ///
    /// # Errors
    /// [`Exit::Config`] where `/proc` cannot be read.
    pub fn new(owner: &str, lease: Duration) -> Result<Self> {
        let process = Process::current().or_fail(
            Exit::Config,
            "lock.no-proc",
            "cannot tell this process from others: /proc cannot be read",
        )?;
        let seconds = lease.as_millis().div_ceil(1000).clamp(1, MAX_LEASE.into());
        Ok(Record {
            schema: SCHEMA.to_owned(),
            nonce: Uuid::now_v7().to_string(),
            owner: owner.to_owned(),
            process,
            since: time::now(),
            lease_seconds: u64::try_from(seconds).unwrap_or(MAX_LEASE),
            project: None,
            run: None,
            commit: None,
            step: None,
            reason: None,
        })
    }

    /// The lease.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// The record in `bytes`, which were read from `place`.
    ///
    /// # Errors
    /// [`Exit::Config`] `lock.unreadable` if they are anything but one record of a known version.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        read(bytes).map_err(|why| {
            Failure::new(Exit::Config, "lock.unreadable", format!("the lock record {place} cannot be read")).cause(why)
        })
    }

    /// The record as it is written: one line.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| Failure::bug("a lock record cannot be written").cause(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// How long ago it was taken, if the holder's clock agrees with this one.
    pub fn held_for(&self) -> Option<Duration> {
        let since: Timestamp = self.since.parse().ok()?;
        Timestamp::now().duration_since(since).try_into().ok()
    }

    /// The holder in one line: who, at which step, since when, why.
    pub fn describe(&self, step: Option<&str>) -> String {
        let mut parts = Vec::new();
        if let Some(step) = step.or(self.step.as_deref()) {
            parts.push(format!("at step {step}"));
        }
        parts.push(format!("since {}", self.since));
        if let Some(age) = self.held_for() {
            parts.push(format!("for {}", rough(age)));
        }
        parts.push(format!("process {} on {}", self.process.pid, self.process.machine));
        if let Some(commit) = &self.commit {
            parts.push(format!("commit {}", commit.chars().take(12).collect::<String>()));
        }
        if let Some(reason) = &self.reason {
            parts.push(format!("reason {reason:?}"));
        }
        format!("{} ({})", self.owner, parts.join(", "))
    }
}

/// What a host is told with a sign of life: the step and the run, which had no ID yet when the lock was taken.
pub fn news(step: &str, run: Option<&str>) -> String {
    match run {
        Some(run) if !step.is_empty() => format!("{step} {run}"),
        _ => step.to_owned(),
    }
}

fn read(bytes: &[u8]) -> Result<Record, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    if bytes.len() > MAX_BYTES {
        return Err(format!("it is larger than {} KiB", MAX_BYTES >> 10));
    }
    let value = parse_strict(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default();
    let known = schema == SCHEMA || schema.strip_prefix(SCHEMA).is_some_and(|rest| rest.starts_with('.'));
    match schema {
        _ if known => {}
        "" => return Err("cm did not write it: it has no \"schema\"".to_owned()),
        other => return Err(format!("its schema is {other:?}, this version reads {SCHEMA:?}")),
    }
    let record: Record = serde_json::from_value(value).map_err(|error| error.to_string())?;
    match () {
        () if Uuid::parse_str(&record.nonce).is_err() => Err("its nonce is not a UUID".to_owned()),
        () if !(1..=MAX_LEASE).contains(&record.lease_seconds) => {
            Err(format!("its lease of {} s is not between 1 s and a day", record.lease_seconds))
        }
        () => Ok(record),
    }
}

/// A length of time as people say it.
pub(crate) fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Value {
        serde_json::to_value(Record::new("ada@laptop", Duration::from_secs(60)).expect("/proc")).expect("values")
    }

    fn why(value: &Value) -> String {
        Record::parse(value.to_string().as_bytes(), "/x").expect_err("refused").to_string()
    }

    #[test]
    fn a_record_reads_back_and_tolerates_unknown_fields() {
        let mut value = sample();
        value["grease"] = json!({"a": [1, 2]});
        value["schema"] = json!("cm.lock/1.7");
        let record = Record::parse(value.to_string().as_bytes(), "/x").expect("valid");
        assert_eq!(record.owner, "ada@laptop");
        assert_eq!(record.process, Process::current().expect("/proc"));
    }

    #[test]
    fn whatever_is_no_record_is_an_error() {
        for bytes in ["", " \n", "{", "{}", "null", "4711", "[]", r#"{"schema":"cm.lock/1"}"#] {
            let failure = Record::parse(bytes.as_bytes(), "/x").expect_err(bytes);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "lock.unreadable"), "{bytes}");
        }
        assert!(Record::parse(&vec![b' '; MAX_BYTES + 1], "/x").is_err());
    }

    #[test]
    fn a_future_version_is_named() {
        let mut value = sample();
        value["schema"] = json!("cm.lock/2");
        assert!(why(&value).contains("cm.lock/2"));
        value["schema"] = json!("cm.lock/10");
        assert!(why(&value).contains("cm.lock/10"));
    }

    #[test]
    fn a_lease_for_ever_and_a_nonce_that_is_none_are_refused() {
        let mut value = sample();
        value["lease_seconds"] = json!(u64::MAX);
        assert!(why(&value).contains("lease"));
        value = sample();
        value["nonce"] = json!("x\" -o \"");
        assert!(why(&value).contains("nonce"));
    }

    #[test]
    fn a_lease_below_a_second_is_one_second() {
        let record = Record::new("ada", Duration::from_millis(10)).expect("/proc");
        assert_eq!(record.lease_seconds, 1);
    }
}
