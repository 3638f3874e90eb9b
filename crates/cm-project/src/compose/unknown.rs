//! What of a service only a server can know: variables in the places that decide what a
//! change means. Detection takes more rather than less there, and says why.

use super::load::Loader;
use crate::yaml::Node;

/// Says which variables decide about the files and the build of `service`.
pub fn warn(service: &str, node: &Node, root: &Node, loader: &mut Loader) {
    let nothing: &[Node] = &[];
    let mut found: Vec<(&str, &Node)> = Vec::new();
    if let Some(build) = node.get("build") {
        found.extend(build.get("context").map(|context| ("its build context", context)));
        found.extend(build.get("dockerfile").map(|file| ("its Dockerfile", file)));
        found.extend(build.get("target").map(|target| ("the stage that is built", target)));
        let contexts = build.get("additional_contexts").map_or(&[][..], Node::pairs);
        found.extend(contexts.iter().map(|(_, context)| ("an additional build context", context)));
    }
    for (key, what) in [("env_file", "an env file"), ("label_file", "a label file")] {
        let files = node.get(key).map_or(nothing, Node::items).iter();
        found.extend(files.map(|file| (what, file.get("path").unwrap_or(file))));
    }
    let volumes = node.get("volumes").map_or(nothing, Node::items).iter();
    found.extend(volumes.map(|volume| ("a volume", volume.get("source").unwrap_or(volume))));
    for (section, what) in [("configs", "the file of a config"), ("secrets", "the file of a secret")] {
        let items = node.get(section).map_or(nothing, Node::items).iter();
        let names = items.filter_map(|item| item.get("source").unwrap_or(item).text());
        found.extend(names.filter_map(|name| Some((what, root.get(section)?.get(&name)?.get("file")?))));
    }
    for (what, at) in found {
        say(service, what, at, loader);
    }
}

fn say(service: &str, what: &str, node: &Node, loader: &mut Loader) {
    let mut names = node.unknown.clone();
    names.sort();
    names.dedup();
    if !names.is_empty() {
        let verb = if names.len() == 1 { "decides" } else { "decide" };
        let message =
            format!("{service}: {} {verb} about {what}, and only the server knows the value", names.join(", "));
        loader.warn(&node.at, Some(service), message);
    }
}
