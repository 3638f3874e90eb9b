//! The thread that a dump passes through on its way into the store: its head is taken off, its
//! bytes are looked at, compressed where they are not yet, and hashed as they are written.

use crate::pipe::Blocking;
use cm_archive::HashedWriter;
use cm_archive::codec::{Compressed, Packer};
use cm_archive::progress::Progress;
use cm_core::{Exit, Failure};
use cm_dump::{Counts, Said, Scan, read_head};
use cm_mongo::pace::Pace;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

/// How much is looked at at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What is done to a dump.
pub struct Pump {
    /// How it is compressed here; not at all where it is already.
    pub compressed: Compressed,
    /// What looks at its bytes.
    pub scan: Box<dyn Scan>,
    /// Who reads them as well, such as the database's own program. One that stops reading says itself why.
    pub also: Option<Blocking<DuplexStream>>,
    /// How fast it may pass.
    pub pace: Pace,
    /// How far it is.
    pub progress: Arc<Progress>,
}

/// What passed.
#[derive(Debug)]
pub struct Pumped {
    /// What the database said of it.
    pub said: Said,
    /// What its bytes showed.
    pub counts: Option<Counts>,
    /// Its length, in bytes.
    pub data_bytes: u64,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Why nothing usable passed.
#[derive(Debug)]
pub enum Stopped {
    /// The dump ended too early, or is none.
    Dump(String),
    /// It could not be written.
    Output(io::Error),
}

impl Stopped {
    /// For people.
    pub fn into_failure(self) -> Failure {
        match self {
            Stopped::Dump(why) => {
                Failure::new(Exit::Backup, "backup.not-proved", "what the dump program wrote is not a whole dump")
                    .cause(why)
            }
            Stopped::Output(error) => {
                Failure::new(Exit::Backup, "backup.write", "the backup cannot be written").cause(error)
            }
        }
    }
}

impl Pump {
    /// Passes the dump in `source` on to `out`, whose end is only seen there when `out` is dropped. To
    /// be called on a thread that may block.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn run(mut self, source: impl Read, out: impl Write, runtime: &Handle) -> Result<Pumped, Stopped> {
        let mut source = BufReader::with_capacity(CHUNK, source);
        let head = read_head(&mut source).map_err(|error| Stopped::Dump(error.to_string()))?;
        let mut packer = Packer::new(HashedWriter::new(out), self.compressed);
        let mut data_bytes = 0;
        loop {
            let chunk = source.fill_buf().map_err(|error| Stopped::Dump(error.to_string()))?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len();
            runtime.block_on(self.pace.wait(length as u64));
            self.scan.feed(chunk).map_err(Stopped::Dump)?;
            packer.write_all(chunk).map_err(Stopped::Output)?;
            self.also = self.also.take().and_then(|mut also| also.write_all(chunk).is_ok().then_some(also));
            source.consume(length);
            data_bytes += length as u64;
            self.progress.add(0, length as u64);
        }
        let counts = self.scan.finish().map_err(Stopped::Dump)?;
        let (_, bytes, sha256) = packer.finish().map_err(Stopped::Output)?.finish();
        let said = head.and(self.scan.said());
        Ok(Pumped { said, counts, data_bytes, bytes, sha256 })
    }
}
