//! `${NAME}` in strings, as Compose and shells write it: `$NAME`, `${NAME}`,
//! `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`,
//! `${NAME:+other}`, `${NAME+other}`, `$$` for a dollar; defaults may nest. A dollar
//! that begins no reference is text, as it is for Compose.
//!
//! A value that is not known is not an error here: servers hold variables that the
//! machine of the reader does not, so the reference stays as it was written and the
//! result says which variables are missing.

use std::fmt;

/// A text after substitution.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expanded {
    /// The text; references to unknown variables stand in it as they were written.
    pub text: String,
    /// The variables that are not known and have no default.
    pub missing: Vec<String>,
}

/// What is wrong with a reference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadReference {
    /// The byte where it starts.
    pub offset: usize,
    /// Why it cannot be read.
    pub reason: &'static str,
}

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

/// A variable that a text needs and its reader does not have.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether the text cannot be used without it (`${NAME:?}`); otherwise the empty
    /// string stands in.
    pub required: bool,
    /// Whether an empty value is enough for it (`${NAME?}`).
    pub may_be_empty: bool,
}

/// The variables that `text` needs where `has` says which names have a value: those without a default, and those in a
/// default that is used. Compose looks into every default and message before it chooses, and refuses the file for a value
/// that is required there, used or not. Only names are asked for.
///
/// # Errors
/// As [`expand`].
pub fn wanted(text: &str, has: &dyn Fn(&str) -> bool) -> Result<Vec<Wanted>, BadReference> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar..];
        let offset = text.len() - rest.len();
        let (length, reference) = read(rest).map_err(|reason| BadReference { offset, reason })?;
        if let Some((name, operator)) = reference {
            let lacking = |required, may_be_empty| Wanted { name: name.to_owned(), required, may_be_empty };
            match (operator, has(name)) {
                (Operator::Plain, false) => all.push(lacking(false, true)),
                (Operator::Plain, true) => {}
                (Operator::Required { empty_too, text }, is_there) => {
                    all.extend(Some(lacking(true, !empty_too)).filter(|_| !is_there));
                    all.extend(required_in(text, has));
                }
                (Operator::Default { text, .. }, false) | (Operator::Other { text, .. }, true) => {
                    all.extend(wanted(text, has)?);
                }
                (Operator::Default { text, .. }, true) | (Operator::Other { text, .. }, false) => {
                    all.extend(required_in(text, has));
                }
            }
        }
        rest = &rest[length..];
    }
    Ok(all)
}

/// Of a text that is not used, what Compose refuses all the same.
fn required_in(text: &str, has: &dyn Fn(&str) -> bool) -> impl Iterator<Item = Wanted> {
    wanted(text, has).unwrap_or_default().into_iter().filter(|wanted| wanted.required)
}

/// Values add so many bytes to a text at most.
const MAX_ADDED: usize = 1 << 20;

/// All texts of a project with a reference, or all values of its env files, come to so many bytes at most.
pub const ROOM: usize = 64 << 20;

/// They come to more.
pub const NO_ROOM: BadReference = BadReference { offset: 0, reason: "the values come to more than 64 MiB" };

/// Replaces every reference in `text` by what `value` knows.
///
/// # Errors
/// For a `${` that is not closed, or holds something else than a reference.
pub fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, BadReference> {
    let mut out = Expanded::default();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.text.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let offset = text.len() - rest.len();
        let length = one(rest, value, &mut out).map_err(|reason| BadReference { offset, reason })?;
        if out.text.len() > text.len() + MAX_ADDED {
            return Err(BadReference { offset, reason: "its value is longer than 1 MiB" });
        }
        rest = &rest[length..];
    }
    out.text.push_str(rest);
    Ok(out)
}

/// Expands the reference that `rest` starts with; returns its length in bytes.
fn one(rest: &str, value: &dyn Fn(&str) -> Option<String>, out: &mut Expanded) -> Result<usize, &'static str> {
    let (length, reference) = read(rest)?;
    match reference {
        None => out.text.push('$'),
        Some((name, operator)) => operator.apply(name, &rest[..length], value, out)?,
    }
    Ok(length)
}

