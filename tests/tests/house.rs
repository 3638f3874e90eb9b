//! The house: no two files of a crate import each other, on whatever way round. Where they do, what both need wants
//! a file of its own. No file is longer than one reads in a sitting, and no function than one sees at once. A file that only holds modules together (`lib.rs`, `mod.rs`) may be imported by those below
//! it. That no crates go round in a circle, cargo sees to.

use cm_testkit::repository;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module by its path in the crate: `preflight::checkout`; the root is empty.
type Module = Vec<String>;

#[test]
fn no_files_import_each_other() {
    let crates = std::fs::read_dir(repository().join("crates")).expect("crates");
    let mut circles = Vec::new();
    for directory in crates.map(|entry| entry.expect("an entry").path()) {
        let left = without_ends(imports(&modules(&directory.join("src"))));
        circles.extend(left.into_iter().map(|(from, to)| format!("{}: {from:?} -> {to:?}", directory.display())));
    }
    assert!(circles.is_empty(), "these files are in circles, or between two:\n{}", circles.join("\n"));
}

#[test]
fn no_file_is_longer_than_400_lines_without_its_tests() {
    let crates = std::fs::read_dir(repository().join("crates")).expect("crates");
    let mut long = Vec::new();
    for directory in crates.map(|entry| entry.expect("an entry").path()) {
        let lines = |text: &str| text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().lines().count();
        let files = modules(&directory.join("src")).into_iter().map(|(module, text)| (module.join("::"), lines(&text)));
        long.extend(files.filter(|(_, lines)| *lines > 400).map(|file| format!("{}: {file:?}", directory.display())));
    }
    assert!(long.is_empty(), "a part of these wants a file of its own:\n{}", long.join("\n"));
}

#[test]
fn no_function_is_longer_than_60_lines() {
    let crates = std::fs::read_dir(repository().join("crates")).expect("crates");
    let (mut long, mut seen) = (Vec::new(), 0);
    for directory in crates.map(|entry| entry.expect("an entry").path()) {
        for (module, text) in modules(&directory.join("src")) {
            let lengths = lengths(text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default());
            seen += lengths.len();
            let of_file = lengths.into_iter().filter(|(_, lines)| *lines > 60);
            long.extend(of_file.map(|found| format!("{}: {}: {found:?}", directory.display(), module.join("::"))));
        }
    }
    assert!(seen > 2_000, "{seen} functions were found");
    assert!(long.is_empty(), "a part of these wants a function of its own:\n{}", long.join("\n"));
}

#[test]
fn the_lines_of_a_function_are_those_of_its_body_that_say_something() {
    let text = "impl X {\n    pub(crate) async fn one(\n        &self,\n    ) -> u8 {\n        // Why.\n        let a = 1;\n\n        if a {\n        }\n    }\n}\n\n\
        fn two() {}\n\ntrait Y {\n    fn three(&self);\n}\n\nconst fn four() {\n    x\n}\n";
    let found = lengths(text);
    assert_eq!(found, [("one".to_owned(), 3), ("two".to_owned(), 0), ("three".to_owned(), 0), ("four".to_owned(), 1)]);
}

/// The functions of a formatted text and how many lines the body of each has, without blank ones and comments.
fn lengths(text: &str) -> Vec<(String, usize)> {
    let head = Regex::new(r"^( *)(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe) )*fn (\w+)").expect("valid");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(head) = head.captures(line) else { continue };
        let (end, deeper) = (format!("{}}}", &head[1]), format!("{}    ", &head[1]));
        // Arguments on lines of their own stand deeper; the line that closes them does not.
        let closes = |line: &&str| !line.starts_with(&deeper) && line.ends_with(['{', ';', '}']);
        let body = at + lines[at..].iter().position(closes).expect("a body") + 1;
        let says = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let is_open = lines[body - 1].ends_with('{');
        let count = lines[body..].iter().take_while(|line| is_open && **line != end).filter(says).count();
        found.push((head[2].to_owned(), count));
    }
    found
}

