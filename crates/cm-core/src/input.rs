//! What came in on stdin. All programs of a pipe start at once and Ctrl-C reaches
//! all of them, so a program that still waits for its document lets the ones
//! before it finish: their document tells what happened, and a rollback at the
//! end of the pipe must be able to act on it.

use crate::ahead::Ahead;
use crate::log::Log;
use crate::signal::Signals;
use crate::{Document, Exit, Failure, MAX_BYTES, Result};
use rustix::fs::FileType;
use std::io::{IsTerminal, Read};

/// What stdin held.
pub enum Input {
    /// A document, judged and found good.
    Document(Box<Document>),
    /// A terminal or /dev/null: there is no program before this one.
    Nothing,
}

/// Reads stdin to its end and judges it; what can be asked ahead is asked meanwhile. The second value tells of a signal that
/// came meanwhile.
///
/// # Errors
/// [`Exit::BadInput`] for anything but one document; the signal's exit code when
/// a second signal comes.
pub async fn read(
    tool: &'static str,
    signals: &mut Signals,
    log: &Log,
    ahead: &mut Ahead,
) -> Result<(Input, Option<Exit>)> {
    if is_nothing() {
        return Ok((Input::Nothing, None));
    }
    let mut reading = tokio::task::spawn_blocking(read_all);
    let mut interrupted = None;
    let bytes = loop {
        tokio::select! {
            bytes = &mut reading => break bytes.map_err(|error| Failure::bug("reading stdin ended early").cause(error))?,
            () = ahead.go_on() => {}
            exit = signals.next() => match interrupted.replace(exit) {
                None => {
                    ahead.end();
                    log.debug("interrupted; waiting for the program before this one to end");
                }
                Some(_) => return Err(Failure::new(exit, "interrupted", "interrupted before a document came")),
            },
        }
    };
    let bytes =
        bytes.map_err(|error| Failure::new(Exit::BadInput, "input.unreadable", "cannot read stdin").cause(error))?;
    Document::parse(tool, &bytes).map(|document| (Input::Document(Box::new(document)), interrupted))
}

/// One byte more than allowed is enough to know that there is too much.
fn read_all() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A terminal or another character device such as /dev/null.
fn is_nothing() -> bool {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return true;
    }
    match rustix::fs::fstat(&stdin) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice,
        Err(_) => true,
    }
}
