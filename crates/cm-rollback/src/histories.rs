//! Random histories: deployments, failures, kills, prunes and rollbacks on two hosts, on a
//! model of Docker. After each step the ledger says what "runs", the target is the last
//! verified release by the model's own books, and its image is still there.

use crate::choose::{self, Choice, FailedRun, Wanted};
use crate::record::Words;
use crate::runs::Runs;
use crate::target::HostTarget;
use cm_core::Document;
use cm_ledger::{Ledger, Record, ServiceState, Verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const HOSTS: [(&str, &[&str]); 2] = [("platform", &["web", "api", "docs"]), ("runners", &["agent"])];
const KEEP: usize = 2;

/// SplitMix64: a history is repeated by its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("small")
    }
}

/// The books: what was put where, and whether it was found good.
#[derive(Clone, Debug)]
struct Entry {
    run: String,
    state: ServiceState,
    good: bool,
}

#[derive(Default)]
struct Host {
    name: &'static str,
    lines: Vec<String>,
    docker: BTreeMap<String, ServiceState>,
    images: BTreeSet<String>,
    books: BTreeMap<String, Vec<Entry>>,
    /// Rollbacks by hand of a service: each uses up one kept release, a verified one brings one.
    by_hand: BTreeMap<String, usize>,
}

impl Host {
    fn ledger(&self) -> Ledger {
        Ledger::parse(self.lines.join("\n").as_bytes())
    }

    fn append(&mut self, record: &Record) {
        self.lines.push(serde_json::to_string(record).expect("json"));
    }

    fn last_good(&self, service: &str, except: &str) -> Option<&ServiceState> {
        let entries = self.books.get(service)?.iter().rev();
        entries.filter(|entry| entry.good && entry.run != except).map(|entry| &entry.state).next()
    }

    fn put(&mut self, run: &str, service: &str, state: &ServiceState, good: bool) {
        let entries = self.books.entry(service.to_owned()).or_default();
        let entry = Entry { run: run.to_owned(), state: state.clone(), good };
        match entries.iter_mut().find(|entry| entry.run == run) {
            Some(own) => *own = entry,
            None => entries.push(entry),
        }
        self.docker.insert(service.to_owned(), state.clone());
        self.images.insert(state.image_id.clone());
    }

    fn check(&self, step: &str) {
        let ledger = self.ledger();
        assert_eq!(ledger.unreadable, 0, "{step}");
        for (service, state) in &self.docker {
            let says = ledger.running(service).unwrap_or_else(|| panic!("{step}: nothing is known of {service}"));
            let place = format!("{step}: {service} on {}", self.name);
            assert_eq!((&says.commit, &says.image_id), (&state.commit, &state.image_id), "{place}");
            let own = &self.books[service].last().expect("an entry");
            assert_eq!(says.good, own.good, "{place}");
        }
    }

    /// Goes back as the program does: words before and after.
    fn go_back(&mut self, run: &str, doc: &Document, choice: Choice) {
        let ledger = self.ledger();
        let target = HostTarget {
            host: self.name.to_owned(),
            checkout: "~/x".to_owned(),
            choice,
            gone: BTreeSet::new(),
            head: String::new(),
            endangered: Vec::new(),
            backups: Vec::new(),
        };
        let undone = BTreeMap::new();
        let words = Words { ledger: &ledger, target: &target, doc, undone: &undone };
        let pending = words.pending();
        self.append(&pending);
        for record in words.outcome(None, &Runs::default()) {
            self.append(&record);
        }
        for (service, state) in &target.choice.services {
            let state = state.as_ref().expect("the model removes nothing");
            self.put(run, service, state, true);
        }
    }
}

struct World {
    dice: Dice,
    hosts: Vec<Host>,
    count: usize,
    killed: Vec<(String, BTreeMap<usize, Vec<String>>)>,
}

fn id(count: usize) -> String {
    format!("01980e5c-0000-7000-8000-{count:012x}")
}

fn document(run: &str, failed: bool) -> Document {
    let mut value = Document::start("cm-rollback", "ada", false).as_value();
    value["run"]["id"] = run.into();
    value["status"] = if failed { "failed" } else { "ok" }.into();
    Document::parse("cm-rollback", value.to_string().as_bytes()).expect("a document")
}

impl World {
    fn new(seed: u64) -> Self {
        let host = |name| Host { name, ..Host::default() };
        let mut world =
            World { dice: Dice(seed), hosts: HOSTS.map(|(name, _)| host(name)).into(), count: 0, killed: Vec::new() };
        let all = HOSTS
            .iter()
            .enumerate()
            .map(|(at, (_, services))| (at, services.iter().map(ToString::to_string).collect()));
        let all = all.collect();
        let run = world.switch(&all);
        world.finish(&run, &all, Verdict::Verified);
        world
    }

    /// Some services of one host or of both.
    fn some(&mut self) -> BTreeMap<usize, Vec<String>> {
        loop {
            let mut some: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (at, (_, services)) in HOSTS.iter().enumerate() {
                for service in *services {
                    if self.dice.roll(3) == 0 {
                        some.entry(at).or_default().push((*service).to_owned());
                    }
                }
            }
            if !some.is_empty() {
                return some;
            }
        }
    }

    /// Builds, records as pending and starts; sometimes the image comes out as it was.
    fn switch(&mut self, what: &BTreeMap<usize, Vec<String>>) -> String {
        self.count += 1;
        let (run, commit) = (id(self.count), format!("{:040x}", self.count));
        for (at, services) in what {
            let mut record = Record::new(&run, "ada", "main", &commit);
            for service in services {
                let same = self.dice.roll(5) == 0;
                let before = self.hosts[*at].docker.get(service).filter(|_| same).map(|state| state.image_id.clone());
                let image_id = before.unwrap_or_else(|| format!("sha256:{service}-{commit}"));
                let state = ServiceState {
                    commit: commit.clone(),
                    image_id,
                    image: service.clone(),
                    ..ServiceState::default()
                };
                record.services.insert(service.clone(), state);
            }
            self.hosts[*at].append(&record);
            for (service, state) in &record.services {
                self.hosts[*at].put(&run, service, state, false);
            }
        }
        run
    }

