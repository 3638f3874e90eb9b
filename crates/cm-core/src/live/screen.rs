//! The terminal that all programs of a pipe share. Each writes its own lines of the area, and any
//! of them may draw: what all show, and what of it stands on the terminal, is in a file next to a
//! lock, named after the terminal. Lines of a program that was killed go with the next drawing.
//!
//! The area stands above the cursor, which is always at the begin of a fresh line, so that a
//! foreign line pushes the area up and harms nothing.

use crate::journal::{private_dir, runtime_dir};
use crate::meaning::Meaning;
use crate::table::cut;
use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use rustix::process::{Pid, getpgrp, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use unicode_width::UnicodeWidthStr;

/// No more lines than this, all programs together, the foot apart.
const MOST: usize = 7;

/// Somebody draws every second. After a longer silence the programs were suspended, and what
/// stands above the cursor may be anything.
const SUSPENDED_MS: u64 = 4_000;

/// Empties the row of the cursor.
const ROW: &str = "\u{1b}[2K";

/// After Ctrl-Z nobody draws for so long: some are still running when the shell shows its prompt.
const STOPPING_MS: u64 = 300;

/// The area as all programs know it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Area {
    /// How wide each line is that stands on the terminal, in columns.
    drawn: Vec<usize>,
    drawn_at_ms: u64,
    /// Until then nobody draws.
    stopping_until_ms: u64,
    programs: Vec<Program>,
}

/// What one program shows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Program {
    pid: i32,
    shown: Shown,
}

/// The lines of a program, and what it knows of the run as a whole: of all programs' only the last one's is shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Shown {
    pub lines: Vec<String>,
    pub foot: Option<String>,
}

/// The terminal.
pub struct Screen {
    /// Where the file is; without a place, this program has the terminal for itself.
    path: Option<PathBuf>,
    /// The file, once there is something to show.
    file: OnceLock<Option<Mutex<File>>>,
    alone: Mutex<Area>,
}

/// How many columns a line may have; the last one may wrap.
pub fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    // Some terminals do not know how wide they are.
    (if columns == 0 { 80 } else { columns }) - 1
}

impl Screen {
    /// The terminal of stderr.
    pub fn get() -> &'static Screen {
        static SCREEN: OnceLock<Screen> = OnceLock::new();
        SCREEN.get_or_init(|| Screen { path: shared(), file: OnceLock::new(), alone: Mutex::default() })
    }

    /// Writes `text`, which ends with a newline or is empty, and below it the area with these
    /// lines of this program.
    pub fn paint(&self, text: &str, shown: &Shown) {
        // Whoever shows nothing, where nobody shows anything, leaves nothing behind.
        if shown.lines.is_empty() && self.file.get().is_none() && !self.path.as_ref().is_some_and(|path| path.exists())
        {
            return write(text);
        }
        let open = || self.path.as_deref().and_then(open).map(Mutex::new);
        let Some(file) = self.file.get_or_init(open) else {
            let mut area = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            return write(&area.paint(text, shown, width(), is_in_front(), now_ms()));
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = flock(&*file, FlockOperation::LockExclusive);
        let mut area = read(&mut file).unwrap_or_default();
        let known = area.programs.iter().any(|program| program.pid == pid());
        if known || !shown.lines.is_empty() || !area.programs.is_empty() {
            let painted = area.paint(text, shown, width(), is_in_front(), now_ms());
            let _kept = keep(&mut file, &area);
            write(&painted);
        } else {
            write(text);
        }
        let _unlocked = flock(&*file, FlockOperation::Unlock);
    }
}

