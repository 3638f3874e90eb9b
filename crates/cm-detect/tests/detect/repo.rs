//! Real repositories in temporary directories, and the real program run on them in an
//! environment that knows nothing of the machine's user.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A repository with a shop: two services built from one directory each, a shared
/// library, a database, a proxy with a protected file.
pub const SHOP: &[(&str, &str)] = &[
    (
        "cm.toml",
        r#"project = "shop"
branch = "develop"
[hosts.main]
address = "local"
checkout = "~/shop"
[hosts.side]
address = "nobody@host.invalid"
services = ["worker"]
[groups]
front = ["web"]
back = ["api", "worker"]
[protect]
files = ["Caddyfile"]
[services.proxy]
on_change = "reload"
"#,
    ),
    (
        "docker-compose.yml",
        "services:
  web: {build: web}
  api: {build: {context: ., dockerfile: api/Dockerfile}, env_file: [api.env, .env.production]}
  worker: {build: {context: ., dockerfile: worker/Dockerfile}}
  db: {image: 'mongo:7'}
  proxy:
    image: caddy
    volumes: ['./Caddyfile:/etc/Caddyfile', './sites:/sites', './page.html:/page.html']
",
    ),
    ("web/Dockerfile", "FROM node\nCOPY src /src\n"),
    ("web/src/index.js", "1\n"),
    ("web/README.md", "web\n"),
    ("lib/shared.py", "X = 1\n"),
    ("api/Dockerfile", "FROM python\nCOPY lib /lib\nCOPY api /api\n"),
    ("api/main.py", "import shared\n"),
    ("api.env", "A=1\n"),
    ("worker/Dockerfile", "FROM python\nCOPY lib /lib\nCOPY worker /worker\n"),
    ("worker/main.py", "import shared\n"),
    ("Caddyfile", ":80\n"),
    ("sites/a", "a\n"),
    ("page.html", "p\n"),
    ("docs/notes.md", "n\n"),
];

/// A directory with a repository and a home.
pub struct Repo {
    directory: TempDir,
}

impl Repo {
    /// A repository without commits.
    pub fn empty() -> Self {
        let repo = Repo { directory: TempDir::new().expect("a temporary directory") };
        for directory in [repo.path(), repo.home()] {
            std::fs::create_dir_all(directory).expect("directory");
        }
        repo.git(&["init", "-q", "-b", "develop"]);
        repo
    }

    /// A repository with one commit of `files`.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let repo = Repo::empty();
        for (path, text) in files {
            repo.write(path, text);
        }
        repo.commit("first");
        repo
    }

    /// The shop.
    pub fn shop() -> Self {
        Repo::with(SHOP)
    }

    /// The working tree.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Writes a file of the working tree.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        std::fs::write(path, text).expect("write");
    }

    /// Runs git.
    pub fn git(&self, args: &[&str]) -> String {
        let output =
            clean(Command::new("git"), &self.home()).current_dir(self.path()).args(args).output().expect("git");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits everything; the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes a file and commits it.
    pub fn change(&self, path: &str, text: &str) -> String {
        self.write(path, text);
        self.commit(path)
    }

    /// Writes the ledger of the host `main`, a line per record.
    pub fn ledger(&self, records: &[Value]) {
        let directory = self.home().join(".local/state/cm/shop");
        std::fs::create_dir_all(&directory).expect("directory");
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(directory.join("ledger.jsonl"), lines).expect("write");
    }

    /// The program, ready to run in the working tree.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_cm-detect")), &self.home());
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn detect(&self, args: &[&str]) -> Detected {
        Detected::of(self.command(args).output().expect("runs"))
    }
}

/// An environment that holds nothing of the machine's user.
fn clean(mut command: Command, home: &Path) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("CM_ACTOR", "tester")
        .env("CM_ALLOW_LOCAL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "T")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "t@example.org")))
        .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, "2026-01-01T00:00:00Z")));
    command
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Detected {
    pub exit: i32,
    pub document: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Detected {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        Detected {
            exit: output.status.code().expect("no signal"),
            document: serde_json::from_str(&stdout).unwrap_or(Value::Null),
            stdout,
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// `self`, if it ended well.
    pub fn done(self) -> Self {
        assert_eq!(self.exit, 0, "{}", self.stderr);
        self
    }

    /// Every service with something to do, as `NAME ACTION`.
    pub fn actions(&self) -> Vec<String> {
        let services = self.document["services"].as_array().expect("services").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        services
            .filter(|service| service["action"] != "none")
            .map(|service| format!("{} {}", text(&service["name"]), text(&service["action"])))
            .collect()
    }

    /// The reasons of a service, as `RULE PATH`.
    pub fn reasons(&self, name: &str) -> Vec<String> {
        let services = self.document["services"].as_array().expect("services");
        let service = services.iter().find(|service| service["name"] == name).expect(name);
        let reasons = service["reasons"].as_array().expect("reasons").iter();
        reasons
            .map(|reason| {
                format!("{} {}", reason["rule"].as_str().unwrap_or("?"), reason["path"].as_str().unwrap_or("?"))
            })
            .map(|text| text.trim().to_owned())
            .collect()
    }

    /// This program's facts.
    pub fn facts(&self) -> &Value {
        &self.document["facts"]["detect"]
    }
}
