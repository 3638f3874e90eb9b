//! How one compose file goes over another, and a service over the one it extends.
//! Mappings merge, lists append, scalars replace; some keys have rules of their own.
//! Lists whose entries have an identity (a port, a mount's target) keep the last
//! entry of each.

use crate::yaml::{Node, Yaml};

/// Keys whose list and mapping forms mean the same: `A=1` and `A: 1`.
const MAPPINGS: &[&[&str]] = &[
    &["services", "*", "annotations"],
    &["services", "*", "build", "additional_contexts"],
    &["services", "*", "build", "args"],
    &["services", "*", "build", "labels"],
    &["services", "*", "deploy", "labels"],
    &["services", "*", "environment"],
    &["services", "*", "labels"],
    &["services", "*", "sysctls"],
    &["networks", "*", "labels"],
    &["volumes", "*", "labels"],
];

/// Keys whose list form names the keys of a mapping.
const NAMES: &[&[&str]] =
    &[&["services", "*", "depends_on"], &["services", "*", "networks"], &["services", "*", "models"]];

/// Keys whose mapping form is a list of `NAME=ADDRESS`: a name may come several times.
const HOSTS: &[&[&str]] = &[&["services", "*", "extra_hosts"], &["services", "*", "build", "extra_hosts"]];

/// Keys that may be one string or a list.
const LISTS: &[&[&str]] = &[
    &["services", "*", "dns"],
    &["services", "*", "dns_search"],
    &["services", "*", "env_file"],
    &["services", "*", "label_file"],
    &["services", "*", "tmpfs"],
];

/// Keys of which the later file's value is the whole value.
const REPLACED: &[&[&str]] =
    &[&["services", "*", "command"], &["services", "*", "entrypoint"], &["services", "*", "healthcheck", "test"]];

fn is_one_of(path: &[&str], patterns: &[&[&str]]) -> bool {
    let same = |pattern: &&[&str]| {
        pattern.len() == path.len() && pattern.iter().zip(path).all(|(wanted, part)| *wanted == "*" || wanted == part)
    };
    patterns.iter().any(same)
}

/// `over` laid over `base`, at `path` of the document; `None` if it was reset.
pub fn merge(base: Node, over: Node, path: &[&str]) -> Option<Node> {
    match over.tag.as_deref() {
        Some("!reset") => return None,
        Some("!override") => return clean(over, path),
        _ => {}
    }
    if over.is_null() {
        return Some(base);
    }
    if is_one_of(path, REPLACED) || (path.len() == 3 && path[2] == "logging" && other_driver(&base, &over)) {
        return clean(over, path);
    }
    let (base, over) = (canonical(base, path), canonical(over, path));
    let tag = base.tag.clone();
    let place = over.at.clone();
    let value = match (base.value, over.value) {
        (Yaml::Map(below), Yaml::Map(above)) => Yaml::Map(merge_pairs(below, above, path)),
        (Yaml::List(mut below), Yaml::List(above)) => {
            below.extend(above);
            Yaml::List(below)
        }
        (_, above) => above,
    };
    clean(Node { value, tag, at: place, unknown: over.unknown, template: over.template }, path)
}

fn merge_pairs(mut below: Vec<(String, Node)>, above: Vec<(String, Node)>, path: &[&str]) -> Vec<(String, Node)> {
    for (key, node) in above {
        let path = [path, &[key.as_str()]].concat();
        match below.iter().position(|(known, _)| *known == key) {
            Some(i) => {
                let (key, base) = below.remove(i);
                if let Some(merged) = merge(base, node, &path) {
                    below.insert(i, (key.clone(), merged));
                }
            }
            None => below.extend(clean(node, &path).map(|node| (key.clone(), node))),
        }
    }
    below
}

fn other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::text);
    matches!((driver(base), driver(over)), (Some(a), Some(b)) if a != b)
}

/// A tree without what `!reset` takes out, in the form that merging and comparing
/// want, lists without what a later entry redefines. `None` if all of it is reset.
pub fn clean(node: Node, path: &[&str]) -> Option<Node> {
    if node.tag.as_deref() == Some("!reset") {
        return None;
    }
    let mut node = canonical(node, path);
    node.tag = None;
    node.value = match node.value {
        Yaml::Map(pairs) => Yaml::Map(
            pairs
                .into_iter()
                .filter_map(|(key, value)| {
                    let value = clean(value, &[path, &[key.as_str()]].concat())?;
                    Some((key, value))
                })
                .collect(),
        ),
        Yaml::List(items) => {
            let items = items.into_iter().filter_map(|item| clean(item, &[path, &["[]"]].concat())).collect();
            Yaml::List(without_redefined(items, path))
        }
        scalar => scalar,
    };
    Some(node)
}

