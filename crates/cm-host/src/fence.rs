//! A question that every command asks on the host right before it begins, in the same round
//! trip: whether it may. Between the answer and the change there is no line that could be slow.

use crate::output::Output;
use cm_core::Failure;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The exit status of a command that was not begun.
const STATUS: i32 = 79;

/// What stands before the answer of one that was not begun.
pub(crate) const MARK: &str = "cm-fence ";

/// A fixed script and what it has to answer for a command to be begun.
pub struct Fence {
    /// Says `word` and a newline to stdout, and nothing else, if a command may begin.
    pub script: &'static str,
    /// Its arguments. It runs in the home directory, where relative paths start.
    pub arguments: [String; 4],
    /// The word.
    pub word: &'static str,
    /// Why not, by another answer of the script.
    pub refusal: Box<dyn Fn(&Output) -> Failure + Send + Sync>,
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

impl Fence {
    /// What goes in front of a command's own arguments.
    pub(crate) fn argv(&self) -> impl Iterator<Item = String> {
        let fixed = ["sh", "-c", include_str!("fence.sh"), "sh", self.word, self.script].map(str::to_owned);
        fixed.into_iter().chain(self.arguments.clone())
    }

    /// Why a command that ended like this was not begun; `None` if it was.
    pub(crate) fn refused(&self, status: ExitStatus, stdout: &str, stderr: &str) -> Option<Failure> {
        if status.code() != Some(STATUS) {
            return None;
        }
        // A command that keeps its output to its end says all of it on stderr.
        let (before, answer) = [stdout, stderr].into_iter().find_map(|text| {
            let at = if text.starts_with(MARK) { 0 } else { text.find(&format!("\n{MARK}"))? + 1 };
            Some((&text[..at], &text[at + MARK.len()..]))
        })?;
        let (code, said) = answer.split_once('\n').unwrap_or((answer, ""));
        let status = ExitStatus::from_raw(code.parse::<i32>().unwrap_or(1) << 8);
        let stderr = format!("{before}{}", if stdout.is_empty() { "" } else { stderr });
        Some((self.refusal)(&Output { status, stdout: said.as_bytes().to_vec(), stderr }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fenced, Host, Target};
    use cm_core::{Exit, Format, Level, Log};

    const ASK: &str = "cat; pwd >&2; case $1 in yes) echo go ;; no) printf 'stay\\n%s\\n' \"$2\" ;; *) exit 75 ;; esac";

    async fn host(answer: &str) -> Fenced {
        let target = Target::at("local", "local");
        let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
        let refusal = |output: &Output| {
            let said = format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stdout));
            Failure::new(Exit::LockLost, "lock.lost", said).cause(output.stderr.trim())
        };
        let arguments = [answer, "it's gone", "", ""].map(str::to_owned);
        Fenced::new(&host, Fence { script: ASK, arguments, word: "go", refusal: Box::new(refusal) })
    }

    #[tokio::test]
    async fn a_command_that_may_begin_is_as_without_a_fence() {
        let (host, dir) = (host("yes").await, tempfile::tempdir().expect("dir"));
        let directory = dir.path().canonicalize().expect("dir").display().to_string();
        let command = host.script("pwd; cat; exit 79", [""; 0]).cwd(&directory).env("A", "b").stdin("input");
        let output = command.output().await.expect("begun");
        assert_eq!((output.text(), output.status.code()), (format!("{directory}\ninput"), Some(79)));
        for (script, wanted) in [("cat", "0123456789"), ("head -c 4; cat >/dev/null", "0123")] {
            let (mut sink, mut source) = (Vec::new(), &b"0123456789"[..]);
            let copied = host.script(script, [""; 0]).stdin(source).copy_to(&mut sink, Exit::Build, "build.x").await;
            assert_eq!((copied.expect("begun"), sink.as_slice()), (wanted.len() as u64, wanted.as_bytes()));
            let said = host.script(script, [""; 0]).copy_from(&mut source, Exit::Build, "build.x").await;
            assert_eq!(said.expect("begun"), wanted);
        }
    }

    #[tokio::test]
    async fn a_command_that_may_not_is_not_begun() {
        let dir = tempfile::tempdir().expect("dir");
        let directory = dir.path().display().to_string();
        let home = std::env::home_dir().expect("home").canonicalize().expect("home").display().to_string();
        for (answer, said) in [("no", "Some(0) stay\nit's gone\n"), ("broken", "Some(75) \n")] {
            let host = host(answer).await;
            let command = || host.script("echo begun >> begun", [""; 0]).cwd(&directory);
            let ends = [
                command().output().await.map(drop),
                command().stdin("input").text(Exit::Build, "build.x").await.map(drop),
                command().to_its_end().stream(Exit::Build, "build.x", |_| ()).await,
                command().copy_to(&mut Vec::new(), Exit::Build, "build.x").await.map(drop),
                command().copy_from(&mut &b"input"[..], Exit::Build, "build.x").await.map(drop),
            ];
            for end in ends {
                let failure = end.expect_err(answer);
                assert_eq!((failure.exit, failure.message.trim_end()), (Exit::LockLost, said.trim_end()));
                assert_eq!(failure.causes, std::slice::from_ref(&home));
            }
            let job = command().job(&directory, "a 1", Exit::Build, "build.x", |_| ()).await;
            assert_eq!(job.expect_err(answer).exit, Exit::LockLost);
            assert!(!dir.path().join("begun").exists());
        }
    }
}