impl Screen {
    /// Takes the area away and calls `stop`. The one whom the shell waits for does so before the shell shows its prompt. Until that returns nothing of this program draws: one that is stopped
    /// while it has the lock would stop all of them.
    pub fn put_away(&self, stop: &dyn Fn()) {
        let there = self.path.as_deref().filter(|path| path.exists());
        let opened = || there.and_then(open).map(Mutex::new);
        let file = if there.is_some() { self.file.get_or_init(opened).as_ref() } else { None };
        let Some(file) = file else {
            let mut area = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            write(&area.put_away(width(), now_ms()));
            return stop();
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = flock(&*file, FlockOperation::LockExclusive);
        let mut area = read(&mut file).unwrap_or_default();
        write(&area.put_away(width(), now_ms()));
        let _kept = keep(&mut file, &area);
        let _unlocked = flock(&*file, FlockOperation::Unlock);
        stop();
    }
}

/// Where the file of the terminal is.
fn shared() -> Option<PathBuf> {
    let device = fstat(std::io::stderr()).ok()?.st_rdev;
    Some(runtime_dir().join(format!("terminal-{device}")))
}

fn open(path: &Path) -> Option<File> {
    private_dir(path.parent()?).ok()?;
    let flags = OFlags::NOFOLLOW.bits().try_into().ok()?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path).ok()
}

fn read(file: &mut File) -> Option<Area> {
    let mut bytes = Vec::new();
    file.rewind().ok()?;
    file.take(1 << 20).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn keep(file: &mut File, area: &Area) -> std::io::Result<()> {
    file.rewind()?;
    let bytes = serde_json::to_vec(area)?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)
}

/// One write, so that no other program's comes in between.
fn write(text: &str) {
    let _closed = std::io::stderr().lock().write_all(text.as_bytes());
}

