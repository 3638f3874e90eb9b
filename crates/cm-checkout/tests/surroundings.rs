//! Other people's set-ups: submodules, content kept elsewhere, line ends, what is in the way. Each works, or is refused
//! before anything is done.

mod scene;

use cm_checkout::{Checkout, is_unmoved};
use cm_host::Host;
use scene::{checkout, commit, git, host, open, protected, read, scene, write};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Looks and moves; gives why not.
async fn bring(
    host: &Host,
    checkout: &Checkout<'_>,
    scene: &scene::Scene,
    commit: &str,
) -> Result<(), cm_core::Failure> {
    let state = checkout.prepare(Some("develop"), commit).await?;
    checkout.nothing_lost(&state)?;
    let snapshots = scene.server.with_file_name("snapshots");
    checkout.move_to(&open(host), commit, snapshots.to_str().expect("utf-8"), "run1").await.map(drop)
}

/// Everything that a deployment must not touch when it refuses.
fn all_of(directory: &Path) -> String {
    let status = git(directory, &["status", "--porcelain", "--ignored"]);
    format!("{}\n{status}", git(directory, &["rev-parse", "HEAD"]))
}

/// A repository next to the others, with one file; its path.
fn library(scene: &scene::Scene, name: &str, text: &str) -> PathBuf {
    let bare = scene.laptop.with_file_name(format!("{name}.git"));
    let work = scene.laptop.with_file_name(format!("{name}-work"));
    git(scene.laptop.parent().expect("parent"), &["init", "-q", "--bare", bare.to_str().expect("utf-8")]);
    git(
        scene.laptop.parent().expect("parent"),
        &["clone", "-q", bare.to_str().expect("utf-8"), work.to_str().expect("utf-8")],
    );
    write(&work, "lib.txt", text);
    commit(&work, "a library");
    work
}

fn add_module(repository: &Path, url: &str, path: &str) {
    git(repository, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, path]);
}

/// Takes a submodule to what its repository has now.
fn bump(repository: &Path, path: &str) {
    git(&repository.join(path), &["fetch", "-q"]);
    git(&repository.join(path), &["checkout", "-q", "origin/develop"]);
}

#[tokio::test]
async fn submodules_come_with_the_commit_nested_relative_and_moved() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    let (inner, outer) = (library(&scene, "inner", "inner one"), library(&scene, "outer", "outer one"));
    add_module(&outer, "../inner.git", "deep/inner");
    commit(&outer, "nested");
    add_module(&scene.laptop, "../outer.git", "vendor/outer");
    let first = commit(&scene.laptop, "a submodule");
    bring(&host, &checkout, &scene, &first).await.expect("the first");
    assert_eq!(read(&scene.server, "vendor/outer/lib.txt"), "outer one");
    assert_eq!(read(&scene.server, "vendor/outer/deep/inner/lib.txt"), "inner one");
    let status = git(&scene.server, &["submodule", "status", "--recursive"]);
    assert!(status.lines().count() == 2 && !status.lines().any(|line| line.starts_with(['-', '+', 'U'])), "{status}");

    // The next bump, of both.
    write(&inner, "lib.txt", "inner two");
    commit(&inner, "two");
    bump(&outer, "deep/inner");
    write(&outer, "lib.txt", "outer two");
    commit(&outer, "two");
    bump(&scene.laptop, "vendor/outer");
    let second = commit(&scene.laptop, "a bump");
    // Prepared, its repository may be away.
    let state = checkout.prepare(Some("develop"), &second).await.expect("prepared");
    assert_eq!(state.endangered, Vec::<String>::new());
    let away = scene.laptop.with_file_name("away.git");
    fs::rename(scene.laptop.with_file_name("inner.git"), &away).expect("rename");
    bring(&host, &checkout, &scene, &second).await.expect("the bump");
    assert_eq!(read(&scene.server, "vendor/outer/lib.txt"), "outer two");
    assert_eq!(read(&scene.server, "vendor/outer/deep/inner/lib.txt"), "inner two");
    bring(&host, &checkout, &scene, &first).await.expect("back");
    assert_eq!(read(&scene.server, "vendor/outer/deep/inner/lib.txt"), "inner one");

    // Another URL, and a commit that only it has.
    git(&outer, &["config", "-f", ".gitmodules", "submodule.deep/inner.url", "../away.git"]);
    git(&inner, &["remote", "set-url", "origin", away.to_str().expect("utf-8")]);
    write(&inner, "lib.txt", "inner three");
    commit(&inner, "three");
    git(&outer.join("deep/inner"), &["remote", "set-url", "origin", away.to_str().expect("utf-8")]);
    bump(&outer, "deep/inner");
    commit(&outer, "elsewhere");
    bump(&scene.laptop, "vendor/outer");
    let third = commit(&scene.laptop, "another URL");
    bring(&host, &checkout, &scene, &third).await.expect("another URL");
    assert_eq!(read(&scene.server, "vendor/outer/deep/inner/lib.txt"), "inner three");

    // Gone, its files are gone; what somebody keeps there stays. Vendored, they are the commit's.
    write(&scene.server, "vendor/outer/notes", "kept");
    git(&scene.laptop, &["rm", "-q", "vendor/outer"]);
    let gone = commit(&scene.laptop, "without");
    bring(&host, &checkout, &scene, &gone).await.expect("without");
    assert!(!scene.server.join("vendor/outer/lib.txt").exists() && !scene.server.join("vendor/outer/deep").exists());
    assert_eq!(read(&scene.server, "vendor/outer/notes"), "kept");
    bring(&host, &checkout, &scene, &third).await.expect("with it again");
    write(&scene.laptop, "vendor/outer/lib.txt", "vendored");
    let vendored = commit(&scene.laptop, "vendored");
    bring(&host, &checkout, &scene, &vendored).await.expect("vendored");
    assert_eq!(read(&scene.server, "vendor/outer/lib.txt"), "vendored");
    assert!(!scene.server.join("vendor/outer/.git").exists());
}

