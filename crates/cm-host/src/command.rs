//! A command on a host: a list of arguments, a directory, a time limit. Whether it
//! could be run at all is a [`Result`]; what it answered is in the [`Output`].

use crate::Host;
use crate::process::{Process, Reader};
use crate::shell::{Request, Taking};
use cm_core::{Exit, Failure, Result, decapitalized};
use std::collections::VecDeque;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{Sender, channel};

/// Long enough for anything but builds and dumps.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// More output than this of one command is not kept, in bytes.
const MAX_OUTPUT: usize = 64 << 20;

/// How many lines of streamed output an error shows.
const TAIL_LINES: usize = 20;

/// What becomes of a command when this program or the connection ends first. By itself
/// it goes on unseen until it writes something, and then dies of that: a build goes on
/// beside the rollback, a replacement of containers stops at any point.
#[derive(Clone, Debug)]
enum Life {
    /// What ssh makes of it: right for what is short or only reads.
    Plain,
    /// It is ended as well.
    WithUs,
    /// So is this one, of which there may be many at a time.
    WithUsBesideOthers,
    /// It goes on to its end.
    ToItsEnd,
    /// It goes on in a session of its own, where the next one finds it.
    Job,
}

/// Ends a job: see [`Host::end_job`]. For scripts that do it on their way; its arguments are
/// the job's directory and the beginning of the key of one that may stay, or nothing.
pub const END_JOB: &str = include_str!("end.sh");

/// How a job came to run: the first line it is said in.
const JOB_NEWS: [(&str, Begun); 3] =
    [("cm-job started", Begun::Now), ("cm-job adopted", Begun::Before), ("cm-job ended", Begun::AndEnded)];

/// How a job came to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begun {
    /// It was started.
    Now,
    /// The same command ran already, for a program that was killed or a connection that was cut.
    Before,
    /// The same command had run to its good end already, and nobody had asked.
    AndEnded,
}

/// A command that is not yet running.
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until it is run"]
pub struct Command<'a> {
    host: &'a Host,
    argv: Vec<String>,
    cwd: Option<String>,
    env: Vec<(String, String)>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
    life: Life,
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// stdout as text, without the newline at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Host {
    /// Ends the job of `dir`, if one runs there, with all that it started, and forgets how it
    /// ended: the next one begins again. With `keep`, a job whose key begins with that word stays.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; `exit` if it cannot be ended.
    pub async fn end_job(&self, dir: &str, keep: &str, exit: Exit) -> Result<()> {
        self.script(END_JOB, [self.path(dir), keep.to_owned()]).text(exit, "host.job").await.map(drop)
    }
}

impl<'a> Command<'a> {
    pub(crate) fn new(host: &'a Host, argv: Vec<String>) -> Self {
        Command { host, argv, cwd: None, env: Vec::new(), stdin: None, limit: DEFAULT_LIMIT, life: Life::Plain }
    }

    /// Runs it in this directory of the host.
    pub fn cwd(mut self, path: &str) -> Self {
        self.cwd = Some(self.host.path(path));
        self
    }

    /// Sets a variable for it. Never a secret: others can see it in `ps`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it these bytes on stdin.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take; a minute if nothing is said.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Ends it with SIGTERM when this program or the connection ends, and starts it only
    /// when no other such command runs in its directory. It gets no stdin.
    pub fn ends_with_us(mut self) -> Self {
        self.life = Life::WithUs;
        self
    }

    /// Ends it with SIGTERM when this program or the connection ends, whatever else runs there.
    /// For what says nothing for long, which nothing else would end. It gets no stdin.
    pub fn ends_with_us_beside_others(mut self) -> Self {
        self.life = Life::WithUsBesideOthers;
        self
    }

    /// Lets it go on to its end when this program or the connection ends, and starts it
    /// only when no other such command runs in its directory. It gets no stdin; its output
    /// comes at its end.
    pub fn to_its_end(mut self) -> Self {
        self.life = Life::ToItsEnd;
        self
    }

