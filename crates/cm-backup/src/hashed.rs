//! What is written is hashed on its way: a file that was read back for it would be read twice.

use crate::verify::hex;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Counts and hashes what is written through it.
pub struct Hashed<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashed<W> {
    pub fn new(out: W) -> Self {
        Hashed { out, hash: Sha256::new(), bytes: 0 }
    }

    /// What it wrote to, how many bytes, and their SHA-256 in hexadecimal.
    pub fn finish(self) -> (W, u64, String) {
        (self.out, self.bytes, hex(&self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
