//! Repositories as people and CI have them, with a bare repository as the remote: each works, or says in its own
//! words what is in the way.

use cm_core::{Exit, Failure};
use cm_git::{Oid, Relation, Repository, fetch, push, tip};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A bare remote and a clone of it with one commit on `main`.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Scene { dir: TempDir::new().expect("a temporary directory") };
        git(scene.dir.path(), &["init", "-q", "--bare", "-b", "main", "remote"]);
        git(scene.dir.path(), &["init", "-q", "-b", "main", "ada"]);
        git(&scene.at("ada"), &["remote", "add", "origin", "../remote"]);
        scene.commit("one");
        git(&scene.at("ada"), &["push", "-q", "origin", "main"]);
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Commits in the clone.
    fn commit(&self, message: &str) -> Oid {
        commit(&self.at("ada"), message)
    }

    /// A hook of the remote.
    fn hook(&self, name: &str, script: &str) {
        let hook = self.at("remote/hooks").join(name);
        std::fs::create_dir_all(self.at("remote/hooks")).expect("mkdir");
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).expect("write");
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn remote_tip(&self, branch: &str) -> String {
        git(&self.at("remote"), &["rev-parse", &format!("refs/heads/{branch}")])
    }
}

fn commit(at: &Path, message: &str) -> Oid {
    git(at, &["commit", "-q", "--allow-empty", "-m", message]);
    Oid::from_str(&git(at, &["rev-parse", "HEAD"])).expect("an ID")
}

