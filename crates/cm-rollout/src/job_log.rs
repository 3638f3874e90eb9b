//! What a job says: a file in the run's directory on this machine, and its last lines for an error.

use cm_core::{Journal, private_dir, redact};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// How many lines an error shows.
const TAIL: usize = 20;

/// More than this of one job is not kept here, in bytes; Docker has the rest.
const MOST: usize = 16 << 20;

/// The log of one job.
pub(crate) struct JobLog {
    path: PathBuf,
    file: Option<File>,
    written: usize,
    tail: VecDeque<String>,
}

impl JobLog {
    /// The log of `container` on `host` in the directory of `run`. A job is not stopped by a log that
    /// cannot be written.
    pub fn new(run: &str, host: &str, container: &str) -> Self {
        let journal = Journal::of(run);
        let _kept_without = private_dir(journal.dir());
        let path = journal.dir().join(format!("job-{host}-{container}.log"));
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).ok();
        JobLog { path, file, written: 0, tail: VecDeque::new() }
    }

    /// Takes one line; gives it without secrets.
    pub fn line(&mut self, text: &str) -> String {
        let text = redact(text).to_string();
        if let Some(file) = self.file.as_mut().filter(|_| self.written < MOST) {
            let _full_disk = writeln!(file, "{text}");
            self.written += text.len() + 1;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.clone());
        text
    }

    /// Its last lines.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// Where all of them are.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }
}
