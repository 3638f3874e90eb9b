//! `cm-detect --init` on compose projects in the shapes that real ones have. Files
//! called `NAME.untracked` are copied as NAME after the commit, as a server's own are.
//! `CM_UPDATE_EXPECTED=1` writes what is expected again; read the difference.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SHAPES: [&str; 5] = ["root-context", "extends", "include", "profiles", "workspaces"];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/init")
}

fn copy(from: &Path, to: &Path, untracked: bool) {
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        let plain = name.strip_suffix(".untracked");
        if entry.path().is_dir() {
            std::fs::create_dir_all(to.join(&name)).expect("a directory");
            copy(&entry.path(), &to.join(&name), untracked);
        } else if plain.is_some() == untracked {
            std::fs::copy(entry.path(), to.join(plain.unwrap_or(&name))).expect("a copy");
        }
    }
}

fn git(directory: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"];
    let done = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(directory)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .status();
    assert!(done.expect("git").success(), "git {arguments:?}");
}

/// A clone of the shape in a directory called `shop`, with its untracked files.
fn checked_out(shape: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("shop");
    std::fs::create_dir(&root).expect("a directory");
    copy(&here().join("shapes").join(shape), &root, false);
    git(&root, &["init", "-q"]);
    git(&root, &["add", "-A"]);
    git(&root, &["commit", "-qm", "one"]);
    copy(&here().join("shapes").join(shape), &root, true);
    home
}

