//! Names of images, stages and platforms in `FROM`, and digests, as BuildKit reads them: what it cannot read is refused
//! before anything is built.

/// Whether an image can be called that: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub fn is_image(text: &str) -> bool {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match rest[slash..].split_once(':') {
        Some((name, tag)) => (&rest[..slash + name.len()], Some(tag)),
        None => (rest, None),
    };
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase();
    let path = match path.split_once('/') {
        Some((first, rest)) if is_host(first) && is_address(first) => rest,
        _ => path,
    };
    path.split('/').all(is_component) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// `registry.example.org:5000`.
fn is_address(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, "0"),
    };
    let in_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |label: &str| !label.is_empty() && label.trim_matches('-') == label && label.chars().all(in_label);
    let is_literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some();
    let is_number = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    is_number && (is_literal || host.split('.').all(is_label))
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
pub fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between: Vec<&str> = text.split(is_word).filter(|part| !part.is_empty()).collect();
    let is_separator = |part: &&str| matches!(*part, "." | "_" | "__") || part.chars().all(|c| c == '-');
    text.starts_with(is_word) && text.ends_with(is_word) && between.iter().all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let in_tag = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.len() <= 128 && !text.starts_with(['.', '-']) && text.chars().all(in_tag)
}

/// `sha256:` and its hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// `OS[/ARCHITECTURE[/VARIANT]]`.
pub fn is_platform(text: &str) -> bool {
    let in_part = |c: char| c.is_ascii_alphanumeric() || "_.-()".contains(c);
    let is_part = |part: &str| !part.is_empty() && part.chars().all(in_part);
    text.is_empty() || (text.split('/').count() <= 3 && text.split('/').all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_registries_have_them() {
        let digest = format!("node@sha256:{}", "0".repeat(64));
        for name in
            ["node", "node:22", "a/b_c/d.e-f:x_1", "localhost:5000/a", "Reg.example/a:B", "[::1]:5000/a", &digest]
        {
            assert!(is_image(name), "{name}");
        }
        for name in [
            "a:b:c",
            "Node",
            "UPPER/Case",
            "http://x/y",
            "a@sha256:12",
            "a//b",
            "-a",
            "a:",
            "",
            "a b",
            "a..b/c",
            "x:1/",
        ] {
            assert!(!is_image(name), "{name}");
        }
        assert!(is_component("a__b--c.d") && !is_component("b-") && !is_component("a___b"));
        assert!(is_platform("linux/arm64/v8") && is_platform("") && !is_platform("a/b/c/d") && !is_platform("a//b"));
    }
}