    fn finish(&mut self, run: &str, what: &BTreeMap<usize, Vec<String>>, verdict: Verdict) {
        for (at, services) in what {
            let host = &mut self.hosts[*at];
            let record = Record { verdict, ..host.ledger().record(run).expect("pending").clone() };
            host.append(&record);
            for service in services {
                let state = host.docker[service].clone();
                host.put(run, service, &state, verdict == Verdict::Verified);
                if verdict == Verdict::Verified {
                    host.by_hand.entry(service.clone()).and_modify(|used| *used = used.saturating_sub(1));
                }
            }
        }
    }

    /// A run that failed, or whose program was killed, is rolled back.
    fn take_back(&mut self, run: &str, what: &BTreeMap<usize, Vec<String>>, judged: bool) {
        for (at, services) in what {
            let host = &mut self.hosts[*at];
            let undo: serde_json::Map<String, Value> =
                services.iter().map(|service| (service.clone(), json!({"image_id": "sha256:before"}))).collect();
            let undo = json!({"kind": "release", "host": host.name, "checkout": "~/x", "services": undo});
            let undo = serde_json::from_value(undo).expect("an entry");
            let failed = FailedRun { id: run, started_at: "2099-01-01T00:00:00Z", judged };
            let newest: BTreeSet<String> = services
                .iter()
                .filter(|service| host.books[*service].last().expect("an entry").run == run)
                .cloned()
                .collect();
            let choice = choose::after_failure(host.name, &undo, &host.ledger(), &failed).expect("a way back");
            let Some(choice) = choice.filter(|choice| !choice.services.is_empty()) else {
                assert!(newest.is_empty(), "{run}: {newest:?} should go back");
                continue;
            };
            assert_eq!(choice.services.keys().cloned().collect::<BTreeSet<_>>(), newest, "{run}");
            for (service, state) in &choice.services {
                let state = state.as_ref().expect("a state");
                assert_eq!(Some(state), host.last_good(service, run), "{run}: the last verified release of {service}");
                assert!(host.images.contains(&state.image_id), "{run}: the image of {service} is there");
            }
            host.go_back(run, &document(run, true), choice);
        }
    }

    /// `cm-rollback`, `cm-rollback --service`: by hand.
    fn by_hand(&mut self) {
        self.count += 1;
        let run = id(self.count);
        let at = self.dice.roll(2);
        let services = HOSTS[at].1;
        let name = services[self.dice.roll(services.len())].to_owned();
        let wanted = Wanted { services: Some(BTreeSet::from([name.clone()])), confirm: true, to: None };
        let host = &mut self.hosts[at];
        let choice = choose::by_request(host.name, &host.ledger(), &wanted);
        let entries = host.books.get_mut(&name).expect("it runs");
        let now = entries.last().expect("an entry").state.clone();
        let oracle = entries.iter().rev().skip(1).find(|entry| entry.good && !entry.state.is_same(&now));
        let oracle = oracle.map(|entry| entry.state.clone());
        let Some(target) = oracle else {
            assert!(
                choice.is_err() || choice.is_ok_and(|choice| choice.is_none_or(|choice| choice.services.is_empty())),
                "{run}: nothing is left of {name}"
            );
            return;
        };
        let choice = choice.expect("a way").expect("a target");
        assert_eq!(choice.services[&name].as_ref(), Some(&target), "{run}: {name}");
        let there = host.images.contains(&target.image_id);
        let used = host.by_hand.entry(name.clone()).or_default();
        assert!(there || *used >= KEEP - 1, "{run}: the image of {name} is there within the retention");
        if !there {
            return; // the program says so and touches nothing
        }
        *used += 1;
        entries.iter_mut().filter(|entry| entry.state.is_same(&now)).for_each(|entry| entry.good = false);
        host.go_back(&run, &document(&run, false), choice);
    }

    fn prune(&mut self) {
        for host in &mut self.hosts {
            let mut keep = host.ledger().images_to_keep(KEEP);
            keep.extend(host.docker.values().map(|state| state.image_id.clone()));
            host.images.retain(|image| keep.contains(image));
        }
    }

    fn step(&mut self) -> String {
        let kind = self.dice.roll(10);
        match kind {
            0..4 => {
                let what = self.some();
                let run = self.switch(&what);
                self.finish(&run, &what, Verdict::Verified);
                self.prune();
            }
            4 | 5 => {
                let what = self.some();
                let run = self.switch(&what);
                self.take_back(&run, &what, true);
            }
            6 => {
                let what = self.some();
                let run = self.switch(&what);
                self.killed.push((run, what));
            }
            7 => {
                if let Some((run, what)) = self.killed.pop() {
                    self.take_back(&run, &what, false);
                }
            }
            8 => {
                let what = self.some();
                let run = self.switch(&what);
                self.finish(&run, &what, Verdict::Failed);
            }
            _ => self.by_hand(),
        }
        format!("step {} of kind {kind}", self.count)
    }
}

#[test]
fn in_any_history_the_target_is_the_last_verified_release_and_the_ledger_says_what_runs() {
    let count = std::env::var("CM_ROLLBACK_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(100);
    for seed in 0..count {
        let mut world = World::new(seed);
        for _ in 0..15 {
            let step = world.step();
            world.hosts.iter().for_each(|host| host.check(&format!("history {seed}, {step}")));
        }
    }
}
