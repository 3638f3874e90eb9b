//! What is said about a key of the compose file that a Swarm takes otherwise, or not at all.

use std::fmt;

/// One key, and what becomes of it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Note {
    /// The service; empty for what stands above services.
    pub service: String,
    /// The key, as the compose file has it.
    pub key: String,
    /// What becomes of it, or why it is refused and what to write in its place.
    pub words: String,
}

impl Note {
    pub(crate) fn new(service: &str, key: &str, words: impl Into<String>) -> Note {
        Note { service: service.to_owned(), key: key.to_owned(), words: words.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service.as_str() {
            "" => write!(f, "{}: {}", self.key, self.words),
            service => write!(f, "{service}: {}: {}", self.key, self.words),
        }
    }
}
