//! Redis and Valkey, all databases of a server: what it sends a replica, which is of one moment. The
//! checksum at the end of it is computed again while it passes, and `redis-check-rdb` reads every key.
//! A restore starts a server of its own that reads all of it, and has the real one follow that until
//! it has everything.

use crate::count::Counts;
use crate::job::{Job, job, script};
use crate::kind::{Kind, Scratch, Words};
use crate::scan::Scan;
use cm_archive::manifest::Consistency;
use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// The checksum of Redis.
static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The length of the checksum, in bytes.
const SUM: usize = 8;

/// A server of Redis.
#[derive(Debug)]
pub struct Redis {
    /// Who asks; empty for nobody in particular.
    pub user: String,
}

impl Kind for Redis {
    fn words(&self) -> Words {
        Words {
            format: "rdb",
            suffix: ".rdb",
            is_packed: false,
            consistency: Consistency::Snapshot,
            not_verified: &[
                "users are not in it: they belong to the server, not to its data",
                "keys that expire were not counted: they may be gone at any moment",
            ],
        }
    }

    fn look(&self) -> Job {
        job!("Asks Redis what it has", script!("look.sh"), [&self.user])
    }

    fn dump(&self) -> Job {
        job!("Takes what Redis sends a replica", script!("dump.sh"), [&self.user])
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Summed { head: Vec::new(), tail: Vec::new(), digest: CHECKSUM.digest() })
    }

    fn check(&self) -> Option<Job> {
        Some(job!("Has redis-check-rdb read the dump", script!("check.sh"), [&self.user]))
    }

    fn load(&self, _: &Scratch, keeps: bool) -> Option<Job> {
        (!keeps).then(|| job!("Starts a server of its own with the dump", script!("load.sh"), [&self.user]))
    }

    fn unload(&self, _: &Scratch) -> Option<Job> {
        None
    }

    fn take(&self, _: &Scratch) -> Option<Job> {
        Some(job!("Has Redis follow a server that has the dump", script!("take.sh"), [&self.user]))
    }
}

/// The checksum at the end of a dump, computed again. All but its own bytes are in it.
struct Summed {
    head: Vec<u8>,
    tail: Vec<u8>,
    digest: Digest<'static, u64, Table<16>>,
}

impl Scan for Summed {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let wanted = (9 - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.tail.extend_from_slice(bytes);
        let summed = self.tail.len().saturating_sub(SUM);
        self.digest.update(&self.tail[..summed]);
        self.tail.drain(..summed);
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Counts>, String> {
        if !(self.head.starts_with(b"REDIS") || self.head.starts_with(b"VALKEY")) || self.tail.len() < SUM {
            return Err("it does not begin as a dump of Redis does".to_owned());
        }
        let mut sum = [0; SUM];
        sum.copy_from_slice(&self.tail);
        let digest = std::mem::replace(&mut self.digest, CHECKSUM.digest());
        // A server that is told not to sum writes 0.
        match u64::from_le_bytes(sum) {
            0 => Ok(None),
            sum if sum == digest.finalize() => Ok(None),
            _ => Err("its checksum is another than that of its bytes".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(dump: &[u8], at_once: usize) -> Result<Option<Counts>, String> {
        let mut scan = Summed { head: Vec::new(), tail: Vec::new(), digest: CHECKSUM.digest() };
        dump.chunks(at_once).try_for_each(|part| scan.feed(part)).and_then(|()| scan.finish())
    }

    #[test]
    fn the_checksum_of_a_dump_is_that_of_its_bytes() {
        let mut dump = b"REDIS0011\xfa\x09redis-ver\x057.0.0\xff".to_vec();
        dump.extend_from_slice(&CHECKSUM.checksum(&dump).to_le_bytes());
        for at_once in [1, 7, 4096] {
            assert_eq!(scanned(&dump, at_once), Ok(None));
        }
        for end in 0..dump.len() {
            assert!(scanned(&dump[..end], 5).is_err(), "cut at {end}");
        }
        dump[12] ^= 1;
        assert!(scanned(&dump, 5).is_err());
        assert!(scanned(b"Error: no such user", 5).is_err());
    }
}
