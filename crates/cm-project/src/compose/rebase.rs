//! Paths of an included or extended file, rewritten so that they mean the same in the
//! directory of the file that brings it in.

use crate::tree;
use crate::yaml::{Node, Yaml};

/// The variable that holds the directory in which Compose runs.
pub const WORKING_DIRECTORY: &str = "PWD";

/// The way from the directory `from` to the directory `to` that is above it or the same; from anywhere else by the root.
pub fn up_from(from: &str, to: &str) -> String {
    let Some(rest) = from.strip_prefix(to).filter(|_| tree::is_within(from.as_bytes(), to)) else {
        let all = from.split('/').filter(|part| !part.is_empty()).count();
        return format!("{}{to}", "../".repeat(all));
    };
    let levels = rest.split('/').filter(|part| !part.is_empty()).count();
    std::iter::once(".").chain(std::iter::repeat_n("..", levels)).collect::<Vec<_>>().join("/")
}

/// Rewrites the paths of everything in `node`, written in the directory `from`, so that
/// they mean the same in the directory `to`.
pub fn rebase(node: &mut Node, from: &str, to: &str) {
    let Some(mut services) = node.take("services") else { return };
    if let Yaml::Map(pairs) = &mut services.value {
        pairs.iter_mut().for_each(|(_, service)| rebase_service(service, from, to));
    }
    node.set("services", services);
    for section in ["configs", "secrets"] {
        let Some(mut all) = node.take(section) else { continue };
        if let Yaml::Map(pairs) = &mut all.value {
            pairs.iter_mut().for_each(|(_, resource)| rebase_key(resource, "file", from, to));
        }
        node.set(section, all);
    }
}

pub fn rebase_service(service: &mut Node, from: &str, to: &str) {
    if from == to {
        return;
    }
    if let Some(mut build) = service.take("build") {
        if let Yaml::Text(_) = build.value {
            rebase_context(&mut build, from, to);
        } else {
            if build.get("context").is_none() {
                build.set("context", Node::new(Yaml::Text(".".to_owned()), &build.clone()));
            }
            with(&mut build, "context", |node| rebase_context(node, from, to));
            with(&mut build, "additional_contexts", |node| {
                each(node, &mut |entry| rebase_named_context(entry, from, to))
            });
        }
        service.set("build", build);
    }
    for key in ["env_file", "label_file"] {
        with(service, key, |node| match node.value {
            Yaml::Text(_) => rebase_text(node, from, to),
            _ => each(node, &mut |entry| match entry.value {
                Yaml::Text(_) => rebase_text(entry, from, to),
                _ => rebase_key(entry, "path", from, to),
            }),
        });
    }
    with(service, "volumes", |node| each(node, &mut |mount| rebase_mount(mount, from, to)));
    with(service, "extends", |node| rebase_key(node, "file", from, to));
}

/// Changes the value of `key` where there is one.
fn with(node: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Yaml::Map(pairs) = &mut node.value
        && let Some((_, value)) = pairs.iter_mut().find(|(known, _)| known == key)
    {
        change(value);
    }
}

fn each(node: &mut Node, change: &mut dyn FnMut(&mut Node)) {
    match &mut node.value {
        Yaml::List(items) => items.iter_mut().for_each(change),
        Yaml::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| change(value)),
        _ => {}
    }
}

fn rebase_key(node: &mut Node, key: &str, from: &str, to: &str) {
    with(node, key, |value| rebase_text(value, from, to));
}

fn rebase_text(node: &mut Node, from: &str, to: &str) {
    if let Yaml::Text(text) = &mut node.value {
        *text = rebased(text, from, to);
    }
}

fn rebase_context(node: &mut Node, from: &str, to: &str) {
    if node.text().is_some_and(|text| !super::is_remote(&text)) {
        rebase_text(node, from, to);
    }
}

/// An entry of `additional_contexts`, which may be `NAME=PATH`.
fn rebase_named_context(node: &mut Node, from: &str, to: &str) {
    let Yaml::Text(text) = &mut node.value else { return };
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (format!("{name}="), path.to_owned()),
        None => (String::new(), text.clone()),
    };
    if !super::is_remote(&path) {
        *text = format!("{name}{}", rebased(&path, from, to));
    }
}

fn rebase_mount(node: &mut Node, from: &str, to: &str) {
    if node.get("type").and_then(Node::text).as_deref() == Some("bind") {
        return rebase_key(node, "source", from, to);
    }
    if let Yaml::Text(text) = &mut node.value
        && let Some((source, rest)) = text.split_once(':')
        && source.starts_with('.')
    {
        *text = format!("{}:{rest}", rebased(source, from, to));
    }
}

/// The path `path` of the directory `from`, as it is written in the directory `to`.
fn rebased(path: &str, from: &str, to: &str) -> String {
    if path.starts_with(['/', '~']) || path.contains("${") {
        return path.to_owned();
    }
    let up = "../".repeat(to.split('/').filter(|part| !part.is_empty()).count());
    format!("./{up}{}", tree::join(from, path.trim_start_matches("./")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_meaning_in_another_directory() {
        assert_eq!(rebased("./a", "lib/x", ""), "./lib/x/a");
        assert_eq!(rebased("../a", "lib/x", "deploy"), "./../lib/x/../a");
        assert_eq!(rebased("/abs", "lib", ""), "/abs");
    }
}
