//! Small helpers for sentences.

/// `1 service`, `2 services`.
pub fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// `text` with its first letter small, to go on with in a sentence.
pub fn decapitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The runbook's line without its end: `All 5 services healthy`; of one, `1 service healthy`.
pub fn all_healthy(count: usize) -> String {
    let services = plural(count as u64, "service");
    if count == 1 { format!("{services} healthy") } else { format!("All {services} healthy") }
}

/// A size as people read it, of `count` bytes: `512 B`, `3.4 MB`.
pub fn size(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            let digits = if unit == "B" || value >= 99.95 { 0 } else { 1 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::{all_healthy, size};

    #[test]
    fn the_runbooks_line_counts_as_people_do() {
        assert_eq!([all_healthy(1), all_healthy(2)], ["1 service healthy", "All 2 services healthy"]);
    }

    #[test]
    fn sizes_are_short() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_600, "1.0 MB"), (123_456_789, "123 MB")];
        for (count, text) in cases {
            assert_eq!(size(count), text);
        }
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}
