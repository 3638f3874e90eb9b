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

#[cfg(test)]
mod tests {
    use super::all_healthy;

    #[test]
    fn the_runbooks_line_counts_as_people_do() {
        assert_eq!([all_healthy(1), all_healthy(2)], ["1 service healthy", "All 2 services healthy"]);
    }
}
