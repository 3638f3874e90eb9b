//! One call of `git`, for what talks to a remote. It asks nobody anything, ends within its limit, dies with
//! whoever waits for it, and its own words are the cause of what fails.

use crate::repository::Repository;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// So much of each stream is kept, in bytes; the rest is read and dropped.
const MOST: usize = 1 << 20;

/// So much of its words is told, in bytes: their end, where the reason is.
const TOLD: usize = 2_000;

/// Variables that would lead to another repository than the one that is meant: a hook of Git sets them.
const FOREIGN: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"];

/// Runs `git COMMAND… -- DATA…` in `directory` for at most `limit`, and gives back what it printed.
///
/// # Errors
/// Its own words, or why there are none.
pub async fn git(directory: &Path, limit: Duration, command: &[&str], data: &[&str]) -> Result<String, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(command).arg("--").args(data);
    for variable in FOREIGN {
        git.env_remove(variable);
    }
    // Its words are read here, whatever language people speak.
    git.env("LC_ALL", "C").env_remove("LANGUAGE").env("GIT_TERMINAL_PROMPT", "0");
    if !has_own_ssh(directory) {
        git.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let name = command.first().copied().unwrap_or_default();
    match tokio::time::timeout(limit, run(git)).await {
        Ok(Ok((true, out, _))) => Ok(text(&out)),
        Ok(Ok((false, _, words))) => Err(end(&text(&words))),
        Ok(Err(error)) => Err(format!("cannot run git: {error}")),
        Err(_) => Err(format!("git {name} did not end within {} s", limit.as_secs())),
    }
}

async fn run(mut git: Command) -> std::io::Result<(bool, Vec<u8>, Vec<u8>)> {
    let mut child = git.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err, status) = tokio::try_join!(read(out), read(err), child.wait())?;
    Ok((status.success(), out, err))
}

/// Reads a stream to its end, and keeps its last [`MOST`] bytes.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let (mut kept, mut part) = (Vec::new(), vec![0; 8 << 10]);
    let Some(mut stream) = stream else { return Ok(kept) };
    loop {
        match stream.read(&mut part).await? {
            0 => break,
            count => kept.extend_from_slice(&part[..count]),
        }
        if kept.len() > 2 * MOST {
            kept.drain(..kept.len() - MOST);
        }
    }
    Ok(kept)
}

/// Whether the user says how `git` calls ssh: then that is how it is called, questions included.
fn has_own_ssh(directory: &Path) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let configured = || Repository::open(directory).ok()?.setting("core.sshCommand");
    set("GIT_SSH_COMMAND") || set("GIT_SSH") || configured().is_some()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The end of a text.
fn end(text: &str) -> String {
    let start = (text.len().saturating_sub(TOLD)..text.len()).find(|at| text.is_char_boundary(*at));
    text[start.unwrap_or(0)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    #[tokio::test]
    async fn what_hangs_is_ended_and_what_fails_is_told_in_its_own_words() {
        let dir = tempfile::tempdir().expect("tempdir");
        let words = git(dir.path(), Duration::from_secs(20), &["ls-remote"], &["./none"]).await.expect_err("none");
        assert!(words.contains("does not appear to be a git repository"), "{words}");
        // A remote that answers nothing at all.
        let silent = dir.path().join("silent");
        std::fs::write(&silent, "#!/bin/sh\nexec sleep 60\n").expect("write");
        std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let began = Instant::now();
        let pack = format!("--upload-pack={}", silent.display());
        let words = git(dir.path(), Duration::from_secs(1), &["ls-remote", &pack], &["./none"]).await;
        assert_eq!(words.expect_err("silent"), "git ls-remote did not end within 1 s");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn of_long_words_the_end_is_told() {
        let long = format!("{}é{}", "a".repeat(5_000), "b".repeat(TOLD - 1));
        assert_eq!(end(&long), "b".repeat(TOLD - 1));
        assert_eq!((end("short"), end("")), ("short".to_owned(), String::new()));
    }
}