/// The repository of a submodule is kept by its name, which another one may have later.
#[tokio::test]
async fn a_submodule_that_comes_again_from_elsewhere_or_moves_is_the_commits() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    library(&scene, "one", "one");
    library(&scene, "two", "two");
    add_module(&scene.laptop, "../one.git", "lib");
    let first = commit(&scene.laptop, "one");
    bring(&host, &checkout, &scene, &first).await.expect("the first");
    git(&scene.laptop, &["rm", "-q", "-f", "lib"]);
    fs::remove_dir_all(scene.laptop.join(".git/modules/lib")).expect("removed");
    let gone = commit(&scene.laptop, "without");
    bring(&host, &checkout, &scene, &gone).await.expect("without");
    assert!(!scene.server.join("lib").exists());
    add_module(&scene.laptop, "../two.git", "lib");
    let again = commit(&scene.laptop, "two at the same place");
    bring(&host, &checkout, &scene, &again).await.expect("from elsewhere");
    assert_eq!(read(&scene.server, "lib/lib.txt"), "two");
    git(&scene.laptop, &["mv", "lib", "vendor"]);
    let moved = commit(&scene.laptop, "moved");
    bring(&host, &checkout, &scene, &moved).await.expect("moved");
    assert_eq!(read(&scene.server, "vendor/lib.txt"), "two");
    assert!(!scene.server.join("lib").exists());
    // Back at once to what has the other repository at the first place.
    bring(&host, &checkout, &scene, &first).await.expect("back");
    assert_eq!(read(&scene.server, "lib/lib.txt"), "one");
    assert_eq!(git(&scene.server, &["status", "--porcelain", "--untracked-files=no"]), "M Caddyfile");
}

