//! Why there was no answer, and whether that says something about production.
//!
//! A refused or cut connection, a broken TLS handshake and a certificate that is
//! not valid hit every user: production fails. A name that does not resolve, or a
//! network without a route, may be this machine's trouble alone: nothing was
//! learned. A timeout is production's fault unless everything is silent, which the
//! caller knows.

use cm_core::Failure;

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoAnswer {
    /// Nothing listens there.
    Refused,
    /// No answer within the limit.
    TimedOut,
    /// The connection was cut, or what came is not HTTP.
    Broken,
    /// The certificate is not valid.
    Certificate,
    /// TLS could not be agreed on.
    Tls,
    /// The name does not resolve.
    Dns,
    /// No route to the address.
    NoRoute,
    /// The request itself is not valid.
    BadRequest,
}

/// What the causes of a failure say, in this order: certificates before TLS, and
/// what is certain before what is general.
const SIGNS: [(&str, NoAnswer); 13] = [
    ("builder error", NoAnswer::BadRequest),
    ("dns error", NoAnswer::Dns),
    ("failed to lookup address", NoAnswer::Dns),
    ("timed out", NoAnswer::TimedOut),
    ("connection refused", NoAnswer::Refused),
    ("unreachable", NoAnswer::NoRoute),
    ("no route to host", NoAnswer::NoRoute),
    ("certificate", NoAnswer::Certificate),
    ("unknownissuer", NoAnswer::Certificate),
    ("handshake", NoAnswer::Tls),
    ("tls", NoAnswer::Tls),
    ("corrupt message", NoAnswer::Tls),
    ("peer is incompatible", NoAnswer::Tls),
];

impl NoAnswer {
    /// The reason in a failure of `cm-http`.
    pub fn of(failure: &Failure) -> NoAnswer {
        let text = failure.causes.join("\n").to_lowercase();
        let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
        sign.map_or(NoAnswer::Broken, |(_, reason)| *reason)
    }

    /// Whether another try a moment later can help. A timeout took long enough.
    pub fn may_pass(self) -> bool {
        matches!(self, NoAnswer::Refused | NoAnswer::Broken | NoAnswer::Dns | NoAnswer::NoRoute)
    }

    /// Whether nothing was learned about production.
    pub fn says_nothing(self) -> bool {
        matches!(self, NoAnswer::Dns | NoAnswer::NoRoute | NoAnswer::BadRequest)
    }

    /// For scripts.
    pub fn code(self) -> &'static str {
        match self {
            NoAnswer::Refused => "refused",
            NoAnswer::TimedOut => "timeout",
            NoAnswer::Broken => "broken",
            NoAnswer::Certificate => "certificate",
            NoAnswer::Tls => "tls",
            NoAnswer::Dns => "dns",
            NoAnswer::NoRoute => "no-route",
            NoAnswer::BadRequest => "bad-request",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            NoAnswer::Refused => "the connection was refused",
            NoAnswer::TimedOut => "no answer in time",
            NoAnswer::Broken => "the connection broke",
            NoAnswer::Certificate => "the certificate is not valid",
            NoAnswer::Tls => "no TLS connection",
            NoAnswer::Dns => "the name does not resolve here",
            NoAnswer::NoRoute => "there is no route from here",
            NoAnswer::BadRequest => "this cannot be asked",
        }
    }
}
