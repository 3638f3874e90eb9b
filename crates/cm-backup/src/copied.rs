//! A directory of mongodump on a host. It is copied to this machine once, because a restore reads
//! a backup several times, and the files of a directory in another order than they are listed in.

use crate::store::Store;
use cm_core::{Exit, Failure, OrFail, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// A copy ends with its connection; this only bounds what nothing else does.
const LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// `$1` directory. Only what mongodump makes, and no links.
const SEND: &str = r#"# Sends a directory of mongodump.
set -eu
cd -- "$1"
find . -maxdepth 2 -type f \( -name '*.bson' -o -name '*.bson.gz' -o -name '*.metadata.json' \
  -o -name '*.metadata.json.gz' -o -name prelude.json -o -name prelude.json.gz \) -print0 |
  tar --null --no-recursion -T - -cf -"#;

/// The copy, which is removed with its last owner.
#[derive(Clone, Debug)]
pub struct Copied {
    directory: Arc<TempDir>,
    name: String,
}

/// A server decides what it sends. A link would be followed when the copy is read, to a file of this
/// machine that is nobody's backup.
fn check_plain(directory: &Path) -> Result<(), String> {
    for entry in std::fs::read_dir(directory).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let is = path.symlink_metadata().map_err(|error| error.to_string())?;
        match is.file_type() {
            kind if kind.is_dir() => check_plain(&path)?,
            kind if kind.is_file() && is.nlink() == 1 => {}
            _ => return Err(format!("{} is not a regular file", path.display())),
        }
    }
    Ok(())
}

impl Copied {
    /// Copies the directory `name` of `store`, if it is one.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it does not arrive whole, [`Exit::Unreachable`].
    pub async fn of(store: &Store, name: &str) -> Result<Option<Copied>> {
        let path = store.path(name);
        if !store.host().script(r#"[ -d "$1" ]"#, [path.clone()]).output().await?.success() {
            return Ok(None);
        }
        let message = || format!("cannot copy {} to this machine", store.display(name));
        let directory = TempDir::with_prefix("cm-backup-").or_fail(Exit::Backup, "backup.copy", message())?;
        // A directory of one database has its name.
        let copied = Copied { directory: Arc::new(directory), name: name.to_owned() };
        std::fs::create_dir(copied.path()).or_fail(Exit::Backup, "backup.copy", message())?;
        let mut tar = Command::new("tar");
        tar.args(["-x", "--no-same-owner", "-f", "-", "-C"]).arg(copied.path());
        tar.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut tar = tar.spawn().or_fail(Exit::Backup, "backup.copy", message())?;
        let mut sink = tar.stdin.take().ok_or_else(|| Failure::bug("tar was started without its stdin"))?;
        let sending = store.host().script(SEND, [path]).limit(LIMIT);
        let sent = sending.copy_to(&mut sink, Exit::Backup, "backup.read").await;
        drop(sink);
        let ended = tar.wait_with_output().await.or_fail(Exit::Backup, "backup.copy", message())?;
        let said = String::from_utf8_lossy(&ended.stderr).trim_end().to_owned();
        match sent {
            // What does not fit here breaks the connection, too.
            _ if ["No space left", "Disk quota exceeded"].iter().any(|words| said.contains(words)) => {
                Err(Failure::new(Exit::Backup, "backup.copy", message())
                    .cause(said)
                    .hint("name another directory: TMPDIR"))
            }
            Err(failure) => Err(failure),
            Ok(_) if !ended.status.success() => Err(Failure::new(Exit::Backup, "backup.copy", message()).cause(said)),
            Ok(_) => check_plain(&copied.path()).map(|()| Some(copied)).map_err(|why| {
                Failure::new(Exit::Backup, "backup.copy", message()).cause(why).hint("what does that host send?")
            }),
        }
    }

    /// Where the copy is.
    pub fn path(&self) -> PathBuf {
        Path::new(self.directory.path()).join(&self.name)
    }
}