/// `grep -q` ends at the first match. Whoever writes to it then ends with a signal, and `pipefail` takes a yes for a no.
#[test]
fn no_script_takes_a_match_for_a_failure() {
    let reader = Regex::new(r"\|\s*grep\s+(?:-\w+\s+)*-\w*q").expect("valid");
    let (mut open, mut seen, mut wrong) = (vec![repository().join("scripts")], 0, Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let is_strict = text.lines().any(|line| line.starts_with("set ") && line.contains("pipefail"));
        seen += usize::from(is_strict);
        let lines = text.lines().filter(|line| is_strict && reader.is_match(line));
        wrong.extend(lines.map(|line| format!("{}: {line}", path.display())));
    }
    assert!(seen > 10, "{seen} scripts were found");
    assert!(wrong.is_empty(), "write `grep … >/dev/null`, or give it a string:\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_seen_also_through_what_is_exported_again() {
    let module = |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Module>();
    let file = |path: &str, text: &str| (module(path), text.to_owned());
    let mut files = BTreeMap::from([
        file("", "pub use b::{Other, Thing};"),
        file("a", "use crate::{Thing, x};"),
        file("b", "use super::c::d;"),
        file("c", "use crate::a;\n#[cfg(test)]\nuse crate::b;"),
    ]);
    assert_eq!(without_ends(imports(&files)).len(), 3, "a -> b -> c -> a");
    files.insert(module("c"), "use crate::root; // crate::a".to_owned());
    assert!(without_ends(imports(&files)).is_empty());
}

/// The files below `directory`, without their tests.
fn modules(directory: &Path) -> BTreeMap<Module, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(directory.join(&below)).expect("a directory") {
            let path = below.join(entry.expect("an entry").file_name());
            if directory.join(&path).is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(directory.join(&path)).expect("a file");
                let parts = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
                found.insert(strip(parts), text);
            }
        }
    }
    found
}

fn strip(mut parts: Module) -> Module {
    parts.pop_if(|last| ["lib", "mod", "main"].contains(&last.as_str()));
    parts
}

/// Which module imports which other one that is not above it.
fn imports(files: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let path = Regex::new(r"\b(crate|super(?:::super)*)::(\w+(?:::\w+)*)?(?:(?:::)?\{([^;]*?)\})?").expect("valid");
    let export = Regex::new(r"pub(?:\(crate\))? use (\w+(?:::\w+)*)::(?:\{([^;]*)\}|(\w+));").expect("valid");
    let exported: BTreeMap<(Module, String), Module> = files
        .iter()
        .flat_map(|(module, text)| export.captures_iter(text).map(move |found| (module, found)))
        .flat_map(|(module, found)| {
            let to = [module.clone(), found[1].split("::").map(str::to_owned).collect()].concat();
            let names = found.get(2).or(found.get(3)).map_or("", |names| names.as_str());
            let names = names.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
            names.into_iter().map(move |name| ((module.clone(), name), to.clone()))
        })
        .collect();
    let mut edges = BTreeSet::new();
    for (module, text) in files {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        for found in path.captures_iter(&code) {
            let up = if &found[1] == "crate" { module.len() } else { found[1].matches("super").count() };
            let root = &module[..module.len().saturating_sub(up)];
            let head = found.get(2).map_or("", |head| head.as_str()).split("::").filter(|part| !part.is_empty());
            let head: Module = root.iter().cloned().chain(head.map(str::to_owned)).collect();
            let tails = found.get(3).map_or("", |tails| tails.as_str()).split(',').map(|tail| tail.trim().split("::"));
            for tail in tails {
                let whole = head.iter().cloned().chain(tail.map(str::to_owned)).collect::<Module>();
                let to = resolve(&whole, files, &exported);
                if to != *module && !module.starts_with(&to) {
                    edges.insert((module.clone(), to));
                }
            }
        }
    }
    edges
}

/// The file that a path leads to.
fn resolve(path: &[String], files: &BTreeMap<Module, String>, exported: &BTreeMap<(Module, String), Module>) -> Module {
    let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length])).unwrap_or_default();
    let name = path.get(length).cloned().unwrap_or_default();
    let home = exported.get(&(path[..length].to_vec(), name)).filter(|home| files.contains_key(*home));
    home.cloned().unwrap_or_else(|| path[..length].to_vec())
}

/// The imports that are left once every module that imports nothing, or nothing that is left, is taken away.
fn without_ends(mut edges: BTreeSet<(Module, Module)>) -> BTreeSet<(Module, Module)> {
    loop {
        let before = edges.len();
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = edges.iter().cloned().unzip();
        edges.retain(|(start, end)| from.contains(end) && to.contains(start));
        if edges.len() == before {
            return edges;
        }
    }
}
