//! What was counted, by whom ever: lines of JSON, and in what two counts differ.

use crate::scan::Counts;
use serde::Deserialize;

/// One line.
#[derive(Deserialize)]
struct Line {
    table: String,
    rows: u64,
}

/// The tables in lines such as `{"table": "public.users", "rows": 3}`.
///
/// # Errors
/// The line that is something else.
pub fn tables(said: &str) -> Result<Counts, String> {
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    let read = lines.map(|line| match serde_json::from_str::<Line>(line) {
        Ok(Line { table, rows }) => Ok((table, rows)),
        Err(_) => Err(format!("{:?} is not a count", line.chars().take(200).collect::<String>())),
    });
    read.collect()
}

/// In what the counts of a dump differ from those that were expected, one line each. Tables that
/// nobody counted may be in it.
pub fn differences(expected: &Counts, found: &Counts) -> Vec<String> {
    let missing = expected.iter().filter_map(|(name, rows)| match found.get(name) {
        None => Some(format!("{name} is missing")),
        Some(have) if have != rows => Some(format!("{name} has {have} rows, {rows} were counted")),
        Some(_) => None,
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_compared() {
        let counted = tables("{\"table\": \"a\", \"rows\": 1}\n\n{\"table\": \"b\", \"rows\": 2}\n").expect("counts");
        let found = Counts::from([("a".to_owned(), 3), ("z".to_owned(), 9)]);
        assert_eq!(differences(&counted, &found), ["a has 3 rows, 1 were counted", "b is missing"]);
        assert_eq!(differences(&counted, &counted), [""; 0]);
        assert!(tables("FATAL: no").is_err());
    }
}