    /// Runs it in a session of its own, which outlives this program and the connection, and
    /// hands every line it writes to `line`. `dir` is the directory on the host for what there is
    /// to know of it; one job at a time runs there. Where one with this `key` (one line; for
    /// [`END_JOB`] its first word tells) runs already, or has run to its good end, that one is
    /// followed; another one is ended first.
    ///
    /// # Errors
    /// As [`Command::stream`].
    pub async fn job(
        mut self,
        dir: &str,
        key: &str,
        exit: Exit,
        code: &str,
        mut line: impl FnMut(&str),
    ) -> Result<Begun> {
        let fixed = ["sh", "-c", include_str!("job.sh"), "sh", &self.host.path(dir), key, END_JOB];
        self.argv = fixed.iter().map(|word| (*word).to_owned()).chain(self.argv).collect();
        self.life = Life::Job;
        let mut begun = Begun::Now;
        let followed = self.stream(exit, code, |text| match job_news(text) {
            Some(how) => begun = how,
            None => line(text),
        });
        followed.await.map(|()| begun)
    }

    /// The command as a person would type it on the host.
    pub fn display(&self) -> String {
        let words = self.argv.iter().map(|word| quote(word));
        let variables = self.env.iter().map(|(name, value)| format!("{name}={}", quote(value)));
        let line = variables.chain(words).collect::<Vec<_>>().join(" ");
        match &self.cwd {
            Some(cwd) => format!("cd {} && {line}", quote(cwd)),
            None => line,
        }
    }

    /// `env -C DIR NAME=VALUE…` in front: no shell needs to be trusted with them.
    fn full_argv(&self) -> Vec<String> {
        let mut argv = Vec::new();
        if self.cwd.is_some() || !self.env.is_empty() {
            argv.push("env".to_owned());
            if let Some(cwd) = &self.cwd {
                argv.extend(["-C".to_owned(), cwd.clone()]);
            }
            argv.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        }
        let around = match self.life {
            Life::WithUs => Some([include_str!("leash.sh"), "sh", "alone"].as_slice()),
            Life::WithUsBesideOthers => Some([include_str!("leash.sh"), "sh", "beside"].as_slice()),
            Life::ToItsEnd => Some([include_str!("finish.sh"), "sh"].as_slice()),
            Life::Plain | Life::Job => None,
        };
        if let Some(script) = around {
            argv.extend(["sh", "-c"].iter().chain(script).map(|word| (*word).to_owned()));
        }
        // Last, so that it asks when everything else has been waited for.
        argv.extend(self.host.fence.iter().flat_map(|fence| fence.argv()));
        argv.extend(self.argv.iter().cloned());
        argv
    }

    /// What messages call it: a script by what it says of itself in its first line.
    fn title(&self) -> String {
        let script = self.argv.get(2).filter(|_| self.argv.starts_with(&["sh".to_owned(), "-c".to_owned()]));
        match script.and_then(|script| script.strip_prefix("# ")) {
            Some(comment) => {
                format!("what {}", decapitalized(comment.split(['.', '\n', ';', ':']).next().unwrap_or_default()))
            }
            None => format!("`{}`", shorten(&self.display())),
        }
    }

    fn is_leashed(&self) -> bool {
        matches!(self.life, Life::WithUs | Life::WithUsBesideOthers)
    }

    /// A process of its own, over a session of its own.
    async fn start(&self) -> Result<Process> {
        self.host.sessions.make_room();
        let leashed = self.is_leashed();
        let feed = leashed || self.stdin.is_some();
        let mut process = Process::start(&self.host.transport, self.host.name(), &self.full_argv(), feed).await?;
        if leashed {
            // Held open, unused, for as long as the process is held.
            return Ok(process);
        }
        if let (Some(mut pipe), Some(bytes)) = (process.stdin.take(), self.stdin.clone()) {
            // Its own task: a command that answers while it reads must not block us.
            tokio::spawn(async move {
                let _ended_early = pipe.write_all(&bytes).await;
                let _closed = pipe.shutdown().await;
            });
        }
        Ok(process)
    }

    /// The command for a shell that is open: only a server has a line to save, and what is
    /// ended with us is bound to a session of its own.
    fn request(&self) -> Option<Request> {
        let able = !self.is_leashed() && self.host.transport.is_ssh();
        able.then(|| Request::new(&self.full_argv(), self.stdin.as_deref())).flatten()
    }

