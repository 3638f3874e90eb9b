//! The variables of a build stage, as far as they are known without building it.

use crate::dockerfile::words::Value;
use crate::pattern::UNKNOWN;

/// Variables that BuildKit sets by itself; their values depend on the builder.
pub const PLATFORM_VARIABLES: [&str; 9] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

/// The variables of a stage; the last assignment counts.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Names and values, in the order of their assignments.
    pub known: Vec<(String, Value)>,
    /// Whether a base image may set variables that nobody here knows.
    pub open: bool,
}

impl Scope {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Value {
        let found = self.known.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found.unwrap_or(if self.open { Value::Unknown } else { Value::Unset })
    }

    /// Sets `name`.
    pub fn set(&mut self, name: &str, text: String) {
        let value = if text.contains(UNKNOWN) { Value::Unknown } else { Value::Known(text) };
        self.known.push((name.to_owned(), value));
    }
}
