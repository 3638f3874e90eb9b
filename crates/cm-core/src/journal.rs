//! The journal of a run: every document a program wrote, and every change that
//! can be rolled back, on disk before it happens. It is what is left when a
//! program is killed. One directory a run, in the user's state directory:
//! `$XDG_STATE_HOME/cm/runs/RUN/{NNN-TOOL[-STEP].json, undo.jsonl, rolling-back}`.

use crate::redact::redact;
use crate::{Document, Exit, Failure, OrFail, Result, Step, parse_strict};
use rustix::fs::OFlags;
use serde_json::Value;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The changes that can be rolled back, one a line.
const UNDO_FILE: &str = "undo.jsonl";

/// How many earlier runs are asked how long a step takes.
const RUNS_LOOKED_AT: usize = 5;

/// There once a rollback of the run has begun.
const GOING_BACK_FILE: &str = "rolling-back";

/// There while something is likely to be deployed, and nobody has asked yet.
const EXPECTED_FILE: &str = "changes-expected";

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// The journal of `run_id`. Nothing is created yet.
    pub fn of(run_id: &str) -> Self {
        Journal { dir: state_dir().join("runs").join(run_id) }
    }

    #[cfg(test)]
    pub(crate) fn at(dir: &Path) -> Self {
        Journal { dir: dir.to_owned() }
    }

    /// The ids of all runs that this machine keeps a journal of, oldest first.
    pub fn runs() -> Vec<String> {
        let entries = fs::read_dir(state_dir().join("runs")).into_iter().flatten().flatten();
        let mut ids: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort();
        ids
    }

    /// The newest document of the last run before `doc`'s of the same project that this machine
    /// knows of and that got as far as `step`.
    pub fn run_before(doc: &Document, step: Step) -> Option<Document> {
        Journal::before(doc.project()?, doc.run_id()).find(|other| other.done(step).is_some())
    }

    /// The newest documents of the last few runs of `project` before the run `id`, as far as this machine knows
    /// them; newest first.
    pub fn before(project: &str, id: &str) -> impl Iterator<Item = Document> {
        let earlier = Journal::runs().into_iter().rev().filter(move |other| other.as_str() < id).take(RUNS_LOOKED_AT);
        let documents = earlier.filter_map(|id| Journal::of(&id).newest("cm-record").ok());
        documents.filter(move |other| other.project() == Some(project))
    }

    /// The journal of the run that a person named.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what is no run's id.
    pub fn named(id: &str) -> Result<Self> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Err(Failure::new(Exit::Usage, "usage.run", format!("{id:?} is not a valid run ID"))
                .hint("a run ID looks like 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10; `cm-record history` shows them"));
        }
        Ok(Journal::of(id))
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps `document`, which a program wrote at `step`: written aside, synced, renamed. While nothing
    /// was changed, there is nothing that a power cut could lose: those documents are synced
    /// together, before the first change.
    ///
    /// # Errors
    /// [`Exit::Config`] with the path if the file cannot be written.
    pub fn keep(&self, document: &Document, step: Step) -> Result<()> {
        let name = file_name(document, step);
        let text = redact(&document.to_text(false)).into_owned();
        let write = if document.has_changed() { write_whole } else { write_unsynced };
        write(&self.dir, &name, text.as_bytes()).map_err(|error| self.unwritable(error))
    }

    /// Writes down what takes a change back, before the change is made.
    ///
    /// # Errors
    /// As [`Journal::keep`]; the change must then not be made.
    pub fn keep_undo(&self, entry: &Value) -> Result<()> {
        let first = !self.dir.join(UNDO_FILE).exists();
        let synced = if first { sync_files(&self.dir) } else { Ok(()) };
        let written = synced.and_then(|()| append_line(&self.dir, UNDO_FILE, &redact(&entry.to_string())));
        written.map_err(|error| self.unwritable(error))
    }

    fn unwritable(&self, error: io::Error) -> Failure {
        let message = format!("cannot write the journal in {}", self.dir.display());
        Failure::new(Exit::Config, "journal.write", message)
            .cause(error)
            .hint("free some space, or set XDG_STATE_HOME to a directory that you may write")
    }

    /// The names of the documents in it, in their order.
    pub(crate) fn documents(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| is_document(name));
        names.sort();
        names
    }

    /// One of its documents, read by `tool`.
    ///
    /// # Errors
    /// [`Exit::BadInput`] if it cannot be read.
    pub(crate) fn document(&self, tool: &str, name: &str) -> Result<Document> {
        let bytes =
            fs::read(self.dir.join(name)).or_fail(Exit::BadInput, "journal.read", format!("cannot read {name}"))?;
        Document::parse(tool, &bytes)
    }

    /// What one program of the run tells another that still waits; `None` takes it back. It is lost with
    /// the machine, and that it cannot be written only costs time.
    pub fn set_note(&self, name: &str, text: Option<&str>) {
        let _lost = match text {
            Some(text) => write_unsynced(&self.dir, name, text.as_bytes()),
            None => fs::remove_file(self.dir.join(name)),
        };
    }

    /// A note of [`Journal::set_note`].
    pub fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    /// Says to the programs that wait that the run deploys something, most likely: what follows is not planned yet.
    pub fn expect_changes(&self) {
        self.set_note(EXPECTED_FILE, Some(""));
    }

    /// Whether [`expect_changes`](Self::expect_changes) was called since this was last asked.
    pub(crate) fn take_expected_changes(&self) -> bool {
        fs::remove_file(self.dir.join(EXPECTED_FILE)).is_ok()
    }

    /// The newest document of the run, for going on after a program was killed.
    /// What was journalled as undo after that document is added to it.
    ///
    /// # Errors
    /// [`Exit::BadInput`] if there is none, or it cannot be read.
    pub fn newest(&self, tool: &str) -> Result<Document> {
        let missing = || {
            let message = format!("the journal of this run is not there: {}", self.dir.display());
            Failure::new(Exit::BadInput, "journal.missing", message).hint(
                "it is on the machine that began the run, for whoever began it; cm-rollback without --run rolls back by \
                 what the servers know",
            )
        };
        fs::metadata(&self.dir).map_err(|error| missing().cause(error))?;
        let name = self.documents().pop().ok_or_else(missing)?;
        let mut document = self.document(tool, &name)?;
        for entry in self.undo_entries() {
            if !document.undo_entries().contains(&entry) {
                document.push_undo(entry);
            }
        }
        Ok(document)
    }

    /// The newest document of the run, as the run resumes with it.
    ///
    /// # Errors
    /// As [`Journal::newest`].
    pub fn resumed(&self, tool: &str) -> Result<Document> {
        let mut document = self.newest(tool)?;
        document.resume(self.dir.join(GOING_BACK_FILE).exists());
        Ok(document)
    }

    /// Notes that what the run changed begins to be rolled back: whoever resumes it finds a release
    /// that is partly gone.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub fn keep_going_back(&self) -> Result<()> {
        write_whole(&self.dir, GOING_BACK_FILE, b"").map_err(|error| self.unwritable(error))
    }

    /// Every undo entry, oldest first. A last line that was cut by a crash was
    /// never acted on, because the change comes after the sync.
    fn undo_entries(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join(UNDO_FILE)).unwrap_or_default();
        text.lines().filter_map(|line| parse_strict(line.as_bytes()).ok()).collect()
    }
}

