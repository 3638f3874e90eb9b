//! How a command is run: over a shell that is open or a session of its own, with a time limit and
//! budgets for what it says. Whether it could be run at all is a [`Result`]; what it answered is
//! in the [`Output`].

use crate::budget::{self, Lines, MAX_OUTPUT};
use crate::command::{Command, Life};
use crate::output::Output;
use crate::process::{Process, Reader};
use crate::shell::{Request, Taking};
use crate::{faults, fence, job, verbs};
use cm_core::{Exit, Failure, Result};
use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{Sender, channel};

/// How many lines of streamed output an error shows.
const TAIL_LINES: usize = 20;

/// How much is copied at once, in bytes: what a pipe of Linux holds.
const CHUNK: usize = 64 << 10;

impl<Kind> Command<'_, Kind> {
    /// Runs it to its end and keeps what it says.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] if the host does not answer in time, or says more than is read; a
    /// command that fails is an [`Output`], not an error.
    pub async fn output(&self) -> Result<Output> {
        self.vouch()?;
        let _session = self.host.sessions.permit().await;
        let output = tokio::time::timeout(self.limit, self.collect()).await.map_err(|_| self.too_slow())??;
        match self.refused(output.status, &output.stdout, &output.stderr) {
            Some(failure) => Err(failure),
            None => Ok(output),
        }
    }

    /// Runs it and wants success; gives stdout as text.
    ///
    /// # Errors
    /// As [`Command::output`]; and `exit`/`code` with what the command said if it fails.
    pub async fn text(&self, exit: Exit, code: &str) -> Result<String> {
        let output = self.output().await?;
        if output.success() { Ok(output.text()) } else { Err(self.failed(exit, code, output.status, &output.stderr)) }
    }

    /// Runs it and hands every line it writes to `line`, stdout and stderr as they come; of a very
    /// long line only its beginning.
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
        self.vouch()?;
        let _session = self.host.sessions.permit().await;
        let followed = tokio::time::timeout(self.limit, self.follow(line)).await.map_err(|_| self.too_slow())?;
        let (status, tail) = followed?;
        match self.refused(status, tail.as_bytes(), "") {
            Some(failure) => Err(failure),
            None if status.success() => Ok(()),
            None => Err(self.failed(exit, code, status, &tail)),
        }
    }

    /// Runs it and copies its stdout into `sink` as it comes; gives the number of bytes.
    ///
    /// # Errors
    /// As [`Command::text`].
    pub async fn copy_to<W: AsyncWrite + Unpin>(&self, sink: &mut W, exit: Exit, code: &str) -> Result<u64> {
        self.vouch()?;
        let _session = self.host.sessions.permit().await;
        let copy = async {
            let mut process = self.start().await?;
            let mut stderr = std::mem::replace(&mut process.stderr, Box::new(tokio::io::empty()) as Reader);
            let said = async { budget::read_all(&mut stderr, MAX_OUTPUT).await.map_err(|error| self.broken(&error)) };
            let ((bytes, not_begun), said) = tokio::try_join!(self.copy_begun(&mut process.stdout, sink), said)?;
            let status = process.wait(self.host.name()).await?;
            let said = String::from_utf8_lossy(&said);
            match self.refused(status, &not_begun, &said) {
                Some(failure) => Err(failure),
                None if status.success() => Ok(bytes),
                None => Err(self.failed(exit, code, status, &said)),
            }
        };
        tokio::time::timeout(self.limit, copy).await.map_err(|_| self.too_slow())?
    }

    /// Copies what it writes into `sink`, unless it begins as the answer of a fence does: that is given.
    async fn copy_begun<W: AsyncWrite + Unpin>(&self, out: &mut Reader, sink: &mut W) -> Result<(u64, Vec<u8>)> {
        let broken = |error| self.broken(&error);
        let mut head = Vec::new();
        if self.fence.is_some() {
            (&mut *out).take(fence::MARK.len() as u64).read_to_end(&mut head).await.map_err(broken)?;
        }
        if head == fence::MARK.as_bytes() {
            head.extend(budget::read_all(out, MAX_OUTPUT).await.map_err(broken)?);
            return Ok((0, head));
        }
        let mut bytes = 0;
        let mut chunk = head;
        loop {
            sink.write_all(&chunk).await.map_err(|error| self.not_taken(&error))?;
            bytes += chunk.len() as u64;
            chunk.resize(CHUNK, 0);
            let length = out.read(&mut chunk).await.map_err(broken)?;
            chunk.truncate(length);
            if length == 0 {
                sink.flush().await.map_err(|error| self.not_taken(&error))?;
                return Ok((bytes, Vec::new()));
            }
        }
    }

    /// Runs it and feeds it `source` on stdin as it comes; gives stdout as text. Its input also ends where this program
    /// dies: what it reads must say by itself where its end is, or be checked before it is used.
    ///
    /// # Errors
    /// As [`Command::text`]; also if `source` cannot be read to its end, and then
    /// the command's stdin is *not* closed cleanly before it is abandoned.
    pub async fn copy_from<R: AsyncRead + Unpin>(&self, source: &mut R, exit: Exit, code: &str) -> Result<String> {
        self.vouch()?;
        let _session = self.host.sessions.permit().await;
        let copy = async {
            self.host.sessions.make_room();
            faults::before_request(self.fence.is_some());
            let mut process = Process::start(&self.host.transport, self.host.name(), &self.full_argv(), true).await?;
            let mut stdin =
                process.stdin.take().ok_or_else(|| Failure::bug("a command was started without its streams"))?;
            let copied = tokio::io::copy(source, &mut stdin).await;
            if copied.is_ok() {
                let _closed = stdin.shutdown().await;
            }
            drop(stdin);
            let (out, said) = process.read_both(MAX_OUTPUT).await.map_err(|error| self.broken(&error))?;
            let status = process.wait(self.host.name()).await?;
            match copied {
                _ if !status.success() => {
                    Err(self.refused(status, &out, &said).unwrap_or_else(|| self.failed(exit, code, status, &said)))
                }
                Err(error) => Err(self.broken(&error)),
                Ok(_) => Ok(String::from_utf8_lossy(&out).trim_end().to_owned()),
            }
        };
        tokio::time::timeout(self.limit, copy).await.map_err(|_| self.too_slow())?
    }

    /// A command that changes is not run by a handle that only reads, whatever its type says.
    fn vouch(&self) -> Result<()> {
        if self.reads && verbs::changes(&self.argv) {
            let message = format!("on {}: {} would change it, and no lock is asked", self.host.name(), self.title());
            return Err(Failure::bug(message));
        }
        Ok(())
    }

    /// A process of its own, over a session of its own.
    async fn start(&self) -> Result<Process> {
        self.host.sessions.make_room();
        faults::before_request(self.fence.is_some());
        let bound = self.ends_with_connection();
        let feed = bound || self.stdin.is_some();
        let argv = self.argv_with_input();
        let mut process = Process::start(&self.host.transport, self.host.name(), &argv, feed).await?;
        if bound {
            // Held open, unused, for as long as the process is held.
            return Ok(process);
        }
        if let (Some(mut pipe), Some(bytes)) = (process.stdin.take(), self.stdin.clone()) {
            // Its own task: a command that answers while it reads must not block us.
            tokio::spawn(async move {
                if pipe.write_all(&bytes).await.is_ok() {
                    let _closed = pipe.shutdown().await;
                }
            });
        }
        Ok(process)
    }

    /// The command for a shell that is open: only a server has a line to save, and what is
    /// ended with us is bound to a session of its own.
    fn request(&self) -> Option<Request> {
        let able = !self.ends_with_connection() && self.host.transport.is_ssh();
        let request = able.then(|| Request::new(&self.full_argv(), self.stdin.as_deref())).flatten();
        if request.is_some() {
            faults::before_request(self.fence.is_some());
        }
        request
    }

    fn refused(&self, status: ExitStatus, stdout: &[u8], stderr: &str) -> Option<Failure> {
        self.fence.as_ref()?.refused(status, &String::from_utf8_lossy(stdout), stderr)
    }

    async fn collect(&self) -> Result<Output> {
        if let Some(request) = self.request() {
            let shells = &self.host.sessions;
            let answer = shells.run(&self.host.transport, self.host.name(), &request, Taking::All(MAX_OUTPUT)).await?;
            return answer.map_err(|error| self.broken(&error));
        }
        let mut process = self.start().await?;
        let (stdout, stderr) = process.read_both(MAX_OUTPUT).await.map_err(|error| self.broken(&error))?;
        let status = process.wait(self.host.name()).await?;
        Ok(Output { status, stdout, stderr })
    }

    async fn follow(&self, mut line: impl FnMut(&str)) -> Result<(ExitStatus, String)> {
        let (sender, mut receiver) = channel::<String>(64);
        let take = async {
            let mut tail = VecDeque::new();
            while let Some(text) = receiver.recv().await {
                line(&text);
                if matches!(self.life, Life::Job) && job::news(&text).is_some() {
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
            return Ok(answer.map_err(|error| self.broken(&error))?.status);
        }
        let mut process = self.start().await?;
        let nothing = || Box::new(tokio::io::empty()) as Reader;
        let out = send_lines(std::mem::replace(&mut process.stdout, nothing()), sender.clone());
        let err = send_lines(std::mem::replace(&mut process.stderr, nothing()), sender);
        tokio::try_join!(out, err).map_err(|error| self.broken(&error))?;
        process.wait(self.host.name()).await
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

    /// The connection is not at fault where this side does not take what comes.
    fn not_taken(&self, error: &io::Error) -> Failure {
        let message = format!("on {}: this machine stopped taking the output of {}", self.host.name(), self.title());
        Failure::new(Exit::Unreachable, "host.lost", message).cause(error)
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let (host, title) = (self.host.name(), self.title());
        if budget::is_too_much(error) {
            return Failure::new(Exit::Unreachable, "host.too-much", format!("on {host}: {title} said {error}"));
        }
        let message = format!("the connection to host {host:?} broke during {title}");
        Failure::new(Exit::Unreachable, "host.lost", message).cause(error).retryable()
    }
}

async fn send_lines(reader: Reader, sender: Sender<String>) -> io::Result<()> {
    let mut lines = Lines::new(BufReader::new(reader));
    loop {
        let line = match lines.next().await {
            Err(error) if budget::is_too_much(&error) => return Err(error),
            // How the command ended tells whether the line was lost.
            Ok(None) | Err(_) => return Ok(()),
            Ok(Some(line)) => String::from_utf8_lossy(line).trim_end().to_owned(),
        };
        if sender.send(line).await.is_err() {
            return Ok(());
        }
    }
}
