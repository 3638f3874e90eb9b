//! The lock of a host: a record in the deploy user's state directory there, with a
//! lease that is judged by the host's own clock. (On a Swarm it is a record that the Swarm itself
//! keeps, so that it survives the loss of a manager: `lock_swarm.sh`.) The script `lock.sh` does every change
//! on the host in one command, hence in one round trip.

use crate::NONCE_VARIABLE;
use crate::holder::{Attempt, Holder, Place};
use crate::process::Life;
use crate::record::Record;
use cm_core::{Exit, Failure, Result};
use cm_host::{Fence, Fenced, Host, Output, Unlocked};
use cm_project::Engine;
use std::time::Duration;

const SCRIPT: &str = concat!("# Asks for the deploy lock.\n", cm_host::small_sh!(), include_str!("lock.sh"));
const SCRIPT_OF_SWARM: &str =
    concat!("# Asks for the deploy lock of a Swarm.\n", cm_swarm::config_stem_sh!(), include_str!("lock_swarm.sh"));

/// What [`SCRIPT_OF_SWARM`] ends with where the host does not speak for a Swarm.
const NO_SWARM: i32 = 46;

/// The script's word for another sign of life.
const RENEWED: &str = "renewed";

/// For one visit to a host; the script itself waits 20 s for its turn, and a Swarm's managers may take as long to choose
/// another leader.
const LIMIT: Duration = Duration::from_secs(30);
const LIMIT_OF_SWARM: Duration = Duration::from_secs(90);

/// What is in the lock's place on a host.
#[derive(Debug)]
pub enum Sight {
    /// Nothing: it is free.
    Free,
    /// Something that is no file.
    Odd,
    /// A record.
    There(Box<There>),
}

/// A record on a host.
#[derive(Debug)]
pub struct There {
    /// How long ago it was renewed, by the host's clock.
    pub age: Duration,
    /// The step last reported.
    pub step: Option<String>,
    /// What it says, or why that cannot be read.
    pub record: Result<Record>,
    /// Names exactly this state of the file.
    token: String,
}

impl There {
    /// Whether anyone may take it, and if so the age in milliseconds that it must still exceed
    /// then. A holder that is known to be gone has its lease too: what it had begun on the host may
    /// still be at work. One that is known to be alive keeps the lock, lapsed or not.
    pub fn stealable(&self) -> Option<u128> {
        let record = self.record.as_ref().ok()?;
        let lapsed = self.age > record.lease();
        (lapsed && record.process.life() != Life::Alive).then(|| record.lease().as_millis())
    }

    /// The nonce of a holder that may still continue. One that is known to be gone does not, and one whose
    /// lease has lapsed must not: its next change asks first.
    pub fn holds(&self) -> Option<&str> {
        let record = self.record.as_ref().ok()?;
        let holds = match record.process.life() {
            Life::Alive => true,
            Life::Gone => false,
            Life::Unknown => self.age <= record.lease(),
        };
        holds.then_some(record.nonce.as_str())
    }

    fn holder(self, host: &Host) -> Holder {
        Holder {
            place: Place::Host(host.name().to_owned()),
            record: self.record.ok(),
            step: self.step,
            renewed: Some(self.age),
        }
    }
}

/// How a sign of life was taken.
#[derive(Debug)]
pub enum Renewal {
    /// The lock is ours, and its lease begins again.
    Renewed,
    /// It is not ours any more.
    Lost(Sight),
}

/// Takes the lock in the directory `dir` of `host`: one round trip, two more if it has
/// to be taken from a holder that is gone.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::Config`] if what is there cannot be understood.
pub async fn take(host: &Host, dir: &str, record: &Record) -> Result<Attempt<()>> {
    let mut leave = (String::new(), 0);
    // Somebody else may take it between the look and the theft; then look again.
    for _ in 0..3 {
        let (word, sight) = acquire(host, dir, record, &leave).await?;
        if word == "taken" {
            return Ok(Attempt::Taken(()));
        }
        let there = there(host, dir, sight)?;
        let found = there.record.as_ref().map_err(|failure| unreadable(host, failure.clone()))?;
        match there.stealable() {
            Some(least) => leave = (found.nonce.clone(), least),
            None => return Ok(Attempt::Held(Box::new(there.holder(host)))),
        }
    }
    Err(Failure::new(
        Exit::LockHeld,
        "lock.contended",
        format!("the deploy lock on {:?} changes hands too quickly", host.name()),
    )
    .retryable())
}

/// The script that asks who keeps the lock of `host`, and for how long.
fn keeper(host: &Host) -> (&'static str, Duration) {
    match host.engine() {
        Engine::Compose => (SCRIPT, LIMIT),
        Engine::Swarm => (SCRIPT_OF_SWARM, LIMIT_OF_SWARM),
    }
}

