//! PostgreSQL. One session exports its snapshot, counts every table in it, and `pg_dump` dumps the
//! same snapshot; `pg_restore` of the same version unpacks every block of the archive, and the rows
//! it finds are compared with what was counted. A restore fills a database of its own, which then
//! takes the name of the old one in one transaction.

use crate::count::Counts;
use crate::job::{Job, job, script};
use crate::kind::{Kind, Login, Scratch, Words};
use crate::scan::{Marked, Scan};
use cm_archive::codec::Compressed;
use cm_archive::manifest::Consistency;

/// What every archive of `pg_dump -Fc` begins with.
const MARK: &[u8] = b"PGDMP";

/// A PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    /// The database, and who asks.
    pub login: Login,
    /// The compression of its dump, which pg_dump does.
    pub compressed: Compressed,
}

impl Kind for Postgres {
    fn words(&self) -> Words {
        Words {
            format: "pg_dump-custom",
            suffix: ".dump",
            is_packed: true,
            consistency: Consistency::Snapshot,
            not_verified: &[
                "roles and their passwords are not in it: they belong to the server, not to the database",
                "the rows of tables that belong to extensions were not counted",
            ],
        }
    }

    fn look(&self) -> Job {
        job!("Asks PostgreSQL what it has", script!("look.sh"), self.login.arguments([]))
    }

    fn dump(&self) -> Job {
        let level = if self.compressed == Compressed::None { "-Z0" } else { "" };
        job!("Dumps the PostgreSQL database", script!("dump.sh"), self.login.arguments([level.to_owned()]))
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Marked { mark: MARK, seen: 0 })
    }

    fn check(&self) -> Option<Job> {
        Some(job!("Reads the dump with pg_restore", script!("check.sh"), self.login.arguments([])))
    }

    fn checked(&self, said: &str) -> Result<Counts, String> {
        let lines = said.strip_suffix("end").ok_or("pg_restore did not come to the end of the dump")?;
        lines.lines().map(table).collect()
    }

    fn load(&self, scratch: &Scratch, keeps: bool) -> Option<Job> {
        let keep = if keeps { "keep" } else { "" };
        let arguments = self.login.arguments([scratch.new_name(), keep.to_owned()]);
        Some(job!("Restores the dump into a database of its own", script!("load.sh"), arguments))
    }

    fn unload(&self, scratch: &Scratch) -> Option<Job> {
        Some(job!(
            "Removes a database that was restored",
            script!("drop.sh"),
            self.login.arguments([scratch.new_name()])
        ))
    }

    fn take(&self, scratch: &Scratch) -> Option<Job> {
        let arguments = self.login.arguments([scratch.new_name(), scratch.old_name()]);
        Some(job!("Gives the restored database its name", script!("take.sh"), arguments))
    }
}

/// The table and its rows in a line such as `3 COPY public."we ird" (a, b) FROM stdin;`.
fn table(line: &str) -> Result<(String, u64), String> {
    let wrong = || format!("pg_restore said {:?}", line.chars().take(200).collect::<String>());
    let (rows, rest) = line.split_once(' ').ok_or_else(wrong)?;
    let rows = rows.parse().map_err(|_| wrong())?;
    match rest.strip_prefix("COPY ") {
        Some(copy) => Ok((name(copy).ok_or_else(wrong)?, rows)),
        None => Ok((rest.to_owned(), rows)),
    }
}

/// The name at the beginning of `text`, without its quotes: what stands before a space that is not
/// within them.
fn name(text: &str) -> Option<String> {
    let (mut name, mut quoted) = (String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ' ' if !quoted => return Some(name),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_restore_read_is_understood() {
        let said = "2 COPY \"We ird\".\"a \"\"b\"\" (c)\" (x) FROM stdin;\n0 COPY public.nocol  FROM stdin;\n\
                    1 large objects\nend";
        let postgres = Postgres { login: Login::default(), compressed: Compressed::Gzip };
        let wanted = [("We ird.a \"b\" (c)", 2), ("public.nocol", 0), ("large objects", 1)];
        let wanted: Counts = wanted.map(|(name, rows)| (name.to_owned(), rows)).into();
        assert_eq!(postgres.checked(said), Ok(wanted));
        assert!(postgres.checked("2 COPY a (x) FROM stdin;").is_err(), "it ended early");
        assert!(postgres.checked("two\nend").is_err());
    }
}
