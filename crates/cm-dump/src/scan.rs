//! What the bytes of a dump show by themselves, on any machine and without the database: they are
//! looked at as they pass, and never kept.

use crate::count::{Counts, Said};

/// A reader of a dump's bytes, before they are compressed.
pub trait Scan: Send {
    /// The next bytes.
    ///
    /// # Errors
    /// Why this is not a dump of that kind.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// The dump is at its end; `None` where the bytes alone say nothing of what is in them.
    ///
    /// # Errors
    /// Why it is not whole.
    fn finish(&mut self) -> Result<Option<Counts>, String>;

    /// What the database said of it, where that stands in the dump itself.
    fn said(&self) -> Said {
        Said::default()
    }
}

/// For dumps that only their own program understands.
#[derive(Debug)]
pub struct Uncounted;

impl Scan for Uncounted {
    fn feed(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        Ok(None)
    }
}

/// For dumps that begin with a mark, and that only their own program understands further.
#[derive(Debug)]
pub struct Marked {
    /// The mark.
    pub mark: &'static [u8],
    /// How much of it has been seen.
    pub seen: usize,
}

impl Scan for Marked {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = &self.mark[self.seen..];
        let part = left.len().min(bytes.len());
        if left[..part] != bytes[..part] {
            return Err("it does not begin as such a dump does".to_owned());
        }
        self.seen += part;
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if self.seen < self.mark.len() { Err("it ends before it begins".to_owned()) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_may_come_in_parts_and_must_come_whole() {
        let scanned = |parts: &[&[u8]]| {
            let mut scan = Marked { mark: b"PGDMP", seen: 0 };
            parts.iter().try_for_each(|part| scan.feed(part)).and_then(|()| scan.finish())
        };
        assert_eq!(scanned(&[b"PG", b"", b"DMPxyz", b"more"]), Ok(None));
        for damaged in [&[&b""[..]][..], &[b"PGD"], &[b"PG", b"Xx"]] {
            assert!(scanned(damaged).is_err(), "{damaged:?}");
        }
    }
}
