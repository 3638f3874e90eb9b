//! One host that has several addresses: the managers of a Swarm, any of which speaks for all of it. Programs of one run
//! stay with the one that the run works with, since its checkout is where the run left it; where that is gone, the
//! next one takes over.

use crate::{Host, Target, ssh};
use cm_core::{Failure, Log, Result};
use std::time::Duration;

/// A manager answers for itself within this time.
const LIMIT: Duration = Duration::from_secs(10);

/// The first that answers and speaks for its Swarm; where none speaks, the first that answers: it says why.
pub(crate) async fn reach(target: &Target, log: &Log) -> Result<Host> {
    let (mut silent, mut failure): (Option<Host>, Option<Failure>) = (None, None);
    for candidate in in_order(target).await {
        match Host::straight(&candidate, log).await {
            Ok(host) if speaks(&host).await => {
                if let Some(failure) = &failure {
                    log.warn(format!("{}: continuing by {}", failure.message, candidate.address));
                }
                return Ok(host);
            }
            Ok(host) => {
                log.warn(format!("{} ({}) does not speak for its Swarm", host.name(), candidate.address));
                silent.get_or_insert(host);
            }
            Err(unreachable) => drop(failure.get_or_insert(unreachable)),
        }
    }
    match (silent, failure) {
        (Some(host), _) => Ok(host),
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(Failure::bug("a host without an address")),
    }
}

/// The addresses as `cm.toml` has them, those first that an earlier program of the run is connected to.
async fn in_order(target: &Target) -> Vec<Target> {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for candidate in alternatives(target) {
        if ssh::is_open(&candidate).await { open.push(candidate) } else { closed.push(candidate) }
    }
    open.extend(closed);
    open
}

/// The same host at each of its addresses, with the rest of them for later.
fn alternatives(target: &Target) -> Vec<Target> {
    let mut addresses = vec![target.address.clone()];
    addresses.extend(target.others.iter().filter(|other| **other != target.address).cloned());
    let one = |address: &String| {
        let others = addresses.iter().filter(|other| *other != address).cloned().collect();
        Target { address: address.clone(), others, ..target.clone() }
    };
    addresses.iter().map(one).collect()
}

async fn speaks(host: &Host) -> bool {
    let command = host.command(["docker", "info", "--format", "{{.Swarm.ControlAvailable}}"]).limit(LIMIT);
    command.output().await.is_ok_and(|output| output.success() && output.text() == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manager_can_be_the_first() {
        let others = ["b", "a", "c"].map(str::to_owned).to_vec();
        let target = Target { others, ..Target::at("shop", "a") };
        let all: Vec<String> =
            alternatives(&target).iter().map(|one| format!("{}: {}", one.address, one.others.join(" "))).collect();
        assert_eq!(all, ["a: b c", "b: a c", "c: a b"]);
    }
}
