//! Configs and secrets. In a Swarm they never change, so that a new content is a new object: each bears the digest of
//! its content in its name. A service is rolled back by giving it the old name again, and an old object is
//! removed once nothing uses it.

use crate::note::Note;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// More than this no config takes, in bytes; cm keeps below what every version of Swarm does.
pub(crate) const MOST_BYTES: usize = 500 * 1000;

/// A config or a secret of the compose file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    /// `config` or `secret`: Docker's command for it.
    pub kind: &'static str,
    /// Its name in the compose file.
    pub key: String,
    /// What its name in the Swarm begins with.
    pub prefix: String,
    /// Where its content comes from.
    pub source: Source,
}

/// Where a content comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A file on the manager, absolute.
    File(String),
    /// A variable of the env file.
    Variable(String),
    /// The compose file itself.
    Inline(String),
    /// Somebody else makes it; its name there.
    External(String),
}

/// Why no Swarm takes a content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfit {
    /// The code of it.
    pub code: &'static str,
    /// In words, with its name.
    pub why: String,
    /// What to do.
    pub hint: &'static str,
}

impl Content {
    /// The name of an object with this content.
    pub fn name(&self, bytes: &[u8]) -> String {
        let digest = Sha256::digest(bytes);
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // 64 characters are as much as Docker takes.
        let prefix: String = self.prefix.chars().take(64 - 1 - 16).collect();
        format!("{prefix}-{hex}")
    }

    /// Why no Swarm takes so many bytes, if none does, and what to do.
    pub fn unfit(&self, bytes: usize) -> Option<Unfit> {
        let Content { kind, key, .. } = self;
        match bytes {
            0 => Some(Unfit {
                code: "swarm.content",
                why: format!("{kind} {key} is empty; a Swarm takes none without a content"),
                hint: "write something into it, or take it out of the compose file",
            }),
            1..=MOST_BYTES => None,
            _ => Some(Unfit {
                code: "swarm.too-large",
                why: format!("{kind} {key} has {bytes} bytes; a Swarm takes 500 kB"),
                hint: "put it into the image, or split it into several",
            }),
        }
    }

    /// The entry of a stack's section for the object called `name`.
    pub(crate) fn entry(name: &str) -> Value {
        json!({"external": true, "name": name})
    }
}

/// Those of a section of the compose file.
pub(crate) fn read(config: &Value, section: &str, kind: &'static str, refused: &mut Vec<Note>) -> Vec<Content> {
    let project = config.get("name").and_then(Value::as_str).unwrap_or_default();
    let all = config.get(section).and_then(Value::as_object).into_iter().flatten();
    let mut contents = Vec::new();
    for (key, value) in all {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let named = text("name").unwrap_or_else(|| format!("{project}_{key}"));
        let source = if value.get("external").and_then(Value::as_bool) == Some(true) {
            Some(Source::External(named.clone()))
        } else {
            let file = text("file").map(Source::File);
            let content = || text("content").map(|content| Source::Inline(content.replace("$$", "$")));
            file.or_else(|| text("environment").map(Source::Variable)).or_else(content)
        };
        match source {
            Some(source) => contents.push(Content { kind, key: key.clone(), prefix: named, source }),
            None => {
                refused.push(Note::new("", &format!("{section}.{key}"), "has neither file, content nor environment"))
            }
        }
    }
    contents
}

/// By key of the compose file, the name in the Swarm.
pub(crate) type Names = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_name_and_the_same_the_same() {
        let config = json!({"name": "shop", "configs": {
            "a": {"file": "/x/a"}, "b": {"name": "own", "content": "1$$"}, "c": {"external": true, "name": "theirs"}, "d": {},
            "e": {"environment": "E"},
        }});
        let mut refused = Vec::new();
        let all = read(&config, "configs", "config", &mut refused);
        let sources: Vec<_> = all.iter().map(|content| content.source.clone()).collect();
        let wanted = [
            Source::File("/x/a".to_owned()),
            Source::Inline("1$".to_owned()),
            Source::External("theirs".to_owned()),
            Source::Variable("E".to_owned()),
        ];
        assert_eq!(sources, wanted);
        assert_eq!(refused.len(), 1);
        assert_eq!((all[0].prefix.as_str(), all[1].prefix.as_str()), ("shop_a", "own"));
        assert_eq!(all[0].name(b"x"), all[0].name(b"x"));
        assert_ne!(all[0].name(b"x"), all[0].name(b"y"));
        let long = Content { prefix: "p".repeat(80), ..all[0].clone() };
        assert_eq!(long.name(b"x").len(), 64);
    }
}
