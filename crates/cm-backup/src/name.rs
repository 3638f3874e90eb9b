//! The names of backups: `PROJECT-DATABASE-20260504T093000.500000Z-COMMIT.archive.gz`.
//! They sort by time, and hold nothing a shell or a file system minds.

use jiff::Timestamp;

/// How much of a commit's id is in a name.
const COMMIT_LENGTH: usize = 12;

/// The longest a project's or database's part may be; `NAME_MAX` is 255 bytes.
const PART_LENGTH: usize = 80;

/// What all backups of one database of one project begin with.
pub fn prefix(project: Option<&str>, database: &str) -> String {
    let parts = project.into_iter().chain([database]).map(plain);
    parts.collect::<Vec<_>>().join("-")
}

/// The name of a backup made at `at` before `commit` is deployed.
pub fn file_name(prefix: &str, at: Timestamp, commit: Option<&str>, suffix: &str) -> String {
    // Microseconds, because many may back up in the same moment.
    let stamp = at.strftime("%Y%m%dT%H%M%S%.6fZ");
    let commit = commit.map(plain).unwrap_or_default();
    let commit: String = commit.chars().take(COMMIT_LENGTH).collect();
    let dash = if commit.is_empty() { "" } else { "-" };
    format!("{prefix}-{stamp}{dash}{commit}{suffix}")
}

fn plain(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-' { c } else { '_' };
    let name: String = text.chars().map(keep).take(PART_LENGTH).collect();
    name.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_when_and_before_which_commit() {
        let at: Timestamp = "2026-05-04T09:30:00.5Z".parse().expect("a time");
        let name = file_name(&prefix(Some("curateme"), "shop"), at, Some("0123456789abcdef"), ".archive.gz");
        assert_eq!(name, "curateme-shop-20260504T093000.500000Z-0123456789ab.archive.gz");
        assert_eq!(
            file_name(&prefix(None, "shop"), at, None, ".archive.gz"),
            "shop-20260504T093000.500000Z.archive.gz"
        );
    }

    #[test]
    fn odd_names_stay_in_their_directory() {
        assert_eq!(prefix(Some("../../etc"), "имя"), "_.._etc-___");
        assert!(prefix(Some(&"x".repeat(300)), &"y".repeat(300)).len() < 200);
    }
}
