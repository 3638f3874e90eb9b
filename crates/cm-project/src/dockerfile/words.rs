//! Words of a Dockerfile: quotes, escapes and `$VARIABLE`s, as BuildKit's own lexer
//! treats them.

use crate::pattern::UNKNOWN;

/// What is known about a variable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// It has this value.
    Known(String),
    /// It may have any value: a base image or the server decides.
    Unknown,
    /// It is not set.
    Unset,
}

/// Variables add so many bytes to a word at most.
const MAX_ADDED: usize = 8 << 10;

/// `word` without its quotes and escapes, variables replaced. What cannot be known, or is longer than
/// anything, is one [`UNKNOWN`] character.
pub fn expand(word: &str, escape: char, value: &dyn Fn(&str) -> Value) -> String {
    let mut out = String::new();
    let mut chars = word.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match c {
            '\'' if quote.is_none() => quote = Some('\''),
            '"' if quote.is_none() => quote = Some('"'),
            c if quote == Some(c) => quote = None,
            '$' if quote != Some('\'') => {
                dollar(&mut chars, escape, value, &mut out);
                if out.len() > word.len() + MAX_ADDED {
                    return UNKNOWN.to_string();
                }
            }
            c if c == escape && quote.is_none() => out.extend(chars.next()),
            c if c == escape && quote == Some('"') => match chars.peek() {
                Some(next) if *next == '"' || *next == '$' || *next == escape => out.extend(chars.next()),
                _ => out.push(c),
            },
            c => out.push(c),
        }
    }
    out
}

/// `word` without its quotes and escapes; variables stay as they are written.
pub fn expand_kept(word: &str, escape: char) -> String {
    let mut out = String::new();
    let mut chars = word.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match c {
            c if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if c == escape && quote != Some('\'') => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Expands the variable after a `$`.
fn dollar(chars: &mut Chars, escape: char, value: &dyn Fn(&str) -> Value, out: &mut String) {
    if chars.next_if_eq(&'{').is_none() {
        match name(chars) {
            name if name.is_empty() => out.push('$'),
            name => put(&value(&name), out),
        }
        return;
    }
    let name = name(chars);
    let empty_too = chars.next_if_eq(&':').is_some();
    let operator = chars.next();
    if operator == Some('}') || operator.is_none() {
        return put(&value(&name), out);
    }
    let Some(inside) = inside(chars) else { return out.push(UNKNOWN) };
    let word = expand(&inside, escape, value);
    let known = value(&name);
    let usable = matches!(&known, Value::Known(text) if !(empty_too && text.is_empty()));
    match (operator, &known) {
        (_, Value::Unknown) => out.push(UNKNOWN),
        (Some('-'), _) if usable => put(&known, out),
        (Some('-'), _) => out.push_str(&word),
        (Some('+'), _) if usable => out.push_str(&word),
        (Some('+'), _) => {}
        (Some('?'), _) => put(&known, out),
        // `#`, `%` and `/` cut and replace: what is left could be anything.
        _ => out.push(UNKNOWN),
    }
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Known(text) => out.push_str(text),
        Value::Unknown => out.push(UNKNOWN),
        Value::Unset => {}
    }
}

/// A variable's name; digits and some signs name a shell's parameters, which nothing sets.
fn name(chars: &mut Chars) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(char::is_ascii_digit) {
        name.push(c);
    }
    if name.is_empty() {
        name.extend(chars.next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!')));
    }
    if !name.is_empty() {
        return name;
    }
    while let Some(c) =
        chars.next_if(|c| *c == '_' || c.is_ascii_alphabetic() || (!name.is_empty() && c.is_ascii_digit()))
    {
        name.push(c);
    }
    name
}

/// Variables in variables; nobody writes more, and each is read by calling itself.
const MAX_DEPTH: usize = 64;

/// The text up to the `}` that closes the variable; nothing of one that holds too many in one another.
fn inside(chars: &mut Chars) -> Option<String> {
    let (mut text, mut depth, mut deepest) = (String::new(), 0_usize, 0_usize);
    let mut before = ' ';
    for c in chars.by_ref() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        text.push(c);
        before = c;
    }
    (deepest < MAX_DEPTH).then_some(text)
}

/// What is wrong with a word that BuildKit expands, if anything is.
pub fn mistake(word: &str, escape: char) -> Option<&'static str> {
    let (mut quote, mut rest) = (None, word.chars());
    while let Some(c) = rest.next() {
        match c {
            c if c == escape && quote != Some('\'') => drop(rest.next()),
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            '$' if quote != Some('\'') && rest.as_str().starts_with('{') && !is_variable(&rest.as_str()[1..]) => {
                return Some("a variable cannot be read");
            }
            _ => {}
        }
    }
    quote.is_some().then_some("a quote has no end")
}

/// Whether what follows `${` is a name and something that can be done to it, up to a `}`.
fn is_variable(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    let name = name(&mut chars);
    let rest: String = chars.collect();
    let rest = match rest.strip_prefix(':') {
        Some(rest) if !rest.starts_with(['-', '+', '?']) => return false,
        Some(rest) => rest,
        None => &rest,
    };
    !name.is_empty() && rest.contains('}') && rest.starts_with(['}', '-', '+', '?', '#', '%', '/'])
}

/// Splits at white space that is neither quoted nor escaped; quotes stay.
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() && quote.is_none() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            c if c == escape && quote != Some('\'') => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Value {
        match name {
            "A" => Value::Known("a".to_owned()),
            "EMPTY" => Value::Known(String::new()),
            "WHO" => Value::Unknown,
            _ => Value::Unset,
        }
    }

    #[test]
    fn what_grows_without_end_is_not_known() {
        let long = |_: &str| Value::Known("x".repeat(1 << 10));
        assert_eq!(expand(&"$A".repeat(8), '\\', &long).len(), 8 << 10);
        assert_eq!(expand(&"$A".repeat(1_000_000), '\\', &long), "\0");
    }

    #[test]
    fn variables_quotes_and_escapes_are_read_as_buildkit_reads_them() {
        let deep = "${NO:-".repeat(100_000) + &"}".repeat(100_000);
        for (word, wanted) in [
            ("$A/x", "a/x"),
            ("${A}b", "ab"),
            ("'$A'", "$A"),
            ("\"$A b\"", "a b"),
            ("\\$A", "$A"),
            ("${NO:-d/${A}}e", "d/ae"),
            ("${EMPTY:-d}${EMPTY-d}", "d"),
            ("${A:+yes}${NO+yes}", "yes"),
            ("$NO.txt", ".txt"),
            ("x${WHO}y", "x\0y"),
            (deep.as_str(), "\0"),
            ("${A#x}", "\0"),
            ("a\\ b", "a b"),
            ("5$", "5$"),
            ("he$1x$12y$@z", "hexyz"),
            ("a$(b)", "a$(b)"),
        ] {
            assert_eq!(expand(word, '\\', &known), wanted, "{word}");
        }
    }

    #[test]
    fn words_end_at_plain_white_space() {
        assert_eq!(split("a \"b c\"  d\\ e 'f g'h", '\\'), ["a", "\"b c\"", "d\\ e", "'f g'h"]);
    }
}
