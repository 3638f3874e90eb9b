//! Names that a document says: of a project, a service, a host, a commit, a run. Each has rules,
//! and is made where the document is read, so that what a document says can never become a path,
//! an option or a revision of Git: those of other shapes are refused before anything happens.

use std::fmt;

/// No name is longer, in bytes.
const LONGEST: usize = 255;

/// A name of some kind, which keeps that kind's rules.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
                f.write_str(&self.0)
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
    /// A commit by its full id, 40 or 64 hexadecimal digits: never a revision such as `HEAD`.
    CommitId,
    "a full commit ID",
    |text| [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
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

/// Whether `text` can be a commit's id, or how one begins: hexadecimal digits and nothing else.
pub(crate) fn is_commit_like(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

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
        assert!(ServiceName::new("backend-b2b").is_some() && ServiceName::new("a b").is_none());
        assert!(HostName::new("ada@server:22").is_some() && HostName::new("a b").is_none());
    }

    #[test]
    fn a_commit_is_a_full_id_and_never_a_revision() {
        for text in ["HEAD", "", "0123456", "HEAD~1", "--all", &"g".repeat(40), &"A".repeat(40)] {
            assert_eq!(CommitId::new(text), None, "{text:?}");
        }
        assert!(CommitId::new(&"0a".repeat(20)).is_some() && CommitId::new(&"0a".repeat(32)).is_some());
        assert!(RunId::new("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10").is_some() && RunId::new("../x").is_none());
    }
}