#[tokio::test]
async fn a_submodule_that_cannot_be_fetched_or_was_edited_stops_everything_before() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    let library = library(&scene, "outer", "one");
    add_module(&scene.laptop, "../outer.git", "vendor/outer");
    let first = commit(&scene.laptop, "a submodule");
    let (there, away) = (scene.laptop.with_file_name("outer.git"), scene.laptop.with_file_name("away.git"));
    fs::rename(&there, &away).expect("rename");
    let before = all_of(&scene.server);
    let failure = bring(&host, &checkout, &scene, &first).await.expect_err("away");
    assert_eq!(failure.code, "checkout.submodule");
    assert!(failure.message.contains("vendor/outer: cannot be fetched from"), "{failure:?}");
    assert_eq!(all_of(&scene.server), before);
    fs::rename(&away, &there).expect("rename");
    bring(&host, &checkout, &scene, &first).await.expect("there again");

    write(&library, "lib.txt", "two");
    commit(&library, "two");
    bump(&scene.laptop, "vendor/outer");
    let second = commit(&scene.laptop, "a bump");
    write(&scene.server, "vendor/outer/lib.txt", "by hand");
    let failure = bring(&host, &checkout, &scene, &second).await.expect_err("edited");
    assert_eq!(
        (failure.code.as_str(), failure.causes.concat().as_str()),
        ("checkout.local-changes", "vendor/outer/lib.txt")
    );
    write(&scene.server, "vendor/outer/lib.txt", "one");

    // Its repository is lost between the look and the move: the checkout is moved back.
    checkout.prepare(Some("develop"), &second).await.expect("prepared");
    let objects = scene.server.join(".git/modules/vendor/outer");
    let aside = scene.server.with_file_name("module");
    fs::rename(&objects, &aside).expect("rename");
    fs::rename(&there, &away).expect("rename");
    let snapshots = scene.server.with_file_name("snapshots");
    let moved = checkout.move_to(&open(&host), &second, snapshots.to_str().expect("utf-8"), "run1").await;
    fs::rename(&aside, &objects).expect("rename");
    assert!(!is_unmoved(&moved.expect_err("lost")), "nobody could put it back");
    bring(&host, &checkout, &scene, &first).await.expect("put back");
    assert_eq!(read(&scene.server, "vendor/outer/lib.txt"), "one");

    // One that no .gitmodules knows.
    git(&scene.laptop, &["rm", "-q", "--cached", ".gitmodules"]);
    fs::remove_file(scene.laptop.join(".gitmodules")).expect("rm");
    let third = commit(&scene.laptop, "an orphan");
    let failure = bring(&host, &checkout, &scene, &third).await.expect_err("an orphan");
    assert_eq!(failure.code, "checkout.submodule");
    assert!(failure.message.contains("is in no .gitmodules"), "{failure:?}");
}

#[tokio::test]
async fn content_that_is_elsewhere_is_brought_or_refused() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, ".gitattributes", "# *.md filter=lfs\n*.bin filter=lfs diff=lfs -text\n");
    let none = commit(&scene.laptop, "rules without a file");
    bring(&host, &checkout, &scene, &none).await.expect("nothing is elsewhere");
    let before = all_of(&scene.server);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    write(&scene.laptop, "big.bin", pointer);
    git(&scene.laptop, &["-c", "filter.lfs.clean=cat", "add", "-A"]);
    let large = commit(&scene.laptop, "a large file");
    let failure = bring(&host, &checkout, &scene, &large).await.expect_err("it is nowhere");
    assert_eq!(failure.code, "checkout.content");
    assert!(failure.message.contains("big.bin"), "{failure:?}");
    write(&scene.laptop, ".gitattributes", "secret filter=git-crypt diff=git-crypt\n");
    fs::remove_file(scene.laptop.join("big.bin")).expect("rm");
    let locked = commit(&scene.laptop, "encrypted");
    let failure = bring(&host, &checkout, &scene, &locked).await.expect_err("locked");
    assert!(failure.code == "checkout.content" && failure.message.contains("git-crypt"), "{failure:?}");
    assert_eq!(all_of(&scene.server), before);
    git(&scene.server, &["config", "filter.git-crypt.smudge", "cat"]);
    bring(&host, &checkout, &scene, &locked).await.expect("unlocked");
}

