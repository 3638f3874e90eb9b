//! What Git stores is not always what is checked out, or built: names that differ in
//! case, line endings, files kept elsewhere, ignore files.

use crate::repo::Repo;
use serde_json::json;

#[test]
fn a_rename_of_the_case_alone_is_two_paths() {
    let repo = Repo::shop();
    // As on a machine whose file system does not tell the two apart.
    repo.git(&["config", "core.ignorecase", "true"]);
    repo.git(&["mv", "-f", "web/src/index.js", "web/src/Index.js"]);
    repo.git(&["commit", "-q", "-m", "case"]);
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert_eq!(detected.reasons("web"), ["dockerfile-copy web/src/Index.js", "dockerfile-copy web/src/index.js"]);
    assert_eq!(detected.facts()["dirty"]["count"], 0);
}

#[test]
fn an_ignore_file_acts_by_what_it_lets_through() {
    let repo = Repo::shop();
    repo.change("web/.dockerignore", "**/*.md\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(detected.actions().is_empty(), "nothing of src is ignored: {:?}", detected.actions());
    repo.change("web/.dockerignore", "**/*.md\n# scripts\n**/*.js\n");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().reasons("web"), ["dockerignore web/.dockerignore"]);
    // Back to all of it, by the other ignore file.
    repo.change("web/Dockerfile.dockerignore", "docs\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.reasons("web"), ["dockerignore web/Dockerfile.dockerignore"]);
    repo.change("web/.dockerignore", "src\n");
    assert!(repo.detect(&["--base", "HEAD~1"]).done().actions().is_empty(), "nobody reads it any more");
}

#[test]
fn attributes_that_change_line_endings_act_on_who_takes_the_files() {
    let repo = Repo::shop();
    repo.change(".gitattributes", "*.js text eol=crlf\n*.png diff=exif\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.reasons("web"), ["git-attributes .gitattributes"]);
    assert_eq!(detected.actions(), ["web build"]);
    repo.change(".gitattributes", "*.js text eol=crlf\n*.png diff=other\n*.js linguist-vendored\n");
    assert!(repo.detect(&["--base", "HEAD~1"]).done().actions().is_empty());
    repo.change("api/.gitattributes", "/main.py -text\n");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["api build"]);
}

#[test]
fn attributes_of_files_that_no_image_holds_act_too() {
    let repo = Repo::shop();
    repo.change(".gitattributes", "*.env text eol=crlf\n");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().reasons("api"), ["git-attributes .gitattributes"]);
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["api recreate"]);
    repo.change("sites/.gitattributes", "* text eol=crlf\n");
    // A reload would read the text of before where one file is mounted alone.
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["proxy restart"]);
    repo.change("docs/.gitattributes", "* text eol=crlf\n");
    assert!(repo.detect(&["--base", "HEAD~1"]).done().actions().is_empty());
}

#[test]
fn line_endings_that_git_converts_are_no_uncommitted_change() {
    let repo = Repo::shop();
    repo.change(".gitattributes", "*.js text eol=crlf\n");
    repo.write("web/src/index.js", "1\r\n");
    assert_eq!(repo.detect(&["--base", "HEAD"]).done().facts()["dirty"]["count"], 0);
    repo.write("web/src/index.js", "2\r\n");
    assert_eq!(repo.detect(&["--base", "HEAD"]).done().facts()["dirty"]["files"], json!(["web/src/index.js"]));
}

#[test]
fn a_file_that_lfs_keeps_is_its_pointer() {
    let pointer =
        |oid: &str, size: usize| format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n");
    let repo = Repo::shop();
    // The SHA-256 of "abc".
    let oid = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    repo.change("web/src/model.bin", &pointer(oid, 3));
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["web build"]);
    repo.write("web/src/model.bin", "abc");
    assert_eq!(repo.detect(&["--base", "HEAD"]).done().facts()["dirty"]["count"], 0);
    repo.write("web/src/model.bin", "abd");
    assert_eq!(repo.detect(&["--base", "HEAD"]).done().facts()["dirty"]["count"], 1);
}

#[test]
fn a_mistake_in_an_inline_dockerfile_is_shown_in_the_compose_file() {
    let repo = Repo::shop();
    repo.change("docker-compose.yml", "services:\n  web:\n    build:\n      context: web\n      dockerfile_inline: |\n        FROM x\n        COPPY a b\n");
    std::fs::remove_file(repo.path().join("cm.toml")).expect("removed");
    repo.commit("no cm.toml");
    let detected = repo.detect(&["--base", "HEAD~2"]).done();
    assert_eq!(detected.reasons("web").last().map(String::as_str), Some("broken-build"));
    let wanted = "docker-compose.yml:7:9: unknown instruction \"COPPY\"\n";
    assert!(detected.stderr.contains(wanted), "{}", detected.stderr);
    assert!(detected.stderr.contains("7 |         COPPY a b") && detected.stderr.contains('^'), "{}", detected.stderr);
}

#[test]
fn a_compose_file_that_flags_name_is_read_at_both_commits() {
    let repo = Repo::shop();
    repo.change("other.yml", "services:\n  one: {build: web}\n");
    repo.change("docs/notes.md", "changed\n");
    let detected = repo.detect(&["--base", "HEAD~1", "--compose-file", "other.yml", "--repo", "."]);
    assert_eq!(detected.exit, 6, "cm.toml names services that it does not have: {}", detected.stderr);
    std::fs::remove_file(repo.path().join("cm.toml")).expect("removed");
    repo.commit("no cm.toml");
    let detected = repo.detect(&["--base", "HEAD~1", "--compose-file", "other.yml", "--repo", "."]).done();
    assert!(detected.actions().is_empty(), "{:?}", detected.actions());
}
