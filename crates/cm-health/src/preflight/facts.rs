//! What was found on a server, as values. Pure: the answer of `look.sh` goes in.

use cm_core::facts::Room;
use std::collections::BTreeMap;

/// The facts of one server.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    values: BTreeMap<String, Vec<String>>,
}

impl Facts {
    /// Reads `NAME=VALUE` lines; a name may come more than once.
    pub fn parse(text: &str) -> Facts {
        let mut facts = Facts::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            facts.values.entry(name.to_owned()).or_default().push(value.trim().to_owned());
        }
        facts
    }

    /// The value of a fact, if it was found out.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.first()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Every value of a fact.
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Free and total, in the unit that the name says.
    pub fn room(&self, name: &str) -> Option<Room> {
        let (free, total) = self.get(name)?.split_once(' ')?;
        Some(Room { free: free.parse().ok()?, total: total.parse().ok()? })
    }

    /// The server's clock, in seconds since 1970.
    pub fn clock(&self) -> Option<f64> {
        self.get("clock")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_out_is_not_there() {
        let facts = Facts::parse("docker=28.2.2\ncompose-error=no such command\nbranch=\nedited=a=b\nedited=c d\nx");
        assert_eq!(facts.get("docker"), Some("28.2.2"));
        assert_eq!((facts.get("compose"), facts.get("branch")), (None, None));
        assert_eq!(facts.all("edited"), ["a=b", "c d"]);
    }

    #[test]
    fn numbers_are_read_or_missing() {
        let facts = Facts::parse("disk-kib=100 4000\nempty-kib=\nclock=1700000000.250000000\n");
        assert_eq!(facts.room("disk-kib"), Some(Room { free: 100, total: 4000 }));
        assert_eq!(facts.room("empty-kib"), None);
        assert_eq!(facts.clock(), Some(1_700_000_000.25));
        assert_eq!(Facts::parse("clock=1700000000").clock(), Some(1_700_000_000.0));
    }
}
