//! `undo` of the document: what takes each change back, complete in itself and written down before
//! the change. It can be done twice. An entry of a kind that this version does not know stays as it
//! is; that it is there says that something was changed.

use crate::lenient::known;
use crate::{Action, CommitId, HostName, ImageRef, ServiceName};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// What takes one change back.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Undo {
    /// What cm-build changed on a host.
    Release(UndoRelease),
    /// A change of a kind that this version does not know.
    #[serde(untagged)]
    Other(UndoOther),
}

/// What was on a host before cm-build changed it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct UndoRelease {
    /// The host.
    pub host: HostName,
    /// The checkout on the host.
    #[serde(default)]
    pub checkout: String,
    /// Compose's name of the project.
    #[serde(default)]
    pub compose_project: String,
    /// The commit the checkout was at; empty if nothing was checked out.
    #[serde(default, deserialize_with = "unless_empty", serialize_with = "or_empty")]
    pub from: Option<CommitId>,
    /// The commit it was moved to.
    #[serde(default, deserialize_with = "unless_empty", serialize_with = "or_empty")]
    pub to: Option<CommitId>,
    /// By service: what was to be done, and the image it ran before.
    #[serde(default, deserialize_with = "services")]
    pub services: BTreeMap<ServiceName, UndoService>,
    /// The program that made the change.
    #[serde(default)]
    pub tool: String,
}

/// What a service ran.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct UndoService {
    /// What was to be done to it.
    pub action: Option<Action>,
    /// The name of the image of its container; null if it had none.
    #[serde(deserialize_with = "unless_empty")]
    pub image: Option<ImageRef>,
    /// The id of that image.
    #[serde(deserialize_with = "unless_empty")]
    pub image_id: Option<ImageRef>,
}

/// What there is to say of a change that is not known.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct UndoOther {
    /// What kind of change.
    pub kind: Option<String>,
    /// The host.
    pub host: Option<HostName>,
    /// The program that made the change.
    pub tool: Option<String>,
}

impl Undo {
    /// What was on the host, if cm-build changed it.
    pub fn release(&self) -> Option<&UndoRelease> {
        if let Undo::Release(release) = self { Some(release) } else { None }
    }

    /// The program that made the change, if that is known.
    pub fn tool(&self) -> Option<&str> {
        match self {
            Undo::Release(release) => Some(&release.tool),
            Undo::Other(other) => other.tool.as_deref(),
        }
    }
}

impl<'de> Deserialize<'de> for Undo {
    /// An entry of a known kind that cannot be read is an error, and not one of another kind.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = match value.get("kind").and_then(Value::as_str) {
            Some("release") => UndoRelease::deserialize(value).map(Undo::Release),
            _ => UndoOther::deserialize(value).map(Undo::Other),
        };
        read.map_err(Error::custom)
    }
}

/// Nothing, where it says nothing.
fn unless_empty<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => T::deserialize(value).map(Some).map_err(Error::custom),
    }
}

fn or_empty<S: Serializer>(commit: &Option<CommitId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(commit.as_deref().unwrap_or_default())
}

fn services<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<ServiceName, UndoService>, D::Error> {
    let services = known(deserializer)?.unwrap_or_default().into_iter();
    let named = services.map(|(name, service)| Some((ServiceName::new(&name)?, service)));
    named.collect::<Option<_>>().ok_or_else(|| Error::custom(format!("a key of services is not {}", ServiceName::WHAT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_reads_back_as_it_was_written_and_says_nothing_as_it_did() {
        let release = json!({
            "kind": "release", "host": "h", "checkout": "~/shop", "compose_project": "shop", "from": "", "to": "0123456",
            "services": {"web": {"action": "build", "image": "shop/web", "image_id": "sha256:1"}, "new": {"action": "build", "image": null, "image_id": null}},
            "tool": "cm-build",
        });
        let read = Undo::deserialize(&release).expect("an entry");
        assert_eq!(read.release().and_then(|release| release.from.clone()), None);
        assert_eq!(json!(read), release);
    }

    #[test]
    fn what_a_later_version_changed_is_known_to_be_something() {
        let other = json!({"kind": "teleport", "host": "h", "tool": "cm-beam", "more": [1]});
        let read = Undo::deserialize(&other).expect("an entry");
        assert_eq!((read.release(), read.tool()), (None, Some("cm-beam")));
    }

    #[test]
    fn an_entry_of_ours_that_breaks_a_rule_is_refused_and_not_taken_for_another_ones() {
        let entry = |key: &str, value: Value| {
            let mut entry = json!({"kind": "release", "host": "h", "services": {"web": {"image_id": "sha256:1"}, "x": {"more": 1}}});
            assert_eq!(
                Undo::deserialize(&entry).expect("valid").release().map(|release| release.services.len()),
                Some(1)
            );
            entry[key] = value;
            Undo::deserialize(&entry)
        };
        for (key, value) in [
            ("host", Value::Null),
            ("host", json!("--help")),
            ("from", json!("HEAD~1")),
            ("to", json!(7)),
            ("services", json!({"../x": {"image": "a"}})),
            ("services", json!({"web": {"image": "--format=x"}})),
            ("services", json!({"web": {"image_id": "a b"}})),
            ("services", json!([])),
        ] {
            assert!(entry(key, value.clone()).is_err(), "{key} {value}");
        }
    }
}