/// A variable's name and what follows it.
type Reference<'a> = (&'a str, Operator<'a>);

/// Reads the reference that `rest` starts with: its length in bytes, the name and what
/// follows it; no name for `$$` and for a dollar that is text.
fn read(rest: &str) -> Result<(usize, Option<Reference<'_>>), &'static str> {
    let after = &rest[1..];
    if after.starts_with('$') {
        return Ok((2, None));
    }
    if !after.starts_with('{') {
        let name = name_of(after);
        return Ok((1 + name.len(), (!name.is_empty()).then_some((name, Operator::Plain))));
    }
    let end = closing_brace(after)?;
    let inside = &after[1..end];
    let name = name_of(inside);
    if name.is_empty() {
        return Err("\"${\" is not followed by a variable's name");
    }
    let operator = Operator::parse(&inside[name.len()..]).ok_or("unknown operator after the variable's name")?;
    Ok((end + 2, Some((name, operator))))
}

/// How long the reference is that `text` starts with, or the dollar that begins none.
pub fn length(text: &str) -> usize {
    read(text).map_or(1, |(length, _)| length)
}

/// `text` with `by` in the place of each reference.
pub fn replaced(text: &str, by: char) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let length = length(&rest[at..]);
        out.push(if length > 1 { by } else { '$' });
        rest = &rest[at + length..];
    }
    out + rest
}

fn put(name: &str, whole: &str, value: Option<String>, out: &mut Expanded) {
    match value {
        Some(value) => out.text.push_str(&value),
        None => {
            out.text.push_str(whole);
            out.missing.push(name.to_owned());
        }
    }
}

/// The name at the start of `text`.
fn name_of(text: &str) -> &str {
    let more = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit());
    let end = text.char_indices().find(|at| !more(*at)).map_or(text.len(), |(i, _)| i);
    &text[..end]
}

/// Defaults in defaults; nobody writes more, and each is read by calling itself.
const MAX_DEPTH: usize = 64;

/// The `}` that closes the brace `text` starts with.
fn closing_brace(text: &str) -> Result<usize, &'static str> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if i == 0 || bytes[i - 1] == b'$' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        match depth {
            0 => return Ok(i),
            1..=MAX_DEPTH => {}
            _ => return Err("too many references in one another"),
        }
    }
    Err("\"${\" is never closed")
}

/// What follows the name inside the braces.
enum Operator<'a> {
    Plain,
    /// `-`: this text where the variable is not set (`:-`: or empty).
    Default {
        empty_too: bool,
        text: &'a str,
    },
    /// `?`: an error where it is not set.
    Required {
        empty_too: bool,
        text: &'a str,
    },
    /// `+`: this text where it is set.
    Other {
        empty_too: bool,
        text: &'a str,
    },
}

