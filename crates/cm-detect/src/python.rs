//! The syntax of changed Python files, checked by the machine's own `python3`: one
//! process, a fixed program, the sources on stdin. The files are those of the commit,
//! not of the working tree; nothing of them is executed.

use cm_core::{Exit, Failure, Result};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// The longest the check may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The largest file that is checked, in bytes: compiling takes some hundred times as much memory.
pub const MAX_FILE: usize = 4 << 20;

/// The most source text that is checked at once, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Reads a count and that many sources, each with its length before it; writes a
/// line of JSON for every source that does not compile, and one at the end.
const PROGRAM: &str = r#"
import json, platform, sys, warnings
try:
    import resource
    most = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
except (ImportError, ValueError, OSError):
    pass
warnings.simplefilter("ignore")
stream = sys.stdin.buffer
def number():
    return int.from_bytes(stream.read(8), "big")
def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
count = number()
for index in range(count):
    source = stream.read(number())
    try:
        compile(source, "<source>", "exec", 0, True)
    except SyntaxError as e:
        say([index, e.lineno or 1, e.offset or 1, str(e.msg)])
    except MemoryError:
        say({"memory": index})
        break
    except (ValueError, OverflowError, RecursionError) as e:
        say([index, 1, 1, str(e) or type(e).__name__])
say({"done": count, "version": platform.python_version()})
"#;

/// A Python file of the commit.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, for people.
    pub path: String,
    /// Its content.
    pub text: Vec<u8>,
}

/// A file that does not compile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The number of the source.
    pub index: usize,
    /// Where and what: `FILE:LINE:COLUMN: MESSAGE`.
    pub message: String,
}

/// How the check ended.
#[derive(Clone, Debug)]
pub enum Checked {
    /// All were looked at, by this version of Python.
    All {
        /// What does not compile.
        mistakes: Vec<Mistake>,
        /// Python's version.
        version: String,
    },
    /// They could not be checked, for this reason.
    Not(String),
}

/// Checks `sources`.
pub async fn check(sources: &[Source]) -> Checked {
    if sources.iter().map(|source| source.text.len()).sum::<usize>() > MAX_BYTES {
        return Checked::Not(format!("the changed files are larger than {} MiB together", MAX_BYTES >> 20));
    }
    let answer = tokio::time::timeout(LIMIT, ask(sources)).await;
    match answer {
        Err(_) => Checked::Not(format!("python3 took longer than {} s", LIMIT.as_secs())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Checked::Not("there is no python3 on this machine".to_owned())
        }
        Ok(Err(error)) => Checked::Not(format!("python3 cannot be used: {error}")),
        Ok(Ok(text)) => understand(sources, &text).unwrap_or_else(|| Checked::Not("python3 ended early".to_owned())),
    }
}

/// Runs the program; what it wrote, whole or cut.
async fn ask(sources: &[Source]) -> std::io::Result<String> {
    let mut child = Command::new("python3")
        .args(["-I", "-S", "-B", "-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that ends early closes the pipe; what it said tells the rest.
            let _closed = send(&mut stdin, sources).await;
        }
    };
    let read = async {
        let mut text = String::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut text).await?;
        }
        std::io::Result::Ok(text)
    };
    let ((), text) = tokio::join!(write, read);
    child.wait().await?;
    text
}

async fn send(stdin: &mut tokio::process::ChildStdin, sources: &[Source]) -> std::io::Result<()> {
    stdin.write_all(&(sources.len() as u64).to_be_bytes()).await?;
    for source in sources {
        stdin.write_all(&(source.text.len() as u64).to_be_bytes()).await?;
        stdin.write_all(&source.text).await?;
    }
    stdin.shutdown().await
}

/// What the program wrote; `None` if it did not come to its end.
fn understand(sources: &[Source], text: &str) -> Option<Checked> {
    let mut mistakes = Vec::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).ok()?;
        if let Some(version) = value["version"].as_str() {
            return Some(Checked::All { mistakes, version: version.to_owned() });
        }
        if let Some(index) = value["memory"].as_u64() {
            let path = &sources.get(usize::try_from(index).ok()?)?.path;
            return Some(Checked::Not(format!("{path} takes more than 1 GiB to compile")));
        }
        let index = usize::try_from(value[0].as_u64()?).ok()?;
        let source = sources.get(index)?;
        let message = format!("{}:{}:{}: {}", source.path, value[1], value[2], value[3].as_str()?);
        mistakes.push(Mistake { index, message });
    }
    None
}

/// The failure that mistakes in files that services use are.
///
/// # Errors
/// [`Exit::Detect`] if there are any.
pub fn judge(mistakes: &[&Mistake], version: &str) -> Result<()> {
    let Some(first) = mistakes.first() else { return Ok(()) };
    let message = format!("Python {version} cannot compile {}", first.message);
    let failure = Failure::new(Exit::Detect, "detect.python-syntax", message)
        .hint("fix it and commit; in an emergency, --skip-syntax-check deploys it all the same");
    Err(mistakes[1..].iter().fold(failure, |failure, other| failure.cause(format!("also {}", other.message))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[&str]) -> Vec<Source> {
        let numbered = texts.iter().enumerate();
        numbered.map(|(i, text)| Source { path: format!("f{i}.py"), text: text.as_bytes().to_vec() }).collect()
    }

    #[test]
    fn answers_are_understood_and_cut_ones_are_none() {
        let sources = sources(&["", ""]);
        let whole = "[1, 3, 5, \"invalid syntax\"]\n{\"done\": 2, \"version\": \"3.11.2\"}\n";
        match understand(&sources, whole) {
            Some(Checked::All { mistakes, version }) => {
                assert_eq!(version, "3.11.2");
                assert_eq!(mistakes, [Mistake { index: 1, message: "f1.py:3:5: invalid syntax".to_owned() }]);
            }
            other => panic!("{other:?}"),
        }
        match understand(&sources, "{\"memory\": 1}\n") {
            Some(Checked::Not(why)) => assert_eq!(why, "f1.py takes more than 1 GiB to compile"),
            other => panic!("{other:?}"),
        }
        assert!(understand(&sources, "[1, 3, 5, \"x\"]\n").is_none());
        assert!(understand(&sources, "").is_none());
    }
}