fn git(at: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(at).args(["-c", "user.name=ada", "-c", "user.email=ada@example.org"]);
    let output = git.args(["-c", "protocol.file.allow=always"]).args(arguments).output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What there is to read of a failure: code, causes and hint.
fn told(failure: &Failure) -> (String, String, String) {
    (failure.code.clone(), failure.to_string(), failure.hint.clone().unwrap_or_default())
}

#[tokio::test]
async fn a_commit_is_pushed_to_a_branch_with_slashes_whatever_is_checked_out() {
    let scene = Scene::new();
    let commit = scene.commit("two");
    git(&scene.at("ada"), &["tag", "release/2"]);
    git(&scene.at("ada"), &["switch", "-q", "--detach"]);
    push(&scene.at("ada"), "origin", commit, "release/2").await.expect("pushed");
    assert_eq!(scene.remote_tip("release/2"), commit.to_string());
    assert_eq!(tip(&scene.at("ada"), "origin", "release/2").await, Ok(Some(commit)));
    assert_eq!(tip(&scene.at("ada"), "origin", "release").await, Ok(None));
    // A branch in the way of the name.
    let failure = push(&scene.at("ada"), "origin", commit, "release/2/hotfix").await.expect_err("below a branch");
    let (code, _, hint) = told(&failure);
    assert_eq!((code.as_str(), failure.exit), ("detect.push-refused", Exit::Detect));
    assert!(hint.contains("a branch cannot be named below another one"), "{failure} {hint}");
}

#[tokio::test]
async fn a_worktree_is_as_good_as_a_clone_and_one_that_lost_its_repository_says_so() {
    let scene = Scene::new();
    git(&scene.at("ada"), &["worktree", "add", "-q", "-b", "feature", "../tree"]);
    let commit = commit(&scene.at("tree"), "two");
    let repository = Repository::open(&scene.at("tree")).expect("a worktree");
    assert_eq!(repository.head().expect("a head").branch.as_deref(), Some("feature"));
    push(&scene.at("tree"), "origin", commit, "feature").await.expect("pushed");
    assert_eq!(scene.remote_tip("feature"), commit.to_string());
    std::fs::rename(scene.at("ada"), scene.at("moved")).expect("rename");
    let failure = Repository::discover(&scene.at("tree")).err().expect("lost");
    assert!(failure.hint.expect("a hint").contains("git worktree repair"), "{}", failure.message);
}

#[tokio::test]
async fn a_remote_with_another_name_is_used_and_one_that_is_not_there_names_the_others() {
    let scene = Scene::new();
    git(&scene.at("ada"), &["remote", "rename", "origin", "company"]);
    let commit = scene.commit("two");
    push(&scene.at("ada"), "company", commit, "main").await.expect("pushed");
    assert_eq!(scene.remote_tip("main"), commit.to_string());
    for failure in [
        push(&scene.at("ada"), "origin", commit, "main").await.expect_err("no such remote"),
        fetch(&scene.at("ada"), "origin").await.expect_err("no such remote"),
    ] {
        let (code, text, hint) = told(&failure);
        assert_eq!((code.as_str(), failure.exit), ("detect.no-remote", Exit::Detect));
        assert!(text.contains("\"origin\"") && hint.contains("remote = \"company\""), "{text} {hint}");
    }
    let repository = Repository::open(&scene.at("ada")).expect("a repository");
    assert_eq!(repository.remote("company").expect("a remote").url, "../remote");
}

#[tokio::test]
async fn a_push_url_that_differs_is_a_mirror_or_another_place() {
    let scene = Scene::new();
    git(scene.dir.path(), &["clone", "-q", "--bare", "remote", "inbox"]);
    git(&scene.at("ada"), &["remote", "set-url", "--push", "origin", "../inbox"]);
    // What comes in is handed on, a moment later.
    let hook = scene.at("inbox/hooks/post-receive");
    std::fs::create_dir_all(scene.at("inbox/hooks")).expect("mkdir");
    let hand_on = "#!/bin/sh\n(sleep 1; git push -q ../remote main) >/dev/null 2>&1 &\n";
    std::fs::write(&hook, hand_on).expect("write");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let commit = scene.commit("two");
    push(&scene.at("ada"), "origin", commit, "main").await.expect("it arrives");
    assert_eq!(scene.remote_tip("main"), commit.to_string());
    // Nobody hands it on any more.
    std::fs::remove_file(&hook).expect("remove");
    let commit = scene.commit("three");
    let failure = push(&scene.at("ada"), "origin", commit, "main").await.expect_err("it does not arrive");
    let (code, text, hint) = told(&failure);
    assert_eq!(code, "detect.push-mirror");
    assert!(text.contains("main is at") && hint.contains("git remote -v") && failure.retryable, "{text} {hint}");
}

#[tokio::test]
async fn what_the_remote_refuses_has_its_own_cure() {
    let scene = Scene::new();
    let push_main = async |commit| push(&scene.at("ada"), "origin", commit, "main").await.expect_err("refused");
    // Somebody else was first.
    git(scene.dir.path(), &["clone", "-q", "remote", "bob"]);
    commit(&scene.at("bob"), "two of bob");
    git(&scene.at("bob"), &["push", "-q", "origin", "main"]);
    let commit = scene.commit("two of ada");
    assert!(told(&push_main(commit).await).2.starts_with("git pull --rebase"));
    git(&scene.at("ada"), &["pull", "-q", "--rebase", "origin", "main"]);
    let commit = scene.commit("three");
    // A protected branch, by a hook that says what it likes.
    scene.hook("pre-receive", "echo 'main: by pull request only' >&2; exit 1");
    let (code, text, hint) = told(&push_main(commit).await);
    assert_eq!(code, "detect.push-refused");
    assert!(text.contains("by pull request only") && hint.contains("pull request"), "{text} {hint}");
    scene.hook("pre-receive", "exit 0");
    scene.hook("update", "echo 'Permission denied: not on Fridays' >&2; exit 1");
    assert!(told(&push_main(commit).await).2.contains("deploy with --no-push"));
    scene.hook("update", "exit 0");
    // Signed pushes, which this remote does not know.
    git(&scene.at("ada"), &["config", "push.gpgSign", "true"]);
    let (_, text, hint) = told(&push_main(commit).await);
    assert!(hint.contains("push.gpgSign"), "{text} {hint}");
    git(&scene.at("ada"), &["config", "--unset", "push.gpgSign"]);
    // Nobody there.
    git(&scene.at("ada"), &["remote", "set-url", "origin", "http://127.0.0.1:1/x.git"]);
    assert!(told(&push_main(commit).await).2.contains("git ls-remote origin"));
}

#[tokio::test]
async fn a_submodule_that_is_on_no_remote_is_not_pushed_past() {
    let scene = Scene::new();
    git(scene.dir.path(), &["init", "-q", "--bare", "-b", "main", "library"]);
    git(scene.dir.path(), &["init", "-q", "-b", "main", "maker"]);
    commit(&scene.at("maker"), "one");
    git(&scene.at("maker"), &["push", "-q", "../library", "main"]);
    git(&scene.at("ada"), &["submodule", "--quiet", "add", "../library", "vendor"]);
    let with_module = scene.commit("a submodule");
    push(&scene.at("ada"), "origin", with_module, "main").await.expect("the submodule is on its remote");
    commit(&scene.at("ada/vendor"), "only here");
    git(&scene.at("ada"), &["add", "vendor"]);
    let bumped = scene.commit("bumped");
    let failure = push(&scene.at("ada"), "origin", bumped, "main").await.expect_err("not on its remote");
    let (code, text, hint) = told(&failure);
    assert_eq!(code, "detect.push-refused");
    assert!(text.contains("vendor") && hint.starts_with("push the submodules"), "{text} {hint}");
    assert_eq!(scene.remote_tip("main"), with_module.to_string());
    git(&scene.at("ada/vendor"), &["push", "-q", "origin", "HEAD:main"]);
    git(&scene.at("ada"), &["config", "push.recurseSubmodules", "on-demand"]);
    push(&scene.at("ada"), "origin", bumped, "main").await.expect("both are on their remotes");
    assert_eq!(scene.remote_tip("main"), bumped.to_string());
}

#[test]
fn a_submodule_with_local_changes_is_seen_as_uncommitted() {
    let scene = Scene::new();
    git(scene.dir.path(), &["init", "-q", "-b", "main", "library"]);
    std::fs::write(scene.at("library/file"), "1\n").expect("write");
    git(&scene.at("library"), &["add", "file"]);
    commit(&scene.at("library"), "one");
    git(&scene.at("ada"), &["submodule", "--quiet", "add", "../library", "vendor"]);
    scene.commit("a submodule");
    let repository = Repository::open(&scene.at("ada")).expect("a repository");
    assert!(repository.uncommitted(true).expect("readable").is_empty());
    std::fs::write(scene.at("ada/vendor/file"), "2\n").expect("write");
    assert_eq!(repository.uncommitted(false).expect("readable"), [b"vendor".to_vec()]);
}

#[tokio::test]
async fn a_shallow_clone_of_ci_says_how_to_clone_it_whole() {
    let scene = Scene::new();
    let second = scene.commit("two");
    push(&scene.at("ada"), "origin", second, "main").await.expect("pushed");
    let url = format!("file://{}", scene.at("remote").display());
    git(scene.dir.path(), &["clone", "-q", "--depth", "1", &url, "ci"]);
    git(&scene.at("ci"), &["switch", "-q", "--detach"]);
    let repository = Repository::open(&scene.at("ci")).expect("a repository");
    let head = repository.head().expect("a head");
    assert_eq!((head.branch, head.commit, repository.is_shallow()), (None, second, true));
    let first = git(&scene.at("ada"), &["rev-parse", "HEAD~1"]);
    let failure = repository.commit(&first).expect_err("not in this clone");
    let hint = failure.hint.expect("a hint");
    assert!(hint.contains("fetch-depth: 0") && hint.contains("git fetch --unshallow"), "{hint}");
    // What it has can be told, and pushed under another name.
    assert_eq!(repository.remote_tip("origin", "main"), Some(second));
    assert_eq!(repository.relation(second, second), Relation::Before);
    push(&scene.at("ci"), "origin", second, "canary").await.expect("pushed");
    assert_eq!(scene.remote_tip("canary"), second.to_string());
}

#[tokio::test]
async fn a_stale_branch_in_the_way_of_a_fetch_is_named() {
    let scene = Scene::new();
    git(&scene.at("ada"), &["push", "-q", "origin", "main:release"]);
    git(&scene.at("ada"), &["fetch", "-q"]);
    let remote = scene.at("remote");
    git(&remote, &["branch", "-D", "release"]);
    git(&remote, &["branch", "release/2", "main"]);
    let failure = fetch(&scene.at("ada"), "origin").await.expect_err("in the way");
    let (code, text, hint) = told(&failure);
    assert_eq!((code.as_str(), failure.exit), ("detect.fetch", Exit::Unreachable));
    assert!(hint.contains("git remote prune origin"), "{text} {hint}");
    git(&scene.at("ada"), &["remote", "prune", "origin"]);
    fetch(&scene.at("ada"), "origin").await.expect("nothing is in the way");
}

#[test]
fn a_repository_of_a_kind_that_cannot_be_read_says_so() {
    let scene = Scene::new();
    for format in ["--object-format=sha256", "--ref-format=reftable"] {
        let name = format.trim_start_matches('-').split('=').next().unwrap_or_default();
        git(scene.dir.path(), &["init", "-q", format, name]);
        let failure = Repository::open(&scene.at(name)).err().expect("cannot be read");
        assert_eq!(failure.code, "detect.no-repository");
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("SHA-256")), "{format}: {failure}");
    }
}

