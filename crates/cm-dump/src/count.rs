//! What a job says of a database besides its data: lines of JSON with what was counted, what could
//! not be, and what happened; and in what two counts differ.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Rows by table.
pub type Counts = BTreeMap<String, u64>;

/// One line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Counted { table: String, rows: u64 },
    Present { table: String },
    NotVerified { not_verified: String },
    Note { note: String },
}

/// All that was said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Rows by table, in the moment of the dump.
    pub counted: Counts,
    /// Tables that are there, counted or not.
    pub present: BTreeSet<String>,
    /// What nothing can verify this time.
    pub not_verified: Vec<String>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Said {
    /// What lines such as `{"table": "public.users", "rows": 3}` say.
    ///
    /// # Errors
    /// The line that is something else.
    pub fn parse(text: &str) -> Result<Said, String> {
        let mut said = Said::default();
        text.lines().filter(|line| !line.trim().is_empty()).try_for_each(|line| said.add(line))?;
        Ok(said)
    }

    /// One more line.
    ///
    /// # Errors
    /// The line, if it is something else.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        match serde_json::from_str(line) {
            Ok(Line::Counted { table, rows }) => drop(self.counted.insert(table, rows)),
            Ok(Line::Present { table }) => drop(self.present.insert(table)),
            Ok(Line::NotVerified { not_verified }) => self.not_verified.push(not_verified),
            Ok(Line::Note { note }) => self.notes.push(note),
            Err(_) => return Err(format!("{:?} is not a count", line.chars().take(200).collect::<String>())),
        }
        Ok(())
    }

    /// In what `found` differs from it, one line each. Tables that nobody counted may be in it.
    pub fn differences(&self, found: &Counts) -> Vec<String> {
        let unknown =
            self.present.iter().filter(|name| !self.counted.contains_key(*name) && !found.contains_key(*name));
        let missing = unknown.map(|name| format!("{name} is missing"));
        differences(&self.counted, found).into_iter().chain(missing).collect()
    }

    /// This, and what `other` says.
    #[must_use]
    pub fn and(mut self, other: Said) -> Said {
        self.counted.extend(other.counted);
        self.present.extend(other.present);
        self.not_verified.extend(other.not_verified);
        self.notes.extend(other.notes);
        self
    }
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
        let text = "{\"table\": \"a\", \"rows\": 1}\n\n{\"table\": \"b\", \"rows\": 2}\n{\"table\": \"a\"}\n{\"table\": \"c\"}\n\
                    {\"not_verified\": \"c\"}\n{\"note\": \"n\"}\n";
        let said = Said::parse(text).expect("counts");
        let found = Counts::from([("a".to_owned(), 3), ("z".to_owned(), 9)]);
        assert_eq!(said.differences(&found), ["a has 3 rows, 1 were counted", "b is missing", "c is missing"]);
        let whole = Counts::from([("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 7)]);
        assert_eq!(said.differences(&whole), [""; 0]);
        assert_eq!((said.not_verified, said.notes), (vec!["c".to_owned()], vec!["n".to_owned()]));
        assert!(Said::parse("FATAL: no").is_err());
    }
}
