//! What a registry answers, by the words with which Docker passes it on: there is no other way to tell a login that is
//! missing from a disk that is full.

/// What a registry answers to an engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has no such image: it is there, and lets the engine ask.
    NoImage,
    /// It refuses the login, or wants one.
    Refuses,
    /// It takes no images at the moment.
    ReadOnly,
    /// It fails by itself, mostly for want of room.
    Fails,
    /// Nothing that is known, or no answer.
    Silent,
}

/// In this order, in lower case.
const WORDS: [(Answer, &[&str]); 4] = [
    (Answer::NoImage, &["manifest unknown", "not found", "name unknown", "repository does not exist", "manifest for"]),
    (Answer::Refuses, &["denied", "unauthorized", "authentication", "no basic auth", "forbidden"]),
    (Answer::ReadOnly, &["unsupported", "method not allowed", "read-only", "read only"]),
    (Answer::Fails, &["no space", "internal server error", "insufficient storage", "unknown: unknown error", "quota"]),
];

impl Answer {
    /// Reads what Docker `said`.
    pub fn read(said: &str) -> Answer {
        let lower = said.to_lowercase();
        let own = WORDS.iter().find(|(_, all)| all.iter().any(|words| lower.contains(words)));
        own.map_or(Answer::Silent, |(answer, _)| *answer)
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn what_a_registry_answers_is_known_by_docker_s_words() {
        for (said, answer) in [
            (
                "Error response from daemon: manifest for registry:5000/cm/none:none not found: manifest unknown: manifest unknown",
                Answer::NoImage,
            ),
            (
                "Error response from daemon: pull access denied for r/cm/none, repository does not exist or may require 'docker login'",
                Answer::NoImage,
            ),
            ("denied: requested access to the resource is denied", Answer::Refuses),
            ("unauthorized: authentication required", Answer::Refuses),
            ("Head \"https://r/v2/cm/none/manifests/none\": no basic auth credentials", Answer::Refuses),
            ("unexpected status from PUT request to http://r/v2/: 403 Forbidden", Answer::Refuses),
            ("unknown: Method not allowed", Answer::ReadOnly),
            ("unsupported: The operation is unsupported.", Answer::ReadOnly),
            ("received unexpected HTTP status: 500 Internal Server Error", Answer::Fails),
            ("received unexpected HTTP status: 507 Insufficient Storage", Answer::Fails),
            ("unknown: unknown error", Answer::Fails),
            ("Get \"https://r/v2/\": dial tcp: lookup r: no such host", Answer::Silent),
            ("Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", Answer::Silent),
            ("dial tcp 10.0.0.1:5000: connect: connection refused", Answer::Silent),
            ("", Answer::Silent),
        ] {
            assert_eq!(Answer::read(said), answer, "{said}");
        }
    }
}