    /// Runs it to its end and keeps what it says.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] if the host does not answer in time; a command that
    /// fails is an [`Output`], not an error.
    pub async fn output(&self) -> Result<Output> {
        let _session = self.host.sessions.permit().await;
        let output = tokio::time::timeout(self.limit, self.collect()).await.map_err(|_| self.too_slow())??;
        match self.refused(output.status, &output.stdout, &output.stderr) {
            Some(failure) => Err(failure),
            None => Ok(output),
        }
    }

    fn refused(&self, status: ExitStatus, stdout: &[u8], stderr: &str) -> Option<Failure> {
        self.host.fence.as_ref()?.refused(status, &String::from_utf8_lossy(stdout), stderr)
    }

    async fn collect(&self) -> Result<Output> {
        if let Some(request) = self.request() {
            let shells = &self.host.sessions;
            let answer = shells.run(&self.host.transport, self.host.name(), &request, Taking::All(MAX_OUTPUT)).await?;
            if let Some(output) = answer.map_err(|error| self.broken(&error))? {
                return Ok(output);
            }
        }
        let mut process = self.start().await?;
        let (stdout, stderr) = process.read_both(MAX_OUTPUT as u64).await.map_err(|error| self.broken(&error))?;
        let status = process.wait(self.host.name()).await?;
        Ok(Output { status, stdout, stderr })
    }

    /// Runs it and wants success; gives stdout as text.
    ///
    /// # Errors
    /// As [`Command::output`]; and `exit`/`code` with what the command said if it fails.
    pub async fn text(&self, exit: Exit, code: &str) -> Result<String> {
        let output = self.output().await?;
        if output.success() { Ok(output.text()) } else { Err(self.failed(exit, code, output.status, &output.stderr)) }
    }

    /// Runs it and hands every line it writes to `line`, stdout and stderr as they come.
    ///
    /// # Errors
    /// As [`Command::text`]; the failure shows the last lines.
    pub async fn stream(&self, exit: Exit, code: &str, line: impl FnMut(&str)) -> Result<()> {
        if matches!(self.life, Life::ToItsEnd) {
            // It says everything at its end anyhow.
            let output = self.output().await?;
            let said = if output.success() { output.text() } else { output.stderr };
            said.lines().for_each(line);
            return if output.status.success() { Ok(()) } else { Err(self.failed(exit, code, output.status, &said)) };
        }
        let _session = self.host.sessions.permit().await;
        let followed = tokio::time::timeout(self.limit, self.follow(line)).await.map_err(|_| self.too_slow())?;
        let (status, tail) = followed?;
        match self.refused(status, tail.as_bytes(), "") {
            Some(failure) => Err(failure),
            None if status.success() => Ok(()),
            None => Err(self.failed(exit, code, status, &tail)),
        }
    }

    async fn follow(&self, mut line: impl FnMut(&str)) -> Result<(ExitStatus, String)> {
        let (sender, mut receiver) = channel::<String>(64);
        let take = async {
            let mut tail = VecDeque::new();
            while let Some(text) = receiver.recv().await {
                line(&text);
                if matches!(self.life, Life::Job) && job_news(&text).is_some() {
                    continue;
                }
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(text);
            }
            Vec::from(tail).join("\n")
        };
        let (status, tail) = tokio::join!(self.say(sender), take);
        Ok((status?, tail))
    }

    /// Runs it and sends every line.
    async fn say(&self, sender: Sender<String>) -> Result<ExitStatus> {
        if let Some(request) = self.request() {
            let shells = &self.host.sessions;
            let answer = shells.run(&self.host.transport, self.host.name(), &request, Taking::Lines(&sender)).await?;
            if let Some(output) = answer.map_err(|error| self.broken(&error))? {
                return Ok(output.status);
            }
        }
        let mut process = self.start().await?;
        let nothing = || Box::new(tokio::io::empty()) as Reader;
        let out = tokio::spawn(send_lines(std::mem::replace(&mut process.stdout, nothing()), sender.clone()));
        let err = tokio::spawn(send_lines(std::mem::replace(&mut process.stderr, nothing()), sender));
        let _ended = tokio::join!(out, err);
        process.wait(self.host.name()).await
    }

