//! An archive that is somewhere: a file, a directory, a file on a server. It is opened each
//! time it is read, because a restore reads it several times, and it is never written.

use cm_core::{Failure, Result};
use std::fmt::Debug;
use std::io::{self, Read};
use tokio::task::JoinHandle;

/// Something that can be opened and read to its end.
pub trait Stored: Debug + Send + Sync {
    /// For people.
    fn display(&self) -> String;

    /// Starts to read it from its beginning. To be called on the runtime.
    ///
    /// # Errors
    /// That of what it is: no such file, no directory of mongodump.
    fn open(&self) -> Result<Opened>;
}

/// The bytes, and what brings them.
pub struct Opened {
    /// The bytes; they are read by a thread that may block.
    pub input: Box<dyn Read + Send>,
    /// What brings them.
    pub transfer: Transfer,
}

/// What brings the bytes from elsewhere, where anything does. It gives how many there were.
#[derive(Default)]
pub struct Transfer(pub Option<JoinHandle<Result<u64>>>);

impl Transfer {
    async fn end(self) -> Result<()> {
        let Some(transfer) = self.0 else { return Ok(()) };
        transfer.await.map_err(|error| Failure::bug("the transfer ended").cause(error))?.map(drop)
    }

    fn give_up(self) {
        if let Some(transfer) = self.0 {
            transfer.abort();
        }
    }
}

/// Runs `job` with the bytes on a thread of its own. A transfer that broke is told apart from a
/// job that failed only if the job reads to the end: see [`drained`].
///
/// # Errors
/// Those of [`Stored::open`], and of a transfer that broke.
pub async fn read<T: Send + 'static>(
    stored: &dyn Stored,
    job: impl FnOnce(Box<dyn Read + Send>) -> T + Send + 'static,
) -> Result<T> {
    let (done, transfer) = start(stored, job).await?;
    transfer.end().await?;
    Ok(done)
}

/// As [`read`], for a job that wants only the beginning.
///
/// # Errors
/// As [`read`].
pub async fn peek<T: Send + 'static, E: Send + 'static>(
    stored: &dyn Stored,
    job: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
) -> Result<Result<T, E>> {
    let (done, transfer) = start(stored, job).await?;
    match done {
        Ok(done) => {
            transfer.give_up();
            Ok(Ok(done))
        }
        Err(failed) => transfer.end().await.map(|()| Err(failed)),
    }
}

async fn start<T: Send + 'static>(
    stored: &dyn Stored,
    job: impl FnOnce(Box<dyn Read + Send>) -> T + Send + 'static,
) -> Result<(T, Transfer)> {
    let Opened { input, transfer } = stored.open()?;
    let done = tokio::task::spawn_blocking(move || job(input)).await;
    let done = done.map_err(|error| Failure::bug("the reading thread ended").cause(error))?;
    Ok((done, transfer))
}

/// `job` with `input`, and what it leaves of it read to the end, so that a sender that failed
/// can say so.
pub fn drained<T>(mut input: Box<dyn Read + Send>, job: impl FnOnce(&mut (dyn Read + Send)) -> T) -> T {
    let done = job(&mut *input);
    let _rest = io::copy(&mut input, &mut io::sink());
    done
}
