//! A repository that is made up: files, and knobs that say how the compose files and
//! Dockerfiles are written. It is changed at random, step by step, and written to Git.

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
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % limit
    }

    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct World {
    /// The files that people edit; what the knobs write comes on top.
    pub files: Files,
    knobs: BTreeMap<&'static str, (usize, usize)>,
    edits: usize,
}

/// Names that new files get: some are what a pattern wants, some just miss it.
const NAMES: [&str; 16] = [
    "package.json",
    "package-lock.json",
    "packages.jsonc",
    "a.md",
    "notes.md",
    "b1.txt",
    "d1.txt",
    "bb.txt",
    "x.test.js",
    "x.js",
    "tool.toml",
    "tool.tom",
    "core.ts",
    "a.log",
    ".hidden",
    "é.conf",
];

/// Directories that new files get below that of an existing one.
const DIRECTORIES: [&str; 6] = ["", "", "", "gen/", "deep/er/", "src/"];

impl World {
    /// The first state: `files` (paths whose name holds `keep` are never removed) and `knobs` with their number of settings.
    pub fn new(files: &[&str], knobs: &[(&'static str, usize)]) -> Self {
        let text = |path: &&str| File { mode: "100644", text: format!("a={path}\n") };
        World {
            files: files.iter().map(|path| ((*path).to_owned(), text(path))).collect(),
            knobs: knobs.iter().map(|(name, count)| (*name, (0, *count))).collect(),
            edits: 0,
        }
    }

    /// A knob's setting.
    pub fn knob(&self, name: &str) -> usize {
        self.knobs.get(name).unwrap_or_else(|| panic!("no knob {name:?}")).0
    }

    /// Sets a knob, for good.
    pub fn fix(&mut self, name: &str, setting: usize) {
        for (known, knob) in &mut self.knobs {
            if known.starts_with(name) {
                *knob = (setting, 1);
            }
        }
    }

    /// Changes something small, one to four times.
    pub fn step(&mut self, random: &mut Random) {
        for _ in 0..=random.below(4) {
            self.edits += 1;
            match random.below(12) {
                0..=3 => self.touch(random),
                4 | 5 => self.add(random),
                6 => self.remove(random),
                7 => self.rename(random),
                8 => self.flip_mode(random),
                _ => self.turn(random),
            }
        }
    }

    /// A file; mostly not one of which the server alone knows whether it counts: how often
    /// those change is how often more is built than needed.
    fn pick(&self, random: &mut Random) -> String {
        let paths: Vec<&String> = self.files.keys().collect();
        loop {
            let path = *random.of(&paths);
            if !path.starts_with("apps/unknown/team/bob") || random.below(4) == 0 {
                return path.clone();
            }
        }
    }

    fn touch(&mut self, random: &mut Random) {
        let (path, edits) = (self.pick(random), self.edits);
        let file = self.files.get_mut(&path).expect("picked");
        file.text = format!("a={path} {edits}\n");
    }

    fn add(&mut self, random: &mut Random) {
        let near = self.pick(random);
        let directory = near.rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = format!("{directory}/{}{}", random.of(&DIRECTORIES), random.of(&NAMES));
        let path = path.trim_start_matches('/').to_owned();
        if self.fits(&path) {
            self.files.insert(path.clone(), File { mode: "100644", text: format!("a={path} {}\n", self.edits) });
        }
    }

    /// Whether no file stands where the path needs a directory, or the other way round. What
    /// only the server knows does not grow: it is a corner of the repository.
    fn fits(&self, path: &str) -> bool {
        if path.starts_with("apps/unknown/") {
            return false;
        }
        let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
        let below = format!("{path}/");
        !above.any(|directory| self.files.contains_key(directory))
            && !self.files.keys().any(|known| known.starts_with(&below))
    }

    fn remove(&mut self, random: &mut Random) {
        let path = self.pick(random);
        if !path.contains("keep") {
            self.files.remove(&path);
        }
    }

    fn rename(&mut self, random: &mut Random) {
        let path = self.pick(random);
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let other = match random.below(3) {
            // Only the case.
            0 => format!("{directory}/{}", name.to_uppercase()),
            1 => format!("{directory}/{}", random.of(&NAMES)),
            _ => self.pick(random).rsplit_once('/').map_or(String::new(), |(there, _)| format!("{there}/{name}")),
        };
        let other = other.trim_start_matches('/').to_owned();
        if !path.contains("keep") && !other.is_empty() && !self.files.contains_key(&other) && self.fits(&other) {
            let file = self.files.remove(&path).expect("picked");
            self.files.insert(other, file);
        }
    }

    fn flip_mode(&mut self, random: &mut Random) {
        let path = self.pick(random);
        let file = self.files.get_mut(&path).expect("picked");
        file.mode = if file.mode == "100644" { "100755" } else { "100644" };
    }

    fn turn(&mut self, random: &mut Random) {
        let names: Vec<&'static str> = self.knobs.keys().copied().collect();
        let knob = self.knobs.get_mut(*random.of(&names)).expect("known");
        knob.0 = random.below(knob.1);
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
///
/// # Panics
/// If it fails.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
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
