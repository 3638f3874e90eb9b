//! What a host says is read with a budget: so many bytes of a line, so many in all. A server that
//! never ends a line or never stops talking costs this machine a bounded amount of memory, and
//! ends as a failure that says so.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// What is kept of one line, in bytes; the rest of it is passed over.
pub const MAX_LINE: usize = 64 << 10;

/// What one stream of a command may say where all of it is kept, in bytes.
pub const MAX_OUTPUT: usize = 16 << 20;

/// What one stream of a command may say where each line is handed on, in bytes.
pub const MAX_STREAM: u64 = 4 << 30;

/// The error of a stream that says more than its budget; see [`is_too_much`].
pub fn too_much(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {} MiB", most >> 20))
}

/// Whether a stream ended because of its budget.
pub fn is_too_much(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// All that `reader` says, up to `most` bytes.
///
/// # Errors
/// [`too_much`]; those of reading.
pub async fn read_all(reader: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = most as u64;
    reader.take(limit + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > most { Err(too_much(limit)) } else { Ok(bytes) }
}

/// Lines out of a stream.
pub struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    left: u64,
    most: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(reader: R) -> Self {
        Lines { reader, line: Vec::new(), left: MAX_STREAM, most: MAX_STREAM }
    }

    /// The next line with its newline, or the last one without; `None` at the end.
    ///
    /// # Errors
    /// [`too_much`]; those of reading.
    pub async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut any = false;
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(any.then_some(&self.line[..]));
            }
            any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.left = self.left.checked_sub(used as u64).ok_or_else(|| too_much(self.most))?;
            if end.is_some() {
                self.line.push(b'\n');
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn a_line_without_an_end_keeps_its_beginning_alone() {
        let endless = tokio::io::repeat(b'a').take(100 << 20);
        let mut lines = Lines::new(BufReader::new(endless.chain(&b"\nnext\nlast"[..])));
        assert_eq!(lines.next().await.expect("read").map(<[u8]>::len), Some(MAX_LINE + 1));
        assert!(lines.line.capacity() <= 4 * MAX_LINE);
        assert_eq!(lines.next().await.expect("read"), Some(&b"next\n"[..]));
        assert_eq!(lines.next().await.expect("read"), Some(&b"last"[..]));
        assert_eq!(lines.next().await.expect("read"), None);
    }

    #[tokio::test]
    async fn what_is_more_than_the_budget_is_an_error() {
        assert_eq!(read_all(&mut &b"12345"[..], 5).await.expect("fits"), b"12345");
        let error = read_all(&mut tokio::io::repeat(0), 1 << 20).await.expect_err("endless");
        assert!(is_too_much(&error));
        let mut lines = Lines { left: 5, most: 5, ..Lines::new(&b"one\ntwo\n"[..]) };
        lines.next().await.expect("within");
        assert!(is_too_much(&lines.next().await.expect_err("more")));
    }
}
