//! MySQL and MariaDB. While nobody writes, for a moment, the dump program and a session that counts
//! begin their transactions, so that both see the same data; the counts end the dump, as comments.
//! Its statements are counted as they pass. A restore fills a database of its own, whose tables then
//! change their names with the old ones in one statement; a journal in the server says what was there
//! until triggers, views, routines and events have followed.

mod scan;

use crate::job::{Job, job, script};
use crate::kind::{Kind, Login, Scratch, Words};
use crate::scan::Scan;
use cm_archive::manifest::Consistency;
use scan::Statements;

/// A database of MySQL or MariaDB.
#[derive(Debug)]
pub struct Mysql {
    /// The database, and who asks.
    pub login: Login,
}

impl Kind for Mysql {
    fn words(&self) -> Words {
        Words {
            format: "mysqldump",
            suffix: ".sql",
            is_packed: false,
            consistency: Consistency::Transaction,
            not_verified: &[
                "users and what they may do are not in it: they belong to the server, not to the database",
                "the database's own character set is not in it",
            ],
        }
    }

    fn look(&self) -> Job {
        job!("Asks MySQL what it has", script!("look.sh"), self.login.arguments([]))
    }

    fn dump(&self) -> Job {
        job!("Dumps the MySQL database", script!("dump.sh"), self.login.arguments([]))
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Statements::default())
    }

    fn load(&self, scratch: &Scratch, keeps: bool) -> Option<Job> {
        let arguments = self.login.arguments([scratch.new_name(), if keeps { "keep" } else { "" }.to_owned()]);
        Some(job!("Restores the dump into a database of its own", script!("change.sh", "load.sh"), arguments))
    }

    fn unload(&self, scratch: &Scratch) -> Option<Job> {
        let arguments = self.login.arguments([scratch.new_name()]);
        Some(job!("Removes a database that was restored", script!("drop.sh"), arguments))
    }

    fn take(&self, scratch: &Scratch) -> Option<Job> {
        let arguments = self.login.arguments([scratch.new_name(), scratch.old_name()]);
        Some(job!("Gives the restored tables their names", script!("change.sh", "take.sh"), arguments))
    }
}
