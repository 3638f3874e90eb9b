//! Real git, a real checkout on this machine: what a move keeps and what it destroys.

mod scene;

use cm_checkout::{Checkout, Found};
use cm_core::Exit;
use scene::{checkout, commit, git, host, open, protected, read, scene, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn second_commit(scene: &scene::Scene) -> String {
    write(&scene.laptop, "app/main.py", "two");
    write(&scene.laptop, "new dir/né.txt", "new");
    write(&scene.laptop, "Caddyfile", "changed upstream");
    fs::remove_file(scene.laptop.join("old.txt")).expect("rm");
    commit(&scene.laptop, "second")
}

#[tokio::test]
async fn everything_moves_but_the_protected_files() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    let inode = fs::metadata(scene.server.join("Caddyfile")).expect("stat").ino();
    let checkout = checkout(&host, &scene);
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!((state.endangered, state.upstream), (Vec::new(), vec!["Caddyfile".to_owned()]));
    assert_eq!(state.changes, 3);
    let snapshots = scene.server.with_file_name("snapshots");
    let proved =
        checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await.expect("move");
    assert_eq!(proved.len(), 2);
    assert_eq!(git(&scene.server, &["rev-parse", "HEAD"]), target);
    assert_eq!(read(&scene.server, "app/main.py"), "two");
    assert_eq!(read(&scene.server, "new dir/né.txt"), "new");
    assert!(!scene.server.join("old.txt").exists());
    assert_eq!(read(&scene.server, "Caddyfile"), "the server's own");
    assert_eq!(fs::metadata(scene.server.join("Caddyfile")).expect("stat").ino(), inode);
    assert_eq!(read(&scene.server, ".env.production"), "SECRET=1");
    assert_eq!(read(&snapshots, "run1/Caddyfile"), "the server's own");
    assert_eq!(fs::metadata(snapshots.join("run1")).expect("stat").permissions().mode() & 0o777, 0o700);
    // Nothing but the protected file differs, and the index has the commit's version of it.
    assert_eq!(git(&scene.server, &["status", "--porcelain"]), "M Caddyfile\n?? .env.production");
}

/// Somebody edits a protected file at that very moment: the move says so, and nothing of it is lost.
#[tokio::test]
async fn a_protected_file_that_changes_meanwhile_is_told() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    let checkout = checkout(&host, &scene);
    checkout.prepare(Some("develop"), &target).await.expect("prepare");
    let snapshots = scene.server.with_file_name("snapshots");
    let over = Arc::new(AtomicBool::new(false));
    let (stop, file) = (Arc::clone(&over), scene.server.join(".env.production"));
    let aside = scene.server.with_file_name("edited");
    let edits = std::thread::spawn(move || {
        let mut edits = 0;
        while !stop.load(Ordering::Relaxed) {
            edits += 1;
            fs::write(&aside, format!("SECRET=1\nEDIT={edits}\n")).expect("write");
            fs::rename(&aside, &file).expect("rename");
            std::thread::sleep(Duration::from_millis(1));
        }
        edits
    });
    let moved = checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await;
    over.store(true, Ordering::Relaxed);
    let edits = edits.join().expect("edited");
    let failure = moved.expect_err("it changed");
    assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "checkout.protected"));
    assert!(failure.hint.is_some_and(|hint| hint.contains("snapshots/run1")));
    assert!(failure.causes.concat().contains(".env.production"));
    assert_eq!(read(&scene.server, ".env.production"), format!("SECRET=1\nEDIT={edits}\n"), "the editor's own");
    assert!(read(&snapshots, "run1/.env.production").starts_with("SECRET=1\n"));
}

#[tokio::test]
async fn a_protected_file_that_upstream_deletes_or_adds_stays_the_hosts_own() {
    let (scene, host) = (scene(), host().await);
    fs::remove_file(scene.laptop.join("Caddyfile")).expect("rm");
    write(&scene.laptop, ".env.production", "OOPS=committed");
    let target = commit(&scene.laptop, "swap");
    let checkout = checkout(&host, &scene);
    checkout.prepare(Some("develop"), &target).await.expect("prepare");
    let snapshots = scene.server.with_file_name("snapshots");
    checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await.expect("move");
    assert_eq!(read(&scene.server, "Caddyfile"), "the server's own");
    assert_eq!(read(&scene.server, ".env.production"), "SECRET=1");
}

#[tokio::test]
async fn work_done_by_hand_on_the_host_is_named_before_it_is_lost() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    write(&scene.server, "app/main.py", "a hotfix made on the server");
    write(&scene.server, "new dir/né.txt", "in the way");
    let state = checkout(&host, &scene).prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!(state.endangered.len(), 2, "{state:?}");
    assert!(state.endangered.contains(&"app/main.py".to_owned()));
}

