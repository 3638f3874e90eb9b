//! Where each collection of a backup goes: `--db`, and `--ns-from`/`--ns-to` as mongorestore
//! reads them, where `*` stands for any text that the other pattern takes over.

use cm_core::{Exit, Failure, Result};

/// Renames namespaces.
#[derive(Clone, Debug, Default)]
pub struct Renames {
    pairs: Vec<(String, String)>,
    database: Option<String>,
}

impl Renames {
    /// `from` and `to` belong together one by one; `database` takes all that they leave.
    ///
    /// # Errors
    /// [`Exit::Usage`] for lists or patterns that do not match each other.
    pub fn new(from: &[String], to: &[String], database: Option<&str>) -> Result<Renames> {
        let unequal = from.len() != to.len()
            || from.iter().zip(to).any(|(from, to)| from.matches('*').count() != to.matches('*').count());
        if unequal {
            return Err(Failure::new(Exit::Usage, "usage.ns", "--ns-from and --ns-to do not match each other")
                .hint("give both equally often, with the same number of *: --ns-from 'shop.*' --ns-to 'shop_old.*'"));
        }
        let pairs = from.iter().cloned().zip(to.iter().cloned()).collect();
        Ok(Renames { pairs, database: database.map(str::to_owned) })
    }

    /// The database and name that `db.collection` gets.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name that no database can have.
    pub fn apply(&self, db: &str, collection: &str) -> Result<(String, String)> {
        let namespace = format!("{db}.{collection}");
        let renamed = self.pairs.iter().find_map(|(from, to)| Some(fill(to, &captures(from, &namespace)?)));
        let (db, collection) = match renamed.as_deref().map(|new| new.split_once('.')) {
            Some(Some((db, collection))) => (db.to_owned(), collection.to_owned()),
            Some(None) => (String::new(), String::new()),
            None => (self.database.clone().unwrap_or_else(|| db.to_owned()), collection.to_owned()),
        };
        check(&db, &collection).map_err(|failure| failure.cause(format!("{namespace} was to be restored there")))?;
        Ok((db, collection))
    }
}

/// What a server would refuse, or worse, understand in another way.
fn check(db: &str, collection: &str) -> Result<()> {
    let dollar = collection.contains('$') && !collection.starts_with("oplog.$");
    if collection.is_empty() || collection.contains('\0') || dollar || db.len() + collection.len() + 1 > 255 {
        let message = format!("{:?} is not a valid name of a collection", format!("{db}.{collection}"));
        return Err(Failure::new(Exit::Usage, "restore.name", message).hint(
            "a name has no $ and no zero byte, and with its database at most 255 bytes; --ns-from/--ns-to rename",
        ));
    }
    crate::name::check_database(db).map_err(|mut failure| {
        failure.exit = Exit::Usage;
        failure
    })
}

/// What the `*` of `pattern` stand for in `text`; the first takes as little as it can.
fn captures<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let Some((head, rest)) = pattern.split_once('*') else { return (pattern == text).then(Vec::new) };
    let tail = text.strip_prefix(head)?;
    let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    for end in ends {
        if let Some(mut more) = captures(rest, &tail[end..]) {
            more.insert(0, &tail[..end]);
            return Some(more);
        }
    }
    None
}

fn fill(pattern: &str, captures: &[&str]) -> String {
    let mut captures = captures.iter();
    pattern.chars().fold(String::new(), |mut text, c| {
        match c {
            '*' => text.push_str(captures.next().copied().unwrap_or_default()),
            c => text.push(c),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(from: &[&str], to: &[&str], database: Option<&str>) -> Result<Renames> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Renames::new(&owned(from), &owned(to), database)
    }

    #[test]
    fn names_go_where_the_patterns_say() {
        let cases = [
            (&["shop.*"][..], &["shop2.*"][..], None, "shop2", "a.b"),
            (&["shop.a.*"], &["old.x_*_y"], None, "old", "x_b_y"),
            (&["other.*", "*.a*"], &["no.*", "z.*_*"], None, "z", "shop_.b"),
            (&["shop.nope"], &["x.y"], Some("scratch"), "scratch", "a.b"),
            (&[], &[], None, "shop", "a.b"),
        ];
        for (from, to, database, db, collection) in cases {
            let renamed = renames(from, to, database).expect("valid").apply("shop", "a.b").expect("valid");
            assert_eq!(renamed, (db.to_owned(), collection.to_owned()), "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        assert!(renames(&["a.*"], &["b.c"], None).is_err());
        assert!(renames(&["a.*"], &[], None).is_err());
        let long = "x".repeat(252);
        for (db, collection) in
            [("shop", ""), ("shop", "a\0b"), ("shop", "a$b"), ("..", "a"), ("a/b", "c"), ("", "a"), ("shop", &*long)]
        {
            let failure = Renames::default().apply(db, collection).expect_err(collection);
            assert_eq!(failure.exit, Exit::Usage, "{db}.{collection}");
        }
        assert!(renames(&["shop.*"], &["*"], None).expect("equal").apply("shop", "nodot").is_err());
        assert!(Renames::default().apply("shop", &"x".repeat(250)).is_ok());
    }
}