    /// Runs it and copies its stdout into `sink` as it comes; gives the number of bytes.
    ///
    /// # Errors
    /// As [`Command::text`].
    pub async fn copy_to<W: tokio::io::AsyncWrite + Unpin>(&self, sink: &mut W, exit: Exit, code: &str) -> Result<u64> {
        let _session = self.host.sessions.permit().await;
        let copy = async {
            let mut process = self.start().await?;
            let mut said = Vec::new();
            let mut stderr =
                std::mem::replace(&mut process.stderr, Box::new(tokio::io::empty()) as Reader).take(MAX_OUTPUT as u64);
            let copied = tokio::try_join!(tokio::io::copy(&mut process.stdout, sink), stderr.read_to_end(&mut said));
            let (bytes, _) = copied.map_err(|error| self.broken(&error))?;
            let status = process.wait(self.host.name()).await?;
            if status.success() {
                Ok(bytes)
            } else {
                Err(self.failed(exit, code, status, &String::from_utf8_lossy(&said)))
            }
        };
        tokio::time::timeout(self.limit, copy).await.map_err(|_| self.too_slow())?
    }

    /// Runs it and feeds it `source` on stdin as it comes; gives stdout as text.
    ///
    /// # Errors
    /// As [`Command::text`]; also if `source` cannot be read to its end, and then
    /// the command's stdin is *not* closed cleanly before it is abandoned.
    pub async fn copy_from<R: AsyncRead + Unpin>(&self, source: &mut R, exit: Exit, code: &str) -> Result<String> {
        let _session = self.host.sessions.permit().await;
        let copy = async {
            self.host.sessions.make_room();
            let mut process = Process::start(&self.host.transport, self.host.name(), &self.full_argv(), true).await?;
            let mut stdin =
                process.stdin.take().ok_or_else(|| Failure::bug("a command was started without its streams"))?;
            let copied = tokio::io::copy(source, &mut stdin).await;
            if copied.is_ok() {
                let _closed = stdin.shutdown().await;
            }
            drop(stdin);
            let (out, said) = process.read_both(MAX_OUTPUT as u64).await.map_err(|error| self.broken(&error))?;
            let status = process.wait(self.host.name()).await?;
            match copied {
                _ if !status.success() => Err(self.failed(exit, code, status, &said)),
                Err(error) => Err(self.broken(&error)),
                Ok(_) => Ok(String::from_utf8_lossy(&out).trim_end().to_owned()),
            }
        };
        tokio::time::timeout(self.limit, copy).await.map_err(|_| self.too_slow())?
    }

    fn failed(&self, exit: Exit, code: &str, status: ExitStatus, said: &str) -> Failure {
        let tail: Vec<_> = said.trim_end().lines().rev().take(TAIL_LINES).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        let message = format!("on {}: {} failed ({status})", self.host.name(), self.title());
        let failure = Failure::new(exit, code, message);
        if tail.is_empty() { failure } else { failure.cause(tail) }
    }

    fn too_slow(&self) -> Failure {
        let message = format!("on {}: no end of {} within {} s", self.host.name(), self.title(), self.limit.as_secs());
        Failure::new(Exit::Unreachable, "host.timeout", message)
            .hint("the host or its Docker engine may hang; look at it before you try again")
            .retryable()
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        let message = format!("the connection to host {:?} broke during {}", self.host.name(), self.title());
        Failure::new(Exit::Unreachable, "host.lost", message).cause(error).retryable()
    }
}

fn job_news(line: &str) -> Option<Begun> {
    JOB_NEWS.iter().find(|(said, _)| *said == line).map(|(_, begun)| *begun)
}

async fn send_lines(reader: Reader, sender: Sender<String>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if sender.send(text).await.is_err() {
            return;
        }
    }
}