#[tokio::test]
async fn work_done_by_hand_can_be_copied_to_the_snapshots() {
    let (scene, host) = (scene(), host().await);
    write(&scene.server, "app/main.py", "a hotfix made on the server");
    write(&scene.server, "new dir/né.txt", "in the way");
    let files = ["app/main.py", "new dir/né.txt", "gone"].map(str::to_owned);
    let snapshots = scene.server.with_file_name("snapshots");
    checkout(&host, &scene).keep(&open(&host), &files, snapshots.to_str().expect("utf-8"), "run1").await.expect("keep");
    assert_eq!(read(&snapshots, "run1/app/main.py"), "a hotfix made on the server");
    assert_eq!(read(&snapshots, "run1/new dir/né.txt"), "in the way");
}

#[tokio::test]
async fn a_move_that_was_cut_off_can_be_made_again() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    let checkout = checkout(&host, &scene);
    checkout.prepare(Some("develop"), &target).await.expect("prepare");
    // Killed between writing the work tree and moving HEAD.
    git(
        &scene.server,
        &["restore", &format!("--source={target}"), "--staged", "--worktree", "--", ":/", ":(exclude)Caddyfile"],
    );
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!(state.endangered, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (scene, host) = (scene(), host().await);
    let unknown = "0123456789012345678901234567890123456789";
    let failure = checkout(&host, &scene).prepare(Some("develop"), unknown).await.expect_err("unknown commit");
    assert_eq!(failure.code, "checkout.no-commit");
    let origin = scene.laptop.with_file_name("origin.git").display().to_string();
    assert!(failure.message.ends_with(&format!("is not on origin/develop, which is {origin} there")), "{failure}");
    let nowhere = scene.server.with_file_name("nonexistent").join("place");
    let nowhere = Checkout::new(&host, nowhere.to_str().expect("utf-8"), "origin", &[]);
    assert_eq!(nowhere.prepare(None, unknown).await.expect_err("nowhere").code, "checkout.missing");
}

#[tokio::test]
async fn where_something_else_is_there_is_no_checkout_to_come() {
    let (scene, host) = (scene(), host().await);
    let target = git(&scene.laptop, &["rev-parse", "HEAD"]);
    let at = |name: &str| scene.server.with_file_name(name);
    fs::write(at("file"), "a file").expect("write");
    std::os::unix::fs::symlink("nowhere", at("link")).expect("link");
    for (name, why) in [
        ("file", "file is not a directory"),
        ("file/shop", "file is not a directory"),
        ("link", "link is a link to nowhere, which is not there or cannot be reached"),
        ("origin.git", "origin.git is a bare repository, not a checkout"),
    ] {
        let path = at(name).display().to_string();
        let checkout = Checkout::new(&host, &path, "origin", &[]);
        let failure = checkout.look(Some("develop"), &target).await.expect_err(name);
        assert_eq!(failure.code, "checkout.place", "{name}");
        assert!(failure.message.contains(&format!("there can be no checkout at {path}: ")), "{failure}");
        assert!(failure.message.ends_with(why), "{failure}");
    }
    assert_eq!(read(&scene.server, "../file"), "a file");
}

#[tokio::test]
async fn a_checkout_that_is_not_there_is_made_around_what_lies_in_its_directory() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    let (origin, new) = (scene.laptop.with_file_name("origin.git"), scene.server.with_file_name("new"));
    let (origin, path) = (origin.to_str().expect("utf-8"), new.to_str().expect("utf-8"));
    write(&new, ".env.production", "SECRET=1");
    let checkout = Checkout::new(&host, path, "origin", &protected());
    assert_eq!(checkout.head().await.expect("nothing"), None);
    assert_eq!(checkout.look(None, &target).await.expect("nothing"), Found::Nothing(path.to_owned()));
    assert_eq!(checkout.remote_tip("develop", &Ok(origin.to_owned())).await.expect("the tip"), target);
    checkout.make(&open(&host), origin, "develop", &target).await.expect("made");
    assert_eq!(git(&new, &["status", "--porcelain"]).lines().count(), 1, "nothing is checked out yet");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!((state.head.as_str(), state.endangered, state.upstream), ("", Vec::new(), Vec::new()));
    let snapshots = scene.server.with_file_name("snapshots");
    checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await.expect("move");
    assert_eq!(git(&new, &["status", "--porcelain"]), "?? .env.production");
    assert_eq!(git(&new, &["rev-parse", "HEAD", "@{upstream}"]), format!("{target}\n{target}"));
    assert_eq!(read(&new, "Caddyfile"), "changed upstream", "the repository's, where the host has none");
    assert_eq!(read(&new, ".env.production"), "SECRET=1");
    assert_eq!(checkout.head().await.expect("there"), Some(target));
    assert!(!new.join(".git.cm-new").exists());
}

