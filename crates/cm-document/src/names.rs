//! Names that a document says: of a project, a service, a host, a commit, a run. Each has rules,
//! and is made where the document is read, so that what a document says can never become a path,
//! an option or a revision of Git: those of other shapes are refused before anything happens.

use crate::cut;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

/// No name is longer, in bytes.
const LONGEST: usize = 255;

/// A name of some kind, which keeps that kind's rules.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name, if `text` keeps the rules.
            pub fn new(text: &str) -> Option<Self> {
                let rule: fn(&str) -> bool = $rule;
                rule(text).then(|| $name(text.to_owned()))
            }

            /// What it is the name of, for messages.
            pub const WHAT: &'static str = $what;

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                $name::new(&text).ok_or_else(|| Error::custom(format!("{:?} is not {}", cut(&text, 100), $name::WHAT)))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string"})
            }
        }
    };
}

name!(
    /// A project: it names directories on servers, so that it is one component of a path.
    ProjectName,
    "a project's name",
    is_component
);

name!(
    /// A service, by the rules of Compose: letters, digits, `.`, `_` and `-`.
    ServiceName,
    "a service's name",
    |text| is_component(text) && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
);

name!(
    /// A host, as `cm.toml` or a flag names it.
    HostName,
    "a host's name",
    |text| is_component(text) && !text.contains(char::is_whitespace)
);

name!(
    /// A commit by its id, or how one begins: hexadecimal digits, never a revision such as `HEAD`.
    CommitId,
    "a commit ID",
    |text| (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl CommitId {
    /// Whether it is the whole id, 40 or 64 digits.
    pub fn is_full(&self) -> bool {
        [40, 64].contains(&self.0.len())
    }
}

name!(
    /// An image, by its name or id: one word, and no option.
    ImageRef,
    "an image",
    |text| {
        !text.is_empty() && text.len() <= 4 * LONGEST && !text.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    }
);

name!(
    /// A branch: what Git and no shell takes for one, and nothing that a program takes for an option.
    BranchName,
    "a branch's name",
    |text| {
        let allowed = |c: char| c.is_alphanumeric() || "/._-+@#=,".contains(c);
        !text.is_empty() && text.len() <= LONGEST && !text.starts_with(['-', '/']) && !text.contains("..") && text.chars().all(allowed)
    }
);

name!(
    /// A run: a UUID, which names a directory of the journal.
    RunId,
    "a run's ID",
    |text| text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
);

/// One component of a path, that no program takes for an option and no terminal for a command.
fn is_component(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.starts_with('-')
        && ![".", ".."].contains(&text)
        && !text.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_become_a_path_or_an_option_is_not_a_name() {
        let long = "x".repeat(256);
        for text in ["", ".", "..", "../../../victim", "/etc", "a/b", "--help", "-x", "a\nb", "a\u{1b}[2Jb", &long] {
            assert_eq!(ProjectName::new(text), None, "{text:?}");
            assert_eq!(ServiceName::new(text), None, "{text:?}");
            assert_eq!(HostName::new(text), None, "{text:?}");
        }
        for text in ["shop", "curate-me", "größe", "my shop"] {
            assert!(ProjectName::new(text).is_some(), "{text:?}");
        }
        for text in ["", "-v", "a b", "a\n", &"x".repeat(1_021)] {
            assert_eq!(ImageRef::new(text), None, "{text:?}");
        }
        assert!(ImageRef::new("registry:5000/acme/web:1@sha256:00").is_some());
        assert!(ServiceName::new("backend-b2b").is_some() && ServiceName::new("a b").is_none());
        assert!(HostName::new("ada@server:22").is_some() && HostName::new("a b").is_none());
    }

    #[test]
    fn a_commit_is_an_id_and_never_a_revision() {
        for text in ["HEAD", "", "abc", "HEAD~1", "--all", &"g".repeat(40), &"A".repeat(40), &"a".repeat(65)] {
            assert_eq!(CommitId::new(text), None, "{text:?}");
        }
        let is_full = |text: &str| CommitId::new(text).expect("an id").is_full();
        assert!(is_full(&"0a".repeat(20)) && is_full(&"0a".repeat(32)) && !is_full("0123456"));
        assert!(RunId::new("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10").is_some() && RunId::new("../x").is_none());
    }
}