async fn acquire(host: &Host, dir: &str, record: &Record, leave: &(String, u128)) -> Result<(String, Sight)> {
    let bytes = record.to_bytes()?;
    let arguments = [
        "acquire".to_owned(),
        host.path(dir),
        record.nonce.clone(),
        leave.0.clone(),
        leave.1.to_string(),
        bytes.len().to_string(),
    ];
    let open = Fenced::unlocked(host, Unlocked::TheLockItself);
    let (script, limit) = keeper(host);
    let output = open.script(script, arguments).stdin(bytes).limit(limit).output().await?;
    answer(host, dir, &output)
}

fn there(host: &Host, dir: &str, sight: Sight) -> Result<Box<There>> {
    match sight {
        Sight::There(there) => Ok(there),
        Sight::Odd => Err(odd(host, dir)),
        Sight::Free => Err(Failure::bug(format!("the lock script of {:?} said held and free at once", host.name()))),
    }
}

/// Another sign of life, which also asks whether the lock is still ours. `step` is
/// told to people if it is not empty.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::Config`].
pub async fn renew(host: &Host, dir: &str, nonce: &str, step: &str) -> Result<Renewal> {
    let (word, sight) = ask(host, dir, "renew", nonce, &printable(step)).await?;
    Ok(if word == RENEWED { Renewal::Renewed } else { Renewal::Lost(sight) })
}

/// The question of [`renew`], asked before each command that is run on `host`.
pub fn fence(host: &Host, dir: &str, nonce: &str, step: &str) -> Fence {
    let (here, dir) = (host.clone(), dir.to_owned());
    let arguments = ["renew".to_owned(), host.path(&dir), nonce.to_owned(), printable(step)];
    let refusal = move |output: &Output| match answer(&here, &dir, output) {
        Ok((_, sight)) => lost(&here, sight),
        Err(failure) => failure,
    };
    Fence { script: keeper(host).0, arguments, word: RENEWED, refusal: Box::new(refusal) }
}

/// Gives the lock back; `false` if it was not ours.
///
/// # Errors
/// As [`renew`].
pub async fn release(host: &Host, dir: &str, nonce: &str) -> Result<bool> {
    Ok(ask(host, dir, "release", nonce, "").await?.0 == "released")
}

/// Looks at the lock.
///
/// # Errors
/// As [`renew`].
pub async fn look(host: &Host, dir: &str) -> Result<Sight> {
    Ok(ask(host, dir, "show", "", "").await?.1)
}

/// The same for who is going to take it: that nothing can be written there is a failure.
///
/// # Errors
/// As [`renew`].
pub async fn look_before(host: &Host, dir: &str) -> Result<Sight> {
    Ok(ask(host, dir, "show", "", "take").await?.1)
}

/// Removes the record that was looked at, whatever it is; `false` if it has changed since.
///
/// # Errors
/// As [`renew`].
pub async fn discard(host: &Host, dir: &str, seen: &There) -> Result<bool> {
    Ok(ask(host, dir, "discard", "", &seen.token).await?.0 == "released")
}

fn printable(step: &str) -> String {
    step.chars().filter(|c| !c.is_control()).take(200).collect()
}

async fn ask(host: &Host, dir: &str, verb: &str, nonce: &str, more: &str) -> Result<(String, Sight)> {
    let arguments = [verb.to_owned(), host.path(dir), nonce.to_owned(), more.to_owned()];
    let open = Fenced::unlocked(host, Unlocked::TheLockItself);
    let (script, limit) = keeper(host);
    let output = open.script(script, arguments).limit(limit).output().await?;
    answer(host, dir, &output)
}

/// The failure of a host whose lock cannot be used because of what is in its place.
pub fn odd(host: &Host, dir: &str) -> Failure {
    let message = format!("cannot use the deploy lock on {:?}: {dir}/lock.json there is not a file", host.name());
    Failure::new(Exit::Config, "lock.unusable", message).hint("look at what it is and remove it by hand")
}

/// The failure of a host whose record cannot be read, with the command that removes it.
pub fn unreadable(host: &Host, failure: Failure) -> Failure {
    failure.hint(format!(
        "nobody can tell whether it is held. If no deploy is running: cm-lock break --confirm=unreadable --host {}",
        crate::quote(host.name())
    ))
}