/// An sshd that has too many who log in (`MaxStartups`) breaks the connection before anything is said.
#[tokio::test]
async fn an_origin_that_turns_some_away_is_asked_again() {
    const SSH: &str = "#!/bin/sh\ncd \"${0%/*}\" && echo x >>asked\n[ $(wc -l <asked) -gt $(cat turned-away) ] ||\n    \
        { echo 'kex_exchange_identification: read: Connection reset by peer' >&2; exit 255; }\n\
        for command; do :; done\nexec sh -c \"$command\"\n";
    let (scene, host) = (scene(), host().await);
    let target = git(&scene.laptop, &["rev-parse", "HEAD"]);
    let ssh = scene.server.with_file_name("ssh");
    fs::write(&ssh, SSH).expect("write");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("chmod");
    let origin = scene.laptop.with_file_name("origin.git");
    git(&scene.server, &["remote", "set-url", "origin", &format!("ssh://origin{}", origin.display())]);
    git(&scene.server, &["config", "core.sshCommand", &ssh.display().to_string()]);
    git(&scene.server, &["config", "ssh.variant", "ssh"]);
    for (turned_away, asked, found) in [(0, 1, true), (2, 3, true), (9, 3, false)] {
        fs::write(ssh.with_file_name("turned-away"), turned_away.to_string()).expect("write");
        let _first = fs::remove_file(ssh.with_file_name("asked"));
        let tip = checkout(&host, &scene).remote_tip("develop", &Ok(String::new())).await;
        assert_eq!(fs::read_to_string(ssh.with_file_name("asked")).expect("read").lines().count(), asked);
        match tip {
            Ok(tip) => assert_eq!((found, &tip), (true, &target)),
            Err(failure) => assert!(!found && failure.to_string().contains("kex_exchange"), "{failure}"),
        }
    }
}

#[tokio::test]
async fn a_first_move_that_was_cut_off_goes_on_and_files_in_the_way_are_named() {
    let (scene, host) = (scene(), host().await);
    let target = second_commit(&scene);
    let (origin, new) = (scene.laptop.with_file_name("origin.git"), scene.server.with_file_name("new"));
    let checkout = Checkout::new(&host, new.to_str().expect("utf-8"), "origin", &protected());
    // As a clone that was killed leaves it.
    fs::create_dir_all(new.join(".git.cm-new")).expect("mkdir");
    checkout.make(&open(&host), origin.to_str().expect("utf-8"), "develop", &target).await.expect("made");
    // Cut off while files are written: some are there as they shall be.
    write(&new, "app/main.py", "two");
    write(&new, "Caddyfile", "the server's own");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!(state.endangered, Vec::<String>::new());
    write(&new, "app/main.py", "by hand");
    let state = checkout.prepare(Some("develop"), &target).await.expect("prepare");
    assert_eq!(state.endangered, ["app/main.py"]);
    write(&new, "app/main.py", "two");
    let snapshots = scene.server.with_file_name("snapshots");
    checkout.move_to(&open(&host), &target, snapshots.to_str().expect("utf-8"), "run1").await.expect("move");
    assert_eq!(read(&new, "Caddyfile"), "the server's own", "it was there before");
    assert_eq!(git(&new, &["status", "--porcelain"]), "M Caddyfile");
}

#[tokio::test]
async fn a_checkout_that_cannot_be_made_leaves_nothing() {
    let (scene, host) = (scene(), host().await);
    let target = git(&scene.laptop, &["rev-parse", "HEAD"]);
    let (origin, new) = (scene.laptop.with_file_name("origin.git"), scene.server.with_file_name("new"));
    let checkout = Checkout::new(&host, new.to_str().expect("utf-8"), "origin", &[]);
    let nowhere = new.with_file_name("nowhere.git");
    let failure = checkout
        .make(&open(&host), nowhere.to_str().expect("utf-8"), "develop", &target)
        .await
        .expect_err("no repository");
    assert_eq!(failure.code, "checkout.clone");
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("`repository` in cm.toml")), "{failure:?}");
    assert!(!new.exists());
    let unknown = "0123456789012345678901234567890123456789";
    let failure =
        checkout.make(&open(&host), origin.to_str().expect("utf-8"), "develop", unknown).await.expect_err("no commit");
    assert_eq!(failure.code, "checkout.no-commit");
    assert!(!new.exists());
    write(&new, "precious", "kept");
    checkout.make(&open(&host), origin.to_str().expect("utf-8"), "develop", unknown).await.expect_err("no commit");
    assert_eq!((read(&new, "precious").as_str(), fs::read_dir(&new).expect("there").count()), ("kept", 1));
}

#[tokio::test]
async fn a_directory_inside_another_repository_is_no_checkout() {
    let (scene, host) = (scene(), host().await);
    let target = git(&scene.laptop, &["rev-parse", "HEAD"]);
    let inside = scene.server.join("app");
    let path = inside.to_str().expect("utf-8");
    let checkout = Checkout::new(&host, path, "origin", &[]);
    assert_eq!(checkout.look(None, &target).await.expect("looked"), Found::Nothing(path.to_owned()));
}

#[tokio::test]
async fn a_clone_that_nobody_waits_for_any_more_is_ended_and_leaves_nothing() {
    let (scene, host) = (scene(), host().await);
    // A server that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("ssh://git@127.0.0.1:{}/shop.git", silent.local_addr().expect("an address").port());
    let new = scene.server.with_file_name("new");
    let checkout = Checkout::new(&host, new.to_str().expect("utf-8"), "origin", &[]);
    let waited =
        tokio::time::timeout(Duration::from_secs(2), checkout.make(&open(&host), &origin, "develop", "HEAD")).await;
    assert!(waited.is_err(), "{waited:?}");
    for _ in 0..100 {
        if !new.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} is still there", new.display());
}