/// The real git-lfs, whose content lies alongside the origin.
#[tokio::test]
async fn content_in_git_lfs_comes_with_the_commit() {
    let (scene, host) = (scene(), host().await);
    let version = std::process::Command::new("git").args(["lfs", "version"]).output().expect("git");
    assert!(version.status.success(), "git-lfs is missing; scripts/setup.sh --tests installs it");
    let checkout = checkout(&host, &scene);
    git(&scene.laptop, &["lfs", "install", "--local"]);
    write(&scene.laptop, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let mut commits = Vec::new();
    for text in ["one", "two", "three"] {
        write(&scene.laptop, "data/big one.bin", &text.repeat(10_000));
        commits.push(commit(&scene.laptop, text));
        assert!(git(&scene.laptop, &["show", "HEAD:data/big one.bin"]).starts_with("version https://git-lfs"));
    }
    for (commit, text) in commits.iter().zip(["one", "two"]) {
        bring(&host, &checkout, &scene, commit).await.expect("brought");
        assert_eq!(read(&scene.server, "data/big one.bin"), text.repeat(10_000));
        assert_eq!(
            git(&scene.server, &["-c", "filter.lfs.clean=git-lfs clean -- %f", "status", "--porcelain"]),
            "M Caddyfile\n?? .env.production"
        );
    }
    let origin = scene.server.with_file_name("origin.git");
    fs::rename(origin.join("lfs"), origin.join("away")).expect("moved away");
    let before = all_of(&scene.server);
    let failure = bring(&host, &checkout, &scene, &commits[2]).await.expect_err("its content is nowhere");
    assert_eq!(failure.code, "checkout.content");
    assert_eq!(all_of(&scene.server), before);
}

#[tokio::test]
async fn files_have_the_commits_bytes_whatever_git_is_set_to_there() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, "app/run.sh", "one\ntwo\n");
    write(&scene.laptop, "app/main.py", "two");
    let first = commit(&scene.laptop, "lines");
    git(&scene.server, &["config", "core.autocrlf", "true"]);
    bring(&host, &checkout, &scene, &first).await.expect("moved");
    assert_eq!(read(&scene.server, "app/run.sh"), "one\ntwo\n");
    // As a checkout that somebody cloned so has it, and Git takes it for clean.
    fs::remove_file(scene.server.join("app/run.sh")).expect("rm");
    git(&scene.server, &["restore", "app/run.sh"]);
    assert_eq!(read(&scene.server, "app/run.sh"), "one\r\ntwo\r\n");
    write(&scene.laptop, "app/main.py", "three");
    let second = commit(&scene.laptop, "something else");
    bring(&host, &checkout, &scene, &second).await.expect("moved");
    assert_eq!(read(&scene.server, "app/run.sh"), "one\ntwo\n");
}

/// Git writes a file by the attributes that are there then, and leaves alone what has no other content.
#[tokio::test]
async fn attributes_that_come_go_or_change_count_for_every_file() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    for file in ["a.txt", "sub/b.txt", "z.txt"] {
        write(&scene.laptop, file, "one\n");
    }
    let plain = commit(&scene.laptop, "files");
    write(&scene.laptop, ".gitattributes", "*.txt text eol=crlf\n");
    write(&scene.laptop, "z.txt", "two\n");
    let with = commit(&scene.laptop, "other line ends");
    write(&scene.laptop, ".gitattributes", "*.txt text eol=lf\nz.txt ident\n");
    let other = commit(&scene.laptop, "others again");
    fs::remove_file(scene.laptop.join(".gitattributes")).expect("rm");
    write(&scene.laptop, "sub/.gitattributes", "b.txt text eol=crlf\n");
    let below = commit(&scene.laptop, "in a directory");
    let wanted = [(&plain, ["\n"; 3]), (&with, ["\r\n"; 3]), (&other, ["\n"; 3]), (&below, ["\n", "\r\n", "\n"])];
    for (commit, ends) in wanted.iter().chain(&[wanted[1], wanted[3], wanted[0], wanted[1], wanted[0]]) {
        bring(&host, &checkout, &scene, commit).await.expect("moved");
        for (file, end) in ["a.txt", "sub/b.txt", "z.txt"].iter().zip(ends) {
            let text = read(&scene.server, file);
            assert_eq!(text.trim_start_matches(|c: char| c.is_alphabetic()), *end, "{file} of {commit}");
        }
        assert_eq!(git(&scene.server, &["status", "--porcelain", "--untracked-files=no"]), "M Caddyfile");
    }
}

