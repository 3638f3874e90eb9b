//! A directory of backups right before another one is made: what crashed runs left, the room on
//! its disk, and the last backup of the same database, which the new one is compared with.

use cm_archive::manifest::Manifest;
use cm_archive::text;
use cm_core::{Exit, Failure, Result};

/// Room that a backup leaves on the disk, in bytes.
const SPARE: u64 = 64 << 20;

/// What a directory says before a backup is made.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// What dead runs left and is gone now.
    pub removed: Vec<String>,
    /// Free space, in bytes, where the file system says.
    pub free: Option<u64>,
    /// The newest backup of the same database.
    pub previous: Option<Manifest>,
}

impl Prepared {
    /// What the host said.
    pub fn parse(text: &str) -> Self {
        let (head, manifest) = text.split_once("manifest\n").unwrap_or((text, ""));
        let mut prepared = Prepared { previous: Manifest::parse(manifest.as_bytes()).ok(), ..Prepared::default() };
        for line in head.lines() {
            match line.split_once(' ') {
                Some(("removed", name)) => prepared.removed.push(name.to_owned()),
                Some(("free", bytes)) => prepared.free = bytes.parse().ok(),
                _ => {}
            }
        }
        prepared
    }

    /// That there is room for another backup in `directory`. The last one says best how much is needed; without one,
    /// the `size` of the data, in bytes.
    ///
    /// # Errors
    /// [`Exit::Backup`] if there is not.
    pub fn check_space(&self, size: Option<u64>, directory: &str) -> Result<()> {
        let last = self.previous.as_ref().map(|last| last.bytes + last.bytes / 4);
        let (Some(free), Some(needed)) = (self.free, last.or(size)) else { return Ok(()) };
        if free >= needed.saturating_add(SPARE) {
            return Ok(());
        }
        let message = format!(
            "{directory} has {} free, and the backup may take {}; {} must stay free besides it",
            text::bytes(free),
            text::bytes(needed),
            text::bytes(SPARE)
        );
        Err(Failure::new(Exit::Backup, "backup.no-space", message)
            .hint("remove old backups there (`cm-backup list` shows them), or name another directory"))
    }

    /// A warning, where `manifest` is of a backup much smaller than the last one: data may be lost.
    pub fn shrunk(&self, manifest: &Manifest) -> Option<String> {
        let comparable = |last: &&Manifest| last.database == manifest.database && last.selection == manifest.selection;
        let last = self.previous.as_ref().filter(comparable)?;
        let shrunk = manifest.documents < last.documents / 2 || manifest.data_bytes < last.data_bytes / 2;
        shrunk.then(|| {
            format!(
                "the backup has {} ({}) where the last one ({}) had {} ({})",
                manifest.holds(),
                text::bytes(manifest.data_bytes),
                last.file,
                last.holds(),
                text::bytes(last.data_bytes)
            )
        })
    }
}
