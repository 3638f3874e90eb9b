//! What a restore would do, collection by collection, before it does anything.

use super::names::Renames;
use super::options::convert_index;
use crate::accounts::is_account;
use crate::name::OWN_PREFIX;
use crate::survey;
use bson::Document;
use cm_archive::metadata::{self, Described};
use cm_archive::{Entry, Kind, Prelude};
use cm_core::{Exit, Failure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Databases of the server itself: another server's must not be written over them.
const OWN_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// One collection or view on its way back.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the backup's list.
    pub index: usize,
    /// Its namespace in the backup.
    pub from: String,
    /// The database it goes to.
    pub db: String,
    /// The name it gets there.
    pub collection: String,
    /// What it is.
    pub kind: Kind,
    /// Its options and indexes.
    pub described: Described,
    /// How it gets there.
    pub way: Way,
    /// What has that name, if anything has.
    pub exists: Option<Present>,
}

impl Item {
    /// `database.collection` as it will be.
    pub fn namespace(&self) -> String {
        format!("{}.{}", self.db, self.collection)
    }
}

/// What has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    /// What it is.
    pub kind: Kind,
    /// What it was made with.
    pub options: Document,
}

/// How a collection gets its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// Filled under another name, which holds nothing anybody uses, and renamed when all is there.
    Rename,
    /// The same, for what no server renames: it is copied when all is there.
    Copy,
    /// Documents are added to what is there, or to what nobody uses yet.
    Add,
    /// A view has only a definition.
    Define,
}

/// What a database holds before the restore.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// Its collections and views.
    pub collections: BTreeMap<String, Present>,
    /// Whether any of them has a document.
    pub has_documents: bool,
}

/// A whole restore.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What is restored, in the order of the backup.
    pub items: Vec<Item>,
    /// What is not, and why.
    pub skipped: Vec<String>,
    /// The databases it goes to, as they are.
    pub databases: BTreeMap<String, Existing>,
    /// Whether collections that are there are replaced.
    pub replace: bool,
    /// Whether everything is filled in its place, because nobody uses where it goes.
    pub in_place: bool,
}

/// What of a backup is wanted, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only these collections of the backup; all if none is named.
    pub collections: Vec<String>,
    /// Other names for them.
    pub renames: Renames,
    /// Whether what is there is replaced.
    pub replace: bool,
    /// Whether nobody uses where it goes, so that no other names are needed on the way.
    pub in_place: bool,
    /// Whether users and roles are added, which takes another way.
    pub users_and_roles: bool,
    /// What of options and indexes is restored.
    pub shape: Shape,
}

/// What of the options and indexes of a backup is restored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shape {
    /// Collections get no options: none is capped, none has a validator.
    pub without_options: bool,
    /// Collections get no indexes but that of `_id`.
    pub without_indexes: bool,
    /// What servers of long ago took for an index becomes what those of today take.
    pub convert_indexes: bool,
}

impl Shape {
    fn apply(self, described: &mut Described, kind: Kind) {
        // Tools of long ago wrote down the whole command.
        for word in ["create", "autoIndexId"] {
            described.options.remove(word);
        }
        if self.without_options && kind == Kind::Collection {
            described.options.clear();
        }
        if self.without_indexes {
            described.indexes.clear();
        }
        if self.convert_indexes {
            described.indexes.iter_mut().for_each(convert_index);
        }
    }
}

impl Plan {
    /// Everything but how, which takes a look at the server: see [`Plan::place`].
    ///
    /// # Errors
    /// [`Exit::Usage`] for names that do not fit; [`Exit::Backup`] for a backup of nothing,
    /// or with options that cannot be read.
    pub fn make(prelude: &Prelude, wanted: &Wanted) -> Result<Plan> {
        let mut plan = Plan { replace: wanted.replace, in_place: wanted.in_place, ..Plan::default() };
        for (index, entry) in prelude.entries.iter().enumerate() {
            let from = entry.namespace();
            if wanted.users_and_roles && is_account(entry) {
                continue;
            }
            if let Some(why) = not_restored(&entry.db, &entry.collection) {
                plan.skipped.push(format!("{from}: {why}"));
                continue;
            }
            if !wanted.collections.is_empty() && !wanted.collections.contains(&entry.collection) {
                continue;
            }
            let (db, collection) = wanted.renames.apply(&entry.db, &entry.collection)?;
            let mut described = metadata::parse(&entry.metadata).map_err(|why| {
                let message = format!("the options and indexes of {from} cannot be read");
                Failure::new(Exit::Backup, "restore.metadata", message).cause(why)
            })?;
            wanted.shape.apply(&mut described, entry.kind);
            plan.databases.entry(db.clone()).or_default();
            let way = Way::Add;
            plan.items.push(Item { index, from, db, collection, kind: entry.kind, described, way, exists: None });
        }
        plan.check_collections(prelude, wanted)?;
        plan.check_unique()?;
        Ok(plan)
    }

