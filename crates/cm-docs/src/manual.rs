//! The manual: which pages there are, and where their text comes from.

use crate::{Files, program, reference, roff, schema};
use clap::Command;
use cm_core::codes;

/// The sections written by hand, by program.
const BY_HAND: [(&str, &str); 8] = [
    ("cm-lock", include_str!("pages/cm-lock.roff")),
    ("cm-detect", include_str!("pages/cm-detect.roff")),
    ("cm-backup", include_str!("pages/cm-backup.roff")),
    ("cm-build", include_str!("pages/cm-build.roff")),
    ("cm-health", include_str!("pages/cm-health.roff")),
    ("cm-verify", include_str!("pages/cm-verify.roff")),
    ("cm-rollback", include_str!("pages/cm-rollback.roff")),
    ("cm-record", include_str!("pages/cm-record.roff")),
];

/// Pages written by hand as a whole: name, section, text.
const WHOLE: [(&str, u8, &str); 5] = [
    ("cm", 7, include_str!("pages/cm.roff")),
    ("cm-errors", 7, include_str!("pages/cm-errors.roff")),
    ("cm-guide", 7, include_str!("pages/cm-guide.roff")),
    ("cm-document", 5, include_str!("pages/cm-document.roff")),
    ("cm.toml", 5, include_str!("pages/cm.toml.roff")),
];

/// Every page: its file name and its text.
pub fn pages(programs: &[Command]) -> Files {
    let mut pages = Files::new();
    for program in programs {
        let name = program.get_name();
        let by_hand = BY_HAND.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
        pages.insert(format!("{name}.1"), roff::wrapped(&program::page(program, by_hand)));
    }
    for (name, section, text) in WHOLE {
        pages.insert(format!("{name}.{section}"), roff::wrapped(&whole(name, section, text)));
    }
    pages
}

/// A page written by hand. A line `.GENERATED WHAT` stands for what is read off the
/// definitions: `exit-status`, `configuration`, `document`; the list of `codes`; what a server `needs`.
fn whole(name: &str, section: u8, text: &str) -> String {
    let generated = |what: &str| match what {
        "exit-status" => program::exit_status(),
        "configuration" => reference::configuration(&schema::configuration()),
        "codes" => codes::entries().map(|(code, text)| roff::entry(&roff::bold(code), text)).collect(),
        "needs" => needs(),
        "document" => reference::document(&schema::document()),
        other => format!("there is no list {other}\n"),
    };
    let line = |line: &str| match line.strip_prefix(".GENERATED ") {
        Some(what) => generated(what),
        None => format!("{line}\n"),
    };
    let body: String = text.lines().map(line).collect();
    format!("{}{body}", roff::title(name, section))
}

/// What the preflight looks for on a server, with the code of what it says.
fn needs() -> String {
    let needs = cm_health::preflight::needs::SUBJECTS.iter().filter_map(|subject| Some((subject.code, subject.need?)));
    needs.map(|(code, text)| roff::entry(&roff::bold(code), text)).collect()
}

#[cfg(test)]
mod tests {
    use cm_core::codes;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The words `"family.rest"` of a known family in the sources below `directory`, tests left out.
    fn find(directory: &Path, families: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                find(&path, families, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.is_empty();
                let is_code = |word: &&str| match word.split_once('.') {
                    Some((family, rest)) => families.contains(family) && is_word(rest) && !NO_CODES.contains(word),
                    None => false,
                };
                found.extend(text.split('"').filter(is_code).map(str::to_owned));
            }
        }
    }

    /// Words that look like codes: names of files, and of a field.
    const NO_CODES: [&str; 7] =
        ["cm.toml", "compose.yaml", "compose.yml", "compose.override", "lock.sh", "run.id", "run.actor"];

    #[test]
    fn no_code_is_without_an_entry_and_no_entry_without_a_code() {
        let page = include_str!("pages/cm-errors.roff");
        let terms = page.lines().filter_map(|line| line.strip_prefix(".B "));
        let families: BTreeSet<&str> = terms.flat_map(|line| line.split(", ")).collect();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(crates).expect("crates").flatten() {
            if entry.file_name() != "cm-docs" {
                find(&entry.path().join("src"), &families, &mut found);
            }
        }
        let known: Vec<&str> = codes::entries().map(|(code, _)| code).collect();
        assert!(known.is_sorted() && known.len() > 150, "one line a code, sorted");
        let known: BTreeSet<&str> = known.into_iter().filter(|code| code.contains('.')).collect();
        let missing: Vec<_> = found.iter().filter(|code| !known.contains(code.as_str())).collect();
        let old: Vec<_> = known.iter().filter(|code| !found.contains(**code)).collect();
        assert!(
            missing.is_empty() && old.is_empty(),
            "without an entry: {missing:?}; in no source: {old:?}. One line a code, with cause and cure, in crates/cm-document/src/codes.txt; then `make man`"
        );
    }

    /// The families of the codes in `Failure::new(Exit::…, "family.rest", …)`.
    fn families(directory: &Path, into: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                families(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let calls = text.split("Failure::new(Exit::").skip(1);
                let codes = calls.filter_map(|call| call.split_once(", \"")?.1.split('"').next());
                let is_code = |code: &&str| {
                    code.contains('.') && code.chars().all(|c| c.is_ascii_lowercase() || "-.".contains(c))
                };
                into.extend(codes.filter(is_code).filter_map(|code| code.split('.').next().map(str::to_owned)));
            }
        }
    }

    #[test]
    fn every_family_of_codes_has_an_entry() {
        let page = include_str!("pages/cm-errors.roff");
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = std::collections::BTreeSet::new();
        let all = std::fs::read_dir(crates).expect("crates").flatten();
        for entry in all.filter(|entry| entry.file_name() != "cm-docs") {
            families(&entry.path().join("src"), &mut found);
        }
        assert!(found.len() > 15, "codes are found: {found:?}");
        let terms = page.lines().filter_map(|line| line.strip_prefix(".B "));
        let known: Vec<&str> = terms.flat_map(|line| line.split(", ")).collect();
        let missing: Vec<_> = found.iter().filter(|family| !known.contains(&family.as_str())).collect();
        let tests_own = ["a", "b", "t", "x"];
        let missing: Vec<_> = missing.into_iter().filter(|family| !tests_own.contains(&family.as_str())).collect();
        assert!(
            missing.is_empty(),
            "no entry for {missing:?}: add one with cause and cure to crates/cm-docs/src/pages/cm-errors.roff, then `make man`"
        );
    }
}
