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
    /// The answer began and did not end within the limit.
    BodyTimedOut,
    /// The connection was cut, or what came is not HTTP.
    Broken,
    /// The certificate is not valid any more, or not yet.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateName,
    /// Nobody who is trusted signed the certificate: it is self-signed, for instance.
    CertificateUntrusted,
    /// The certificate is not valid for another reason.
    Certificate,
    /// TLS could not be agreed on.
    Tls,
    /// The name does not resolve.
    Dns,
    /// No route to the address.
    NoRoute,
    /// One redirect leads back to another.
    RedirectLoop,
    /// More redirects than the check follows.
    TooManyRedirects,
    /// The request itself is not valid.
    BadRequest,
}

/// What the causes of a failure say, in this order: certificates before TLS, and
/// what is certain before what is general.
const SIGNS: [(&str, NoAnswer); 21] = [
    ("builder error", NoAnswer::BadRequest),
    ("redirect loop", NoAnswer::RedirectLoop),
    ("too many redirects", NoAnswer::TooManyRedirects),
    ("it redirects to what is not a url", NoAnswer::TooManyRedirects),
    ("timed out while the body came", NoAnswer::BodyTimedOut),
    ("dns error", NoAnswer::Dns),
    ("failed to lookup address", NoAnswer::Dns),
    ("timed out", NoAnswer::TimedOut),
    ("connection refused", NoAnswer::Refused),
    ("unreachable", NoAnswer::NoRoute),
    ("no route to host", NoAnswer::NoRoute),
    ("certificate expired", NoAnswer::CertificateExpired),
    ("certificate not valid yet", NoAnswer::CertificateExpired),
    ("not valid for name", NoAnswer::CertificateName),
    ("unknownissuer", NoAnswer::CertificateUntrusted),
    ("causedasendentity", NoAnswer::CertificateUntrusted),
    ("certificate", NoAnswer::Certificate),
    ("handshake", NoAnswer::Tls),
    ("tls", NoAnswer::Tls),
    ("corrupt message", NoAnswer::Tls),
    ("peer is incompatible", NoAnswer::Tls),
];

/// The resolver is sure that there is no such name, or none with an address.
const NO_SUCH_NAME: [&str; 2] = ["name or service not known", "no address associated"];

impl NoAnswer {
    /// The reason in a failure of `cm-http`.
    pub fn of(failure: &Failure) -> NoAnswer {
        let text = failure.causes.join("\n").to_lowercase();
        let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
        sign.map_or(NoAnswer::Broken, |(_, reason)| *reason)
    }

    /// Whether the name is known not to be there, rather than not known.
    pub fn is_no_such_name(failure: &Failure) -> bool {
        let text = failure.causes.join("\n").to_lowercase();
        NoAnswer::of(failure) == NoAnswer::Dns && NO_SUCH_NAME.iter().any(|sign| text.contains(sign))
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
            NoAnswer::BodyTimedOut => "body-timeout",
            NoAnswer::Broken => "broken",
            NoAnswer::CertificateExpired => "certificate-expired",
            NoAnswer::CertificateName => "certificate-name",
            NoAnswer::CertificateUntrusted => "certificate-untrusted",
            NoAnswer::Certificate => "certificate",
            NoAnswer::Tls => "tls",
            NoAnswer::Dns => "dns",
            NoAnswer::NoRoute => "no-route",
            NoAnswer::RedirectLoop => "redirect-loop",
            NoAnswer::TooManyRedirects => "too-many-redirects",
            NoAnswer::BadRequest => "bad-request",
        }
    }

    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            NoAnswer::Refused => "the connection was refused",
            NoAnswer::TimedOut => "no answer in time",
            NoAnswer::BodyTimedOut => "the answer began, but did not end in time",
            NoAnswer::Broken => "the connection broke",
            NoAnswer::CertificateExpired => "the certificate is not valid at this time",
            NoAnswer::CertificateName => "the certificate is for another name",
            NoAnswer::CertificateUntrusted => "the certificate is not signed by a trusted authority",
            NoAnswer::Certificate => "the certificate is not valid",
            NoAnswer::Tls => "no TLS connection",
            NoAnswer::Dns => "the name does not resolve on this machine",
            NoAnswer::NoRoute => "there is no route from this machine",
            NoAnswer::RedirectLoop => "it redirects in a circle",
            NoAnswer::TooManyRedirects => "it redirects further than is followed",
            NoAnswer::BadRequest => "this cannot be asked",
        }
    }
}
