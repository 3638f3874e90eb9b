//! The statements of a dump, counted: every table that is made, every row that is put into one, and
//! the triggers, routines, events and views after them. Nothing but what stands at the beginning of a
//! line is looked at outside of rows; in rows, only quotes and brackets. Text of triggers and routines
//! is between two lines that change the delimiter, and is not looked at.

use crate::count::{Counts, Said};
use crate::scan::Scan;

/// How much of a line is looked at, in bytes.
const LINE: usize = 4096;

/// Counts the statements of a dump.
#[derive(Debug, Default)]
pub struct Statements {
    line: Vec<u8>,
    values: Option<Values>,
    /// What objects with a text of their own are at this place.
    section: &'static str,
    in_text: bool,
    found: Counts,
    said: Said,
    is_complete: bool,
    has_ended: bool,
}

/// The rows of one statement.
#[derive(Debug)]
struct Values {
    table: String,
    rows: u64,
    depth: u32,
    is_quoted: bool,
    is_escaped: bool,
}

impl Values {
    /// Reads rows; how many bytes were of them, and whether they have ended.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_quoted => self.is_escaped = true,
                b'\'' => self.is_quoted = !self.is_quoted,
                _ if self.is_quoted => {}
                b'(' => {
                    self.depth += 1;
                    self.rows += u64::from(self.depth == 1);
                }
                b')' => self.depth = self.depth.saturating_sub(1),
                b';' if self.depth == 0 => return (at + 1, true),
                _ => {}
            }
        }
        (bytes.len(), false)
    }
}

impl Statements {
    fn count(&mut self, what: &str, more: u64) {
        *self.found.entry(what.to_owned()).or_default() += more;
    }

    /// The beginning of a line; whether rows follow.
    fn begins_rows(&mut self) -> Result<bool, String> {
        if self.in_text || self.line.len() > LINE {
            return Ok(false);
        }
        let Some(rest) = self.line.strip_prefix(b"INSERT INTO `") else { return Ok(false) };
        let Some((table, after)) = name(rest) else { return Ok(false) };
        if !after.ends_with(b" VALUES") {
            return Ok(false);
        }
        if !self.found.contains_key(&table) {
            return Err(format!("it has rows of {table}, which it does not make"));
        }
        self.values = Some(Values { table, rows: 0, depth: 0, is_quoted: false, is_escaped: false });
        self.line.clear();
        Ok(true)
    }

    /// A whole line, which is not of rows.
    fn read_line(&mut self) -> Result<(), String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if let Some(delimiter) = line.strip_prefix("DELIMITER ") {
            let begins = delimiter.trim() != ";";
            if begins && !self.in_text {
                self.count(self.section, 1);
            }
            self.in_text = begins;
        } else if !self.in_text {
            self.statement(&line)?;
        }
        Ok(())
    }

    fn statement(&mut self, line: &str) -> Result<(), String> {
        let section = |line: &str| match line {
            line if line.starts_with("-- Table structure for table") => Some("(triggers)"),
            line if line.starts_with("-- Dumping events for database") => Some("(events)"),
            line if line.starts_with("-- Dumping routines for database") => Some("(routines)"),
            _ => None,
        };
        if let Some(said) = line.strip_prefix("-- cm-backup: ") {
            match said {
                "end" => self.has_ended = true,
                said => self.said.add(said)?,
            }
        } else if self.is_complete && !line.is_empty() {
            return Err(format!("something follows its end: {:?}", line.chars().take(80).collect::<String>()));
        } else if line.starts_with("-- Dump completed") {
            self.is_complete = true;
        } else if line.starts_with("-- Final view structure for view") {
            self.count("(views)", 1);
        } else if let Some((table, _)) = line.strip_prefix("CREATE TABLE `").and_then(|rest| name(rest.as_bytes())) {
            self.count(&table, 0);
        } else if let Some(section) = section(line) {
            self.section = section;
        }
        Ok(())
    }
}

