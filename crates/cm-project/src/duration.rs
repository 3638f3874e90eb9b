//! Lengths of time in `cm.toml`, as [`cm_core::time::length`] reads them.

use cm_core::time;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::time::Duration;

/// For `#[serde(deserialize_with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    time::length(&text).map_err(D::Error::custom)
}

/// The same for a key that may be left out.
pub fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}
