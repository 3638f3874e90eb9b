//! Compression. A dump is packed in blocks by several threads at once: each block
//! becomes a gzip member or a zstd frame of its own, and a file of many is an ordinary
//! file to `gzip -t`, `mongorestore --gzip` and `zstd -d`. Reading tells the kind of
//! compression from the first bytes, never from the name.

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Small enough to bound memory, large enough to lose little at the seams (1.4 %), in bytes.
const BLOCK: usize = 1 << 20;

/// More threads than this outrun any server.
const MAX_THREADS: usize = 4;

/// gzip's level: at 3 a dump is four times as fast as at 6 and 8 % larger.
const GZIP_LEVEL: u32 = 3;

/// zstd's level: at 1 it keeps up with what a server sends, and packs better than gzip.
const ZSTD_LEVEL: i32 = 1;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Compressed {
    /// Not at all.
    None,
    /// gzip, in one member or many: what mongorestore reads.
    #[default]
    Gzip,
    /// zstd, in one frame or many: faster and smaller; for mongorestore, unpack it first.
    Zstd,
}

impl Compressed {
    /// The word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Compressed::None => "none",
            Compressed::Gzip => "gzip",
            Compressed::Zstd => "zstd",
        }
    }

    /// What the names of such archives end with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compressed::None => ".archive",
            Compressed::Gzip => ".archive.gz",
            Compressed::Zstd => ".archive.zst",
        }
    }
}

/// Packs blocks, each into a whole file; what one needs serves for the next.
enum Press {
    None,
    Gzip,
    Zstd { compressor: zstd::bulk::Compressor<'static>, room: Vec<u8> },
}

impl Press {
    fn new(kind: Compressed) -> io::Result<Press> {
        Ok(match kind {
            Compressed::None => Press::None,
            Compressed::Gzip => Press::Gzip,
            Compressed::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
                compressor.include_checksum(true)?;
                let room = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK));
                Press::Zstd { compressor, room }
            }
        })
    }

    fn pack(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Press::None => Ok(block),
            Press::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(block.len() / 4), Compression::new(GZIP_LEVEL));
                encoder.write_all(&block)?;
                encoder.finish()
            }
            Press::Zstd { compressor, room } => {
                compressor.compress_to_buffer(&block, room)?;
                Ok(room.to_vec())
            }
        }
    }
}

/// What a zstd file begins with.
const ZSTD_FRAME: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Looks at the first bytes and unpacks the rest.
///
/// # Errors
/// Those of `input`; [`io::ErrorKind::InvalidData`] for a compression that is not known.
pub fn unpack<'r>(mut input: impl Read + Send + 'r) -> io::Result<(Compressed, Box<dyn Read + Send + 'r>)> {
    let mut head = Vec::new();
    (&mut input).take(4).read_to_end(&mut head)?;
    let whole = io::Cursor::new(head.clone()).chain(input);
    match head.as_slice() {
        [0x1f, 0x8b, ..] => {
            let buffered = BufReader::with_capacity(BLOCK / 4, whole);
            Ok((Compressed::Gzip, Box::new(BufReader::with_capacity(BLOCK / 4, MultiGzDecoder::new(buffered)))))
        }
        ZSTD_FRAME => {
            let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BLOCK / 4, whole))?;
            Ok((Compressed::Zstd, Box::new(BufReader::with_capacity(BLOCK / 4, Named(decoder)))))
        }
        _ => Ok((Compressed::None, Box::new(BufReader::with_capacity(BLOCK / 4, whole)))),
    }
}

/// zstd calls damage "other"; readers want to know it for what it is.
struct Named<R>(R);

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        })
    }
}

type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Packs what is written to it block by block, in order.
pub struct Packer<W> {
    out: W,
    block: Vec<u8>,
    jobs: SyncSender<Job>,
    pending: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    most_pending: usize,
}

impl<W: Write> Packer<W> {
    /// Packs into `out`. The threads end when the writer is dropped.
    pub fn new(out: W, kind: Compressed) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || work(&queue, kind));
        }
        Packer { out, block: Vec::with_capacity(BLOCK), jobs, pending: VecDeque::new(), most_pending: threads * 2 }
    }

    fn send_block(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (sender, receiver) = sync_channel(1);
        self.jobs.send((block, sender)).map_err(|_| io::Error::other("the compressing threads ended"))?;
        self.pending.push_back(receiver);
        while self.pending.len() > self.most_pending {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(receiver) = self.pending.pop_front() else { return Ok(()) };
        let packed = receiver.recv().map_err(|_| io::Error::other("a compressing thread ended"))??;
        self.out.write_all(&packed)
    }

    /// Packs the rest. Without this call the output is incomplete, which every reader notices.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.send_block()?;
        }
        while !self.pending.is_empty() {
            self.write_oldest()?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let taken = bytes.len().min(room);
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.send_block()?;
        }
        Ok(taken)
    }

    /// Does nothing: a member that ends early would only cost space.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One compressing thread.
fn work(queue: &Mutex<Receiver<Job>>, kind: Compressed) {
    let mut press = Press::new(kind);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, reply)) = job else { return };
        let packed = match &mut press {
            Ok(press) => press.pack(block),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        let _nobody_waits = reply.send(packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn packed(bytes: &[u8], kind: Compressed) -> Vec<u8> {
        let mut packer = Packer::new(Vec::new(), kind);
        packer.write_all(bytes).expect("write");
        packer.finish().expect("finish")
    }

    #[test]
    fn blocks_come_back_in_their_order() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7] {
            for kind in [Compressed::None, Compressed::Gzip, Compressed::Zstd] {
                let bytes = noise(length);
                let file = packed(&bytes, kind);
                let (found, mut reader) = unpack(&file[..]).expect("readable");
                let mut back = Vec::new();
                reader.read_to_end(&mut back).expect("read");
                assert_eq!(found, kind);
                assert!(back == bytes, "{length} bytes came back changed");
            }
        }
    }

    #[test]
    fn what_was_not_finished_is_cut_off() {
        let mut out = Vec::new();
        let mut packer = Packer::new(&mut out, Compressed::Gzip);
        packer.write_all(&noise(3 * BLOCK + 5)).expect("write");
        drop(packer);
        assert!(out.len() < packed(&noise(3 * BLOCK + 5), Compressed::Gzip).len());
    }

    #[test]
    fn plain_and_empty_input_is_passed_on() {
        for bytes in [&b""[..], b"ab", b"plain text"] {
            let (kind, mut reader) = unpack(bytes).expect("plain");
            let mut back = Vec::new();
            reader.read_to_end(&mut back).expect("read");
            assert_eq!((kind, back.as_slice()), (Compressed::None, bytes));
        }
    }
}