#[tokio::test]
async fn what_is_in_the_way_is_found_before_anything_is_done() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, "app/main.py", "two");
    let target = commit(&scene.laptop, "second");
    let before = all_of(&scene.server);
    fs::write(scene.server.join(".git/index.lock"), "").expect("write");
    let failure = bring(&host, &checkout, &scene, &target).await.expect_err("locked");
    assert_eq!(failure.code, "checkout.blocked");
    assert!(failure.message.contains(".git/index.lock") && failure.hint.expect("hint").contains("pgrep"));
    let snapshots = scene.server.with_file_name("snapshots");
    let moved = checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await;
    assert!(is_unmoved(&moved.expect_err("locked")));
    fs::remove_file(scene.server.join(".git/index.lock")).expect("rm");
    assert_eq!(all_of(&scene.server), before);
    bring(&host, &checkout, &scene, &target).await.expect("free");
}

#[tokio::test]
async fn a_protected_file_does_not_go_with_its_directory() {
    let (scene, host) = (scene(), host().await);
    write(&scene.laptop, "conf/readme", "tracked");
    write(&scene.laptop, "other/readme", "tracked");
    let first = commit(&scene.laptop, "a directory");
    let path = scene.server.to_str().expect("utf-8");
    let own = ["Caddyfile", "conf/local/.env"].map(str::to_owned);
    let checkout = Checkout::new(&host, path, "origin", &own);
    write(&scene.server, "conf/local/.env", "SECRET=1");
    bring(&host, &checkout, &scene, &first).await.expect("a directory");
    fs::remove_dir_all(scene.laptop.join("conf")).expect("rm");
    std::os::unix::fs::symlink("other", scene.laptop.join("conf")).expect("link");
    let link = commit(&scene.laptop, "a link");
    fs::remove_file(scene.laptop.join("conf")).expect("rm");
    write(&scene.laptop, "conf", "a file");
    let file = commit(&scene.laptop, "a file");
    fs::remove_file(scene.laptop.join("conf")).expect("rm");
    write(&scene.laptop, "conf/local", "a file below");
    let below = commit(&scene.laptop, "a file below");
    for target in [link, file, below] {
        let failure = bring(&host, &checkout, &scene, &target).await.expect_err("it would go");
        assert_eq!(failure.code, "checkout.displaced", "{failure:?}");
        assert!(failure.message.contains("conf/local/.env"), "{failure:?}");
        assert_eq!(read(&scene.server, "conf/local/.env"), "SECRET=1");
    }
    fs::remove_dir_all(scene.laptop.join("conf")).expect("rm");
    let without = commit(&scene.laptop, "no such directory");
    bring(&host, &checkout, &scene, &without).await.expect("it is only emptied");
    assert_eq!(read(&scene.server, "conf/local/.env"), "SECRET=1");
}

