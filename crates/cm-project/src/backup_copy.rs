//! `[backup.copy]`: where else a verified backup goes, by programs that somebody else makes. No shell
//! reads a word of it: a pipeline is a list of programs, each a list of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What stands for the name of the backup's file.
const NAME: &str = "{name}";

/// Programs that read from each other, the first from the backup: `["rclone", "rcat", "x:{name}"]`, or
/// several such lists in one.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Pipeline(pub Vec<Vec<String>>);

impl Pipeline {
    /// Its programs for a backup of that name.
    pub fn of(&self, name: &str) -> Vec<Vec<String>> {
        let program = |words: &Vec<String>| words.iter().map(|word| word.replace(NAME, name)).collect();
        self.0.iter().map(program).collect()
    }

    /// The names of its programs, for people.
    pub fn programs(&self) -> String {
        self.first_words().collect::<Vec<_>>().join(" | ")
    }

    /// The names of its programs.
    pub fn first_words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|program| program.first().map(String::as_str))
    }

    fn names_the_backup(&self) -> bool {
        self.0.iter().flatten().any(|word| word.contains(NAME))
    }

    fn is_complete(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|program| program.first().is_some_and(|word| !word.is_empty()))
    }
}

impl<'de> Deserialize<'de> for Pipeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a program and its arguments, or a list of such lists")]
        enum OneOrMany {
            One(Vec<String>),
            Many(Vec<Vec<String>>),
        }
        Ok(Pipeline(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(program) => vec![program],
            OneOrMany::Many(programs) => programs,
        }))
    }
}

impl JsonSchema for Pipeline {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pipeline".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let program = serde_json::json!({"type": "array", "items": {"type": "string"}, "minItems": 1});
        schemars::json_schema!({
            "description": "A program and its arguments, or a list of such lists, each of which reads what the one before it writes.",
            "anyOf": [program.clone(), {"type": "array", "items": program, "minItems": 1}]
        })
    }
}

/// What a copy that fails means for the run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCopyFailure {
    /// The run has failed: nothing is deployed.
    #[default]
    Fail,
    /// A warning.
    Warn,
}

/// `[backup.copy]`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackupCopy {
    /// Reads the backup on stdin and keeps it elsewhere; `{name}` is the name of its file. It runs on
    /// the host that has the backup.
    pub command: Pipeline,
    /// Writes the copy to stdout, to compare it with what was kept.
    pub read: Option<Pipeline>,
    /// Removes the copy of a backup that is removed, and what has arrived of one that failed.
    pub remove: Option<Pipeline>,
    /// At most so many bytes a second are sent: `500k`, `20M` or `1G`.
    #[serde(default, deserialize_with = "rate")]
    #[schemars(with = "Option<String>")]
    pub rate_limit: Option<u64>,
    /// Whether the deployment waits for the copy; else it is made meanwhile.
    #[serde(default = "waits")]
    pub wait: bool,
    /// What a copy that fails means where the deployment waits for it: `fail` or `warn`.
    #[serde(default)]
    pub on_failure: OnCopyFailure,
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_bytes(&text).map(Some).map_err(|why| serde::de::Error::custom(format!("{text:?}: {why}")))
}

/// A number of bytes such as `20M`, in decimal units.
///
/// # Errors
/// Why it is none.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| "it looks like 500k, 20M or 1G".to_owned())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(|| "it must be above 0, and fit".to_owned())
}

fn waits() -> bool {
    true
}

impl BackupCopy {
    /// What is wrong with it.
    pub fn mistake(&self) -> Option<String> {
        let pipelines =
            [("command", Some(&self.command)), ("read", self.read.as_ref()), ("remove", self.remove.as_ref())];
        for (key, pipeline) in pipelines.into_iter().filter_map(|(key, pipeline)| Some((key, pipeline?))) {
            if !pipeline.is_complete() {
                return Some(format!("`{key}` of [backup.copy] has a program without a name"));
            }
            if !pipeline.names_the_backup() {
                return Some(format!(
                    "`{key}` of [backup.copy] has no {NAME}: each copy would take the place of the last"
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, bytes) in [("1", 1), ("500k", 500_000), ("20M", 20_000_000), ("1G", 1_000_000_000)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "0", "k", "-1", "1.5M", "20MB", "99999999999G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
