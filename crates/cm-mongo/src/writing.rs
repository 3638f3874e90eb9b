//! The thread that writes what a dump reads: documents into blocks, blocks into compressed ones.

use crate::connection;
use bson::{RawBsonRef, RawDocumentBuf};
use cm_archive::codec::{Compressed, Packer};
use cm_archive::progress::Progress;
use cm_archive::{HashedWriter, Prelude, Totals, Writer};
use cm_core::{Exit, Failure};
use mongodb::raw_batch_cursor::RawBatch;
use std::io::{self, Write};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What the readers say.
pub enum Message {
    /// With the permit to be in memory.
    Batch(usize, RawBatch, OwnedSemaphorePermit),
    /// A few, which are in memory already.
    Documents(usize, Vec<RawDocumentBuf>),
    Close(usize),
    Finish,
}

/// Why there is no archive.
pub enum WriteError {
    /// The readers failed; they say why.
    Abandoned,
    /// The output failed.
    Output(io::Error),
}

impl WriteError {
    /// For people.
    pub fn into_failure(self) -> Failure {
        match self {
            WriteError::Abandoned => Failure::bug("the dump ended early"),
            WriteError::Output(error) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::new(Exit::Backup, "backup.document", "a document cannot be backed up").cause(error)
            }
            WriteError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Failure::new(Exit::Backup, "backup.write", "the backup cannot be written")
                    .cause("the program that reads it has ended")
                    .hint("look at what that program says; the disk is not at fault")
            }
            WriteError::Output(error) => {
                Failure::new(Exit::Backup, "backup.write", "the backup cannot be written").cause(error)
            }
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Output(error)
    }
}

/// The writing thread.
pub fn write<W: Write>(
    mut queue: mpsc::Receiver<Message>,
    prelude: &Prelude,
    kind: Compressed,
    out: HashedWriter<W>,
    progress: &Progress,
) -> Result<(HashedWriter<W>, Vec<Totals>), WriteError> {
    let mut writer = Writer::start(Packer::new(out, kind), prelude)?;
    loop {
        match queue.blocking_recv() {
            None => return Err(WriteError::Abandoned),
            Some(Message::Close(index)) => {
                writer.close(index)?;
                progress.close();
            }
            Some(Message::Batch(index, batch, _permit)) => write_batch(&mut writer, index, &batch, progress)?,
            Some(Message::Documents(index, documents)) => {
                let bytes = documents.iter().map(|document| document.as_bytes().len() as u64).sum();
                writer.documents(index, documents.iter().map(|document| Ok(document.as_bytes())))?;
                progress.add(documents.len() as u64, bytes);
            }
            Some(Message::Finish) => break,
        }
    }
    let (packer, totals) = writer.finish()?;
    Ok((packer.finish()?, totals))
}

fn write_batch<W: Write>(
    writer: &mut Writer<W>,
    index: usize,
    batch: &RawBatch,
    progress: &Progress,
) -> Result<(), WriteError> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let documents = batch.doc_slices().map_err(|error| invalid(&connection::cause(&error)))?;
    if documents.is_empty() {
        return Ok(());
    }
    let slices = documents.into_iter().map(|item| match item {
        Ok(RawBsonRef::Document(document)) => {
            progress.add(1, document.as_bytes().len() as u64);
            Ok(document.as_bytes())
        }
        Ok(_) => Err(invalid(&"the server sent something that is not a document")),
        Err(error) => Err(invalid(&error)),
    });
    writer.documents(index, slices)?;
    Ok(())
}
