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
    /// It, or a proxy in front of it, takes no layer that is so large.
    TooLarge,
    /// It fails by itself, mostly for want of room.
    Fails,
    /// Nothing that is known, or no answer.
    Silent,
}

/// In this order, in lower case.
const WORDS: [(Answer, &[&str]); 5] = [
    (Answer::NoImage, &["manifest unknown", "not found", "name unknown", "repository does not exist", "manifest for"]),
    (Answer::Refuses, &["denied", "unauthorized", "authentication", "no basic auth", "forbidden"]),
    (Answer::ReadOnly, &["unsupported", "method not allowed", "read-only", "read only"]),
    (Answer::TooLarge, &["entity too large", "payload too large", "content too large"]),
    (Answer::Fails, &["no space", "internal server error", "insufficient storage", "unknown: unknown error", "quota"]),
];

/// Before the number of a status: its words are the registry's own, or those of a proxy.
const STATUS: [&str; 2] = ["http status: ", "status code "];

impl Answer {
    /// Reads what Docker `said`.
    pub fn read(said: &str) -> Answer {
        let lower = said.to_lowercase();
        let own = WORDS.iter().find(|(_, all)| all.iter().any(|words| lower.contains(words)));
        own.map_or_else(|| Answer::by_status(&lower), |(answer, _)| *answer)
    }

    fn by_status(said: &str) -> Answer {
        let number = |before: &str| said.split_once(before)?.1.get(..3)?.parse::<u16>().ok();
        match STATUS.into_iter().find_map(number) {
            Some(401 | 403 | 407) => Answer::Refuses,
            Some(405) => Answer::ReadOnly,
            Some(413) => Answer::TooLarge,
            // A proxy whose registry is not there.
            Some(502..=504) => Answer::Silent,
            Some(500..=599) => Answer::Fails,
            _ => Answer::Silent,
        }
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
            ("received unexpected HTTP status: 507 Refused", Answer::Fails),
            ("received unexpected HTTP status: 500", Answer::Fails),
            ("received unexpected HTTP status: 503 Service Unavailable", Answer::Silent),
            ("unexpected status from PUT request to http://r/v2/: 413 Request Entity Too Large", Answer::TooLarge),
            ("error parsing HTTP 413 response body: unexpected status code 413 x", Answer::TooLarge),
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
