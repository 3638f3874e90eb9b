//! A directory that is sent as a build context: what its ignore file leaves of it, and
//! where the links in it lead.

use super::rule::PathRule;
use crate::pattern::{Patterns, Source};
use crate::tree::{self, Tree};
use std::rc::Rc;

/// A directory that is sent as a context, with its own ignore file.
pub struct Directory {
    /// The directory.
    pub path: String,
    /// Where its ignore file is, or would be.
    pub ignore_file: String,
    ignore: Rc<Patterns>,
    /// What Docker refuses in its ignore file.
    pub warnings: Vec<String>,
    /// Whether a build takes something from it.
    pub used: bool,
}

impl Directory {
    /// The directory `path` with the ignore file `ignore_file`.
    pub fn new(tree: &dyn Tree, path: &str, ignore_file: String) -> Self {
        let text = tree::read(tree, &ignore_file).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let refused = Patterns::refused(&text).into_iter();
        let warnings = refused
            .map(|(line, pattern)| format!("{ignore_file}:{line}: Docker refuses the pattern {pattern:?}"))
            .collect();
        Directory { path: path.to_owned(), ignore_file, ignore: Rc::new(Patterns::parse(&text)), warnings, used: false }
    }

    /// The rule `name` about `source` in it.
    pub fn rule(&self, name: &'static str, source: Source) -> PathRule {
        PathRule {
            name,
            root: self.path.clone(),
            source,
            include: None,
            exclude: Rc::default(),
            ignore: Rc::clone(&self.ignore),
        }
    }
}

/// The links on the way to `path` in the directory `root`, and where they lead. Inside
/// a build context no link leads out: the context is the root of everything.
pub fn links(tree: &dyn Tree, root: &str, path: &str) -> Vec<String> {
    let view = Below { tree, root };
    match tree::follow(&view, path) {
        Some((target, links)) if !links.is_empty() => [links, vec![target]].concat(),
        _ => Vec::new(),
    }
}

/// A directory of a tree as a tree of its own, whose links cannot leave it.
struct Below<'a> {
    tree: &'a dyn Tree,
    root: &'a str,
}

impl Tree for Below<'_> {
    fn kind(&self, path: &str) -> Option<tree::Kind> {
        self.tree.kind(&tree::join(self.root, path))
    }

    fn content(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        let content = self.tree.content(&tree::join(self.root, path))?;
        if self.kind(path) != Some(tree::Kind::Link) {
            return Ok(content);
        }
        Ok(content.map(|target| contained(tree::parent(path), &target)))
    }
}

/// The target of a link in `directory`, as seen from there, kept inside the root.
fn contained(directory: &str, target: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(target);
    let start = if text.starts_with('/') { String::new() } else { format!("/{directory}") };
    let whole = crate::pattern::clean(&format!("{start}/{text}"));
    let up = "../".repeat(directory.split('/').filter(|part| !part.is_empty()).count());
    format!("{up}{}", whole.trim_start_matches('/')).into_bytes()
}

/// A path as a source that means just it.
pub fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([c])).collect()
}