fn pid() -> i32 {
    std::process::id().try_into().unwrap_or_default()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// What runs in the background must not draw over what people type.
fn is_in_front() -> bool {
    rustix::termios::tcgetpgrp(std::io::stderr()).map_or(true, |group| group == getpgrp())
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

impl Area {
    /// What to write, so that `text` and then the area stand there.
    fn paint(&mut self, text: &str, shown: &Shown, width: usize, in_front: bool, now_ms: u64) -> String {
        self.programs.retain(|program| is_alive(program.pid));
        if self.programs.is_empty() || now_ms.saturating_sub(self.drawn_at_ms) > SUSPENDED_MS {
            self.drawn.clear();
        }
        match self.programs.iter_mut().find(|program| program.pid == pid()) {
            Some(own) => own.shown = shown.clone(),
            None if !shown.lines.is_empty() => self.programs.push(Program { pid: pid(), shown: shown.clone() }),
            None => {}
        }
        let mut painted = self.erased(width);
        painted.push_str(text);
        self.programs.retain(|program| !program.shown.lines.is_empty());
        // A terminal that became narrower since somebody wrote their line.
        let may_draw = in_front && now_ms >= self.stopping_until_ms;
        let stands: Vec<String> = if may_draw { self.all().map(|line| cut(line, width)).collect() } else { Vec::new() };
        self.drawn = stands.iter().map(|line| line.width()).collect();
        self.drawn_at_ms = now_ms;
        stands.iter().for_each(|line| painted.extend([&Meaning::Quiet.paint(line), "\n"]));
        painted
    }

    /// The lines of all programs, as many as there is room for, and the foot.
    fn all(&self) -> impl Iterator<Item = &String> {
        let lines: Vec<&String> = self.programs.iter().flat_map(|program| &program.shown.lines).collect();
        let foot = self.programs.iter().rev().find_map(|program| program.shown.foot.as_ref());
        let left_out = lines.len().saturating_sub(MOST);
        lines.into_iter().skip(left_out).chain(foot)
    }

    /// What to write, so that nothing stands there.
    fn put_away(&mut self, width: usize, now_ms: u64) -> String {
        let erased = self.erased(width);
        self.drawn.clear();
        self.stopping_until_ms = now_ms + STOPPING_MS;
        erased
    }

    /// Takes away what stands there, row by row; lines may have wrapped since. Terminals that are told to clear all below
    /// their first row keep what stood there in their history.
    fn erased(&self, width: usize) -> String {
        let rows: usize = self.drawn.iter().map(|columns| columns.div_ceil(width + 1).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\r{ROW}{}", format!("\u{1b}[A{ROW}").repeat(rows)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Shown {
        Shown { lines: lines.iter().map(|line| (*line).to_owned()).collect(), foot: None }
    }

    fn with_foot(line: &str, foot: &str) -> Shown {
        Shown { foot: Some(foot.to_owned()), ..lines(&[line]) }
    }

    /// What a terminal of 20 columns shows after `bytes`.
    fn shown(bytes: &str) -> String {
        let size = |count| std::num::NonZeroU16::new(count).expect("more than none");
        let mut terminal = vt100::Parser::new(size(12), size(20), 0);
        terminal.process(bytes.replace('\n', "\r\n").as_bytes());
        terminal.screen().contents().trim_end().to_owned()
    }

    #[test]
    fn messages_stand_above_the_area_and_it_leaves_nothing() {
        let mut area = Area::default();
        let mut said = "$ deploy\n".to_owned();
        said.push_str(&area.paint("[INFO] one\n", &lines(&["build 1 s"]), 19, true, 1));
        assert_eq!(shown(&said), "$ deploy\n[INFO] one\nbuild 1 s");
        said.push_str(&area.paint("[INFO] two\n", &lines(&["build 2 s", "more"]), 19, true, 1_001));
        assert_eq!(shown(&said), "$ deploy\n[INFO] one\n[INFO] two\nbuild 2 s\nmore");
        said.push_str(&area.paint("[SUCCESS] done\n", &lines(&[]), 19, true, 1_200));
        assert_eq!(shown(&said), "$ deploy\n[INFO] one\n[INFO] two\n[SUCCESS] done");
    }

    #[test]
    fn two_programs_share_it_and_a_killed_one_is_forgotten() {
        let mut area = Area::default();
        area.programs.push(Program { pid: 1, shown: with_foot("theirs", "in all 1 s") });
        area.programs.push(Program { pid: i32::MAX - 1, shown: with_foot("nobody's", "gone") });
        let said = area.paint("", &lines(&["ours"]), 19, true, 1);
        assert_eq!(shown(&said), "theirs\nours\nin all 1 s", "one foot, below all of them");
        let said = area.paint("", &with_foot("ours", "in all 2 s"), 19, true, 2);
        assert_eq!(shown(&said), "theirs\nours\nin all 2 s");
    }

    #[test]
    fn after_a_suspension_nothing_above_is_touched() {
        let mut area = Area::default();
        let mut said = area.paint("", &lines(&["build 1 s"]), 19, true, 1);
        said.push_str("$ ls\nfile\n$ fg\n");
        said.push_str(&area.paint("", &lines(&["build 99 s"]), 19, true, 98_000));
        assert_eq!(shown(&said), "build 1 s\n$ ls\nfile\n$ fg\nbuild 99 s");
        let background = area.paint("", &lines(&["build 100 s"]), 19, false, 98_500);
        assert_eq!(shown(&(said + &background)), "build 1 s\n$ ls\nfile\n$ fg");
    }

    #[test]
    fn ctrl_z_takes_the_area_away_and_fg_brings_it_back_below() {
        let mut area = Area::default();
        let mut said = area.paint("[INFO] one\n", &lines(&["build 1 s", "more"]), 19, true, 1);
        said.push_str("^Z");
        said.push_str(&area.put_away(19, 500));
        said.push_str(&area.paint("", &lines(&["build 1 s"]), 19, true, 600));
        said.push_str("\n[1]+  Stopped\n$ fg\n");
        said.push_str(&area.paint("", &lines(&["build 2 s"]), 19, true, 900));
        assert_eq!(shown(&said), "[INFO] one\n\n[1]+  Stopped\n$ fg\nbuild 2 s");
    }

    #[test]
    fn a_terminal_that_becomes_narrower_is_put_right() {
        let mut area = Area::default();
        area.paint("", &lines(&["a line of thirty columns, or so"]), 39, true, 1);
        assert_eq!(area.erased(19).matches("\u{1b}[A").count(), 2, "it takes two rows now");
        assert_eq!(
            shown(&area.paint("", &lines(&["a line of thirty columns, or so"]), 19, true, 2)),
            "a line of thirty c…"
        );
    }
}
