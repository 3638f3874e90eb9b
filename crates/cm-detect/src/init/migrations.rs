//! Where a repository has the migrations of its databases, by the names that frameworks give to their directories.

use super::files::SKIPPED;
use std::collections::BTreeSet;
use std::path::Path;

/// So many levels of directories of a repository are looked at.
const DEPTH: u32 = 7;

/// The globs of `[rollback] migrations`, relative to the repository.
pub fn of(repository: &Path) -> Vec<String> {
    let mut found = BTreeSet::new();
    walk(repository, "", DEPTH, &mut found);
    found.into_iter().collect()
}

fn walk(directory: &Path, path: &str, left: u32, found: &mut BTreeSet<String>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for name in directories.filter_map(|entry| entry.file_name().into_string().ok()) {
        let (below, at) = (directory.join(&name), cm_project::tree::join(path, &name));
        // A submodule's or another checkout's are not this repository's.
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) || below.join(".git").exists() {
            continue;
        }
        match name.as_str() {
            // Django and Flask have one in each application, Prisma, Knex, Laravel and many others one.
            "migrations" => drop(found.insert("**/migrations/**".to_owned())),
            // Rails.
            "migrate" if at.ends_with("db/migrate") => drop(found.insert(format!("{at}/**"))),
            // Alembic.
            "versions" if directory.join("env.py").is_file() => drop(found.insert(format!("{at}/**"))),
            _ if left > 1 => walk(&below, &at, left - 1, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_project::pattern::Patterns;

    fn globs(files: &[&str]) -> Vec<String> {
        let root = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, "").expect("a file");
        }
        of(root.path())
    }

    #[test]
    fn migrations_are_found_where_frameworks_keep_them() {
        for (files, wanted) in [
            (&["blog/migrations/0001_initial.py", "shop/migrations/0001_initial.py"][..], &["**/migrations/**"][..]),
            (&["db/migrate/2025_posts.rb", "app/models/post.rb"], &["db/migrate/**"]),
            (&["server/alembic/env.py", "server/alembic/versions/1a.py"], &["server/alembic/versions/**"]),
            (&["packages/db/prisma/migrations/1/migration.sql"], &["**/migrations/**"]),
            (&["docs/versions/1.md", "bin/migrate/x", "node_modules/x/migrations/1.js", "src/main.py"], &[]),
            (&["lib/.git", "lib/migrations/1.sql"], &[]),
        ] {
            let found = globs(files);
            assert_eq!(found, wanted, "{files:?}");
            let patterns = Patterns::of(found.iter().map(String::as_str));
            let is_matched =
                |file: &&&str| ["0001", "posts", "1a", "migration.sql"].iter().any(|word| file.contains(word));
            for file in files.iter().filter(|_| !wanted.is_empty()).filter(is_matched) {
                assert!(patterns.matches(file.as_bytes()), "{file}");
            }
        }
    }
}
