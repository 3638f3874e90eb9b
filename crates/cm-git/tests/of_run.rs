//! What a later program of a run takes for the project: the commit's compose files, whatever is checked out.

use cm_core::{CommonArgs, Document, Format};
use std::path::Path;
use std::process::Command;

fn git(at: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(at).args(["-c", "user.name=ada", "-c", "user.email=ada@example.org"]).args(arguments);
    let output = git.output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_commits_files_count_and_the_working_trees_where_there_is_no_commit() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    let write = |path: &str, text: &str| std::fs::write(root.join(path), text).expect("write");
    git(root, &["init", "-q", "-b", "main", "."]);
    write("cm.toml", "project = \"shop\"\n");
    write("compose.yml", "name: committed\nservices:\n  web: {image: a}\n");
    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "one"]);
    let commit = git(root, &["rev-parse", "HEAD"]);
    // Another branch, with a file of another name that Compose takes first.
    write("compose.yaml", "name: working\nservices:\n  other: {image: b}\n");
    let common = CommonArgs {
        directory: Some(root.to_owned()),
        config: None,
        dry_run: false,
        skip: Vec::new(),
        log: Format::Text,
        verbose: false,
        quiet: false,
    };
    let named = |commit: Option<&str>| {
        let mut doc = Document::start("cm-build", "ada", false);
        doc.set_target("shop", None, commit);
        let project = cm_git::of_run(&common, &doc).expect("a project");
        (project.compose.name.clone().unwrap_or_default(), project.compose.names().join(" "))
    };
    let (committed, working) = (("committed".to_owned(), "web".to_owned()), ("working".to_owned(), "other".to_owned()));
    assert_eq!(named(Some(&commit)), committed);
    assert_eq!(named(None), working);
    assert_eq!(named(Some("0123456789012345678901234567890123456789")), working, "a commit that this clone lacks");
    write("compose.yaml", "services: [\n");
    assert_eq!(named(Some(&commit)), committed, "a working tree that is being edited keeps nothing from going on");
}
