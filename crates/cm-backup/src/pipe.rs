//! A bridge between threads that read and write, such as the one that packs a
//! dump, and streams of the asynchronous side, such as a command on a server.

use std::io::{self, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;

/// How much may wait between the two sides, in bytes.
pub const CAPACITY: usize = 1 << 20;

/// One end, for a thread that may block.
#[derive(Debug)]
pub struct Blocking<S> {
    stream: S,
    runtime: Handle,
}

/// A pipe: what the thread's end writes or reads, the other end reads or writes.
/// To be called on the runtime; the thread must not be one of its own.
pub fn pipe() -> (Blocking<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(CAPACITY);
    (Blocking { stream: ours, runtime: Handle::current() }, theirs)
}

impl<S: AsyncRead + Unpin> Read for Blocking<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.read(buffer))
    }
}

impl<S: AsyncWrite + Unpin> Write for Blocking<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.block_on(self.stream.flush())
    }
}
