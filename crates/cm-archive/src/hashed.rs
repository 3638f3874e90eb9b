//! What is read or written is hashed on its way: a file that was read again for it would be
//! read twice.

use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// Counts and hashes what is written through it.
pub struct HashedWriter<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> HashedWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        HashedWriter { out, hash: Sha256::new(), bytes: 0 }
    }

    /// What it wrote to, how many bytes, and their SHA-256 in hexadecimal.
    pub fn finish(self) -> (W, u64, String) {
        (self.out, self.bytes, hex(&self.hash.finalize()))
    }
}

impl<W: Write> Write for HashedWriter<W> {
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

/// Counts and hashes what is read through it.
pub struct HashedReader<R> {
    input: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> HashedReader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        HashedReader { input, hash: Sha256::new(), bytes: 0 }
    }

    /// How many bytes were read, and their SHA-256 in hexadecimal.
    pub fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hash.finalize()))
    }
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