    fn check_collections(&self, prelude: &Prelude, wanted: &Wanted) -> Result<()> {
        let found = |name: &&String| self.items.iter().any(|item| item.from.ends_with(&format!(".{name}")));
        if let Some(missing) = wanted.collections.iter().find(|name| !found(name)) {
            let restored = prelude.entries.iter().filter(|one| not_restored(&one.db, &one.collection).is_none());
            let have: Vec<_> = restored.map(Entry::namespace).collect();
            let message = format!("the backup has no collection {missing:?}");
            let failure = Failure::new(Exit::Usage, "restore.collection", message);
            return Err(failure.hint(format!("it has: {}", have.join(", "))));
        }
        if self.items.is_empty() {
            let message = "there is nothing in this backup that could be restored";
            return Err(self.skipped.iter().fold(Failure::new(Exit::Backup, "restore.empty", message), Failure::cause));
        }
        Ok(())
    }

    fn check_unique(&self) -> Result<()> {
        let mut seen = BTreeSet::new();
        match self.items.iter().find(|item| !seen.insert(item.namespace())) {
            None => Ok(()),
            Some(twice) => {
                let message = format!("two collections of the backup would both become {}", twice.namespace());
                Err(Failure::new(Exit::Usage, "restore.twice", message)
                    .hint("--db takes a backup of one database; --ns-from/--ns-to give each its own name"))
            }
        }
    }

    /// Decides how each collection gets its name, by what is there.
    ///
    /// # Errors
    /// [`Exit::Usage`] where something of another kind is in a collection's place.
    pub fn place(&mut self) -> Result<()> {
        for item in &mut self.items {
            let present = self.databases.get(&item.db).and_then(|existing| existing.collections.get(&item.collection));
            item.exists = present.cloned();
            if !self.replace && present.is_some_and(|present| present.kind != item.kind) {
                let message = format!("{} is there and of another kind", item.namespace());
                return Err(Failure::new(Exit::Usage, "restore.kind", message)
                    .hint("--drop replaces it; --db and --ns-from/--ns-to restore alongside it"));
            }
            item.way = match item.kind {
                Kind::View => Way::Define,
                _ if self.in_place || (present.is_some() && !self.replace) => Way::Add,
                Kind::Collection if !item.collection.starts_with("system.") => Way::Rename,
                _ => Way::Copy,
            };
        }
        Ok(())
    }

    /// Whether all documents go where nobody sees them before the end.
    pub fn is_aside(&self) -> bool {
        self.items.iter().all(|item| item.way != Way::Add)
    }

    /// The databases in which there is something to lose.
    pub fn severe(&self) -> Vec<&str> {
        let severe = self.databases.iter().filter(|(_, existing)| existing.has_documents);
        severe.map(|(name, _)| name.as_str()).collect()
    }

    /// Collections of a database that the backup says nothing of; they stay.
    pub fn strangers(&self) -> Vec<String> {
        let ours = |db: &str, name: &str| self.items.iter().any(|item| item.db == db && item.collection == name);
        let pairs = self.databases.iter().flat_map(|(db, all)| all.collections.keys().map(move |name| (db, name)));
        pairs
            .filter(|(db, name)| !ours(db, name) && !name.starts_with(OWN_PREFIX))
            .map(|(db, name)| format!("{db}.{name}"))
            .collect()
    }

