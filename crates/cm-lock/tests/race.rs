//! Many at once: exactly one holds, whatever dies, and no reader ever sees half a record.
//! `CM_STRESS=1000` runs that many rounds instead of a few seconds' worth.

#![expect(clippy::print_stdout, reason = "what was measured is told")]

mod world;

use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use world::{World, end, signal, until};

const RACERS: usize = 16;

fn rounds(usual: usize) -> usize {
    std::env::var("CM_STRESS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Reads every record next to the lock files and on the hosts again and again; gives how
/// many it saw, and panics at one that is not whole.
fn read_records(world: &World, stop: &AtomicBool) -> usize {
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let beside = fs::read_dir(world.dir.path()).expect("list").flatten().map(|entry| entry.path());
        // Names with a nonce behind the uid are still being written.
        let records = beside.filter(|path| {
            path.to_string_lossy().ends_with(&format!(".holder-{}", rustix::process::geteuid().as_raw()))
        });
        for path in records.chain([world.host_record()]) {
            if let Ok(bytes) = fs::read(&path) {
                whole(&bytes, &path);
                seen += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

fn whole(bytes: &[u8], path: &Path) {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{}: {error}: {:?}", path.display(), String::from_utf8_lossy(bytes)));
    assert_eq!(value["schema"], "cm.lock/1");
}

/// One round: all but one are refused while the winner holds on.
fn round(world: &World, round: usize, who: impl Fn(usize) -> String, more: &[&str]) {
    let go = world.path(&format!("go-{round}"));
    let script = format!("echo x >> {0}.won; while [ ! -e {0} ]; do sleep 0.01; done", go.display());
    let mut arguments = vec!["run"];
    arguments.extend(more);
    arguments.extend(["--", "sh", "-c", &script]);
    let mut racers: Vec<_> = (0..RACERS)
        .map(|racer| world.lock(&who(racer), &arguments).stderr(Stdio::null()).spawn().expect("start"))
        .collect();
    let mut codes = Vec::new();
    until("all but one are refused", || {
        let run = |racer: &mut Child| usize::from(racer.try_wait().expect("wait").is_none());
        racers.iter_mut().map(run).sum::<usize>() <= 1
    });
    fs::write(&go, "").expect("write");
    for racer in &mut racers {
        codes.push(end(racer));
    }
    codes.sort_unstable();
    let mut wanted = vec![10; RACERS];
    wanted[0] = 0;
    assert_eq!(codes, wanted, "round {round}");
    let won = fs::read_to_string(world.path(&format!("go-{round}.won"))).expect("a winner");
    assert_eq!(won, "x\n", "round {round}");
}

fn race(rounds: usize, who: impl Fn(usize) -> String, more: &[&str]) {
    let world = World::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_records(&world, &stop));
        for number in 0..rounds {
            round(&world, number, &who, more);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("only whole records") > 0, "no record was ever seen");
    });
    world.assert_free("racer@laptop-0");
}

#[test]
fn of_sixteen_on_one_machine_exactly_one_wins() {
    race(rounds(20), |_| "racer@laptop-0".to_owned(), &["--local"]);
}

#[test]
fn of_sixteen_on_two_laptops_exactly_one_wins() {
    race(rounds(5), |racer| format!("racer@laptop-{}", racer % 2), &["--host", "web"]);
}

/// Ten who want the lock again and again, as long as the time lasts; the lock is never free for long.
/// Nobody is passed over for ever, however often the others come back.
#[test]
fn of_ten_that_wait_none_starves() {
    let world = World::new();
    let seconds = std::env::var("CM_STRESS").map_or(20, |_| 120);
    let began = Instant::now();
    let over = || began.elapsed() > Duration::from_secs(seconds);
    let waiter = || {
        let mut waits = Vec::new();
        while !over() {
            let came = Instant::now();
            let mut command = world.lock("all@laptop", &["run", "--local", "--wait", "2m", "--", "sleep", "0.2"]);
            assert!(command.stderr(Stdio::null()).status().expect("start").success());
            waits.push(came.elapsed().as_secs_f64() - 0.2);
        }
        waits
    };
    let waits: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..10).map(|_| scope.spawn(waiter)).collect();
        waiters.into_iter().map(|waiter| waiter.join().expect("served")).collect()
    });
    let turns: Vec<_> = waits.iter().map(Vec::len).collect();
    let longest = waits.iter().flatten().copied().fold(0.0, f64::max);
    let mean = waits.iter().flatten().sum::<f64>() / turns.iter().sum::<usize>() as f64;
    println!("turns of each: {turns:?}; waits: {mean:.1} s in the mean, {longest:.1} s at most");
    assert!(turns.iter().all(|turns| *turns >= 2), "each had its turns: {turns:?}");
    assert!(longest < 15.0, "one waited for {longest:.1} s, all together {mean:.1} s in the mean");
}

/// Holders are killed at random moments while others go on: whoever got in was alone, and
/// at the end the lock is free.
#[test]
fn killed_at_random_it_is_never_held_by_two() {
    let world = World::new();
    world.configure("1s");
    let inside = world.path("inside");
    // The command says which holder it is in for, and looks whether another one that lives
    // is in already. A killed one that nobody has waited for yet does not live.
    let script = format!(
        "other=$(cat {0} 2>/dev/null || echo none)
        if grep -q '^State:.[^Z]' /proc/$other/status 2>/dev/null; then echo clash >> {0}.clash; fi
        echo $PPID > {0}.$$; mv {0}.$$ {0}; sleep 0.05; rm -f {0}",
        inside.display()
    );
    for number in 0..rounds(10) {
        let mut holders: Vec<_> = ["a@x", "b@y", "c@x"]
            .map(|who| {
                world
                    .lock(who, &["run", "--wait", "30s", "--host", "web", "--", "sh", "-c", &script])
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("start")
            })
            .into();
        // Spread over the life of a holder, differently in every round.
        std::thread::sleep(Duration::from_millis((number as u64 * 37) % 211));
        signal(&holders[number % 3], Signal::KILL);
        for (index, holder) in holders.iter_mut().enumerate() {
            let code = end(holder);
            assert!(code == 0 || index == number % 3, "round {number}: {code}");
        }
        assert!(!world.path("inside.clash").exists(), "held by two in round {number}");
    }
    assert!(world.lock("d@z", &["run", "--wait", "10s", "--", "true"]).status().expect("start").success());
    let status = world.status("d@z", &[]);
    assert_eq!(status["hosts"][0]["state"], "free", "{status}");
}
