//! An origin, a laptop and a server's checkout, made with real git in one directory of this machine.

use cm_checkout::Checkout;
use cm_core::{Format, Level, Log};
use cm_host::{Fenced, Host, Target, Unlocked};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Scene {
    _dir: tempfile::TempDir,
    pub laptop: PathBuf,
    pub server: PathBuf,
}

pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=develop"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An origin, a laptop's clone with two commits, and a server's clone at the first
/// with an edited Caddyfile and an env file of its own.
pub fn scene() -> Scene {
    let dir = tempfile::tempdir().expect("temp dir");
    let (origin, laptop, server) =
        (dir.path().join("origin.git"), dir.path().join("laptop"), dir.path().join("server"));
    git(dir.path(), &["init", "-q", "--bare", "origin.git"]);
    git(dir.path(), &["clone", "-q", origin.to_str().expect("utf-8"), "laptop"]);
    write(&laptop, "app/main.py", "one");
    write(&laptop, "old.txt", "goes");
    write(&laptop, "Caddyfile", "tracked");
    commit(&laptop, "first");
    git(dir.path(), &["clone", "-q", origin.to_str().expect("utf-8"), "server"]);
    write(&server, "Caddyfile", "the server's own");
    write(&server, ".env.production", "SECRET=1");
    fs::set_permissions(server.join(".env.production"), fs::Permissions::from_mode(0o600)).expect("chmod");
    Scene { _dir: dir, laptop, server }
}

pub fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
    fs::write(path, text).expect("write");
}

pub fn read(dir: &Path, path: &str) -> String {
    fs::read_to_string(dir.join(path)).expect(path)
}

pub fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
    git(dir, &["push", "-q", "origin", "HEAD:develop"]);
    git(dir, &["rev-parse", "HEAD"])
}

pub async fn host() -> Host {
    let target = Target::at("here", "local");
    Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local")
}

pub fn open(host: &Host) -> Fenced {
    Fenced::unlocked(host, Unlocked::Test)
}

pub fn protected() -> Vec<String> {
    vec!["Caddyfile".to_owned(), ".env.production".to_owned()]
}

pub fn checkout<'a>(host: &'a Host, scene: &Scene) -> Checkout<'a> {
    Checkout::new(host, scene.server.to_str().expect("utf-8"), "origin", &protected())
}
