//! How a scalar of a compose file has to be written to be what its key wants: a number, a size, a length of
//! time, one word of several. Compose casts text of files and variables alike, and refuses what it cannot cast.

use crate::yaml::{Node, Yaml};

/// Whether a scalar that is of the YAML kind of `kind` is written as that wants it; the kinds are those of the
/// table of objects. What only a server knows is right.
pub fn is_right(kind: &str, node: &Node) -> bool {
    if node.is_open() {
        return true;
    }
    let (Yaml::Text(text) | Yaml::Number(text)) = &node.value else { return true };
    match kind.chars().next() {
        Some('i') => is_whole(text),
        Some('u' | 'v') => is_whole(text) && !text.starts_with('-'),
        Some('w') => !text.starts_with('-'),
        Some('r') => is_whole(text) && is_within(&kind[1..], text),
        Some('p') => is_within(&kind[1..], text),
        Some('f') => text.parse::<f64>().is_ok(),
        Some('z') => matches!(node.value, Yaml::Number(_)) || is_size(text),
        Some('b') => boolean(text).is_some(),
        Some('q') => matches!(node.value, Yaml::Number(_)) || is_octal(text),
        Some('y') => is_size(text),
        Some('t') => is_time(text),
        Some('c') => is_container_name(text),
        Some('(') => kind.trim_matches(['(', ')']).split(',').any(|word| word == text),
        _ => true,
    }
}

impl Node {
    /// Whether the scalar reads as true.
    pub fn is_true(&self) -> bool {
        self.text().is_some_and(|text| boolean(&text) == Some(true))
    }

    /// Whether the scalar reads as false.
    pub fn is_false(&self) -> bool {
        self.text().is_some_and(|text| boolean(&text) == Some(false))
    }
}

/// Text that Compose reads as a boolean; `1` and `t`, which others take for one, it refuses.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Digits; those of YAML may be hexadecimal or octal.
fn is_whole(text: &str) -> bool {
    text.parse::<i64>().is_ok() || text.starts_with("0x") || text.starts_with("0o")
}

/// Whether it is a number from `LOW` to `HIGH`.
fn is_within(range: &str, text: &str) -> bool {
    let ends = range.split_once("..").and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    ends.is_some_and(|(low, high): (f64, f64)| text.parse().is_ok_and(|number: f64| (low..=high).contains(&number)))
}

/// A length of time as Compose reads it, with days and weeks: `10s`, `1h30m`, `-1.5d`, `0`.
pub fn is_time(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let whole = rest;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let end = number.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(number.len());
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "w"];
        if rest[..rest.len() - number.len()].parse::<f64>().is_err() || !units.contains(&&number[..end]) {
            return false;
        }
        rest = &number[end..];
    }
    !whole.is_empty()
}

/// The bytes of a size.
pub fn bytes(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').map_or(0, |at| at + 1);
    let unit = text[end..].trim_start();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let number = text[..end].parse::<f64>().ok().filter(|number| *number >= 0.0)?;
    Some(number * 1024_f64.powi(i32::try_from(power).ok()?))
}

/// `512m`, `1.5GiB`, `1024`.
pub fn is_size(text: &str) -> bool {
    bytes(text).is_some()
}

/// Digits of an octal number, without a prefix.
fn is_octal(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| ('0'..='7').contains(&c))
}

fn is_container_name(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Whether Compose takes it for the name of a service, a network, a volume, a config or a secret.
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether every quote of a command line has its end.
pub fn is_command_line(text: &str) -> bool {
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    quote.is_none() && !escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_words() {
        for (text, wanted) in [("True", Some(true)), ("y", Some(true)), ("OFF", Some(false)), ("n", Some(false))] {
            assert_eq!(boolean(text), wanted, "{text}");
        }
        for text in ["1", "0", "t", "f", "", "maybe", "yes "] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for text in ["512m", "1g", "1.5GiB", "1024", "64 MB", "0", "10b"] {
            assert!(is_size(text), "{text}");
        }
        for text in ["lots", "", "m", "-1", "5x", "1gg", "x5m"] {
            assert!(!is_size(text), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_have_days_and_a_sign() {
        for text in ["10s", "1h30m", "1w2d3h", "-1s", "+1.5d", ".5s", "1us", "1µs", "0", "-0", "1h1d"] {
            assert!(is_time(text), "{text}");
        }
        for text in ["", "-", "5", "1y", "--1s", "1 s", "s", "1.2.3s", "soon", "1s2"] {
            assert!(!is_time(text), "{text}");
        }
        assert_eq!((bytes("1g"), bytes("1024MB"), bytes("1073741824")), (bytes("1 GiB"), bytes("1g"), bytes("1G")));
    }

    #[test]
    fn a_command_line_has_an_end_to_every_quote() {
        for text in ["a 'b c' \"d\"", "it\\'s", "\"it's\"", "'a\"b'", ""] {
            assert!(is_command_line(text), "{text}");
        }
        for text in ["it's", "\"a", "a\\", "'\\'"] {
            assert_eq!(is_command_line(text), text == "'\\'", "{text}");
        }
    }

    #[test]
    fn modes_of_files_are_octal() {
        assert!(is_octal("0440") && !is_octal("288") && !is_octal("0o440") && !is_octal(""));
    }

    #[test]
    fn names_are_those_of_containers_and_keys() {
        assert!(is_container_name("shop-web.1") && !is_container_name("a") && !is_container_name("-a"));
        assert!(is_key("a") && is_key("a.b_c-1") && !is_key("a b") && !is_key("a/b"));
    }
}