fn detect(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cm-detect"));
    let output = command
        .args(arguments)
        .current_dir(home.join("shop"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .expect("cm-detect");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn every_shape_gets_the_file_that_is_expected_of_it() {
    for shape in SHAPES {
        let home = checked_out(shape);
        let (code, stdout, stderr) = detect(home.path(), &["--init"]);
        assert_eq!((code, stdout.as_str()), (0, ""), "{shape}: {stderr}");
        let written = std::fs::read_to_string(home.path().join("shop/cm.toml")).expect("written");
        let expected = here().join("expected").join(format!("{shape}.toml"));
        if std::env::var_os("CM_UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected, &written).expect("write");
        }
        assert_eq!(written, std::fs::read_to_string(&expected).expect("expected"), "{shape}");
        assert!(!written.contains("change-me") && !written.contains("planted"), "{shape}: no value of an env file");
    }
}

#[test]
fn what_is_written_works_at_once() {
    for shape in SHAPES {
        let home = checked_out(shape);
        assert_eq!(detect(home.path(), &["--init"]).0, 0, "{shape}");
        git(&home.path().join("shop"), &["add", "-A"]);
        git(&home.path().join("shop"), &["commit", "-qm", "two"]);
        let (code, document, stderr) = detect(home.path(), &["--base", "HEAD~1"]);
        assert_eq!(code, 0, "{shape}: {stderr}");
        let document: Value = serde_json::from_str(&document).expect("a document");
        let acted = document["services"].as_array().expect("services").iter().filter(|one| one["action"] != "none");
        assert_eq!(acted.count(), 0, "{shape}: cm.toml alone changes no service");
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let home = checked_out("profiles");
    let file = home.path().join("shop/cm.toml");
    std::fs::write(&file, "# mine\n").expect("write");
    for arguments in [&["--init"][..], &["--init", "-C", "server"]] {
        let (code, _, stderr) = detect(home.path(), arguments);
        assert_eq!(code, 6, "{stderr}");
        assert!(stderr.contains("cm.toml is there already") && stderr.contains("hint:"), "{stderr}");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "# mine\n");
    }
    std::fs::remove_file(&file).expect("remove");
    std::os::unix::fs::symlink("nowhere", &file).expect("a link");
    assert_eq!(detect(home.path(), &["--init"]).0, 6, "a link that leads nowhere is there too");
    assert!(!home.path().join("shop/nowhere").exists());
}

#[test]
fn a_dry_run_prints_the_file_and_writes_none() {
    let home = checked_out("workspaces");
    std::fs::write(home.path().join("shop/cm.toml"), "# mine\n").expect("write");
    let (code, stdout, stderr) = detect(home.path(), &["--init", "--dry-run", "--host", "web=ada@203.0.113.7:~/acme"]);
    assert_eq!(code, 0, "{stderr}");
    for wanted in ["[hosts.web]", "address = \"ada@203.0.113.7\"", "checkout = \"~/acme\"", "[services.caddy]"] {
        assert!(stdout.contains(wanted), "{wanted}: {stdout}");
    }
    assert_eq!(std::fs::read_to_string(home.path().join("shop/cm.toml")).expect("there"), "# mine\n");
    // The port of ssh is not one of a URL, which has an IPv6 address in brackets.
    let home = checked_out("root-context");
    for (flag, url) in
        [("ada@[fd00::7]:2222", "http://[fd00::7]"), ("ssh://ada@web.example:2222", "http://web.example")]
    {
        let (code, stdout, stderr) = detect(home.path(), &["--init", "--dry-run", "--host", flag]);
        assert!(code == 0 && stdout.contains(&format!("address = \"{flag}\"")), "{stdout}{stderr}");
        let asked = stdout.lines().filter(|line| line.trim_start_matches("# ").starts_with("url = "));
        let asked: Vec<_> = asked.filter(|line| !line.contains(".example/")).collect();
        assert!(!asked.is_empty() && asked.iter().all(|line| line.contains(url)), "{asked:?}");
        assert!(!asked.iter().any(|line| line.contains("2222")), "{asked:?}");
    }
}

#[test]
fn the_env_file_of_compose_is_the_servers_where_it_gives_values_and_is_in_no_commit() {
    let compose =
        "services:\n  db: {image: \"mysql:8\", environment: {MYSQL_ROOT_PASSWORD: \"${DB_PASSWORD:?set it}\"}}\n";
    for (env, is_its) in [("DB_PASSWORD=planted-word\n", true), ("# DB_PASSWORD=x\nDB=planted\nDB_PASS=x\n", false)] {
        let home = tempfile::tempdir().expect("a directory");
        let root = home.path().join("shop");
        std::fs::create_dir(&root).expect("a directory");
        std::fs::write(root.join("compose.yml"), compose).expect("write");
        git(&root, &["init", "-q"]);
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "-qm", "one"]);
        std::fs::write(root.join(".env"), env).expect("write");
        let (code, written, stderr) = detect(home.path(), &["--init", "--dry-run"]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(written.contains("\nenv_file = \".env\"\n"), is_its, "{env}: {written}");
        assert!(!written.contains("planted"), "{written}");
    }
}

#[test]
fn a_backup_that_is_switched_off_is_not_announced_as_one() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("shop");
    std::fs::create_dir(&root).expect("a directory");
    std::fs::write(root.join("compose.yml"), "services:\n  mongo: {image: \"mongo:7\"}\n").expect("write");
    git(&root, &["init", "-q"]);
    git(&root, &["add", "-A"]);
    git(&root, &["commit", "-qm", "one"]);
    let (code, _, stderr) = detect(home.path(), &["--init"]);
    assert!(code == 0 && stderr.contains("a backup of mongo (switched off: see the file)"), "{stderr}");
}

#[test]
fn what_cannot_be_decided_is_asked() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(home.path().join("shop/a")).expect("a directory");
    let (code, _, stderr) = detect(home.path(), &["--init"]);
    assert!(code == 6 && stderr.contains("no compose file") && stderr.contains("--compose-file"), "{stderr}");
    for directory in ["a", "b"] {
        std::fs::create_dir_all(home.path().join("shop").join(directory)).expect("a directory");
        std::fs::write(home.path().join("shop").join(directory).join("compose.yml"), "services: {x: {image: y}}\n")
            .expect("write");
    }
    let (code, _, stderr) = detect(home.path(), &["--init"]);
    assert!(code == 6 && stderr.contains("a/compose.yml, b/compose.yml"), "{stderr}");
    let (code, _, stderr) = detect(home.path(), &["--init", "--compose-file", "b/compose.yml"]);
    assert_eq!(code, 0, "{stderr}");
    let written = std::fs::read_to_string(home.path().join("shop/cm.toml")).expect("written");
    assert!(written.contains("files = [\"b/compose.yml\"]"), "{written}");
}

#[test]
fn a_mistake_in_the_compose_file_is_shown_in_its_place_and_nothing_is_written() {
    let home = checked_out("profiles");
    std::fs::write(home.path().join("shop/docker-compose.yml"), "services:\n  api: [\n").expect("write");
    let (code, _, stderr) = detect(home.path(), &["--init"]);
    assert!(code == 6 && stderr.contains("docker-compose.yml:"), "{stderr}");
    assert!(!home.path().join("shop/cm.toml").exists());
}
