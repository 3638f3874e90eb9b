//! Where in a compose file a key of a service stands. Compose's own answer has no places, so they are looked for by
//! indentation; a file in another style than block style just gives none.

/// The line, counted from 1, of `key` of `service` in `text`, or of the service where the key is not in its block.
pub fn place(text: &str, service: &str, key: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let section = find(&lines, 0, None, "services")?;
    let start = find(&lines, section.0 + 1, Some(section.1), service)?;
    let own = find(&lines, start.0 + 1, Some(start.1), key.split('.').next().unwrap_or(key));
    Some(own.unwrap_or(start).0 + 1)
}

/// The first line from `from` on that begins with `key:` within the block that is indented by more than `outside`.
fn find(lines: &[&str], from: usize, outside: Option<usize>, key: &str) -> Option<(usize, usize)> {
    let mut level = None;
    for (number, line) in lines.iter().enumerate().skip(from) {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let depth = line.len() - text.len();
        if outside.is_some_and(|outside| depth <= outside) {
            return None;
        }
        if *level.get_or_insert(depth) == depth && names(text, key) {
            return Some((number, depth));
        }
    }
    None
}

fn names(text: &str, key: &str) -> bool {
    let bare = text.trim_start_matches(['"', '\'']);
    let rest = bare.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'']));
    rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "x-a: &a\n  privileged: true\nservices:\n  # the shop\n  web:\n    image: web\n    deploy:\n      mode: global\n    privileged: true\n\n  \"api\": {image: api, privileged: true}\nvolumes:\n  web: {}\n";

    #[test]
    fn a_key_is_found_in_the_block_of_its_service() {
        assert_eq!(place(TEXT, "web", "privileged"), Some(9));
        assert_eq!(place(TEXT, "web", "deploy.mode"), Some(7));
        assert_eq!(place(TEXT, "web", "restart"), Some(5), "the service itself, where the key comes from elsewhere");
        assert_eq!(place(TEXT, "api", "privileged"), Some(11));
        assert_eq!(place(TEXT, "db", "image"), None);
        assert_eq!(place("", "db", "image"), None);
    }
}
