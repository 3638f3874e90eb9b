//! A hermetic home: nothing of the developer's own configuration is seen, nothing
//! outside a temporary directory is written.

use crate::schema::document_holds;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a program that is fed a document may take; one that hangs is a failed test.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Where the programs under test are: `CM_BIN_DIR`, which the Makefile sets.
///
/// # Panics
/// If it is not set or a program is not there: a test of old binaries says nothing.
pub fn bin_dir() -> PathBuf {
    let dir = std::env::var_os("CM_BIN_DIR")
        .map(PathBuf::from)
        .expect("CM_BIN_DIR names the directory of the programs under test: run `make test`");
    assert!(dir.join("cm-build").is_file(), "no programs in {}: run `make test`, which builds them", dir.display());
    dir
}

/// A temporary home with its environment.
#[derive(Debug)]
pub struct Home {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; 128 + signal if it was killed.
    pub code: i32,
    /// stdout.
    pub stdout: String,
    /// stderr.
    pub stderr: String,
}

impl Answer {
    /// What assert_cmd has for a finished program: `.success()`, `.code(…)`, `.stderr(…)`, with everything it
    /// said in the message of a failure.
    pub fn assert(&self) -> assert_cmd::assert::Assert {
        let status = std::process::ExitStatus::from_raw(self.code << 8);
        let (stdout, stderr) = (self.stdout.clone().into_bytes(), self.stderr.clone().into_bytes());
        assert_cmd::assert::Assert::new(std::process::Output { status, stdout, stderr })
    }

    /// The document on stdout.
    ///
    /// # Panics
    /// If stdout is not exactly one JSON document on one line, or it does not hold to its schemas.
    #[track_caller]
    pub fn document(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "one line on stdout: {self:?}");
        let value = serde_json::from_str(&self.stdout);
        let value = value.unwrap_or_else(|error| panic!("a document on stdout: {error}: {self:?}"));
        document_holds(&value, &self.stderr);
        value
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A new, empty home.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cm-").tempdir().expect("a temporary directory");
        let home = dir.path().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut variables: BTreeMap<String, String> = [
            ("HOME", home.clone()),
            ("TMPDIR", format!("{home}/tmp")),
            ("XDG_RUNTIME_DIR", format!("{home}/run")),
            ("XDG_STATE_HOME", format!("{home}/state")),
            ("PATH", format!("{}:{path}", bin_dir().display())),
            ("LANG", "C.UTF-8".to_owned()),
            ("USER", "ada".to_owned()),
            ("CM_ACTOR", "ada@laptop".to_owned()),
            ("CM_ALLOW_LOCAL", "1".to_owned()),
            ("CM_LOCK_FILE", format!("{home}/deploy.lock")),
            ("GIT_CONFIG_GLOBAL", format!("{home}/.gitconfig")),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        variables.extend(std::env::var("RUST_BACKTRACE").map(|value| ("RUST_BACKTRACE".to_owned(), value)));
        for directory in ["tmp", "run"] {
            std::fs::create_dir(dir.path().join(directory)).expect("a directory in the home");
        }
        std::fs::write(dir.path().join(".gitconfig"), "[user]\n\tname = Ada\n\temail = ada@example.org\n")
            .expect("a git configuration");
        Home { dir, variables }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sets a variable for everything that runs here.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// A variable that is set here.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A command in this home, started in `directory` of it (or an absolute path).
    pub fn command<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S], directory: &str) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.path().join(directory));
        command
    }

    /// Runs a program with `input` through a pipe on stdin, or with /dev/null.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: &[S],
        directory: &str,
        input: Option<&[u8]>,
    ) -> Answer {
        let mut command = self.command(program, arguments, directory);
        let output = match input {
            Some(input) => assert_cmd::Command::from_std(command).write_stdin(input).timeout(PATIENCE).output(),
            // An empty pipe is not the same as no document: cm tells them apart.
            None => command.stdin(Stdio::null()).output(),
        };
        let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Answer {
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Every file below the home that is not one of its fixed directories. Links are files: one may lead anywhere.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(path);
                } else {
                    found.push(path.strip_prefix(self.path()).unwrap_or(&path).display().to_string());
                }
            }
        }
        found.retain(|name| name != ".gitconfig");
        found.sort();
        found
    }
}

fn code(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
