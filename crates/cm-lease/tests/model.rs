//! A model of the deploy lock on a host: two deployers, each of which may be suspended or die before any step,
//! and leases that run out at any time. Every state that can be reached is looked at: no change begins under the
//! lock of somebody else, nobody's lock is given back by another, and whoever is left can take the lock again.
//!
//! The transitions have the names of the code (`take`, `renew`, `fence`, `release`). Each of them, in each state, is
//! then made on a real directory by that code, and has to end as the model says. Suspension is no transition of its own:
//! a suspended deployer is one that does nothing while others go on and leases run out.

use cm_core::{Exit, Format, Level, Log};
use cm_host::{Fenced, Host, Target};
use cm_lease::remote::{self, Renewal};
use cm_lease::{Attempt, Record};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Whose lock it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Owner {
    Nobody,
    Deployer(usize),
    /// Of a deployer that died.
    Dead,
}

/// What the host and two deployers know.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct State {
    owner: Owner,
    /// Whether the lease has run out.
    lapsed: bool,
    /// Which deployers believe that they hold the lock.
    believes: [bool; 2],
    /// Which have been told so by the host, and act on it later: only without a fence.
    asked: [bool; 2],
}

const START: State = State { owner: Owner::Nobody, lapsed: false, believes: [false; 2], asked: [false; 2] };

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Transition {
    Take(usize),
    Renew(usize),
    /// A change, behind a question in the same request.
    Fence(usize),
    Release(usize),
    Dies(usize),
    Lapses,
    /// A question of its own, and the change that relies on it: as it must not be.
    Ask(usize),
    Act(usize),
}

use Transition::{Act, Ask, Dies, Fence, Lapses, Release, Renew, Take};

/// How a transition ends: what the code answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Done,
    Refused,
}

/// What can happen next.
fn possible(state: State, fenced: bool) -> Vec<Transition> {
    let mut all = Vec::new();
    if state.owner != Owner::Nobody && !state.lapsed {
        all.push(Lapses);
    }
    for who in 0..2 {
        if !state.believes[who] {
            all.push(Take(who));
            continue;
        }
        all.extend([Renew(who), Release(who), Dies(who)]);
        match (fenced, state.asked[who]) {
            (true, _) => all.push(Fence(who)),
            (false, false) => all.push(Ask(who)),
            (false, true) => all.push(Act(who)),
        }
    }
    all
}

fn next(mut state: State, transition: Transition) -> (State, End) {
    let holds = |who| state.owner == Owner::Deployer(who);
    match transition {
        Take(who) if state.owner == Owner::Nobody || state.lapsed => {
            state = State { owner: Owner::Deployer(who), lapsed: false, ..state };
            state.believes[who] = true;
            (state, End::Done)
        }
        Take(_) => (state, End::Refused),
        Renew(who) | Fence(who) | Ask(who) => {
            let end = if holds(who) { End::Done } else { End::Refused };
            // A sign of life begins the lease again; who is refused stops.
            state.lapsed &= end == End::Refused;
            state.believes[who] = end == End::Done;
            state.asked[who] = end == End::Done && matches!(transition, Ask(_));
            (state, end)
        }
        Release(who) => {
            let end = if holds(who) { End::Done } else { End::Refused };
            if end == End::Done {
                (state.owner, state.lapsed) = (Owner::Nobody, false);
            }
            (state.believes[who], state.asked[who]) = (false, false);
            (state, end)
        }
        Dies(who) => {
            if holds(who) {
                state.owner = Owner::Dead;
            }
            (state.believes[who], state.asked[who]) = (false, false);
            (state, End::Done)
        }
        Lapses => (State { lapsed: true, ..state }, End::Done),
        Act(who) => {
            state.asked[who] = false;
            (state, End::Done)
        }
    }
}

/// Every state that can be reached, with the shortest way there.
fn explore(fenced: bool) -> BTreeMap<State, Vec<Transition>> {
    let mut known = BTreeMap::from([(START, Vec::new())]);
    let mut waiting = VecDeque::from([START]);
    while let Some(state) = waiting.pop_front() {
        for transition in possible(state, fenced) {
            let (after, _) = next(state, transition);
            if !known.contains_key(&after) {
                let way = known[&state].iter().copied().chain([transition]).collect();
                known.insert(after, way);
                waiting.push_back(after);
            }
        }
    }
    known
}