/// Not one that is being written aside.
fn is_document(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}

/// `005-cm-build.json`; where a program is more than one step, the others have their word in it.
fn file_name(document: &Document, step: Step) -> String {
    let (number, tool) = (document.stage_count(), document.tool());
    match tool.strip_prefix("cm-") {
        Some(own) if own == step.as_str() => format!("{number:03}-{tool}.json"),
        _ => format!("{number:03}-{tool}-{step}.json"),
    }
}

/// `$XDG_STATE_HOME/cm`, or `~/.local/state/cm`.
pub fn state_dir() -> PathBuf {
    xdg("XDG_STATE_HOME", ".local/state").join("cm")
}

/// `$XDG_RUNTIME_DIR/cm`, or a directory of the state directory where there is none.
pub fn runtime_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => dir.join("cm"),
        _ => state_dir().join("run"),
    }
}

fn xdg(variable: &str, fallback: &str) -> PathBuf {
    match std::env::var_os(variable).map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => dir,
        _ => std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(fallback),
    }
}

/// Makes `dir` and its parents; only the owner may enter.
///
/// # Errors
/// Those of `mkdir(2)`.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes `dir/name` so that it is either whole or not there, 0600.
///
/// # Errors
/// Those of the file system; nothing is left under the final name then.
pub fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_aside(dir, name, bytes, File::sync_all)?;
    File::open(dir)?.sync_all()
}

/// As [`write_whole`] for everybody who reads it; a power cut may lose it.
fn write_unsynced(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_aside(dir, name, bytes, |_| Ok(()))
}

fn write_aside(dir: &Path, name: &str, bytes: &[u8], sync: fn(&File) -> io::Result<()>) -> io::Result<()> {
    private_dir(dir)?;
    let aside = dir.join(format!(".{name}.{}", std::process::id()));
    let mut file = create_new(&aside)?;
    let written = file.write_all(bytes).and_then(|()| sync(&file)).and_then(|()| fs::rename(&aside, dir.join(name)));
    if written.is_err() {
        let _gone = fs::remove_file(&aside);
    }
    written
}

/// A file that was not there. What is left of a killed program with the same number goes first; a link that
/// somebody else has put there is never followed.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Syncs every file in `dir`; nothing to do if there is no such directory yet. Their names are
/// synced with the directory, when something is appended.
fn sync_files(dir: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    entries.flatten().try_for_each(|entry| match File::open(entry.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync_all(),
    })
}

/// Appends `line` to `dir/name` and syncs it. The line begins with a newline, so
/// that a line cut by a crash never swallows the next one.
fn append_line(dir: &Path, name: &str, line: &str) -> io::Result<()> {
    private_dir(dir)?;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(dir.join(name))?;
    file.write_all(format!("\n{line}\n").as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}
