//! Names as people and other programs meet them: paths, short ids, branches.

use git2::Oid;

/// A path for people and documents: as it is, or quoted as Git quotes it where it is
/// not UTF-8 or holds control characters.
pub fn display(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '"') => text.to_owned(),
        _ => {
            let escaped = path.iter().map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b'\n' => "\\n".to_owned(),
                b'\t' => "\\t".to_owned(),
                0x20..=0x7e => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
    }
}

/// The first twelve digits of a commit's id, as people write it.
pub fn short(commit: Oid) -> String {
    commit.to_string()[..12].to_owned()
}

/// Whether Git takes `name` for a branch: its own rules, and nothing that another program could take for an
/// option or a shell for a command.
pub fn is_branch_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "/._-+@#=,".contains(c);
    let plain = !name.starts_with('-') && name.chars().all(allowed);
    plain && git2::Reference::is_valid_name(&format!("refs/heads/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_as_git_quotes_them() {
        assert_eq!(display("a/é.txt".as_bytes()), "a/é.txt");
        assert_eq!(display(b"caf\xe9"), "\"caf\\351\"");
        assert_eq!(display(b"a\nb\"c"), "\"a\\nb\\\"c\"");
    }

    #[test]
    fn names_that_could_be_something_else_are_none_of_branches() {
        for name in ["develop", "feature/x-1", "release_2.0", "größe"] {
            assert!(is_branch_name(name), "{name}");
        }
        for name in ["", "--upload-pack=x", "$(id)", "a b", "a;b", "a..b", "a`id`", "x.lock", "/a", "a\n"] {
            assert!(!is_branch_name(name), "{name}");
        }
    }
}
