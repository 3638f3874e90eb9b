//! The values that variables of a compose file have, as far as the repository says
//! them: what is in its env files, replaced as Compose replaces it. Servers know more;
//! a value that refers to something unknown carries the names of what it lacks.

use crate::dotenv::{self, Assignment, Format, Raw};
use crate::source::Position;
use crate::template::{self, BadReference, Expanded};
use crate::tree::{self, Tree};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

/// The largest env file, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// So many of the names that a value lacks are kept: it is unknown with one.
const MAX_MISSING: usize = 100;

/// Values of variables.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Value>);

#[derive(Clone, Debug)]
struct Value {
    text: String,
    unknown: Vec<String>,
}

/// A line of an env file that Compose refuses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Where.
    pub at: Position,
    /// Why; never a value.
    pub why: String,
}

impl Variables {
    /// The value of `name`, as far as it is known.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.text.as_str())
    }

    /// The value of `name` and the variables that it lacks.
    pub fn open(&self, name: &str) -> Option<(&str, &[String])> {
        self.0.get(name).map(|value| (value.text.as_str(), value.unknown.as_slice()))
    }

    /// Sets `name` to what is known in whole.
    pub fn set(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), Value { text: text.to_owned(), unknown: Vec::new() });
    }

    /// Sets `name` to what a server has, or takes it away where that has none.
    pub fn put(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.set(name, text),
            None => drop(self.0.remove(name)),
        }
    }

    /// Adds what `other` has and these have not.
    pub fn add_missing(&mut self, other: Variables) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// Replaces the references in `text`. What only a server knows stays as it was
    /// written; the names in `missing` include those that a value itself lacks.
    ///
    /// # Errors
    /// As [`template::expand`].
    pub fn expand(&self, text: &str) -> Result<Expanded, BadReference> {
        Variables::expand_by(&[self], text)
    }

    /// The same with the values of several; the first that knows a name counts.
    fn expand_by(all: &[&Variables], text: &str) -> Result<Expanded, BadReference> {
        let lacking: RefCell<Vec<String>> = RefCell::default();
        let value = |name: &str| {
            all.iter().find_map(|variables| variables.0.get(name)).map(|value| {
                lacking.borrow_mut().extend(value.unknown.iter().cloned());
                value.text.clone()
            })
        };
        let mut expanded = template::expand(text, &value)?;
        expanded.missing.extend(lacking.into_inner());
        let mut known = HashSet::new();
        expanded.missing.retain(|name| known.insert(name.clone()));
        expanded.missing.truncate(MAX_MISSING);
        Ok(expanded)
    }

    /// The variables of `files`, of those that the repository has, later ones over earlier
    /// ones; values may refer to `outer`, which counts more. Also says what is refused.
    pub fn read(tree: &dyn Tree, files: &[String], outer: &Variables) -> (Self, Vec<Refused>) {
        let files: Vec<_> = files.iter().map(|file| (file.clone(), Format::Quoted)).collect();
        Variables::read_as(tree, &files, outer)
    }

    /// The same of files that may have another format.
    pub fn read_as(tree: &dyn Tree, files: &[(String, Format)], outer: &Variables) -> (Self, Vec<Refused>) {
        let (mut variables, mut refused, mut room) = (Variables::default(), Vec::new(), template::ROOM);
        for (file, format) in files {
            let Ok(Some(bytes)) = tree::read(tree, file) else { continue };
            let refuse = |line, why| Refused { at: Position { file: file.as_str().into(), line, column: 1 }, why };
            if bytes.len() > MAX_BYTES {
                let why = format!("the file is larger than {} MiB: none of it is read", MAX_BYTES >> 20);
                refused.push(refuse(1, why));
                continue;
            }
            let (assignments, mistake) = dotenv::parse(&String::from_utf8_lossy(&bytes), *format);
            for assignment in assignments {
                let line = assignment.line;
                refused.extend(variables.mistake(&assignment, outer).map(|why| refuse(line, why)));
                variables.assign(assignment, outer, &mut room);
            }
            refused.extend(mistake.map(|mistake| refuse(mistake.line, mistake.message)));
        }
        (variables, refused)
    }

    /// Why Compose refuses a value: a reference that it cannot read, or a variable that must have a value.
    fn mistake(&self, assignment: &Assignment, outer: &Variables) -> Option<String> {
        let Some(Raw::Expanded(text)) = &assignment.value else { return None };
        let has = |name: &str| [outer, self].iter().find_map(|all| all.get(name)).is_some_and(|text| !text.is_empty());
        match template::wanted(text, &has) {
            Err(bad) => Some(format!("the value of {}: {bad}", assignment.name)),
            Ok(wanted) => {
                let is_set = |name: &str| [outer, self].iter().any(|all| all.get(name).is_some());
                let mut required = wanted.into_iter().filter(|wanted| wanted.required);
                let missing = required.find(|wanted| !(wanted.may_be_empty && is_set(&wanted.name)))?;
                Some(format!("it wants a value of {}, which no file here gives it", missing.name))
            }
        }
    }

    fn assign(&mut self, assignment: Assignment, outer: &Variables, room: &mut usize) {
        let value = match assignment.value {
            None => outer.0.get(&assignment.name).cloned(),
            Some(Raw::Literal(text)) => Some(Value { text, unknown: Vec::new() }),
            Some(Raw::Expanded(text)) => {
                // What cannot be read is compared as it was written.
                let expanded = Variables::expand_by(&[outer, self], &text);
                let left = |expanded: &Expanded| room.checked_sub(expanded.text.len());
                let expanded = expanded.ok().filter(|expanded| left(expanded).is_some());
                let expanded = expanded.unwrap_or(Expanded { text, missing: Vec::new() });
                *room = room.saturating_sub(expanded.text.len());
                Some(Value { text: expanded.text, unknown: expanded.missing })
            }
        };
        if let Some(value) = value {
            self.0.insert(assignment.name, value);
        }
    }

    /// Every variable with its value, to compare: a sign of a variable that is text is another value than the variable.
    pub fn values(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| match value.unknown.as_slice() {
            [] => value.text.clone(),
            unknown => format!("{}\0{}", value.text, unknown.join(",")),
        };
        self.0.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Memory;

    fn read(text: &str, outer: &Variables) -> Variables {
        let (variables, refused) = Variables::read(&Memory::of(&[(".env", text)]), &[".env".to_owned()], outer);
        assert_eq!(refused, []);
        variables
    }

    #[test]
    fn values_refer_to_earlier_lines_and_to_what_is_outside() {
        let mut outer = Variables::default();
        outer.set("OUT", "o");
        outer.set("B", "outside");
        let found = read("A=1\nB=2\nV=${A}x$B\nW='$A'\nX=\"\\$A $OUT\"\nY=${NO:-d}\nOUT\nLATE=$Z\nZ=1\n", &outer);
        for (name, wanted) in [("V", "1xoutside"), ("W", "$A"), ("X", "$A o"), ("Y", "d"), ("OUT", "o"), ("LATE", "$Z")]
        {
            assert_eq!(found.get(name), Some(wanted), "{name}");
        }
    }

    #[test]
    fn what_a_value_lacks_is_lacking_where_it_is_used() {
        let found = read("V=${SECRET}x\nW=${V}y\n", &Variables::default());
        let expanded = found.expand("a-${W}").expect("valid");
        assert_eq!(
            (expanded.text.as_str(), expanded.missing.as_slice()),
            ("a-${SECRET}xy", &["SECRET".to_owned()][..])
        );
    }

    #[test]
    fn a_value_that_compose_cannot_make_is_named_with_its_line() {
        let mut outer = Variables::default();
        outer.set("OUT", "o");
        outer.set("EMPTY", "");
        for (text, wanted) in [
            ("A=1\nB=${X:?set it}\nX=1\n", Some((2, "it wants a value of X, which no file here gives it"))),
            ("A=${Y:-${X?}}\n", Some((1, "it wants a value of X, which no file here gives it"))),
            ("A=\"${EMPTY:?}\"\n", Some((1, "it wants a value of EMPTY, which no file here gives it"))),
            ("A=1\n\nB=${\n", Some((3, "the value of B: \"${\" is never closed"))),
            ("A=1\nB=${A:?}${OUT:?}${EMPTY?}'\nC='${X:?}'\nD=$\nE=$(x)\n", None),
        ] {
            let (_, refused) = Variables::read(&Memory::of(&[(".env", text)]), &[".env".to_owned()], &outer);
            let found = refused.first().map(|refused| (refused.at.line, refused.why.as_str()));
            assert_eq!(found, wanted, "{text:?}");
        }
    }

    #[test]
    fn a_refused_line_is_named_and_what_comes_before_it_counts() {
        let tree = Memory::of(&[("deploy/.env", "A=1\nB C=2\n")]);
        let (variables, refused) = Variables::read(&tree, &["deploy/.env".to_owned()], &Variables::default());
        assert_eq!(variables.get("A"), Some("1"));
        assert_eq!(refused[0].at.to_string(), "deploy/.env:2:1");
    }
}
