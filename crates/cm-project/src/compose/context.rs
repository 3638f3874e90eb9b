//! Paths and build contexts as they are written in a compose file, and where they lead.
//! One that has variables which only a server knows leads to as much as it may mean.

use super::Context;
use crate::template;
use crate::tree::Place;
use crate::yaml::Node;

/// Whether a build context is fetched from somewhere else.
pub fn is_remote(text: &str) -> bool {
    let prefixes = ["git@", "github.com/", "service:"];
    text.contains("://") || prefixes.iter().any(|prefix| text.starts_with(prefix))
}

/// Where the build context `node`, written in `directory`, leads; `None` if it is no text.
pub fn context(node: &Node, directory: &str) -> Option<Context> {
    let text = node.text()?;
    if let Some(service) = text.strip_prefix("service:") {
        return Some(Context::Service(service.to_owned()));
    }
    if let Some(image) = text.strip_prefix("docker-image://") {
        return Some(Context::Image(image.to_owned()));
    }
    if is_remote(&text) {
        return Some(Context::Elsewhere(text));
    }
    let path = match guessed(node, &text) {
        Some(path) => path,
        None => return Some(Context::Unknown(directory.to_owned())),
    };
    let known = known_directory(node, path);
    Some(match (Place::at(directory, known), known.len() == path.len()) {
        (Place::Inside(path), true) => Context::Directory(path),
        (Place::Inside(path), false) => Context::Unknown(path),
        (Place::Outside(path), _) => Context::Elsewhere(path),
    })
}

/// Where the path `text` of `node`, written in `directory`, leads. References that only a
/// server can replace stay in it.
pub fn place(node: &Node, text: &str, directory: &str) -> Place {
    guessed(node, text).map_or_else(|| Place::Outside(text.to_owned()), |path| Place::at(directory, path))
}

/// The path without a first part of which nothing is known: people write the project's
/// directory there (`${ROOT}/app`). `None` if nothing else is left.
fn guessed<'a>(node: &Node, text: &'a str) -> Option<&'a str> {
    if !node.is_open() || !text.starts_with('$') {
        return Some(text);
    }
    let rest = &text[template::length(text)..];
    match rest.strip_prefix('/') {
        Some(rest) => (!rest.is_empty()).then_some(rest),
        None if rest.is_empty() => None,
        None => Some(text),
    }
}

/// The directories at the start of `path` in which everything is known.
fn known_directory<'a>(node: &Node, path: &'a str) -> &'a str {
    match path.find('$').filter(|_| node.is_open()) {
        Some(at) => path[..at].rfind('/').map_or(".", |slash| &path[..slash]),
        None => path,
    }
}

/// `text` cut at each `separator` that is not part of a reference.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(c) = text[at..].chars().next() {
        if c == '$' {
            at += template::length(&text[at..]);
            continue;
        }
        if c == separator {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        at += c.len_utf8();
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables::Variables;
    use crate::yaml;

    fn node(text: &str) -> Node {
        let mut node = yaml::parse(&"compose.yml".into(), &format!("'{text}'")).expect("valid").swap_remove(0);
        node.interpolate(&Variables::default(), &mut 1000).expect("valid");
        node
    }

    #[test]
    fn a_context_that_a_server_knows_is_as_much_as_it_may_be() {
        let directory = |path: &str| Context::Directory(path.to_owned());
        let unknown = |path: &str| Context::Unknown(path.to_owned());
        for (text, wanted) in [
            ("./app", directory("deploy/app")),
            ("${ROOT}/app", directory("deploy/app")),
            ("$ROOT/app/web", directory("deploy/app/web")),
            ("${CTX}", unknown("deploy")),
            ("apps/${NAME}/src", unknown("deploy/apps")),
            ("../${NAME}", unknown("")),
            ("https://example.org/${REPO}.git", Context::Elsewhere("https://example.org/${REPO}.git".to_owned())),
        ] {
            assert_eq!(context(&node(text), "deploy"), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_path_keeps_what_only_a_server_knows() {
        for (text, wanted) in [
            (".env.${STAGE}", Some("deploy/.env.${STAGE}")),
            ("./conf/${STAGE}/x", Some("deploy/conf/${STAGE}/x")),
            ("${CONF}/x", Some("deploy/x")),
            ("${CONF:?set it}/x", Some("deploy/x")),
            ("${FILE}", None),
        ] {
            let node = node(text);
            let found = place(&node, &node.text().expect("text"), "deploy");
            assert_eq!(found.inside(), wanted, "{text}");
        }
    }

    #[test]
    fn a_colon_in_a_reference_separates_nothing() {
        assert_eq!(split("${A:?b}/x:/y:ro", ':'), ["${A:?b}/x", "/y", "ro"]);
        assert_eq!(split("5$:b:$C:d", ':'), ["5$", "b", "$C", "d"]);
    }
}
