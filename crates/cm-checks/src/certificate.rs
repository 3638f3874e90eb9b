//! When a certificate expires. TLS has judged everything else about it by then; of
//! its encoding (X.509 in DER, RFC 5280) only the way to `notAfter` is read.

use jiff::Timestamp;

/// Whole days from `now` until the certificate expires.
pub fn days_left(der: &[u8], now: Timestamp) -> Option<i64> {
    not_after(der).map(|end| end.duration_since(now).as_secs().div_euclid(24 * 60 * 60))
}

/// `Certificate → tbsCertificate → validity → notAfter`.
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    // version [0], where it is there; serialNumber, signature, issuer; validity.
    let mut skip = if fields.first() == Some(&0xa0) { 4 } else { 3 };
    while skip > 0 {
        (_, _, fields) = element(fields)?;
        skip -= 1;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The tag, the content, and what comes after.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` (years 1950 to 2049) or `GeneralizedTime`, both ending in `Z`.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match tag {
        0x17 if text < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_are_read() {
        assert_eq!(time(0x17, "260504093000Z"), "2026-05-04T09:30:00Z".parse().ok());
        assert_eq!(time(0x17, "990504093000Z"), "1999-05-04T09:30:00Z".parse().ok());
        assert_eq!(time(0x18, "20520504093000Z"), "2052-05-04T09:30:00Z".parse().ok());
        assert_eq!(time(0x17, "26"), None);
    }

    #[test]
    fn what_is_no_certificate_expires_never_that_we_know() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", b"not a certificate"] {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
    }
}
