//! The names of databases, and those that belong to a restore.

use cm_core::{Exit, Failure, Result};

/// What the names of collections begin with that belong to a restore.
pub const OWN_PREFIX: &str = "cm_restore.";

/// What the name of a restore's journal ends with.
pub const JOURNAL_SUFFIX: &str = ".journal";

/// What the name of somebody's data ends with that lost its own to a restore.
pub const OLD: &str = ".old";

/// What stands in the name of what was written under another's name while names changed. It is
/// somebody's data, and stays.
pub const MEANWHILE: &str = ".meanwhile-";

/// Whether a collection is one that a restore works with, and nobody's data.
pub fn is_of_a_restore(collection: &str) -> bool {
    collection.starts_with(OWN_PREFIX) && !collection.contains(MEANWHILE)
}

/// The database to read: the one that was named, else the URI's.
///
/// # Errors
/// [`Exit::Config`] if there is neither.
pub fn database(named: Option<&str>, of_uri: Option<&str>) -> Result<String> {
    let name = named.or(of_uri).ok_or_else(|| {
        Failure::new(Exit::Config, "backup.database-name", "no database is named")
            .hint("name it: --database NAME, `database` under [backup] in cm.toml, or in the URI's path")
    })?;
    check_database(name).map(|()| name.to_owned())
}

/// A name that MongoDB accepts for a database.
///
/// # Errors
/// [`Exit::Config`] for any other.
pub fn check_database(name: &str) -> Result<()> {
    let bad = |c: char| c.is_control() || "/\\. \"$*<>:|?".contains(c);
    if name.is_empty() || name.len() > 63 || name.contains(bad) {
        return Err(Failure::new(
            Exit::Config,
            "backup.database-name",
            format!("{name:?} is not a valid name of a database"),
        )
        .hint("a database's name has 1 to 63 bytes and none of /\\. \"$*<>:|?"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_takes_is_a_name() {
        for name in ["", "a/b", "a.b", "a b", "$x", "a\0b", &"x".repeat(64)] {
            assert!(check_database(name).is_err(), "{name:?}");
        }
        assert!(check_database("curateme-2_é").is_ok());
    }
}