impl Scan for Statements {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(byte) = bytes.first() {
            if let Some(values) = &mut self.values {
                let (used, has_ended) = values.feed(bytes);
                bytes = &bytes[used..];
                if has_ended && let Some(Values { table, rows, .. }) = self.values.take() {
                    self.count(&table, rows);
                }
                continue;
            }
            bytes = &bytes[1..];
            match byte {
                b'\n' => self.read_line()?,
                // What ends a name, or the word after it.
                b'S' => {
                    self.line.push(b'S');
                    self.begins_rows()?;
                }
                _ if self.line.len() > LINE => {}
                byte => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if self.values.is_some() || !self.line.is_empty() || !self.is_complete || !self.has_ended {
            return Err("it ends before \"Dump completed\" and what was counted".to_owned());
        }
        match self.said.differences(&self.found).as_slice() {
            [] => Ok(Some(std::mem::take(&mut self.found))),
            differences => Err(differences.join("; ")),
        }
    }

    fn said(&self) -> Said {
        self.said.clone()
    }
}

/// The name at the beginning of `text`, whose first quote is not in it, and what follows.
fn name(text: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'`', Some(b'`')) => {
                name.push(b'`');
                at += 2;
            }
            (b'`', _) => return Some((String::from_utf8_lossy(&name).into_owned(), &text[at + 1..])),
            (byte, _) => {
                name.push(*byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "-- MySQL dump\n\n-- Table structure for table `a ``b`\nCREATE TABLE `a ``b` (\n  `x` text COMMENT 'y'\n);\n\
        INSERT INTO `a ``b` VALUES (1,'it''s (\\'\\\\'),(2,NULL);\nINSERT INTO `a ``b` VALUES\n(3,');'),\n(4,_binary '\\\n(');\n\
        DELIMITER ;;\n/*!50003 CREATE*/ /*!50003 TRIGGER t BEGIN\nINSERT INTO `log` VALUES (1);\n-- Dump completed\nEND */;;\nDELIMITER ;\n\
        CREATE TABLE `empty` (\n-- Dumping routines for database 'x'\nDELIMITER ;;\nCREATE PROCEDURE p\n;;\nDELIMITER ;\n\
        -- Final view structure for view `v`\n/*!50001 VIEW `v` AS select 1 */;\n-- Dump completed on 2026-05-04\n\
        -- cm-backup: {\"table\": \"a `b\", \"rows\": 4}\n-- cm-backup: {\"table\": \"empty\"}\n-- cm-backup: end\n";

    fn scanned(dump: &str, at_once: usize) -> Result<Option<Counts>, String> {
        let mut scan = Statements::default();
        dump.as_bytes().chunks(at_once).try_for_each(|part| scan.feed(part)).and_then(|()| scan.finish())
    }

    #[test]
    fn rows_and_objects_are_counted_however_the_bytes_arrive() {
        let wanted = [("(routines)", 1), ("(triggers)", 1), ("(views)", 1), ("a `b", 4), ("empty", 0)];
        let wanted: Counts = wanted.map(|(name, rows)| (name.to_owned(), rows)).into();
        for at_once in [1, 2, 7, 64, 100_000] {
            assert_eq!(scanned(DUMP, at_once), Ok(Some(wanted.clone())), "{at_once} at once");
        }
    }

    #[test]
    fn a_dump_that_is_cut_or_changed_is_none() {
        for end in 0..DUMP.len() {
            assert!(scanned(&DUMP[..end], 64).is_err(), "cut at {end}");
        }
        for (from, to, why) in [
            ("(2,NULL)", "NULL", "a `b has 3 rows, 4 were counted"),
            ("CREATE TABLE `empty`", "CREATE TABLE `full`", "empty is missing"),
            ("CREATE TABLE `a ``b`", "", "rows of a `b, which it does not make"),
            ("-- Dump completed on", "-- Dump", "\"Dump completed\""),
            ("-- cm-backup: end", "DROP TABLE `empty`;", "something follows its end"),
        ] {
            let refused = scanned(&DUMP.replacen(from, to, 1), 64).expect_err(from);
            assert!(refused.contains(why), "{from}: {refused}");
        }
    }
}
