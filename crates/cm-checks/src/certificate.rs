//! When a certificate expires. TLS has judged everything else about it by then.

use jiff::Timestamp;
use x509_parser::parse_x509_certificate;

/// Whole days from `now` until the certificate expires; `None` for what is not a certificate.
pub fn days_left(der: &[u8], now: Timestamp) -> Option<i64> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    Some(end.duration_since(now).as_secs().div_euclid(24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_expires_never_that_we_know() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", b"not a certificate"] {
            assert_eq!(days_left(bytes, Timestamp::UNIX_EPOCH), None, "{bytes:?}");
        }
    }

    /// Certificates that end on 2027-05-04 (as `UTCTime`) and on 2052-05-04 (as `GeneralizedTime`), at 09:30:00 UTC.
    #[test]
    fn times_of_both_kinds_are_read() {
        for (der, end) in [
            (&include_bytes!("certificate/2027.der")[..], "2027-05-04T09:30:00Z"),
            (&include_bytes!("certificate/2052.der")[..], "2052-05-04T09:30:00Z"),
        ] {
            let end: Timestamp = end.parse().expect("a time");
            let before = |seconds| end - jiff::SignedDuration::from_secs(seconds);
            assert_eq!(days_left(der, before(0)), Some(0));
            assert_eq!(days_left(der, before(14 * 86_400)), Some(14));
            assert_eq!(days_left(der, before(-1)), Some(-1));
        }
    }
}