/// Whatever a commit makes of the way to a protected file or of its place, and whoever moves the checkout, also without a look
/// before: the file stays what it is, or the move is refused.
#[tokio::test]
async fn no_commit_takes_a_protected_file_whatever_becomes_of_the_way_to_it() {
    let module = |scene: &scene::Scene, path: &str| {
        let url = library(scene, "lib", "[ ]").display().to_string();
        add_module(&scene.laptop, &url, path);
    };
    let removed = |scene: &scene::Scene, path: &str| {
        git(&scene.laptop, &["rm", "-rqf", "--", path]);
        let _gone = fs::remove_dir_all(scene.laptop.join(path));
    };
    let link = |scene: &scene::Scene, to: &str, path: &str| {
        std::os::unix::fs::symlink(to, scene.laptop.join(path)).expect("link");
    };
    type Make<'a> = &'a dyn Fn(&scene::Scene);
    let plain: Make<'_> = &|scene| {
        write(&scene.laptop, "a/b/c/readme", "tracked");
        write(&scene.laptop, "other/readme", "tracked");
    };
    let by_link: Make<'_> = &|scene| {
        write(&scene.laptop, "other/own", "tracked");
        write(&scene.laptop, "other/readme", "tracked");
        link(scene, "other", "a");
    };
    let in_module: Make<'_> = &|scene| module(scene, "a");
    let cases: [(&str, &str, Make<'_>, Make<'_>); 12] = [
        ("a/b/c/own", "the first directory is a file", plain, &|scene| {
            removed(scene, "a");
            write(&scene.laptop, "a", "a file");
        }),
        ("a/b/c/own", "the first directory is a link", plain, &|scene| {
            removed(scene, "a");
            link(scene, "other", "a");
        }),
        ("a/b/c/own", "a link that leads out", plain, &|scene| {
            removed(scene, "a/b");
            fs::create_dir_all(scene.laptop.join("a")).expect("mkdir");
            link(scene, "/tmp", "a/b");
        }),
        ("a/b/c/own", "a submodule in the middle", plain, &|scene| {
            removed(scene, "a/b");
            module(scene, "a/b");
        }),
        ("a/b/c/own", "the other case is a link", plain, &|scene| {
            git(&scene.laptop, &["mv", "a", "A"]);
            link(scene, "A/b", "a");
        }),
        ("a/b/c/own", "nothing of the directory is left", plain, &|scene| removed(scene, "a")),
        ("a/b/c/own", "the file is a directory", plain, &|scene| write(&scene.laptop, "a/b/c/own/x", "tracked")),
        ("a/b/c/own", "the file is a submodule", plain, &|scene| module(scene, "a/b/c/own")),
        ("a/own", "the link leads elsewhere", by_link, &|scene| {
            removed(scene, "a");
            link(scene, "app", "a");
        }),
        ("a/own", "what the link leads to changes", by_link, &|scene| write(&scene.laptop, "other/own", "changed")),
        ("a/own", "what the link leads to is a file", by_link, &|scene| {
            removed(scene, "other");
            write(&scene.laptop, "other", "a file");
        }),
        ("a/lib.txt", "the submodule that has it goes", in_module, &|scene| {
            removed(scene, "a");
            removed(scene, ".gitmodules");
            write(&scene.laptop, "a/readme", "tracked");
        }),
    ];
    for (own, what, first, then) in cases {
        let keeps = what.starts_with("the file is") || what.starts_with("nothing of");
        let (scene, host) = (scene(), host().await);
        first(&scene);
        let base = commit(&scene.laptop, "base");
        let path = scene.server.to_str().expect("utf-8");
        bring(&host, &Checkout::new(&host, path, "origin", &protected()), &scene, &base).await.expect(what);
        write(&scene.server, own, "SECRET=1");
        then(&scene);
        let target = commit(&scene.laptop, what);
        let own_files = ["Caddyfile", own].map(str::to_owned);
        let checkout = Checkout::new(&host, path, "origin", &own_files);
        let looked = bring(&host, &checkout, &scene, &target).await;
        assert_eq!(read(&scene.server, own), "SECRET=1", "{what}: {looked:?}");
        if keeps {
            looked.expect(what);
            continue;
        }
        let refused = looked.expect_err(what).code;
        assert!(["checkout.displaced", "checkout.local-changes"].contains(&refused.as_str()), "{what}: {refused}");
        let snapshots = scene.server.with_file_name("snapshots").display().to_string();
        let moved = checkout.move_to(&open(&host), &target, &snapshots, "run2").await.expect_err(what);
        assert!(is_unmoved(&moved), "{what}: {moved:?}");
        assert_eq!(read(&scene.server, own), "SECRET=1", "{what}: {moved:?}");
    }
}

