//! What stands before a dump in the same stream: lines that say what was counted in its moment,
//! and an empty one. They come first, so that nothing has to be found in the dump's own bytes; a
//! kind that can only count meanwhile says it in comments of the dump, which its [scan](crate::Scan)
//! reads.

use crate::count::Said;
use std::io::{self, BufRead, Read};

/// More than that is no head, in bytes.
const MOST: u64 = 16 << 20;

/// Reads the head of `stream`, and nothing of what follows it.
///
/// # Errors
/// Those of `stream`; [`io::ErrorKind::InvalidData`] for what is no head.
pub fn read_head(stream: &mut impl BufRead) -> io::Result<Said> {
    let mut text = Vec::new();
    let mut limited = stream.take(MOST);
    loop {
        let before = text.len();
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before the dump began"));
        }
        if &text[before..] == b"\n" {
            break;
        }
    }
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let text = std::str::from_utf8(&text).map_err(|error| wrong(error.to_string()))?;
    Said::parse(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_and_the_rest_is_the_dump() {
        let mut stream = &b"{\"table\": \"a\", \"rows\": 1}\n\n\nPGDMP"[..];
        assert_eq!(read_head(&mut stream).expect("a head").counted["a"], 1);
        assert_eq!(stream, b"\nPGDMP");
        assert_eq!(read_head(&mut &b"\n"[..]).expect("nothing counted"), Said::default());
        for broken in [&b""[..], b"{\"table\": \"a\", \"rows\": 1}\n", b"x\n\n"] {
            assert!(read_head(&mut &broken[..]).is_err());
        }
    }
}
