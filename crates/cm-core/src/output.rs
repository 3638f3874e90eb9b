//! What a program writes to stdout: in whole or not at all, and never a secret.

use crate::log::Log;
use crate::meaning::is_colored;
use crate::redact::redact;
use crate::table::{Column, fitting, folded, table, whole};
use crate::{Exit, Failure, Result};
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// stdout and stderr of a use that is no filter.
#[derive(Debug)]
pub struct Io {
    /// Messages for people.
    pub log: Log,
}

impl Io {
    /// Writes `text` and a newline to stdout, without secrets and without what a terminal would obey:
    /// part of it may come from a server.
    ///
    /// # Errors
    /// [`Exit::Undelivered`] if stdout is closed.
    pub fn print(&self, text: &str) -> Result<()> {
        write_stdout(&redact(&format!("{}\n", crate::clean(text))))
    }

    /// Writes a table to stdout, as wide as the terminal at most unless `wide`; the first row has the
    /// names of its columns.
    ///
    /// # Errors
    /// As [`Io::print`].
    pub fn print_table<const N: usize>(&self, rows: &[[String; N]], columns: [Column; N], wide: bool) -> Result<()> {
        // Its cells are clean already, and its colours are its own.
        let colored = is_colored(&std::io::stdout());
        let width = width().map(|width| if wide { usize::MAX } else { width });
        let (text, left_out) = match width {
            Some(width) => fitting(rows, columns, width, colored),
            None => (table(rows), Vec::new()),
        };
        write_stdout(&redact(&format!("{text}\n")))?;
        if !left_out.is_empty() {
            self.log.info(format!("there is no room for {}: --wide shows all", left_out.join(", ")));
        }
        Ok(())
    }

    /// A table that is a part of what is printed, as wide as the terminal at most, and with all columns.
    pub fn table<const N: usize>(&self, rows: &[[String; N]], columns: [Column; N]) -> String {
        width().map_or_else(|| table(rows), |width| whole(rows, columns, width))
    }

    /// Keys and their values, one below the other; on a terminal a long value is folded in its own column.
    pub fn facts(&self, rows: &[[String; 2]]) -> String {
        width().map_or_else(|| table(rows), |width| folded(rows, width))
    }

    /// Writes JSON to stdout: one line, or indented on a terminal.
    ///
    /// # Errors
    /// As [`Io::print`].
    pub fn print_json(&self, value: &Value) -> Result<()> {
        let text = if std::io::stdout().is_terminal() { format!("{value:#}") } else { value.to_string() };
        self.print(&text)
    }
}

/// How many columns the terminal on stdout has, if it is one.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes all of `text`; that nobody reads it is a failure of its own.
pub(crate) fn write_stdout(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::BrokenPipe => "the work was done; the program that should read the document is gone",
            _ => "the work was done; the run's journal has the document as well: look at where stdout goes",
        };
        Failure::new(Exit::Undelivered, "output.closed", "cannot write to stdout").cause(error).hint(hint)
    })
}