    /// One line for each collection.
    pub fn describe(&self) -> Vec<String> {
        let line = |item: &Item| {
            let name = if item.from == item.namespace() {
                item.from.clone()
            } else {
                format!("{} as {}", item.from, item.namespace())
            };
            let how = match (&item.way, &item.exists) {
                (_, None) => "is new".to_owned(),
                (Way::Add, Some(_)) => "is added to the one that is there".to_owned(),
                (Way::Define, Some(_)) if !self.replace => "is left as it is".to_owned(),
                (_, Some(present)) if present.kind == item.kind => "replaces the one that is there".to_owned(),
                (_, Some(present)) => format!("is a {}, and replaces the {} that is there", item.kind, present.kind),
            };
            format!("{name}: {how}")
        };
        self.items.iter().map(line).collect()
    }
}

/// Why a namespace of a backup is never restored.
fn not_restored(db: &str, collection: &str) -> Option<&'static str> {
    if db.is_empty() && collection == "oplog" {
        return Some("the oplog is not replayed");
    }
    if collection.starts_with("$admin.system.") {
        return Some("users and roles come back with --users-and-roles only");
    }
    if OWN_DATABASES.contains(&db) {
        return Some("it is the server's own");
    }
    survey::is_internal(collection).then_some("the server makes it itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prelude(names: &[(&str, &str, Kind)]) -> Prelude {
        let entry = |(db, collection, kind): &(&str, &str, Kind)| Entry {
            db: (*db).to_owned(),
            collection: (*collection).to_owned(),
            metadata: r#"{"indexes":[]}"#.to_owned(),
            kind: *kind,
            in_buckets: false,
        };
        Prelude {
            server_version: String::new(),
            tool_version: String::new(),
            concurrent_collections: 1,
            entries: names.iter().map(entry).collect(),
        }
    }

    fn present(kind: Kind) -> Present {
        Present { kind, options: Document::new() }
    }

    #[test]
    fn what_is_the_servers_own_is_left_alone() {
        let names = [
            ("admin", "system.version", Kind::Collection),
            ("shop", "$admin.system.users", Kind::Collection),
            ("", "oplog", Kind::Collection),
            ("shop", "system.views", Kind::Collection),
            ("shop", "system.js", Kind::Collection),
            ("shop", "a", Kind::Collection),
        ];
        let plan = Plan::make(&prelude(&names), &Wanted::default()).expect("a plan");
        let kept: Vec<_> = plan.items.iter().map(|item| item.collection.as_str()).collect();
        assert_eq!((kept, plan.skipped.len()), (vec!["system.js", "a"], 4));
    }

    #[test]
    fn collections_that_are_there_are_added_to_or_replaced() {
        let names = [("shop", "a", Kind::Collection), ("shop", "b", Kind::Collection), ("shop", "v", Kind::View)];
        for replace in [false, true] {
            let wanted = Wanted { replace, ..Wanted::default() };
            let mut plan = Plan::make(&prelude(&names), &wanted).expect("a plan");
            let shop = plan.databases.get_mut("shop").expect("shop");
            shop.collections.insert("a".to_owned(), present(Kind::Collection));
            shop.collections.insert("z".to_owned(), present(Kind::Collection));
            shop.has_documents = true;
            plan.place().expect("placed");
            let ways: Vec<_> = plan.items.iter().map(|item| item.way.clone()).collect();
            let first = if replace { Way::Rename } else { Way::Add };
            assert_eq!(ways, [first, Way::Rename, Way::Define]);
            assert_eq!(plan.is_aside(), replace);
            assert_eq!((plan.severe(), plan.strangers()), (vec!["shop"], vec!["shop.z".to_owned()]));
        }
    }

    #[test]
    fn another_kind_in_the_place_is_refused() {
        let mut plan = Plan::make(&prelude(&[("shop", "a", Kind::Collection)]), &Wanted::default()).expect("a plan");
        plan.databases.get_mut("shop").expect("shop").collections.insert("a".to_owned(), present(Kind::View));
        assert_eq!(plan.place().expect_err("a view").code, "restore.kind");
    }

    #[test]
    fn two_databases_do_not_fit_into_one() {
        let names = [("a", "x", Kind::Collection), ("b", "x", Kind::Collection)];
        let renames = Renames::new(&[], &[], Some("one")).expect("valid");
        let failure = Plan::make(&prelude(&names), &Wanted { renames, ..Wanted::default() }).expect_err("twice");
        assert_eq!(failure.code, "restore.twice");
    }
}
