//! The manual: which pages there are, and where their text comes from.

use crate::{Files, program, reference, roff, schema};
use clap::Command;

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
const WHOLE: [(&str, u8, &str); 4] = [
    ("cm", 7, include_str!("pages/cm.roff")),
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
/// definitions: `exit-status`, `configuration`, or `document`.
fn whole(name: &str, section: u8, text: &str) -> String {
    let generated = |what: &str| match what {
        "exit-status" => program::exit_status(),
        "configuration" => reference::configuration(&schema::configuration()),
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
