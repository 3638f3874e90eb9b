//! `acquire` and `release`: the lock for the life of another process, such as the script
//! that wrote the pipe. A program of a pipe ends with its document, and a lock must not;
//! so `acquire` starts a small holder in a session of its own, which keeps the kernel lock,
//! renews the leases, and ends when the owner does or `release` asks it to.

use crate::args::{AcquireArgs, Where};
use crate::breaking;
use crate::place::{self, Place};
use crate::wait;
use cm_core::facts::LockFacts;
use cm_core::{
    CommonArgs, Done, Exit, Failure, Io, Journal, Log, OrFail, Part, Result, Run, Signals, parse_strict, write_whole,
};
use cm_lease::{Held, Life, Process, Record, local};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

/// How often the holder looks whether its owner still runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the holder is told on stdin.
#[derive(Debug, Deserialize, Serialize)]
struct Order {
    place: Place,
    /// What the record says; the process in it is filled in by the holder.
    record: Record,
    wait: Option<Duration>,
    owner: Process,
}

/// Starts a holder and notes in the document which lock it holds.
///
/// # Errors
/// [`Exit::Usage`] for an owner that is none; those of taking the lock.
pub async fn acquire(common: &CommonArgs, args: &AcquireArgs, run: &mut Run) -> Result<Done> {
    let owner = owner(args.owner_pid)?;
    let place = Place::new(common, &args.place)?;
    place::check_project(common, &run.doc)?;
    if run.dry_run() {
        return Ok(Done::ok(format!("would hold {}", place.describe())));
    }
    let mut record = Record::new(run.doc.actor(), place.lease)?;
    record.project = place.project.clone();
    record.run = Some(run.doc.run_id().to_owned());
    record.commit = run.doc.commit().map(str::to_owned);
    record.reason = args.taking.reason.clone();
    let order = Order { place, record, wait: args.taking.wait, owner };
    let record = start_holder(&order).await?;
    if let Err(failure) = remember(run.doc.run_id(), &order.place.file) {
        breaking::end(&record.process).await?;
        return Err(failure);
    }
    run.doc.set_part(&LockFacts {
        nonce: Some(record.nonce),
        file: Some(order.place.file.display().to_string()),
        hosts: Some(order.place.host_names().into_iter().map(str::to_owned).collect()),
        holder_pid: Some(record.process.pid),
        owner_pid: Some(order.owner.pid),
        released: None,
    });
    Ok(Done::ok(format!("the deploy lock is held: {}", order.place.describe())))
}

/// The process that the lock is for. It must be the user's own: nobody else's end may
/// decide about this user's lock.
fn owner(pid: u32) -> Result<Process> {
    let wrong = |why: String| {
        Failure::new(Exit::Usage, "usage.owner-pid", format!("cannot hold the lock for process {pid}: {why}"))
            .hint("in a script, --owner-pid $$ names the script itself")
    };
    let process = Process::of(pid).map_err(|error| wrong(error.to_string()))?;
    let process = process.ok_or_else(|| wrong("there is no such process".to_owned()))?;
    let user = rustix::process::geteuid();
    match process.user() {
        uid if user.is_root() || uid == Some(user.as_raw()) => Ok(process),
        Some(uid) => Err(wrong(format!("it belongs to the user with uid {uid}"))),
        None => Err(wrong("it cannot be seen whose it is".to_owned())),
    }
}

/// A holder that does not hold yet: ended if nobody waits for it any more.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        // By SIGTERM, not SIGKILL: it gives back what it may just have taken.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ended = kill_process(id, Signal::TERM);
        }
    }
}

async fn start_holder(order: &Order) -> Result<Record> {
    let order = serde_json::to_vec(order).map_err(|error| Failure::bug("an order cannot be written").cause(error))?;
    let program = std::env::current_exe().or_fail(Exit::Bug, "bug", "cannot find this program")?;
    let mut command = Command::new(program);
    command.arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove(cm_lease::NONCE_VARIABLE);
    let child = command.spawn().or_fail(Exit::Bug, "bug", "cannot start the holder")?;
    let mut holder = Starting(child);
    let answer =
        talk(&mut holder.0, &order).await.or_fail(Exit::Bug, "lock.holder", "the holder of the lock ended early")?;
    let record = parse_answer(&answer)?;
    // It holds: from here on it lives by itself.
    std::mem::forget(holder);
    Ok(record)
}

/// Gives the holder its order and reads the one line it answers. Its messages are passed
/// on meanwhile; its streams are pipes of this process alone, so that nobody else waits for
/// their ends while the holder lives.
async fn talk(holder: &mut Child, order: &[u8]) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut stdin = holder.stdin.take().ok_or_else(missing)?;
    stdin.write_all(order).await?;
    drop(stdin);
    let mut stderr = holder.stderr.take().ok_or_else(missing)?;
    let mut stdout = BufReader::new(holder.stdout.take().ok_or_else(missing)?);
    let mut answer = Vec::new();
    tokio::select! {
        read = stdout.read_until(b'\n', &mut answer) => read.map(|_| answer),
        _ = pass_on(&mut stderr) => Err(missing()),
    }
}

