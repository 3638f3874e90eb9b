//! Made-up histories: files as Git knows them, a source of randomness that is the same everywhere, and a
//! repository that has a commit for each state.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file as Git knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// `100644`, `100755`, `120000` for a link, `160000` for a submodule.
    pub mode: &'static str,
    /// Its content; a submodule's commit.
    pub text: String,
}

/// Files by path.
pub type Files = BTreeMap<String, File>;

/// A random source that is the same everywhere (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % limit
    }

    /// One of `list`.
    ///
    /// # Panics
    /// If it is empty.
    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Writes the states to a new bare repository at `directory`, a commit each; their ids, in order.
///
/// # Panics
/// If git fails.
pub fn write(directory: &Path, states: &[Files]) -> Vec<String> {
    git(directory, &["init", "-q", "--bare", "--initial-branch=main", "."]);
    let mut import = Command::new("git");
    import.args(["fast-import", "--quiet", "--force"]).current_dir(directory).stdin(Stdio::piped());
    let mut import = import.spawn().expect("git fast-import");
    let mut pipe = std::io::BufWriter::new(import.stdin.take().expect("its stdin"));
    let nothing = Files::new();
    for (number, files) in states.iter().enumerate() {
        let before = if number == 0 { &nothing } else { &states[number - 1] };
        pipe.write_all(commit(number, before, files).as_bytes()).expect("written");
    }
    drop(pipe.into_inner().expect("flushed"));
    assert!(import.wait().expect("its end").success(), "git fast-import");
    let list = git(directory, &["rev-list", "--reverse", "main"]);
    let commits: Vec<String> = list.lines().map(str::to_owned).collect();
    assert_eq!(commits.len(), states.len());
    commits
}

fn commit(number: usize, before: &Files, files: &Files) -> String {
    let mut text =
        format!("commit refs/heads/main\ncommitter A <a@example.org> {} +0000\ndata 1\nx\n", 1_700_000_000 + number);
    for path in before.keys().filter(|path| !files.contains_key(*path)) {
        let _ = writeln!(text, "D {path}");
    }
    for (path, file) in files.iter().filter(|(path, file)| before.get(*path) != Some(file)) {
        let _ = match file.mode {
            "160000" => writeln!(text, "M 160000 {} {path}", file.text),
            mode => writeln!(text, "M {mode} inline {path}\ndata {}\n{}", file.text.len(), file.text),
        };
    }
    text.push('\n');
    text
}

/// What git says.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.stdin(Stdio::null()).output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
