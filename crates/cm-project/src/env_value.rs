//! One value of an env file that holds secrets: only what is asked for leaves it, and no message has any of it.

use crate::dotenv::{self, Format, Raw};
use crate::template;
use std::collections::HashMap;

/// The value of `name` in the text of an env file, read as Compose reads it; `None` if it is not there or empty. A
/// variable that an earlier line does not set is empty.
///
/// # Errors
/// What is wrong with the value, or with a line before it; never the value itself.
pub fn env_value(text: &str, name: &str) -> Result<Option<String>, String> {
    let (assignments, mistake) = dotenv::parse(text, Format::Quoted);
    let mut known: HashMap<String, String> = HashMap::new();
    for assignment in assignments {
        let read = match assignment.value {
            None => continue,
            Some(Raw::Literal(text)) => Ok(text),
            Some(Raw::Expanded(text)) => expand(&text, &known),
        };
        match read {
            Ok(read) => drop(known.insert(assignment.name, read)),
            // A mistake in another variable's value is not ours to judge.
            Err(why) if assignment.name == name => return Err(format!("the value of {name}: {why}")),
            Err(_) => {}
        }
    }
    match (known.remove(name), mistake) {
        (Some(value), _) => Ok(Some(value).filter(|value| !value.is_empty())),
        (None, Some(mistake)) => Err(format!("line {}: {}", mistake.line, mistake.message)),
        (None, None) => Ok(None),
    }
}

fn expand(text: &str, known: &HashMap<String, String>) -> Result<String, &'static str> {
    let value = |name: &str| Some(known.get(name).cloned().unwrap_or_default());
    template::expand(text, &value).map(|expanded| expanded.text).map_err(|bad| bad.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        env_value(text, "URI").expect("readable")
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
        for text in ["", "URI=", "URI=\"\"", "URIX=a", "# URI=a", "XURI=a"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_without_the_value() {
        for text in ["URI=\"planted", "URI='planted", "URI=planted${"] {
            let why = env_value(text, "URI").expect_err(text);
            assert!(!why.contains("planted"), "{why}");
        }
        assert!(env_value("OTHER=a${\nURI=b", "URI").expect("not ours").is_some());
    }
}