async fn pass_on(stderr: &mut ChildStderr) -> io::Result<()> {
    tokio::io::copy(stderr, &mut tokio::io::stderr()).await?;
    // It closed its messages before it answered; the answer says why.
    std::future::pending().await
}

fn parse_answer(answer: &[u8]) -> Result<Record> {
    let early = || Failure::new(Exit::Bug, "lock.holder", "the holder of the lock ended early");
    let value = parse_strict(answer).map_err(|error| early().cause(error))?;
    if let Some(told) = value.get("error") {
        return Err(Failure::of_json(told));
    }
    Record::parse(answer, "of the holder")
}

/// The holder itself, in the background.
///
/// # Errors
/// An order that is none; everything else is told to `acquire`.
pub async fn hold(io: &Io) -> Result<Exit> {
    // Neither Ctrl-C nor the end of the terminal concern it: it ends with its owner.
    let _already_leader = rustix::process::setsid();
    let _anywhere = std::env::set_current_dir("/");
    let mut signals = Signals::listen().or_fail(Exit::Bug, "bug", "cannot listen for signals")?;
    let order = read_order()?;
    let held = match take(&order, &io.log, &mut signals).await {
        Ok((held, record)) if tell(&json!(record)).is_ok() => held,
        Ok((held, _)) => return held.release().await.map(|()| Exit::Undelivered),
        Err(failure) => {
            let _gone = tell(&json!({"error": failure.to_json("cm-lock")}));
            return Ok(failure.exit);
        }
    };
    tokio::select! {
        () = end_of(&order.owner) => {}
        _ = signals.next() => {}
    }
    held.release().await.map(|()| Exit::Done)
}

fn read_order() -> Result<Order> {
    let wrong = "`cm-lock hold` is started by `cm-lock acquire` only";
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).or_fail(Exit::Usage, "usage", wrong)?;
    serde_json::from_slice(&bytes).or_fail(Exit::Usage, "usage", wrong)
}

async fn take(order: &Order, log: &Log, signals: &mut Signals) -> Result<(Held, Record)> {
    let mut record = order.record.clone();
    record.process = Record::new("", order.place.lease)?.process;
    tokio::select! {
        taken = wait::take(&order.place, record, order.wait, log, signals) => taken,
        () = end_of(&order.owner) => {
            Err(Failure::new(Exit::Terminated, "lock.owner-gone", "the process that wanted the deploy lock has ended"))
        }
    }
}

fn tell(answer: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{answer}")?;
    stdout.flush()
}

/// Returns when `process` has ended. It is looked at now and then: PID and start time
/// cannot be mistaken for those of another process.
async fn end_of(process: &Process) {
    while process.life() != Life::Gone {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the journal of a run calls the path of the lock file that was taken for it.
const FILE_OF_RUN: &str = "lock-file";

fn remember(run_id: &str, file: &Path) -> Result<()> {
    let journal = Journal::of(run_id);
    let written = write_whole(journal.dir(), FILE_OF_RUN, file.as_os_str().as_bytes());
    written.or_fail(Exit::Config, "journal.write", format!("cannot write the journal in {}", journal.dir().display()))
}

/// The lock file of a run, by this machine alone: whose process is ended is nothing that a document
/// decides, because anybody may have written it and the files that it names.
fn file_of(common: &CommonArgs, run_id: &str) -> Result<PathBuf> {
    match fs::read(Journal::of(run_id).dir().join(FILE_OF_RUN)) {
        Ok(path) => Ok(PathBuf::from(OsString::from_vec(path))),
        Err(_) => Ok(Place::new(common, &Where { file: None, host: Vec::new(), local: true })?.file),
    }
}

/// Ends the holder that `acquire` of this run started, whatever became of the run.
///
/// # Errors
/// [`Exit::LockHeld`] if the holder does not end; those of reading `cm.toml` if this machine has no
/// journal of the run.
pub async fn release(common: &CommonArgs, run: &mut Run) -> Result<Done> {
    if run.doc.facts(LockFacts::TOOL).is_none() {
        return Ok(Done::skipped("no lock was acquired in this run"));
    }
    let LockFacts { nonce: Some(nonce), file: Some(_), .. } = run.doc.part() else {
        return Ok(Done::skipped("the lock of this run was released already"));
    };
    let file = file_of(common, run.doc.run_id())?;
    let record = local::holder_of(&file, &nonce);
    if run.dry_run() {
        return Ok(Done::ok(format!("would give back {}", file.display())));
    }
    let done = match &record {
        Some(record) => {
            breaking::end(&record.process).await?;
            Done::ok("the deploy lock is released").changed(true)
        }
        None => Done::warned("the deploy lock was not held any more"),
    };
    run.doc.set_part(&LockFacts { released: Some(nonce), ..LockFacts::default() });
    Ok(done)
}
