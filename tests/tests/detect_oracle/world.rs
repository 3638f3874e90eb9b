//! A repository that is made up: files, and knobs that say how the compose files and
//! Dockerfiles are written. It is changed at random, step by step.

use cm_testkit::history::{File, Files, Random};
use std::collections::BTreeMap;

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
