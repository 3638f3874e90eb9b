//! The entries of a tar archive, counted, and that it ends as one does.

use crate::count::Counts;
use crate::scan::Scan;

/// The length of a block, in bytes.
const BLOCK: usize = 512;

/// Where the checksum stands in a head.
const SUM: std::ops::Range<usize> = 148..156;

/// Counts entries.
#[derive(Debug, Default)]
pub struct Entries {
    block: Vec<u8>,
    /// How much of an entry's data is to come, with what fills its last block.
    left: u64,
    entries: u64,
    zeros: u64,
}

impl Entries {
    fn head(&mut self) -> Result<(), String> {
        let block = std::mem::take(&mut self.block);
        if block.iter().all(|byte| *byte == 0) {
            self.zeros += 1;
            return Ok(());
        }
        if self.zeros > 0 {
            return Err("something follows its end".to_owned());
        }
        let in_sum = |at: usize, byte: u8| if SUM.contains(&at) { b' ' } else { byte };
        let sum: u64 = block.iter().enumerate().map(|(at, byte)| u64::from(in_sum(at, *byte))).sum();
        if octal(&block[SUM]) != Some(sum) {
            return Err(format!("the head of its entry {} is not whole", self.entries + 1));
        }
        let size = size(&block[124..136]).ok_or("an entry has no length")?;
        // What has data of its own; of links only the name counts.
        let has_data = !matches!(block[156], b'1'..=b'6');
        self.left = if has_data { size.div_ceil(BLOCK as u64) * BLOCK as u64 } else { 0 };
        // Long names and the like are of the entry that follows.
        self.entries += u64::from(!matches!(block[156], b'x' | b'g' | b'L' | b'K'));
        Ok(())
    }
}

impl Scan for Entries {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skipped as u64;
            bytes = &bytes[skipped..];
            let wanted = (BLOCK - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.block.len() == BLOCK {
                self.head()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if self.left > 0 || !self.block.is_empty() || self.zeros < 2 {
            return Err("it ends before its end".to_owned());
        }
        Ok(Some(Counts::from([("files".to_owned(), self.entries)])))
    }
}

/// A number in octal digits, among spaces and zero bytes.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// A length: octal, or where that is too short, binary with its first bit set.
fn size(field: &[u8]) -> Option<u64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            rest.iter().try_fold(0u64, |size, byte| size.checked_mul(256)?.checked_add(u64::from(*byte)))
        }
        field => octal(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), vec![7; 1500]).expect("written");
        std::fs::write(directory.path().join("n".repeat(200)), "").expect("written");
        std::os::unix::fs::symlink("a", directory.path().join("link")).expect("made");
        let tar = std::process::Command::new("tar").arg("-C").arg(directory.path()).args(["-cf", "-", "."]).output();
        tar.expect("tar").stdout
    }

    fn scanned(archive: &[u8], at_once: usize) -> Result<Option<Counts>, String> {
        let mut scan = Entries::default();
        archive.chunks(at_once).try_for_each(|part| scan.feed(part)).and_then(|()| scan.finish())
    }

    #[test]
    fn entries_are_counted_and_what_is_cut_or_damaged_is_refused() {
        let whole = archive();
        for at_once in [1, 511, 512, 100_000] {
            assert_eq!(scanned(&whole, at_once), Ok(Some(Counts::from([("files".to_owned(), 4)]))));
        }
        let end = whole.iter().rposition(|byte| *byte != 0).expect("something");
        for cut in (0..end).step_by(97) {
            assert!(scanned(&whole[..cut], 4096).is_err(), "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[3] ^= 1;
        assert!(scanned(&damaged, 4096).is_err());
    }
}
