//! Small files on a host: read whole, written whole. Written means: aside, synced,
//! renamed, readable by the owner alone.

use crate::{Fenced, Host};
use cm_core::{Exit, Failure, Result};

/// A reader must be able to tell "not there" (44) from "cannot be read".
const READ: &str = r#"# Reads a file.
if [ ! -e "$1" ] && [ ! -L "$1" ]; then exit 44; fi; exec cat -- "$1""#;

const WRITE: &str = r#"# Writes a file.
set -eu
umask 077
mkdir -p -- "$(dirname -- "$1")"
aside="$1.$$.partial"
trap 'rm -f -- "$aside"' EXIT
cat > "$aside"
chmod -- "$2" "$aside"
sync -- "$aside"
mv -T -- "$aside" "$1"
sync -- "$(dirname -- "$1")""#;

/// The record begins with a newline too, so that a line cut by a crash never
/// swallows the next one. The shell's own printf calls a full disk an I/O error, cat says what it is.
const APPEND: &str = r#"# Appends a line to a file.
set -eu
umask 077
mkdir -p -- "$(dirname -- "$1")"
record=$(cat)
printf '\n%s\n' "$record" | cat >> "$1"
sync -- "$1" "$(dirname -- "$1")""#;

const FULL: &str = "make room there: `df -h` says which disk is full, and `docker system df` what Docker has of it";

impl Host {
    /// The content of a file, or `None` if it is not there.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or `exit` if it is there and cannot be read.
    pub async fn read(&self, path: &str, exit: Exit) -> Result<Option<Vec<u8>>> {
        let command = self.script(READ, [self.path(path)]);
        let output = command.output().await?;
        match output.status.code() {
            Some(0) => Ok(Some(output.stdout)),
            Some(44) => Ok(None),
            _ => Err(Failure::new(exit, "host.read", format!("on {}: cannot read {path}", self.name()))
                .cause(output.stderr.trim_end())),
        }
    }
}

impl Fenced {
    /// Writes a whole file; it is either all there or as it was before. `mode` is
    /// octal, such as `600`. Missing directories are made, for the owner alone.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or `exit` if it cannot be written.
    pub async fn write(&self, path: &str, bytes: &[u8], mode: &str, exit: Exit) -> Result<()> {
        let command = self.script(WRITE, [self.path(path), mode.to_owned()]).stdin(bytes);
        command.text(exit, "host.write").await.map(drop).map_err(|failure| self.about(failure, "write", path))
    }

    /// Appends one line to a file and syncs it.
    ///
    /// # Errors
    /// As [`Host::write`].
    pub async fn append(&self, path: &str, line: &str, exit: Exit) -> Result<()> {
        let appended = self.script(APPEND, [self.path(path)]).stdin(line.as_bytes()).text(exit, "host.append").await;
        appended.map(drop).map_err(|failure| self.about(failure, "append to", path))
    }

    /// With the name of the file in the place of that of the script.
    fn about(&self, failure: Failure, what: &str, path: &str) -> Failure {
        match failure.code.as_str() {
            "host.append" | "host.write" => {
                let is_full = failure.causes.iter().any(|cause| cause.contains("No space left on device"));
                let failure = Failure { message: format!("on {}: cannot {what} {path}", self.name()), ..failure };
                if is_full { failure.hint(FULL) } else { failure }
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fenced, Host, Target, Unlocked};
    use cm_core::{Exit, Format, Level, Log};
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn files_are_written_whole_and_private() {
        let target = Target::at("here", "local");
        let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
        let host = Fenced::unlocked(&host, Unlocked::Test);
        let dir = std::env::temp_dir().join(format!("cm-host-{}", std::process::id()));
        let path = dir.join("a/b c").to_string_lossy().into_owned();
        assert_eq!(host.read(&path, Exit::Bug).await.expect("read"), None);
        host.write(&path, b"one", "600", Exit::Bug).await.expect("write");
        host.append(&path, "two", Exit::Bug).await.expect("append");
        assert_eq!(host.read(&path, Exit::Bug).await.expect("read"), Some(b"one\ntwo\n".to_vec()));
        for full in [
            host.append("/dev/full", "two", Exit::Bug).await,
            host.append("/dev/full", &"x".repeat(99_999), Exit::Bug).await,
        ] {
            let full = full.expect_err("no room");
            assert!(full.causes.concat().contains("No space left on device"), "{full:?}");
            assert_eq!(full.hint.as_deref(), Some(super::FULL));
        }
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left: Vec<_> = std::fs::read_dir(dir.join("a")).expect("dir").collect();
        assert_eq!(left.len(), 1);
        std::fs::remove_dir_all(&dir).expect("clean");
    }
}
