//! One value of an env file, read as Compose reads it: quotes, comments after
//! values, `export`, and references to earlier values.

use cm_project::template;
use secrecy::SecretString;
use std::collections::HashMap;

/// The value of `name` in an env file, or `None` if it is not there or empty.
///
/// # Errors
/// What is wrong with the value; never the value itself.
pub fn value(text: &str, name: &str) -> Result<Option<SecretString>, String> {
    let mut known: HashMap<String, String> = HashMap::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some((key, after)) = next_assignment(rest) {
        let (raw, tail) = raw_value(after);
        rest = tail;
        let read = match raw {
            Raw::Literal(text) => Ok(text),
            Raw::Expanded(text) => expand(&text, &known).map_err(|why| format!("the value of {key}: {why}")),
            Raw::Unclosed => Err(format!("the quote around the value of {key} is never closed")),
        };
        match read {
            Ok(read) => drop(known.insert(key, read)),
            // A mistake in another variable's value is not ours to judge.
            Err(why) if key == name => return Err(why),
            Err(_) => {}
        }
    }
    Ok(known.remove(name).filter(|value| !value.is_empty()).map(SecretString::from))
}

/// The name before the next `=`, and what follows it.
fn next_assignment(text: &str) -> Option<(String, &str)> {
    let mut rest = text;
    while !rest.is_empty() {
        let (line, tail) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim_start();
        let assignment = trimmed.strip_prefix("export ").unwrap_or(trimmed).trim_start();
        if let Some((name, _)) = assignment.split_once('=')
            && is_name(name.trim_end())
        {
            let offset = line.find('=').map_or(line.len(), |at| at + 1);
            return Some((name.trim_end().to_owned(), &rest[offset..]));
        }
        rest = tail;
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '_' || c == '.' || c == '-' || c.is_ascii_alphanumeric())
}

enum Raw {
    Literal(String),
    Expanded(String),
    Unclosed,
}

/// The value that `text` starts with, and what comes after it.
fn raw_value(text: &str) -> (Raw, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    if let Some(inside) = text.strip_prefix('\'') {
        return match inside.split_once('\'') {
            Some((value, rest)) => (Raw::Literal(value.to_owned()), rest),
            None => (Raw::Unclosed, ""),
        };
    }
    if let Some(inside) = text.strip_prefix('"') {
        return double_quoted(inside);
    }
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let comment = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    let value = if line.starts_with('#') { "" } else { line[..comment].trim_end() };
    (Raw::Expanded(value.to_owned()), rest)
}

fn double_quoted(inside: &str) -> (Raw, &str) {
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (Raw::Expanded(value), &inside[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, '$')) => value.push_str("$$"),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    (Raw::Unclosed, "")
}

/// References to what came before; an unknown variable is empty, as for Compose.
fn expand(text: &str, known: &HashMap<String, String>) -> Result<String, &'static str> {
    let value = |name: &str| Some(known.get(name).cloned().unwrap_or_default());
    template::expand(text, &value).map(|expanded| expanded.text).map_err(|bad| bad.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(text: &str) -> Option<String> {
        value(text, "URI").expect("readable").map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn values_are_read_as_compose_reads_them() {
        let cases = [
            ("URI=a", "a"),
            ("\u{feff}# URI=no\nexport URI = a b  # c\n", "a b"),
            ("URI='a $X # \"b'\n", "a $X # \"b"),
            ("URI=\"a\\nb \\\"c\\\" # d\" # e\n", "a\nb \"c\" # d"),
            ("PW=x\r\nURI=mongodb://u:${PW}@h/db\r\n", "mongodb://u:x@h/db"),
            ("URI=${NO:-d}$$e", "d$e"),
            ("URI=first\nURI=last\n", "last"),
            ("OTHER=\"a\nURI=inside\"\nURI=after", "after"),
            ("URI=mongodb://h/?a=b#c", "mongodb://h/?a=b#c"),
        ];
        for (text, want) in cases {
            assert_eq!(read(text).as_deref(), Some(want), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_or_empty_is_no_value() {
        for text in ["", "URI=", "URI=\"\"", "URIX=a", "# URI=a", "XURI=a", "URI= # nothing"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_without_the_value() {
        for text in ["URI=\"planted", "URI='planted", "URI=planted${"] {
            let why = value(text, "URI").expect_err(text);
            assert!(!why.contains("planted"), "{why}");
        }
        assert!(value("OTHER=a${\nURI=b", "URI").expect("not ours").is_some());
    }
}