/// The failure of a lock that is not this run's any more.
pub fn lost(host: &Host, sight: Sight) -> Failure {
    let now = match sight {
        Sight::Free => {
            "nobody holds it now (a `cm-lock run --host` around this run must name this host too)".to_owned()
        }
        Sight::Odd => "there is something else in its place".to_owned(),
        Sight::There(there) => match there.record {
            Ok(record) => format!("it is held by {}", record.describe(there.step.as_deref())),
            Err(failure) => failure.to_string(),
        },
    };
    let message = format!("the deploy lock on {:?} is not this run's (any more): {now}", host.name());
    Failure::new(Exit::LockLost, "lock.lost", message).hint(format!(
        "nothing more is changed. Look at `cm-lock status`, then start again; outside of cm-lock run, `unset {NONCE_VARIABLE}` and the program takes the lock itself"
    ))
}

fn answer(host: &Host, dir: &str, output: &Output) -> Result<(String, Sight)> {
    // Ended by a signal: that is also how a command looks whose connection broke.
    if output.status.code().is_none() {
        let message = format!("the connection to host {:?} broke while its deploy lock was asked for", host.name());
        return Err(Failure::new(Exit::Unreachable, "host.lost", message).retryable());
    }
    if output.status.code() == Some(NO_SWARM) && host.engine() == Engine::Swarm {
        let failure = cm_swarm::no_manager(host, &String::from_utf8_lossy(&output.stdout), &output.stderr);
        return Err(Failure { exit: Exit::Config, ..failure });
    }
    if !output.success() {
        let message = format!("cannot use the deploy lock on {:?} ({dir})", host.name());
        let hint = match &output.stderr {
            said if said.contains("Disk quota exceeded") => {
                "the deploy user's quota there is used up: `quota -s` there, then make room"
            }
            said if said.contains("Read-only file system") => {
                "its file system is read-only: `mount` and `dmesg` there say why; a disk with errors is mounted so"
            }
            said if said.contains("No space left") => {
                "the disk there has no room, or no inodes: `df -h` and `df -i` there say which"
            }
            _ => "the deploy user must be able to write there, and the disk must have room",
        };
        return Err(Failure::new(Exit::Config, "lock.host", message)
            .cause(if output.stderr.trim().is_empty() {
                output.status.to_string()
            } else {
                output.stderr.trim().to_owned()
            })
            .hint(hint));
    }
    let place = format!("{dir}/lock.json on host {:?}", host.name());
    parse_answer(&output.stdout, &place)
        .ok_or_else(|| Failure::bug(format!("the lock script of {:?} gave an answer that is none", host.name())))
}

fn parse_answer(bytes: &[u8], place: &str) -> Option<(String, Sight)> {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next()?).into_owned();
    let mut words = first.split(' ');
    let word = words.next().filter(|word| !word.is_empty())?.to_owned();
    let sight = match words.next() {
        None | Some("free") => Sight::Free,
        Some("odd") => Sight::Odd,
        Some("there") => {
            let age = Duration::from_millis(words.next()?.parse().ok()?);
            let token = words.next()?.to_owned();
            let step = String::from_utf8_lossy(lines.next()?).into_owned();
            let (step, run) = match step.split_once(' ') {
                Some((step, run)) => (step.to_owned(), Some(run.to_owned())),
                None => (step, None),
            };
            let mut record = Record::parse(lines.next().unwrap_or_default(), place);
            if let Ok(record) = &mut record {
                record.run = record.run.take().or(run);
            }
            Sight::There(Box::new(There { age, step: Some(step).filter(|step| !step.is_empty()), record, token }))
        }
        Some(_) => return None,
    };
    Some((word, sight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        assert!(matches!(parse_answer(b"taken\n", "p"), Some((word, Sight::Free)) if word == "taken"));
        assert!(matches!(parse_answer(b"held odd\n", "p"), Some((_, Sight::Odd))));
        for bytes in [&b""[..], b"\n", b"held there\n", b"held there x y\n\n", b"held what\n"] {
            assert!(parse_answer(bytes, "p").is_none(), "{bytes:?}");
        }
        let Some((_, Sight::There(there))) = parse_answer(b"held there 7040 1-2-3\nbuild\n{cut", "p") else {
            panic!("there")
        };
        assert_eq!((there.age.as_secs(), there.step.as_deref(), there.token.as_str()), (7, Some("build"), "1-2-3"));
        assert_eq!(there.record.expect_err("cut").code, "lock.unreadable");
        let record = Record::new("ada", Duration::from_secs(60)).expect("a record");
        let mut text = b"held there 7040 1-2-3\nbuild 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10\n".to_vec();
        text.extend(record.to_bytes().expect("bytes"));
        let Some((_, Sight::There(there))) = parse_answer(&text, "p") else { panic!("there") };
        let run = there.record.expect("whole").run;
        assert_eq!(
            (there.step.as_deref(), run.as_deref()),
            (Some("build"), Some("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10"))
        );
        let Some((_, Sight::There(there))) = parse_answer(b"held there 7040 1-2-3\nbuild\n{cut", "p") else {
            panic!("there")
        };
        assert!(there.step.is_some());
    }
}