/// The one form of a key that may be written in several.
fn canonical(mut node: Node, path: &[&str]) -> Node {
    let value = std::mem::replace(&mut node.value, Yaml::Null);
    node.value = match value {
        Yaml::Text(text) if is_build(path) => {
            let context = Node::new(Yaml::Text(text), &node);
            Yaml::Map(vec![("context".to_owned(), context)])
        }
        Yaml::List(items) if is_one_of(path, MAPPINGS) => Yaml::Map(items.into_iter().map(assignment).collect()),
        Yaml::List(items) if is_one_of(path, NAMES) => {
            let nothing = Node::new(Yaml::Null, &node);
            Yaml::Map(items.into_iter().filter_map(|item| Some((item.text()?, nothing.clone()))).collect())
        }
        Yaml::Map(pairs) if is_one_of(path, HOSTS) => Yaml::List(pairs.into_iter().flat_map(addresses).collect()),
        Yaml::Text(text) if is_one_of(path, LISTS) => Yaml::List(vec![Node::new(Yaml::Text(text), &node)]),
        other => other,
    };
    node
}

fn is_build(path: &[&str]) -> bool {
    is_one_of(path, &[&["services", "*", "build"]])
}

/// `KEY=value` as an entry of a mapping; without `=` the value is null.
fn assignment(item: Node) -> (String, Node) {
    // No assignment: it stays what it is, and Compose refuses it.
    let Some(text) = item.text() else { return (String::new(), item) };
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Node::new(Yaml::Text(value.to_owned()), &item)),
        None => (text, Node::new(Yaml::Null, &item)),
    }
}

/// The addresses of a name, each as `NAME=ADDRESS`; what is no text stays as it is, and Compose refuses it.
fn addresses((name, node): (String, Node)) -> Vec<Node> {
    let one = |address: &Node| match &address.value {
        Yaml::Text(text) => Node::new(Yaml::Text(format!("{name}={text}")), address),
        _ => address.clone(),
    };
    match &node.value {
        Yaml::List(items) => items.iter().map(one).collect(),
        _ => vec![one(&node)],
    }
}

/// A list without the entries that a later one of the same identity replaces; the
/// later one takes the earlier one's place.
fn without_redefined(items: Vec<Node>, path: &[&str]) -> Vec<Node> {
    let [first, _, key] = path else { return items };
    if *first != "services" {
        return items;
    }
    let mut kept: Vec<(String, Node)> = Vec::new();
    for item in items {
        let Some(identity) = identity(&item, key) else {
            kept.push((String::new(), item));
            continue;
        };
        match kept.iter_mut().find(|(known, _)| *known == identity) {
            Some((_, earlier)) => *earlier = item,
            None => kept.push((identity, item)),
        }
    }
    kept.into_iter().map(|(_, item)| item).collect()
}

/// What makes an entry of the service's list `key` the same entry as another.
fn identity(item: &Node, key: &str) -> Option<String> {
    let field = |name: &str| item.get(name).and_then(Node::text);
    let name = match key {
        "volumes" | "devices" => field("target").or_else(|| item.text().map(|text| mount_target(&text).to_owned())),
        "configs" | "secrets" => field("target").or_else(|| field("source")).or_else(|| item.text()),
        "env_file" | "label_file" => field("path").or_else(|| item.text()),
        "ports" => item.text().or_else(|| {
            let part = |name: &str, default: &str| field(name).unwrap_or_else(|| default.to_owned());
            let protocol = part("protocol", "tcp");
            Some(format!("{}:{}:{}/{protocol}", part("host_ip", ""), part("published", ""), part("target", "")))
        }),
        "cap_add" | "cap_drop" | "extra_hosts" | "dns" | "dns_opt" | "dns_search" | "expose" | "links" | "profiles"
        | "tmpfs" => item.text(),
        _ => None,
    };
    name.filter(|name| !name.is_empty())
}

/// The target in a mount's short form `[SOURCE:]TARGET[:OPTIONS]`.
pub fn mount_target(text: &str) -> &str {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    parts.next().unwrap_or(first)
}
