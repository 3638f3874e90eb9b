//! Every code that an error can have, with what happened and what to do: the list of
//! cm-errors(7). An error that brings no hint of its own has the one of its code.

use crate::decapitalized;

const TEXT: &str = include_str!("codes.txt");

/// The codes, sorted, each with its entry: a sentence about what happened, then what to do.
pub fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "))
}

/// What to do about an error of this code, as a hint is written.
pub fn cure(code: &str) -> Option<String> {
    let (_, entry) = entries().find(|(known, _)| *known == code)?;
    let (_, cure) = entry.split_once(". ")?;
    Some(decapitalized(cure.strip_suffix('.').unwrap_or(cure)))
}

#[cfg(test)]
mod tests {
    use super::{cure, entries};

    #[test]
    fn the_cure_is_all_but_the_first_sentence() {
        assert_eq!(cure("engine.tag").as_deref(), Some("is it still there?"));
        assert_eq!(cure("config.no-host").expect("known").split_whitespace().next(), Some("add"));
        assert_eq!(cure("nothing.known"), None);
    }

    #[test]
    fn every_code_has_a_cure() {
        let without: Vec<_> = entries().map(|(code, _)| code).filter(|code| cure(code).is_none()).collect();
        assert!(without.is_empty(), "what to do about {without:?}? A second sentence in codes.txt says it");
    }
}