/// The changes that begin while another one holds the lock.
fn violations(fenced: bool) -> Vec<(State, Transition)> {
    let begins = |state: State, transition: Transition| match transition {
        Fence(who) if next(state, transition).1 == End::Done => Some(who),
        Act(who) => Some(who),
        _ => None,
    };
    let all = explore(fenced).into_keys();
    let each = all.flat_map(|state| possible(state, fenced).into_iter().map(move |transition| (state, transition)));
    each.filter(|(state, transition)| {
        begins(*state, *transition).is_some_and(|who| state.owner != Owner::Deployer(who))
    })
    .collect()
}

#[test]
fn no_change_begins_under_the_lock_of_somebody_else() {
    assert_eq!(violations(true), []);
    assert!(!violations(false).is_empty(), "a question apart from its change would be found wanting");
}

#[test]
fn nobody_gives_back_the_lock_of_another_and_no_death_locks_everybody_out() {
    let all = explore(true);
    for state in all.keys() {
        for who in 0..2 {
            let (after, end) = next(*state, Release(who));
            assert!(end == End::Refused || state.owner == Owner::Deployer(who), "{state:?}");
            assert!(end == End::Done || after.owner == state.owner, "{state:?}");
        }
        // Both die here: once the lease has run out, the lock is anybody's.
        let dead = [Dies(0), Dies(1)].into_iter().fold(*state, |state, transition| next(state, transition).0);
        let lapsed = if dead.owner == Owner::Nobody { dead } else { next(dead, Lapses).0 };
        assert_eq!(next(lapsed, Take(0)).1, End::Done, "{state:?}");
    }
}

/// The lock of a real directory, and who holds what nonce.
struct World<'a> {
    host: &'a Host,
    dir: &'a Path,
    records: [Option<Record>; 2],
}

impl World<'_> {
    fn nonce(&self, who: usize) -> String {
        self.records[who].as_ref().expect("it believes that it holds the lock").nonce.clone()
    }

    async fn make(&mut self, transition: Transition) -> End {
        let dir = self.dir.display().to_string();
        let end = |done: bool| if done { End::Done } else { End::Refused };
        match transition {
            Take(who) => {
                // Of another machine: whether it lives can be told by its lease alone.
                let mut record = Record::new("ada@laptop", Duration::from_secs(60)).expect("/proc");
                record.process.boot_id = format!("machine {who}");
                let taken = remote::take(self.host, &dir, &record).await.expect("answered");
                let taken = matches!(taken, Attempt::Taken(()));
                self.records[who] = taken.then_some(record);
                end(taken)
            }
            Renew(who) => {
                let renewed = remote::renew(self.host, &dir, &self.nonce(who), "build").await.expect("answered");
                end(matches!(renewed, Renewal::Renewed))
            }
            Fence(who) => {
                let fenced = Fenced::new(self.host, remote::fence(self.host, &dir, &self.nonce(who), "build"));
                match fenced.script("printf changed", [""; 0]).text(Exit::Build, "build.x").await {
                    Ok(said) => end(said == "changed"),
                    Err(failure) => {
                        assert_eq!(failure.exit, Exit::LockLost, "{failure}");
                        End::Refused
                    }
                }
            }
            Release(who) => end(remote::release(self.host, &dir, &self.nonce(who)).await.expect("answered")),
            Dies(who) => {
                self.records[who] = None;
                End::Done
            }
            Lapses => {
                let file = std::fs::File::options().write(true).open(self.dir.join("lock.json")).expect("the lock");
                file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("touched");
                End::Done
            }
            Ask(_) | Act(_) => unreachable!("the code has no such thing"),
        }
    }
}

#[tokio::test]
async fn the_code_ends_every_transition_of_every_state_as_the_model_says() {
    let target = Target::at("web", "local");
    let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
    let mut made = 0;
    for (state, way) in explore(true) {
        for transition in possible(state, true) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut world = World { host: &host, dir: dir.path(), records: [None, None] };
            let mut now = START;
            for step in way.iter().copied().chain([transition]) {
                let (after, end) = next(now, step);
                assert_eq!(world.make(step).await, end, "{step:?} in {now:?}, on the way {way:?}");
                now = after;
            }
            made += 1;
        }
    }
    assert!(made > 50, "{made} transitions");
}
