//! Whatever a command writes to stdout: for data that no other kind knows. Nothing is known of its
//! bytes but that there are any; a command that reads them back can verify them, another restores.

use crate::count::Counts;
use crate::job::{Job, job, script};
use crate::kind::{Kind, Scratch, Words};
use crate::scan::Scan;
use cm_archive::manifest::Consistency;

/// Programs and their arguments, which no shell reads.
#[derive(Debug)]
pub struct Command {
    /// What its backups are called.
    pub name: String,
    /// Where it runs on the host; empty in a container.
    pub directory: String,
    /// Writes a backup.
    pub command: Vec<String>,
    /// Reads one, and fails if it is not whole; nothing where there is none.
    pub verify: Vec<String>,
    /// Reads one, and puts it back; nothing where there is none.
    pub restore: Vec<String>,
}

impl Command {
    fn arguments<'a>(&'a self, words: &'a [String]) -> impl IntoIterator<Item = &'a String> {
        std::iter::once(&self.directory).chain(words)
    }
}

impl Kind for Command {
    fn words(&self) -> Words {
        let alone: &[_] = &["nothing but its length and its checksum: no command of `verify` reads it"];
        let by_command: &[_] = &["what is in it: a command of the project reads it"];
        Words {
            format: "command",
            suffix: ".data",
            is_packed: false,
            consistency: Consistency::None,
            not_verified: if self.verify.is_empty() { alone } else { by_command },
        }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn look(&self) -> Job {
        job!("Looks for the command", script!("look.sh"), self.arguments(&self.command).into_iter().take(2))
    }

    fn dump(&self) -> Job {
        job!("Runs the command that writes the backup", script!("dump.sh"), self.arguments(&self.command))
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Any { bytes: 0 })
    }

    fn check(&self) -> Option<Job> {
        let words = self.arguments(&self.verify);
        (!self.verify.is_empty()).then(|| job!("Has the command verify the backup", script!("read.sh"), words))
    }

    fn load(&self, _: &Scratch, _: bool) -> Option<Job> {
        None
    }

    fn unload(&self, _: &Scratch) -> Option<Job> {
        None
    }

    fn take(&self, _: &Scratch) -> Option<Job> {
        let words = self.arguments(&self.restore);
        (!self.restore.is_empty()).then(|| job!("Has the command restore the backup", script!("read.sh"), words))
    }
}

/// That there is anything.
#[derive(Debug)]
struct Any {
    bytes: u64,
}

impl Scan for Any {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if self.bytes == 0 { Err("it is empty".to_owned()) } else { Ok(None) }
    }
}
