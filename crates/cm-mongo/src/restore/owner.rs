//! Whose a restore's collections and scratch databases are. Their names carry when the
//! restore began and which process it is, so that the next one can tell what a dead one
//! left behind and remove it, and leaves alone what belongs to one that runs.

use cm_lease::{Life, Process};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// What belongs to nobody who is known is left alone for so long, in milliseconds.
const ABANDONED: u64 = 24 * 60 * 60 * 1000;

/// A name for this restore: milliseconds since 1970, boot, PID namespace, PID and start of
/// the process, in hexadecimal.
pub fn tag() -> String {
    let began = now();
    match Process::current() {
        Ok(process) => {
            let Process { boot_id, pid_namespace, pid, start, .. } = process;
            format!("{began:x}_{}_{pid_namespace:x}_{pid:x}_{start:x}", short(&boot_id))
        }
        // Without /proc only time tells.
        Err(_) => format!("{began:x}"),
    }
}

/// Whether the restore of that tag is known to have ended, or began a day ago.
pub fn is_over(tag: &str) -> bool {
    let mut parts = tag.split('_');
    let mut number = || parts.next().map(|part| u64::from_str_radix(part, 16));
    let began = number().and_then(Result::ok).unwrap_or_default();
    if now().saturating_sub(began) > ABANDONED {
        return true;
    }
    process(tag).is_some_and(|process| process.life() == Life::Gone)
}

/// The process in a tag of this boot of this machine.
fn process(tag: &str) -> Option<Process> {
    let here = Process::current().ok()?;
    let parts: Vec<_> = tag.split('_').collect();
    let [_, boot, namespace, pid, start] = parts.as_slice() else { return None };
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let pid = u32::try_from(number(pid)?).ok()?;
    (short(&here.boot_id) == *boot).then_some(())?;
    Some(Process { pid_namespace: number(namespace)?, pid, start: number(start)?, ..here })
}

/// A boot's id, short enough for the name of a database.
fn short(boot_id: &str) -> String {
    let digest = Sha256::digest(boot_id);
    cm_archive::hex(&digest[..4])
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_runs_is_not_over_and_one_that_ended_is() {
        let mine = tag();
        assert!(!is_over(&mine) && mine.len() <= 48, "{mine}");
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let parts: Vec<_> = mine.split('_').collect();
        let other = |pid: u32| format!("{}_{}_{}_{pid:x}_1", parts[0], parts[1], parts[2]);
        child.wait().expect("ended");
        assert!(is_over(&other(child.id())));
    }

    #[test]
    fn of_another_machine_only_time_tells() {
        let parts = tag();
        let parts: Vec<_> = parts.split('_').collect();
        let elsewhere = |began: u64| format!("{began:x}_00000000_{}_{}_{}", parts[2], parts[3], parts[4]);
        assert!(!is_over(&elsewhere(now())));
        assert!(is_over(&elsewhere(now() - ABANDONED - 1)));
        assert!(is_over("nothing that we ever wrote"));
    }
}
