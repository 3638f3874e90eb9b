//! Dates that stand without quotes: to Compose a point in time, and no text.

/// The tag of a date that stands without quotes: Compose reads a point in time and not the text.
pub const TIMESTAMP: &str = "!!timestamp";

/// `2024-01-31`, and a time after it, as Go's reader of YAML takes them.
pub fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "0:0:0"));
    let numbers = |text: &str, sign: char| -> Option<Vec<u32>> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split(sign).map(|part| part.parse().ok().filter(|_| is_number(part))).collect()
    };
    let is_day = date.find('-') == Some(4) && matches!(numbers(date, '-').as_deref(), Some([_, 1..=12, 1..=31]));
    let time = time.split(['.', 'Z', 'z', '+', '-']).next().unwrap_or_default();
    is_day && matches!(numbers(time, ':').as_deref(), Some([0..=23, 0..=59, 0..=59]))
}

#[cfg(test)]
mod tests {
    use super::is_date;

    #[test]
    fn dates_are_those_of_gos_reader() {
        for text in
            ["2024-01-31", "2024-1-2", "2024-01-31T10:00:00Z", "2024-01-31t10:00:00.5+02:00", "2024-01-31 10:00:00"]
        {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "2024-13-01",
            "2024-01",
            "24-01-31",
            "2024-01-31-x",
            "2024-01-31T",
            "v2024-01-31",
            "2024-01-+1",
            "10:00:00",
            "",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