#[tokio::test]
async fn only_what_would_be_lost_stops_and_is_called_what_it_is() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, "new/deep/file.txt", "new");
    write(&scene.laptop, "plain", "new");
    let target = commit(&scene.laptop, "new files");
    fs::set_permissions(scene.server.join("app/main.py"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(scene.server.join("plain/empty")).expect("mkdir");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepared");
    assert_eq!((state.endangered, state.modes), (Vec::new(), vec!["app/main.py".to_owned()]));
    write(&scene.server, "plain/empty/notes", "mine");
    write(&scene.server, "new", "mine");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepared");
    assert_eq!(state.untracked, ["new", "plain/empty/notes"]);
    let failure = checkout.nothing_lost(&state).expect_err("lost");
    assert!(failure.message.contains("not in Git, in the way of the commit's files"), "{failure:?}");
    fs::remove_file(scene.server.join("new")).expect("rm");
    fs::remove_file(scene.server.join("plain/empty/notes")).expect("rm");
    bring(&host, &checkout, &scene, &target).await.expect("nothing is lost");
    assert_eq!(fs::metadata(scene.server.join("app/main.py")).expect("stat").permissions().mode() & 0o777, 0o644);
    // A directory of the repository becomes a file: what somebody keeps in it is in the way.
    fs::remove_dir_all(scene.laptop.join("new")).expect("rm");
    write(&scene.laptop, "new", "a file now");
    let target = commit(&scene.laptop, "a file");
    write(&scene.server, "new/deep/upload.jpg", "mine");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepared");
    assert_eq!(state.untracked, ["new/deep/upload.jpg"]);
}

#[tokio::test]
async fn a_fetch_that_fails_says_why_and_a_branch_that_is_gone_is_in_nobodys_way() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    // `release` was there; now `release/2` is.
    git(&scene.laptop, &["push", "-q", "origin", "HEAD:refs/heads/release"]);
    git(&scene.server, &["fetch", "-q"]);
    git(&scene.laptop, &["push", "-q", "origin", ":refs/heads/release"]);
    write(&scene.laptop, "app/main.py", "two");
    git(&scene.laptop, &["commit", "-qam", "second"]);
    git(&scene.laptop, &["push", "-q", "origin", "HEAD:refs/heads/release/2"]);
    let target = git(&scene.laptop, &["rev-parse", "HEAD"]);
    checkout.prepare(Some("release/2"), &target).await.expect("pruned");
    assert_eq!(git(&scene.server, &["rev-parse", "origin/release/2"]), target);

    write(&scene.laptop, "app/main.py", "three");
    let target = commit(&scene.laptop, "third");
    fs::rename(scene.laptop.with_file_name("origin.git"), scene.laptop.with_file_name("away.git")).expect("rename");
    let failure = checkout.prepare(Some("develop"), &target).await.expect_err("away");
    assert_eq!(failure.code, "checkout.fetch");
    assert!(failure.causes.concat().contains("does not appear to be a git repository"), "{failure:?}");
}

/// A clone that leaves out what files contain brings all that a move needs before it moves.
#[tokio::test]
async fn a_partial_clone_moves_without_its_origin() {
    let (scene, host) = (scene(), host().await);
    let origin = scene.server.with_file_name("origin.git");
    for setting in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        git(&origin, &["config", setting, "true"]);
    }
    write(&scene.laptop, "large.bin", &"x".repeat(50_000));
    let target = commit(&scene.laptop, "large");
    let path = scene.server.with_file_name("partial").display().to_string();
    let url = format!("file://{}", origin.display());
    let partial = Checkout::new(&host, &path, "origin", &protected()).filtered(Some("blob:none"));
    partial.make(&open(&host), &url, "develop", &target).await.expect("made");
    let lacks =
        |path: &str| git(Path::new(path), &["rev-list", "--objects", "--missing=print", &target]).contains("\n?");
    assert!(lacks(&path), "it was a clone of everything");
    partial.look(Some("develop"), &target).await.expect("prepared");
    std::fs::rename(&origin, origin.with_extension("away")).expect("moved away");
    let snapshots = format!("{path}-snapshots");
    partial.move_to(&open(&host), &target, &snapshots, "run1").await.expect("without its origin");
    assert_eq!(read(Path::new(&path), "large.bin").len(), 50_000);
    assert!(!Path::new(&path).join(".git/cm-fetch").exists());
}