impl<'a> Operator<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.is_empty() {
            return Some(Operator::Plain);
        }
        let (empty_too, text) = text.strip_prefix(':').map_or((false, text), |rest| (true, rest));
        let mut chars = text.chars();
        let kind = chars.next()?;
        let text = chars.as_str();
        match kind {
            '-' => Some(Operator::Default { empty_too, text }),
            '?' => Some(Operator::Required { empty_too, text }),
            '+' => Some(Operator::Other { empty_too, text }),
            _ => None,
        }
    }

    fn apply(
        self,
        name: &str,
        whole: &str,
        value: &dyn Fn(&str) -> Option<String>,
        out: &mut Expanded,
    ) -> Result<(), &'static str> {
        let known = value(name);
        let usable = |empty_too: bool| known.clone().filter(|value| !(empty_too && value.is_empty()));
        let nested = |text: &str, out: &mut Expanded| -> Result<(), &'static str> {
            let inner = expand(text, value).map_err(|bad| bad.reason)?;
            out.text.push_str(&inner.text);
            out.missing.extend(inner.missing);
            Ok(())
        };
        match self {
            Operator::Plain => put(name, whole, known, out),
            Operator::Required { empty_too, .. } => put(name, whole, usable(empty_too), out),
            Operator::Default { empty_too, text } => match usable(empty_too) {
                Some(value) => out.text.push_str(&value),
                None => nested(text, out)?,
            },
            Operator::Other { empty_too, text } => match (usable(empty_too), known.is_some()) {
                (Some(_), _) => nested(text, out)?,
                (None, true) => {}
                // Whether the other text applies is decided where the variable is known.
                (None, false) => put(name, whole, None, out),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "USER" => Some("ada".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(input: &str) -> String {
        expand(input, &known).expect(input).text
    }

    #[test]
    fn every_form_is_expanded() {
        for (input, wanted) in [
            ("$USER@x", "ada@x"),
            ("${USER}s", "adas"),
            ("${EMPTY:-a}${EMPTY-b}", "a"),
            ("${NO:-${USER}/x}", "ada/x"),
            ("${NO:-${ALSO_NO:-deep}}!", "deep!"),
            ("${USER:+set}${EMPTY:+set}${EMPTY+there}", "setthere"),
            ("a$$b$${USER}", "a$b${USER}"),
            ("${NO:-{\"a\":1}}", "{\"a\":1}"),
            ("5$, $(date), s/\\r$//, $ $1 $", "5$, $(date), s/\\r$//, $ $1 $"),
            ("${NO:-$(x)}$$$USER$", "$(x)$ada$"),
        ] {
            assert_eq!(text(input), wanted, "{input}");
        }
    }

    #[test]
    fn what_is_not_known_stays_and_is_named() {
        let expanded = expand("${HOST}:${PORT:?set it}/$USER", &known).expect("valid");
        assert_eq!(expanded.text, "${HOST}:${PORT:?set it}/ada");
        assert_eq!(expanded.missing, ["HOST", "PORT"]);
    }

    #[test]
    fn what_is_wanted_depends_on_which_names_there_are() {
        let has = |name: &str| name == "USER" || name == "EMPTY";
        for (input, needed) in [
            ("$USER ${USER:?set it} $$NO ${NO:-x}${NO-x}${NO:+x}", &[][..]),
            ("$A ${B} ${C:?set it} ${D?}", &[("A", false), ("B", false), ("C", true), ("D", true)]),
            ("${NO:-${E}}${USER:-${F}}${USER:+${G:?}}${NO:+${H}}", &[("E", false), ("G", true)]),
            // Compose 2.26.1 and 2.40.3 refuse each of these.
            ("${USER:-${I:?}}${NO+a ${J?}}${USER:?${K:?}}", &[("I", true), ("J", true), ("K", true)]),
            ("${USER-${NO:-${L:?}}}${USER:-${USER:?}}${USER?${M}}", &[("L", true)]),
        ] {
            let found = wanted(input, &has).expect(input);
            let found: Vec<_> = found.iter().map(|wanted| (wanted.name.as_str(), wanted.required)).collect();
            assert_eq!(found, needed, "{input}");
        }
        assert_eq!(wanted("ab${", &has).expect_err("not closed").offset, 2);
    }

    #[test]
    fn references_are_replaced_by_one_character() {
        assert_eq!(replaced("a-${B:-${C}}/$D.$ 5$", '*'), "a-*/*.$ 5$");
    }

    #[test]
    fn values_that_grow_without_end_are_refused() {
        let long = |_: &str| Some("x".repeat(1 << 10));
        assert_eq!(expand(&"$A".repeat(1_000), &long).expect("short enough").text.len(), 1_000 << 10);
        assert!(expand(&"$A".repeat(1_000_000), &long).expect_err("too long").reason.contains("1 MiB"));
    }

    #[test]
    fn broken_references_say_where_and_why() {
        let deep = "${A:-".repeat(100_000) + &"}".repeat(100_000);
        for (input, offset) in [("a${USER", 1), ("${}", 0), ("${A*}", 0), ("5$ ${A:}", 3), (&deep, 0)] {
            assert_eq!(expand(input, &known).expect_err(input).offset, offset, "{input}");
        }
    }
}
