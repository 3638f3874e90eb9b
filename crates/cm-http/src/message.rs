//! A request, the answer to it, and why there is none.

use cm_core::{Exit, Failure};
use std::time::Duration;

/// What a server answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` of a redirect.
    pub location: Option<String>,
    /// Header names, in lower case, and values; what is not text is left out.
    pub headers: Vec<(String, String)>,
    /// The body, cut at [`MAX_BODY`]; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Whether there was more of the body.
    pub cut: bool,
    /// From the first byte sent to the last one read, redirects included.
    pub latency: Duration,
    /// The server's certificate (X.509, DER), where there was TLS.
    pub certificate: Option<Vec<u8>>,
}

impl Answer {
    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request: GET, or POST when it has a body, unless the method says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The full URL.
    pub url: String,
    /// The method in capitals; empty for GET or POST.
    pub method: &'static str,
    /// Header names and values; values may be secret and go to this URL's server alone.
    pub headers: Vec<(String, String)>,
    /// A JSON body.
    pub json: Option<serde_json::Value>,
    /// How many redirects are followed.
    pub redirects: u32,
    /// How long it may take in all; without it, as long as the client says.
    pub limit: Option<Duration>,
}

/// Why there is no answer.
pub enum No {
    Error(reqwest::Error),
    Words(&'static str),
}

impl From<reqwest::Error> for No {
    fn from(error: reqwest::Error) -> Self {
        No::Error(error)
    }
}

impl No {
    pub fn failure(self, exit: Exit) -> Failure {
        let failure = Failure::new(exit, "http.no-answer", "no answer").retryable();
        match self {
            // The URL of a webhook is a secret; the message names no URL.
            No::Error(error) if error.is_timeout() => failure.source(error.without_url()).cause("timed out"),
            No::Error(error) => failure.source(error.without_url()),
            No::Words(words) => failure.cause(words),
        }
    }
}