#[test]
fn an_annotated_tag_is_its_commit_and_a_branch_of_the_same_name_is_another() {
    let scene = Scene::new();
    let repository = Repository::open(&scene.at("ada")).expect("a repository");
    let first = repository.head().expect("a head").commit;
    git(&scene.at("ada"), &["tag", "-a", "-m", "one", "v1"]);
    let second = scene.commit("two");
    git(&scene.at("ada"), &["branch", "v1"]);
    assert_eq!((repository.tag("v1"), repository.branch_tip("v1")), (Some(first), Some(second)));
    assert_eq!(repository.find("refs/tags/v1").expect("a revision"), Some(first));
}

#[test]
fn what_git_knows_is_told_also_where_its_index_is_of_a_newer_kind() {
    let scene = Scene::new();
    let at = scene.at("ada");
    for name in ["known/.env", "own"] {
        std::fs::create_dir_all(at.join("known")).expect("mkdir");
        std::fs::write(at.join(name), "A=1\n").expect("write");
    }
    git(&at, &["add", "-f", "known/.env"]);
    git(&at, &["commit", "-q", "-m", "known"]);
    let paths = ["known/.env".to_owned(), "own".to_owned()];
    assert_eq!(cm_git::tracked(&at, &paths), ["known/.env"]);
    git(&at, &["update-index", "--split-index"]);
    assert_eq!(cm_git::tracked(&at, &paths), ["known/.env"]);
    assert_eq!(cm_git::tracked(scene.dir.path(), &paths), paths, "no repository: all count");
}