/// A filter of the server's own that has to work, and does not.
#[tokio::test]
async fn a_filter_without_which_git_checks_nothing_out_is_tried_before() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, "app/main.py", "two");
    let target = commit(&scene.laptop, "second");
    write(&scene.server, ".git/info/attributes", "app/* filter=own\n");
    git(&scene.server, &["config", "filter.own.required", "true"]);
    // Not its status: Git itself cannot tell it now.
    let state = || (git(&scene.server, &["rev-parse", "HEAD"]), read(&scene.server, "app/main.py"));
    let before = state();
    for (command, words) in
        [("", "no command is set"), ("/nonexistent/program", "/nonexistent/program"), ("false", "'false' failed")]
    {
        if !command.is_empty() {
            git(&scene.server, &["config", "filter.own.smudge", command]);
        }
        let failure = bring(&host, &checkout, &scene, &target).await.expect_err(command);
        assert_eq!(failure.code, "checkout.content", "{failure:?}");
        assert!(
            failure.message.contains("app/main.py has the filter own") && failure.message.contains(words),
            "{failure:?}"
        );
        assert_eq!(state(), before);
    }
    git(&scene.server, &["config", "filter.own.smudge", "cat"]);
    git(&scene.server, &["config", "filter.own.clean", "cat"]);
    bring(&host, &checkout, &scene, &target).await.expect("it works");
    assert_eq!(read(&scene.server, "app/main.py"), "two");
}

/// People keep edits on a server by telling Git not to look.
#[tokio::test]
async fn a_file_that_git_does_not_look_at_is_not_lost_and_does_not_stay_old() {
    for bit in ["assume-unchanged", "skip-worktree"] {
        let (scene, host) = (scene(), host().await);
        let checkout = checkout(&host, &scene);
        write(&scene.laptop, "app/main.py", "two");
        let target = commit(&scene.laptop, "second");
        git(&scene.server, &["update-index", &format!("--{bit}"), "app/main.py"]);
        let clean = read(&scene.server, "app/main.py");
        write(&scene.server, "app/main.py", "by hand");
        let failure = bring(&host, &checkout, &scene, &target).await.expect_err(bit);
        assert_eq!(failure.code, "checkout.local-changes", "{failure:?}");
        assert_eq!(read(&scene.server, "app/main.py"), "by hand");
        write(&scene.server, "app/main.py", &clean);
        bring(&host, &checkout, &scene, &target).await.expect(bit);
        assert_eq!(read(&scene.server, "app/main.py"), "two", "{bit}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_repository_itself_is_named_or_does_not_matter() {
    let (scene, host) = (scene(), host().await);
    let checkout = checkout(&host, &scene);
    write(&scene.laptop, "app/main.py", "two");
    let second = commit(&scene.laptop, "second");
    let before = all_of(&scene.server);
    let index = scene.server.join(".git/index");
    let good = fs::read(&index).expect("an index");
    fs::write(&index, "damaged").expect("write");
    let failure = bring(&host, &checkout, &scene, &second).await.expect_err("damaged");
    assert_eq!(failure.code, "checkout.blocked", "{failure:?}");
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("git reset")), "{failure:?}");
    fs::write(&index, good).expect("write");
    // What a power cut leaves of a branch; there were commits, so that this is no new checkout.
    let branch = scene.server.join(".git/refs/heads/develop");
    let good = fs::read(&branch).expect("a branch");
    fs::write(&branch, "").expect("write");
    let failure = bring(&host, &checkout, &scene, &second).await.expect_err("no commit");
    assert_eq!(failure.code, "checkout.blocked", "{failure:?}");
    assert!(failure.message.ends_with("develop: the file is damaged and names no commit"), "{failure:?}");
    fs::write(&branch, good).expect("write");
    assert_eq!(all_of(&scene.server), before);
    // And what a fetch leaves that was killed: the commit, without its files.
    let object = Command::new("git").current_dir(&scene.laptop).args(["cat-file", "commit", &second]).output();
    let file = scene.server.with_file_name("commit");
    fs::write(&file, object.expect("git").stdout).expect("write");
    git(&scene.server, &["hash-object", "-t", "commit", "-w", file.to_str().expect("utf-8")]);
    // A lock on the name of the branch, an object that another stands for, a tag like the branch, no index.
    let lock = scene.server.join(".git/refs/remotes/origin/develop.lock");
    fs::write(&lock, "").expect("write");
    git(&scene.server, &["commit", "-q", "--allow-empty", "-m", "another"]);
    git(&scene.server, &["replace", "HEAD~1", "HEAD"]);
    git(&scene.server, &["tag", "develop", "HEAD~1"]);
    fs::remove_file(&index).expect("rm");
    bring(&host, &checkout, &scene, &second).await.expect("moved");
    assert_eq!(read(&scene.server, "app/main.py"), "two");
}
