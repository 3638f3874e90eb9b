//! What a service waits for before it starts.

use serde_json::Value;

/// The condition of an entry in `depends_on`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Condition {
    /// That the other one was started; also what a later Compose may mean by a word unknown here.
    #[default]
    Started,
    /// That its health check passes.
    Healthy,
    /// That it has ended with 0: the other one is a job.
    Completed,
}

impl Condition {
    /// Reads one entry of `depends_on`, as `docker compose config` writes it.
    pub(crate) fn read(entry: &Value) -> Condition {
        match entry.get("condition").and_then(Value::as_str) {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        }
    }
}
