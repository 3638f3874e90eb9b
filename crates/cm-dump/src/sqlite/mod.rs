//! SQLite: a file, in the container of a service or on the host. SQLite's own backup copies it while
//! others write, the copy is checked to its last page and counted, and it is that copy which is kept.
//! A restore writes it into the file in one transaction: whoever has that open sees the old data or
//! the new.

use crate::count::Counts;
use crate::job::{Job, job, script};
use crate::kind::{Kind, Scratch, Words};
use crate::scan::Scan;
use cm_archive::manifest::Consistency;

/// What every file of SQLite begins with.
const MARK: &[u8] = b"SQLite format 3\0";

/// The length of the head of a file, in bytes.
const HEAD: usize = 100;

/// A SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    /// Its path.
    pub path: String,
}

impl Kind for Sqlite {
    fn words(&self) -> Words {
        Words {
            format: "sqlite",
            suffix: ".sqlite",
            is_packed: false,
            consistency: Consistency::Snapshot,
            not_verified: &[],
        }
    }

    fn name(&self) -> Option<&str> {
        self.path.rsplit('/').next()
    }

    fn look(&self) -> Job {
        job!("Asks the SQLite file what it has", script!("look.sh"), [&self.path])
    }

    fn dump(&self) -> Job {
        job!("Copies the SQLite file", script!("dump.sh"), [&self.path])
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Pages { head: Vec::new(), bytes: 0 })
    }

    fn check(&self) -> Option<Job> {
        Some(job!("Has SQLite read the copy", script!("load.sh"), [&self.path]))
    }

    fn load(&self, _: &Scratch, keeps: bool) -> Option<Job> {
        if keeps { None } else { self.check() }
    }

    fn unload(&self, _: &Scratch) -> Option<Job> {
        None
    }

    fn take(&self, _: &Scratch) -> Option<Job> {
        Some(job!("Restores the copy into the SQLite file", script!("take.sh"), [&self.path]))
    }
}

/// That a file has as many pages as its head says.
#[derive(Debug)]
struct Pages {
    head: Vec<u8>,
    bytes: u64,
}

impl Scan for Pages {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let wanted = (HEAD - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if self.head.len() < HEAD || !self.head.starts_with(MARK) {
            return Err("it does not begin as a file of SQLite does".to_owned());
        }
        let page = match u16::from_be_bytes([self.head[16], self.head[17]]) {
            1 => 65536,
            size => u64::from(size),
        };
        let pages = u64::from(u32::from_be_bytes([self.head[28], self.head[29], self.head[30], self.head[31]]));
        match page * pages {
            bytes if bytes == self.bytes => Ok(None),
            bytes => Err(format!("it has {} bytes, and its head says {bytes}", self.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_pages_that_its_head_says() {
        let mut file = vec![0; 1024];
        file[..16].copy_from_slice(MARK);
        (file[16], file[31]) = (2, 2);
        let scanned = |file: &[u8], at_once: usize| {
            let mut scan = Pages { head: Vec::new(), bytes: 0 };
            file.chunks(at_once).try_for_each(|part| scan.feed(part)).and_then(|()| scan.finish())
        };
        assert_eq!((scanned(&file, 7), scanned(&file, 4096)), (Ok(None), Ok(None)));
        for cut in [0, 50, 1023] {
            assert!(scanned(&file[..cut], 64).is_err(), "{cut}");
        }
        file[0] = b's';
        assert!(scanned(&file, 64).is_err());
    }
}
