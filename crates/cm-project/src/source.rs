//! Where something stands in a file, and how an error shows it: `file:line:column`
//! and the line itself with a caret below.

use cm_core::{Exit, Failure};
use std::fmt;
use std::sync::Arc;
use unicode_width::UnicodeWidthStr;

/// A place in a text file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The file, as people know it: relative to the repository's root.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset` in `text`.
    pub fn of_byte(file: &Arc<str>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            file: Arc::clone(file),
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The line at `at` with a caret below the column; empty if there is no such line.
pub fn caret(text: &str, at: &Position) -> String {
    let Some(line) = text.lines().nth(at.line.saturating_sub(1)) else {
        return String::new();
    };
    let line = line.replace('\t', " ");
    let before: String = line.chars().take(at.column.saturating_sub(1)).collect();
    let number = at.line.to_string();
    let (margin, indent) = (" ".repeat(number.len()), " ".repeat(before.width()));
    format!("\n{number} | {line}\n{margin} | {indent}^")
}

/// A configuration failure at a place in a file, with the line and a caret.
pub fn failure(code: &str, at: &Position, text: &str, message: impl fmt::Display) -> Failure {
    Failure::new(Exit::Config, code, format!("{at}: {message}{}", caret(text, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_column() {
        let text = "a: 1\nbé: [\n";
        let at = Position::of_byte(&"x.yml".into(), text, text.find('[').expect("there"));
        assert_eq!(at.to_string(), "x.yml:2:5");
        assert_eq!(caret(text, &at), "\n2 | bé: [\n  |     ^");
    }
}
