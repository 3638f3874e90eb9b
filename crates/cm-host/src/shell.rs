//! Short commands on a server go through a shell that stays open. A session of its own costs a
//! command three round trips or so: to open it, to start, to end. Over a slow line that is most
//! of what a deployment waits for; a shell that is open already answers in one.
//!
//! A shell runs one command at a time; who finds none idle opens another one, so that nothing
//! waits for what takes long. The request is one compound command, which `sh` reads to its end
//! before it begins: of one that was cut nothing is run. Each stream of the answer lies between
//! two lines with a word that nobody can guess and that the command is not told, hence it may
//! contain any bytes. The command runs in a subshell with a stdin of its own: in the directory and
//! the environment of any other, and nothing of it is left for the next one. Its answer ends when
//! it does; what it leaves running must not write to its streams.
//!
//! A shell whose command was given up is closed and never used again. One that died idle has
//! begun nothing, and the command is run elsewhere; one that died partway looks as if the
//! command had been killed, or as the connection that was lost.

use crate::budget::{Lines, is_too_much, too_much};
use crate::lender;
use crate::output::Output;
use crate::process::{Process, Reader, Transport, after_cut, no_shell};
use cm_core::{Failure, Result};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, SemaphorePermit};

/// sshd allows 10 sessions a connection by default (`MaxSessions`). Half stay free: for the other
/// programs of the pipe, and because sshd counts a session that has just ended for a moment more.
pub const MAX_SESSIONS: usize = 5;

/// So much is told of what is not a shell, in bytes.
const MAX_SAID: usize = 2 << 10;

/// A command's stdin is part of the request up to this size, in bytes.
const MAX_INPUT: usize = 64 << 10;

/// The sessions of one connection: who may run something, and the shells that are open.
pub struct Sessions {
    running: Semaphore,
    idle: Mutex<Vec<Shell>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}

impl Sessions {
    pub fn new() -> Self {
        Sessions { running: Semaphore::new(MAX_SESSIONS), idle: Mutex::default() }
    }

