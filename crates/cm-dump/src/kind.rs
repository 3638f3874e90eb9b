//! What a kind of database is to a backup: its words, and the jobs that look at it, dump it, check
//! a dump and put it back.

use crate::count::{Counts, Said};
use crate::job::Job;
use crate::scan::{Scan, Uncounted};
use cm_archive::manifest::Consistency;
use serde::Deserialize;
use std::fmt::Debug;

/// What never changes about a kind.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The word for what is in a dump, in manifests.
    pub format: &'static str,
    /// What the names of its dumps end with, before compression adds its own.
    pub suffix: &'static str,
    /// Whether its dumps are compressed already.
    pub is_packed: bool,
    /// Whether all of a dump is of one moment.
    pub consistency: Consistency,
    /// What a backup of it does not hold, or nothing can verify.
    pub not_verified: &'static [&'static str],
}

/// What a database says of itself before it is dumped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Survey {
    /// Its server's version.
    pub version: String,
    /// What its server is among others, such as `primary`.
    pub topology: String,
    /// Its name.
    pub database: String,
    /// How large it is, in bytes, where that is known.
    pub bytes: Option<u64>,
    /// Whether nothing was ever put into it.
    pub empty: bool,
    /// Whether its server has no database of that name at all.
    pub missing: bool,
    /// Whether a restore has left it partway.
    pub unfinished: bool,
}

/// A database of a server and the user who asks for it, each empty for what the container's own
/// variables say. The first two arguments of every job are these.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
}

impl Login {
    /// These and `more`.
    pub fn arguments(&self, more: impl IntoIterator<Item = String>) -> impl IntoIterator<Item = String> {
        [self.database.clone(), self.user.clone()].into_iter().chain(more)
    }
}

/// The names that a restore makes for itself, which are nobody else's.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// 16 hexadecimal digits.
    tag: String,
}

impl Scratch {
    /// Names of a restore with the id `id`, of which the random part counts.
    pub fn of(id: u128) -> Scratch {
        Scratch { tag: format!("{:016x}", id as u64) }
    }

    /// Where a dump is loaded.
    pub fn new_name(&self) -> String {
        format!("cm_scratch_{}", self.tag)
    }

    /// What the data that was there is called until it is removed.
    pub fn old_name(&self) -> String {
        format!("cm_old_{}", self.tag)
    }
}

/// A kind of database.
pub trait Kind: Debug + Send + Sync {
    /// What never changes about it.
    fn words(&self) -> Words;

    /// Puts right what a run that has died may have left besides files, and says in notes what that was;
    /// `None` where none leaves anything.
    fn recover(&self) -> Option<Job> {
        None
    }

    /// What its dumps are named after, where that is configured; `None` where the server says it.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Asks the database what it is; says a [`Survey`] as JSON.
    fn look(&self) -> Job;

    /// What the script of [`Kind::look`] said. A script does not repeat a name that it was given: there may be
    /// anything in it that JSON would have to escape.
    ///
    /// # Errors
    /// Why that cannot be understood.
    fn surveyed(&self, said: &str) -> Result<Survey, serde_json::Error> {
        let mut survey: Survey = serde_json::from_str(said)?;
        if let Some(name) = self.name() {
            name.clone_into(&mut survey.database);
        }
        Ok(survey)
    }

    /// Writes the dump to stdout, after a [head](crate::head) with what was counted.
    fn dump(&self) -> Job;

    /// Reads the bytes of a dump while they pass, and counts what is in them.
    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Uncounted)
    }

    /// Has the database's own program read a dump on stdin to its end; `None` where there is none,
    /// or the scan shows as much.
    fn check(&self) -> Option<Job> {
        None
    }

    /// What the program of [`Kind::check`] counted in the dump.
    ///
    /// # Errors
    /// Why that cannot be understood.
    fn checked(&self, said: &str) -> Result<Counts, String> {
        Said::parse(said).map(|said| said.counted)
    }

    /// Restores a dump that is on stdin to where nobody uses it, counts what is there, and removes it,
    /// unless `keeps`; `None` where there is no such place.
    fn load(&self, scratch: &Scratch, keeps: bool) -> Option<Job>;

    /// Removes what [`Kind::load`] kept.
    fn unload(&self, scratch: &Scratch) -> Option<Job>;

    /// Puts a dump in the place of what is there: what [`Kind::load`] kept, else what is on stdin. `None`
    /// where nothing says how.
    fn take(&self, scratch: &Scratch) -> Option<Job>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Sqlite;

    #[test]
    fn a_name_that_is_configured_needs_no_escape_in_what_a_script_says() {
        let kind = Sqlite { path: "/data/a \"b\"\\.db".to_owned() };
        let survey = kind.surveyed(r#"{"missing": true, "empty": true}"#).expect("JSON");
        assert_eq!((survey.database.as_str(), survey.missing), ("a \"b\"\\.db", true));
        assert!(kind.surveyed("{\"database\": \"a\"b\"}").is_err());
    }
}
