//! `.gitattributes`: a changed line can change what a file is on a server's disk while
//! the file in Git stays the same: line endings, filters, encodings.

use cm_git::CommitTree;
use cm_project::pattern::Patterns;
use cm_project::tree::{self, Tree};
use std::collections::BTreeSet;

/// The name of the file.
const FILE_NAME: &str = ".gitattributes";

/// The attributes that decide how a file is checked out.
const CONVERSIONS: [&str; 7] = ["text", "eol", "crlf", "binary", "filter", "ident", "working-tree-encoding"];

/// The files that a change of one `.gitattributes` may check out differently.
pub struct Conversion {
    directory: String,
    patterns: Patterns,
}

impl Conversion {
    /// What the change of `path` means, if it is such a file and a line of that kind changed.
    pub fn of(path: &[u8], before: &CommitTree, after: &CommitTree) -> Option<Self> {
        let path = std::str::from_utf8(path).ok()?;
        let directory = tree::parent(path);
        if tree::join(directory, FILE_NAME) != path {
            return None;
        }
        let (was, is) = (lines(before, path), lines(after, path));
        let differ = was.symmetric_difference(&is).filter_map(|line| line.split_once(char::is_whitespace));
        let patterns: Vec<String> = differ.map(|(pattern, _)| anywhere(pattern)).collect();
        let patterns_of = Patterns::of(patterns.iter().map(String::as_str));
        (!patterns.is_empty()).then(|| Conversion { directory: directory.to_owned(), patterns: patterns_of })
    }

    /// Whether the file `path` may be checked out differently.
    pub fn applies(&self, path: &[u8]) -> bool {
        let start = if self.directory.is_empty() { 0 } else { self.directory.len() + 1 };
        tree::is_within(path, &self.directory) && path.len() > start && self.patterns.matches(&path[start..])
    }
}

/// The lines that say something about how files are checked out.
fn lines(files: &CommitTree, path: &str) -> BTreeSet<String> {
    let text = files.content(path).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter(|line| line.split_whitespace().skip(1).any(converts)).map(str::to_owned).collect()
}

/// Whether an attribute such as `-text` or `eol=crlf` is one that converts.
fn converts(attribute: &str) -> bool {
    let name = attribute.trim_start_matches(['-', '!']);
    CONVERSIONS.contains(&name.split('=').next().unwrap_or(name))
}

/// A pattern without a slash means files of that name in every directory below.
fn anywhere(pattern: &str) -> String {
    let pattern = pattern.trim_matches('"');
    if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") }
}