    /// The right to run one command, by either of the two ways.
    pub async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.running.acquire().await.ok()
    }

    /// Makes room for a session of its own: an idle shell is one, too.
    pub fn make_room(&self) {
        let mut idle = self.idle();
        let most = self.running.available_permits();
        idle.truncate(most);
    }

    /// Opens up to `count` shells before they are needed.
    pub async fn open(&self, transport: &Transport, host: &str, count: usize) {
        let opened = futures_util::future::join_all((0..count).map(|_| Shell::get(transport, host))).await;
        // Whoever needs one finds out why there is none.
        opened.into_iter().flatten().for_each(|shell| self.keep(shell));
    }

    /// Runs a command in a shell. The caller has a [`Sessions::permit`].
    pub async fn run(
        &self,
        transport: &Transport,
        host: &str,
        request: &Request,
        taking: Taking<'_>,
    ) -> Result<io::Result<Output>> {
        let mut tries = 0;
        loop {
            let idle = self.idle().pop();
            tries += u32::from(idle.is_none());
            let mut shell = match idle {
                Some(shell) => shell,
                None if tries == 1 => Shell::get(transport, host).await?,
                // A borrowed one may have died with all others of its lender.
                None => Shell::open(transport, host).await?,
            };
            return Ok(match shell.run(request, taking).await {
                Ok(Ended::Whole(output)) => {
                    self.keep(shell);
                    Ok(output)
                }
                // Those that are idle may all have died together, and a new one with its server.
                Ok(Ended::Unbegun { .. }) if tries < 2 => continue,
                Ok(Ended::Unbegun { said }) => {
                    after_cut(transport, host).await?;
                    return Err(no_shell(host, &said));
                }
                Ok(Ended::Cut { stdout, stderr }) => {
                    let status = after_cut(transport, host).await?;
                    Ok(Output { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
                }
                Err(error) => Err(error),
            });
        }
    }

    fn keep(&self, shell: Shell) {
        let Some(shell) = shell.give_back() else { return };
        let mut idle = self.idle();
        // Its own permit is given back in a moment.
        if idle.len() <= self.running.available_permits() {
            idle.push(shell);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Shell>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is done with what a command says.
#[derive(Clone, Copy)]
pub enum Taking<'a> {
    /// It is kept, so many bytes of each stream.
    All(usize),
    /// Each line of both streams is handed on as it comes.
    Lines(&'a Sender<String>),
}

/// A command as a shell on the host reads it.
pub struct Request {
    words: String,
    input: Option<String>,
}

impl Request {
    /// `None` for a stdin that is too long for it, or no text.
    pub fn new(argv: &[String], stdin: Option<&[u8]>) -> Option<Request> {
        let input = match stdin {
            Some(bytes) if bytes.len() > MAX_INPUT || bytes.contains(&0) => return None,
            Some(bytes) => Some(quoted(std::str::from_utf8(bytes).ok()?)),
            None => None,
        };
        let words: Vec<_> = argv.iter().map(|word| quoted(word)).collect();
        Some(Request { words: words.join(" "), input })
    }

    fn text(&self, begin: &str, end: &str) -> String {
        // `printf` is the shell's own: what it is given is in no list of processes.
        let command = match &self.input {
            Some(input) => format!("printf %s {input} | ( {} )", self.words),
            None => format!("( {} ) </dev/null", self.words),
        };
        format!(
            "{{ printf '{begin}\\n'; printf '{begin}\\n' >&2; {command}; \
             printf '\\n{end} %s\\n' \"$?\"; printf '\\n{end} \\n' >&2; }}\n"
        )
    }
}

/// No word is anything else to the shell than itself.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// One shell on the host.
struct Shell {
    process: Process,
    secret: String,
    count: u64,
}

/// What became of a request.
enum Ended {
    /// It was answered.
    Whole(Output),
    /// The shell was gone before it began; what came instead.
    Unbegun { said: String },
    /// The shell went away while the command ran; what it had said.
    Cut { stdout: Vec<u8>, stderr: Vec<u8> },
}

impl Shell {
    /// One that is lent, else one of our own.
    async fn get(transport: &Transport, host: &str) -> Result<Shell> {
        if let Transport::Ssh(line) = transport
            && let Some(process) = lender::borrow(line.target()).await
        {
            return Shell::of(process);
        }
        Shell::open(transport, host).await
    }

    async fn open(transport: &Transport, host: &str) -> Result<Shell> {
        Shell::of(Process::start(transport, host, &["sh".to_owned()], true).await?)
    }

    fn of(process: Process) -> Result<Shell> {
        let mut secret = [0; 16];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret));
        read.map_err(|error| Failure::bug("no random numbers on this machine").cause(error))?;
        let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Shell { process, secret, count: 0 })
    }

    fn give_back(self) -> Option<Shell> {
        let Shell { process, secret, count } = self;
        process.give_back().map(|process| Shell { process, secret, count })
    }

    async fn run(&mut self, request: &Request, taking: Taking<'_>) -> io::Result<Ended> {
        self.count += 1;
        let word = |what| format!("cm-{}-{}-{what}", self.secret, self.count);
        let (begin, end) = (word("begin"), word("end"));
        // If not all of it is written, nothing of it is run.
        if let Some(stdin) = &mut self.process.stdin
            && stdin.write_all(request.text(&begin, &end).as_bytes()).await.is_ok()
        {
            let _read_below = stdin.flush().await;
        }
        let Process { stdout, stderr, .. } = &mut self.process;
        let (out, err) = match taking {
            Taking::All(most) => {
                tokio::try_join!(between(stdout, &begin, &end, most), between(stderr, &begin, &end, most))?
            }
            Taking::Lines(to) => tokio::try_join!(lines(stdout, &begin, &end, to), lines(stderr, &begin, &end, to))?,
        };
        Ok(match (out, err) {
            (Part { status: Some(status), bytes: stdout, .. }, Part { status: Some(_), bytes: stderr, .. }) => {
                let status = status.parse::<i32>().map_err(io::Error::other)?;
                let (status, stderr) = (ExitStatus::from_raw(status << 8), String::from_utf8_lossy(&stderr).into());
                Ended::Whole(Output { status, stdout, stderr })
            }
            (out, err) if out.begun || err.begun => Ended::Cut { stdout: out.bytes, stderr: err.bytes },
            (out, err) => {
                let said = [out.bytes, err.bytes].concat();
                Ended::Unbegun { said: String::from_utf8_lossy(&said[..said.len().min(MAX_SAID)]).into_owned() }
            }
        })
    }
}

/// What one stream of an answer says.
#[derive(Default)]
struct Part {
    begun: bool,
    bytes: Vec<u8>,
    /// The rest of the last line; `None` if the stream ended before.
    status: Option<String>,
}

/// Reads from the line `begin` to the line that starts with `end`, `most` bytes.
async fn between(reader: &mut Reader, begin: &str, end: &str, most: usize) -> io::Result<Part> {
    let (begin, end) = (format!("{begin}\n").into_bytes(), format!("\n{end} ").into_bytes());
    let mut part = Part::default();
    let mut chunk = vec![0; 16 << 10];
    // Up to here there is neither of the two lines.
    let mut sought = 0;
    loop {
        let read = match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => return Ok(part),
            Ok(read) => read,
        };
        part.bytes.extend_from_slice(&chunk[..read]);
        if part.bytes.len() > most {
            return Err(too_much(most as u64));
        }
        if !part.begun {
            // What somebody has left behind, such as a greeting.
            let Some(at) = find(&part.bytes[sought..], &begin).map(|at| at + sought) else {
                sought = part.bytes.len().saturating_sub(begin.len() - 1);
                continue;
            };
            part.bytes.drain(..at + begin.len());
            (part.begun, sought) = (true, 0);
        }
        if let Some(at) = find(&part.bytes[sought..], &end).map(|at| at + sought) {
            sought = at;
            let rest = &part.bytes[at + end.len()..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                part.status = Some(String::from_utf8_lossy(&rest[..length]).into_owned());
                part.bytes.truncate(at);
                return Ok(part);
            }
        } else {
            sought = part.bytes.len().saturating_sub(end.len() - 1);
        }
    }
}

/// Hands on each line from the one after `begin` to the one before that which starts with `end`.
async fn lines(reader: &mut Reader, begin: &str, end: &str, to: &Sender<String>) -> io::Result<Part> {
    let (mut lines, mut part) = (Lines::new(BufReader::new(reader)), Part::default());
    // The newline before the last line is no line of the command's if there was one already.
    let mut empty = false;
    loop {
        let line = match lines.next().await {
            Err(error) if is_too_much(&error) => return Err(error),
            Ok(None) | Err(_) => return Ok(part),
            Ok(Some(line)) => line,
        };
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        if !part.begun {
            part.begun = text == begin;
            if part.bytes.len() < MAX_SAID {
                part.bytes.extend_from_slice(text.as_bytes());
                part.bytes.push(b'\n');
            }
            continue;
        }
        if line.ends_with(b"\n")
            && let Some(rest) = text.strip_prefix(end)
        {
            part.status = Some(rest.trim().to_owned());
            return Ok(part);
        }
        if std::mem::replace(&mut empty, line == b"\n") {
            let _nobody_listens = to.send(String::new()).await;
        }
        if !empty {
            let _nobody_listens = to.send(text).await;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests;