/// Quoted as a POSIX shell would need it, so that people can paste it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+~%{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Messages name the command, they do not repeat a whole script.
fn shorten(text: &str) -> String {
    let line = text.replace('\n', " ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Begun, Host, Target};
    use cm_core::{Exit, Format, Level, Log, Result};
    use std::path::Path;
    use std::time::Duration;

    async fn here() -> Host {
        let target = Target { name: "here".to_owned(), address: "local".to_owned(), ssh_config: None };
        Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local")
    }

    #[tokio::test]
    async fn data_never_becomes_shell() {
        let host = here().await;
        let nasty = "$(id) `id` ; rm -rf / '\" \n*";
        let said = host.command(["printf", "%s", nasty]).text(Exit::Bug, "t").await.expect("printf");
        assert_eq!(said, nasty);
        let said = host.script("printf %s \"$1\"", [nasty]).text(Exit::Bug, "t").await.expect("sh");
        assert_eq!(said, nasty);
    }

    #[tokio::test]
    async fn a_failing_command_shows_what_it_said() {
        let host = here().await;
        let failure =
            host.script("echo because >&2; exit 3", [""; 0]).text(Exit::Build, "build.x").await.expect_err("3");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "build.x"));
        assert_eq!(failure.causes, ["because"]);
    }

    #[tokio::test]
    async fn a_script_is_called_by_its_first_line() {
        let host = here().await;
        let script = "# Looks around. Reads only.\nexit 3";
        let failure = host.script(script, [""; 0]).text(Exit::Build, "build.x").await.expect_err("3");
        assert_eq!(failure.message, "on here: what looks around failed (exit status: 3)");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let host = here().await;
        let limit = std::time::Duration::from_millis(50);
        let failure = host.command(["sleep", "30"]).limit(limit).output().await.expect_err("limit");
        assert_eq!(failure.code, "host.timeout");
    }

    /// Waits up to five seconds for the file to say something.
    async fn content(path: &std::path::Path) -> String {
        for _ in 0..100 {
            if let Ok(text) = std::fs::read_to_string(path)
                && !text.is_empty()
            {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        String::new()
    }

    #[tokio::test]
    async fn a_leashed_command_ends_when_it_is_given_up() {
        let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
        let script = "trap 'kill $!; echo ended > end; exit 1' TERM; sleep 30 & echo began > begin; wait";
        let command = host.script(script, [""; 0]).cwd(&dir.path().display().to_string()).ends_with_us();
        let failure = command.limit(Duration::from_millis(700)).output().await.expect_err("limit");
        assert_eq!(failure.code, "host.timeout");
        assert_eq!(content(&dir.path().join("begin")).await, "began\n");
        assert_eq!(content(&dir.path().join("end")).await, "ended\n");
    }

    /// Runs `script` as the job of `dir`; gives how it began and what it said.
    async fn job(dir: &Path, key: &str, script: &'static str, patience: u64) -> (Result<Begun>, Vec<String>) {
        let (host, directory) = (here().await, dir.display().to_string());
        let command =
            host.script(script, [""; 0]).cwd(&directory).stdin("input\n").limit(Duration::from_millis(patience));
        let mut lines = Vec::new();
        let begun = command.job(&directory, key, Exit::Build, "build.x", |line| lines.push(line.to_owned())).await;
        (begun, lines)
    }

    const COUNTED: &str = "echo one; echo begun >> count; sleep 1.5; cat; echo done";

    #[tokio::test]
    async fn a_job_outlives_who_started_it_and_the_next_one_goes_on_with_it() {
        let dir = tempfile::tempdir().expect("dir");
        let (cut, _) = job(dir.path(), "a 1", COUNTED, 500).await;
        assert_eq!(cut.expect_err("limit").code, "host.timeout");
        let (begun, lines) = job(dir.path(), "a 1", COUNTED, 30_000).await;
        assert_eq!((begun.expect("ok"), lines), (Begun::Before, ["one", "input", "done"].map(str::to_owned).to_vec()));
        let (begun, lines) = job(dir.path(), "a 1", COUNTED, 30_000).await;
        assert_eq!((begun.expect("ok"), lines.len()), (Begun::AndEnded, 3), "nobody had taken its result");
        assert_eq!(content(&dir.path().join("count")).await, "begun\n", "it ran once");
        here().await.end_job(&dir.path().display().to_string(), "", Exit::Build).await.expect("forgotten");
        let (begun, _) = job(dir.path(), "a 1", "echo again", 30_000).await;
        assert_eq!(begun.expect("ok"), Begun::Now);
    }

    #[tokio::test]
    async fn another_job_is_ended_first_with_all_that_it_started() {
        let dir = tempfile::tempdir().expect("dir");
        let long = "trap 'echo ended > end; exit 1' TERM; sh -c 'sleep 60' & wait $!";
        job(dir.path(), "a 1", long, 500).await.0.expect_err("limit");
        let pid = content(&dir.path().join("pid")).await;
        let (begun, lines) = job(dir.path(), "b 1", "echo other", 30_000).await;
        assert_eq!((begun.expect("ok"), lines), (Begun::Now, vec!["other".to_owned()]));
        assert_eq!(content(&dir.path().join("end")).await, "ended\n");
        let left = std::fs::read_dir("/proc").expect("/proc").flatten().filter(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let rest: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            rest.get(3) == Some(&pid.trim()) && rest.first() != Some(&"Z")
        });
        assert_eq!(left.count(), 0, "nothing of its session is left");
    }

    #[tokio::test]
    async fn a_job_that_failed_says_why_and_is_run_anew() {
        let dir = tempfile::tempdir().expect("dir");
        let failing = "echo begun >> count; echo because >&2; exit 3";
        for _ in 0..2 {
            let failure = job(dir.path(), "a 1", failing, 30_000).await.0.expect_err("3");
            assert_eq!((failure.code.as_str(), failure.causes), ("build.x", vec!["because".to_owned()]));
        }
        assert_eq!(content(&dir.path().join("count")).await, "begun\nbegun\n");
    }

    #[tokio::test]
    async fn a_job_that_may_stay_is_not_ended() {
        let (dir, host) = (tempfile::tempdir().expect("dir"), here().await);
        let directory = dir.path().display().to_string();
        job(dir.path(), "a 1", COUNTED, 300).await.0.expect_err("limit");
        host.end_job(&directory, "a", Exit::Build).await.expect("stays");
        assert_eq!(job(dir.path(), "a 1", COUNTED, 30_000).await.0.expect("ok"), Begun::Before);
        assert_eq!(content(&dir.path().join("count")).await, "begun\n");
    }

    #[tokio::test]
    async fn what_runs_to_its_end_is_waited_for_by_the_next_one() {
        let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
        let directory = dir.path().display().to_string();
        let first = host.script("sleep 1; echo talk; echo first >> order", [""; 0]).cwd(&directory).to_its_end();
        let limit = std::time::Duration::from_millis(300);
        assert_eq!(first.limit(limit).output().await.expect_err("limit").code, "host.timeout");
        let next = host.script("echo next >> order; echo said", [""; 0]).cwd(&directory).to_its_end();
        assert_eq!(next.text(Exit::Bug, "t").await.expect("ok"), "said");
        assert_eq!(content(&dir.path().join("order")).await, "first\nnext\n");
    }

    #[tokio::test]
    async fn what_runs_to_its_end_says_why_it_failed() {
        let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
        for plain in ["echo because >&2; exit 3", "echo because; exit 3"] {
            let command = host.script(plain, [""; 0]).cwd(&dir.path().display().to_string());
            let failure = command.to_its_end().text(Exit::Build, "build.x").await.expect_err("3");
            assert_eq!(failure.causes, ["because"]);
        }
    }

    #[tokio::test]
    async fn lines_arrive_from_both_streams() {
        let host = here().await;
        let mut lines = Vec::new();
        let script = host.script("echo a; echo b >&2; printf c", [""; 0]);
        script.stream(Exit::Bug, "t", |line| lines.push(line.to_owned())).await.expect("ok");
        lines.sort();
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_printed_command_can_be_pasted() {
        let host = here().await;
        let command = host.command(["git", "commit", "-m", "it's"]).cwd("/srv/a b");
        assert_eq!(command.display(), r"cd '/srv/a b' && git commit -m 'it'\''s'");
    }
}
