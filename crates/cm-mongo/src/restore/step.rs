//! One collection on its way to its name, as the journal of a restore keeps it: what was there,
//! what comes, and under which names both are meanwhile. From this alone, and from a look at the
//! server, a step is undone or finished by whoever comes next.

use bson::{Document, doc};
use cm_archive::Kind;
use std::sync::atomic::{AtomicBool, Ordering};

/// What has or gets a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A collection, which is renamed.
    Collection,
    /// A collection of the server's own, such as `system.js`, which is emptied and filled.
    Stored,
    /// A time series, which no server renames: it is copied.
    Series,
    /// A view, which has a definition only: the options of `create`.
    View(Document),
}

impl Form {
    /// The form of `name`.
    pub fn of(kind: Kind, name: &str, options: &Document) -> Form {
        match kind {
            Kind::View => Form::View(options.clone()),
            Kind::Timeseries => Form::Series,
            Kind::Collection if name.starts_with("system.") => Form::Stored,
            Kind::Collection => Form::Collection,
        }
    }

    /// Whether it is copied to and from another name, because it cannot be renamed.
    pub fn is_copied(&self) -> bool {
        matches!(self, Form::Stored | Form::Series)
    }

    fn as_str(&self) -> &'static str {
        match self {
            Form::Collection => "collection",
            Form::Stored => "stored",
            Form::Series => "timeseries",
            Form::View(_) => "view",
        }
    }

    fn to_document(&self) -> Document {
        match self {
            Form::View(options) => doc! {"form": self.as_str(), "options": options.clone()},
            _ => doc! {"form": self.as_str()},
        }
    }

    fn from_document(document: &Document) -> Option<Form> {
        match document.get_str("form").ok()? {
            "collection" => Some(Form::Collection),
            "stored" => Some(Form::Stored),
            "timeseries" => Some(Form::Series),
            "view" => Some(Form::View(document.get_document("options").ok()?.clone())),
            _ => None,
        }
    }
}

/// One step.
#[derive(Debug)]
pub struct Step {
    /// Its number in the journal.
    pub number: i32,
    /// The database.
    pub db: String,
    /// The name.
    pub name: String,
    /// What had the name, if anything had.
    pub was: Option<Form>,
    /// What gets it.
    pub comes: Form,
    /// Where what comes was filled; a view is not.
    pub filled: String,
    /// Where what had the name is, until all have theirs.
    pub old: String,
    /// Whether all of what had the name was copied to `old`, where it is copied.
    pub copied: AtomicBool,
}

impl Step {
    /// Whether what had the name is a view, or what gets it.
    pub fn has_view(&self) -> bool {
        self.forms().any(|form| matches!(form, Form::View(_)))
    }

    /// Whether all of it is renamed.
    pub fn is_renaming(&self) -> bool {
        self.forms().all(|form| *form == Form::Collection)
    }

    fn forms(&self) -> impl Iterator<Item = &Form> {
        self.was.iter().chain([&self.comes])
    }

    /// What was filled is called so once it is to get no name any more.
    pub fn withdrawn(&self) -> String {
        format!("{}.undone", self.filled)
    }

    /// As it stands in the journal.
    pub fn to_document(&self) -> Document {
        let mut document = doc! {
            "_id": self.number, "db": &self.db, "name": &self.name, "comes": self.comes.to_document(),
            "filled": &self.filled, "old": &self.old, "copied": self.copied.load(Ordering::Relaxed),
        };
        if let Some(was) = &self.was {
            document.insert("was", was.to_document());
        }
        document
    }

    /// What [`Step::to_document`] wrote.
    pub fn from_document(document: &Document) -> Option<Step> {
        let text = |key: &str| document.get_str(key).ok().map(str::to_owned);
        let was = match document.get_document("was") {
            Ok(was) => Some(Form::from_document(was)?),
            Err(_) => None,
        };
        Some(Step {
            number: document.get_i32("_id").ok()?,
            db: text("db")?,
            name: text("name")?,
            was,
            comes: Form::from_document(document.get_document("comes").ok()?)?,
            filled: text("filled")?,
            old: text("old")?,
            copied: document.get_bool("copied").ok()?.into(),
        })
    }

    /// `database.collection`.
    pub fn namespace(&self) -> String {
        format!("{}.{}", self.db, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_back_from_the_journal_as_it_went_in() {
        let view = Form::View(doc! {"viewOn": "a", "pipeline": [{"$match": {"x": 1}}]});
        for was in [None, Some(Form::Collection), Some(Form::Stored), Some(Form::Series), Some(view.clone())] {
            let step = Step {
                number: 7,
                db: "shop".to_owned(),
                name: "orders".to_owned(),
                was,
                comes: view.clone(),
                filled: "f".to_owned(),
                old: "o".to_owned(),
                copied: true.into(),
            };
            let back = Step::from_document(&step.to_document()).expect("a step");
            assert_eq!(back.to_document(), step.to_document());
        }
        assert!(Step::from_document(&doc! {"_id": 1}).is_none());
    }
}
